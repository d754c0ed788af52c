//! Scores scaled to `[0, 1]` over a pool (arXiv:2603.21663, Eq. 5).
//!
//! `phat = (p - min P) / (max P - min P)`
//!
//! Assumptions: the pool P is the whole batch (the index set runs over queries, turns and attempts;
//! the source can also be read as splitting it by turn, see [`MinMax`]). When the pool's range is
//! below 1e-8 there is nothing to compare, and `phat = 1`: the outcome alone decides.
//!
//! The paper reports that leaving this step out ends in collapse; that is a claim to try, not a
//! property of the formula.

/// A pool whose scores differ by less than this has `phat = 1` everywhere.
pub const MIN_RANGE: f64 = 1e-8;

/// Over which scores the smallest and the largest are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum MinMax {
    /// All scores of the batch.
    #[default]
    Batch,
    /// The scores of one problem, all attempts and turns.
    Problem,
    /// The scores of the batch's turns with the same index. Attempts may differ in length; a late
    /// turn is compared with those that got as far.
    Turn,
    /// Not scaled: `phat = p`.
    None,
}

/// The range of a pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
}

impl Range {
    const EMPTY: Range = Range {
        lowest: f64::INFINITY,
        highest: f64::NEG_INFINITY,
    };

    pub(crate) fn of<'a>(scores: impl IntoIterator<Item = &'a f64>) -> Range {
        scores.into_iter().fold(Range::EMPTY, Range::with)
    }

    fn with(self, score: &f64) -> Range {
        Range {
            lowest: self.lowest.min(*score),
            highest: self.highest.max(*score),
        }
    }

    fn scale(&self, score: f64) -> f64 {
        let range = self.highest - self.lowest;
        if range < MIN_RANGE {
            1.0
        } else {
            (score - self.lowest) / range
        }
    }
}

impl MinMax {
    /// Scaled scores; both are `[problem][attempt][turn]`.
    pub(crate) fn scaled(self, scores: &[Vec<Vec<f64>>]) -> Vec<Vec<Vec<f64>>> {
        let batch = Range::of(scores.iter().flatten().flatten());
        let by_turn = match self {
            MinMax::Turn => turn_ranges(scores),
            _ => Vec::new(),
        };
        scores
            .iter()
            .map(|attempts| {
                let problem = Range::of(attempts.iter().flatten());
                let scaled = |turn_idx: usize, score: f64| match self {
                    MinMax::Batch => batch.scale(score),
                    MinMax::Problem => problem.scale(score),
                    MinMax::Turn => by_turn[turn_idx].scale(score),
                    MinMax::None => score,
                };
                let turns = |turns: &Vec<f64>| {
                    let indexed = turns.iter().enumerate();
                    indexed.map(|(idx, &score)| scaled(idx, score)).collect()
                };
                attempts.iter().map(turns).collect()
            })
            .collect()
    }
}

fn turn_ranges(scores: &[Vec<Vec<f64>>]) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    for turns in scores.iter().flatten() {
        if ranges.len() < turns.len() {
            ranges.resize(turns.len(), Range::EMPTY);
        }
        for (range, score) in ranges.iter_mut().zip(turns) {
            *range = range.with(score);
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::MinMax;
    use proptest::prelude::*;

    #[track_caller]
    fn check(minmax: MinMax, scores: &[&[&[f64]]], expected: &[&[&[f64]]]) {
        let scores: Vec<Vec<Vec<f64>>> = scores
            .iter()
            .map(|attempts| attempts.iter().map(|turns| turns.to_vec()).collect())
            .collect();
        let found = minmax.scaled(&scores);
        assert_eq!(found, expected, "{minmax:?}");
    }

    #[test]
    fn a_pool_without_a_range_is_one_everywhere() {
        check(MinMax::Batch, &[], &[]);
        check(MinMax::Batch, &[&[&[]]], &[&[&[]]]);
        check(MinMax::Batch, &[&[&[0.3]]], &[&[&[1.0]]]);
        check(MinMax::Batch, &[&[&[0.3, 0.3 + 5e-9]]], &[&[&[1.0, 1.0]]]);
        check(MinMax::Batch, &[&[&[0.25, 0.25 + 2e-8]]], &[&[&[0.0, 1.0]]]);
        check(
            MinMax::Turn,
            &[&[&[0.3, 0.4], &[0.3]]],
            &[&[&[1.0, 1.0], &[1.0]]],
        );
        check(MinMax::None, &[&[&[0.3, 0.3]]], &[&[&[0.3, 0.3]]]);
    }

    // By hand, in quarters, so that every quotient is exact.
    #[test]
    fn each_pool_is_its_own() {
        let scores: &[&[&[f64]]] = &[&[&[0.0, 0.5], &[0.25]], &[&[1.0, 0.25, 0.75]]];
        check(MinMax::Batch, scores, scores);
        check(MinMax::None, scores, scores);
        check(
            MinMax::Problem,
            scores,
            &[&[&[0.0, 1.0], &[0.5]], &[&[1.0, 0.0, 2.0 / 3.0]]],
        );
        check(
            MinMax::Turn,
            scores,
            &[&[&[0.0, 1.0], &[0.25]], &[&[1.0, 0.0, 1.0]]],
        );
    }

    proptest! {
        #[test]
        fn scaled_scores_fill_the_unit_interval_and_forget_shift_and_size(
            scores in prop::collection::vec(prop::collection::vec(
                prop::collection::vec(0.0_f64..1.0, 1..4), 1..4), 1..4),
            shift in -2.0_f64..2.0, size in 0.5_f64..2.0,
        ) {
            for minmax in [MinMax::Batch, MinMax::Problem, MinMax::Turn] {
                let scaled = minmax.scaled(&scores);
                let flat: Vec<f64> = scaled.iter().flatten().flatten().copied().collect();
                prop_assert!(flat.iter().all(|p| (0.0..=1.0).contains(p)));
                prop_assert!(flat.contains(&1.0));
                let mut moved = scores.clone();
                moved.iter_mut().flatten().flatten().for_each(|p| *p = *p * size + shift);
                for (left, right) in minmax.scaled(&moved).iter().flatten().flatten().zip(&flat) {
                    prop_assert!((left - right).abs() < 1e-6, "{} is not {}", left, right);
                }
            }
        }
    }
}
