//! Class-keyed notes: which items of the asked classes did the document mention?
//!
//! Sentences are `the SUBJECT VERB a ITEM .` (6 words), questions `which CLASS and CLASS was
//! noted ?` (7 words; a question for one class names it twice). Each asked class has exactly one
//! item in the whole document; every other sentence carries an item of a class that was not asked.
//! The answer is the item of the first class, then that of the second.
//!
//! The vocabulary is closed, so a word-level policy can be trained from scratch: train and test
//! problems are fresh facts over the same known words, not unseen words. With one token per word a
//! document of `n` tokens has `n / 6` sentences: exactly eight for each chunk of 48 tokens.

use rand::{RngExt, seq::index};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{
    Paragraph, TaskError,
    generator::{Draft, Generator, check_range},
    plain_words::{CLASSES, SUBJECTS, VERBS},
    stream::{ProblemKey, Purpose},
};

/// Options of the task `class-notes`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClassNotes {
    /// How many classes there are, 3 to 10.
    pub n_classes: usize,
    /// How many items each class has, 1 to 16.
    pub items_per_class: usize,
    /// How many subjects there are, 1 to 64.
    pub n_subjects: usize,
    /// How many verbs there are, 1 to 24.
    pub n_verbs: usize,
    /// The share of problems that ask for two different classes, 0 to 1; the others ask for one.
    pub two_fact_share: f64,
}

impl Default for ClassNotes {
    fn default() -> Self {
        Self {
            n_classes: 6,
            items_per_class: 8,
            n_subjects: 24,
            n_verbs: 12,
            two_fact_share: 0.5,
        }
    }
}

impl ClassNotes {
    fn item(&self, class_idx: usize, rng: &mut ChaCha8Rng) -> &'static str {
        CLASSES[class_idx].1[rng.random_range(..self.items_per_class)]
    }

    fn sentence(&self, item: &str, rng: &mut ChaCha8Rng) -> String {
        let subject = SUBJECTS[rng.random_range(..self.n_subjects)];
        let verb = VERBS[rng.random_range(..self.n_verbs)];
        format!("the {subject} {verb} a {item} .")
    }
}

impl Generator for ClassNotes {
    const KIND: &'static str = "class-notes";

    fn check(&self) -> Result<(), TaskError> {
        check_range(Self::KIND, "n_classes", self.n_classes, 3..=CLASSES.len())?;
        check_range(Self::KIND, "items_per_class", self.items_per_class, 1..=16)?;
        check_range(
            Self::KIND,
            "n_subjects",
            self.n_subjects,
            1..=SUBJECTS.len(),
        )?;
        check_range(Self::KIND, "n_verbs", self.n_verbs, 1..=VERBS.len())?;
        check_range(Self::KIND, "two_fact_share", self.two_fact_share, 0.0..=1.0)
    }

    fn draft(&self, key: &ProblemKey) -> Draft<'_> {
        let mut rng = key.rng(Purpose::Question);
        let n_facts = if rng.random_bool(self.two_fact_share) {
            2
        } else {
            1
        };
        let asked = index::sample(&mut rng, self.n_classes, n_facts).into_vec();
        let items: Vec<&str> = asked
            .iter()
            .map(|&class_idx| self.item(class_idx, &mut rng))
            .collect();
        let needed = items
            .iter()
            .map(|&item| {
                vec![Paragraph {
                    title: String::new(),
                    text: self.sentence(item, &mut rng),
                    relevant: true,
                    note: Some(item.to_owned()),
                }]
            })
            .collect();
        let (first, last) = (asked[0], asked[n_facts - 1]);
        let others: Vec<usize> = (0..self.n_classes)
            .filter(|idx| !asked.contains(idx))
            .collect();
        Draft {
            question: format!(
                "which {} and {} was noted ?",
                CLASSES[first].0, CLASSES[last].0
            ),
            answers: vec![items.join(" ")],
            n_facts,
            needed,
            next_filler: Box::new(move |rng| {
                let class_idx = others[rng.random_range(..others.len())];
                let item = self.item(class_idx, rng);
                vec![Paragraph {
                    text: self.sentence(item, rng),
                    ..Paragraph::default()
                }]
            }),
        }
    }

    fn closed_vocabulary(&self) -> Option<Vec<String>> {
        let classes = &CLASSES[..self.n_classes];
        let words = [".", "?", "the", "a", "which", "and", "was", "noted"]
            .into_iter()
            .chain(classes.iter().map(|(class, _)| *class))
            .chain(
                classes
                    .iter()
                    .flat_map(|(_, items)| items[..self.items_per_class].iter().copied()),
            )
            .chain(SUBJECTS[..self.n_subjects].iter().copied())
            .chain(VERBS[..self.n_verbs].iter().copied());
        Some(words.map(str::to_owned).collect())
    }
}
