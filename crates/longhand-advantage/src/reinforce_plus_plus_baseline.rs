//! REINFORCE++ with a group baseline: centred by group, whitened over tokens (arXiv:2501.03262).
//!
//! `C_i = R_i - mean(R of the group)`, then over all trained tokens of the batch, each carrying the
//! `C` of its attempt: `A_i = (C_i - mean) / sqrt(var + 1e-8)`, `var` with `n - 1`.
//!
//! Assumptions: all tokens of an attempt share one value, so one number per attempt is enough.
//!
//! Differs from verl: the mean divides by the exact token count, not by the count plus 1e-8; a
//! group of one is centred to 0, where verl keeps its raw reward.

use crate::deviations::deviations;
use crate::whiten::whiten_counted;

/// One advantage per attempt; `groups` and `lengths` are `[group][attempt]`, lengths in trained
/// tokens of the whole attempt.
///
/// Exactly zero where nothing differs (all centred rewards equal), where fewer than two tokens
/// exist, and for an attempt without tokens. Mind that whitening shifts: in a batch whose other
/// groups are live, a group of equal rewards gets the batch's shift and not zero, because long
/// failures make the mean over tokens differ from the mean over attempts.
///
/// # Panics
/// If the shapes of `groups` and `lengths` differ.
pub fn reinforce_plus_plus_baseline(groups: &[Vec<f64>], lengths: &[Vec<usize>]) -> Vec<Vec<f64>> {
    assert_eq!(groups.len(), lengths.len(), "one list of lengths per group");
    for (group, lengths) in groups.iter().zip(lengths) {
        assert_eq!(group.len(), lengths.len(), "one length per attempt");
    }

    let centred: Vec<f64> = groups.iter().flat_map(|group| deviations(group)).collect();
    let mut flat = whiten_counted(&centred, &lengths.concat()).into_iter();
    groups
        .iter()
        .map(|group| flat.by_ref().take(group.len()).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::reinforce_plus_plus_baseline;

    #[test]
    fn degenerate_batches_get_zero() {
        let check = |groups: &[Vec<f64>], lengths: &[Vec<usize>]| {
            let found = reinforce_plus_plus_baseline(groups, lengths);
            let zeros: Vec<Vec<f64>> = groups.iter().map(|group| vec![0.0; group.len()]).collect();
            assert_eq!(found, zeros);
        };
        check(&[], &[]);
        check(&[vec![1.0]], &[vec![3]]);
        check(&[vec![0.1; 3], vec![1.0; 2]], &[vec![2, 7, 1], vec![1, 4]]);
        check(&[vec![1.0, 0.0]], &[vec![0, 0]]);
        check(&[vec![1.0, 0.0]], &[vec![1, 0]]);
    }

    #[test]
    fn the_two_worked_groups() {
        // numpy: x = np.repeat(R - group mean, L); mean -.1875, x.var(ddof=1) = .2625;
        // (x - x.mean()) / np.sqrt(x.var(ddof=1) + 1e-8)
        let found = reinforce_plus_plus_baseline(
            &[vec![1.0, 0.0, 0.0, 1.0], vec![1.0, 1.0, 1.0, 0.0]],
            &[vec![1, 2, 3, 2], vec![1, 1, 2, 4]],
        );
        let expected = [
            [1.341863, -0.609938, -0.609938, 1.341863],
            [0.853913, 0.853913, 0.853913, -1.097888],
        ];
        for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
    }

    #[test]
    fn an_attempt_without_tokens_is_in_its_groups_mean_but_not_in_the_whitening() {
        // Centred: [2/3, -1/3, -1/3]; tokens: 2/3 and -1/3 twice; mean 0, var (4/9 + 2/9) / 2 = 1/3.
        let found = reinforce_plus_plus_baseline(&[vec![1.0, 0.0, 0.0]], &[vec![1, 2, 0]]);
        let inverse_std = 1.0 / (1.0 / 3.0 + 1e-8_f64).sqrt();
        assert!((found[0][0] - 2.0 / 3.0 * inverse_std).abs() < 1e-15);
        assert!((found[0][1] + 1.0 / 3.0 * inverse_std).abs() < 1e-15);
        assert_eq!(found[0][2], 0.0);
    }
}
