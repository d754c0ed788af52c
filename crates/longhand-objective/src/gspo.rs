//! GSPO: the clipped surrogate of one ratio per sequence (arXiv:2507.18071, Eq. 5 and 13).
//!
//! `s = exp(mean over the context's trained tokens of (logprobs - old_logprobs))`,
//! `L_t = max(-A_t s_t, -A_t clip(s_t, 1 - low, 1 + high))` with the straight-through
//! `s_t = s * exp(logprobs_t - stop(logprobs_t))`
//!
//! So `s_t` has the value `s`, and the derivative of `L_t` with respect to its own token's
//! log-probability is `-A_t s` where the clip does not act. Where all tokens of a context share
//! advantage and weight this equals the derivative of the plain sequence loss.
//!
//! Assumptions: a context is a sequence; cutting a trajectory into more contexts makes more ratios.
//! Meant for the aggregation `seq-mean-token-mean` and for narrow bounds (paper: 3e-4 and 4e-4).
//!
//! Differs from the paper: nothing in value; the gradient is the straight-through form of its token
//! variant, as in verl. The log of `s` is capped at 10 from above, also as in verl, or at the
//! caller's clamp if that is smaller, and not at all if the caller switched clamping off. Single
//! tokens' log ratios are not clamped. No dual clip.

use crate::batch::TokenBatch;
use crate::policy_loss::Term;
use crate::ppo_clip::{stopped_by_clamp, surrogate};

/// The largest logarithm of a sequence's ratio.
const LOG_RATIO_CAP: f64 = 10.0;

pub(crate) fn terms(
    batch: &TokenBatch,
    clip_low: f64,
    clip_high: f64,
    log_ratio_clamp: Option<f64>,
) -> Vec<Term> {
    let cap = log_ratio_clamp.map_or(f64::INFINITY, |bound| bound.min(LOG_RATIO_CAP));
    let mut terms = vec![Term::default(); batch.logprobs.len()];
    for context in batch.contexts() {
        let trained = batch.trained(context);
        let n_trained = trained.clone().count();
        let sum: f64 = trained
            .clone()
            .map(|idx| batch.logprobs[idx] - batch.old_logprobs[idx])
            .sum();
        let log_ratio = sum / n_trained.max(1) as f64;
        let is_clamped = cap < log_ratio;
        let ratio = if is_clamped { cap } else { log_ratio }.exp();
        for idx in trained {
            let surrogate = surrogate(batch.advantages[idx], ratio, clip_low, clip_high, None);
            terms[idx] = stopped_by_clamp(surrogate, is_clamped);
        }
    }
    terms
}

#[cfg(test)]
mod tests {
    use super::terms;
    use crate::batch::TokenBatch;

    #[test]
    fn the_ratio_is_the_geometric_mean_over_trained_tokens() {
        // d = .1, -.2, .4: exp(.3 / 3) = 1.105171. The untrained fourth token is NaN.
        let batch = TokenBatch {
            lengths: &[4, 0],
            logprobs: &[-0.9, -1.2, -0.6, f64::NAN],
            old_logprobs: &[-1.0, -1.0, -1.0, f64::NAN],
            advantages: &[1.0, 1.0, -1.0, 1.0],
            loss_mask: &[true, true, true, false],
            weights: &[1.0; 4],
            ref_logprobs: None,
            rollout_logprobs: None,
        };
        let found = terms(&batch, 0.2, 0.28, Some(20.0));
        for (found, sign) in found.iter().zip([-1.0, -1.0, 1.0]) {
            assert!((found.ratio - 1.105171).abs() < 1e-6);
            assert!((found.loss - sign * 1.105171).abs() < 1e-6);
            assert_eq!(found.slope, found.loss);
        }
        assert_eq!(found[3].loss, 0.0);
        // Bounds that act: 1.105 is above 1 + .1 for A > 0, and no bound for A < 0.
        let found = terms(&batch, 0.1, 0.1, Some(20.0));
        assert_eq!([found[0].loss, found[0].slope], [-1.1, 0.0]);
        assert!((found[2].loss - 1.105171).abs() < 1e-6);
    }

    #[test]
    fn a_runaway_sequence_is_capped_and_stops_unless_the_clamp_is_off() {
        let batch = TokenBatch {
            lengths: &[1],
            logprobs: &[-1.0],
            old_logprobs: &[-13.0],
            advantages: &[-1.0],
            loss_mask: &[true],
            weights: &[1.0],
            ref_logprobs: None,
            rollout_logprobs: None,
        };
        let ratio_and_slope = |clamp| {
            let term = terms(&batch, 0.2, 0.2, clamp)[0];
            (term.ratio, term.slope)
        };
        assert_eq!(ratio_and_slope(Some(20.0)), (10.0_f64.exp(), 0.0));
        assert_eq!(ratio_and_slope(Some(2.0)), (2.0_f64.exp(), 0.0));
        assert_eq!(ratio_and_slope(None), (12.0_f64.exp(), 12.0_f64.exp()));
    }
}
