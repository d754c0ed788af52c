//! `[policy.lora]`: low-rank adapters that are trained instead of the weights (arXiv:2106.09685).
//!
//! A matrix `W` of the model becomes `W + (alpha / rank) A B` with `A` of `rank` columns and `B` of `rank`
//! rows; only `A` and `B` are trained. The reference of an objective's KL penalty is the model with its
//! adapter off, so it needs no copy. A later stage is held against the adapter that it began with, which is
//! copied; the weights below are not.
//!
//! Dropout acts in the training pass alone. Rollouts are sampled and scored without it, so with RL the
//! trained log-probabilities differ from the recorded ones by its noise already at the first update of a
//! batch: ratios then lie around 1, not at it. That is allowed, and why the default is 0.

use serde::{Deserialize, Serialize};

use crate::model_shape::ModelShape;
use crate::schema::{BELOW_ONE, COUNT, Key, Kind, POSITIVE, defaults_to, optional, required};

pub(crate) static LORA: &[Key] = &[
    required(
        "rank",
        COUNT,
        "columns of A and rows of B; more can hold more and costs more",
    ),
    optional(
        "alpha",
        POSITIVE,
        "`rank`, so that the scale is 1, as of PEFT's own defaults",
        "the product of A and B is scaled by alpha / rank",
    ),
    defaults_to(
        "dropout",
        BELOW_ONE,
        "0.0",
        "share of an adapter's inputs that the training pass leaves out; rollouts are sampled without, so \
         above 0 RL's ratios start around 1 rather than at it",
    ),
    defaults_to(
        "target_modules",
        Kind::NamesOrAll {
            names: &LORA_TARGETS,
            name: ALL_LINEAR,
        },
        "\"all-linear\"",
        "matrices of every layer that get an adapter; embedding and head never do",
    ),
];

/// The matrices of a layer that can get an adapter, in the order in which they are applied.
pub const LORA_TARGETS: [&str; 7] = [
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
];

/// Stands for all of [`LORA_TARGETS`].
const ALL_LINEAR: &str = "all-linear";

/// What `[policy.lora]` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoraFile {
    rank: usize,
    alpha: Option<f64>,
    dropout: f64,
    target_modules: TargetsFile,
}

/// A list, or the one name; the key table has checked both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum TargetsFile {
    All(String),
    Some(Vec<String>),
}

/// Low-rank adapters that are trained instead of the weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Lora {
    /// Columns of A and rows of B; at least 1.
    pub rank: usize,
    /// The product of A and B is scaled by `alpha / rank`; above 0.
    pub alpha: f64,
    /// Share of an adapter's inputs that the training pass leaves out, in `[0, 1)`.
    pub dropout: f64,
    /// Some of [`LORA_TARGETS`], in that order, none twice.
    pub target_modules: Vec<String>,
}

impl LoraFile {
    /// Writes in the values that follow from others.
    pub(crate) fn resolve(&mut self) {
        self.alpha.get_or_insert(self.rank as f64);
    }

    pub(crate) fn build(&self) -> Lora {
        let is_target = |name: &&str| match &self.target_modules {
            TargetsFile::All(_) => true,
            TargetsFile::Some(names) => names.iter().any(|found| found == name),
        };
        let targets = LORA_TARGETS.into_iter().filter(is_target);
        Lora {
            rank: self.rank,
            alpha: self.alpha.unwrap_or(self.rank as f64),
            dropout: self.dropout,
            target_modules: targets.map(str::to_string).collect(),
        }
    }
}

impl Lora {
    /// Whether the matrix of this name gets an adapter.
    pub(crate) fn has(&self, target: &str) -> bool {
        self.target_modules.iter().any(|name| name == target)
    }

    /// Adapter parameters of one layer: `rank (in + out)` for each target. They are also the multiply-adds
    /// of one token in them.
    pub(crate) fn of_layer(&self, model: &ModelShape) -> f64 {
        let widths = LORA_TARGETS
            .into_iter()
            .filter(|target| self.has(target))
            .map(|target| {
                let [input, output] = model.matrix(target);
                input + output
            });
        self.rank as f64 * widths.sum::<f64>()
    }

    /// Width of one row's `x A` of all adapters of a layer.
    pub(crate) fn ranks(&self) -> usize {
        self.rank * self.target_modules.len()
    }

    /// All adapter parameters.
    pub(crate) fn n_parameters(&self, model: &ModelShape) -> f64 {
        model.n_layers as f64 * self.of_layer(model)
    }
}
