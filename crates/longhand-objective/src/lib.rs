//! Policy-gradient losses on slices, value and gradient per token.
//!
//! ```text
//! loss = sum over trained tokens t of
//!            weight_t * (importance_t * policy_loss_t + kl_coef * kl_t)
//! ```
//!
//! Every term depends on a sampled token's log-probability alone, so its derivative with respect to
//! that log-probability has a closed form: [`Objective::evaluate`] returns the loss and `d loss / d
//! logprobs`, and a trainer backpropagates `sum(logprobs * grad)`.
//!
//! What is whose:
//! - [`PolicyLoss`]: PPO's clipped surrogate, GSPO or CISPO, one file each;
//! - [`KlPenalty`]: k1, k2 or k3 against the reference model;
//! - [`Importance`]: truncated importance sampling for a sampler that differs from the trainer;
//! - [`Aggregation`] and [`Denominators`]: the weights, computed over the whole batch *before* it is
//!   cut into micro-batches, so that micro-batches add up exactly.
//!
//! Tokens outside `loss_mask` are skipped before anything is computed: they get a gradient of
//! exactly zero whatever their numbers are, NaN included. An empty mask gives a loss of zero.
//!
//! Knows nothing of vocabularies, tensors, rewards or models: an entropy bonus, which looks at whole
//! distributions, lives with the policy.

mod objective;

mod batch;
mod policy_loss;

mod cispo;
mod gspo;
mod ppo_clip;

mod importance;
mod reference_kl;

mod aggregation;
mod metrics;

mod error;
#[cfg(feature = "serde")]
mod file_form;

pub use aggregation::{Aggregation, Denominators, token_weights, unit_weight};
pub use batch::TokenBatch;
pub use error::ObjectiveError;
pub use importance::Importance;
pub use metrics::Metrics;
pub use objective::{Evaluation, Objective};
pub use policy_loss::PolicyLoss;
pub use reference_kl::{Kl, KlPenalty};
