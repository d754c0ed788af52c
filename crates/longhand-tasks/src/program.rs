//! A tiny language and its interpreter, which stops at a budget of steps.
//!
//! ```text
//! a = 3 ; b = a + 2 ; repeat 3 : a = a + b ; end ; print a
//! ```
//!
//! Statements end with `;` or with the line. A right-hand side is a variable or a whole number,
//! alone or with a second one behind `+`, `-` or `*`. `repeat N :` repeats what stands before its
//! `end`, N times; loops may stand in loops.

use crate::{
    SolveError,
    lexer::{Token, tokens},
};

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// The numbers printed, in order.
    pub printed: Vec<i64>,
    /// Statements run; `repeat` and `end` count as often as they are met.
    pub n_steps: usize,
}

/// One assignment as it was run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Assigned<'a> {
    pub(crate) variable: &'a str,
    /// The values on the right-hand side: one, or two with the operation between them.
    pub(crate) left: i64,
    pub(crate) right: Option<(char, i64)>,
    pub(crate) value: i64,
}

/// Runs a program of at most `max_steps` tokens for at most `max_steps` steps.
///
/// ```
/// use longhand_tasks::run_program;
/// let run = run_program("a = 3\nrepeat 2:\n  a = a * a\nend\nprint a", 100)?;
/// assert_eq!((&run.printed[..], run.n_steps), (&[81][..], 7));
/// # Ok::<(), longhand_tasks::SolveError>(())
/// ```
///
/// # Errors
/// What is no program, reads a variable that has no value, leaves 64 bits or exceeds the budget.
pub fn run_program(program: &str, max_steps: usize) -> Result<Run, SolveError> {
    run_observed(program, max_steps, |_| {})
}

/// The same, showing every assignment as it is run.
pub(crate) fn run_observed<'a>(
    program: &'a str,
    max_steps: usize,
    mut on_assigned: impl FnMut(Assigned<'a>),
) -> Result<Run, SolveError> {
    let statements = parse(&tokens(program, max_steps)?)?;
    let mut run = Run::default();
    let mut variables: Vec<(&str, i64)> = Vec::new();
    // Turns left of each open loop, the innermost last.
    let mut open_loops: Vec<i64> = Vec::new();
    let mut at = 0;
    while let Some(statement) = statements.get(at) {
        if run.n_steps == max_steps {
            return Err(SolveError::OverBudget { budget: max_steps });
        }
        run.n_steps += 1;
        at += 1;
        let value_of = |operand: Operand<'a>| match operand {
            Operand::Number(value) => Ok(value),
            Operand::Variable(name) => variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| *value)
                .ok_or_else(|| SolveError::NoValue {
                    variable: name.to_owned(),
                }),
        };
        match *statement {
            Statement::Assign {
                variable,
                left,
                right,
            } => {
                let left = value_of(left)?;
                let right = match right {
                    Some((operation, operand)) => Some((operation, value_of(operand)?)),
                    None => None,
                };
                let value = match right {
                    None => Some(left),
                    Some(('+', right)) => left.checked_add(right),
                    Some(('-', right)) => left.checked_sub(right),
                    Some((_, right)) => left.checked_mul(right),
                };
                let value = value.ok_or(SolveError::Overflow)?;
                match variables.iter_mut().find(|(name, _)| *name == variable) {
                    Some((_, old)) => *old = value,
                    None => variables.push((variable, value)),
                }
                on_assigned(Assigned {
                    variable,
                    left,
                    right,
                    value,
                });
            }
            Statement::Print(operand) => run.printed.push(value_of(operand)?),
            Statement::Repeat { n_turns: 0, end } => at = end + 1,
            Statement::Repeat { n_turns, .. } => open_loops.push(n_turns),
            Statement::End { start } => match open_loops.last_mut() {
                Some(n_left) if 1 < *n_left => {
                    *n_left -= 1;
                    at = start + 1;
                }
                _ => {
                    open_loops.pop();
                }
            },
        }
    }
    Ok(run)
}

#[derive(Clone, Copy)]
enum Operand<'a> {
    Number(i64),
    Variable(&'a str),
}

#[derive(Clone, Copy)]
enum Statement<'a> {
    Assign {
        variable: &'a str,
        left: Operand<'a>,
        right: Option<(char, Operand<'a>)>,
    },
    Print(Operand<'a>),
    /// `end` is the index of the statement that ends the loop.
    Repeat {
        n_turns: i64,
        end: usize,
    },
    /// `start` is the index of the statement that begins the loop.
    End {
        start: usize,
    },
}

const KEYWORDS: [&str; 3] = ["repeat", "end", "print"];

/// The statements, loops being joined by index, so that no nesting is too deep.
fn parse<'a>(tokens: &[Token<'a>]) -> Result<Vec<Statement<'a>>, SolveError> {
    let mut statements = Vec::new();
    let mut open = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let rest = &tokens[at..];
        let unexpected = |offset: usize| SolveError::Unexpected { token: at + offset };
        let n_taken = match *rest {
            [Token::Mark(';'), ..] => {
                at += 1;
                continue;
            }
            [
                Token::Name("repeat"),
                Token::Number(n_turns),
                Token::Mark(':'),
                ..,
            ] => {
                open.push(statements.len());
                let end = usize::MAX;
                statements.push(Statement::Repeat { n_turns, end });
                // What is repeated may begin on the same line.
                at += 3;
                continue;
            }
            [Token::Name("end"), ..] => {
                let start = open.pop().ok_or_else(|| unexpected(0))?;
                let last = statements.len();
                if let Statement::Repeat { end, .. } = &mut statements[start] {
                    *end = last;
                }
                statements.push(Statement::End { start });
                1
            }
            [Token::Name("print"), ref rest @ ..] => {
                let operand = rest.first().and_then(operand);
                statements.push(Statement::Print(operand.ok_or_else(|| unexpected(1))?));
                2
            }
            [Token::Name(variable), Token::Mark('='), ref rest @ ..]
                if !KEYWORDS.contains(&variable) =>
            {
                let left = rest.first().and_then(operand);
                let left = left.ok_or_else(|| unexpected(2))?;
                let operation = match rest.get(1) {
                    Some(Token::Mark(mark @ ('+' | '-' | '*'))) => Some(*mark),
                    _ => None,
                };
                let right = match operation {
                    Some(operation) => {
                        let right = rest.get(2).and_then(operand);
                        Some((operation, right.ok_or_else(|| unexpected(4))?))
                    }
                    None => None,
                };
                statements.push(Statement::Assign {
                    variable,
                    left,
                    right,
                });
                3 + 2 * usize::from(right.is_some())
            }
            _ => return Err(unexpected(0)),
        };
        at += n_taken;
        if !matches!(tokens.get(at), None | Some(Token::Mark(';'))) {
            return Err(SolveError::Unexpected { token: at });
        }
    }
    if open.is_empty() {
        Ok(statements)
    } else {
        Err(SolveError::Unexpected {
            token: tokens.len(),
        })
    }
}

fn operand<'a>(token: &Token<'a>) -> Option<Operand<'a>> {
    match *token {
        Token::Number(value) => Some(Operand::Number(value)),
        Token::Name(name) if !KEYWORDS.contains(&name) => Some(Operand::Variable(name)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(program: &str, expected: Result<&[i64], SolveError>) {
        let found = run_program(program, 1000).map(|run| run.printed);
        assert_eq!(found, expected.map(<[i64]>::to_vec), "{program}");
    }

    fn unexpected(token: usize) -> Result<&'static [i64], SolveError> {
        Err(SolveError::Unexpected { token })
    }

    #[test]
    fn programs_do_what_they_say() {
        check("", Ok(&[]));
        check(
            "a = 3 ; b = a + 2 ; repeat 3 : a = a + b ; end ; print a",
            Ok(&[18]),
        );
        check("a = 1 2 ; a = a - 2 0\nprint a ; print 5 ;;", Ok(&[-8, 5]));
        // Two turns outside, three inside: a is doubled six times.
        let nested = "a = 1 ; repeat 2 : repeat 3 : a = a * 2 ; end ; b = a ; end ; print b";
        check(nested, Ok(&[64]));
        check(
            "a = 1 ; repeat 0 : repeat 5 : a = 2 ; end ; end ; print a",
            Ok(&[1]),
        );
        check("repeat 2 :\nprint 1\nend", Ok(&[1, 1]));
    }

    #[test]
    fn what_is_no_program_is_refused_at_its_token() {
        check("a", unexpected(0));
        check("a = ", unexpected(2));
        check("a = 1 +", unexpected(4));
        check("a = 1 + 2 + 3", unexpected(5));
        check("a = 1 print a", unexpected(3));
        check("repeat a : end", unexpected(0));
        check("repeat 2 : a = 1", unexpected(6));
        check("end", unexpected(0));
        check("print", unexpected(1));
        check("end = 1", unexpected(0));
        check("a = end", unexpected(2));
        check(
            "print b",
            Err(SolveError::NoValue {
                variable: "b".into(),
            }),
        );
    }

    #[test]
    fn hostile_programs_end_within_their_budget() {
        let over = Err(SolveError::OverBudget { budget: 1000 });
        check("repeat 9000000000000000000 : end", over.clone());
        check(
            "repeat 999999 : repeat 999999 : print 1 ; end ; end",
            over.clone(),
        );
        check(&"repeat 2 : ".repeat(100), unexpected(300));
        let deep = format!("{}{}", "repeat 2 : ".repeat(150), "end ; ".repeat(150));
        check(&deep, over.clone());
        check(&"repeat 1 : ".repeat(900), over);
        check(
            "a = 9 ; repeat 99 : a = a * a ; end",
            Err(SolveError::Overflow),
        );
        check("a = 99999999999999999999", Err(SolveError::Overflow));
    }

    #[test]
    fn the_budget_is_exact() {
        // Nine tokens; the loop, three prints and three ends.
        let program = "repeat 3 : print 7 ; end ; ;";
        assert_eq!(run_program(program, 9).map(|run| run.n_steps), Ok(7));
        let program = "repeat 3 : print 7 ; end";
        assert_eq!(run_program(program, 7).map(|run| run.n_steps), Ok(7));
        assert_eq!(
            run_program("repeat 4 : print 7 ; end", 7),
            Err(SolveError::OverBudget { budget: 7 })
        );
    }

    proptest! {
        #[test]
        fn any_program_ends(words in proptest::collection::vec(
            prop_oneof![Just("repeat"), Just("9"), Just(":"), Just("end"), Just("print"), Just("a"),
                        Just("="), Just("+"), Just(";")], 0..40)) {
            if let Ok(run) = run_program(&words.join(" "), 200) {
                prop_assert!(run.n_steps <= 200);
            }
        }
    }
}
