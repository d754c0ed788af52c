//! Whether two trees say the same.
//!
//! Entries of lists and sets are matched greedily in their order. A quantity with a unit is equal to the
//! bare number that its unit was left out of; between two units the amounts decide. An equation for one
//! symbol is equal to the other side alone, an inequality to its interval.

use num_traits::Signed;

use super::algebra::{Algebra, Value};
use super::budget::Stop;
use super::syntax::{Answer, Expression, Relation};
use super::unit::{DEGREE, RADIAN, Unit};

impl Algebra<'_> {
    /// Whether two answers are proved to be the same.
    ///
    /// # Errors
    /// When a value has no exact form, or the budget is spent.
    pub(super) fn same(&mut self, left: &Answer, right: &Answer) -> Result<bool, Stop> {
        self.meter.spend(1)?;
        let of_one_symbol = match (about(left), about(right)) {
            (Some(left), Some(right)) => left.is_empty() || right.is_empty() || left == right,
            _ => false,
        };
        if of_one_symbol
            && let (Some(left), Some(right)) = (self.real_set(left)?, self.real_set(right)?)
        {
            return Ok(left == right);
        }
        match (left, right) {
            (Answer::Text(left), Answer::Text(right)) => Ok(left == right),
            (Answer::Named(left), Answer::Named(right)) => Ok(left == right),
            (Answer::Quantity(left, unit), Answer::Quantity(right, other)) => {
                self.same_quantity((left, unit.as_ref()), (right, other.as_ref()))
            }
            (Answer::Relation(sides, relations), Answer::Relation(others, compared)) => {
                self.same_relation((sides, relations), (others, compared))
            }
            (Answer::Either(left), Answer::Either(right) | Answer::Union(right))
            | (Answer::Union(right), Answer::Either(left))
            | (Answer::Both(left), Answer::Both(right)) => {
                let (left, right): (Vec<_>, Vec<_>) =
                    (left.iter().collect(), right.iter().collect());
                self.same_unordered(&left, &right)
            }
            (Answer::Relation(sides, relations), other)
            | (other, Answer::Relation(sides, relations)) => match solution(sides, relations) {
                Some((_, solution)) => self.same(&solution, other),
                None => Ok(false),
            },
            (Answer::Set(left), Answer::Set(right) | Answer::List(right))
            | (Answer::List(right), Answer::Set(left)) => {
                let left = self.distinct(left)?;
                let right = self.distinct(right)?;
                self.same_unordered(&left, &right)
            }
            (Answer::List(left), Answer::List(right)) => {
                let (left, right): (Vec<_>, Vec<_>) =
                    (left.iter().collect(), right.iter().collect());
                self.same_unordered(&left, &right)
            }
            (
                Answer::Tuple {
                    open,
                    close,
                    entries,
                },
                Answer::Tuple {
                    open: other_open,
                    close: other_close,
                    entries: others,
                },
            ) => {
                let brackets = open == other_open && close == other_close;
                Ok(brackets && self.same_in_order(entries, others)?)
            }
            (Answer::Ratio(left), Answer::Ratio(right)) => self.same_in_order(left, right),
            (Answer::Matrix(is_determinant, rows), Answer::Matrix(other, others)) => {
                if is_determinant != other || rows.len() != others.len() {
                    return Ok(false);
                }
                for (row, other) in rows.iter().zip(others) {
                    if !self.same_in_order(row, other)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Answer::Union(left), Answer::Union(right)) => {
                let (left, right) = (united(left), united(right));
                let (left, right): (Vec<_>, Vec<_>) =
                    (left.iter().collect(), right.iter().collect());
                self.same_unordered(&left, &right)
            }
            (Answer::Union(parts), other) | (other, Answer::Union(parts)) => {
                match united(parts).as_slice() {
                    [part] => self.same(part, other),
                    _ => Ok(false),
                }
            }
            // A set of one is a solution.
            (Answer::Set(entries), other) | (other, Answer::Set(entries)) => {
                match entries.as_slice() {
                    [entry] => self.same(entry, other),
                    _ => Ok(false),
                }
            }
            (Answer::Difference(left, minus), Answer::Difference(right, other)) => {
                Ok(self.same(left, right)? && self.same(minus, other)?)
            }
            _ => Ok(false),
        }
    }

    fn same_in_order(&mut self, left: &[Answer], right: &[Answer]) -> Result<bool, Stop> {
        if left.len() != right.len() {
            return Ok(false);
        }
        for (left, right) in left.iter().zip(right) {
            if !self.same(left, right)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn same_unordered(&mut self, left: &[&Answer], right: &[&Answer]) -> Result<bool, Stop> {
        if left.len() != right.len() {
            return Ok(false);
        }
        let mut is_taken = vec![false; right.len()];
        'entries: for entry in left {
            for (idx, other) in right.iter().enumerate() {
                if !is_taken[idx] && self.same(entry, other)? {
                    is_taken[idx] = true;
                    continue 'entries;
                }
            }
            return Ok(false);
        }
        Ok(true)
    }

    fn distinct<'a>(&mut self, entries: &'a [Answer]) -> Result<Vec<&'a Answer>, Stop> {
        let mut distinct: Vec<&Answer> = Vec::new();
        'entries: for entry in entries {
            for known in &distinct {
                if self.same(entry, known)? {
                    continue 'entries;
                }
            }
            distinct.push(entry);
        }
        Ok(distinct)
    }

    fn same_quantity(
        &mut self,
        (left, unit): (&Expression, Option<&Unit>),
        (right, other): (&Expression, Option<&Unit>),
    ) -> Result<bool, Stop> {
        if let (Some(sign), Some(other_sign)) = (infinity(left), infinity(right)) {
            return Ok(sign == other_sign);
        }
        if infinity(left).is_some() || infinity(right).is_some() {
            return Ok(false);
        }
        let (left, right) = (self.value(left)?, self.value(right)?);
        match (unit, other) {
            (None, None) => self.equal(&left, &right),
            (Some(unit), None) => self.without_unit((&left, unit), &right),
            (None, Some(unit)) => self.without_unit((&right, unit), &left),
            (Some(unit), Some(other)) if unit.powers == other.powers => {
                let left = self.product(&left, &Value::number(unit.factor.clone()))?;
                let right = self.product(&right, &Value::number(other.factor.clone()))?;
                self.equal(&left, &right)
            }
            (Some(unit), Some(other)) if unit.is(DEGREE) && other.is(RADIAN) => {
                let left = self.degrees(&left)?;
                self.equal(&left, &right)
            }
            (Some(unit), Some(other)) if unit.is(RADIAN) && other.is(DEGREE) => {
                let right = self.degrees(&right)?;
                self.equal(&left, &right)
            }
            (Some(_), Some(_)) => Ok(false),
        }
    }

    /// A quantity with a unit and a number without one: the unit was left out, or 90 degrees were
    /// written as half of pi.
    fn without_unit(&mut self, (value, unit): (&Value, &Unit), bare: &Value) -> Result<bool, Stop> {
        if self.equal(value, bare)? {
            return Ok(true);
        }
        if !unit.is(DEGREE) || self.is_nothing(value) {
            return Ok(false);
        }
        let radians = self.degrees(value)?;
        self.equal(&radians, bare)
    }

    fn same_relation(
        &mut self,
        (sides, relations): (&[Answer], &[Relation]),
        (others, compared): (&[Answer], &[Relation]),
    ) -> Result<bool, Stop> {
        if relations == compared && self.same_in_order(sides, others)? {
            return Ok(true);
        }
        let solved = (solution(sides, relations), solution(others, compared));
        if let (Some((symbol, solution)), Some((other, solved))) = &solved
            && symbol == other
            && !symbol.is_empty()
            && self.same(solution, solved)?
        {
            return Ok(true);
        }
        let ([left, right], [relation]) = (sides, relations) else {
            return Ok(false);
        };
        let ([other_left, other_right], [other]) = (others, compared) else {
            return Ok(false);
        };
        let (Some(left), Some(right)) = (bare(left), bare(right)) else {
            return Ok(false);
        };
        let (Some(other_left), Some(other_right)) = (bare(other_left), bare(other_right)) else {
            return Ok(false);
        };
        // Both as `difference R 0`.
        let difference = self.difference(left, right)?;
        let other_difference = self.difference(other_left, other_right)?;
        let Some(ratio) = self.proportion(&difference, &other_difference)? else {
            return Ok(false);
        };
        Ok(match (relation, other) {
            (Relation::Equal, Relation::Equal) | (Relation::Unequal, Relation::Unequal) => true,
            (Relation::In, _) | (_, Relation::In) => false,
            (Relation::Equal | Relation::Unequal, _) | (_, Relation::Equal | Relation::Unequal) => {
                false
            }
            _ if ratio.is_positive() => relation == other,
            _ => *relation == other.turned(),
        })
    }

    fn difference(&mut self, left: &Expression, right: &Expression) -> Result<Value, Stop> {
        let left = self.value(left)?;
        let right = self.value(right)?;
        let right = self.negated(&right);
        self.sum(&left, &right)
    }
}

impl Relation {
    /// With its sides exchanged.
    fn turned(self) -> Relation {
        match self {
            Relation::Less => Relation::Greater,
            Relation::LessOrEqual => Relation::GreaterOrEqual,
            Relation::Greater => Relation::Less,
            Relation::GreaterOrEqual => Relation::LessOrEqual,
            other => other,
        }
    }
}

/// Whether an expression is infinite, and then whether it is negative.
pub(super) fn infinity(expression: &Expression) -> Option<bool> {
    match expression {
        Expression::Infinity => Some(false),
        Expression::Negated(inner) => infinity(inner).map(|is_negative| !is_negative),
        _ => None,
    }
}

/// The symbol that inequalities are about, empty where there are none; `None` for different symbols.
fn about(answer: &Answer) -> Option<String> {
    match answer {
        Answer::Relation(sides, relations) => match (sides.as_slice(), relations.as_slice()) {
            ([left, _], [Relation::Unequal]) => Some(left.symbol().unwrap_or_default().to_owned()),
            _ => Some(solution(sides, relations).map_or(String::new(), |(symbol, _)| symbol)),
        },
        Answer::Union(parts) | Answer::Either(parts) | Answer::Both(parts) => {
            let mut common = String::new();
            for part in parts {
                let symbol = about(part)?;
                if !symbol.is_empty() && !common.is_empty() && symbol != common {
                    return None;
                }
                if common.is_empty() {
                    common = symbol;
                }
            }
            Some(common)
        }
        _ => Some(String::new()),
    }
}

/// A formula without a unit.
fn bare(answer: &Answer) -> Option<&Expression> {
    match answer {
        Answer::Quantity(expression, None) => Some(expression),
        _ => None,
    }
}

/// What a relation says about one symbol, and its name: the value, the set, or the interval. A tuple of
/// symbols has the empty name.
pub(super) fn solution(sides: &[Answer], relations: &[Relation]) -> Option<(String, Answer)> {
    let is_symbols = |answer: &Answer| match answer {
        Answer::Tuple { entries, .. } => entries.iter().all(|entry| entry.symbol().is_some()),
        other => other.symbol().is_some(),
    };
    let name = |answer: &Answer| answer.symbol().unwrap_or_default().to_owned();
    match (sides, relations) {
        ([left, right], [Relation::Equal]) if is_symbols(left) => Some((name(left), right.clone())),
        ([left, right], [Relation::Equal]) if is_symbols(right) => {
            Some((name(right), left.clone()))
        }
        ([left, right], [Relation::In]) if is_symbols(left) => Some((name(left), right.clone())),
        // `a = b = c`: the last step.
        ([left, .., last], relations)
            if is_symbols(left) && relations.iter().all(|r| *r == Relation::Equal) =>
        {
            Some((name(left), last.clone()))
        }
        ([left, right], [relation]) => {
            let (symbol, relation, end) = match (left.symbol(), right.symbol()) {
                (Some(symbol), None) => (symbol, *relation, right),
                (None, Some(symbol)) => (symbol, relation.turned(), left),
                _ => return None,
            };
            let (open, close) = match relation {
                Relation::Less => ('(', ')'),
                Relation::LessOrEqual => ('(', ']'),
                Relation::Greater => ('(', ')'),
                Relation::GreaterOrEqual => ('[', ')'),
                _ => return None,
            };
            let infinity = Answer::Quantity(Expression::Infinity, None);
            let entries = match relation {
                Relation::Less | Relation::LessOrEqual => {
                    let negative = Expression::Negated(Box::new(Expression::Infinity));
                    vec![Answer::Quantity(negative, None), end.clone()]
                }
                _ => vec![end.clone(), infinity],
            };
            Some((
                symbol.to_owned(),
                Answer::Tuple {
                    open,
                    close,
                    entries,
                },
            ))
        }
        ([low, middle, high], [first, second]) => {
            let symbol = middle.symbol()?.to_owned();
            let (low, high, first, second) = match first {
                Relation::Less | Relation::LessOrEqual => (low, high, *first, *second),
                _ => (high, low, second.turned(), first.turned()),
            };
            let open = match first {
                Relation::Less => '(',
                Relation::LessOrEqual => '[',
                _ => return None,
            };
            let close = match second {
                Relation::Less => ')',
                Relation::LessOrEqual => ']',
                _ => return None,
            };
            Some((
                symbol,
                Answer::Tuple {
                    open,
                    close,
                    entries: vec![low.clone(), high.clone()],
                },
            ))
        }
        _ => None,
    }
}

/// The parts of a union, with its sets as one and without empty ones.
fn united(parts: &[Answer]) -> Vec<Answer> {
    let mut elements = Vec::new();
    let mut others = Vec::new();
    for part in parts {
        match part {
            Answer::Set(entries) => elements.extend(entries.iter().cloned()),
            Answer::Union(inner) => others.extend(united(inner)),
            // `x < 1` or `x > 2`, written with the sign of a union.
            Answer::Relation(sides, relations) => match solution(sides, relations) {
                Some((_, interval)) => others.push(interval),
                None => others.push(part.clone()),
            },
            _ => others.push(part.clone()),
        }
    }
    if !elements.is_empty() || others.is_empty() {
        others.push(Answer::Set(elements));
    }
    others
}
