//! The entropy bonus: `-coef * entropy` on each trained token, with a fixed or an adaptive coefficient.
//!
//! `loss = ... - coef * sum over t of weight_t * entropy_t`
//!
//! An entropy depends on the whole distribution and not on the sampled token's log-probability, so
//! its derivative is not part of `d loss / d logprobs`: an evaluation returns `d loss / d entropy` per
//! token beside it, and whoever holds the logits goes on from there (`d entropy / d logit_j = -p_j
//! (ln p_j + entropy)` at temperature 1).
//!
//! Adaptive (Skywork-OR1, arXiv:2505.22312; TRL): with the mean entropy `H` over a rollout batch before
//! its first update, the coefficient acts where `H <= target`, and the one for the next batch is
//! `coef + step` where `H < target` and `coef - step` where `H > target`, within `[min, max]`.
//!
//! Assumptions: the coefficient that acts is the one before it is moved. An `H` that is not finite
//! changes nothing.

use crate::ObjectiveError;

/// Settings of the bonus; with the `serde` feature every key has a default and `target` is a number
/// or `"none"`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct EntropyBonus {
    /// The coefficient, or the first one if it is adaptive.
    pub coef: f64,
    /// The entropy, in nats a token, that an adaptive coefficient aims at; `None`: a fixed one.
    #[cfg_attr(feature = "serde", serde(with = "crate::file_form::number_or_none"))]
    pub target: Option<f64>,
    /// How far an adaptive coefficient moves per rollout batch.
    pub step: f64,
    /// The least adaptive coefficient.
    pub min: f64,
    /// The most adaptive coefficient.
    pub max: f64,
}

/// What an adaptive bonus remembers between rollout batches: part of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct EntropyBonusState {
    /// The coefficient as it stands, whether it acts or not.
    pub coef: f64,
    /// The coefficient of this rollout batch's updates.
    pub acting_coef: f64,
}

impl Default for EntropyBonus {
    /// None: a fixed coefficient of 0. An adaptive one, once it has a target (TRL and Skywork: 0.2),
    /// moves by 0.005 within `[0, 1]`.
    fn default() -> Self {
        EntropyBonus {
            coef: 0.0,
            target: None,
            step: 0.005,
            min: 0.0,
            max: 1.0,
        }
    }
}

impl EntropyBonus {
    /// Whether there is no bonus, now or later.
    pub fn is_none(&self) -> bool {
        self.coef == 0.0 && self.target.is_none()
    }

    /// Whether the settings make sense.
    ///
    /// # Errors
    /// For a number that is negative or not finite, a first coefficient outside the bounds of an
    /// adaptive one, and bounds with nothing between them.
    pub fn check(&self) -> Result<(), ObjectiveError> {
        for (option, value) in [
            ("bonus.coef", self.coef),
            ("bonus.target", self.target.unwrap_or_default()),
            ("bonus.step", self.step),
            ("bonus.min", self.min),
            ("bonus.max", self.max),
        ] {
            ObjectiveError::check_not_negative(option, value)?;
        }
        ObjectiveError::check_order("bonus.min", self.min, "bonus.max", self.max)?;
        let is_inside = (self.min..=self.max).contains(&self.coef);
        if self.target.is_some() && !is_inside {
            return Err(ObjectiveError::Outside {
                option: "bonus.coef",
                value: self.coef,
                least: self.min,
                most: self.max,
            });
        }
        Ok(())
    }

    /// Before the first rollout batch.
    pub fn initial_state(&self) -> EntropyBonusState {
        EntropyBonusState {
            coef: self.coef,
            acting_coef: self.coef,
        }
    }

    /// The state for the updates of a rollout batch with this mean entropy, in nats, over all its
    /// response tokens, before the first of these updates.
    #[must_use]
    pub fn observe(&self, state: &EntropyBonusState, mean_entropy: f64) -> EntropyBonusState {
        let Some(target) = self.target else {
            return self.initial_state();
        };
        if !mean_entropy.is_finite() {
            return *state;
        }
        let (acting_coef, by) = if mean_entropy < target {
            (state.coef, self.step)
        } else if target < mean_entropy {
            (0.0, -self.step)
        } else {
            (state.coef, 0.0)
        };
        EntropyBonusState {
            coef: (state.coef + by).clamp(self.min, self.max),
            acting_coef,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{EntropyBonus, EntropyBonusState};

    #[test]
    fn a_fixed_coefficient_stays_whatever_the_entropy_is() {
        let bonus = EntropyBonus {
            coef: 0.01,
            ..EntropyBonus::default()
        };
        let state = bonus.initial_state();
        assert_eq!(state.acting_coef, 0.01);
        for entropy in [0.0, 5.0, f64::NAN] {
            assert_eq!(bonus.observe(&state, entropy), state);
        }
        assert!(EntropyBonus::default().is_none() && !bonus.is_none());
    }

    #[test]
    fn an_adaptive_coefficient_rises_below_the_target_and_rests_above_it() {
        let bonus = EntropyBonus {
            coef: 0.25,
            target: Some(0.2),
            step: 0.5,
            ..EntropyBonus::default()
        };
        assert!(!bonus.is_none());
        let mut state = bonus.initial_state();
        for (entropy, coef, acting_coef) in [
            (0.1, 0.75, 0.25),
            (0.2, 0.75, 0.75),
            (0.1, 1.0, 0.75),
            (f64::NAN, 1.0, 0.75),
            (0.3, 0.5, 0.0),
            (0.3, 0.0, 0.0),
            (0.3, 0.0, 0.0),
            (0.1, 0.5, 0.0),
        ] {
            state = bonus.observe(&state, entropy);
            assert_eq!(state, EntropyBonusState { coef, acting_coef });
        }
    }

    #[test]
    fn settings_that_make_no_sense_are_refused_by_name() {
        let default = EntropyBonus::default;
        assert_eq!(default().check(), Ok(()));
        let refused = [
            (
                EntropyBonus {
                    coef: -0.1,
                    ..default()
                },
                "`bonus.coef`",
            ),
            (
                EntropyBonus {
                    coef: 2.0,
                    target: Some(0.2),
                    ..default()
                },
                "`bonus.coef`",
            ),
            (
                EntropyBonus {
                    min: 1.0,
                    ..default()
                },
                "`bonus.min`",
            ),
            (
                EntropyBonus {
                    step: f64::NAN,
                    ..default()
                },
                "`bonus.step`",
            ),
        ];
        for (bonus, name) in refused {
            let error = bonus.check().expect_err(name).to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
