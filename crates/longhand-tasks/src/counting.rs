//! Counting: how many times did somebody buy a certain thing?
//!
//! `Clara Kelbeck bought a lantern in Oakford.` Question: `How many lanterns did Clara Kelbeck
//! buy?` Every purchase that counts is a paragraph of its own, in a town of its own. Distractors
//! come in three tiers: the same person buys another thing, another person buys the same thing,
//! another person buys another thing. The answer is a number; up to twelve its word is accepted too.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::{
    NameSplit, Paragraph, TaskError,
    filler::{filler_paragraph, surrounded},
    generator::{Draft, Generator, check_range},
    names::{Names, thing},
    stream::{ProblemKey, Purpose},
};

/// Options of the task `counting`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Counting {
    /// The smallest count, 0 or more.
    pub min_count: usize,
    /// The largest count, up to 100; counts from the smallest to the largest are equally likely.
    pub max_count: usize,
    /// The share of other purchases among the paragraphs that do not matter, 0 to 1; the others are
    /// filler.
    pub distractor_share: f64,
    /// How many filler sentences stand around each purchase, 0 to 100; with 0 a purchase is a
    /// paragraph of one sentence without a title.
    pub context_sentences: usize,
    /// Whether test problems use names that no train problem uses.
    pub names: NameSplit,
}

impl Default for Counting {
    fn default() -> Self {
        Self {
            min_count: 1,
            max_count: 6,
            distractor_share: 0.5,
            context_sentences: 1,
            names: NameSplit::Disjoint,
        }
    }
}

fn purchase(person: &str, thing: &str, town: &str) -> String {
    let article = if thing.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    format!("{person} bought {article} {thing} in {town}.")
}

impl Generator for Counting {
    const KIND: &'static str = "counting";

    fn check(&self) -> Result<(), TaskError> {
        check_range(Self::KIND, "max_count", self.max_count, 0..=100)?;
        check_range(Self::KIND, "min_count", self.min_count, 0..=self.max_count)?;
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
        let (person, asked) = (names.person(&mut rng), thing(&mut rng));
        let count = rng.random_range(self.min_count..=self.max_count);
        let mut towns: Vec<String> = Vec::with_capacity(count);
        while towns.len() < count {
            let town = names.town(&mut rng);
            if !towns.contains(&town) {
                towns.push(town);
            }
        }
        let needed = towns
            .iter()
            .map(|town| {
                let sentence = purchase(&person, asked, town);
                vec![Paragraph {
                    relevant: true,
                    note: Some(sentence.clone()),
                    ..surrounded(&sentence, self.context_sentences, &mut rng)
                }]
            })
            .collect();
        let mut answers = vec![count.to_string()];
        answers.extend(NUMBER_WORDS.get(count).map(|&word| word.to_owned()));
        Draft {
            question: format!("How many {asked}s did {person} buy?"),
            answers,
            n_facts: count,
            needed,
            next_filler: Box::new(move |rng| {
                if !rng.random_bool(self.distractor_share) {
                    return vec![filler_paragraph(self.context_sentences, rng)];
                }
                let (same_person, same_thing) =
                    [(true, false), (false, true), (false, false)][rng.random_range(..3_usize)];
                let buyer = if same_person {
                    person.clone()
                } else {
                    other_than(&person, || names.person(rng))
                };
                let bought = if same_thing {
                    asked
                } else {
                    other_than(&asked, || thing(rng))
                };
                let sentence = purchase(&buyer, bought, &names.town(rng));
                vec![surrounded(&sentence, self.context_sentences, rng)]
            }),
        }
    }
}

fn other_than<T: PartialEq>(avoided: &T, mut draw: impl FnMut() -> T) -> T {
    loop {
        let drawn = draw();
        if drawn != *avoided {
            return drawn;
        }
    }
}

const NUMBER_WORDS: [&str; 13] = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve",
];
