//! PPO's clipped surrogate (arXiv:1707.06347, Eq. 7), with separate bounds (arXiv:2503.14476, Eq. 8)
//! and dual clip (arXiv:1912.09729, Eq. 5).
//!
//! `r = exp(logprobs - old_logprobs)`, `L = max(-A r, -A clip(r, 1 - low, 1 + high))`, and where
//! `A < 0` at most `-A c`
//!
//! As cases: the gradient stops where `A > 0` and `r > 1 + high`, where `A < 0` and `r < 1 - low`,
//! and where `A < 0` and `r > c`; elsewhere the loss is `-A r` and its derivative is `-A r` too.
//!
//! Assumptions: the log ratio may be clamped (verl: to 20 either way) so that `exp` stays finite;
//! outside the clamp the gradient is zero. A token with advantage 0 says nothing, whatever its ratio.
//!
//! Differs from the papers: none.

use crate::batch::TokenBatch;
use crate::policy_loss::{Clip, Term, clamped};
use crate::token_control::TokenControl;

pub(crate) fn terms(
    batch: &TokenBatch,
    clip_low: f64,
    clip_high: f64,
    dual_clip: Option<f64>,
    log_ratio_clamp: Option<f64>,
    controls: Option<&[TokenControl]>,
) -> Vec<Term> {
    let mut terms = vec![Term::default(); batch.logprobs.len()];
    for idx in batch.trained(0..batch.logprobs.len()) {
        let log_ratio = batch.logprobs[idx] - batch.old_logprobs[idx];
        let (log_ratio, is_clamped) = clamped(log_ratio, log_ratio_clamp);
        let ratio = log_ratio.exp();
        let advantage = batch.advantages[idx];
        let surrogate = if controls.is_some_and(|controls| controls[idx].is_unclipped) {
            surrogate(advantage, ratio, f64::INFINITY, f64::INFINITY, None)
        } else {
            surrogate(advantage, ratio, clip_low, clip_high, dual_clip)
        };
        terms[idx] = stopped_by_clamp(surrogate, is_clamped);
    }
    terms
}

/// The clipped loss of one ratio; `slope` is the derivative with respect to the ratio's logarithm.
pub(crate) fn surrogate(
    advantage: f64,
    ratio: f64,
    clip_low: f64,
    clip_high: f64,
    dual_clip: Option<f64>,
) -> Term {
    let bound = if 0.0 < advantage && 1.0 + clip_high < ratio {
        Some((1.0 + clip_high, Clip::High))
    } else if advantage < 0.0 && ratio < 1.0 - clip_low {
        Some((1.0 - clip_low, Clip::Low))
    } else {
        dual_clip
            .filter(|&bound| advantage < 0.0 && bound < ratio)
            .map(|bound| (bound, Clip::Dual))
    };
    match bound {
        _ if advantage == 0.0 => Term {
            ratio,
            ..Term::default()
        },
        Some((bound, clip)) => Term {
            loss: -advantage * bound,
            slope: 0.0,
            ratio,
            clip,
            is_clamped: false,
        },
        None => Term {
            loss: -advantage * ratio,
            slope: -advantage * ratio,
            ratio,
            clip: Clip::Free,
            is_clamped: false,
        },
    }
}

/// The same term with no gradient if its log ratio was outside the numerical clamp.
pub(crate) fn stopped_by_clamp(term: Term, is_clamped: bool) -> Term {
    Term {
        slope: if is_clamped { 0.0 } else { term.slope },
        is_clamped,
        ..term
    }
}

#[cfg(test)]
mod tests {
    use super::surrogate;
    use crate::policy_loss::Clip;

    #[test]
    fn a_token_with_advantage_zero_says_nothing_even_at_an_infinite_ratio() {
        let found = surrogate(0.0, f64::INFINITY, 0.2, 0.28, Some(3.0));
        assert_eq!(
            (found.loss, found.slope, found.clip),
            (0.0, 0.0, Clip::Free)
        );
    }

    #[test]
    fn the_worked_ratios() {
        // numpy: l = max(-A r, -A clip(r, .8, 1.28)); A < 0: min(l, -3 A). Bounds differ, so that
        // exchanging them shows.
        let cases = [
            (1.0, 0.5, -0.5, -0.5, Clip::Free),
            (1.0, 1.5, -1.28, 0.0, Clip::High),
            (1.0, 4.0, -1.28, 0.0, Clip::High),
            (-1.0, 0.5, 0.8, 0.0, Clip::Low),
            (-1.0, 1.5, 1.5, 1.5, Clip::Free),
            (-1.0, 4.0, 3.0, 0.0, Clip::Dual),
        ];
        for (advantage, ratio, loss, slope, clip) in cases {
            let found = surrogate(advantage, ratio, 0.2, 0.28, Some(3.0));
            assert_eq!((found.loss, found.slope, found.clip), (loss, slope, clip));
        }
    }

    #[test]
    fn without_dual_clip_a_bad_token_is_pushed_down_at_any_ratio() {
        let found = surrogate(-2.0, 4.0, 0.2, 0.28, None);
        assert_eq!(
            (found.loss, found.slope, found.clip),
            (8.0, 8.0, Clip::Free)
        );
    }
}
