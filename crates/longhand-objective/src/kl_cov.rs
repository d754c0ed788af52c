//! KL-Cov: the tokens whose log-probability and advantage vary together most are kept near the old
//! policy (arXiv:2505.22617), and CIRCA's form of it (arXiv:2605.22620).
//!
//! ```text
//! K   = the max(1, floor(fraction * N)) of the scope's N trained tokens with the largest covariance
//! L_i = -r A                     + coef * |ln r|      i in K, both forms
//! L_i = -r A                                          i not in K, without a clip
//! L_i = max(-r A, -clip(r) A)                         i not in K, CIRCA's form, inside PPO's clip
//! ```
//!
//! [`covariances`](crate::covariances) has the covariance. `fraction` is a fraction, as in verl and
//! CIRCA; the authors' own code has percent, where 0.2 is our 0.002.
//!
//! **The penalty is silent on exactly on-policy tokens**: at `r = 1`, `|ln r|` and its derivative
//! (the sign of zero) are zero. With one update per rollout batch, and ratios to the policy itself,
//! KL-Cov does nothing but lift the clip that would not act either.
//! [`KlCov::check_updates`] refuses that.
//!
//! Assumptions: equal covariances are taken in the order of the tokens. CIRCA is known to us through
//! secondary sources. The penalty stands inside the importance weight, as in verl.
//!
//! Differs from the papers' code: the scope is an option, there it is the micro-batch.

use crate::ObjectiveError;
use crate::covariance::{covariances, largest, share};
use crate::token_control::{ScopeTokens, TokenControl};

/// Settings of KL-Cov.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KlCov {
    /// What becomes of the tokens that are not penalised.
    pub form: KlCovForm,
    /// Which part of the scope's trained tokens is penalised: above 0, at most 1.
    pub fraction: f64,
    /// The weight of the penalty.
    pub coef: f64,
    /// Whether one update per batch, which this method cannot act in, is accepted.
    pub single_update: SingleUpdate,
}

/// What becomes of the tokens that KL-Cov does not penalise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KlCovForm {
    /// No token is clipped: the original.
    WithoutClip,
    /// The others are clipped as PPO does: CIRCA.
    InsideClip,
}

/// Whether a method that acts only off-policy may be combined with one on-policy update per batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
pub enum SingleUpdate {
    /// It is an error.
    #[default]
    Refused,
    /// It was asked for.
    Forced,
}

impl KlCov {
    /// The original with its authors' settings: 0.2 % of the tokens, coefficient 1 (their 7B model;
    /// 2e-4 for 32B).
    pub fn original() -> Self {
        KlCov {
            form: KlCovForm::WithoutClip,
            fraction: 2e-3,
            coef: 1.0,
            single_update: SingleUpdate::Refused,
        }
    }

    /// CIRCA's form with its settings: 2 % of the tokens, coefficient 0.05.
    pub fn circa() -> Self {
        KlCov {
            form: KlCovForm::InsideClip,
            fraction: 0.02,
            coef: 0.05,
            single_update: SingleUpdate::Refused,
        }
    }

    /// Whether the settings make sense.
    ///
    /// # Errors
    /// For a fraction outside `(0, 1]` and a negative coefficient.
    pub fn check(&self) -> Result<(), ObjectiveError> {
        ObjectiveError::check_fraction("fraction", self.fraction)?;
        ObjectiveError::check_not_negative("coef", self.coef)
    }

    /// Whether the penalty can act at all: not with a single update per rollout batch, in which every
    /// ratio is 1.
    ///
    /// Where `old_logprobs` are another engine's record of sampling, ratios differ from 1 in the
    /// first update too, by rounding: that is a reason to force it, not to leave the check out.
    ///
    /// # Errors
    /// [`ObjectiveError::SingleUpdate`] with the explanation, unless forced.
    pub fn check_updates(&self, updates_per_batch: usize) -> Result<(), ObjectiveError> {
        if updates_per_batch < 2 && self.single_update == SingleUpdate::Refused {
            return Err(ObjectiveError::SingleUpdate);
        }
        Ok(())
    }

    /// What becomes of each token of a scope.
    ///
    /// # Panics
    /// If the slices differ in length.
    pub fn controls(&self, tokens: &ScopeTokens) -> Vec<TokenControl> {
        let covariances = covariances(tokens);
        let trained = tokens.trained();
        let mut controls = vec![TokenControl::NEUTRAL; covariances.len()];
        if self.form == KlCovForm::WithoutClip {
            for &idx in &trained {
                controls[idx].is_unclipped = true;
            }
        }
        let n_penalised = share(trained.len(), self.fraction);
        for idx in largest(trained, n_penalised, |idx| covariances[idx]) {
            controls[idx] = TokenControl {
                log_ratio_coef: self.coef,
                is_unclipped: true,
                ..TokenControl::NEUTRAL
            };
        }
        controls
    }
}

#[cfg(test)]
mod tests {
    use super::{KlCov, SingleUpdate};
    use crate::ObjectiveError;
    use crate::token_control::{ScopeTokens, TokenControl};

    #[test]
    fn an_empty_scope_has_nothing_to_penalise() {
        let nothing = ScopeTokens {
            logprobs: &[f64::NAN],
            old_logprobs: &[f64::NAN],
            advantages: &[f64::NAN],
            loss_mask: &[false],
            entropies: None,
        };
        assert_eq!(KlCov::circa().controls(&nothing), [TokenControl::NEUTRAL]);
        assert_eq!(
            KlCov::original().controls(&nothing),
            [TokenControl::NEUTRAL]
        );
    }

    #[test]
    fn percent_is_refused_and_so_is_one_update_per_batch_unless_forced() {
        let of = |fraction| KlCov {
            fraction,
            ..KlCov::original()
        };
        assert_eq!(of(1.0).check(), Ok(()));
        for fraction in [0.0, -0.1, 2.0, f64::NAN] {
            let error = of(fraction).check().expect_err("no fraction").to_string();
            assert!(error.contains("not percent"), "{error}");
        }
        let (refused, forced) = (
            KlCov::circa(),
            KlCov {
                single_update: SingleUpdate::Forced,
                ..KlCov::circa()
            },
        );
        assert_eq!(refused.check_updates(1), Err(ObjectiveError::SingleUpdate));
        let error = ObjectiveError::SingleUpdate.to_string();
        assert!(
            error.contains("|ln r|") && error.contains("2 updates"),
            "{error}"
        );
        assert_eq!(
            (refused.check_updates(2), forced.check_updates(1)),
            (Ok(()), Ok(()))
        );
    }
}
