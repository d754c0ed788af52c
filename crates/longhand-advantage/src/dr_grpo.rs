//! Dr.GRPO: GRPO without the division by the standard deviation (arXiv:2503.20783, section 3.2).
//!
//! `A_i = R_i - mean(R_1..R_G)`
//!
//! Assumptions: the loss is aggregated with a constant length in the denominator
//! (`seq-mean-token-sum-norm`), the other half of the paper's correction.
//!
//! Differs from the paper: none.

use crate::deviations::deviations;

/// Mean-centred rewards, `[group][attempt]` in, the same shape out.
///
/// A group of one and a group of equal rewards get exactly zero.
pub fn dr_grpo(groups: &[Vec<f64>]) -> Vec<Vec<f64>> {
    groups.iter().map(|group| deviations(group)).collect()
}

#[cfg(test)]
mod tests {
    use super::dr_grpo;

    #[test]
    fn degenerate_groups_get_zero() {
        let found = dr_grpo(&[vec![], vec![1.0], vec![0.1; 3]]);
        assert_eq!(found, [vec![], vec![0.0], vec![0.0; 3]]);
    }

    #[test]
    fn the_two_worked_groups() {
        // R - R.mean() for [1, 0, 0, 1] and [1, 1, 1, 0].
        let found = dr_grpo(&[vec![1.0, 0.0, 0.0, 1.0], vec![1.0, 1.0, 1.0, 0.0]]);
        assert_eq!(found, [[0.5, -0.5, -0.5, 0.5], [0.25, 0.25, 0.25, -0.75]]);
    }
}
