//! What stands in brackets: sets, tuples, intervals, matrices, and sets by what is said of their members.

use super::budget::Stop;
use super::parse::Parser;
use super::syntax::{Answer, Relation};
use super::token::Token;

impl Parser<'_> {
    /// An answer that is all inside one pair of brackets, unless these only group a formula.
    pub(super) fn brackets(&mut self, start: usize, end: usize) -> Result<Option<Answer>, Stop> {
        let Some(open) = self.mark(start) else {
            return self.matrix(start, end);
        };
        if self.closing(start) != Some(end - 1) {
            return Ok(None);
        }
        let close = self.mark(end - 1).unwrap_or(open);
        let inside = (start + 1, end - 1);
        let has_commas = !self.places(inside.0, inside.1, &[',', ';'])?.is_empty();
        let braces_are_a_set = open == '{' && has_commas;
        if open == '⦃'
            && let Some(&bar) = self.places(inside.0, inside.1, &['|', ':'])?.first()
        {
            return self.set_builder(inside.0, bar, inside.1).map(Some);
        }
        if open == '⦃' || braces_are_a_set {
            let entries = self.entries(inside.0, inside.1, &[',', ';', '∧', '∨'])?;
            return Ok(Some(Answer::Set(entries)));
        }
        let is_tuple = has_commas && matches!(open, '(' | '[') || open == '⟨';
        if is_tuple {
            let entries = self.entries(inside.0, inside.1, &[',', ';'])?;
            return Ok(Some(Answer::Tuple {
                open,
                close,
                entries,
            }));
        }
        // Brackets around a matrix, and braces and round brackets around anything.
        let is_matrix = matches!(self.token(start + 1), Some(Token::Command(name)) if name.starts_with("begin "));
        let has_relation = !self
            .places(
                inside.0,
                inside.1,
                &['=', '≠', '<', '>', '≤', '≥', '∈', '∪'],
            )?
            .is_empty();
        if is_matrix && open != '⌊' && open != '⌈' || has_relation && matches!(open, '(' | '{')
        {
            let inner = self.deeper(|parser| parser.entry(inside.0, inside.1));
            return inner.map(Some);
        }
        Ok(None)
    }

    /// `{x | x > 2}` is what it says about x.
    fn set_builder(&mut self, start: usize, bar: usize, end: usize) -> Result<Answer, Stop> {
        let is_symbol = |at: usize| match self.token(at) {
            Some(Token::Word { text, .. }) => text.chars().count() == 1,
            _ => false,
        };
        let is_real = bar == start + 3
            && self.is_mark(start + 1, '∈')
            && self.token(start + 2) == Some(&Token::Command("mathbb R".to_owned()));
        if !is_symbol(start) || bar != start + 1 && !is_real {
            return Err(Stop::NotRead);
        }
        let symbol = self.tokens[start].token.clone();
        let rest = self.deeper(|parser| parser.answer(bar + 1, end))?;
        let is_about = |answer: &Answer| match (answer, &symbol) {
            (Answer::Relation(sides, _), Token::Word { text, .. }) => {
                sides.iter().any(|side| side.symbol() == Some(text))
            }
            _ => false,
        };
        let is_sound = match &rest {
            Answer::Either(parts) | Answer::Both(parts) => parts.iter().all(is_about),
            Answer::Relation(_, relations) => relations[0] != Relation::Equal && is_about(&rest),
            _ => false,
        };
        is_sound.then_some(rest).ok_or(Stop::NotRead)
    }

    fn matrix(&mut self, start: usize, end: usize) -> Result<Option<Answer>, Stop> {
        let environment = |at: usize, prefix: &str| match self.token(at) {
            Some(Token::Command(name)) => name.strip_prefix(prefix).map(str::to_owned),
            _ => None,
        };
        let (Some(first), Some(last)) =
            (environment(start, "begin "), environment(end - 1, "end "))
        else {
            return Ok(None);
        };
        let is_matrix = [
            "matrix",
            "pmatrix",
            "bmatrix",
            "Bmatrix",
            "array",
            "smallmatrix",
        ];
        let is_determinant = first == "vmatrix";
        let inner = (start + 1, end - 1);
        let nested = (inner.0..inner.1).any(|at| environment(at, "begin ").is_some());
        if first != last || nested || !is_determinant && !is_matrix.contains(&first.as_str()) {
            return Err(Stop::NotRead);
        }
        let mut rows = Vec::new();
        let breaks = self.places(inner.0, inner.1, &['↵'])?;
        let row_ranges = Parser::between(inner.0, inner.1, &breaks);
        let n_rows = row_ranges.len();
        for (row_idx, (start, end)) in row_ranges.into_iter().enumerate() {
            // A break may stand behind the last row too.
            if start == end && row_idx + 1 == n_rows && row_idx != 0 {
                continue;
            }
            let cells = self.places(start, end, &['&'])?;
            let mut row = Vec::new();
            for (start, end) in Parser::between(start, end, &cells) {
                row.push(self.deeper(|parser| parser.side(start, end))?);
            }
            rows.push(row);
        }
        Ok(Some(Answer::Matrix(is_determinant, rows)))
    }
}
