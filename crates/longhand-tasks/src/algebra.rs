//! Algebra: an equation of one unknown, solved one move a step.
//!
//! | difficulty | equations | solution |
//! |---|---|---|
//! | 1 | `x + 4 = 9`, `3 x = 1 5` | `x = 9 - 4 = 5` |
//! | 2 | `3 x + 4 = 1 9` | `3 x = 1 9 - 4 = 1 5 ; x = 1 5 / 3 = 5` |
//! | 3 | `3 ( x + 2 ) = 2 1`, `3 ( x + 2 ) + 4 = 2 5` | first what is beside the bracket, then its factor |
//! | 4 | `5 x + 4 = 2 x + 1 9` | first `3 x + 4 = 1 9` |
//!
//! The answer follows in a box. Every `+` may be a `-`.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{
    NumberRange, Spelling, TaskError,
    generator::check_range,
    reasoning::{Reasoner, Worked},
    verify::UNKNOWN,
};

/// Options of the task `algebra`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Algebra {
    /// The easiest equations, 1 to `max_difficulty`.
    pub min_difficulty: usize,
    /// The hardest equations, 1 to 4.
    pub max_difficulty: usize,
    /// The largest factor of `x` or of a bracket, 2 to 99; the smallest is 2.
    pub max_factor: i64,
    /// The largest number added or subtracted, 1 to 999; the smallest is 1.
    pub max_term: i64,
    /// The largest solution, 1 to 999.
    pub max_solution: i64,
    /// Whether solutions, and numbers on the way, may be negative.
    pub numbers: NumberRange,
    /// How questions and solutions are spelt.
    pub spelling: Spelling,
}

impl Default for Algebra {
    fn default() -> Self {
        Self {
            min_difficulty: 1,
            max_difficulty: 2,
            max_factor: 9,
            max_term: 9,
            max_solution: 9,
            numbers: NumberRange::Natural,
            spelling: Spelling::Words,
        }
    }
}

/// `factor ( x + inner ) + outer = right_factor x + right`, of which parts may be missing: a factor of
/// 1 or 0, and terms of 0.
pub(crate) struct Equation {
    factor: i64,
    inner: i64,
    outer: i64,
    right_factor: i64,
    x: i64,
}

impl Algebra {
    /// A term to be added to `value`, with either sign if what comes out is allowed.
    fn term(&self, value: i64, rng: &mut ChaCha8Rng) -> i64 {
        let term = rng.random_range(1..=self.max_term);
        let is_allowed = self.numbers == NumberRange::Integer || term <= value;
        if is_allowed && rng.random_bool(0.5) {
            -term
        } else {
            term
        }
    }
}

/// `start + 4`, `start - 4` or `start`.
fn plus(start: String, term: i64, spelling: Spelling) -> String {
    match term {
        0 => start,
        _ => {
            let mark = if term < 0 { '-' } else { '+' };
            format!("{start} {mark} {}", spelling.number(term.abs()))
        }
    }
}

impl Reasoner for Algebra {
    const KIND: &'static str = "algebra";
    const INSTRUCTION: &'static str = "Solve this equation for x:";
    type Drawn = Equation;

    fn check(&self) -> Result<(), TaskError> {
        let kind = Self::KIND;
        check_range(kind, "max_difficulty", self.max_difficulty, 1..=4)?;
        let easiest = 1..=self.max_difficulty;
        check_range(kind, "min_difficulty", self.min_difficulty, easiest)?;
        check_range(kind, "max_factor", self.max_factor, 2..=99)?;
        check_range(kind, "max_term", self.max_term, 1..=999)?;
        check_range(kind, "max_solution", self.max_solution, 1..=999)
    }

    fn spelling(&self) -> Spelling {
        self.spelling
    }

    fn draw(&self, rng: &mut ChaCha8Rng) -> Equation {
        let difficulty = rng.random_range(self.min_difficulty..=self.max_difficulty);
        let x = match self.numbers {
            NumberRange::Natural => rng.random_range(0..=self.max_solution),
            NumberRange::Integer => rng.random_range(-self.max_solution..=self.max_solution),
        };
        let mut equation = Equation {
            factor: rng.random_range(2..=self.max_factor),
            inner: 0,
            outer: 0,
            right_factor: 0,
            x,
        };
        match difficulty {
            1 if rng.random_bool(0.5) => {
                equation.factor = 1;
                equation.outer = self.term(x, rng);
            }
            1 => {}
            3 => {
                equation.inner = self.term(x, rng);
                if rng.random_bool(0.5) {
                    let bracket = equation.factor * (x + equation.inner);
                    equation.outer = self.term(bracket, rng);
                }
            }
            _ => {
                if difficulty == 4 {
                    equation.right_factor = rng.random_range(1..equation.factor);
                }
                // What is left of the unknown after the first move decides what may be taken away.
                let rest = equation.factor - equation.right_factor;
                equation.outer = self.term(rest * x, rng);
            }
        }
        equation
    }

    fn worked(drawn: &Equation, spelling: Spelling) -> Worked {
        let Equation {
            factor,
            inner,
            outer,
            right_factor,
            x,
        } = *drawn;
        let number = |value: i64| spelling.number(value);
        let unknown = || UNKNOWN.to_owned();
        let bracket = plus(unknown(), inner, spelling);
        let inside = if inner == 0 {
            unknown()
        } else {
            spelling.bracket(&bracket)
        };
        // The right-hand side without the unknown stays the same when the unknown is taken over.
        let mut right = (factor - right_factor) * x + factor * inner + outer;
        let left = plus(spelling.multiple(factor, &inside), outer, spelling);
        let right_text = match right_factor {
            0 => number(right),
            _ => plus(spelling.multiple(right_factor, UNKNOWN), right, spelling),
        };
        let question = format!("{left} = {right_text}");

        let mut steps = Vec::new();
        let rest = factor - right_factor;
        if right_factor != 0 {
            let left = plus(spelling.multiple(rest, UNKNOWN), outer, spelling);
            steps.push(format!("{left} = {}", number(right)));
        }
        if outer != 0 {
            let left = spelling.multiple(rest, &inside);
            let moved = plus(number(right), -outer, spelling);
            right -= outer;
            steps.push(format!("{left} = {moved} = {}", number(right)));
        }
        if rest != 1 {
            let moved = format!("{} / {}", number(right), number(rest));
            right /= rest;
            steps.push(format!("{bracket} = {moved} = {}", number(right)));
        }
        if inner != 0 {
            let moved = plus(number(right), -inner, spelling);
            steps.push(format!("{UNKNOWN} = {moved} = {}", number(x)));
        }
        Worked {
            question,
            steps,
            answer: x,
        }
    }

    fn words(&self) -> Vec<&'static str> {
        let has_difficulty = |level| (self.min_difficulty..=self.max_difficulty).contains(&level);
        let brackets: &[&str] = if has_difficulty(3) { &["(", ")"] } else { &[] };
        [&["x", "+", "-", "/"], brackets].concat()
    }
}
