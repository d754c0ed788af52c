//! The choice among policy losses, and what each of them says about one token.

use crate::batch::TokenBatch;
use crate::token_control::TokenControl;
use crate::{Aggregation, ObjectiveError};
use crate::{cispo, gspo, ppo_clip};

/// The surrogate whose gradient is the policy gradient. Bounds are relative to 1: a ratio is kept in
/// `[1 - clip_low, 1 + clip_high]`.
///
/// With the `serde` feature it reads from a flat table whose `kind` is `ppo-clip`, `gspo` or
/// `cispo`; the bounds default to 0.2 and `dual_clip` to 3 (`"none"` or null: off). Unknown keys are
/// errors.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(
        try_from = "crate::file_form::PolicyLossTable",
        into = "crate::file_form::PolicyLossTable"
    )
)]
pub enum PolicyLoss {
    /// PPO's clipped surrogate with separate bounds, used by GRPO, DAPO, MemAgent and TAMTRL:
    /// `max(-A r, -A clip(r))`, and for `A < 0` at most `-A * dual_clip`.
    PpoClip {
        /// How far below 1 the ratio may fall.
        clip_low: f64,
        /// How far above 1 the ratio may rise.
        clip_high: f64,
        /// The ratio at which tokens with a negative advantage stop; more than 1. `None`: nowhere.
        dual_clip: Option<f64>,
    },
    /// GSPO: the clipped surrogate of the sequence's ratio, the geometric mean of its tokens'.
    Gspo {
        /// How far below 1 the sequence's ratio may fall.
        clip_low: f64,
        /// How far above 1 the sequence's ratio may rise.
        clip_high: f64,
    },
    /// CISPO: the log-probability weighted by a clipped ratio that carries no gradient.
    Cispo {
        /// How far below 1 the weight may fall; at least 1 for the paper's missing lower bound.
        clip_low: f64,
        /// How far above 1 the weight may rise.
        clip_high: f64,
    },
}

impl PolicyLoss {
    /// The bound on either side where nothing else is said; GSPO has its own.
    pub const DEFAULT_CLIP: f64 = 0.2;
    /// GSPO's lower and upper bound where nothing else is said: a sequence's ratio is a mean and moves
    /// far less than a token's (arXiv:2507.18071).
    pub const GSPO_CLIP: (f64, f64) = (3e-4, 4e-4);
    /// The dual clip where nothing else is said.
    pub const DEFAULT_DUAL_CLIP: f64 = 3.0;

    /// The loss's name in files and on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            PolicyLoss::PpoClip { .. } => "ppo-clip",
            PolicyLoss::Gspo { .. } => "gspo",
            PolicyLoss::Cispo { .. } => "cispo",
        }
    }

    /// The aggregation the method is defined with: `seq-mean-token-mean` for GSPO, otherwise
    /// `token-mean`.
    pub fn usual_aggregation(&self) -> Aggregation {
        match self {
            PolicyLoss::PpoClip { .. } | PolicyLoss::Cispo { .. } => Aggregation::TokenMean,
            PolicyLoss::Gspo { .. } => Aggregation::SeqMeanTokenMean,
        }
    }

    /// Whether the bounds make sense.
    ///
    /// # Errors
    /// For a bound that is negative or not finite, and for a dual clip that is not above 1.
    pub fn check(&self) -> Result<(), ObjectiveError> {
        let (clip_low, clip_high, dual_clip) = match *self {
            PolicyLoss::PpoClip {
                clip_low,
                clip_high,
                dual_clip,
            } => (clip_low, clip_high, dual_clip),
            PolicyLoss::Gspo {
                clip_low,
                clip_high,
            }
            | PolicyLoss::Cispo {
                clip_low,
                clip_high,
            } => (clip_low, clip_high, None),
        };
        for (option, value) in [("clip_low", clip_low), ("clip_high", clip_high)] {
            if !(value.is_finite() && 0.0 <= value) {
                return Err(ObjectiveError::Negative { option, value });
            }
        }
        match dual_clip {
            Some(value) if !(value.is_finite() && 1.0 < value) => {
                Err(ObjectiveError::DualClip { value })
            }
            _ => Ok(()),
        }
    }

    /// What the loss says about every token, trained or not; [`Term::default`] for the latter.
    ///
    /// # Panics
    /// If a control lifts the clip of a loss that is not PPO's.
    pub(crate) fn terms(
        &self,
        batch: &TokenBatch,
        log_ratio_clamp: Option<f64>,
        controls: Option<&[TokenControl]>,
    ) -> Vec<Term> {
        let mut controlled = controls.unwrap_or_default().iter().zip(batch.loss_mask);
        let is_lifted = controlled.any(|(control, is_trained)| control.is_unclipped && *is_trained);
        assert!(
            !is_lifted || matches!(self, PolicyLoss::PpoClip { .. }),
            "only PPO's clip can be lifted from a token, not that of `{}`",
            self.name()
        );
        match *self {
            PolicyLoss::PpoClip {
                clip_low,
                clip_high,
                dual_clip,
            } => ppo_clip::terms(
                batch,
                clip_low,
                clip_high,
                dual_clip,
                log_ratio_clamp,
                controls,
            ),
            PolicyLoss::Gspo {
                clip_low,
                clip_high,
            } => gspo::terms(batch, clip_low, clip_high, log_ratio_clamp),
            PolicyLoss::Cispo {
                clip_low,
                clip_high,
            } => cispo::terms(batch, clip_low, clip_high, log_ratio_clamp),
        }
    }
}

impl Default for PolicyLoss {
    /// PPO's clip with the default bounds and dual clip.
    fn default() -> Self {
        PolicyLoss::PpoClip {
            clip_low: Self::DEFAULT_CLIP,
            clip_high: Self::DEFAULT_CLIP,
            dual_clip: Some(Self::DEFAULT_DUAL_CLIP),
        }
    }
}

/// What a policy loss says about one token, before weights.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Term {
    /// The token's loss.
    pub(crate) loss: f64,
    /// Its derivative with respect to the token's `logprobs`.
    pub(crate) slope: f64,
    /// The ratio the loss was computed with.
    pub(crate) ratio: f64,
    /// Which bound stopped the gradient (CISPO: which bound the weight was moved to).
    pub(crate) clip: Clip,
    /// Whether the log ratio was outside the numerical clamp.
    pub(crate) is_clamped: bool,
}

/// Which bound acted on a token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Clip {
    #[default]
    Free,
    Low,
    High,
    Dual,
}

/// A log ratio within the numerical clamp, and whether it had been outside.
pub(crate) fn clamped(log_ratio: f64, clamp: Option<f64>) -> (f64, bool) {
    match clamp {
        Some(bound) if bound < log_ratio => (bound, true),
        Some(bound) if log_ratio < -bound => (-bound, true),
        _ => (log_ratio, false),
    }
}

#[cfg(test)]
mod tests {
    use super::{PolicyLoss, clamped};
    use crate::ObjectiveError;

    #[test]
    fn the_clamp_acts_outside_its_bounds_only_and_lets_nan_through() {
        assert_eq!(clamped(21.0, Some(20.0)), (20.0, true));
        assert_eq!(clamped(-21.0, Some(20.0)), (-20.0, true));
        assert_eq!(clamped(20.0, Some(20.0)), (20.0, false));
        assert_eq!(clamped(-20.0, Some(20.0)), (-20.0, false));
        assert_eq!(clamped(-500.0, None), (-500.0, false));
        assert!(clamped(f64::NAN, Some(20.0)).0.is_nan());
    }

    #[test]
    fn bounds_that_make_no_sense_are_refused() {
        assert_eq!(PolicyLoss::default().check(), Ok(()));
        let low = PolicyLoss::Cispo {
            clip_low: -0.1,
            clip_high: 0.2,
        };
        let expected = ObjectiveError::Negative {
            option: "clip_low",
            value: -0.1,
        };
        assert_eq!(low.check(), Err(expected));
        let high = PolicyLoss::Gspo {
            clip_low: 0.1,
            clip_high: f64::INFINITY,
        };
        assert!(matches!(
            high.check(),
            Err(ObjectiveError::Negative {
                option: "clip_high",
                ..
            })
        ));
        for dual_clip in [1.0, 0.5, f64::NAN] {
            let dual = PolicyLoss::PpoClip {
                clip_low: 0.2,
                clip_high: 0.2,
                dual_clip: Some(dual_clip),
            };
            assert!(matches!(dual.check(), Err(ObjectiveError::DualClip { .. })));
        }
    }
}
