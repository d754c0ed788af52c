//! `[compute]`: which machinery does the arithmetic, with which numbers, on how many threads.

use std::num::NonZero;

use longhand_objective::Importance;
use serde::{Deserialize, Serialize};

use crate::checks::Checks;
use crate::objective::ObjectiveSettings;
use crate::schema::{Key, Kind, defaults_to};
use crate::shape::join;

pub(crate) static COMPUTE: &[Key] = &[
    defaults_to(
        "threads",
        // Far above any machine; a slip of the keyboard should not start a million threads.
        Kind::IntegerOrName {
            low: 1,
            high: 4096,
            name: "all",
        },
        "\"all\"",
        "threads that CPU kernels share, or all that the machine runs at once",
    ),
    defaults_to(
        "instructions",
        Kind::Choice(&["auto", "portable", "avx2", "avx512", "avx512-bf16", "amx"]),
        "\"auto\"",
        "the most that CPU kernels may use; auto takes the best that the machine has",
    ),
    defaults_to(
        "precision",
        Kind::Choice(&["auto", "f32", "bf16"]),
        "\"auto\"",
        "numbers that CPU kernels multiply; auto is bf16 where the CPU multiplies it faster and the model is wide, else f32",
    ),
    defaults_to(
        "rollout_weights",
        Kind::Choice(&["same", "int8"]),
        "\"same\"",
        "weights that rollouts are sampled with; int8 needs `objective.importance` in every RL stage",
    ),
    defaults_to(
        "activation_checkpointing",
        Kind::Flag,
        "false",
        "whether only the residual stream of each layer is kept for the way back: less memory, more time",
    ),
    defaults_to(
        "engine",
        Kind::Choice(&["auto", "burn"]),
        "\"auto\"",
        "what runs the model; auto is the CPU engine on CPU builds and burn on GPU builds",
    ),
];

/// What `[compute]` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ComputeFile {
    threads: CountOrAll,
    instructions: Instructions,
    precision: Precision,
    rollout_weights: RolloutWeights,
    activation_checkpointing: bool,
    engine: Engine,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum CountOrAll {
    Count(NonZero<usize>),
    All(All),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum All {
    All,
}

/// Which machinery does the arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compute {
    /// Threads that CPU kernels share, the calling one included; `None` for all that the machine
    /// runs at once.
    pub threads: Option<NonZero<usize>>,
    /// The most that CPU kernels may use; whether the machine has it is for training to find out.
    pub instructions: Instructions,
    /// Numbers that CPU kernels multiply.
    pub precision: Precision,
    /// Weights that rollouts are sampled with. Unless they are the trained ones, every RL stage has
    /// an importance weight.
    pub rollout_weights: RolloutWeights,
    /// Whether only the residual stream of each layer is kept for the way back, and the rest of its
    /// activations computed again there.
    pub activation_checkpointing: bool,
    /// What runs the model.
    pub engine: Engine,
}

/// The most that CPU kernels may use, in rising order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Instructions {
    /// The best that the machine has.
    Auto,
    /// What every CPU has.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 on f32.
    Avx512,
    /// AVX-512 with dot products of bf16.
    Avx512Bf16,
    /// Tiles of AMX, for bf16 and int8.
    Amx,
}

/// Numbers that CPU kernels multiply; sums are always f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// bf16 where the CPU multiplies it faster than f32 and the model is wide, f32 elsewhere.
    Auto,
    /// 32 bits.
    F32,
    /// 16 bits, with the exponents of f32.
    Bf16,
}

/// Weights that rollouts are sampled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutWeights {
    /// Those that are trained.
    Same,
    /// The trained ones rounded to 8 bits: faster, and a policy of its own.
    Int8,
}

/// What runs the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// The CPU engine on CPU builds, burn on GPU builds.
    Auto,
    /// burn, whatever the build.
    Burn,
}

impl ComputeFile {
    pub(crate) fn build(&self) -> Compute {
        Compute {
            threads: match self.threads {
                CountOrAll::Count(n_threads) => Some(n_threads),
                CountOrAll::All(All::All) => None,
            },
            instructions: self.instructions,
            precision: self.precision,
            rollout_weights: self.rollout_weights,
            activation_checkpointing: self.activation_checkpointing,
            engine: self.engine,
        }
    }
}

impl Compute {
    /// Complains about an RL stage at `path` that takes rollouts of rounded weights for its own.
    pub(crate) fn check_stage(
        &self,
        objective: &ObjectiveSettings,
        path: &str,
        checks: &mut Checks<'_>,
    ) {
        let is_corrected = objective.objective.importance != Importance::None;
        checks.require(
            self.rollout_weights == RolloutWeights::Same || is_corrected,
            &join(path, "objective.importance"),
            || {
                "\"none\" takes rollouts for the policy's own, but compute.rollout_weights = \"int8\" samples them from \
                 rounded weights; use \"token\" or \"sequence\", or rollout_weights = \"same\""
                    .into()
            },
        );
    }
}
