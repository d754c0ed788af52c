//! How tasks without a document are made: a question, a written-out solution and the answer.

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{
    Problem, Source, Split, TaskError,
    stream::{ProblemKey, Purpose, hash},
    verify::BOX,
};

/// How questions and solutions are spelt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spelling {
    /// Digits and marks are words of their own, without instructions: for policies trained from
    /// scratch on a closed vocabulary.
    #[default]
    Words,
    /// As people write it, with an instruction: for policies that know a language.
    Text,
}

impl Spelling {
    /// A number: `- 1 2` or `-12`.
    pub(crate) fn number(self, number: i64) -> String {
        let text = number.to_string();
        match self {
            Spelling::Text => text,
            Spelling::Words => {
                let mut words = String::with_capacity(2 * text.len());
                for (idx, character) in text.chars().enumerate() {
                    if 0 < idx {
                        words.push(' ');
                    }
                    words.push(character);
                }
                words
            }
        }
    }

    /// A number behind an operation: people put a negative one into brackets.
    pub(crate) fn operand(self, number: i64) -> String {
        match self {
            Spelling::Text if number < 0 => format!("({number})"),
            _ => self.number(number),
        }
    }

    /// An expression in brackets.
    pub(crate) fn bracket(self, inner: &str) -> String {
        match self {
            Spelling::Words => format!("( {inner} )"),
            Spelling::Text => format!("({inner})"),
        }
    }

    /// `3 x` or `3x`; a factor of one is left out.
    pub(crate) fn multiple(self, factor: i64, of: &str) -> String {
        match (self, factor) {
            (_, 1) => of.to_owned(),
            (Spelling::Words, _) => format!("{} {of}", self.number(factor)),
            (Spelling::Text, _) => format!("{factor}{of}"),
        }
    }

    /// The whole question, with an instruction where there is a language for it.
    fn question(self, instruction: &str, question: &str) -> String {
        match self {
            Spelling::Words => question.to_owned(),
            Spelling::Text => format!("{instruction}\n\n{question}"),
        }
    }

    /// Steps and answer as an expert writes them.
    fn solution(self, steps: &[String], answer: i64) -> String {
        let (between, space) = match self {
            Spelling::Words => (" ; ", " "),
            Spelling::Text => ("\n", ""),
        };
        let boxed = format!("{BOX}{space}{}{space}}}", self.number(answer));
        let mut lines = steps.join(between);
        if !steps.is_empty() {
            lines.push_str(between);
        }
        lines + &boxed
    }
}

/// Which numbers may come up on the way to an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NumberRange {
    /// From 0.
    #[default]
    Natural,
    /// Negative ones too.
    Integer,
}

impl NumberRange {
    /// The smallest number allowed where the largest is `max`.
    pub(crate) fn min(self, max: i64) -> i64 {
        match self {
            NumberRange::Natural => 0,
            NumberRange::Integer => -max,
        }
    }
}

/// Which operations are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operators {
    /// `+` and `-`.
    #[default]
    AddSubtract,
    /// `+`, `-` and `*`.
    AddSubtractMultiply,
}

impl Operators {
    pub(crate) fn marks(self) -> &'static [char] {
        match self {
            Operators::AddSubtract => &['+', '-'],
            Operators::AddSubtractMultiply => &['+', '-', '*'],
        }
    }
}

/// What an operation gives; `None` beyond 64 bits. Other marks than `+` and `-` multiply.
pub(crate) fn applied(mark: char, left: i64, right: i64) -> Option<i64> {
    match mark {
        '+' => left.checked_add(right),
        '-' => left.checked_sub(right),
        _ => left.checked_mul(right),
    }
}

/// A problem without a document, spelt one way.
pub(crate) struct Worked {
    pub(crate) question: String,
    pub(crate) steps: Vec<String>,
    pub(crate) answer: i64,
}

/// What differs between tasks without a document.
pub(crate) trait Reasoner {
    /// The task's `kind`.
    const KIND: &'static str;
    /// What people are told to do.
    const INSTRUCTION: &'static str;
    /// A problem before it is spelt.
    type Drawn;

    /// Whether the options make sense together.
    fn check(&self) -> Result<(), TaskError>;

    /// How problems are spelt.
    fn spelling(&self) -> Spelling;

    /// Draws a problem; the splits share the draws between them.
    fn draw(&self, rng: &mut ChaCha8Rng) -> Self::Drawn;

    /// Question, steps and answer.
    fn worked(drawn: &Self::Drawn, spelling: Spelling) -> Worked;

    /// Every word of problems spelt as words, but for digits and what opens and ends the answer.
    fn words(&self) -> Vec<&'static str>;
}

/// A reasoner with checked options.
///
/// A hash of its question decides which split a problem belongs to, one in five being kept for
/// testing: no problem is in both, whatever its number and seed, and however it is spelt.
#[derive(Debug)]
pub(crate) struct Reasoned<R>(R);

/// Draws until a problem of the split must have come. One in five belongs to the smaller one, so that
/// 200 draws without any mean that there are only few different problems.
const MAX_DRAWS: usize = 200;

impl<R: Reasoner> Reasoned<R> {
    /// Checks the options, and that both splits have problems.
    pub(crate) fn open(reasoner: R) -> Result<Self, TaskError> {
        reasoner.check()?;
        let reasoned = Self(reasoner);
        for split in [Split::Train, Split::Test] {
            reasoned.problem(split, 0, 0, 0, &str::len)?;
        }
        Ok(reasoned)
    }
}

impl<R: Reasoner> Source for Reasoned<R> {
    /// There is no document, so that the target length has no effect.
    fn problem(
        &self,
        split: Split,
        seed: u64,
        idx: u64,
        _target_tokens: usize,
        _count_tokens: &dyn Fn(&str) -> usize,
    ) -> Result<Problem, TaskError> {
        let key = ProblemKey {
            kind: R::KIND,
            split,
            seed,
            idx,
        };
        let spelling = self.0.spelling();
        let mut rng = key.rng(Purpose::Question);
        for _ in 0..MAX_DRAWS {
            let drawn = self.0.draw(&mut rng);
            let in_words = R::worked(&drawn, Spelling::Words);
            if split_of(&in_words.question) != split {
                continue;
            }
            let worked = match spelling {
                Spelling::Words => in_words,
                Spelling::Text => R::worked(&drawn, spelling),
            };
            // As it is written and as people write it: to most checkers digits that stand apart are no
            // number.
            let mut answers = vec![worked.answer.to_string(), spelling.number(worked.answer)];
            answers.dedup();
            return Ok(Problem {
                id: key.id(),
                question: spelling.question(R::INSTRUCTION, &worked.question),
                paragraphs: Vec::new(),
                answers,
                solution: Some(spelling.solution(&worked.steps, worked.answer)),
                classes: Vec::new(),
                n_facts: worked.steps.len(),
            });
        }
        Err(TaskError::TooFewDifferent {
            kind: R::KIND,
            split,
            n_draws: MAX_DRAWS,
        })
    }

    fn closed_vocabulary(&self) -> Option<Vec<String>> {
        if self.0.spelling() != Spelling::Words {
            return None;
        }
        let words = self.0.words();
        let digits = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
        let marks = ["=", ";", BOX, "}"];
        let all = digits.into_iter().chain(marks).chain(words);
        Some(all.map(str::to_owned).collect())
    }
}

fn split_of(question: &str) -> Split {
    if hash(question) % 5 == 4 {
        Split::Test
    } else {
        Split::Train
    }
}
