//! RENT: the less entropy, the more reward (arXiv:2505.22660).
//!
//! `R = -(1/T) * sum_t H(p_t)`, `H = logsumexp(z) - sum_v p_v z_v`
//!
//! Of the policy that sampled. With the paper's format option an attempt without a readable answer gets a
//! fixed reward instead, [`WITHOUT_ANSWER`]. Unlike self-certainty, which weighs all entries of the vocabulary alike,
//! entropy weighs them by their probability; neither is a monotone function of the other.

use crate::self_certainty::{log_sum_exp, masked_mean};

/// What RENT's format option gives an attempt without a readable answer.
pub const WITHOUT_ANSWER: f64 = -7.0;

/// Entropy of one row of logits, in nats; an entry of minus infinity has probability 0.
///
/// # Panics
/// Without any logit.
pub fn token_entropy(logits: &[f64]) -> f64 {
    assert!(!logits.is_empty(), "a distribution has at least one entry");
    let normaliser = log_sum_exp(logits);
    let term = |logit: &f64| match *logit == f64::NEG_INFINITY {
        true => 0.0,
        false => (logit - normaliser).exp() * (normaliser - logit),
    };
    logits.iter().map(term).sum()
}

/// Minus the mean entropy of a completion's tokens, at most 0; `None` without any token.
///
/// Only tokens of `loss_mask` count, where true means counted; `None`: all of them.
///
/// # Panics
/// When the mask has another length.
pub fn negative_entropy(entropies: &[f64], loss_mask: Option<&[bool]>) -> Option<f64> {
    masked_mean(entropies, loss_mask).map(|mean| -mean)
}

#[cfg(test)]
mod tests {
    use super::{negative_entropy, token_entropy};
    use proptest::prelude::*;

    // numpy: z = [2, 1, 0, -1], p = softmax(z); -sum(p * log(p)) = .947537.
    #[test]
    fn entropy_of_four_logits() {
        let entropy = token_entropy(&[2.0, 1.0, 0.0, -1.0]);
        assert!((entropy - 0.947_537).abs() < 1e-6, "{entropy}");
    }

    #[test]
    fn the_extremes() {
        assert_eq!(token_entropy(&[3.0]), 0.0);
        assert_eq!(token_entropy(&[3.0, f64::NEG_INFINITY]), 0.0);
        assert!((token_entropy(&[1e6; 4]) - 4.0_f64.ln()).abs() < 1e-9);
    }

    #[test]
    fn the_reward_is_minus_the_mean() {
        assert_eq!(negative_entropy(&[], None), None);
        assert_eq!(negative_entropy(&[1.0, 3.0], None), Some(-2.0));
        assert_eq!(
            negative_entropy(&[1.0, 3.0], Some(&[true, false])),
            Some(-1.0)
        );
        assert_eq!(negative_entropy(&[1.0], Some(&[false])), None);
    }

    proptest! {
        #[test]
        fn entropy_is_between_nothing_and_the_uniform_one(
            logits in prop::collection::vec(-9.0_f64..9.0, 1..9), shift in -50.0_f64..50.0,
        ) {
            let entropy = token_entropy(&logits);
            prop_assert!((-1e-9..=(logits.len() as f64).ln() + 1e-9).contains(&entropy));
            let shifted: Vec<f64> = logits.iter().map(|z| z + shift).collect();
            prop_assert!((token_entropy(&shifted) - entropy).abs() < 1e-9);
        }
    }
}
