//! STARE: the tokens that raise or lower entropy most are weighed, while entropy is below a target
//! (arXiv:2606.19236).
//!
//! ```text
//! surprisal_t = -logprobs_t, of the policy as it stands, a constant
//! of the tokens with A > 0 and of those with A < 0, k = ceil(quantile * their number) each:
//!
//! | set                      | one update moves entropy | variant that weighs it  |
//! |--------------------------|--------------------------|-------------------------|
//! | A > 0, largest surprisal | up                       | O1, C1, C2 by `amplify` |
//! | A > 0, least surprisal   | down                     | O2 by `attenuate`       |
//! | A < 0, least surprisal   | up                       | O3, C1 by `amplify`     |
//! | A < 0, largest surprisal | down                     | O4, C2 by `attenuate`   |
//!
//! L_t = weight_t * (PPO's clipped surrogate), every other weight 1; denominators do not change
//! ```
//!
//! The gate, once per rollout batch and before its first update, from the mean entropy `H` of all
//! its response tokens: the weights act while `H < target` (strictly). With a `step`, the weights
//! move too: `amplify` by `+step * sign(target - H)` within `[1, max_amplify]`, `attenuate` by
//! `-step * sign(target - H)` within `[min_attenuate, 1]`. An `H` that is not finite changes nothing.
//!
//! Assumptions: O2 and O3 are our reading (the text and the figures disagree), and so is their
//! taking the least surprisal by the same share; the authors' code has O1 and C2 alone. C3 and C4
//! are not defined anywhere we know. Equal surprisals are taken in the order of the tokens.
//!
//! Differs from the authors' code: the scope is an option, there it is the micro-batch (the paper
//! says batch); any policy loss may be weighed.

use crate::ObjectiveError;
use crate::covariance::largest;
use crate::token_control::{ScopeTokens, TokenControl};

/// Settings of STARE.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stare {
    /// Which tokens are weighed.
    pub variant: StareVariant,
    /// The share of the tokens of one sign of advantage that is weighed, rounded up: above 0, at
    /// most 1.
    pub quantile: f64,
    /// What amplified tokens are multiplied by at first: at least 1.
    pub amplify: f64,
    /// What attenuated tokens are multiplied by at first: from 0 to 1.
    pub attenuate: f64,
    /// The entropy, in nats a token, from which on nothing is weighed; `None`: always weighed.
    pub target_entropy: Option<f64>,
    /// How far the two weights move per rollout batch; 0: not at all.
    pub step: f64,
    /// The most that `amplify` moves to.
    pub max_amplify: f64,
    /// The least that `attenuate` moves to.
    pub min_attenuate: f64,
}

/// Which tokens STARE weighs; the header has the table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
pub enum StareVariant {
    /// Amplify good surprises.
    #[default]
    O1,
    /// Attenuate what is good and expected.
    O2,
    /// Amplify what is bad and expected.
    O3,
    /// Attenuate bad surprises.
    O4,
    /// O1 and O3.
    C1,
    /// O1 and O4.
    C2,
}

/// What STARE's controller remembers between rollout batches: part of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct StareState {
    /// Whether tokens are weighed.
    pub gate: bool,
    /// What amplified tokens are multiplied by.
    pub amplify: f64,
    /// What attenuated tokens are multiplied by.
    pub attenuate: f64,
}

impl Default for Stare {
    /// The authors' settings for 7B: O1, a tenth of the tokens, weights 1.1 and 0.9 (1.05 and 0.95
    /// for 14B and 32B), entropy 0.3, weights fixed. Adaptive weights move by 0.01 there.
    fn default() -> Self {
        Stare {
            variant: StareVariant::O1,
            quantile: 0.1,
            amplify: 1.1,
            attenuate: 0.9,
            target_entropy: Some(0.3),
            step: 0.0,
            max_amplify: 1.5,
            min_attenuate: 0.5,
        }
    }
}

impl StareVariant {
    /// Which of the four sets are weighed, in the order of the header's table.
    fn sets(self) -> [bool; 4] {
        match self {
            StareVariant::O1 => [true, false, false, false],
            StareVariant::O2 => [false, true, false, false],
            StareVariant::O3 => [false, false, true, false],
            StareVariant::O4 => [false, false, false, true],
            StareVariant::C1 => [true, false, true, false],
            StareVariant::C2 => [true, false, false, true],
        }
    }
}

impl Stare {
    /// Whether the settings make sense.
    ///
    /// # Errors
    /// For a share outside `(0, 1]`, an amplification below 1 or above its maximum, an attenuation
    /// above 1 or below its minimum, a negative step, and a target that is not finite.
    pub fn check(&self) -> Result<(), ObjectiveError> {
        ObjectiveError::check_fraction("quantile", self.quantile)?;
        for (option, value) in [
            ("step", self.step),
            ("min_attenuate", self.min_attenuate),
            ("target_entropy", self.target_entropy.unwrap_or_default()),
        ] {
            ObjectiveError::check_not_negative(option, value)?;
        }
        let within = |option, value: f64, least: f64, most: f64| {
            if least <= value && value <= most {
                return Ok(());
            }
            Err(ObjectiveError::Outside {
                option,
                value,
                least,
                most,
            })
        };
        within("max_amplify", self.max_amplify, 1.0, f64::INFINITY)?;
        within("amplify", self.amplify, 1.0, self.max_amplify)?;
        within("min_attenuate", self.min_attenuate, 0.0, 1.0)?;
        within("attenuate", self.attenuate, self.min_attenuate, 1.0)
    }

    /// Before the first rollout batch: tokens are weighed, with the weights of the settings.
    pub fn initial_state(&self) -> StareState {
        StareState {
            gate: true,
            amplify: self.amplify,
            attenuate: self.attenuate,
        }
    }

    /// The state for the updates of a rollout batch with this mean entropy, in nats, over all its
    /// response tokens, before the first of these updates.
    #[must_use]
    pub fn observe(&self, state: &StareState, mean_entropy: f64) -> StareState {
        let Some(target) = self.target_entropy else {
            return StareState {
                gate: true,
                ..*state
            };
        };
        if !mean_entropy.is_finite() {
            return *state;
        }
        let sign = match mean_entropy {
            entropy if entropy < target => 1.0,
            entropy if target < entropy => -1.0,
            _ => 0.0,
        };
        // Without a step the weights stay, wherever the bounds are.
        let moved = |weight: f64, by: f64, least: f64, most: f64| {
            if by == 0.0 {
                weight
            } else {
                (weight + by).clamp(least, most)
            }
        };
        let by = self.step * sign;
        StareState {
            gate: mean_entropy < target,
            amplify: moved(state.amplify, by, 1.0, self.max_amplify),
            attenuate: moved(state.attenuate, -by, self.min_attenuate, 1.0),
        }
    }

    /// What becomes of each token of a scope.
    ///
    /// # Panics
    /// If the slices differ in length.
    pub fn controls(&self, tokens: &ScopeTokens, state: &StareState) -> Vec<TokenControl> {
        let trained = tokens.trained();
        let mut controls = vec![TokenControl::NEUTRAL; tokens.loss_mask.len()];
        if !state.gate {
            return controls;
        }
        let of_sign = |sign: f64| -> Vec<usize> {
            let is_of_sign = |idx: &usize| 0.0 < sign * tokens.advantages[*idx];
            trained.iter().copied().filter(is_of_sign).collect()
        };
        let surprisal = |idx: usize| -tokens.logprobs[idx];
        let expectedness = |idx: usize| tokens.logprobs[idx];
        let largest_surprisal = |sign| {
            let candidates = of_sign(sign);
            let n_weighed = rounded_up_share(candidates.len(), self.quantile);
            largest(candidates, n_weighed, surprisal)
        };
        let least_surprisal = |sign| {
            let candidates = of_sign(sign);
            let n_weighed = rounded_up_share(candidates.len(), self.quantile);
            largest(candidates, n_weighed, expectedness)
        };
        let [good_surprising, good_expected, bad_expected, bad_surprising] = self.variant.sets();
        let mut weigh = |is_weighed: bool, weighed: &dyn Fn() -> Vec<usize>, factor: f64| {
            for idx in is_weighed.then(weighed).unwrap_or_default() {
                controls[idx].factor = factor;
            }
        };
        weigh(good_surprising, &|| largest_surprisal(1.0), state.amplify);
        weigh(good_expected, &|| least_surprisal(1.0), state.attenuate);
        weigh(bad_expected, &|| least_surprisal(-1.0), state.amplify);
        weigh(bad_surprising, &|| largest_surprisal(-1.0), state.attenuate);
        controls
    }
}

/// `min(n, max(1, floor(n * share + 0.999999)))`, the authors' form of rounding up; 0 of none.
fn rounded_up_share(n_tokens: usize, share: f64) -> usize {
    ((n_tokens as f64 * share + 0.999_999) as usize)
        .max(1)
        .min(n_tokens)
}

#[cfg(test)]
mod tests {
    use super::{Stare, StareState, StareVariant, rounded_up_share};
    use crate::token_control::ScopeTokens;

    const LOGPROBS: [f64; 6] = [-0.1, -2.0, -0.5, -3.0, -0.05, -1.0];
    const ADVANTAGES: [f64; 6] = [1.0, 1.0, 1.0, -1.0, -1.0, -1.0];

    #[track_caller]
    fn check(variant: StareVariant, gate: bool, expected: [f64; 6]) {
        let stare = Stare {
            variant,
            quantile: 0.34,
            ..Stare::default()
        };
        let state = StareState {
            gate,
            ..stare.initial_state()
        };
        let tokens = ScopeTokens {
            logprobs: &LOGPROBS,
            old_logprobs: &[f64::NAN; 6],
            advantages: &ADVANTAGES,
            loss_mask: &[true; 6],
            entropies: None,
        };
        let controls = stare.controls(&tokens, &state);
        let found: Vec<f64> = controls.iter().map(|control| control.factor).collect();
        assert_eq!(found, expected, "{variant:?}");
    }

    #[test]
    fn every_variant_weighs_its_own_tokens() {
        // Two of three a side: the most surprising are 1, 2 and 3, 5, the least 0, 2 and 4, 5.
        check(StareVariant::O1, true, [1.0, 1.1, 1.1, 1.0, 1.0, 1.0]);
        check(StareVariant::O2, true, [0.9, 1.0, 0.9, 1.0, 1.0, 1.0]);
        check(StareVariant::O3, true, [1.0, 1.0, 1.0, 1.0, 1.1, 1.1]);
        check(StareVariant::O4, true, [1.0, 1.0, 1.0, 0.9, 1.0, 0.9]);
        check(StareVariant::C1, true, [1.0, 1.1, 1.1, 1.0, 1.1, 1.1]);
        check(StareVariant::C2, true, [1.0, 1.1, 1.1, 0.9, 1.0, 0.9]);
    }

    #[test]
    fn a_closed_gate_weighs_nothing() {
        check(StareVariant::C2, false, [1.0; 6]);
    }

    #[test]
    fn advantages_of_zero_and_untrained_tokens_are_in_no_set() {
        let tokens = ScopeTokens {
            logprobs: &[-9.0, f64::NAN, -1.0, -2.0],
            old_logprobs: &[0.0; 4],
            advantages: &[0.0, f64::NAN, 1.0, 1.0],
            loss_mask: &[true, false, true, true],
            entropies: None,
        };
        for variant in [StareVariant::O1, StareVariant::C2] {
            let stare = Stare {
                variant,
                ..Stare::default()
            };
            let controls = stare.controls(&tokens, &stare.initial_state());
            let found: Vec<f64> = controls.iter().map(|control| control.factor).collect();
            assert_eq!(found, [1.0, 1.0, 1.0, 1.1]);
        }
    }

    #[test]
    fn shares_are_rounded_up_and_never_nothing_of_something() {
        let found = [
            (0, 0.5),
            (1, 0.1),
            (3, 0.34),
            (10, 0.1),
            (11, 0.1),
            (4, 1.0),
        ]
        .map(|(n, share)| rounded_up_share(n, share));
        assert_eq!(found, [0, 1, 2, 1, 2, 4]);
    }

    #[test]
    fn the_gate_closes_at_the_target_and_stays_where_it_is_without_a_number() {
        let stare = Stare::default();
        let open = stare.initial_state();
        assert_eq!(stare.observe(&open, 0.29), open);
        let closed = StareState {
            gate: false,
            ..open
        };
        assert_eq!(stare.observe(&open, 0.3), closed);
        assert_eq!(stare.observe(&closed, f64::NAN), closed);
        assert_eq!(stare.observe(&closed, 0.1), open);
        let ungated = Stare {
            target_entropy: None,
            ..stare
        };
        assert_eq!(ungated.observe(&closed, 7.0), open);
    }

    #[test]
    fn adaptive_weights_follow_the_entropy_and_stop_at_their_bounds() {
        let stare = Stare {
            step: 0.25,
            ..Stare::default()
        };
        let state = |gate, amplify, attenuate| StareState {
            gate,
            amplify,
            attenuate,
        };
        let mut found = stare.initial_state();
        // Low entropy: 1.1 -> 1.35 -> 1.5, .9 -> .65 -> .5; at the target nothing moves; high: back.
        for (entropy, expected) in [
            (0.1, state(true, 1.35, 0.65)),
            (0.1, state(true, 1.5, 0.5)),
            (0.3, state(false, 1.5, 0.5)),
            (f64::INFINITY, state(false, 1.5, 0.5)),
            (0.9, state(false, 1.25, 0.75)),
            (0.9, state(false, 1.0, 1.0)),
            (0.9, state(false, 1.0, 1.0)),
        ] {
            found = stare.observe(&found, entropy);
            assert!(
                (found.amplify - expected.amplify).abs() < 1e-12,
                "{found:?}"
            );
            assert!(
                (found.attenuate - expected.attenuate).abs() < 1e-12,
                "{found:?}"
            );
            assert_eq!(found.gate, expected.gate);
        }
    }

    #[test]
    fn settings_that_make_no_sense_are_refused_by_name() {
        let default = Stare::default;
        assert_eq!(default().check(), Ok(()));
        let refused = [
            (
                Stare {
                    quantile: 10.0,
                    ..default()
                },
                "`quantile`",
            ),
            (
                Stare {
                    amplify: 0.9,
                    ..default()
                },
                "`amplify`",
            ),
            (
                Stare {
                    amplify: 4.0,
                    ..default()
                },
                "`amplify`",
            ),
            (
                Stare {
                    attenuate: 1.1,
                    ..default()
                },
                "`attenuate`",
            ),
            (
                Stare {
                    attenuate: 0.4,
                    ..default()
                },
                "`attenuate`",
            ),
            (
                Stare {
                    step: -0.01,
                    ..default()
                },
                "`step`",
            ),
            (
                Stare {
                    max_amplify: f64::NAN,
                    ..default()
                },
                "`max_amplify`",
            ),
            (
                Stare {
                    target_entropy: Some(f64::NAN),
                    ..default()
                },
                "`target_entropy`",
            ),
        ];
        for (stare, name) in refused {
            let error = stare.check().expect_err(name).to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
