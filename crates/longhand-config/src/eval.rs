//! `[eval]`: what is measured while a run goes on.

use serde::{Deserialize, Serialize};

use crate::schema::{COUNT, Key, Kind, POSITIVE, SEED, defaults_to, optional};

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
