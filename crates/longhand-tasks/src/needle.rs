//! Needle: one fact about one name, hidden among filler or among facts that look like it.
//!
//! `The door code of Clara Kelbeck is 48213.` Question: `What is the door code of Clara Kelbeck?`
//! Distractors come in two tiers: another kind of fact about the asked name, and facts about other
//! names (half of them of the asked kind). No distractor repeats the asked pair.

use std::collections::HashSet;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{
    NameSplit, Paragraph, TaskError,
    filler::{filler_paragraph, surrounded},
    generator::{Draft, Generator, check_range},
    names::{Names, number, object, pick},
    stream::{ProblemKey, Purpose},
};

/// What a needle's value looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NeedleValue {
    /// Decimal digits, such as `48213`.
    #[default]
    Number,
    /// Two words, such as `copper lantern`.
    Words,
}

/// Options of the task `needle`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Needle {
    /// What values look like.
    pub value: NeedleValue,
    /// How many digits a number has, 1 to 18.
    pub value_digits: u32,
    /// The share of distractor needles among the paragraphs that do not matter, 0 to 1; the others
    /// are filler.
    pub distractor_share: f64,
    /// How many filler sentences stand around each needle, 0 to 100; with 0 a needle is a
    /// paragraph of one sentence without a title.
    pub context_sentences: usize,
    /// Whether test problems use names that no train problem uses.
    pub names: NameSplit,
}

impl Default for Needle {
    fn default() -> Self {
        Self {
            value: NeedleValue::Number,
            value_digits: 5,
            distractor_share: 0.5,
            context_sentences: 2,
            names: NameSplit::Disjoint,
        }
    }
}

impl Generator for Needle {
    const KIND: &'static str = "needle";

    fn check(&self) -> Result<(), TaskError> {
        check_range(Self::KIND, "value_digits", self.value_digits, 1..=18)?;
        check_range(
            Self::KIND,
            "distractor_share",
            self.distractor_share,
            0.0..=1.0,
        )?;
        check_range(
            Self::KIND,
            "context_sentences",
            self.context_sentences,
            0..=100,
        )
    }

    fn draft(&self, key: &ProblemKey) -> Draft<'_> {
        let mut rng = key.rng(Purpose::Question);
        let names = Names {
            split: key.split,
            name_split: self.names,
        };
        let maker = NeedleMaker {
            value: self.value,
            value_digits: self.value_digits,
        };
        let person = names.person(&mut rng);
        let fact = maker.fact(person.clone(), pick(&ATTRIBUTES, &mut rng), &mut rng);
        let (question, answer) = (
            format!("What is the {} of {person}?", fact.attribute),
            fact.value.clone(),
        );
        let needed = vec![vec![fact.paragraph(self.context_sentences, true, &mut rng)]];
        let mut haystack = Haystack::new(
            maker,
            names,
            vec![person],
            fact.attribute,
            self.distractor_share,
            self.context_sentences,
        );
        Draft {
            question,
            answers: vec![answer],
            n_facts: 1,
            needed,
            next_filler: Box::new(move |rng| vec![haystack.next(rng)]),
        }
    }
}

/// What can be known about a name.
pub(crate) const ATTRIBUTES: [&str; 12] = [
    "badge",
    "cabin number",
    "code name",
    "door code",
    "emblem",
    "file number",
    "locker number",
    "membership number",
    "password",
    "seat number",
    "signal",
    "ticket number",
];

/// One needle.
#[derive(Clone, Debug)]
pub(crate) struct NeedleFact {
    pub(crate) person: String,
    pub(crate) attribute: &'static str,
    pub(crate) value: String,
}

impl NeedleFact {
    pub(crate) fn paragraph(
        &self,
        context: usize,
        relevant: bool,
        rng: &mut ChaCha8Rng,
    ) -> Paragraph {
        let sentence = format!(
            "The {} of {} is {}.",
            self.attribute, self.person, self.value
        );
        Paragraph {
            relevant,
            note: relevant.then(|| sentence.clone()),
            ..surrounded(&sentence, context, rng)
        }
    }
}

/// Draws values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NeedleMaker {
    pub(crate) value: NeedleValue,
    pub(crate) value_digits: u32,
}

impl NeedleMaker {
    pub(crate) fn fact(
        self,
        person: String,
        attribute: &'static str,
        rng: &mut ChaCha8Rng,
    ) -> NeedleFact {
        let value = match self.value {
            NeedleValue::Number => number(self.value_digits, rng),
            NeedleValue::Words => object(rng),
        };
        NeedleFact {
            person,
            attribute,
            value,
        }
    }
}

/// Draws the paragraphs that do not matter.
pub(crate) struct Haystack {
    maker: NeedleMaker,
    names: Names,
    asked: Vec<String>,
    attribute: &'static str,
    distractor_share: f64,
    context_sentences: usize,
    /// What the document already says of the asked names: each pair is said once.
    told: HashSet<(String, &'static str)>,
}

impl Haystack {
    pub(crate) fn new(
        maker: NeedleMaker,
        names: Names,
        asked: Vec<String>,
        attribute: &'static str,
        distractor_share: f64,
        context_sentences: usize,
    ) -> Self {
        let told = asked
            .iter()
            .map(|person| (person.clone(), attribute))
            .collect();
        Self {
            maker,
            names,
            asked,
            attribute,
            distractor_share,
            context_sentences,
            told,
        }
    }

    pub(crate) fn next(&mut self, rng: &mut ChaCha8Rng) -> Paragraph {
        if !rng.random_bool(self.distractor_share) {
            return filler_paragraph(self.context_sentences, rng);
        }
        let (person, attribute) = self.distractor_key(rng);
        self.maker
            .fact(person, attribute, rng)
            .paragraph(self.context_sentences, false, rng)
    }

    fn distractor_key(&mut self, rng: &mut ChaCha8Rng) -> (String, &'static str) {
        let any_attribute = pick(&ATTRIBUTES, rng);
        if rng.random_bool(0.25) {
            let person = self.asked[rng.random_range(..self.asked.len())].clone();
            if self.told.insert((person.clone(), any_attribute)) {
                return (person, any_attribute);
            }
        }
        let attribute = if rng.random_bool(0.5) {
            self.attribute
        } else {
            any_attribute
        };
        loop {
            let person = self.names.person(rng);
            if !self.asked.contains(&person) {
                return (person, attribute);
            }
        }
    }
}
