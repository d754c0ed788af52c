//! Group advantages on slices.
//!
//! One file per estimator. Four kinds of input, all in `f64`:
//!
//! | kind | input | estimators |
//! |---|---|---|
//! | one reward per attempt | `[group][attempt]` | [`grpo`], [`dr_grpo`], [`memagent`], [`rloo`], [`opo`], [`reinforce_plus_plus_baseline`] |
//! | several rewards per attempt, some missing | `[group][attempt][column]` | [`Gdpo`] |
//! | one reward per turn | `[attempt][turn]` of one problem | [`turn_pool`] |
//! | one reward per token | `[sequence][token]` | [`reinforce_plus_plus`], [`gae`] |
//!
//! A group holds the attempts at one problem. The unit of the statistics is the attempt (or the
//! turn, or the token, where the method says so), never a training row: a trajectory that is later
//! unrolled into many contexts still counts once.
//!
//! Zero signal is zero. A group of one, a group of equal rewards and an empty mask give advantages
//! of exactly `0.0`, also where the mean of the rewards is not representable (three times `0.1`).
//! Rewards are expected to be finite; a NaN spreads over the pool it is compared with.
//!
//! Knows nothing of tokens' identity, tensors or models: a reward goes in, an advantage comes out.

mod outcome_estimator;

mod dr_grpo;
mod grpo;
mod memagent;
mod opo;
mod reinforce_plus_plus_baseline;
mod rloo;

mod gdpo;

mod turn_pool;

mod gae;
mod reinforce_plus_plus;
mod whiten;

mod live;

mod deviations;
mod error;
#[cfg(feature = "serde")]
mod file_form;

pub use dr_grpo::dr_grpo;
pub use error::AdvantageError;
pub use gae::gae;
pub use gdpo::{BatchStep, Condition, Gdpo, GdpoAdvantages, RewardColumn};
pub use grpo::{DEFAULT_EPS, Scale, grpo};
pub use live::is_live;
pub use memagent::memagent;
pub use opo::opo;
pub use outcome_estimator::OutcomeEstimator;
pub use reinforce_plus_plus::reinforce_plus_plus;
pub use reinforce_plus_plus_baseline::reinforce_plus_plus_baseline;
pub use rloo::rloo;
pub use turn_pool::turn_pool;
pub use whiten::{TokenAdvantages, WHITEN_EPS, whiten};
