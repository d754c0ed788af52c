//! Multi-hop: a question that walks several edges of a random knowledge graph.
//!
//! People, firms and towns are joined by named relations, each of which gives one object for a
//! subject: `The employer of Clara Kelbeck is Dunvik Mills.`, `The founder of Dunvik Mills is ...`.
//! A question of two hops is `Who or what is the founder of the employer of Clara Kelbeck?`. Each
//! fact is a paragraph under the name of its subject.
//!
//! Distractors come in three tiers, with weights: the same relation of another entity; another
//! relation of an entity on the path; a relation that has nothing to do with the question. No
//! distractor repeats a (relation, subject) pair of the path, so the answer stays unique.

use std::collections::HashSet;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{
    FactOrder, NameSplit, Paragraph, TaskError,
    filler::with_filler,
    generator::{Draft, Generator, check_range},
    names::Names,
    stream::{ProblemKey, Purpose},
};

/// How likely each tier of distractors is, relative to the others; at least one is above 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TierWeights {
    /// A relation of the question, told of an entity that is not on the path.
    pub same_relation: f64,
    /// Another relation of an entity on the path. There are only a few of these; when they are used
    /// up, facts of the first tier take their place.
    pub same_entity: f64,
    /// A relation that the question does not name, told of an entity that is not on the path.
    pub unrelated: f64,
}

impl Default for TierWeights {
    fn default() -> Self {
        Self {
            same_relation: 1.0,
            same_entity: 1.0,
            unrelated: 1.0,
        }
    }
}

/// Options of the task `multi-hop`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MultiHop {
    /// How many facts have to be joined, 1 to 20.
    pub n_hops: usize,
    /// In which order the facts of the path stand in the document.
    pub order: FactOrder,
    /// How distractors are spread over their tiers.
    pub tiers: TierWeights,
    /// How many filler sentences stand around each fact, 0 to 100.
    pub context_sentences: usize,
    /// Whether test problems use names that no train problem uses.
    pub names: NameSplit,
}

impl Default for MultiHop {
    fn default() -> Self {
        Self {
            n_hops: 2,
            order: FactOrder::Any,
            tiers: TierWeights::default(),
            context_sentences: 1,
            names: NameSplit::Disjoint,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum EntityKind {
    Person,
    Company,
    Town,
}

impl EntityKind {
    fn draw(self, names: Names, rng: &mut ChaCha8Rng) -> String {
        match self {
            EntityKind::Person => names.person(rng),
            EntityKind::Company => names.company(rng),
            EntityKind::Town => names.town(rng),
        }
    }
}

struct Relation {
    name: &'static str,
    subject: EntityKind,
    object: EntityKind,
}

const fn relation(name: &'static str, subject: EntityKind, object: EntityKind) -> Relation {
    Relation {
        name,
        subject,
        object,
    }
}

const RELATIONS: [Relation; 14] = [
    relation("teacher", EntityKind::Person, EntityKind::Person),
    relation("doctor", EntityKind::Person, EntityKind::Person),
    relation("neighbour", EntityKind::Person, EntityKind::Person),
    relation("landlord", EntityKind::Person, EntityKind::Person),
    relation("employer", EntityKind::Person, EntityKind::Company),
    relation("birthplace", EntityKind::Person, EntityKind::Town),
    relation("founder", EntityKind::Company, EntityKind::Person),
    relation("accountant", EntityKind::Company, EntityKind::Person),
    relation("main supplier", EntityKind::Company, EntityKind::Company),
    relation("head office", EntityKind::Company, EntityKind::Town),
    relation("mayor", EntityKind::Town, EntityKind::Person),
    relation("librarian", EntityKind::Town, EntityKind::Person),
    relation("twin town", EntityKind::Town, EntityKind::Town),
    relation("largest shop", EntityKind::Town, EntityKind::Company),
];

/// One edge of the graph; `relation_idx` counts in [`RELATIONS`].
struct Fact {
    relation_idx: usize,
    subject: String,
    object: String,
}

impl Fact {
    fn paragraph(&self, context: usize, relevant: bool, rng: &mut ChaCha8Rng) -> Paragraph {
        let relation = RELATIONS[self.relation_idx].name;
        let sentence = format!("The {relation} of {} is {}.", self.subject, self.object);
        Paragraph {
            title: self.subject.clone(),
            text: with_filler(&sentence, context, rng),
            relevant,
            note: relevant.then_some(sentence),
        }
    }
}

impl MultiHop {
    /// A path of `n_hops` edges over entities that are all different.
    fn path(&self, names: Names, rng: &mut ChaCha8Rng) -> Vec<Fact> {
        let mut path: Vec<Fact> = Vec::with_capacity(self.n_hops);
        let first = &RELATIONS[rng.random_range(..RELATIONS.len())];
        let mut kind = first.subject;
        let mut entities = vec![kind.draw(names, rng)];
        while path.len() < self.n_hops {
            let relation_idx = rng.random_range(..RELATIONS.len());
            let relation = &RELATIONS[relation_idx];
            if relation.subject != kind {
                continue;
            }
            let object = draw_new(relation.object, names, &entities, rng);
            path.push(Fact {
                relation_idx,
                subject: entities[path.len()].clone(),
                object: object.clone(),
            });
            entities.push(object);
            kind = relation.object;
        }
        path
    }
}

fn draw_new(kind: EntityKind, names: Names, taken: &[String], rng: &mut ChaCha8Rng) -> String {
    loop {
        let entity = kind.draw(names, rng);
        if !taken.contains(&entity) {
            return entity;
        }
    }
}

impl Generator for MultiHop {
    const KIND: &'static str = "multi-hop";

    fn check(&self) -> Result<(), TaskError> {
        check_range(Self::KIND, "n_hops", self.n_hops, 1..=20)?;
        check_range(
            Self::KIND,
            "context_sentences",
            self.context_sentences,
            0..=100,
        )?;
        let tiers = &self.tiers;
        check_range(
            Self::KIND,
            "tiers.same_relation",
            tiers.same_relation,
            0.0..=1e6,
        )?;
        check_range(
            Self::KIND,
            "tiers.same_entity",
            tiers.same_entity,
            0.0..=1e6,
        )?;
        check_range(Self::KIND, "tiers.unrelated", tiers.unrelated, 0.0..=1e6)?;
        if tiers.same_relation + tiers.same_entity + tiers.unrelated <= 0.0 {
            return Err(TaskError::BadOption {
                kind: Self::KIND,
                option: "tiers",
                value: "all 0".to_owned(),
                mend: "give at least one tier a weight above 0".to_owned(),
            });
        }
        Ok(())
    }

    fn draft(&self, key: &ProblemKey) -> Draft<'_> {
        let mut rng = key.rng(Purpose::Question);
        let names = Names {
            split: key.split,
            name_split: self.names,
        };
        let path = self.path(names, &mut rng);
        let question = format!(
            "Who or what is {} {}?",
            path.iter()
                .rev()
                .map(|fact| format!("the {} of", RELATIONS[fact.relation_idx].name))
                .collect::<Vec<_>>()
                .join(" "),
            path[0].subject,
        );
        let facts = path
            .iter()
            .map(|fact| fact.paragraph(self.context_sentences, true, &mut rng))
            .collect();
        let answers = path
            .last()
            .map(|fact| fact.object.clone())
            .into_iter()
            .collect();
        let mut distractors = Distractors::new(self, names, &path);
        Draft {
            question,
            answers,
            n_facts: self.n_hops,
            needed: self.order.sequences(facts),
            next_filler: Box::new(move |rng| vec![distractors.next(rng)]),
        }
    }
}

/// Draws facts that the answer does not depend on.
struct Distractors<'a> {
    options: &'a MultiHop,
    names: Names,
    /// The entities of the path with their kinds, from the first subject to the answer.
    entities: Vec<String>,
    asked_relations: HashSet<usize>,
    /// (entity on the path, other relation of it) pairs that were not told yet.
    untold: Vec<(usize, usize)>,
}

impl<'a> Distractors<'a> {
    fn new(options: &'a MultiHop, names: Names, path: &[Fact]) -> Self {
        let mut entities = vec![path[0].subject.clone()];
        entities.extend(path.iter().map(|fact| fact.object.clone()));
        let kinds = path
            .iter()
            .map(|fact| RELATIONS[fact.relation_idx].subject)
            .chain(path.last().map(|fact| RELATIONS[fact.relation_idx].object));
        let untold = kinds
            .enumerate()
            .flat_map(|(entity_idx, kind)| {
                let told = path.get(entity_idx).map(|fact| fact.relation_idx);
                (0..RELATIONS.len())
                    .filter(move |&idx| RELATIONS[idx].subject == kind && Some(idx) != told)
                    .map(move |relation_idx| (entity_idx, relation_idx))
            })
            .collect();
        Self {
            options,
            names,
            entities,
            asked_relations: path.iter().map(|fact| fact.relation_idx).collect(),
            untold,
        }
    }

    fn next(&mut self, rng: &mut ChaCha8Rng) -> Paragraph {
        let TierWeights {
            same_relation,
            same_entity,
            unrelated,
        } = self.options.tiers;
        let tier = rng.random_range(0.0..same_relation + same_entity + unrelated);
        let fact = if tier < same_entity && !self.untold.is_empty() {
            let untold_idx = rng.random_range(..self.untold.len());
            let (entity_idx, relation_idx) = self.untold.swap_remove(untold_idx);
            self.fact(relation_idx, self.entities[entity_idx].clone(), rng)
        } else {
            let of_the_question = tier < same_entity + same_relation;
            let relation_idx = self.relation(of_the_question, rng);
            let kind = RELATIONS[relation_idx].subject;
            let subject = draw_new(kind, self.names, &self.entities, rng);
            self.fact(relation_idx, subject, rng)
        };
        fact.paragraph(self.options.context_sentences, false, rng)
    }

    fn relation(&self, of_the_question: bool, rng: &mut ChaCha8Rng) -> usize {
        // A long path may name every relation there is; then none is unrelated.
        let none_left = self.asked_relations.len() == RELATIONS.len();
        loop {
            let relation_idx = rng.random_range(..RELATIONS.len());
            let is_asked = self.asked_relations.contains(&relation_idx);
            if is_asked == of_the_question || none_left {
                return relation_idx;
            }
        }
    }

    fn fact(&self, relation_idx: usize, subject: String, rng: &mut ChaCha8Rng) -> Fact {
        let mut taken = self.entities.clone();
        taken.push(subject.clone());
        let object = draw_new(RELATIONS[relation_idx].object, self.names, &taken, rng);
        Fact {
            relation_idx,
            subject,
            object,
        }
    }
}
