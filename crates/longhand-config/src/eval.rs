//! `[eval]` and `[checkpoint]`: what is measured and what is kept while a run goes on.

use serde::{Deserialize, Serialize};

use crate::schema::{COUNT, COUNT_OR_ZERO, Key, Kind, POSITIVE, SEED, defaults_to, optional};

pub(crate) static EVAL: &[Key] = &[
    optional(
        "lengths",
        Kind::List(&COUNT),
        "`[data.train_tokens]`",
        "document lengths in tokens, each measured by itself",
    ),
    defaults_to("n_documents", COUNT, "400", "held-out documents per length"),
    defaults_to("seed", SEED, "1", "seed of the held-out documents"),
    optional(
        "every",
        COUNT,
        "before and after each stage only",
        "RL steps between two measurements",
    ),
    optional(
        "sampled_temperature",
        POSITIVE,
        "greedy only",
        "a second figure at the first length, sampled at this temperature",
    ),
    defaults_to(
        "batch",
        COUNT,
        "64",
        "documents read side by side; changes no result",
    ),
];

pub(crate) static CHECKPOINT: &[Key] = &[
    optional(
        "every",
        COUNT,
        "at the end of each stage only",
        "RL steps between two checkpoints",
    ),
    defaults_to(
        "keep_last",
        COUNT_OR_ZERO,
        "2",
        "intermediate checkpoints kept; the end of each stage is always kept",
    ),
];

/// What `[eval]` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EvalFile {
    lengths: Option<Vec<usize>>,
    n_documents: usize,
    seed: u64,
    every: Option<usize>,
    sampled_temperature: Option<f64>,
    batch: usize,
}

/// What is measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Eval {
    /// Document lengths in tokens, each measured by itself.
    pub lengths: Vec<usize>,
    /// Held-out documents per length.
    pub n_documents: usize,
    /// Seed of the held-out documents.
    pub seed: u64,
    /// RL steps between two measurements; `None` for before and after each stage only.
    pub every: Option<usize>,
    /// Temperature of a second, sampled figure at the first length, beside the greedy ones.
    pub sampled_temperature: Option<f64>,
    /// Documents read side by side.
    pub batch: usize,
}

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// RL steps between two checkpoints; `None` for the end of each stage only.
    pub every: Option<usize>,
    /// Intermediate checkpoints kept; the end of each stage is always kept.
    pub keep_last: usize,
}

impl EvalFile {
    pub(crate) fn resolve(&mut self, train_tokens: usize) {
        self.lengths.get_or_insert_with(|| vec![train_tokens]);
    }

    pub(crate) fn build(&self) -> Eval {
        Eval {
            lengths: self.lengths.clone().unwrap_or_default(),
            n_documents: self.n_documents,
            seed: self.seed,
            every: self.every,
            sampled_temperature: self.sampled_temperature,
            batch: self.batch,
        }
    }
}
