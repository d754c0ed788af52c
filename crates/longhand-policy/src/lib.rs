//! Policies: load, generate with a cache, score, and take gradients; on the CPU engine or on burn.
//!
//! Reading order: [`ModelConfig`] says what a model is, [`Policy`] holds one with its tokenizer,
//! [`Generator`] samples from it, [`Policy::score`] says how probable given tokens are,
//! [`Policy::forward`] says the same with a way back to the gradient, and [`AdamW`] moves the weights.
//! What contexts begin with in common is run once in all of them.
//!
//! [`Compute`] chooses what computes: the CPU engine, or burn's tensors on a GPU. The tests compare the
//! two on a CPU.
//!
//! Knows nothing of rewards, advantages or agents: token ids go in, token ids and numbers come out.

mod backend;
mod companions;
mod compute;
#[cfg(test)]
mod fixture;
mod on_burn;
mod on_cpu;
mod optimizer;
mod policy;
mod tokenizer;

pub use backend::{BACKEND, Device};
pub use compute::{Compute, Engine, RolloutWeights};
pub use longhand_engine::{
    Cpu, CpuError, Family, Format, GenerateError, Initialisation, Isa, Keep, LoraConfig, LoraError,
    Model, ModelConfig, ModelConfigError, Numbers, PassBuffers, Precision, RopeScaling,
    SaveOptions, Target, Weights, WeightsError,
};
pub use on_burn::NoBf16;
pub use optimizer::{AdamW, AdamWSettings, OptimizerError, TokenGradient};
pub use policy::{BrokenTensor, Generator, Pass, Policy, PolicyError, Scores};
pub use tokenizer::{TextTokenizer, TokenizerError, TokenizerKind, train_tokenizer};
