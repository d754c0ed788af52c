//! CISPO: log-probabilities weighted by clipped ratios (MiniMax-M1, arXiv:2506.13585, Eq. 4 and 5).
//!
//! `L = -stop(clip(r, 1 - low, 1 + high)) * A * logprobs`, `r = exp(logprobs - old_logprobs)`
//!
//! The clipped ratio is a constant for the gradient, so every token keeps one:
//! `d L / d logprobs = -clip(r) * A`.
//!
//! Assumptions: bounds are relative to 1, as in verl; TRL's `epsilon_high` is the bound itself, so
//! its 5 is `clip_high = 4` here. The paper uses no lower bound: `clip_low = 1`.
//!
//! Differs from the paper: none. The loss's value depends on the log-probability itself and means
//! nothing between steps.

use crate::batch::TokenBatch;
use crate::policy_loss::{Clip, Term, clamped};

pub(crate) fn terms(
    batch: &TokenBatch,
    clip_low: f64,
    clip_high: f64,
    log_ratio_clamp: Option<f64>,
) -> Vec<Term> {
    let mut terms = vec![Term::default(); batch.logprobs.len()];
    for idx in batch.trained(0..batch.logprobs.len()) {
        let log_ratio = batch.logprobs[idx] - batch.old_logprobs[idx];
        let (log_ratio, is_clamped) = clamped(log_ratio, log_ratio_clamp);
        let ratio = log_ratio.exp();
        let (weight, clip) = if 1.0 + clip_high < ratio {
            (1.0 + clip_high, Clip::High)
        } else if ratio < 1.0 - clip_low {
            (1.0 - clip_low, Clip::Low)
        } else {
            (ratio, Clip::Free)
        };
        let advantage = batch.advantages[idx];
        // A token with advantage 0 says nothing, whatever its other numbers are.
        let slope = if advantage == 0.0 {
            0.0
        } else {
            -weight * advantage
        };
        let loss = if slope == 0.0 {
            0.0
        } else {
            slope * batch.logprobs[idx]
        };
        terms[idx] = Term {
            loss,
            slope,
            ratio,
            clip,
            is_clamped,
        };
    }
    terms
}

#[cfg(test)]
mod tests {
    use super::terms;
    use crate::batch::TokenBatch;
    use crate::policy_loss::Clip;

    fn batch<'a>(
        lengths: &'a [usize; 1],
        logprobs: &'a [f64],
        old_logprobs: &'a [f64],
        advantages: &'a [f64],
        loss_mask: &'a [bool],
    ) -> TokenBatch<'a> {
        TokenBatch {
            lengths,
            logprobs,
            old_logprobs,
            advantages,
            loss_mask,
            weights: logprobs,
            ref_logprobs: None,
            rollout_logprobs: None,
        }
    }

    #[test]
    fn untrained_tokens_and_advantages_of_zero_say_nothing() {
        let logprobs = [f64::NAN, f64::NEG_INFINITY];
        let old_logprobs = [f64::NAN, -1.0];
        let advantages = [f64::NAN, 0.0];
        let batch = batch(&[2], &logprobs, &old_logprobs, &advantages, &[false, true]);
        for term in terms(&batch, 0.2, 0.28, None) {
            assert_eq!((term.loss, term.slope), (0.0, 0.0));
        }
    }

    #[test]
    fn the_clipped_weight_is_a_constant_that_never_stops_the_gradient() {
        // lp = -2; r = exp(d): d = ln .5, 0, ln 2; clip to [.8, 1.28]; loss = 2 * clip(r) * A.
        let ln_2 = std::f64::consts::LN_2;
        let old = [-2.0 + ln_2, -2.0, -2.0 - ln_2, -2.0];
        let advantages = [1.0, 1.0, 1.0, -0.5];
        let found = terms(
            &batch(&[4], &[-2.0; 4], &old, &advantages, &[true; 4]),
            0.2,
            0.28,
            Some(20.0),
        );
        let expected = [
            (1.6, -0.8, Clip::Low),
            (2.0, -1.0, Clip::Free),
            (2.56, -1.28, Clip::High),
            (-1.0, 0.5, Clip::Free),
        ];
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!((found.loss, found.slope, found.clip), expected);
        }
    }

    #[test]
    fn a_lower_bound_of_one_or_more_never_acts() {
        let found = terms(
            &batch(&[1], &[-9.0], &[-1.0], &[1.0], &[true]),
            1.0,
            4.0,
            Some(20.0),
        );
        assert_eq!(found[0].clip, Clip::Free);
        assert_eq!(found[0].slope, -(-8.0_f64).exp());
    }
}
