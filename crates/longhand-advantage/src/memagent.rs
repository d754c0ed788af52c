//! MemAgent: each attempt is compared with the mean of its group (arXiv:2507.02259, Eq. 1).
//!
//! `A_i = R_i - mean(R_1..R_G)`
//!
//! Assumptions: one reward per attempt, from its final answer; the value goes unchanged to every
//! token of every conversation of that attempt.
//!
//! Differs from the paper: none. The paper's appendix (Algorithm 1) divides by the standard
//! deviation; its equations 1 and 2 and the authors' code do not, and we follow those.

use crate::deviations::deviations;

/// Mean-centred rewards, `[group][attempt]` in, the same shape out.
///
/// A group of one and a group of equal rewards get exactly zero.
pub fn memagent(groups: &[Vec<f64>]) -> Vec<Vec<f64>> {
    groups.iter().map(|group| deviations(group)).collect()
}

#[cfg(test)]
mod tests {
    use super::memagent;

    #[test]
    fn degenerate_groups_get_zero() {
        let found = memagent(&[vec![], vec![1.0], vec![0.1; 3], vec![0.0; 4]]);
        assert_eq!(found, [vec![], vec![0.0], vec![0.0; 3], vec![0.0; 4]]);
    }

    #[test]
    fn one_success_and_one_failure_are_half_apart_from_the_mean() {
        // MemAgent with R = 1, 0: R - mean = +.5, -.5.
        assert_eq!(memagent(&[vec![1.0, 0.0]]), [[0.5, -0.5]]);
    }
}
