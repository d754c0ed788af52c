//! Evaluates expressions of whole numbers and one unknown, exactly and within a budget.
//!
//! `value = slope · x + constant`, for `+`, `-`, `*`, `/`, brackets, signs and products without a
//! mark (`3x`, `3 ( x + 2 )`). A quotient must be whole and a product must not have `x` on both sides.

use crate::{
    SolveError,
    lexer::{Token, tokens},
};

/// Brackets and signs that may be open at a time: what is written is hostile input.
const MAX_DEPTH: usize = 64;

/// `slope · x + constant`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Linear {
    pub(crate) slope: i64,
    pub(crate) constant: i64,
}

impl Linear {
    fn number(constant: i64) -> Self {
        Linear { slope: 0, constant }
    }

    /// The value where the unknown is `x`.
    pub(crate) fn at(self, x: i64) -> Result<i64, SolveError> {
        self.slope
            .checked_mul(x)
            .and_then(|product| product.checked_add(self.constant))
            .ok_or(SolveError::Overflow)
    }

    fn each(
        self,
        other: Linear,
        operation: impl Fn(i64, i64) -> Option<i64>,
    ) -> Result<Linear, SolveError> {
        let slope = operation(self.slope, other.slope);
        let constant = operation(self.constant, other.constant);
        match (slope, constant) {
            (Some(slope), Some(constant)) => Ok(Linear { slope, constant }),
            _ => Err(SolveError::Overflow),
        }
    }

    fn times(self, other: Linear) -> Result<Linear, SolveError> {
        let (line, factor) = match (self.slope, other.slope) {
            (_, 0) => (self, other.constant),
            (0, _) => (other, self.constant),
            _ => return Err(SolveError::NotLinear),
        };
        line.each(
            Linear {
                slope: factor,
                constant: factor,
            },
            i64::checked_mul,
        )
    }

    fn over(self, other: Linear) -> Result<Linear, SolveError> {
        let divisor = other.constant;
        let is_whole = |value: i64| value.checked_rem(divisor) == Some(0);
        if other.slope != 0 {
            Err(SolveError::NotLinear)
        } else if divisor == 0 || !is_whole(self.slope) || !is_whole(self.constant) {
            Err(SolveError::NotWhole)
        } else {
            self.each(
                Linear {
                    slope: divisor,
                    constant: divisor,
                },
                i64::checked_div,
            )
        }
    }
}

/// The value of an expression of at most `budget` tokens; `unknown` is the letter that stands for `x`.
pub(crate) fn evaluate(
    text: &str,
    unknown: Option<&str>,
    budget: usize,
) -> Result<Linear, SolveError> {
    let tokens = tokens(text, budget)?;
    let mut parser = Parser {
        tokens: &tokens,
        at: 0,
        depth: 0,
        unknown,
    };
    let value = parser.sum()?;
    if parser.at < tokens.len() {
        return Err(parser.unexpected());
    }
    Ok(value)
}

struct Parser<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
    depth: usize,
    unknown: Option<&'a str>,
}

impl<'a> Parser<'a> {
    fn next(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at).copied()
    }

    fn unexpected(&self) -> SolveError {
        SolveError::Unexpected { token: self.at }
    }

    /// Takes the mark if it comes next.
    fn take(&mut self, mark: char) -> bool {
        let is_next = self.next() == Some(Token::Mark(mark));
        self.at += usize::from(is_next);
        is_next
    }

    fn sum(&mut self) -> Result<Linear, SolveError> {
        let mut value = self.product()?;
        loop {
            value = if self.take('+') {
                value.each(self.product()?, i64::checked_add)?
            } else if self.take('-') {
                value.each(self.product()?, i64::checked_sub)?
            } else {
                return Ok(value);
            };
        }
    }

    fn product(&mut self) -> Result<Linear, SolveError> {
        let mut value = self.signed()?;
        loop {
            value = if self.take('*') {
                value.times(self.signed()?)?
            } else if self.take('/') {
                value.over(self.signed()?)?
            } else if matches!(self.next(), Some(Token::Mark('(') | Token::Name(_))) {
                value.times(self.factor()?)?
            } else {
                return Ok(value);
            };
        }
    }

    fn signed(&mut self) -> Result<Linear, SolveError> {
        if !self.take('-') {
            return self.factor();
        }
        let value = self.deeper(Self::signed)?;
        Linear::number(0).each(value, i64::checked_sub)
    }

    fn factor(&mut self) -> Result<Linear, SolveError> {
        let value = match self.next() {
            Some(Token::Number(value)) => Linear::number(value),
            Some(Token::Name(name)) if Some(name) == self.unknown => Linear {
                slope: 1,
                constant: 0,
            },
            Some(Token::Mark('(')) => {
                self.at += 1;
                let value = self.deeper(Self::sum)?;
                return if self.take(')') {
                    Ok(value)
                } else {
                    Err(self.unexpected())
                };
            }
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        Ok(value)
    }

    fn deeper(
        &mut self,
        part: fn(&mut Self) -> Result<Linear, SolveError>,
    ) -> Result<Linear, SolveError> {
        if self.depth == MAX_DEPTH {
            return Err(SolveError::TooDeep { depth: MAX_DEPTH });
        }
        self.depth += 1;
        let value = part(self);
        self.depth -= 1;
        value
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<[i64; 2], SolveError>) {
        let found = evaluate(text, Some("x"), 1000);
        assert_eq!(
            found.map(|line| [line.slope, line.constant]),
            expected,
            "{text}"
        );
    }

    #[test]
    fn products_bind_before_sums_and_both_from_the_left() {
        check("2 + 3 * 4 - 5", Ok([0, 9]));
        check("1 2 - 3 - 4", Ok([0, 5]));
        check("24 / 4 / 3 * 5", Ok([0, 10]));
        check("2 * ( 3 + 4 )", Ok([0, 14]));
        check("4 - - 5", Ok([0, 9]));
        check("-2 * -(3)", Ok([0, 6]));
    }

    #[test]
    fn a_product_needs_no_mark_before_a_letter_or_a_bracket() {
        check("3x + 4", Ok([3, 4]));
        check("1 2 ( x - 2 ) - x", Ok([11, -24]));
        check("- x / -1", Ok([1, 0]));
        check("(2)(3)", Ok([0, 6]));
        // As far as it goes: a quotient is taken before the letter behind it.
        check("6 / 2 x", Ok([3, 0]));
    }

    #[test]
    fn what_is_no_such_expression_is_refused() {
        for (text, token) in [
            ("", 0),
            ("1 +", 2),
            ("( 1", 2),
            ("1 )", 1),
            ("y", 0),
            ("1 = 1", 1),
        ] {
            check(text, Err(SolveError::Unexpected { token }));
        }
        check("x * x", Err(SolveError::NotLinear));
        check("1 / x", Err(SolveError::NotLinear));
        check("7 / 2", Err(SolveError::NotWhole));
        check("7 / 0", Err(SolveError::NotWhole));
        check("9223372036854775807 + 1", Err(SolveError::Overflow));
        check("(-9223372036854775807 - 1) / -1", Err(SolveError::NotWhole));
    }

    #[test]
    fn hostile_expressions_end_within_their_budget() {
        check(&"(".repeat(900), Err(SolveError::TooDeep { depth: 64 }));
        check(&"-".repeat(900), Err(SolveError::TooDeep { depth: 64 }));
        check(
            &"1+".repeat(900),
            Err(SolveError::OverBudget { budget: 1000 }),
        );
        let squares = format!("{}1", "3037000500*".repeat(3));
        check(&squares, Err(SolveError::Overflow));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "[0-9x+*/() -]{0,40}") {
            let _ = evaluate(&text, Some("x"), 30);
        }
    }
}
