//! Solves the questions of the reasoning tasks from their text, and checks what a policy wrote.
//!
//! Nothing here knows how a question was made: it is read as anybody would read it. Every function
//! ends within its budget, whatever text it is given.

use serde::{Deserialize, Serialize};

use crate::{expression::evaluate, program::run_program};

/// Why a text has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SolveError {
    /// Something stands where it cannot.
    #[error("token {token} is not expected there")]
    Unexpected {
        /// Its number, from 0; the number of tokens if the text ends too early.
        token: usize,
    },
    /// More tokens or more steps than allowed.
    #[error("more than {budget} tokens or steps")]
    OverBudget {
        /// The budget.
        budget: usize,
    },
    /// Too many brackets or signs in one another.
    #[error("more than {depth} brackets or signs in one another")]
    TooDeep {
        /// How many may be open.
        depth: usize,
    },
    /// A number that does not fit into 64 bits.
    #[error("a number leaves 64 bits")]
    Overflow,
    /// A quotient that is no whole number.
    #[error("a quotient is not whole")]
    NotWhole,
    /// The unknown multiplied by itself, or as a divisor.
    #[error("the unknown stands in a product with itself or under a fraction")]
    NotLinear,
    /// A variable that was never set.
    #[error("variable `{variable}` has no value")]
    NoValue {
        /// Its name.
        variable: String,
    },
    /// An equation with no solution or with many, or a program that does not print one number.
    #[error("there is not one answer")]
    NotOneAnswer,
}

/// Which kind of question is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reasoning {
    /// The value of an expression.
    Arithmetic,
    /// The whole `x` for which an equation holds.
    Algebra,
    /// The one number that a program prints.
    CodeTrace,
}

/// What is true of a written-out solution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The answer that follows from the question.
    pub truth: i64,
    /// The number in the last box; `None` if there is none.
    pub answered: Option<i64>,
    /// Steps written before the box.
    pub n_steps: usize,
    /// Steps whose equalities hold: for an equation, with its solution for `x`; of an assignment, what
    /// stands behind the variable.
    pub n_true_steps: usize,
}

impl Reasoning {
    /// The answer to a question, from its text alone.
    ///
    /// What stands before the last blank line is an instruction, and left out.
    ///
    /// # Errors
    /// What is no such question, has not one whole answer, or exceeds `budget` tokens or steps.
    pub fn solve(self, question: &str, budget: usize) -> Result<i64, SolveError> {
        let question = question.rsplit("\n\n").next().unwrap_or(question);
        match self {
            Reasoning::Arithmetic => evaluate(question, None, budget)?.at(0),
            Reasoning::Algebra => {
                let (left, right) = question
                    .split_once('=')
                    .ok_or(SolveError::Unexpected { token: 0 })?;
                let left = evaluate(left, Some(UNKNOWN), budget)?;
                let right = evaluate(right, Some(UNKNOWN), budget)?;
                let difference = |a: i64, b: i64| a.checked_sub(b).ok_or(SolveError::Overflow);
                let slope = difference(left.slope, right.slope)?;
                let constant = difference(right.constant, left.constant)?;
                if slope == 0 {
                    return Err(SolveError::NotOneAnswer);
                }
                match constant.checked_rem(slope) {
                    Some(0) => constant.checked_div(slope).ok_or(SolveError::Overflow),
                    _ => Err(SolveError::NotWhole),
                }
            }
            Reasoning::CodeTrace => match run_program(question, budget)?.printed[..] {
                [printed] => Ok(printed),
                _ => Err(SolveError::NotOneAnswer),
            },
        }
    }

    /// Checks a written-out solution: its box, and every step by itself.
    ///
    /// Steps end with `;` or with the line. Steps may hold and still not follow from the question.
    ///
    /// # Errors
    /// When the question cannot be solved. A solution is never an error: a step that cannot be read, or
    /// that needs more than `budget` tokens, does not hold.
    pub fn verify(
        self,
        question: &str,
        solution: &str,
        budget: usize,
    ) -> Result<Verdict, SolveError> {
        let truth = self.solve(question, budget)?;
        let (steps, answered) = match solution.rsplit_once(BOX) {
            Some((steps, rest)) => {
                let boxed = rest.split_once('}').map(|(boxed, _)| boxed);
                (steps, boxed.and_then(whole_number))
            }
            None => (solution, None),
        };
        let steps = steps.split([';', '\n']).map(str::trim);
        let (mut n_steps, mut n_true_steps) = (0, 0);
        for step in steps.filter(|step| !step.is_empty()).take(budget) {
            n_steps += 1;
            n_true_steps += usize::from(self.holds(step, truth, budget));
        }
        Ok(Verdict {
            truth,
            answered,
            n_steps,
            n_true_steps,
        })
    }

    fn holds(self, step: &str, truth: i64, budget: usize) -> bool {
        let unknown = (self == Reasoning::Algebra).then_some(UNKNOWN);
        let mut sides = step.split('=').map(str::trim);
        if self == Reasoning::CodeTrace {
            // What stands before the first sign is the variable that is set.
            let variable = sides.next().unwrap_or_default();
            if variable.is_empty() || !variable.bytes().all(|byte| byte.is_ascii_lowercase()) {
                return false;
            }
        }
        let at_least = if self == Reasoning::CodeTrace { 1 } else { 2 };
        let values: Option<Vec<i64>> = sides
            .map(|side| evaluate(side, unknown, budget).and_then(|line| line.at(truth)))
            .map(Result::ok)
            .collect();
        values.is_some_and(|values| {
            at_least <= values.len() && values.windows(2).all(|pair| pair[0] == pair[1])
        })
    }
}

/// The letter that equations are solved for.
pub(crate) const UNKNOWN: &str = "x";

/// What opens the final answer, as in LaTeX.
pub(crate) const BOX: &str = "\\boxed{";

fn whole_number(text: &str) -> Option<i64> {
    let text = text.replace(char::is_whitespace, "");
    let digits = text.strip_prefix('-').unwrap_or(&text);
    // `parse` alone would also take a plus sign.
    digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Reasoning::*, *};

    #[track_caller]
    fn check(kind: Reasoning, question: &str, expected: Result<i64, SolveError>) {
        assert_eq!(kind.solve(question, 200), expected, "{question}");
    }

    #[test]
    fn questions_are_solved_in_both_forms() {
        check(Arithmetic, "( 7 + 5 ) * 3 - 1 0", Ok(26));
        check(Arithmetic, "Compute:\n\n(7 + 5) * 3 - 10", Ok(26));
        check(Algebra, "3 x + 4 = 1 9", Ok(5));
        check(Algebra, "Solve for x:\n\n5(x - 2) = 2x - 16", Ok(-2));
        check(
            CodeTrace,
            "a = 3 ; repeat 2 : a = a + 2 ; end ; print a",
            Ok(7),
        );
        check(CodeTrace, "What is printed?\n\na = 1 - 2\nprint a", Ok(-1));
    }

    #[test]
    fn questions_without_one_whole_answer_are_refused() {
        check(Algebra, "2 x = 3", Err(SolveError::NotWhole));
        check(Algebra, "x + 1 = x + 1", Err(SolveError::NotOneAnswer));
        check(Algebra, "x + 1", Err(SolveError::Unexpected { token: 0 }));
        check(CodeTrace, "a = 1", Err(SolveError::NotOneAnswer));
        check(
            CodeTrace,
            "print 1 ; print 2",
            Err(SolveError::NotOneAnswer),
        );
        check(
            Arithmetic,
            "x + 1",
            Err(SolveError::Unexpected { token: 0 }),
        );
    }

    /// Steps, true steps and the number in the box.
    #[track_caller]
    fn check_steps(
        kind: Reasoning,
        question: &str,
        solution: &str,
        expected: (usize, usize, Option<i64>),
    ) {
        let found = kind.verify(question, solution, 100).unwrap();
        let found = (found.n_steps, found.n_true_steps, found.answered);
        assert_eq!(found, expected, "{solution}");
    }

    #[test]
    fn every_step_is_held_against_what_it_says() {
        let sum = |solution, expected| check_steps(Arithmetic, "2 + 3 * 4", solution, expected);
        sum(
            "3 * 4 = 1 2 ; 2 + 1 2 = 1 4 ; \\boxed{ 1 4 }",
            (2, 2, Some(14)),
        );
        sum("3 * 4 = 13\n2 + 13 = 15\n\\boxed{15}", (2, 1, Some(15)));
        sum(
            "3 * 4 ; = 1 ; 1 = ; a = 1 ; ; \\boxed{ - 1 4 }",
            (4, 0, Some(-14)),
        );
        sum("", (0, 0, None));
        sum("\\boxed{1} 1 = 1 ; \\boxed{2} or 3", (1, 0, Some(2)));
        sum("\\boxed{1 - 2}", (0, 0, None));
        sum("\\boxed{", (0, 0, None));
        sum("\\boxed{5", (0, 0, None));
        sum("\\boxed{+5}", (0, 0, None));

        let line = |solution, expected| check_steps(Algebra, "3 x + 4 = 1 9", solution, expected);
        line(
            "3 x = 1 9 - 4 = 1 5 ; x = 1 5 / 3 = 5 ; \\boxed{ 5 }",
            (2, 2, Some(5)),
        );
        line("3x = 14\nx = 14 / 3\n\\boxed{4}", (2, 0, Some(4)));

        let trace = |solution, expected| check_steps(CodeTrace, "print 7", solution, expected);
        trace("a = 3 ; b = 3 + 2 = 5 ; \\boxed{ 7 }", (2, 2, Some(7)));
        trace(
            "a ; 3 = 3 ; b = 3 + 2 = 6 ; b = a + 1 ; ab = 2",
            (5, 1, None),
        );
    }

    #[test]
    fn hostile_solutions_end_within_their_budget() {
        check_steps(Arithmetic, "1", &"1 = 1 ; ".repeat(5000), (100, 100, None));
        check_steps(Arithmetic, "1", &"1+".repeat(5000), (1, 0, None));
        check_steps(Arithmetic, "1", &"\\boxed{".repeat(5000), (1, 0, None));
        let digits = format!("\\boxed{{{}}}", "9".repeat(100_000));
        check_steps(Arithmetic, "1", &digits, (0, 0, None));
        let sides = "1 = ".repeat(5000);
        check_steps(Arithmetic, "1", &sides, (1, 0, None));
    }

    proptest! {
        #[test]
        fn any_solution_is_survived(solution in "(\\\\boxed|[{}0-9x=+*/;() -]){0,60}") {
            for kind in [Arithmetic, Algebra] {
                let question = if kind == Algebra { "x = 3" } else { "3" };
                let verdict = kind.verify(question, &solution, 50).unwrap();
                prop_assert!(verdict.n_true_steps <= verdict.n_steps && verdict.n_steps <= 50);
            }
        }
    }
}
