//! How a policy computes: which engine, which numbers, how many threads.

use longhand_engine::{Cpu, Keep, Precision};

use crate::backend::{Device, IS_CPU};

/// What runs the passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// The CPU engine on a CPU, burn on a GPU.
    #[default]
    Auto,
    /// burn's tensors everywhere: on a CPU the slow twin that the engine is compared with.
    Burn,
}

/// The weights that rollouts are sampled with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RolloutWeights {
    /// Those of the other passes.
    #[default]
    Same,
    /// Rounded to 8 bits, a scale for each column. The sampler then differs from the policy: recorded
    /// log-probabilities are the sampler's.
    Int8,
}

/// How a policy computes. Engine, precision and instructions change results by rounding, the number of
/// threads not at all.
#[derive(Clone, Debug)]
pub struct Compute {
    /// What runs the passes.
    pub engine: Engine,
    /// Instructions and threads of the CPU engine.
    pub cpu: Cpu,
    /// Numbers of products. On burn, bf16 only where it is asked for by name, and never for the head's.
    pub precision: Precision,
    /// Weights that the CPU engine samples with.
    pub rollout_weights: RolloutWeights,
    /// What the CPU engine's training pass keeps of each layer.
    pub keep: Keep,
    /// Where burn's tensors live.
    pub device: Device,
}

impl Default for Compute {
    fn default() -> Self {
        Self {
            engine: Engine::Auto,
            cpu: Cpu::detect(),
            precision: Precision::Auto,
            rollout_weights: RolloutWeights::Same,
            keep: Keep::Activations,
            device: Device::default(),
        }
    }
}

impl Compute {
    /// Whether the CPU engine runs the passes.
    pub(crate) fn is_engine(&self) -> bool {
        IS_CPU && self.engine == Engine::Auto
    }
}
