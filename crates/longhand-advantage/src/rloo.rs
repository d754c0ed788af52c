//! RLOO: each attempt is compared with the mean of the others (arXiv:2402.14740, section 3.2).
//!
//! `A_i = R_i - mean(R_j, j != i) = n / (n - 1) * (R_i - mean(R))`
//!
//! Assumptions: one reward per attempt; a KL term, if any, is already in the reward or in the loss.
//!
//! Differs from the paper: none. A group of one has nobody to be compared with and gets 0.

use crate::deviations::deviations;

/// Leave-one-out advantages, `[group][attempt]` in, the same shape out.
///
/// A group of one and a group of equal rewards get exactly zero.
pub fn rloo(groups: &[Vec<f64>]) -> Vec<Vec<f64>> {
    groups
        .iter()
        .map(|group| {
            let n = group.len();
            // For one attempt the deviation is zero; dividing by at least one keeps it so.
            let factor = n as f64 / n.saturating_sub(1).max(1) as f64;
            deviations(group)
                .into_iter()
                .map(|deviation| factor * deviation)
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::rloo;

    #[test]
    fn degenerate_groups_get_zero() {
        let found = rloo(&[vec![], vec![1.0], vec![0.1; 3]]);
        assert_eq!(found, [vec![], vec![0.0], vec![0.0; 3]]);
    }

    #[test]
    fn the_two_worked_groups() {
        // numpy: R - (R.sum() - R) / (n - 1)
        let found = rloo(&[vec![1.0, 0.0, 0.0, 1.0], vec![1.0, 1.0, 1.0, 0.0]]);
        let expected = [
            [2.0 / 3.0, -2.0 / 3.0, -2.0 / 3.0, 2.0 / 3.0],
            [1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, -1.0],
        ];
        for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
            assert!(
                (found - expected).abs() < 1e-15,
                "{found} is not {expected}"
            );
        }
    }
}
