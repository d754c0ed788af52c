//! Generated long-context tasks with ground truth, and readers for real data sets.
//!
//! A [`TaskSpec`] says which task; [`TaskSpec::open`] turns it into a [`Source`], which gives the
//! same [`Problem`] for the same (split, seed, index, target length), whatever was asked before.
//!
//! Knows nothing of tokens but a counting function, and nothing of models, prompts or rewards.

mod error;
mod problem;
mod source;
mod spec;

pub use error::TaskError;
pub use problem::{Paragraph, Problem, Split};
pub use source::Source;
pub use spec::TaskSpec;
