//! How each token's log-probability and advantage vary together: what moves the entropy of a softmax
//! policy (arXiv:2505.22617).
//!
//! `cov_i = (logprobs_i - mean logprobs) * (advantages_i - mean advantages)`, means over the trained
//! tokens of the scope
//!
//! Differs from verl's Clip-Cov: means divide by the exact token count (verl adds 1e-8 to it).

use crate::token_control::ScopeTokens;

/// One covariance per token; 0 outside `loss_mask`, and for all tokens where advantages or
/// log-probabilities are all equal.
///
/// # Panics
/// If the slices differ in length.
pub fn covariances(tokens: &ScopeTokens) -> Vec<f64> {
    let trained = tokens.trained();
    let logprobs = deviations(&trained, tokens.logprobs);
    let advantages = deviations(&trained, tokens.advantages);
    let mut covariances = vec![0.0; tokens.loss_mask.len()];
    for (place, &idx) in trained.iter().enumerate() {
        covariances[idx] = logprobs[place] * advantages[place];
    }
    covariances
}

/// Deviations of the chosen values from their mean, measured from the first so that equal values
/// give exactly zero.
fn deviations(chosen: &[usize], values: &[f64]) -> Vec<f64> {
    let Some(&first) = chosen.first() else {
        return Vec::new();
    };
    let shifted = |&idx: &usize| values[idx] - values[first];
    let mean = chosen.iter().map(shifted).sum::<f64>() / chosen.len() as f64;
    chosen.iter().map(|idx| shifted(idx) - mean).collect()
}

/// The `n` candidates with the largest keys, equal ones by their place; all if there are fewer.
pub(crate) fn largest(
    mut candidates: Vec<usize>,
    n: usize,
    key: impl Fn(usize) -> f64,
) -> Vec<usize> {
    // Adding zero makes one of the two zeros, which the total order tells apart.
    let key = |idx: usize| key(idx) + 0.0;
    if n < candidates.len() {
        candidates.select_nth_unstable_by(n, |&left, &right| {
            key(right).total_cmp(&key(left)).then(left.cmp(&right))
        });
        candidates.truncate(n);
    }
    candidates
}

/// How many of `n_tokens` a share is: rounded down, but at least one unless there are none.
pub(crate) fn share(n_tokens: usize, fraction: f64) -> usize {
    ((n_tokens as f64 * fraction) as usize).max(1).min(n_tokens)
}

#[cfg(test)]
mod tests {
    use super::{covariances, largest, share};
    use crate::token_control::ScopeTokens;

    #[test]
    fn the_worked_tokens() {
        // numpy: (lp - lp.mean()) * (A - A.mean()); the fourth of seven tokens is untrained.
        let found = covariances(&ScopeTokens {
            logprobs: &[-0.1, -2.0, -0.5, f64::NAN, -3.0, -0.05, -1.0],
            old_logprobs: &[f64::NAN; 7],
            advantages: &[1.0, 1.0, 1.0, f64::NAN, -1.0, -1.0, -1.0],
            loss_mask: &[true, true, true, false, true, true, true],
            entropies: None,
        });
        let expected = [
            1.008333, -0.891667, 0.608333, 0.0, 1.891667, -1.058333, -0.108333,
        ];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
    }

    #[test]
    fn equal_advantages_and_empty_scopes_have_no_covariance() {
        let of = |loss_mask: &[bool]| {
            covariances(&ScopeTokens {
                logprobs: &[-0.1, -2.0, -0.3],
                old_logprobs: &[0.0; 3],
                advantages: &[0.1; 3],
                loss_mask,
                entropies: None,
            })
        };
        assert_eq!(of(&[true; 3]), [0.0; 3]);
        assert_eq!(of(&[false; 3]), [0.0; 3]);
    }

    #[test]
    fn the_largest_come_first_and_equal_ones_by_place() {
        let keys = [1.0, 3.0, 2.0, 3.0, 1.0];
        let check = |n: usize, expected: &[usize]| {
            let mut found = largest((0..5).collect(), n, |idx| keys[idx]);
            found.sort_unstable();
            assert_eq!(found, expected);
        };
        check(0, &[]);
        check(1, &[1]);
        check(3, &[1, 2, 3]);
        check(4, &[0, 1, 2, 3]);
        check(9, &[0, 1, 2, 3, 4]);
        assert_eq!(largest(vec![0, 1], 1, |idx| [-0.0, 0.0][idx]), [0]);
    }

    #[test]
    fn a_share_is_a_fraction_and_never_nothing_of_something() {
        assert_eq!([share(0, 0.5), share(1, 0.002), share(6, 0.34)], [0, 1, 2]);
        assert_eq!(
            [share(1000, 0.002), share(999, 0.002), share(3, 1.0)],
            [2, 1, 3]
        );
    }
}
