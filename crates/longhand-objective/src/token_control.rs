//! What entropy control says about each token: chosen over a whole scope, applied to any part of it.
//!
//! A method that compares tokens with each other (a quantile, a covariance) first sees all tokens of
//! its [`Scope`] at once, as [`ScopeTokens`], and answers with one [`TokenControl`] per token. Each
//! micro-batch is then evaluated with its own part of that answer, so that the gradient does not
//! depend on how the scope was cut:
//!
//! ```
//! use longhand_objective::{Controls, KlCov, Objective, ScopeTokens, TokenBatch};
//!
//! let (logprobs, old_logprobs) = ([-0.1, -2.0, -0.5], [-0.3, -1.9, -0.55]);
//! let (advantages, loss_mask) = ([1.0, -1.0, 1.0], [true; 3]);
//! let controls = KlCov::circa().controls(&ScopeTokens {
//!     logprobs: &logprobs,
//!     old_logprobs: &old_logprobs,
//!     advantages: &advantages,
//!     loss_mask: &loss_mask,
//!     entropies: None,
//! });
//! let mut grad = Vec::new();
//! for part in [0..1, 1..3] {
//!     let evaluation = Objective::default().evaluate_with(
//!         &TokenBatch {
//!             lengths: &[part.len()],
//!             logprobs: &logprobs[part.clone()],
//!             old_logprobs: &old_logprobs[part.clone()],
//!             advantages: &advantages[part.clone()],
//!             loss_mask: &loss_mask[part.clone()],
//!             weights: &[1.0 / 3.0; 3][part.clone()],
//!             ref_logprobs: None,
//!             rollout_logprobs: None,
//!         },
//!         &Controls {
//!             tokens: Some(&controls[part]),
//!             entropy: None,
//!         },
//!     );
//!     grad.extend(evaluation.grad);
//! }
//! ```

use crate::batch::TokenBatch;

/// Over which tokens a quantile, a covariance or a mean is taken.
///
/// Log-probabilities and entropies that a method looks at are those of the policy as it stands, so
/// the scope also says what has to be computed before the first gradient.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
pub enum Scope {
    /// The tokens whose gradient is computed at a time, as in the papers' code. Costs nothing; the
    /// result depends on the memory at hand.
    MicroBatch,
    /// The tokens of one optimiser step. Exact under gradient accumulation; needs a scoring pass over
    /// the mini-batch before its first gradient.
    #[default]
    MiniBatch,
    /// All tokens of a rollout batch. Exact under gradient accumulation; needs a scoring pass over
    /// the batch before each of its updates.
    Batch,
}

/// All tokens of a scope, flattened; every slice has one entry per token. Entries of tokens outside
/// `loss_mask` are never read.
///
/// Tokens with an advantage of zero belong to the scope like all others: leaving them out because
/// they have no gradient of their own moves the means and shares.
#[derive(Debug, Clone, Copy)]
pub struct ScopeTokens<'a> {
    /// Under the policy as it stands; constants here.
    pub logprobs: &'a [f64],
    /// Under the policy that the ratio is anchored at.
    pub old_logprobs: &'a [f64],
    /// What each token is credited with.
    pub advantages: &'a [f64],
    /// True: this token is trained.
    pub loss_mask: &'a [bool],
    /// Of the distributions the tokens were drawn from, in nats, under the policy as it stands.
    pub entropies: Option<&'a [f64]>,
}

impl<'a> ScopeTokens<'a> {
    /// The tokens of a batch as a scope of their own.
    pub fn of(batch: &TokenBatch<'a>, entropies: Option<&'a [f64]>) -> Self {
        ScopeTokens {
            logprobs: batch.logprobs,
            old_logprobs: batch.old_logprobs,
            advantages: batch.advantages,
            loss_mask: batch.loss_mask,
            entropies,
        }
    }

    /// Indices of the trained tokens.
    ///
    /// # Panics
    /// If the slices differ in length.
    pub(crate) fn trained(&self) -> Vec<usize> {
        let n_tokens = self.loss_mask.len();
        let check = |name: &str, found: usize| {
            assert_eq!(found, n_tokens, "`{name}` must have one entry per token");
        };
        check("logprobs", self.logprobs.len());
        check("old_logprobs", self.old_logprobs.len());
        check("advantages", self.advantages.len());
        if let Some(entropies) = self.entropies {
            check("entropies", entropies.len());
        }
        (0..n_tokens).filter(|&idx| self.loss_mask[idx]).collect()
    }
}

/// What happens to the policy loss of one token. The reference penalty is not concerned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenControl {
    /// Multiplies the surrogate; 0 takes the token out of the policy loss. Denominators stay.
    pub factor: f64,
    /// `log_ratio_coef * |logprobs - old_logprobs|` is added to the surrogate.
    pub log_ratio_coef: f64,
    /// Whether PPO's clip, dual clip included, is lifted from the token.
    pub is_unclipped: bool,
}

impl TokenControl {
    /// Leaves the token as it is.
    pub const NEUTRAL: TokenControl = TokenControl {
        factor: 1.0,
        log_ratio_coef: 0.0,
        is_unclipped: false,
    };
    /// Takes the token out of the policy loss.
    pub const DROPPED: TokenControl = TokenControl {
        factor: 0.0,
        ..TokenControl::NEUTRAL
    };

    /// Both: factors multiply, penalties add up, and one of them lifts the clip.
    #[must_use]
    pub fn and(self, other: TokenControl) -> TokenControl {
        TokenControl {
            factor: self.factor * other.factor,
            log_ratio_coef: self.log_ratio_coef + other.log_ratio_coef,
            is_unclipped: self.is_unclipped || other.is_unclipped,
        }
    }

    /// Whether the method picked this token: it is weighed, dropped or penalised.
    pub fn is_selected(&self) -> bool {
        self.factor != 1.0 || self.log_ratio_coef != 0.0
    }
}

impl Default for TokenControl {
    /// [`TokenControl::NEUTRAL`].
    fn default() -> Self {
        TokenControl::NEUTRAL
    }
}

/// What is evaluated with beside the batch; by default nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Controls<'a> {
    /// One per token of the batch, in its order; `None`: all neutral.
    pub tokens: Option<&'a [TokenControl]>,
    /// The entropy bonus, where one is given.
    pub entropy: Option<EntropyTerm<'a>>,
}

/// An entropy bonus on a batch: `-coef * weight_t * entropy_t` is added to the loss of each trained
/// token, with the weights of the batch.
#[derive(Debug, Clone, Copy)]
pub struct EntropyTerm<'a> {
    /// The coefficient of this update; [`EntropyBonus`](crate::EntropyBonus) says which.
    pub coef: f64,
    /// One per token of the batch, in nats, under the policy that is being trained. Entries of
    /// untrained tokens are never read.
    pub entropies: &'a [f64],
}

#[cfg(test)]
mod tests {
    use super::TokenControl;

    #[test]
    fn two_controls_on_one_token_both_act() {
        let weighed = TokenControl {
            factor: 1.5,
            ..TokenControl::NEUTRAL
        };
        let penalised = TokenControl {
            log_ratio_coef: 0.25,
            is_unclipped: true,
            ..TokenControl::NEUTRAL
        };
        let both = TokenControl {
            factor: 1.5,
            log_ratio_coef: 0.25,
            is_unclipped: true,
        };
        assert_eq!(weighed.and(penalised), both);
        assert_eq!(penalised.and(weighed), both);
        assert_eq!(both.and(TokenControl::DROPPED).factor, 0.0);
        assert_eq!(both.and(TokenControl::NEUTRAL), both);
    }

    #[test]
    fn lifting_the_clip_alone_selects_nothing() {
        let lifted = TokenControl {
            is_unclipped: true,
            ..TokenControl::NEUTRAL
        };
        assert!(!lifted.is_selected() && !TokenControl::default().is_selected());
        assert!(TokenControl::DROPPED.is_selected());
    }
}
