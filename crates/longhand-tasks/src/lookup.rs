//! Look-ups by name: where does somebody live, what do they own, whom do they work for?
//!
//! Sentences are five words long: `ana lives in paris .`, `ana owns a rug .`, `ana works for
//! bob .`. One-hop questions ask for one of these (`where does ana live ?`), two-hop questions ask
//! it of somebody's boss (`where does the boss of ana live ?`). Each person lives in one place,
//! owns one thing and has one boss, drawn anew for every problem; the other sentences of the
//! document are further facts of the same small world, repeated where the document is long. What
//! the answer depends on stands in the document once.
//!
//! The vocabulary is closed, so a word-level policy can be trained from scratch: train and test
//! problems are fresh facts over the same known names, not unseen names.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{
    FactOrder, Paragraph, TaskError,
    generator::{Draft, Generator, check_range},
    plain_words::{PEOPLE, PLACES, THINGS},
    stream::{ProblemKey, Purpose},
};

/// What the scripted expert writes down on reading a needed sentence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoteForm {
    /// The sentence as it stands: `ana lives in paris .`
    #[default]
    Sentence,
    /// Its two names: `ana paris`.
    Names,
}

/// Options of the task `lookup`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lookup {
    /// How many people there are, 2 to 96.
    pub n_people: usize,
    /// How many places there are, 1 to 48.
    pub n_places: usize,
    /// How many things there are, 1 to 32.
    pub n_things: usize,
    /// The share of two-hop problems, 0 to 1.
    pub two_hop_share: f64,
    /// Whether the boss of a two-hop problem must be named before the fact about the boss. Forward
    /// unless said otherwise: a fact about a boss not named yet looks like any other, and a memory
    /// of a few words cannot hold them all.
    pub order: FactOrder,
    /// What the scripted expert notes.
    pub notes: NoteForm,
}

impl Default for Lookup {
    fn default() -> Self {
        Self {
            n_people: 32,
            n_places: 16,
            n_things: 16,
            two_hop_share: 0.5,
            order: FactOrder::Forward,
            notes: NoteForm::Sentence,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Relation {
    Lives,
    Owns,
    WorksFor,
}

const RELATIONS: [Relation; 3] = [Relation::Lives, Relation::Owns, Relation::WorksFor];

impl Relation {
    fn sentence(self, person: &str, value: &str) -> String {
        match self {
            Relation::Lives => format!("{person} lives in {value} ."),
            Relation::Owns => format!("{person} owns a {value} ."),
            Relation::WorksFor => format!("{person} works for {value} ."),
        }
    }

    fn question(self, of_whom: &str) -> String {
        match self {
            Relation::Lives => format!("where does {of_whom} live ?"),
            Relation::Owns => format!("what does {of_whom} own ?"),
            Relation::WorksFor => format!("who does {of_whom} work for ?"),
        }
    }
}

/// Who lives where, owns what and works for whom, as indices into the word lists.
struct World {
    values: Vec<[usize; 3]>,
}

impl World {
    fn draw(options: &Lookup, rng: &mut ChaCha8Rng) -> Self {
        let values = (0..options.n_people)
            .map(|person_idx| {
                // Nobody is their own boss: the draw skips the person itself.
                let boss = rng.random_range(..options.n_people - 1);
                [
                    rng.random_range(..options.n_places),
                    rng.random_range(..options.n_things),
                    boss + usize::from(person_idx <= boss),
                ]
            })
            .collect();
        Self { values }
    }

    fn boss_of(&self, person_idx: usize) -> usize {
        self.values[person_idx][Relation::WorksFor as usize]
    }

    fn value(&self, person_idx: usize, relation: Relation) -> &'static str {
        let value_idx = self.values[person_idx][relation as usize];
        match relation {
            Relation::Lives => PLACES[value_idx],
            Relation::Owns => THINGS[value_idx],
            Relation::WorksFor => PEOPLE[value_idx],
        }
    }

    fn sentence(&self, person_idx: usize, relation: Relation) -> String {
        relation.sentence(PEOPLE[person_idx], self.value(person_idx, relation))
    }
}

impl Generator for Lookup {
    const KIND: &'static str = "lookup";

    fn check(&self) -> Result<(), TaskError> {
        check_range(Self::KIND, "n_people", self.n_people, 2..=PEOPLE.len())?;
        check_range(Self::KIND, "n_places", self.n_places, 1..=PLACES.len())?;
        check_range(Self::KIND, "n_things", self.n_things, 1..=THINGS.len())?;
        check_range(Self::KIND, "two_hop_share", self.two_hop_share, 0.0..=1.0)
    }

    fn draft(&self, key: &ProblemKey) -> Draft<'_> {
        let mut rng = key.rng(Purpose::Question);
        let world = World::draw(self, &mut rng);
        let person_idx = rng.random_range(..self.n_people);
        let relation = RELATIONS[rng.random_range(..RELATIONS.len())];
        let person = PEOPLE[person_idx];

        let (question, chain) = if rng.random_bool(self.two_hop_share) {
            (
                relation.question(&format!("the boss of {person}")),
                vec![
                    (person_idx, Relation::WorksFor),
                    (world.boss_of(person_idx), relation),
                ],
            )
        } else {
            (relation.question(person), vec![(person_idx, relation)])
        };
        let answer = chain
            .last()
            .map(|&(idx, relation)| world.value(idx, relation));
        let facts = chain
            .iter()
            .map(|&(person_idx, relation)| {
                let text = world.sentence(person_idx, relation);
                let note = match self.notes {
                    NoteForm::Sentence => text.clone(),
                    NoteForm::Names => {
                        format!(
                            "{} {}",
                            PEOPLE[person_idx],
                            world.value(person_idx, relation)
                        )
                    }
                };
                Paragraph {
                    title: String::new(),
                    text,
                    relevant: true,
                    note: Some(note),
                }
            })
            .collect();

        Draft {
            question,
            answers: answer.into_iter().map(str::to_owned).collect(),
            n_facts: chain.len(),
            needed: self.order.sequences(facts),
            next_filler: Box::new(move |rng| {
                let fact = loop {
                    let person_idx = rng.random_range(..self.n_people);
                    let fact = (person_idx, RELATIONS[rng.random_range(..RELATIONS.len())]);
                    if !chain.contains(&fact) {
                        break fact;
                    }
                };
                vec![Paragraph {
                    text: world.sentence(fact.0, fact.1),
                    ..Paragraph::default()
                }]
            }),
        }
    }

    fn closed_vocabulary(&self) -> Option<Vec<String>> {
        let words = [
            ".", "?", "lives", "in", "owns", "a", "works", "for", "where", "what", "who", "does",
            "live", "own", "work", "the", "boss", "of",
        ]
        .into_iter()
        .chain(PEOPLE[..self.n_people].iter().copied())
        .chain(PLACES[..self.n_places].iter().copied())
        .chain(THINGS[..self.n_things].iter().copied());
        Some(words.map(str::to_owned).collect())
    }
}
