//! Experiment files turned into validated plain values.
//!
//! 1. The TOML is parsed to a tree in which every value remembers its line and column.
//! 2. Overrides (`--set stage.0.steps=10`) replace values of the tree.
//! 3. The tree is held against a table of keys, which says what each key accepts and what it
//!    defaults to; unknown keys get a suggestion, absent ones their default.
//! 4. Serde structs that mirror the file take the complete tree.
//! 5. One function per section turns them into the values of an [`Experiment`] and refuses
//!    combinations that cannot work.
//!
//! All complaints of steps 3 and 5 are reported together, each with file, line, column, key and mend.
//! [`keys()`] lists every key for the documentation.
//!
//! Knows nothing of models, tensors or token ids; opens no file but the experiment's own.

mod chat;
mod checkpoint;
mod checks;
mod compute;
mod credit;
mod data;
mod derived;
mod differences;
mod entropy;
mod error;
mod eval;
mod experiment;
mod file;
mod json_schema;
mod keys;
mod lora;
mod model_shape;
mod node;
mod number_or_none;
mod objective;
mod optimizer;
mod overrides;
mod paper;
mod place;
mod plan;
mod plan_gpu;
mod plan_memory;
mod policy;
mod reader;
mod reward;
mod rewards;
mod rl;
mod schema;
mod shape;
mod shipped;
mod task;
mod turns;
mod warm_start;

pub use crate::chat::{ChatMode, ChatSettings};
pub use crate::checkpoint::{ACCURACY, BestIs, Checkpoint, METRIC_KEYS};
pub use crate::compute::{Compute, Engine, Instructions, Precision, RolloutWeights};
pub use crate::credit::{Credit, TamtrlCredit};
pub use crate::data::Data;
pub use crate::differences::{Difference, differences, differences_of_texts};
pub use crate::error::{ConfigError, Problems};
pub use crate::eval::Eval;
pub use crate::experiment::{Experiment, Stage};
pub use crate::file::Paper;
pub use crate::json_schema::schema;
pub use crate::keys::{KeyDoc, keys, keys_markdown};
pub use crate::lora::{LORA_TARGETS, Lora};
pub use crate::model_shape::ModelShape;
pub use crate::objective::{ObjectiveSettings, Unit};
pub use crate::optimizer::{Optimizer, Schedule};
pub use crate::place::{Place, Problem};
pub use crate::plan::{Assumed, Plan, Seconds, Speeds, StagePlan, Work};
pub use crate::plan_gpu::GpuMemory;
pub use crate::plan_memory::Memory;
pub use crate::policy::{Family, FromScratch, PolicySource, TokenizerKind, TokenizerSettings};
pub use crate::reader::ReaderSettings;
pub use crate::reward::JudgeSettings;
pub use crate::rewards::{AttemptReward, Combination, RewardsCredit, TeacherReward, Vote};
pub use crate::rl::{DynamicSampling, Overlong, Rl, Sampling};
pub use crate::shipped::{Shipped, shipped};
pub use crate::warm_start::{ExamplesPerStep, StopRule, WarmStart};
