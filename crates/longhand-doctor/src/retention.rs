//! How much of its best accuracy a run kept, and where it collapsed.
//!
//! ```text
//! peak          the highest accuracy; of equal ones the earliest
//! collapse step the first evaluation that lies below half of the highest one before it
//! retention     the accuracy at the end / the peak
//! ```
//!
//! Source: the measures of CIRCA (arXiv:2605.22620), known to us through secondary sources.
//!
//! Assumptions: "the peak" of the collapse step is the highest accuracy so far, so that a collapse
//! can be told while the run goes on, and a later recovery does not undo it.
//!
//! Differs from the source: none that is known.

use serde::Serialize;

/// Share of the peak so far below which an accuracy has collapsed.
pub const COLLAPSED_BELOW: f64 = 0.5;

/// The peak of a series of evaluations, its end, and what lies between them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Retention {
    /// The highest accuracy.
    pub peak: f64,
    /// The step of the first evaluation that reached it.
    pub peak_step: u64,
    /// The step of the first evaluation below half of the highest accuracy before it.
    pub collapse_step: Option<u64>,
    /// The last accuracy.
    pub end: f64,
    /// `end / peak`, at most 1.
    pub retention: f64,
}

impl Retention {
    /// Of evaluations of one set of problems, `(step, accuracy)` in the order in which they were made;
    /// accuracies may be shares or percentages. Those that are not finite are passed over. `None`
    /// where nothing was evaluated, or where the peak is not above 0.
    #[must_use]
    pub fn of(evaluations: &[(u64, f64)]) -> Option<Self> {
        let measured = || {
            let finite = |evaluation: &&(u64, f64)| evaluation.1.is_finite();
            evaluations.iter().filter(finite).copied()
        };
        let (mut peak_step, mut peak) = measured().next()?;
        let mut collapse_step = None;
        for (step, accuracy) in measured() {
            if accuracy < COLLAPSED_BELOW * peak {
                collapse_step = collapse_step.or(Some(step));
            }
            if peak < accuracy {
                (peak_step, peak) = (step, accuracy);
            }
        }
        let (_, end) = measured().last()?;
        (0.0 < peak).then_some(Self {
            peak,
            peak_step,
            collapse_step,
            end,
            retention: end / peak,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(evaluations: &[(u64, f64)], expected: Option<(f64, u64, Option<u64>, f64, f64)>) {
        let found = Retention::of(evaluations);
        let found = found.map(|of| {
            (
                of.peak,
                of.peak_step,
                of.collapse_step,
                of.end,
                of.retention,
            )
        });
        assert_eq!(found, expected, "{evaluations:?}");
    }

    #[test]
    fn literals() {
        // A collapse such as CIRCA reports of self-certainty alone, 1.5B: 72.9 at step 40, gone by 160.
        check(
            &[(0, 10.0), (40, 72.9), (100, 60.0), (160, 30.0), (340, 0.0)],
            Some((72.9, 40, Some(160), 0.0, 0.0)),
        );
        // Kept, and the first of two equal peaks.
        check(
            &[(0, 0.5), (20, 0.8), (40, 0.8), (60, 0.6)],
            Some((0.8, 20, None, 0.6, 0.6 / 0.8)),
        );
        // Exactly half is none; what recovers has collapsed all the same.
        check(&[(0, 0.5), (20, 0.25)], Some((0.5, 0, None, 0.25, 0.5)));
        check(
            &[(0, 0.5), (20, 0.24), (40, 0.9)],
            Some((0.9, 40, Some(20), 0.9, 1.0)),
        );
        check(&[(7, 0.3)], Some((0.3, 7, None, 0.3, 1.0)));
    }

    #[test]
    fn without_a_peak_there_is_none() {
        check(&[], None);
        check(&[(0, 0.0), (10, 0.0)], None);
        check(&[(0, f64::NAN)], None);
        check(
            &[(0, f64::NAN), (10, 0.5), (20, f64::INFINITY)],
            Some((0.5, 10, None, 0.5, 1.0)),
        );
    }

    proptest! {
        #[test]
        fn what_is_said_can_be_found_again(accuracies in prop::collection::vec(0.0..1.0_f64, 1..20)) {
            let evaluations: Vec<(u64, f64)> =
                accuracies.iter().enumerate().map(|(idx, accuracy)| (idx as u64, *accuracy)).collect();
            let found = Retention::of(&evaluations).expect("above 0");
            let highest = |until: usize| accuracies[..until].iter().copied().fold(0.0, f64::max);
            prop_assert_eq!(found.peak, highest(accuracies.len()));
            prop_assert_eq!(accuracies[found.peak_step as usize], found.peak);
            prop_assert!((0.0..=1.0).contains(&found.retention));
            let collapse = (0..accuracies.len())
                .find(|idx| accuracies[*idx] < highest(*idx) / 2.0)
                .map(|idx| idx as u64);
            prop_assert_eq!(found.collapse_step, collapse);
        }
    }
}
