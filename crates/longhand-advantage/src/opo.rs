//! OPO: each attempt is compared with the length-weighted mean of its group (arXiv:2505.23585).
//!
//! `A_i = R_i - sum(L_j * R_j) / sum(L_j)`, `L_j` the number of trained tokens of attempt `j`
//!
//! Assumptions: the squared norm of an attempt's gradient grows with its length, which makes this
//! the baseline of least variance.
//!
//! Differs from the paper: none. A group without a single token gets 0.

use crate::deviations::counted_deviations;

/// Advantages over the length-weighted baseline; `groups` and `lengths` are `[group][attempt]`,
/// lengths in trained tokens of the whole attempt.
///
/// A group of one and a group of equal rewards get exactly zero, and so does an attempt without
/// tokens, which has nothing to train.
///
/// # Panics
/// If the shapes of `groups` and `lengths` differ.
pub fn opo(groups: &[Vec<f64>], lengths: &[Vec<usize>]) -> Vec<Vec<f64>> {
    assert_eq!(groups.len(), lengths.len(), "one list of lengths per group");
    groups
        .iter()
        .zip(lengths)
        .map(|(group, lengths)| {
            counted_deviations(group, lengths)
                .into_iter()
                .zip(lengths)
                .map(|(deviation, &length)| if length == 0 { 0.0 } else { deviation })
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::opo;

    #[test]
    fn degenerate_groups_get_zero() {
        let groups = [vec![], vec![1.0], vec![0.1; 3], vec![1.0, 0.0]];
        let lengths = [vec![], vec![5], vec![3, 1, 4], vec![0, 0]];
        let found = opo(&groups, &lengths);
        assert_eq!(found, [vec![], vec![0.0], vec![0.0; 3], vec![0.0; 2]]);
    }

    #[test]
    fn an_attempt_without_tokens_is_left_out_whatever_its_reward() {
        let found = opo(&[vec![1.0, 0.0, 9.0]], &[vec![1, 1, 0]]);
        assert_eq!(found, [[0.5, -0.5, 0.0]]);
    }

    #[test]
    fn long_attempts_pull_the_baseline() {
        // numpy: L = [1, 2, 3, 2]; (L * R).sum() / L.sum() = .375 for R = [1, 0, 0, 1]
        let found = opo(&[vec![1.0, 0.0, 0.0, 1.0]], &[vec![1, 2, 3, 2]]);
        assert_eq!(found, [[0.625, -0.375, -0.375, 0.625]]);
    }

    #[test]
    #[should_panic(expected = "one count per value")]
    fn lengths_of_another_shape_are_refused() {
        opo(&[vec![1.0, 0.0]], &[vec![1]]);
    }
}
