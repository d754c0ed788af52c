//! What a run holds in memory on the CPU engine at its largest moment.
//!
//! ```text
//! weights, gradient       4 bytes a parameter each; moments 8; a reference 4 and its packed copy
//! with adapters           their weights 4 bytes a number and once more packed, gradient and moments of them alone,
//!                         no reference: it is the policy with its adapters off
//! packed                  matrices and head in the format of products, and the embedding once more in f32
//! sampler                 the same in int8, where rollouts are sampled with rounded weights
//! activations(row)        layers * (2 hidden + q + 2 kv (twice with query norms) + heads + 2 inner) * 4
//!                         + layers * q * product;  with activation checkpointing layers * hidden * 4,
//!                         and two layers of the former; an adapter adds its rank
//! way back(row)           2 hidden + normed, inner, q + 2 kv in f32; 4 inner in the format of products
//! keys and values(token)  layers * 2 kv * 4
//! logits                  blocks of 64 MiB, once more in the format of products on the way back; when
//!                         sampling, all open sequences at once
//! ```
//!
//! Buffers of the training pass stay while rollouts are sampled, so the largest moment has both.

use crate::compute::RolloutWeights;
use crate::experiment::{Experiment, Stage};
use crate::lora::Lora;
use crate::model_shape::ModelShape;
use crate::plan::Assumed;
use crate::policy::Family;
use crate::turns::Turns;

/// Bytes at the largest moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Memory {
    /// The policy's weights.
    pub weights: f64,
    /// The adapters' weights, packed copy included; 0 without adapters.
    pub adapters: f64,
    /// The weights as products want them.
    pub packed: f64,
    /// The weights in 8 bits; 0 unless rollouts are sampled with them.
    pub sampler: f64,
    /// The gradient.
    pub gradient: f64,
    /// The optimiser's two moments.
    pub moments: f64,
    /// The frozen copy and its packed weights; 0 without one.
    pub reference: f64,
    /// What the largest micro-batch keeps for its way back, its keys and values included.
    pub activations: f64,
    /// What the way back needs beside.
    pub way_back: f64,
    /// Logits of the training pass.
    pub logits: f64,
    /// Keys and values of open sequences, and what generation and measurements need beside.
    pub generation: f64,
    /// The program, texts, and what the allocator holds back.
    pub program: f64,
}

/// Rows that generation and scoring run at once.
const ROWS_AT_ONCE: f64 = 2048.0;
/// Most bytes of logits at once in scoring and training.
const LOGIT_BYTES: f64 = (64 << 20) as f64;
/// Tokens of ended sequences whose keys are kept for others.
const SPARE_TOKENS: f64 = 16.0 * 1024.0;
/// Tokens in a page of keys: sequences part within one, and each has its own from there on.
const PAGE: f64 = 16.0;
/// The program with its tokenizer and texts.
const PROGRAM: f64 = 48e6;
/// Share that the allocator holds beside what is used.
const HELD_BACK: f64 = 0.06;

impl Memory {
    /// Everything together.
    pub fn total(&self) -> f64 {
        self.parts().iter().map(|(_, bytes)| bytes).sum()
    }

    /// Each part with its name.
    pub fn parts(&self) -> [(&'static str, f64); 12] {
        let Self {
            weights,
            adapters,
            packed,
            sampler,
            gradient,
            moments,
            reference,
            activations,
            way_back,
            logits,
            generation,
            program,
        } = *self;
        [
            ("weights", weights),
            ("adapters", adapters),
            ("packed weights", packed),
            ("weights in 8 bits", sampler),
            ("gradient", gradient),
            ("moments", moments),
            ("reference", reference),
            ("activations of the largest micro-batch", activations),
            ("way back", way_back),
            ("logits", logits),
            ("keys, values and rows of generation", generation),
            ("program and allocator", program),
        ]
    }
}

impl Experiment {
    pub(crate) fn memory(&self, model: &ModelShape, assumed: &Assumed) -> Memory {
        let product = assumed.product_bytes as f64;
        let n_parameters = model.n_parameters() as f64;
        let n_trained = self.n_trained(model);
        let packed = |bytes: f64| {
            bytes * (model.n_layers as f64 * model.layer_matrices() + model.head())
                + 4.0 * model.head()
        };
        let (n_rows, n_predicted) = self.largest_micro_batch(assumed.reply_share);
        let block = (LOGIT_BYTES / 4.0 / model.vocab_size as f64).clamp(1.0, 4096.0);
        let block = block.min(n_predicted);
        let mut memory = Memory {
            weights: 4.0 * n_parameters,
            adapters: match &self.lora {
                Some(_) => (4.0 + product) * n_trained,
                None => 0.0,
            },
            packed: packed(product),
            sampler: match self.compute.rollout_weights {
                RolloutWeights::Same => 0.0,
                RolloutWeights::Int8 => packed(1.0),
            },
            gradient: 4.0 * n_trained,
            moments: 8.0 * n_trained,
            reference: if self.has_reference_copy() {
                4.0 * n_parameters + packed(product)
            } else {
                0.0
            },
            activations: n_rows * self.kept_bytes(model, product),
            way_back: way_back(model, product, n_rows),
            logits: block * model.vocab_size as f64 * (4.0 + product) + product * model.head(),
            generation: self.generation(model, product, assumed.reply_share),
            program: 0.0,
        };
        memory.program = PROGRAM + HELD_BACK * memory.total();
        memory
    }

    /// Whether any stage keeps a frozen copy of the policy.
    pub(crate) fn has_reference_copy(&self) -> bool {
        let of_stage = |stage: &Stage| match stage {
            Stage::Rl(rl) => rl.needs_reference(),
            Stage::WarmStart(_) => false,
        };
        self.lora.is_none() && self.stages.iter().any(of_stage)
    }

    /// Rows of the largest micro-batch of any stage, and predicted tokens in it.
    fn largest_micro_batch(&self, reply_share: f64) -> (f64, f64) {
        let train = self.planned_turns(self.data.train_tokens, &self.reader.chunks, reply_share);
        let of_stage = |stage: &Stage| {
            let ((n_run, n_predicted), budget) = match stage {
                Stage::Rl(rl) => {
                    let (n_run, n_predicted) = rl.trained_rows(&train);
                    let n = rl.mini_batches as f64;
                    ((n_run / n, n_predicted / n), rl.micro_batch_tokens)
                }
                Stage::WarmStart(stage) => {
                    let largest = stage.chunk_sizes.iter().max().copied().unwrap_or(1);
                    let rows = stage.trained_rows(self, largest, reply_share);
                    (rows, stage.micro_batch_tokens)
                }
            };
            let budget = budget as f64;
            let share = (budget / n_run).min(1.0);
            (n_run.min(budget), n_predicted * share)
        };
        let larger = |a: (f64, f64), b: (f64, f64)| if a.0 < b.0 { b } else { a };
        self.stages.iter().map(of_stage).fold((0.0, 0.0), larger)
    }

    /// Bytes that one row of a training pass keeps, keys and values included.
    fn kept_bytes(&self, model: &ModelShape, product: f64) -> f64 {
        let n_layers = model.n_layers as f64;
        let hidden = 4.0 * model.hidden_size as f64;
        let ranks = self.lora.as_ref().map_or(0, Lora::ranks);
        let layer = layer_bytes(model, product) + 4.0 * ranks as f64;
        let kept = if self.compute.activation_checkpointing {
            n_layers * hidden + 2.0 * layer
        } else {
            n_layers * layer
        };
        hidden + kept + model.kv_bytes()
    }

    /// Bytes of sampling rollouts, or of measuring where that takes more.
    fn generation(&self, model: &ModelShape, product: f64, reply_share: f64) -> f64 {
        let of_reading = |turns: &Turns, n_groups: f64, group_size: f64, most_open: usize| {
            let n_open = (n_groups * group_size).min(most_open as f64);
            let n_groups_open = (n_open / group_size).ceil();
            let shared = turns.mean_shared();
            let own = turns.mean_turn() - shared + PAGE;
            let spare = (n_groups * turns.mean_turn()).min(SPARE_TOKENS);
            let n_tokens = n_groups_open * shared + n_open * own + spare;
            let n_rows = (n_groups_open * shared + n_open * own).min(ROWS_AT_ONCE);
            n_tokens * model.kv_bytes()
                + n_rows * (layer_bytes(model, product) + 8.0 * model.hidden_size as f64)
                + n_open * model.vocab_size as f64 * 4.0
        };
        let train = self.planned_turns(self.data.train_tokens, &self.reader.chunks, reply_share);
        let rollouts = self.stages.iter().map(|stage| match stage {
            Stage::WarmStart(_) => 0.0,
            Stage::Rl(rl) => of_reading(
                &train,
                rl.problems_per_step as f64,
                rl.group_size as f64,
                rl.generation_batch,
            ),
        });
        let measured = self.eval.lengths.iter().map(|length| {
            let turns = self.planned_turns(*length, &self.reader.evaluation_chunks(), reply_share);
            of_reading(&turns, self.eval.n_documents as f64, 1.0, self.eval.batch)
        });
        rollouts.chain(measured).fold(0.0, f64::max)
    }
}

/// What one row leaves behind in a layer.
fn layer_bytes(model: &ModelShape, product: f64) -> f64 {
    let raw = match model.family {
        Family::Qwen3 => model.qkv(),
        Family::Qwen2 | Family::Llama => 0.0,
    };
    let numbers = 2.0 * model.hidden_size as f64
        + model.qkv()
        + raw
        + model.n_heads as f64
        + 2.0 * model.intermediate_size as f64;
    4.0 * numbers + product * model.q()
}

/// What the way back of this many rows needs beside what was kept: one layer at a time.
fn way_back(model: &ModelShape, product: f64, n_rows: f64) -> f64 {
    let (hidden, inner) = (model.hidden_size as f64, model.intermediate_size as f64);
    let of_row = 4.0 * (3.0 * hidden + inner + model.qkv()) + product * 4.0 * inner;
    n_rows * of_row + product * 2.0 * hidden * inner
}
