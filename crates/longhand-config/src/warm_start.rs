//! `[[stage]]` of kind warm-start: supervised imitation of a scripted expert's notes.

use serde::{Deserialize, Serialize};

use crate::checks::Checks;
use crate::data::Data;
use crate::optimizer::{OPTIMIZER, Optimizer};
use crate::reader::ReaderSettings;
use crate::schema::{
    BELOW_ONE, COUNT, COUNT_OR_ZERO, Key, Kind, NOT_NEGATIVE, POSITIVE_SHARE, defaults_to,
    optional, required, section,
};
use crate::shape::join;

pub(crate) static WARM_START: &[Key] = &[
    required("steps", COUNT, "updates of this stage, at most"),
    section("examples_per_step", EXAMPLES, "expert turns per update"),
    defaults_to(
        "answer_weight",
        NOT_NEGATIVE,
        "0.5",
        "weight of the answers' cross-entropy beside the notes'",
    ),
    defaults_to(
        "forget",
        BELOW_ONE,
        "0.0",
        "chance that the expert forgets each note it carries, at every turn",
    ),
    defaults_to(
        "slips",
        BELOW_ONE,
        "0.0",
        "chance that the expert writes another token of its solution in the place of each; only for tasks \
         without documents",
    ),
    optional(
        "tokens",
        Kind::List(&COUNT),
        "`[data.train_tokens]`",
        "document lengths, one drawn per update; with as many `chunk_sizes`, pairs are drawn",
    ),
    optional(
        "chunk_sizes",
        Kind::List(&COUNT),
        "`[reader.chunk_size]`",
        "chunk sizes, one drawn per update",
    ),
    defaults_to(
        "micro_batch_tokens",
        COUNT,
        "16384",
        "most tokens in one forward and backward pass",
    ),
    optional(
        "stop_at",
        POSITIVE_SHARE,
        "all steps are taken",
        "held-out sampled exact match at which the stage stops early",
    ),
    optional(
        "check_every",
        COUNT,
        "no checks",
        "updates between two such measurements; needs `stop_at`",
    ),
    section("optimizer", OPTIMIZER, "AdamW and its learning rate"),
];

static EXAMPLES: &[Key] = &[
    required(
        "read",
        COUNT_OR_ZERO,
        "turns that read a chunk; 0 where nothing is read, else at least 1",
    ),
    required("answer", COUNT_OR_ZERO, "turns that give the answer"),
];

/// What a warm-start stage says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WarmStartFile {
    steps: usize,
    answer_weight: f64,
    forget: f64,
    slips: f64,
    tokens: Option<Vec<usize>>,
    chunk_sizes: Option<Vec<usize>>,
    micro_batch_tokens: usize,
    stop_at: Option<f64>,
    check_every: Option<usize>,
    examples_per_step: ExamplesPerStep,
    optimizer: Optimizer,
}

/// Supervised imitation of a scripted expert's notes.
#[derive(Clone, Debug, PartialEq)]
pub struct WarmStart {
    /// Updates, at most.
    pub steps: usize,
    /// Expert turns per update.
    pub examples_per_step: ExamplesPerStep,
    /// Weight of the answers' cross-entropy beside the notes'.
    pub answer_weight: f64,
    /// Chance that the expert forgets each note it carries, at every turn.
    pub forget: f64,
    /// Chance that the expert writes another token of its solution in the place of each.
    pub slips: f64,
    /// Document lengths in tokens, one drawn per update.
    pub tokens: Vec<usize>,
    /// Chunk sizes, one drawn per update; lists of equal length are drawn from as pairs.
    pub chunk_sizes: Vec<usize>,
    /// Most tokens in one forward and backward pass.
    pub micro_batch_tokens: usize,
    /// When to stop before all steps are taken.
    pub stop: Option<StopRule>,
    /// AdamW and its learning rate.
    pub optimizer: Optimizer,
}

/// Expert turns per update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExamplesPerStep {
    /// Turns that read a chunk.
    pub read: usize,
    /// Turns that give the answer.
    pub answer: usize,
}

/// Stop once held-out sampled exact match is reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StopRule {
    /// The exact match to reach.
    pub at: f64,
    /// Updates between two measurements.
    pub check_every: usize,
}

impl WarmStartFile {
    pub(crate) fn resolve(&mut self, train_tokens: usize, chunk_size: usize) {
        self.tokens.get_or_insert_with(|| vec![train_tokens]);
        self.chunk_sizes.get_or_insert_with(|| vec![chunk_size]);
    }

    pub(crate) fn build(
        &self,
        path: &str,
        data: Option<&Data>,
        reader: Option<&ReaderSettings>,
        checks: &mut Checks<'_>,
    ) -> Option<WarmStart> {
        let stop = match (self.stop_at, self.check_every) {
            (Some(at), Some(check_every)) => {
                checks.require(
                    check_every <= self.steps,
                    &join(path, "check_every"),
                    || {
                        format!(
                            "{check_every} is beyond the {} steps, so nothing would be checked",
                            self.steps
                        )
                    },
                );
                Some(StopRule { at, check_every })
            }
            (None, None) => None,
            (Some(_), None) => {
                checks.fail(
                    &join(path, "stop_at"),
                    "needs `check_every`, the updates between two checks",
                );
                None
            }
            (None, Some(_)) => {
                checks.fail(
                    &join(path, "check_every"),
                    "needs `stop_at`, the exact match to stop at",
                );
                None
            }
        };
        self.optimizer.check(self.steps, path, checks);
        let (data, reader) = (data?, reader?);
        let ExamplesPerStep { read, answer } = self.examples_per_step;
        let examples = join(path, "examples_per_step");
        if reader.templates.is_direct() {
            checks.require(read == 0, &join(&examples, "read"), || {
                format!("{read} turns that read, but the template reads nothing; use 0")
            });
            checks.require(0 < answer, &join(&examples, "answer"), || {
                "0 turns, but the answer is the only one; use at least 1".into()
            });
        } else {
            checks.require(self.slips == 0.0, &join(path, "slips"), || {
                format!(
                    "{} is for tasks without documents, whose expert writes a solution; use `forget` here",
                    self.slips
                )
            });
            checks.require(0 < read, &join(&examples, "read"), || {
                "0 turns, but notes are learnt from turns that read; use at least 1".into()
            });
        }
        let chunk_sizes = self
            .chunk_sizes
            .clone()
            .unwrap_or_else(|| vec![reader.chunks.chunk_size]);
        for (idx, chunk_size) in chunk_sizes.iter().enumerate() {
            let key = join(path, &format!("chunk_sizes.{idx}"));
            let (overlap, largest) = (reader.chunks.overlap, reader.chunks.chunk_size);
            // An overlap that no chunk size allows is the reader's complaint.
            checks.require(overlap < *chunk_size || largest <= overlap, &key, || {
                format!("{chunk_size} is not above reader.overlap = {overlap}")
            });
            checks.require(*chunk_size <= largest, &key, || {
                format!("{chunk_size} is above reader.chunk_size = {largest}, the longest chunk prompts have room for")
            });
        }
        Some(WarmStart {
            steps: self.steps,
            examples_per_step: self.examples_per_step,
            answer_weight: self.answer_weight,
            forget: self.forget,
            slips: self.slips,
            tokens: self
                .tokens
                .clone()
                .unwrap_or_else(|| vec![data.train_tokens]),
            chunk_sizes,
            micro_batch_tokens: self.micro_batch_tokens,
            stop,
            optimizer: self.optimizer,
        })
    }
}
