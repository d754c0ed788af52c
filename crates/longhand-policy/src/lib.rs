//! Decoder-only transformers on burn: load, generate with a cache, differentiable log-probabilities.
//!
//! Reading order: [`ModelConfig`] says what a model is, [`Policy`] holds one with its tokenizer,
//! [`Generator`] samples from it, [`Policy::logprobs`] and [`Policy::score`] say how probable given
//! tokens are. A shared prefix is run once in all three.
//!
//! Knows nothing of rewards, advantages or agents: token ids go in, token ids and numbers come out.

mod backend;
mod decoding;
mod generate;
mod head;
mod layout;
mod model;
mod model_config;
mod policy;
mod rotary;
mod sample;
mod tokenizer;
mod tree_attention;
mod weights;

pub use backend::{AutodiffBackend, BACKEND, Backend, Device};
pub use generate::{GenerateError, Generator};
pub use model::{Initialisation, Transformer};
pub use model_config::{Family, ModelConfig, ModelConfigError};
pub use policy::{Policy, PolicyError, Scores};
pub use sample::{SampledToken, sample_token};
pub use tokenizer::{TextTokenizer, TokenizerError, TokenizerKind, train_tokenizer};
pub use weights::WeightsError;
