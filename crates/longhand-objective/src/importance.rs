//! Truncated importance sampling for a sampler that differs from the trainer (truncation: Ionides
//! 2008; for policy gradients arXiv:1802.01561).
//!
//! `x = old_logprobs - rollout_logprobs`; token: `w_t = min(exp(x_t), cap)`; sequence:
//! `w = min(exp(sum of x over the context's trained tokens), cap)` for each of them
//!
//! Assumptions: the weight is a constant for the gradient and multiplies the policy loss only, not
//! the KL penalty. Before `exp`, the exponent is held to the objective's log-ratio clamp (verl: 20).
//!
//! Differs from verl: the weights are not divided by their mean. A context is a sequence, so with
//! the sequence form, cutting a trajectory into more contexts makes more weights.

use crate::batch::TokenBatch;
use crate::policy_loss::clamped;

/// How tokens are weighted by how much more likely the trainer finds them than the sampler did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
pub enum Importance {
    /// Not at all.
    #[default]
    None,
    /// Each token by its own ratio.
    Token,
    /// Each token by the product of its context's ratios.
    Sequence,
}

impl Importance {
    /// The cap where nothing else is said.
    pub const DEFAULT_CAP: f64 = 2.0;

    /// One weight per token; 1 for untrained tokens and without importance sampling.
    ///
    /// # Panics
    /// If weights are asked for and the batch has no `rollout_logprobs`.
    pub(crate) fn weights(
        self,
        batch: &TokenBatch,
        cap: f64,
        log_ratio_clamp: Option<f64>,
    ) -> Vec<ImportanceWeight> {
        let mut weights = vec![ImportanceWeight::ONE; batch.logprobs.len()];
        if self == Importance::None {
            return weights;
        }
        let rollout_logprobs = batch
            .rollout_logprobs
            .expect("importance sampling needs `rollout_logprobs`");
        let log_weight = |idx: usize| batch.old_logprobs[idx] - rollout_logprobs[idx];
        for context in batch.contexts() {
            let trained = batch.trained(context);
            let sum: f64 = trained.clone().map(log_weight).sum();
            for idx in trained {
                let exponent = match self {
                    Importance::Sequence => sum,
                    _ => log_weight(idx),
                };
                let weight = clamped(exponent, log_ratio_clamp).0.exp();
                weights[idx] = ImportanceWeight {
                    // Not `min`, which would turn NaN into the cap.
                    value: if cap < weight { cap } else { weight },
                    is_capped: cap < weight,
                };
            }
        }
        weights
    }
}

/// One token's weight and whether the cap cut it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ImportanceWeight {
    pub(crate) value: f64,
    pub(crate) is_capped: bool,
}

impl ImportanceWeight {
    const ONE: Self = ImportanceWeight {
        value: 1.0,
        is_capped: false,
    };
}

#[cfg(test)]
mod tests {
    use super::Importance;
    use crate::batch::TokenBatch;

    /// Two contexts, the first with an untrained token that is not a number.
    fn weights(importance: Importance, cap: f64, clamp: Option<f64>) -> (Vec<f64>, usize) {
        let batch = TokenBatch {
            lengths: &[4, 1],
            logprobs: &[-1.0; 5],
            old_logprobs: &[-1.0, -1.0, f64::NAN, -1.0, -1.0],
            advantages: &[1.0; 5],
            loss_mask: &[true, true, false, true, true],
            weights: &[1.0; 5],
            ref_logprobs: None,
            rollout_logprobs: Some(&[-1.1, -0.7, f64::NAN, -2.2, -0.5]),
        };
        let found = importance.weights(&batch, cap, clamp);
        (
            found.iter().map(|weight| weight.value).collect(),
            found.iter().filter(|weight| weight.is_capped).count(),
        )
    }

    #[track_caller]
    fn check((found, n_capped): (Vec<f64>, usize), expected: [f64; 5], expected_capped: usize) {
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
        assert_eq!(n_capped, expected_capped);
    }

    #[test]
    fn without_importance_every_weight_is_one() {
        check(weights(Importance::None, 2.0, None), [1.0; 5], 0);
    }

    #[test]
    fn the_worked_log_ratios_by_token() {
        // numpy: np.minimum(np.exp([.1, -.3, 1.2, -.5]), 2)
        let expected = [1.105171, 0.740818, 1.0, 2.0, 0.606531];
        check(weights(Importance::Token, 2.0, Some(20.0)), expected, 1);
    }

    #[test]
    fn the_worked_log_ratios_by_sequence() {
        // exp(.1 - .3 + 1.2) = e = 2.718282, capped at 2; exp(-.5) = .606531.
        let capped = [2.0, 2.0, 1.0, 2.0, 0.606531];
        check(weights(Importance::Sequence, 2.0, Some(20.0)), capped, 3);
        let e = std::f64::consts::E;
        let free = [e, e, 1.0, e, 0.606531];
        check(weights(Importance::Sequence, 5.0, Some(20.0)), free, 0);
    }

    #[test]
    fn the_exponent_is_held_to_the_clamp() {
        // exp(.2) = 1.221403, exp(-.2) = .818731.
        let expected = [1.105171, 0.818731, 1.0, 1.221403, 0.818731];
        check(weights(Importance::Token, 2.0, Some(0.2)), expected, 0);
    }
}
