//! One RL or supervised step, and the loop around it.
//!
//! Reading order: [`train`] runs an experiment's stages; [`rl`] holds the step that the whole
//! workspace is about; [`Workbench`] is what every step needs besides the policy.
//!
//! Knows nothing of command lines or terminals beyond a progress bar, and of formulas only where
//! to find them: rewards, advantages and objectives live in crates of their own.

mod attempt_rewards;
mod batch;
mod compute;
mod credit;
mod entropy_control;
mod error;
mod evaluate;
mod experiment;
mod failure;
mod from_scratch;
mod log;
mod memory_use;
mod not_finite;
mod optimizer;
mod policy_view;
mod position;
mod progress;
mod replay;
mod report;
pub mod rl;
mod scoring;
#[cfg(test)]
mod scripted;
mod session;
mod several_rewards;
mod timing;
mod transcripts;
mod warm_start;
mod workbench;

pub use compute::compute;
pub use credit::{Credited, FailedAttempt, ScoredGroup, TurnCredit};
pub use error::TrainError;
pub use evaluate::{EvalOptions, EvalReport, LengthScore, evaluate};
pub use experiment::{Ended, Outcome, TrainOptions, open_policy, resume, train};
pub use from_scratch::{from_scratch, task_tokenizer};
pub use memory_use::{peak_resident_bytes, resident_bytes};
pub use not_finite::{NotFinite, TokenPlace};
pub use optimizer::{Update, Updater};
pub use policy_view::PolicyView;
pub use position::{Best, Position, Stop};
pub use replay::{Replayed, ReplayedFailure, replay_failure, replay_rollout};
pub use report::StepReport;
pub use timing::{Phases, Timing};
pub use warm_start::{WarmStartReport, WarmStarter};
pub use workbench::{
    RewardFailure, Verdict, Workbench, chat_options, policy_encode, policy_encode_plain,
};
