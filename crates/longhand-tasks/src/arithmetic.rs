//! Arithmetic: the value of an expression, worked out one operation a step.
//!
//! `( 7 + 5 ) - 3 + 8` is solved by `7 + 5 = 1 2 ; 1 2 - 3 = 9 ; 9 + 8 = 1 7 ; \boxed{ 1 7 }`: what
//! is in brackets first, products before sums, and from the left.

use rand::{RngExt, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{
    NumberRange, Operators, Spelling, TaskError,
    generator::check_range,
    reasoning::{Reasoner, Worked, applied},
};

/// Options of the task `arithmetic`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Arithmetic {
    /// The fewest operations of an expression, 1 to `max_operations`.
    pub min_operations: usize,
    /// The most operations of an expression, 1 to 32.
    pub max_operations: usize,
    /// The largest number that stands in a question, 1 to 999; the smallest is 1.
    pub max_operand: i64,
    /// The largest result of an operation, 20 to 999999; at least twice `max_operand`.
    pub max_value: i64,
    /// Which operations there are.
    pub operators: Operators,
    /// How often, 0 to 1, the second operand may be an operation itself, in brackets where it must.
    pub bracket_share: f64,
    /// Whether results may be negative.
    pub numbers: NumberRange,
    /// How questions and solutions are spelt.
    pub spelling: Spelling,
}

impl Default for Arithmetic {
    fn default() -> Self {
        Self {
            min_operations: 2,
            max_operations: 4,
            max_operand: 9,
            max_value: 99,
            operators: Operators::AddSubtract,
            bracket_share: 0.0,
            numbers: NumberRange::Natural,
            spelling: Spelling::Words,
        }
    }
}

/// An expression, whose results are all in range.
pub(crate) struct Expression {
    value: i64,
    /// `None` for a number of the question.
    operation: Option<Operation>,
}

struct Operation {
    mark: char,
    operands: Box<[Expression; 2]>,
}

impl Arithmetic {
    fn expression(&self, n_operations: usize, rng: &mut ChaCha8Rng) -> Expression {
        let Some(n_others) = n_operations.checked_sub(1) else {
            return Expression {
                value: rng.random_range(1..=self.max_operand),
                operation: None,
            };
        };
        let n_right = if rng.random_bool(self.bracket_share) {
            rng.random_range(0..=n_others)
        } else {
            0
        };
        let left = self.expression(n_others - n_right, rng);
        let right = self.expression(n_right, rng);
        let mut marks = self.operators.marks().to_vec();
        marks.shuffle(rng);
        let allowed = self.numbers.min(self.max_value)..=self.max_value;
        let fits = |left: &Expression, right: &Expression, mark| {
            let value = applied(mark, left.value, right.value)?;
            allowed.contains(&value).then_some((mark, value))
        };
        let found = marks.iter().find_map(|&mark| fits(&left, &right, mark));
        let ((mark, value), operands) = match found {
            Some(found) => (found, [left, right]),
            // Two results in range of which neither sum nor difference is: then what is smaller was to be
            // taken from, and the other difference is between 0 and the larger one.
            None => {
                let value = right.value - left.value;
                (('-', value), [right, left])
            }
        };
        Expression {
            value,
            operation: Some(Operation {
                mark,
                operands: Box::new(operands),
            }),
        }
    }
}

fn precedence(mark: char) -> u8 {
    u8::from(mark == '*')
}

impl Expression {
    fn spelt(&self, spelling: Spelling) -> String {
        let Some(Operation { mark, operands }) = &self.operation else {
            return spelling.number(self.value);
        };
        let [left, right] = &**operands;
        let part = |operand: &Expression, weakest: u8| {
            let text = operand.spelt(spelling);
            match &operand.operation {
                Some(inner) if precedence(inner.mark) < weakest => spelling.bracket(&text),
                _ => text,
            }
        };
        let own = precedence(*mark);
        // From the left: a second operand that binds no closer needs its brackets.
        format!("{} {mark} {}", part(left, own), part(right, own + 1))
    }

    fn push_steps(&self, spelling: Spelling, steps: &mut Vec<String>) {
        let Some(Operation { mark, operands }) = &self.operation else {
            return;
        };
        let [left, right] = &**operands;
        left.push_steps(spelling, steps);
        right.push_steps(spelling, steps);
        steps.push(format!(
            "{} {mark} {} = {}",
            spelling.number(left.value),
            spelling.operand(right.value),
            spelling.number(self.value)
        ));
    }
}

impl Reasoner for Arithmetic {
    const KIND: &'static str = "arithmetic";
    const INSTRUCTION: &'static str = "Compute the value of this expression:";
    type Drawn = Expression;

    fn check(&self) -> Result<(), TaskError> {
        let kind = Self::KIND;
        check_range(kind, "max_operations", self.max_operations, 1..=32)?;
        let fewest = 1..=self.max_operations;
        check_range(kind, "min_operations", self.min_operations, fewest)?;
        check_range(kind, "max_operand", self.max_operand, 1..=999)?;
        let values = 20.max(2 * self.max_operand)..=999_999;
        check_range(kind, "max_value", self.max_value, values)?;
        check_range(kind, "bracket_share", self.bracket_share, 0.0..=1.0)
    }

    fn spelling(&self) -> Spelling {
        self.spelling
    }

    fn draw(&self, rng: &mut ChaCha8Rng) -> Expression {
        let n_operations = rng.random_range(self.min_operations..=self.max_operations);
        self.expression(n_operations, rng)
    }

    fn worked(drawn: &Expression, spelling: Spelling) -> Worked {
        let mut steps = Vec::new();
        drawn.push_steps(spelling, &mut steps);
        Worked {
            question: drawn.spelt(spelling),
            steps,
            answer: drawn.value,
        }
    }

    fn words(&self) -> Vec<&'static str> {
        let product: &[&str] = match self.operators {
            Operators::AddSubtract => &[],
            Operators::AddSubtractMultiply => &["*"],
        };
        let needs_brackets = 0.0 < self.bracket_share || !product.is_empty();
        let brackets: &[&str] = if needs_brackets { &["(", ")"] } else { &[] };
        [&["+", "-"], product, brackets].concat()
    }
}
