//! All of entropy control in one: a rule per token, the 80/20 rule, an entropy bonus, and what their
//! controllers remember.
//!
//! ```text
//! once per rollout batch        mean entropy of its response tokens -> observe -> ControlState
//! once per scope                all its tokens -> token_controls
//! once per micro-batch          its part of them, and bonus_coef -> Objective::evaluate_with
//! ```
//!
//! "Clip-higher" is not here: it is PPO's upper bound, `clip_high`, of
//! [`PolicyLoss::PpoClip`](crate::PolicyLoss::PpoClip) (DAPO: 0.28).

use crate::entropy_bonus::EntropyBonusState;
use crate::stare::StareState;
use crate::token_control::{Scope, ScopeTokens, TokenControl};
use crate::{
    ClipCov, EntropyBonus, KlCov, KlCovForm, ObjectiveError, PolicyLoss, Stare, TopEntropy,
};

/// How entropy is kept from collapsing.
///
/// With the `serde` feature it reads from a table in which every key has a default (those of
/// [`EntropyControl::default`], which is no control) and unknown keys are errors.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct EntropyControl {
    /// Over which tokens the rule's covariances and quantiles, and the 80/20 rule's, are taken.
    pub scope: Scope,
    /// Which tokens are treated in their own way.
    pub rule: TokenRule,
    /// Which part of the tokens, by entropy, keeps its policy loss; 1: all.
    pub top_entropy_fraction: f64,
    /// The entropy bonus.
    pub bonus: EntropyBonus,
}

/// Which tokens are treated in their own way.
///
/// With the `serde` feature it reads from a flat table whose `kind` is `none`, `kl-cov`, `circa`,
/// `clip-cov` or `stare`; the other keys are those of the method's settings and have its authors'
/// defaults. `single_update` is a key of `kl-cov` and `circa`; STARE's `target_entropy` is a number
/// or `"none"`. Unknown keys are errors.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(
        try_from = "crate::token_rule_file_form::TokenRuleTable",
        into = "crate::token_rule_file_form::TokenRuleTable"
    )
)]
pub enum TokenRule {
    /// None are.
    #[default]
    None,
    /// Those of highest covariance are kept near the old policy; `kl-cov` without a clip, `circa`
    /// inside PPO's.
    KlCov(KlCov),
    /// Some of high covariance are dropped.
    ClipCov(ClipCov),
    /// Surprising (or expected) ones are weighed while entropy is low.
    Stare(Stare),
}

/// What controllers remember between rollout batches: part of a checkpoint, plain values.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct ControlState {
    /// STARE's, where it is the rule.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub stare: Option<StareState>,
    /// The entropy bonus's, where there is one.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub bonus: Option<EntropyBonusState>,
}

impl TokenRule {
    /// The rule's name in files and on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            TokenRule::None => "none",
            TokenRule::KlCov(kl_cov) => match kl_cov.form {
                KlCovForm::WithoutClip => "kl-cov",
                KlCovForm::InsideClip => "circa",
            },
            TokenRule::ClipCov(_) => "clip-cov",
            TokenRule::Stare(_) => "stare",
        }
    }

    /// Whether the settings make sense by themselves.
    ///
    /// # Errors
    /// For the first setting that does not.
    pub fn check(&self) -> Result<(), ObjectiveError> {
        match self {
            TokenRule::None => Ok(()),
            TokenRule::KlCov(kl_cov) => kl_cov.check(),
            TokenRule::ClipCov(clip_cov) => clip_cov.check(),
            TokenRule::Stare(stare) => stare.check(),
        }
    }
}

impl Default for EntropyControl {
    /// No control; the scope, a mini-batch, waits for one.
    fn default() -> Self {
        EntropyControl {
            scope: Scope::default(),
            rule: TokenRule::None,
            top_entropy_fraction: 1.0,
            bonus: EntropyBonus::default(),
        }
    }
}

impl EntropyControl {
    /// Whether the settings make sense, and go with the policy loss.
    ///
    /// # Errors
    /// For the first setting that does not, and for KL-Cov or Clip-Cov with another policy loss than
    /// PPO's clip.
    pub fn check(&self, policy_loss: &PolicyLoss) -> Result<(), ObjectiveError> {
        self.rule.check()?;
        let needs_ppo_clip = matches!(self.rule, TokenRule::KlCov(_) | TokenRule::ClipCov(_));
        if needs_ppo_clip && !matches!(policy_loss, PolicyLoss::PpoClip { .. }) {
            return Err(ObjectiveError::NeedsPpoClip {
                rule: self.rule.name(),
                policy_loss: policy_loss.name(),
            });
        }
        self.top_entropy().check()?;
        self.bonus.check()
    }

    /// Whether the rule can act with so many updates per rollout batch.
    ///
    /// # Errors
    /// See [`KlCov::check_updates`].
    pub fn check_updates(&self, updates_per_batch: usize) -> Result<(), ObjectiveError> {
        match &self.rule {
            TokenRule::KlCov(kl_cov) => kl_cov.check_updates(updates_per_batch),
            _ => Ok(()),
        }
    }

    /// Whether nothing is controlled.
    pub fn is_none(&self) -> bool {
        self.rule == TokenRule::None && self.top_entropy_fraction == 1.0 && self.bonus.is_none()
    }

    /// Whether [`token_controls`](Self::token_controls) does something, and so a scope is needed.
    pub fn needs_scope(&self) -> bool {
        self.rule != TokenRule::None || self.needs_scope_entropies()
    }

    /// Whether [`token_controls`](Self::token_controls) needs `entropies`.
    pub fn needs_scope_entropies(&self) -> bool {
        self.top_entropy_fraction != 1.0
    }

    /// Whether [`observe`](Self::observe) does something, and so a batch's mean entropy is needed
    /// before its first update.
    pub fn needs_mean_entropy(&self) -> bool {
        let is_gated = |stare: &Stare| stare.target_entropy.is_some();
        let has_gate = matches!(&self.rule, TokenRule::Stare(stare) if is_gated(stare));
        has_gate || self.bonus.target.is_some()
    }

    /// Whether tokens with an advantage of zero matter, to themselves or to others, so that they must
    /// not be left out of scopes and passes.
    pub fn needs_zero_advantages(&self) -> bool {
        let counts_all = matches!(self.rule, TokenRule::KlCov(_) | TokenRule::ClipCov(_));
        counts_all || self.needs_scope_entropies() || !self.bonus.is_none()
    }

    /// Before the first rollout batch.
    pub fn initial_state(&self) -> ControlState {
        ControlState {
            stare: match &self.rule {
                TokenRule::Stare(stare) => Some(stare.initial_state()),
                _ => None,
            },
            bonus: (!self.bonus.is_none()).then(|| self.bonus.initial_state()),
        }
    }

    /// The state for the updates of a rollout batch with this mean entropy, in nats, over all its
    /// response tokens, before the first of these updates. What `state` lacks starts anew.
    #[must_use]
    pub fn observe(&self, state: &ControlState, mean_entropy: f64) -> ControlState {
        let initial = self.initial_state();
        let stare = match &self.rule {
            TokenRule::Stare(stare) => state
                .stare
                .or(initial.stare)
                .map(|state| stare.observe(&state, mean_entropy)),
            _ => None,
        };
        let bonus = initial.bonus.map(|initial| {
            let state = state.bonus.unwrap_or(initial);
            self.bonus.observe(&state, mean_entropy)
        });
        ControlState { stare, bonus }
    }

    /// What becomes of each token of a scope; `None`: nothing. `seed` says what Clip-Cov draws; give
    /// each scope its own.
    ///
    /// # Panics
    /// If the slices differ in length, entropies are needed and missing, or the rule does not go with
    /// the policy loss.
    pub fn token_controls(
        &self,
        policy_loss: &PolicyLoss,
        tokens: &ScopeTokens,
        state: &ControlState,
        seed: u64,
    ) -> Option<Vec<TokenControl>> {
        let by_rule = match &self.rule {
            TokenRule::None => None,
            TokenRule::KlCov(kl_cov) => Some(kl_cov.controls(tokens)),
            TokenRule::ClipCov(clip_cov) => Some(clip_cov.controls(tokens, policy_loss, seed)),
            TokenRule::Stare(stare) => {
                let state = state.stare.unwrap_or(stare.initial_state());
                Some(stare.controls(tokens, &state))
            }
        };
        let is_top_only = self.needs_scope_entropies();
        let by_entropy = is_top_only.then(|| self.top_entropy().controls(tokens));
        match (by_rule, by_entropy) {
            (Some(by_rule), Some(by_entropy)) => {
                let pairs = by_rule.into_iter().zip(by_entropy);
                Some(pairs.map(|(left, right)| left.and(right)).collect())
            }
            (by_rule, by_entropy) => by_rule.or(by_entropy),
        }
    }

    /// The coefficient of the entropy bonus in the updates that `state` is for; `None`: no bonus acts,
    /// and no entropy is needed.
    pub fn bonus_coef(&self, state: &ControlState) -> Option<f64> {
        let state = state.bonus.unwrap_or(self.bonus.initial_state());
        (!self.bonus.is_none() && state.acting_coef != 0.0).then_some(state.acting_coef)
    }

    fn top_entropy(&self) -> TopEntropy {
        TopEntropy {
            fraction: self.top_entropy_fraction,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ControlState, EntropyControl, TokenRule};
    use crate::token_control::{ScopeTokens, TokenControl};
    use crate::{ClipCov, EntropyBonus, KlCov, ObjectiveError, PolicyLoss, Stare};

    fn of(rule: TokenRule) -> EntropyControl {
        EntropyControl {
            rule,
            ..EntropyControl::default()
        }
    }

    const TOKENS: ScopeTokens = ScopeTokens {
        logprobs: &[-1.0, -2.0],
        old_logprobs: &[-1.0, -2.0],
        advantages: &[1.0, 1.0],
        loss_mask: &[true, true],
        entropies: Some(&[0.1, 0.9]),
    };

    #[test]
    fn no_control_says_nothing_and_needs_nothing() {
        let none = EntropyControl::default();
        let state = none.initial_state();
        assert_eq!(state, ControlState::default());
        assert_eq!(none.observe(&state, 0.1), state);
        let controls = none.token_controls(&PolicyLoss::default(), &TOKENS, &state, 0);
        assert_eq!((controls, none.bonus_coef(&state)), (None, None));
        assert!(none.is_none() && !none.needs_mean_entropy());
        assert!(!none.needs_scope_entropies() && !none.needs_zero_advantages());
    }

    #[test]
    fn the_rule_and_the_entropy_both_act_on_a_token() {
        let control = EntropyControl {
            top_entropy_fraction: 0.5,
            ..of(TokenRule::Stare(Stare {
                quantile: 1.0,
                ..Stare::default()
            }))
        };
        let state = control.initial_state();
        let found = control.token_controls(&PolicyLoss::default(), &TOKENS, &state, 0);
        let factors: Vec<f64> = found
            .expect("two controls")
            .iter()
            .map(|control| control.factor)
            .collect();
        assert_eq!(factors, [0.0, 1.1]);
        // The gate closes; the 80/20 rule goes on.
        let closed = control.observe(&state, 1.0);
        let found = control.token_controls(&PolicyLoss::default(), &TOKENS, &closed, 0);
        assert_eq!(
            found,
            Some(vec![TokenControl::DROPPED, TokenControl::NEUTRAL])
        );
        assert!(control.needs_scope_entropies() && control.needs_mean_entropy());
    }

    #[test]
    fn an_adaptive_bonus_acts_when_its_state_says_so() {
        let adaptive = EntropyControl {
            bonus: EntropyBonus {
                coef: 0.1,
                target: Some(0.2),
                ..EntropyBonus::default()
            },
            ..EntropyControl::default()
        };
        let state = adaptive.initial_state();
        assert_eq!(adaptive.bonus_coef(&state), Some(0.1));
        let resting = adaptive.observe(&state, 0.5);
        assert_eq!(adaptive.bonus_coef(&resting), None);
        assert_eq!(
            adaptive.bonus_coef(&adaptive.observe(&resting, 0.1)),
            Some(0.095)
        );
        assert!(adaptive.needs_zero_advantages() && adaptive.needs_mean_entropy());
    }

    #[test]
    fn rules_that_lift_or_read_the_clip_go_with_ppo_s_alone() {
        let gspo = PolicyLoss::Gspo {
            clip_low: 3e-4,
            clip_high: 4e-4,
        };
        for rule in [
            TokenRule::KlCov(KlCov::circa()),
            TokenRule::KlCov(KlCov::original()),
            TokenRule::ClipCov(ClipCov::default()),
        ] {
            let control = of(rule);
            assert_eq!(control.check(&PolicyLoss::default()), Ok(()));
            let refused = ObjectiveError::NeedsPpoClip {
                rule: rule.name(),
                policy_loss: "gspo",
            };
            assert_eq!(control.check(&gspo), Err(refused));
            assert!(control.needs_zero_advantages() && !control.is_none());
        }
        let stare = of(TokenRule::Stare(Stare::default()));
        assert_eq!(stare.check(&gspo), Ok(()));
        assert!(!stare.needs_zero_advantages());
        assert_eq!(stare.check_updates(1), Ok(()));
        let circa = of(TokenRule::KlCov(KlCov::circa()));
        assert_eq!(circa.check_updates(1), Err(ObjectiveError::SingleUpdate));
        let percent = EntropyControl {
            top_entropy_fraction: 20.0,
            ..EntropyControl::default()
        };
        assert!(percent.check(&gspo).is_err());
    }
}
