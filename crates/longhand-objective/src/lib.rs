//! Policy-gradient losses on slices, value and gradient per token.
//!
//! ```text
//! loss = sum over trained tokens t of
//!            weight_t * (importance_t * policy_loss_t + kl_coef * kl_t - entropy_coef * entropy_t)
//! ```
//!
//! Every term but the last depends on a sampled token's log-probability alone, so its derivative with
//! respect to that log-probability has a closed form: [`Objective::evaluate`] returns the loss and `d
//! loss / d logprobs`, and a trainer backpropagates `sum(logprobs * grad)`. With an entropy bonus,
//! `d loss / d entropy` per token comes with it, and the trainer adds `sum(entropies * entropy_grad)`.
//!
//! What is whose:
//! - [`PolicyLoss`]: PPO's clipped surrogate, GSPO or CISPO, one file each;
//! - [`KlPenalty`]: k1, k2 or k3 against the reference model;
//! - [`Importance`]: truncated importance sampling for a sampler that differs from the trainer;
//! - [`Aggregation`] and [`Denominators`]: the weights, computed over the whole batch *before* it is
//!   cut into micro-batches, so that micro-batches add up exactly.
//!
//! [`EntropyControl`] keeps entropy from collapsing: [`KlCov`] (the original and CIRCA's), [`ClipCov`],
//! [`Stare`], the 80/20 rule ([`TopEntropy`]) and the [`EntropyBonus`]. Those that compare tokens see a
//! whole [`Scope`] at once and answer with a [`TokenControl`] per token; each micro-batch is then
//! evaluated with its part of them ([`Objective::evaluate_with`]), and still adds up.
//!
//! Tokens outside `loss_mask` are skipped before anything is computed: they get a gradient of
//! exactly zero whatever their numbers are, NaN included. An empty mask gives a loss of zero.
//!
//! Knows nothing of vocabularies, tensors, rewards or models: entropies come in as numbers, and their
//! way to the logits lives with the policy.

mod objective;

mod batch;
mod policy_loss;

mod cispo;
mod gspo;
mod ppo_clip;

mod entropy_control;
mod token_control;

mod clip_cov;
mod covariance;
mod entropy_bonus;
mod kl_cov;
mod stare;
mod top_entropy;

mod importance;
mod reference_kl;

mod aggregation;
mod metrics;

mod error;
#[cfg(feature = "serde")]
mod file_form;
#[cfg(feature = "serde")]
mod token_rule_file_form;

pub use aggregation::{Aggregation, Denominators, token_weights, unit_weight};
pub use batch::TokenBatch;
pub use clip_cov::ClipCov;
pub use covariance::covariances;
pub use entropy_bonus::{EntropyBonus, EntropyBonusState};
pub use entropy_control::{ControlState, EntropyControl, TokenRule};
pub use error::ObjectiveError;
pub use importance::Importance;
pub use kl_cov::{KlCov, KlCovForm, SingleUpdate};
pub use metrics::Metrics;
pub use objective::{Evaluation, Objective};
pub use policy_loss::PolicyLoss;
pub use reference_kl::{Kl, KlPenalty};
pub use stare::{Stare, StareState, StareVariant};
pub use token_control::{Controls, EntropyTerm, Scope, ScopeTokens, TokenControl};
pub use top_entropy::TopEntropy;
