//! From an experiment's `[compute]` table to what the policy computes with.

use std::{num::NonZero, thread::available_parallelism};

use longhand_config::{self as config, Experiment};
use longhand_policy::{Compute, Cpu, Engine, Isa, Keep, Precision, RolloutWeights};

use crate::error::TrainError;

/// What an experiment computes with.
///
/// # Errors
/// When this machine lacks the instructions that the experiment asks for.
pub fn compute(experiment: &Experiment) -> Result<Compute, TrainError> {
    let config::Compute {
        threads,
        instructions,
        precision,
        rollout_weights,
        activation_checkpointing,
        engine,
    } = experiment.compute;
    let threads = match threads {
        Some(threads) => threads,
        None => available_parallelism().unwrap_or(NonZero::<usize>::MIN),
    };
    let isa = match instructions {
        config::Instructions::Auto => Isa::detect(),
        config::Instructions::Portable => Isa::Portable,
        config::Instructions::Avx2 => Isa::Avx2,
        config::Instructions::Avx512 => Isa::Avx512,
        config::Instructions::Avx512Bf16 => Isa::Avx512Bf16,
        config::Instructions::Amx => Isa::Amx,
    };
    Ok(Compute {
        cpu: Cpu::new(isa, threads)?,
        precision: match precision {
            config::Precision::Auto => Precision::Auto,
            config::Precision::F32 => Precision::F32,
            config::Precision::Bf16 => Precision::Bf16,
        },
        rollout_weights: match rollout_weights {
            config::RolloutWeights::Same => RolloutWeights::Same,
            config::RolloutWeights::Int8 => RolloutWeights::Int8,
        },
        keep: if activation_checkpointing {
            Keep::Checkpoints
        } else {
            Keep::Activations
        },
        engine: match engine {
            config::Engine::Auto => Engine::Auto,
            config::Engine::Burn => Engine::Burn,
        },
        ..Compute::default()
    })
}
