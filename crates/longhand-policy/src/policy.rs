//! A policy: weights, their sizes and the tokenizer they were trained with.

use std::{
    borrow::Cow,
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use longhand_chat::{ChatError, ChatTemplate, stop_ids};
use longhand_engine::{
    Format, GenerateError, Initialisation, ModelConfig, ModelConfigError, NotFinite, Parameter,
    PassBuffers, Weights, parameters,
};
use longhand_rollout::{Completion, Context, Generate, Request, Sampling, ServeError, WeightsId};
use rand_chacha::ChaCha8Rng;
use thiserror::Error;

use crate::{
    backend::BACKEND,
    companions::{Companions, GENERATION_CONFIG},
    compute::{Compute, RolloutWeights},
    on_burn::{self, BurnPass, NoBf16, OnBurn},
    on_cpu::{OnCpu, Packed},
    tokenizer::{TextTokenizer, TokenizerError},
    weights::{self, WeightsError},
};

/// A language model that is trained. One copy of the weights serves rollouts, scoring and training.
#[derive(Clone, Debug)]
pub struct Policy {
    config: ModelConfig,
    tokenizer: TextTokenizer,
    /// None where there are no chats.
    chat: Option<Arc<ChatTemplate>>,
    companions: Companions,
    compute: Compute,
    body: Body,
}

/// What computes. The two agree to rounding; the tests compare them.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Cpu(Box<OnCpu>),
    Burn(Box<OnBurn>),
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
    /// The folder's chat template or generation settings cannot be used.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// The weights do not fit.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The tokenizer cannot be used.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The device does not compute in the numbers that were asked for.
    #[error(transparent)]
    Precision(#[from] NoBf16),
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

/// A number of a policy, or of its gradient, that is NaN or infinite.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokenTensor {
    /// The tensor's Hugging Face name.
    pub name: String,
    /// Index into its values as [`Policy::named_weights`] orders them.
    pub idx: usize,
    /// NaN, or an infinity.
    pub value: f32,
}

/// What the policy says of sampled tokens, context by context, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// Natural log-probability of each sampled token.
    pub logprobs: Vec<f32>,
    /// Entropy in nats of the distribution it was drawn from.
    pub entropies: Vec<f32>,
    /// Self-certainty of that distribution in nats: `KL(uniform ‖ p)` over the tokenizer's ids.
    pub self_certainties: Vec<f32>,
}

/// A training pass that has gone forwards, for [`crate::AdamW::accumulate`].
pub struct Pass {
    scores: Scores,
    pub(crate) way_back: WayBack,
}

pub(crate) enum WayBack {
    Cpu(Box<longhand_engine::Pass>),
    Burn(Box<BurnPass>),
}

impl Pass {
    /// What the policy says of the sampled tokens.
    pub fn scores(&self) -> &Scores {
        &self.scores
    }
}

impl std::fmt::Debug for Pass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pass")
            .field("scores", &self.scores)
            .finish_non_exhaustive()
    }
}

impl Policy {
    /// A policy with freshly drawn weights.
    ///
    /// # Errors
    /// When the tokenizer has ids that the model lacks.
    pub fn from_scratch(
        config: ModelConfig,
        tokenizer: TextTokenizer,
        init: Initialisation,
        rng: &mut ChaCha8Rng,
        compute: &Compute,
    ) -> Result<Self, PolicyError> {
        let weights = Weights::from_scratch(&config, init, rng);
        Self::new(config, tokenizer, weights, compute)
    }

    /// Reads a folder in Hugging Face layout: `config.json`, `tokenizer.json`, and `model.safetensors` or the
    /// files that `model.safetensors.index.json` names. Where there are a chat template and
    /// `generation_config.json`, they say how to talk to the model and which tokens end what it says.
    ///
    /// # Errors
    /// When one of them cannot be read, or they do not belong together.
    pub fn load(folder: &Path, compute: &Compute) -> Result<Self, PolicyError> {
        if !folder.is_dir() {
            return Err(PolicyError::NoFolder(folder.to_owned()));
        }
        let path = folder.join("config.json");
        let text = fs::read_to_string(&path).map_err(|source| PolicyError::Io {
            path: path.clone(),
            source,
        })?;
        let mut config =
            ModelConfig::from_json(&text).map_err(|source| PolicyError::Config { path, source })?;
        if folder.join(GENERATION_CONFIG).is_file() {
            config.end_ids = match stop_ids(folder) {
                Err(ChatError::NoStopToken { .. }) => Vec::new(),
                ids => ids?,
            };
        }
        let chat = match ChatTemplate::load(folder) {
            Err(ChatError::NoTemplate { .. }) => None,
            chat => Some(Arc::new(chat?)),
        };
        let tokenizer = TextTokenizer::load(&folder.join("tokenizer.json"))?;
        let weights = weights::load(folder, &config)?;
        Ok(Self {
            chat,
            companions: Companions::load(folder)?,
            ..Self::new(config, tokenizer, weights, compute)?
        })
    }

    fn new(
        config: ModelConfig,
        tokenizer: TextTokenizer,
        weights: Weights,
        compute: &Compute,
    ) -> Result<Self, PolicyError> {
        let (n_ids, vocab_size) = (tokenizer.n_ids(), config.vocab_size);
        if vocab_size < n_ids {
            return Err(PolicyError::TokenizerTooLarge { n_ids, vocab_size });
        }
        let body = if compute.is_engine() {
            Body::Cpu(Box::new(OnCpu::new(&config, n_ids, weights, compute)))
        } else {
            let (precision, device) = (compute.precision, &compute.device);
            let on_burn = OnBurn::new(&config, n_ids, &weights, precision, device)?;
            Body::Burn(Box::new(on_burn))
        };
        Ok(Self {
            config,
            tokenizer,
            chat: None,
            companions: Companions::default(),
            compute: compute.clone(),
            body,
        })
    }

    /// Writes the three files, and those that came with the model, into an existing folder. Not atomic: write to a fresh folder and rename it.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), PolicyError> {
        let path = folder.join("config.json");
        fs::write(&path, self.config.to_json())
            .map_err(|source| PolicyError::Io { path, source })?;
        let path = folder.join("model.safetensors");
        weights::save(&self.config, &self.weights(), &path)?;
        self.companions.save(folder)?;
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

    /// How to talk to it; none where its folder has no chat template.
    pub fn chat(&self) -> Option<&ChatTemplate> {
        self.chat.as_deref()
    }

    /// How it computes.
    pub fn compute(&self) -> &Compute {
        &self.compute
    }

    /// What it computes on, for a report: the engine's instructions and numbers, or burn's backend.
    pub fn computes_on(&self) -> String {
        match &self.body {
            Body::Cpu(_) => {
                let (cpu, precision) = (&self.compute.cpu, self.precision());
                format!(
                    "cpu, {}, {precision}, {} threads",
                    cpu.isa(),
                    cpu.n_threads()
                )
            }
            Body::Burn(_) => format!("burn, {BACKEND}, {}", self.precision()),
        }
    }

    /// Its trained numbers.
    pub fn weights(&self) -> Cow<'_, Weights> {
        match &self.body {
            Body::Cpu(on_cpu) => Cow::Borrowed(on_cpu.weights()),
            Body::Burn(on_burn) => Cow::Owned(on_burn.weights()),
        }
    }

    /// Which version of the weights this is: how many updates they have seen, and what they are.
    pub fn weights_id(&self) -> WeightsId {
        match &self.body {
            Body::Cpu(on_cpu) => on_cpu.weights_id(),
            Body::Burn(on_burn) => on_burn.weights_id(),
        }
    }

    /// The same policy, said to have seen so many updates: a run that goes on counts on.
    #[must_use]
    pub fn with_version(mut self, version: u64) -> Self {
        match &mut self.body {
            Body::Cpu(on_cpu) => on_cpu.set_version(version),
            Body::Burn(on_burn) => on_burn.set_version(version),
        }
        self
    }

    /// The first weight that is NaN or infinite; none when all are finite.
    pub fn first_not_finite(&self) -> Option<BrokenTensor> {
        if let Body::Burn(on_burn) = &self.body
            && on_burn.has_finite_norm()
        {
            // Asked after every update: the weights stay where they are.
            return None;
        }
        let found = self.weights().first_not_finite(&self.compute.cpu);
        found.map(|found| self.broken(found))
    }

    /// A number's place by its parameter's name.
    pub(crate) fn broken(&self, found: NotFinite) -> BrokenTensor {
        let mut parameters = parameters(&self.config);
        BrokenTensor {
            name: parameters.swap_remove(found.parameter_idx).name,
            idx: found.value_idx,
            value: found.value,
        }
    }

    /// Every tensor by its Hugging Face name with its values, in a fixed order.
    pub fn named_weights(&self) -> Vec<(String, Vec<f32>)> {
        let names = parameters(&self.config);
        let names = names.into_iter().map(|Parameter { name, .. }| name);
        names.zip(self.weights().values().to_vec()).collect()
    }

    /// The same policy with other numbers.
    #[must_use]
    pub fn with_weights(&self, weights: Weights) -> Self {
        let n_ids = self.tokenizer.n_ids();
        let body = match &self.body {
            Body::Cpu(_) => Body::Cpu(Box::new(OnCpu::new(
                &self.config,
                n_ids,
                weights,
                &self.compute,
            ))),
            Body::Burn(on_burn) => {
                Body::Burn(Box::new(on_burn.with_weights(&self.config, &weights)))
            }
        };
        Self {
            body,
            ..self.clone()
        }
    }

    /// The same policy with other tokens that end a completion.
    #[must_use]
    pub fn with_end_ids(mut self, end_ids: Vec<u32>) -> Self {
        self.config.end_ids = end_ids;
        // It would say otherwise.
        self.companions = self.companions.without(GENERATION_CONFIG);
        let weights = self.weights().into_owned();
        self.with_weights(weights)
    }

    /// The format of the engine's products; none on burn.
    pub fn format(&self) -> Option<Format> {
        match &self.body {
            Body::Cpu(on_cpu) => Some(on_cpu.format()),
            Body::Burn(_) => None,
        }
    }

    /// The numbers of the policy's products, as configs spell them.
    pub fn precision(&self) -> &'static str {
        match &self.body {
            Body::Cpu(on_cpu) => match on_cpu.format() {
                Format::F32 => "f32",
                Format::Bf16 => "bf16",
                Format::Int8 => "int8",
            },
            Body::Burn(on_burn) => on_burn.products().name(),
        }
    }

    /// Whether rollouts are sampled from what scoring and training see, so that a recorded log-probability
    /// is the policy's own.
    pub fn samples_what_it_scores(&self) -> bool {
        match &self.body {
            Body::Cpu(_) => self.compute.rollout_weights == RolloutWeights::Same,
            Body::Burn(_) => true,
        }
    }

    pub(crate) fn body(&self) -> &Body {
        &self.body
    }

    pub(crate) fn body_mut(&mut self) -> &mut Body {
        &mut self.body
    }

    /// A sampler over the weights as they are now.
    pub fn generator(&self) -> Generator {
        let (sampler, of) = match &self.body {
            Body::Cpu(on_cpu) => {
                let Packed { model, of } = on_cpu.sampler().clone();
                (Sampler::Cpu(longhand_engine::Generator::new(model)), of)
            }
            Body::Burn(on_burn) => (
                Sampler::Burn(Box::new(on_burn.generator())),
                on_burn.weights_id(),
            ),
        };
        Generator { sampler, of }
    }

    /// A training pass: log-probabilities of every context's sampled tokens, and a way back to the
    /// gradient. What contexts begin with in common is run once, gradients included.
    ///
    /// The distribution is `softmax(logits / temperature)` over the tokenizer's ids. `buffers` are those
    /// that the last pass gave back, or none.
    ///
    /// # Panics
    /// When there is no sampled token, or a prompt is empty.
    pub fn forward(
        &self,
        contexts: &[Context<'_>],
        temperature: f64,
        buffers: PassBuffers,
    ) -> Pass {
        match &self.body {
            Body::Cpu(on_cpu) => {
                let pass =
                    on_cpu
                        .model()
                        .forward(contexts, temperature, self.compute.keep, buffers);
                Pass {
                    scores: scores_of(pass.scores().clone()),
                    way_back: WayBack::Cpu(Box::new(pass)),
                }
            }
            Body::Burn(on_burn) => {
                let pass = on_burn.forward(contexts, temperature);
                Pass {
                    scores: pass.scores.clone(),
                    way_back: WayBack::Burn(Box::new(pass)),
                }
            }
        }
    }

    /// The same numbers without a way back.
    ///
    /// # Panics
    /// As [`Policy::forward`].
    pub fn score(&self, contexts: &[Context<'_>], temperature: f64) -> Scores {
        match &self.body {
            Body::Cpu(on_cpu) => scores_of(on_cpu.model().score(contexts, temperature)),
            Body::Burn(on_burn) => on_burn.score(contexts, temperature),
        }
    }
}

fn scores_of(scores: longhand_engine::TokenScores) -> Scores {
    let longhand_engine::TokenScores {
        logprobs,
        entropies,
        self_certainties,
    } = scores;
    Scores {
        logprobs,
        entropies,
        self_certainties,
    }
}

/// Samples completions from a policy's weights as they were when it was made.
#[derive(Clone)]
pub struct Generator {
    sampler: Sampler,
    /// What the sampler was packed from.
    of: WeightsId,
}

#[derive(Clone)]
enum Sampler {
    Cpu(longhand_engine::Generator),
    Burn(Box<on_burn::Generator>),
}

impl Generate for Generator {
    type Error = GenerateError;

    fn weights_id(&self) -> Option<WeightsId> {
        Some(self.of)
    }

    fn not_finite_at(&self, error: &GenerateError) -> Option<(usize, usize)> {
        match *error {
            GenerateError::NotFinite {
                request_idx,
                token_idx,
            } => Some((request_idx, token_idx)),
            _ => None,
        }
    }

    fn generate(
        &mut self,
        requests: &[Request],
        sampling: &Sampling,
    ) -> Result<Vec<Completion>, GenerateError> {
        match &mut self.sampler {
            Sampler::Cpu(generator) => generator.generate(requests, sampling),
            Sampler::Burn(generator) => generator.generate(requests, sampling),
        }
    }

    fn serve(
        &mut self,
        first: Vec<Request>,
        sampling: &Sampling,
        on_finished: &mut dyn FnMut(usize, Completion) -> ControlFlow<(), Vec<Request>>,
    ) -> Result<(), ServeError<GenerateError>> {
        match &mut self.sampler {
            Sampler::Cpu(generator) => generator.serve(first, sampling, on_finished),
            Sampler::Burn(generator) => generator.serve(first, sampling, on_finished),
        }
    }
}
