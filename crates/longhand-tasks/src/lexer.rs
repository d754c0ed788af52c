//! Cuts what a task asks or a policy writes into numbers, names and marks.

use crate::SolveError;

/// One piece of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A whole number of at least 0.
    Number(i64),
    /// A run of letters.
    Name(&'a str),
    /// Any other character; the end of a line is `;`.
    Mark(char),
}

/// The tokens of a text, at most `max_tokens` of them.
///
/// Spaces between digits mean nothing: `1 4` is fourteen, as word-level policies write it. So two
/// numbers never stand side by side.
pub(crate) fn tokens(text: &str, max_tokens: usize) -> Result<Vec<Token<'_>>, SolveError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if next.is_whitespace() && next != '\n' {
            rest = &rest[next.len_utf8()..];
            continue;
        }
        if tokens.len() == max_tokens {
            return Err(SolveError::OverBudget { budget: max_tokens });
        }
        let token;
        (token, rest) = if next.is_ascii_digit() {
            number(rest)?
        } else if next.is_ascii_alphabetic() {
            let is_other = |c: char| !c.is_ascii_alphabetic();
            let (name, behind) = rest.split_at(rest.find(is_other).unwrap_or(rest.len()));
            (Token::Name(name), behind)
        } else {
            let mark = if next == '\n' { ';' } else { next };
            (Token::Mark(mark), &rest[next.len_utf8()..])
        };
        tokens.push(token);
    }
    Ok(tokens)
}

/// The number at the start of a text, and what stands behind it.
fn number(text: &str) -> Result<(Token<'_>, &str), SolveError> {
    let (mut value, mut rest) = (0_i64, text);
    while let Some(digit) = rest.chars().next().and_then(|c| c.to_digit(10)) {
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(i64::from(digit)))
            .ok_or(SolveError::Overflow)?;
        rest = &rest[1..];
        let behind = rest.trim_start_matches([' ', '\t']);
        if behind.starts_with(|c: char| c.is_ascii_digit()) {
            rest = behind;
        }
    }
    Ok((Token::Number(value), rest))
}

#[cfg(test)]
mod tests {
    use super::{Token::*, *};

    #[test]
    fn digits_join_over_spaces_but_not_over_lines() {
        let found = tokens("1 4x+( 20\n3 0 ;", 20);
        let expect = [
            Number(14),
            Name("x"),
            Mark('+'),
            Mark('('),
            Number(20),
            Mark(';'),
            Number(30),
            Mark(';'),
        ];
        assert_eq!(found.as_deref(), Ok(&expect[..]));
        assert_eq!(tokens("", 0), Ok(vec![]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let most = i64::MAX.to_string();
        assert_eq!(tokens(&most, 1), Ok(vec![Number(i64::MAX)]));
        assert_eq!(tokens(&format!("{most}0"), 1), Err(SolveError::Overflow));
        assert_eq!(tokens("a b", 1), Err(SolveError::OverBudget { budget: 1 }));
        assert_eq!(tokens("é", 1), Ok(vec![Mark('é')]));
    }
}
