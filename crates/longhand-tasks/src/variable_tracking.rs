//! Variable tracking: values handed from variable to variable through the document.
//!
//! A chain is `The variable takem starts at 48213.`, then `The variable risob gets the value of
//! takem.` and so on. Its sentences stand in this order at random places, among other chains and
//! filler. Asked is either the value of the last variable of one chain, or the list of all
//! variables of that chain in the order in which they were set, joined by `, `.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{
    NameSplit, Paragraph, TaskError,
    filler::{filler_paragraph, surrounded},
    generator::{Draft, Generator, check_range},
    names::{Names, number},
    stream::{ProblemKey, Purpose},
};

/// What is asked about a chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VariableQuestion {
    /// The value of its last variable; the answer is a number.
    #[default]
    Value,
    /// All variables that hold its value; the answer is `takem, risob, ...` in the chain's order.
    Variables,
}

/// Options of the task `variable-tracking`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VariableTracking {
    /// How often a value is handed on, 0 to 100: a chain has `n_hops + 1` sentences.
    pub n_hops: usize,
    /// What is asked.
    pub ask: VariableQuestion,
    /// How many digits a value has, 3 to 18.
    pub value_digits: u32,
    /// How often, 0 to 1, the document is continued by a whole chain that is not asked for rather
    /// than by one filler paragraph.
    pub distractor_share: f64,
    /// How many filler sentences stand around each assignment, 0 to 100; with 0 an assignment is a
    /// paragraph of one sentence without a title.
    pub context_sentences: usize,
    /// Whether test problems use variables that no train problem uses.
    pub names: NameSplit,
}

impl Default for VariableTracking {
    fn default() -> Self {
        Self {
            n_hops: 2,
            ask: VariableQuestion::Value,
            value_digits: 5,
            distractor_share: 0.5,
            context_sentences: 0,
            names: NameSplit::Disjoint,
        }
    }
}

impl VariableTracking {
    /// A chain of fresh variables, none of them in `taken`, as (variables, sentences).
    fn chain(
        &self,
        value: &str,
        names: Names,
        taken: &[String],
        rng: &mut ChaCha8Rng,
    ) -> (Vec<String>, Vec<String>) {
        let mut variables: Vec<String> = Vec::with_capacity(self.n_hops + 1);
        let mut sentences = Vec::with_capacity(self.n_hops + 1);
        while variables.len() <= self.n_hops {
            let variable = names.variable(rng);
            if variables.contains(&variable) || taken.contains(&variable) {
                continue;
            }
            sentences.push(match variables.last() {
                None => format!("The variable {variable} starts at {value}."),
                Some(source) => format!("The variable {variable} gets the value of {source}."),
            });
            variables.push(variable);
        }
        (variables, sentences)
    }
}

impl Generator for VariableTracking {
    const KIND: &'static str = "variable-tracking";

    fn check(&self) -> Result<(), TaskError> {
        check_range(Self::KIND, "n_hops", self.n_hops, 0..=100)?;
        check_range(Self::KIND, "value_digits", self.value_digits, 3..=18)?;
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
        let value = number(self.value_digits, &mut rng);
        let (variables, sentences) = self.chain(&value, names, &[], &mut rng);
        let needed = sentences
            .into_iter()
            .map(|sentence| Paragraph {
                relevant: true,
                note: Some(sentence.clone()),
                ..surrounded(&sentence, self.context_sentences, &mut rng)
            })
            .collect();
        let (question, answer) = match self.ask {
            VariableQuestion::Value => (
                format!(
                    "What is the value of the variable {}?",
                    variables[self.n_hops]
                ),
                value.clone(),
            ),
            VariableQuestion::Variables => (
                format!(
                    "Which variables have the value {value}, in the order in which they were set?"
                ),
                variables.join(", "),
            ),
        };
        Draft {
            question,
            answers: vec![answer],
            n_facts: self.n_hops + 1,
            needed: vec![needed],
            next_filler: Box::new(move |rng| {
                if !rng.random_bool(self.distractor_share) {
                    return vec![filler_paragraph(self.context_sentences, rng)];
                }
                let other_value = loop {
                    let other = number(self.value_digits, rng);
                    if other != value {
                        break other;
                    }
                };
                let (_, sentences) = self.chain(&other_value, names, &variables, rng);
                sentences
                    .iter()
                    .map(|sentence| surrounded(sentence, self.context_sentences, rng))
                    .collect()
            }),
        }
    }
}
