//! Drives agents with any generator and records trajectories token by token.
//!
//! 1. [`EncodedProblem`] is a task's problem as token ids, with exact relevant spans.
//! 2. [`collect`] lets many readers read side by side with one [`Generate`], which serves their
//!    requests while others join, and returns a [`Group`] of trajectories for each problem.
//! 3. [`StreamKey`] names the random stream of one turn, so that a rollout depends neither on the
//!    batch it was sampled in nor on its place there, and can be replayed alone.
//! 4. [`micro_batches`] cuts contexts to a token budget, and [`PrefixTree`] joins those of one
//!    micro-batch along their common beginnings. [`prefix_groups`] joins them in two levels only,
//!    for passes that pad.
//! 5. [`expert_walk`] plays a scripted reader, whose turns a warm start learns from.
//!
//! Knows nothing of models, tensors, tokenizers, rewards or losses: tokens come in, tokens and
//! their recorded log-probabilities go out.

mod attempt;
mod collect;
mod encode;
mod error;
mod expert;
mod generate;
mod micro_batch;
mod prefix_group;
mod setup;
mod stream;
mod trajectory;
mod tree;

pub use longhand_memory::{StopReason, TeacherScope, TurnKind};

pub use crate::collect::{CollectOptions, collect, collect_attempt};
pub use crate::encode::{DocumentFormat, EncodedProblem, ExpertNote};
pub use crate::error::RolloutError;
pub use crate::expert::{Example, expert_walk, slip};
pub use crate::generate::{Completion, Generate, Request, Sampling, ServeError, WeightsId};
pub use crate::micro_batch::micro_batches;
pub use crate::prefix_group::{PrefixGroup, PrefixGroups, Suffix, prefix_groups};
pub use crate::setup::ReaderSetup;
pub use crate::stream::{Purpose, StreamBase, StreamKey};
pub use crate::trajectory::{Group, Prompts, Trajectory, Turn, TurnIdx, contexts};
pub use crate::tree::{Context, PrefixTree, Segment, Target};
