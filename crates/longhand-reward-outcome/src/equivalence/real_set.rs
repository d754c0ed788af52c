//! Sets of real numbers with rational ends, as disjoint intervals in order.
//!
//! `(-inf, 0) u (0, inf)`, `x != 0`, `R \ {0}` and `x < 0 or x > 0` are one set. Sets with other ends are
//! compared as they were written.

use num_rational::BigRational;

use super::algebra::Algebra;
use super::budget::Stop;
use super::compare::{infinity, solution};
use super::syntax::{Answer, Expression, Relation};

/// An end of an interval; `None` is infinite.
type End = Option<BigRational>;

#[derive(Clone, Debug, PartialEq)]
struct Interval {
    low: End,
    has_low: bool,
    high: End,
    has_high: bool,
}

/// Disjoint intervals in order, none of which can be joined with the next.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RealSet(Vec<Interval>);

const ALL: Interval = Interval {
    low: None,
    has_low: false,
    high: None,
    has_high: false,
};

impl RealSet {
    fn new(mut intervals: Vec<Interval>) -> RealSet {
        // What is infinite below stands first, then the end that is part of its interval.
        intervals.sort_by(|left, right| {
            let key = |interval: &Interval| (interval.low.clone(), !interval.has_low);
            key(left).cmp(&key(right))
        });
        let mut joined: Vec<Interval> = Vec::new();
        for interval in intervals {
            match joined.last_mut() {
                Some(last) if touches(last, &interval) => {
                    if reach(last) < reach(&interval) {
                        (last.high, last.has_high) = (interval.high, interval.has_high);
                    }
                }
                _ => joined.push(interval),
            }
        }
        RealSet(joined)
    }

    fn complement(&self) -> RealSet {
        let mut gaps = Vec::new();
        let mut gap = Some(ALL);
        for interval in &self.0 {
            let Some(mut before) = gap.take() else {
                break;
            };
            if let Some(low) = &interval.low {
                before.high = Some(low.clone());
                before.has_high = !interval.has_low;
                gaps.push(before);
            }
            gap = interval.high.as_ref().map(|high| Interval {
                low: Some(high.clone()),
                has_low: !interval.has_high,
                ..ALL
            });
        }
        gaps.extend(gap);
        RealSet::new(gaps)
    }

    fn union(self, other: RealSet) -> RealSet {
        RealSet::new([self.0, other.0].concat())
    }

    fn intersection(self, other: RealSet) -> RealSet {
        self.complement().union(other.complement()).complement()
    }
}

/// Whether the second, which does not begin before the first, begins in it or right behind it.
fn touches(first: &Interval, second: &Interval) -> bool {
    match (&first.high, &second.low) {
        (None, _) | (_, None) => true,
        (Some(high), Some(low)) => low < high || low == high && (first.has_high || second.has_low),
    }
}

/// How far up an interval reaches, for comparing.
fn reach(interval: &Interval) -> (bool, End, bool) {
    (
        interval.high.is_none(),
        interval.high.clone(),
        interval.has_high,
    )
}

impl Algebra<'_> {
    /// The set of real numbers that an answer is; `None` where it is no such set or has an end that is
    /// not rational.
    pub(super) fn real_set(&mut self, answer: &Answer) -> Result<Option<RealSet>, Stop> {
        self.meter.spend(1)?;
        let single = |interval| Ok(Some(RealSet(vec![interval])));
        match answer {
            Answer::Tuple {
                open,
                close,
                entries,
            } => {
                let [low, high] = entries.as_slice() else {
                    return Ok(None);
                };
                let (Some(low), Some(high)) = (self.end(low, true)?, self.end(high, false)?) else {
                    return Ok(None);
                };
                if low.is_some() && high.is_some() && high <= low || *open == '⟨' {
                    return Ok(None);
                }
                single(Interval {
                    has_low: *open == '[' && low.is_some(),
                    has_high: *close == ']' && high.is_some(),
                    low,
                    high,
                })
            }
            Answer::Set(entries) => {
                let mut points = Vec::new();
                for entry in entries {
                    let Some(Some(point)) = self.end(entry, false)? else {
                        return Ok(None);
                    };
                    points.push(Interval {
                        low: Some(point.clone()),
                        has_low: true,
                        high: Some(point),
                        has_high: true,
                    });
                }
                Ok(Some(RealSet::new(points)))
            }
            Answer::Union(parts) | Answer::Either(parts) => {
                let mut union = RealSet(Vec::new());
                for part in parts {
                    match self.real_set(part)? {
                        Some(part) => union = union.union(part),
                        None => return Ok(None),
                    }
                }
                Ok(Some(union))
            }
            Answer::Both(parts) => {
                let mut intersection = RealSet(vec![ALL]);
                for part in parts {
                    match self.real_set(part)? {
                        Some(part) => intersection = intersection.intersection(part),
                        None => return Ok(None),
                    }
                }
                Ok(Some(intersection))
            }
            Answer::Difference(left, right) => {
                match (self.real_set(left)?, self.real_set(right)?) {
                    (Some(left), Some(right)) => Ok(Some(left.intersection(right.complement()))),
                    _ => Ok(None),
                }
            }
            Answer::Relation(sides, relations) => match (sides.as_slice(), relations.as_slice()) {
                ([left, right], [Relation::Unequal]) if left.symbol().is_some() => {
                    let point = Answer::Set(vec![right.clone()]);
                    Ok(self.real_set(&point)?.map(|point| point.complement()))
                }
                (_, [Relation::Equal, ..]) => Ok(None),
                _ => match solution(sides, relations) {
                    Some((_, set)) => self.real_set(&set),
                    None => Ok(None),
                },
            },
            _ => Ok(None),
        }
    }

    /// An end of an interval: `Some(None)` where it is infinite on that side.
    fn end(&mut self, answer: &Answer, is_low: bool) -> Result<Option<End>, Stop> {
        let Answer::Quantity(expression, None) = answer else {
            return Ok(None);
        };
        if let Some(is_negative) = infinity(expression) {
            return Ok((is_negative == is_low).then_some(None));
        }
        if matches!(expression, Expression::Symbol(_)) {
            return Ok(None);
        }
        Ok(self.value(expression)?.as_number().map(Some))
    }
}

#[cfg(test)]
mod tests {
    use super::{Interval, RealSet};
    use num_bigint::BigInt;
    use num_rational::BigRational;
    use proptest::prelude::*;

    fn interval(low: i32, has_low: bool, high: i32, has_high: bool) -> Interval {
        let end = |end: i32| Some(BigRational::from(BigInt::from(end)));
        Interval {
            low: end(low),
            has_low,
            high: end(high),
            has_high,
        }
    }

    #[test]
    fn intervals_that_touch_are_one() {
        let halves = [interval(1, true, 2, false), interval(0, false, 1, false)];
        assert_eq!(
            RealSet::new(halves.to_vec()).0,
            [interval(0, false, 2, false)]
        );
        let apart = [interval(0, false, 1, false), interval(1, false, 2, true)];
        assert_eq!(RealSet::new(apart.to_vec()).0, apart);
        let inside = [interval(0, true, 3, false), interval(1, true, 2, true)];
        assert_eq!(RealSet::new(inside.to_vec()).0, inside[..1]);
    }

    /// Halves from -1 to 5 that are in a set.
    fn members(set: &RealSet) -> Vec<i64> {
        let is_in = |half: &i64| {
            let point = Some(BigRational::new(BigInt::from(*half), BigInt::from(2)));
            set.0.iter().any(|interval| {
                let above = interval.low.is_none()
                    || interval.low < point
                    || interval.has_low && interval.low == point;
                let below = interval.high.is_none()
                    || point < interval.high
                    || interval.has_high && interval.high == point;
                above && below
            })
        };
        (-2..=10).filter(is_in).collect()
    }

    proptest! {
        // Whole ends and half points decide membership everywhere.
        #[test]
        fn sets_have_the_members_that_they_should(
            left in prop::collection::vec((0..5, any::<bool>(), 0..5, any::<bool>()), 0..4),
            right in prop::collection::vec((0..5, any::<bool>(), 0..5, any::<bool>()), 0..4),
        ) {
            let made = |parts: Vec<(i32, bool, i32, bool)>| {
                let sound = parts.into_iter().filter(|(low, _, high, _)| low < high);
                sound.map(|(low, has_low, high, has_high)| interval(low, has_low, high, has_high))
                    .collect::<Vec<_>>()
            };
            let (left, right) = (made(left), made(right));
            let (left, right) = (RealSet::new(left), RealSet::new(right));
            let (in_left, in_right) = (members(&left), members(&right));
            let all = -2..=10_i64;
            let expect = |keep: &dyn Fn(&i64) -> bool| all.clone().filter(|m| keep(m)).collect::<Vec<_>>();
            prop_assert_eq!(members(&left.complement()), expect(&|m| !in_left.contains(m)));
            prop_assert_eq!(&left.complement().complement(), &left);
            let union = left.clone().union(right.clone());
            prop_assert_eq!(members(&union), expect(&|m| in_left.contains(m) || in_right.contains(m)));
            let both = left.intersection(right);
            prop_assert_eq!(members(&both), expect(&|m| in_left.contains(m) && in_right.contains(m)));
        }
    }
}
