//! Code tracing: which number does a tiny program print?
//!
//! `a = 3 ; b = a + 2 ; repeat 2 : a = a + b ; end ; print a` is solved by every assignment as it is
//! run: `a = 3 ; b = 3 + 2 = 5 ; a = 3 + 5 = 8 ; a = 8 + 5 = 1 3 ; \boxed{ 1 3 }`. The language is
//! that of [`run_program`](crate::run_program).

use rand::{RngExt, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{
    NumberRange, Operators, Spelling, TaskError,
    generator::check_range,
    program::{Assigned, run_observed},
    reasoning::{Reasoner, Worked, applied},
};

/// Options of the task `code-trace`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CodeTrace {
    /// Variables, 1 to 8; each is first set to a number.
    pub n_variables: usize,
    /// The fewest assignments and loops after that, 1 to `max_statements`.
    pub min_statements: usize,
    /// The most assignments and loops after that, 1 to 32.
    pub max_statements: usize,
    /// How often, 0 to 1, such a statement is a loop around one assignment.
    pub loop_share: f64,
    /// The most turns of a loop, 2 to 9; the fewest are 2.
    pub max_turns: i64,
    /// The largest number that stands in a program, 1 to 999; the smallest is 1.
    pub max_number: i64,
    /// The largest value of a variable, 20 to 999999; at least twice `max_number`.
    pub max_value: i64,
    /// Which operations there are.
    pub operators: Operators,
    /// Whether values may be negative.
    pub numbers: NumberRange,
    /// How questions and solutions are spelt.
    pub spelling: Spelling,
}

impl Default for CodeTrace {
    fn default() -> Self {
        Self {
            n_variables: 2,
            min_statements: 2,
            max_statements: 3,
            loop_share: 0.3,
            max_turns: 3,
            max_number: 9,
            max_value: 99,
            operators: Operators::AddSubtract,
            numbers: NumberRange::Natural,
            spelling: Spelling::Words,
        }
    }
}

const VARIABLES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// A program whose values are all in range.
pub(crate) struct Program {
    statements: Vec<Statement>,
    printed: usize,
}

struct Statement {
    /// How often the assignment is run; 1 without a loop.
    n_turns: i64,
    variable: usize,
    left: Operand,
    right: Option<(char, Operand)>,
}

#[derive(Clone, Copy)]
enum Operand {
    Number(i64),
    Variable(usize),
}

impl CodeTrace {
    /// An assignment of two operands, perhaps in a loop, that keeps all values in range; updates them.
    fn statement(&self, values: &mut [i64], rng: &mut ChaCha8Rng) -> Statement {
        let variable = rng.random_range(..values.len());
        let is_loop = rng.random_bool(self.loop_share);
        // A loop that sets its variable from others alone would do the same at every turn.
        let source = if is_loop {
            variable
        } else {
            rng.random_range(..values.len())
        };
        let right = if rng.random_bool(0.5) {
            Operand::Number(rng.random_range(1..=self.max_number))
        } else {
            Operand::Variable(rng.random_range(..values.len()))
        };
        let mut n_turns = if is_loop {
            rng.random_range(2..=self.max_turns)
        } else {
            1
        };
        let mut marks = self.operators.marks().to_vec();
        marks.shuffle(rng);
        let allowed = self.numbers.min(self.max_value)..=self.max_value;
        while 0 < n_turns {
            for &mark in &marks {
                let mut after = values.to_vec();
                let mut fits = true;
                for _ in 0..n_turns {
                    let operand = match right {
                        Operand::Number(number) => number,
                        Operand::Variable(idx) => after[idx],
                    };
                    match applied(mark, after[source], operand) {
                        Some(value) if allowed.contains(&value) => after[variable] = value,
                        _ => fits = false,
                    }
                }
                if fits {
                    values.copy_from_slice(&after);
                    return Statement {
                        n_turns,
                        variable,
                        left: Operand::Variable(source),
                        right: Some((mark, right)),
                    };
                }
            }
            n_turns -= 1;
        }
        // Neither a sum nor a difference is in range: the variable starts anew.
        let number = rng.random_range(1..=self.max_number);
        values[variable] = number;
        Statement {
            n_turns: 1,
            variable,
            left: Operand::Number(number),
            right: None,
        }
    }
}

impl Statement {
    fn assignment(&self, spelling: Spelling) -> String {
        let operand = |operand: Operand| match operand {
            Operand::Number(number) => spelling.number(number),
            Operand::Variable(idx) => VARIABLES[idx].to_owned(),
        };
        let left = format!("{} = {}", VARIABLES[self.variable], operand(self.left));
        match self.right {
            None => left,
            Some((mark, right)) => format!("{left} {mark} {}", operand(right)),
        }
    }
}

impl Program {
    fn spelt(&self, spelling: Spelling) -> String {
        let (between, indent) = match spelling {
            Spelling::Words => (" ; ", ""),
            Spelling::Text => ("\n", "  "),
        };
        let mut program = String::new();
        for statement in &self.statements {
            let assignment = statement.assignment(spelling);
            let text = match (statement.n_turns, spelling) {
                (1, _) => assignment,
                (n, Spelling::Words) => format!("repeat {n} : {assignment} ; end"),
                (n, Spelling::Text) => format!("repeat {n}:\n{indent}{assignment}\nend"),
            };
            program.push_str(&text);
            program.push_str(between);
        }
        program + "print " + VARIABLES[self.printed]
    }
}

impl Reasoner for CodeTrace {
    const KIND: &'static str = "code-trace";
    const INSTRUCTION: &'static str = "Which number does this program print?";
    type Drawn = Program;

    fn check(&self) -> Result<(), TaskError> {
        let kind = Self::KIND;
        check_range(kind, "n_variables", self.n_variables, 1..=VARIABLES.len())?;
        check_range(kind, "max_statements", self.max_statements, 1..=32)?;
        let fewest = 1..=self.max_statements;
        check_range(kind, "min_statements", self.min_statements, fewest)?;
        check_range(kind, "loop_share", self.loop_share, 0.0..=1.0)?;
        check_range(kind, "max_turns", self.max_turns, 2..=9)?;
        check_range(kind, "max_number", self.max_number, 1..=999)?;
        let values = 20.max(2 * self.max_number)..=999_999;
        check_range(kind, "max_value", self.max_value, values)
    }

    fn spelling(&self) -> Spelling {
        self.spelling
    }

    fn draw(&self, rng: &mut ChaCha8Rng) -> Program {
        let mut values = Vec::with_capacity(self.n_variables);
        let mut statements = Vec::new();
        for variable in 0..self.n_variables {
            let number = rng.random_range(1..=self.max_number);
            values.push(number);
            statements.push(Statement {
                n_turns: 1,
                variable,
                left: Operand::Number(number),
                right: None,
            });
        }
        for _ in 0..rng.random_range(self.min_statements..=self.max_statements) {
            statements.push(self.statement(&mut values, rng));
        }
        Program {
            statements,
            printed: rng.random_range(..self.n_variables),
        }
    }

    fn worked(drawn: &Program, spelling: Spelling) -> Worked {
        /// A statement has at most twelve tokens and runs for at most 19 steps.
        const MAX_STEPS: usize = 20 * (32 + VARIABLES.len() + 1);
        let question = drawn.spelt(spelling);
        let mut steps = Vec::new();
        let run = run_observed(&question, MAX_STEPS, |assigned| {
            let Assigned {
                variable,
                left,
                right,
                value,
            } = assigned;
            let value = spelling.number(value);
            steps.push(match right {
                None => format!("{variable} = {value}"),
                Some((mark, right)) => {
                    let (left, right) = (spelling.number(left), spelling.operand(right));
                    format!("{variable} = {left} {mark} {right} = {value}")
                }
            });
        });
        let run =
            run.expect("programs made here keep to the language, their ranges and the budget");
        Worked {
            answer: run.printed[0],
            question,
            steps,
        }
    }

    fn words(&self) -> Vec<&'static str> {
        let product: &[&str] = match self.operators {
            Operators::AddSubtract => &[],
            Operators::AddSubtractMultiply => &["*"],
        };
        let loops: &[&str] = if 0.0 < self.loop_share {
            &["repeat", ":", "end"]
        } else {
            &[]
        };
        let variables = &VARIABLES[..self.n_variables];
        [variables, &["+", "-", "print"], product, loops].concat()
    }
}
