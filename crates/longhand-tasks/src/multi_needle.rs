//! Multi-needle: several names are asked at once, or several values belong to one name.
//!
//! `What are the door codes of Clara Kelbeck and Hugo Dunvik?` The answer lists the values in the
//! order of the question, joined by `, `; several values of one name follow each other in the order
//! in which the document gives them. Needles and distractors are those of the task `needle`.

use serde::{Deserialize, Serialize};

use crate::{
    NameSplit, NeedleValue, TaskError,
    generator::{Draft, Generator, check_range},
    names::{Names, pick},
    needle::{ATTRIBUTES, Haystack, NeedleFact, NeedleMaker},
    stream::{ProblemKey, Purpose},
};

/// Options of the task `multi-needle`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MultiNeedle {
    /// How many names are asked for, 1 to 100.
    pub n_keys: usize,
    /// How many values each asked name has, 1 to 100.
    pub values_per_key: usize,
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

impl Default for MultiNeedle {
    fn default() -> Self {
        Self {
            n_keys: 2,
            values_per_key: 1,
            value: NeedleValue::Number,
            value_digits: 5,
            distractor_share: 0.5,
            context_sentences: 2,
            names: NameSplit::Disjoint,
        }
    }
}

impl Generator for MultiNeedle {
    const KIND: &'static str = "multi-needle";

    fn check(&self) -> Result<(), TaskError> {
        check_range(Self::KIND, "n_keys", self.n_keys, 1..=100)?;
        check_range(Self::KIND, "values_per_key", self.values_per_key, 1..=100)?;
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
        let attribute = pick(&ATTRIBUTES, &mut rng);
        let mut people: Vec<String> = Vec::with_capacity(self.n_keys);
        while people.len() < self.n_keys {
            let person = names.person(&mut rng);
            if !people.contains(&person) {
                people.push(person);
            }
        }
        let facts: Vec<Vec<NeedleFact>> = people
            .iter()
            .map(|person| {
                (0..self.values_per_key)
                    .map(|_| maker.fact(person.clone(), attribute, &mut rng))
                    .collect()
            })
            .collect();
        let answer: Vec<&str> = facts
            .iter()
            .flatten()
            .map(|fact| fact.value.as_str())
            .collect();
        let answers = vec![answer.join(", ")];
        // The values of one name keep their order: the answer depends on it.
        let needed = facts
            .iter()
            .map(|of_one| {
                of_one
                    .iter()
                    .map(|fact| fact.paragraph(self.context_sentences, true, &mut rng))
                    .collect()
            })
            .collect();
        let n_facts = self.n_keys * self.values_per_key;
        let question = if n_facts == 1 {
            format!("What is the {attribute} of {}?", people[0])
        } else if self.values_per_key == 1 {
            format!("What are the {attribute}s of {}?", listed(&people))
        } else {
            format!(
                "What are all the {attribute}s of {}, in the order in which the document gives them?",
                listed(&people)
            )
        };
        let mut haystack = Haystack::new(
            maker,
            names,
            people,
            attribute,
            self.distractor_share,
            self.context_sentences,
        );
        Draft {
            question,
            answers,
            n_facts,
            needed,
            next_filler: Box::new(move |rng| vec![haystack.next(rng)]),
        }
    }
}

/// `a`, `a and b`, `a, b and c`.
fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [only] => only.clone(),
        [init @ .., last] => format!("{} and {last}", init.join(", ")),
    }
}
