//! Transformers on the CPU without tensors: generate, score and differentiate over prefix trees.
//!
//! 1. [`ModelConfig`] says what a model is; [`Weights`] are its trained numbers, one list for each of its
//!    [`parameters`].
//! 2. [`Model`] is one version of them, packed for the kernels; an [`Adapter`] may stand beside them, and
//!    models that differ in it alone share the rest.
//! 3. [`Generator`] samples from it with continuous batching; [`Model::score`] says how probable given
//!    tokens are; [`Model::forward`] and [`Pass::backward`] give the gradient.
//!
//! All three run a shared beginning once, and compute each row by the same operations in the same order
//! whatever stands beside it: a sampled token's recorded log-probability is the scored one to the bit.
//!
//! Knows nothing of tensors, tokenizers, rewards or losses: token ids and derivatives come in.

mod adapter;
mod adapter_backward;
mod backward;
mod cache;
mod files;
#[cfg(test)]
mod fixture;
mod generate;
mod head;
mod logits;
mod model_config;
mod packed_adapter;
mod packed_model;
mod parameters;
mod pass;
mod rope_scaling;
mod rows;
mod sample;
mod trunk;
mod unsupported_settings;
mod weights;

pub use adapter::{Adapter, LoraConfig, LoraError, Target, adapter_parameters};
pub use files::{
    AdapterConfig, AdapterConfigError, AdapterError, AdapterFile, AdapterNote, ModelFiles,
    NumberType, Numbers, SaveOptions, Tensor, TensorFile, TensorInfo, WeightsError, load_adapter,
    load_weights, read_adapter_config, save_adapter, save_tensors, save_weights,
};
pub use generate::{GenerateError, Generator, check_request};
pub use head::{ScoreGradient, TokenScores};
pub use longhand_kernels::{AdamW as AdamWStep, Cpu, CpuError, Format, Isa};
pub use model_config::{Family, ModelConfig, ModelConfigError};
pub use packed_adapter::DropoutKey;
pub use packed_model::{Model, Precision};
pub use parameters::{Parameter, parameters};
pub use pass::{Keep, Pass, PassBuffers};
pub use rope_scaling::RopeScaling;
pub use sample::{SampledToken, sample_token};
pub use weights::{Initialisation, NotFinite, Weights, adamw_step, global_norm};
