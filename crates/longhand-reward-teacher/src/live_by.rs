//! When a problem still teaches something: DAPO's dynamic sampling (arXiv:2503.14476) for turn rewards.
//!
//! The sources do not say how the two combine. Attempts that all succeed have equal outcomes and
//! still different turn rewards, so our default looks at the latter. Equality is tested on the
//! values, not on a standard deviation, which rounding can make positive.

/// What must differ among the attempts at a problem for it to be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum LiveBy {
    /// Any two turn rewards of the problem: exactly when its turn pool is not all zeros.
    #[default]
    TurnRewards,
    /// Any two outcomes, as in DAPO: problems that every attempt solves are dropped as well.
    Outcomes,
}

impl LiveBy {
    /// Whether a problem is kept, from its turn rewards `[attempt][turn]` and outcomes `[attempt]`.
    pub fn is_live(self, turn_rewards: &[Vec<f64>], outcomes: &[f64]) -> bool {
        match self {
            LiveBy::TurnRewards => differ(turn_rewards.iter().flatten()),
            LiveBy::Outcomes => differ(outcomes.iter()),
        }
    }
}

fn differ<'a>(mut values: impl Iterator<Item = &'a f64>) -> bool {
    match values.next() {
        Some(first) => values.any(|value| value != first),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::LiveBy;

    #[track_caller]
    fn check(turn_rewards: &[Vec<f64>], outcomes: &[f64], expected: [bool; 2]) {
        let found =
            [LiveBy::TurnRewards, LiveBy::Outcomes].map(|by| by.is_live(turn_rewards, outcomes));
        assert_eq!(found, expected);
    }

    #[test]
    fn nothing_to_compare_is_not_live() {
        check(&[], &[], [false, false]);
        check(&[vec![1.0]], &[1.0], [false, false]);
        check(&[vec![0.0; 3], vec![0.0; 2]], &[0.0, 0.0], [false, false]);
        check(
            &[vec![0.1], vec![0.1], vec![0.1]],
            &[0.1; 3],
            [false, false],
        );
    }

    #[test]
    fn solved_problems_are_live_by_their_turns_only() {
        check(
            &[vec![0.5, 1.0], vec![1.0, 1.0]],
            &[1.0, 1.0],
            [true, false],
        );
        check(&[vec![0.0], vec![1.0]], &[0.0, 1.0], [true, true]);
        check(&[vec![0.0], vec![0.0]], &[0.0, 1.0], [false, true]);
    }
}
