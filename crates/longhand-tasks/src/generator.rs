//! How every generated document grows: needed paragraphs first, then others until it is full.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{
    Paragraph, Problem, Source, Split, TaskError,
    stream::{ProblemKey, Purpose},
};

/// In which order the needed facts of a chain stand in the document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FactOrder {
    /// Any order: a later fact of the chain may come first, where nothing shows yet that it matters.
    #[default]
    Any,
    /// The chain's own order, at random places: each fact can be recognised when it is read.
    Forward,
}

impl FactOrder {
    /// Groups facts into sequences whose inner order is kept.
    pub(crate) fn sequences(self, facts: Vec<Paragraph>) -> Vec<Vec<Paragraph>> {
        match self {
            FactOrder::Any => facts.into_iter().map(|fact| vec![fact]).collect(),
            FactOrder::Forward => vec![facts],
        }
    }
}

/// Gives endless further paragraphs, in short runs whose inner order is kept.
pub(crate) type NextFiller<'a> = Box<dyn FnMut(&mut ChaCha8Rng) -> Vec<Paragraph> + 'a>;

/// A problem before its document has a length.
pub(crate) struct Draft<'a> {
    pub(crate) question: String,
    pub(crate) answers: Vec<String>,
    pub(crate) n_facts: usize,
    /// The needed paragraphs, in sequences whose inner order is kept.
    pub(crate) needed: Vec<Vec<Paragraph>>,
    pub(crate) next_filler: NextFiller<'a>,
}

/// What differs between generated tasks.
pub(crate) trait Generator {
    /// The task's `kind`.
    const KIND: &'static str;

    /// Whether the options make sense together.
    fn check(&self) -> Result<(), TaskError>;

    /// Draws question, answer and needed paragraphs from the question stream of `key`.
    fn draft(&self, key: &ProblemKey) -> Draft<'_>;

    /// See [`Source::closed_vocabulary`].
    fn closed_vocabulary(&self) -> Option<Vec<String>> {
        None
    }
}

/// A generator with checked options.
#[derive(Debug)]
pub(crate) struct Generated<G>(G);

impl<G: Generator> Generated<G> {
    pub(crate) fn open(generator: G) -> Result<Self, TaskError> {
        generator.check()?;
        Ok(Self(generator))
    }
}

impl<G: Generator> Source for Generated<G> {
    fn problem(
        &self,
        split: Split,
        seed: u64,
        idx: u64,
        target_tokens: usize,
        count_tokens: &dyn Fn(&str) -> usize,
    ) -> Result<Problem, TaskError> {
        let key = ProblemKey {
            kind: G::KIND,
            split,
            seed,
            idx,
        };
        let mut draft = self.0.draft(&key);
        let mut budget = Budget::new(target_tokens, count_tokens);
        budget.take_needed(&key.id(), draft.needed.iter().flatten())?;

        let mut sequences = draft.needed;
        let mut rng = key.rng(Purpose::Filler);
        'full: loop {
            let mut taken = Vec::new();
            for paragraph in (draft.next_filler)(&mut rng) {
                if budget.take(&paragraph)? {
                    taken.push(paragraph);
                } else {
                    sequences.push(taken);
                    break 'full;
                }
            }
            sequences.push(taken);
        }

        Ok(Problem {
            classes: Vec::new(),
            id: key.id(),
            question: draft.question,
            paragraphs: interleave(sequences, &mut key.rng(Purpose::Placement)),
            answers: draft.answers,
            solution: None,
            n_facts: draft.n_facts,
        })
    }

    fn closed_vocabulary(&self) -> Option<Vec<String>> {
        self.0.closed_vocabulary()
    }
}

/// How many tokens a document has, and how many it may have.
pub(crate) struct Budget<'a> {
    target_tokens: usize,
    used_tokens: usize,
    count_tokens: &'a dyn Fn(&str) -> usize,
}

impl<'a> Budget<'a> {
    pub(crate) fn new(target_tokens: usize, count_tokens: &'a dyn Fn(&str) -> usize) -> Self {
        Self {
            target_tokens,
            used_tokens: 0,
            count_tokens,
        }
    }

    pub(crate) fn used_tokens(&self) -> usize {
        self.used_tokens
    }

    /// Takes paragraphs that the document cannot do without.
    pub(crate) fn take_needed<'p>(
        &mut self,
        id: &str,
        paragraphs: impl Iterator<Item = &'p Paragraph>,
    ) -> Result<(), TaskError> {
        for paragraph in paragraphs {
            self.used_tokens += self.tokens_of(paragraph)?;
        }
        if self.target_tokens < self.used_tokens {
            return Err(TaskError::TooShort {
                id: id.to_owned(),
                target_tokens: self.target_tokens,
                needed_tokens: self.used_tokens,
            });
        }
        Ok(())
    }

    /// Takes the paragraph if it fits, and says whether it did.
    pub(crate) fn take(&mut self, paragraph: &Paragraph) -> Result<bool, TaskError> {
        let n_tokens = self.tokens_of(paragraph)?;
        let fits = n_tokens <= self.target_tokens - self.used_tokens;
        if fits {
            self.used_tokens += n_tokens;
        }
        Ok(fits)
    }

    fn tokens_of(&self, paragraph: &Paragraph) -> Result<usize, TaskError> {
        let text = paragraph.rendered();
        match (self.count_tokens)(&text) {
            0 => Err(TaskError::NoTokens { text }),
            n_tokens => Ok(n_tokens),
        }
    }
}

/// Mixes sequences into one list, every mixture being equally likely; inner orders are kept.
pub(crate) fn interleave(sequences: Vec<Vec<Paragraph>>, rng: &mut ChaCha8Rng) -> Vec<Paragraph> {
    let mut turns: Vec<usize> = sequences
        .iter()
        .enumerate()
        .flat_map(|(sequence_idx, sequence)| std::iter::repeat_n(sequence_idx, sequence.len()))
        .collect();
    turns.shuffle(rng);
    let mut sequences: Vec<_> = sequences.into_iter().map(Vec::into_iter).collect();
    turns
        .into_iter()
        .filter_map(|sequence_idx| sequences[sequence_idx].next())
        .collect()
}

/// Fails if an option is outside `allowed`, naming both.
pub(crate) fn check_range<T: PartialOrd + std::fmt::Display>(
    kind: &'static str,
    option: &'static str,
    value: T,
    allowed: std::ops::RangeInclusive<T>,
) -> Result<(), TaskError> {
    if allowed.contains(&value) {
        return Ok(());
    }
    Err(TaskError::BadOption {
        kind,
        option,
        value: value.to_string(),
        mend: format!("give {} to {}", allowed.start(), allowed.end()),
    })
}
