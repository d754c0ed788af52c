//! A policy: weights, their sizes and the tokenizer they were trained with.

use std::{
    fs,
    path::{Path, PathBuf},
};

use burn::{
    module::AutodiffModule,
    tensor::{Tensor, backend::Backend as _},
};
use longhand_rollout::PrefixGroup;
use rand_chacha::ChaCha8Rng;
use thiserror::Error;

use crate::{
    backend::{AutodiffBackend, Backend, Device},
    generate::Generator,
    head,
    layout::Layout,
    model::{Initialisation, Transformer, index_tensor},
    model_config::{ModelConfig, ModelConfigError},
    tokenizer::{TextTokenizer, TokenizerError},
    tree_attention::Heads,
    weights::{self, WeightsError},
};

/// A language model that is trained. One copy of the weights serves rollouts, scoring and training.
#[derive(Clone, Debug)]
pub struct Policy {
    config: ModelConfig,
    tokenizer: TextTokenizer,
    model: Transformer<AutodiffBackend>,
    device: Device,
}

/// A policy folder that could not be read or written.
#[derive(Debug, Error)]
pub enum PolicyError {
    /// The folder is not there.
    #[error(
        "no policy at {0}: a folder with config.json, model.safetensors and tokenizer.json is needed"
    )]
    NoFolder(PathBuf),
    /// A file could not be read or written.
    #[error("cannot access {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// `config.json` does not describe a model we have.
    #[error("{path}: {source}")]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ModelConfigError,
    },
    /// The weights do not fit.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The tokenizer cannot be used.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The tokenizer has ids that the embedding lacks.
    #[error(
        "the tokenizer has {n_ids} ids, the model only {vocab_size}: they do not belong together"
    )]
    TokenizerTooLarge {
        /// Ids of the tokenizer.
        n_ids: usize,
        /// Rows of the embedding.
        vocab_size: usize,
    },
}

/// Log-probabilities and entropies of sampled tokens, in order of groups and suffixes.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// Natural log-probability of each sampled token.
    pub logprobs: Vec<f32>,
    /// Entropy in nats of the distribution it was drawn from.
    pub entropies: Vec<f32>,
}

impl Policy {
    /// A policy with freshly drawn weights.
    pub fn from_scratch(
        config: ModelConfig,
        tokenizer: TextTokenizer,
        init: Initialisation,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Result<Self, PolicyError> {
        let model = Transformer::from_scratch(&config, init, rng, device);
        Self::new(config, tokenizer, model, device)
    }

    /// Reads a folder in Hugging Face layout: `config.json`, `model.safetensors`, `tokenizer.json`.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, PolicyError> {
        if !folder.is_dir() {
            return Err(PolicyError::NoFolder(folder.to_owned()));
        }
        let path = folder.join("config.json");
        let text = fs::read_to_string(&path).map_err(|source| PolicyError::Io {
            path: path.clone(),
            source,
        })?;
        let config =
            ModelConfig::from_json(&text).map_err(|source| PolicyError::Config { path, source })?;
        let tokenizer = TextTokenizer::load(&folder.join("tokenizer.json"))?;
        let model = weights::load(&folder.join("model.safetensors"), &config, device)?;
        Self::new(config, tokenizer, model, device)
    }

    fn new(
        config: ModelConfig,
        tokenizer: TextTokenizer,
        model: Transformer<AutodiffBackend>,
        device: &Device,
    ) -> Result<Self, PolicyError> {
        let (n_ids, vocab_size) = (tokenizer.n_ids(), config.vocab_size);
        if vocab_size < n_ids {
            return Err(PolicyError::TokenizerTooLarge { n_ids, vocab_size });
        }
        Ok(Self {
            config,
            tokenizer,
            model,
            device: Device::clone(device),
        })
    }

    /// Writes the three files into an existing folder. Not atomic: write to a fresh folder and rename it.
    pub fn save(&self, folder: &Path) -> Result<(), PolicyError> {
        let path = folder.join("config.json");
        fs::write(&path, self.config.to_json())
            .map_err(|source| PolicyError::Io { path, source })?;
        weights::save(&self.model, &folder.join("model.safetensors"))?;
        Ok(self.tokenizer.save(&folder.join("tokenizer.json"))?)
    }

    /// Its sizes.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &TextTokenizer {
        &self.tokenizer
    }

    /// Its weights, for an optimiser.
    pub fn model(&self) -> &Transformer<AutodiffBackend> {
        &self.model
    }

    /// Where its tensors live.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Replaces the weights by what `update` makes of them.
    pub fn update(
        &mut self,
        update: impl FnOnce(Transformer<AutodiffBackend>) -> Transformer<AutodiffBackend>,
    ) {
        self.model = update(self.model.clone());
    }

    /// Every tensor by its Hugging Face name with its values, in a fixed order.
    pub fn named_weights(&self) -> Vec<(String, Vec<f32>)> {
        let tensors = weights::named_tensors(&self.model);
        tensors
            .into_iter()
            .map(|(name, _shape, values)| (name, values))
            .collect()
    }

    /// A sampler over the weights as they are now.
    pub fn generator(&self) -> Generator {
        Generator::new(
            self.config.clone(),
            self.model.valid(),
            self.tokenizer.n_ids(),
            Device::clone(&self.device),
        )
    }

    /// Differentiable log-probabilities `[n_sampled]` of every suffix's sampled tokens, in order, and
    /// beside them the entropies. Each prefix is run once, gradients included.
    ///
    /// The distribution is `softmax(logits / temperature)` over the tokenizer's ids.
    ///
    /// # Panics
    /// When there is no sampled token, or a suffix has sampled tokens but no given one.
    pub fn logprobs(
        &self,
        groups: &[PrefixGroup],
        temperature: f64,
    ) -> (Tensor<AutodiffBackend, 1>, Tensor<Backend, 1>) {
        let (hidden, targets) = hidden_at_targets(&self.model, &self.config, groups, &self.device);
        let head = self.model.head(self.tokenizer.n_ids());
        head::differentiable_logprobs(hidden, head, targets, temperature)
    }

    /// The same numbers without a gradient graph.
    ///
    /// # Panics
    /// As [`Policy::logprobs`].
    pub fn score(&self, groups: &[PrefixGroup], temperature: f64) -> Scores {
        let model = self.model.valid();
        let (hidden, targets) = hidden_at_targets(&model, &self.config, groups, &self.device);
        let scores = head::score(
            hidden,
            model.head(self.tokenizer.n_ids()),
            targets,
            temperature,
        );
        Scores {
            logprobs: scores.logprobs.into_data().iter::<f32>().collect(),
            entropies: scores.entropies.into_data().iter::<f32>().collect(),
        }
    }

    /// Waits for the device and gives cached memory back to it, between phases.
    pub fn clean_memory(&self) {
        Backend::memory_cleanup(&self.device);
    }
}

/// Normed hidden states `[n_sampled, hidden]` that predict the sampled tokens, and those tokens' ids.
fn hidden_at_targets<B>(
    model: &Transformer<B>,
    config: &ModelConfig,
    groups: &[PrefixGroup],
    device: &Device,
) -> (Tensor<B, 2>, Tensor<Backend, 1, burn::tensor::Int>)
where
    B: burn::tensor::backend::Backend<Device = Device>,
{
    let layout = Layout::new(groups);
    assert!(
        !layout.targets.is_empty(),
        "there is no sampled token to score"
    );
    let heads = Heads {
        n_heads: config.n_heads,
        n_kv_heads: config.n_kv_heads,
        head_dim: config.head_dim,
    };
    let mut attention = layout.attention(heads, device);
    let hidden = model.trunk(config, &layout.ids, &layout.positions, &mut attention);
    let rows = index_tensor(layout.target_rows.iter().copied(), device);
    let hidden = model.final_norm(config, hidden.select(0, rows));
    (
        hidden,
        index_tensor(layout.targets.iter().map(|id| *id as i32), device),
    )
}
