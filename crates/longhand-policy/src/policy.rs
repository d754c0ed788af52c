//! A policy: weights, their sizes and the tokenizer they were trained with.

use std::{
    borrow::Cow,
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use longhand_chat::{ChatError, stop_ids};
use longhand_engine::{
    Adapter, AdapterError, AdapterNote, DropoutKey, Format, GenerateError, Initialisation,
    LoraConfig, LoraError, ModelConfig, ModelConfigError, NotFinite, Parameter, PassBuffers,
    SaveOptions, Weights, WeightsError, adapter_parameters, load_adapter, load_weights, parameters,
    read_adapter_config, save_adapter, save_weights,
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
};

/// A language model that is trained. One copy of the weights serves rollouts, scoring and training.
#[derive(Clone, Debug)]
pub struct Policy {
    config: ModelConfig,
    tokenizer: TextTokenizer,
    companions: Companions,
    /// Where the weights were read; none when they were drawn.
    folder: Option<PathBuf>,
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
    /// The folder's generation settings cannot be used.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// The weights do not fit.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// An adapter's files cannot be used.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// The settings make no adapter.
    #[error(transparent)]
    Lora(#[from] LoraError),
    /// An adapter without the model it belongs to.
    #[error(
        "{path} names `{base}` as the model that the adapter belongs to, and there is no such folder: get \
         the model and write its folder into `base_model_name_or_path`"
    )]
    NoBase {
        /// The adapter's settings.
        path: PathBuf,
        /// The model they name.
        base: String,
    },
    /// An adapter on an adapter.
    #[error(
        "{0} is an adapter already: go on with it as it is (without `policy.lora`), or merge it first with \
         `longhand export --merge`"
    )]
    IsAdapter(PathBuf),
    /// An adapter that stands beside weights of which no file is known.
    #[error(
        "an adapter is saved beside the model it belongs to, and this one has no folder: save the model \
         first and read it from there"
    )]
    NoFolderOfBase,
    /// Another model than the adapter was trained with.
    #[error(
        "the adapter in {adapter} was trained with other weights than those in {base}: their digests \
         differ"
    )]
    OtherBase {
        /// The adapter's folder.
        adapter: PathBuf,
        /// The model's.
        base: PathBuf,
    },
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
    /// files that `model.safetensors.index.json` names. Where there is `generation_config.json`, it says which
    /// tokens end what the model says.
    ///
    /// A folder in PEFT layout, with `adapter_config.json`, is an adapter: the model that it names is read,
    /// and the adapter stands beside it.
    ///
    /// # Errors
    /// When one of them cannot be read, or they do not belong together.
    pub fn load(folder: &Path, compute: &Compute) -> Result<Self, PolicyError> {
        if !folder.is_dir() {
            return Err(PolicyError::NoFolder(folder.to_owned()));
        }
        if is_adapter(folder) {
            let base = base_of(folder)?;
            if is_adapter(&base) {
                return Err(PolicyError::IsAdapter(base));
            }
            return Self::load(&base, compute)?.with_adapter_of(folder);
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
        let tokenizer = TextTokenizer::load(&folder.join("tokenizer.json"))?;
        let weights = load_weights(folder, &config)?;
        Ok(Self {
            companions: Companions::load(folder)?,
            folder: Some(absolute(folder)?),
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
            companions: Companions::default(),
            folder: None,
            compute: compute.clone(),
            body,
        })
    }

    /// Writes the policy into an existing folder: the three files and those that came with the model, or
    /// the adapter alone where one is trained. Not atomic: write to a fresh folder and rename it.
    ///
    /// # Errors
    /// When a file cannot be written, or an adapter's model is in no folder.
    pub fn save(&self, folder: &Path) -> Result<(), PolicyError> {
        let Some(adapter) = self.adapter() else {
            return self.save_whole(folder, &SaveOptions::default());
        };
        let base = self.folder.as_ref().ok_or(PolicyError::NoFolderOfBase)?;
        let note = AdapterNote {
            base_model: base.display().to_string(),
            base_digest: Some(self.base_digest()),
        };
        Ok(save_adapter(&self.config, &adapter, &note, folder)?)
    }

    /// Writes a whole model, its adapter merged into the weights, into an existing folder.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save_whole(&self, folder: &Path, options: &SaveOptions) -> Result<(), PolicyError> {
        let path = folder.join("config.json");
        fs::write(&path, self.config.to_json())
            .map_err(|source| PolicyError::Io { path, source })?;
        let weights = match self.adapter() {
            Some(adapter) => Cow::Owned(adapter.merged(&self.config, &self.weights())),
            None => self.weights(),
        };
        save_weights(&self.config, &weights, folder, options)?;
        self.save_beside(folder)
    }

    /// Writes the tokenizer and what came with the model.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save_beside(&self, folder: &Path) -> Result<(), PolicyError> {
        self.companions.save(folder)?;
        Ok(self.tokenizer.save(&folder.join("tokenizer.json"))?)
    }

    /// The same weights, from now on frozen, with a fresh adapter beside them, which changes nothing yet.
    /// They are not copied.
    ///
    /// # Errors
    /// When the settings make no adapter, or there is one already.
    pub fn with_fresh_adapter(
        &self,
        lora: LoraConfig,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self, PolicyError> {
        lora.check()?;
        if self.adapter().is_some() {
            let folder = self.folder.clone().unwrap_or_default();
            return Err(PolicyError::IsAdapter(folder));
        }
        Ok(self.with_adapter(Adapter::fresh(&self.config, lora, rng)))
    }

    /// The same weights with the adapter of a folder beside them instead of their own. They are not
    /// copied.
    ///
    /// # Errors
    /// When the folder's adapter cannot be read or was trained with other weights.
    pub fn with_adapter_of(&self, folder: &Path) -> Result<Self, PolicyError> {
        let adapter = load_adapter(folder, &self.config)?;
        let noted = read_adapter_config(folder)?.base_digest;
        if noted.is_some_and(|noted| noted != self.base_digest()) {
            return Err(PolicyError::OtherBase {
                adapter: folder.to_owned(),
                base: self.folder.clone().unwrap_or_default(),
            });
        }
        Ok(self.with_adapter(adapter))
    }

    fn with_adapter(&self, adapter: Adapter) -> Self {
        self.with_body(match &self.body {
            Body::Cpu(on_cpu) => Body::Cpu(Box::new(on_cpu.with_adapter(Some(adapter)))),
            Body::Burn(on_burn) => Body::Burn(Box::new(on_burn.with_adapter(&adapter))),
        })
    }

    /// The weights without the adapter that is trained beside them: what it began from. They are not
    /// copied.
    #[must_use]
    pub fn without_adapter(&self) -> Self {
        self.with_body(match &self.body {
            Body::Cpu(on_cpu) => Body::Cpu(Box::new(on_cpu.with_adapter(None))),
            Body::Burn(on_burn) => Body::Burn(Box::new(on_burn.without_adapter())),
        })
    }

    /// The policy as it is now, to be compared with later: an adapter that has changed nothing yet is left
    /// off. It holds the same memory until this one's weights change, and with an adapter for ever.
    #[must_use]
    pub fn as_reference(&self) -> Self {
        match self.adapter() {
            Some(adapter) if adapter.is_fresh() => self.without_adapter(),
            _ => self.clone(),
        }
    }

    fn with_body(&self, body: Body) -> Self {
        let Self {
            config,
            tokenizer,
            companions,
            folder,
            compute,
            body: _,
        } = self;
        Self {
            config: config.clone(),
            tokenizer: tokenizer.clone(),
            companions: companions.clone(),
            folder: folder.clone(),
            compute: compute.clone(),
            body,
        }
    }

    /// The adapter as it is now; none when the weights themselves are trained.
    pub fn adapter(&self) -> Option<Cow<'_, Adapter>> {
        match &self.body {
            Body::Cpu(on_cpu) => on_cpu.adapter().map(Cow::Borrowed),
            Body::Burn(on_burn) => on_burn.adapter().map(Cow::Owned),
        }
    }

    /// A digest of the weights without the adapter.
    fn base_digest(&self) -> u128 {
        match &self.body {
            Body::Cpu(on_cpu) => on_cpu.weights_digest(),
            Body::Burn(on_burn) => on_burn.weights().digest(&self.compute.cpu),
        }
    }

    /// Its sizes.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &TextTokenizer {
        &self.tokenizer
    }

    /// Where its weights were read, an adapter's model's rather than the adapter's; none when they were
    /// drawn. A chat template is there.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
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

    /// The model's numbers, without an adapter's.
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

    /// What updates change: all parameters of the model, or those of the adapter.
    pub fn trained_parameters(&self) -> Vec<Parameter> {
        match self.adapter() {
            Some(adapter) => adapter_parameters(&self.config, &adapter.config),
            None => parameters(&self.config),
        }
    }

    /// The numbers that updates change, in the order of [`Policy::trained_parameters`].
    pub fn trained_weights(&self) -> Cow<'_, Weights> {
        match self.adapter() {
            Some(Cow::Borrowed(adapter)) => Cow::Borrowed(&adapter.weights),
            Some(Cow::Owned(adapter)) => Cow::Owned(adapter.weights),
            None => self.weights(),
        }
    }

    /// The first trained number that is NaN or infinite; none when all are finite.
    pub fn first_not_finite(&self) -> Option<BrokenTensor> {
        if let Body::Burn(on_burn) = &self.body
            && on_burn.has_finite_norm()
        {
            // Asked after every update: the weights stay where they are.
            return None;
        }
        let found = self.trained_weights().first_not_finite(&self.compute.cpu);
        found.map(|found| self.broken(found))
    }

    /// A number's place by its parameter's name.
    pub(crate) fn broken(&self, found: NotFinite) -> BrokenTensor {
        let mut parameters = self.trained_parameters();
        BrokenTensor {
            name: parameters.swap_remove(found.parameter_idx).name,
            idx: found.value_idx,
            value: found.value,
        }
    }

    /// Every trained tensor by its Hugging Face name with its values, in a fixed order.
    pub fn named_weights(&self) -> Vec<(String, Vec<f32>)> {
        let names = self.trained_parameters().into_iter();
        let names = names.map(|Parameter { name, .. }| name);
        names
            .zip(self.trained_weights().values().to_vec())
            .collect()
    }

    /// The same policy with other numbers in place of the model's, and without its adapter.
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
        self.with_body(body)
    }

    /// The same policy with other tokens that end a completion.
    #[must_use]
    pub fn with_end_ids(mut self, end_ids: Vec<u32>) -> Self {
        self.config.end_ids = end_ids;
        // It would say otherwise.
        self.companions = self.companions.without(GENERATION_CONFIG);
        let weights = self.weights().into_owned();
        let other = self.with_weights(weights);
        match self.adapter() {
            Some(adapter) => other.with_adapter(adapter.into_owned()),
            None => other,
        }
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
    /// that the last pass gave back, or none. `dropout_key` says which numbers an adapter with dropout
    /// leaves out, the same ones for the same key.
    ///
    /// # Panics
    /// When there is no sampled token, or a prompt is empty.
    pub fn forward(
        &self,
        contexts: &[Context<'_>],
        temperature: f64,
        buffers: PassBuffers,
        dropout_key: u64,
    ) -> Pass {
        match &self.body {
            Body::Cpu(on_cpu) => {
                let pass = on_cpu.model().forward(
                    contexts,
                    temperature,
                    self.compute.keep,
                    buffers,
                    Some(DropoutKey(dropout_key)),
                );
                Pass {
                    scores: scores_of(pass.scores().clone()),
                    way_back: WayBack::Cpu(Box::new(pass)),
                }
            }
            Body::Burn(on_burn) => {
                let pass = on_burn.forward(contexts, temperature, dropout_key);
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

fn is_adapter(folder: &Path) -> bool {
    folder.join("adapter_config.json").is_file()
}

/// The folder of the model that an adapter belongs to.
fn base_of(folder: &Path) -> Result<PathBuf, PolicyError> {
    let base = read_adapter_config(folder)?.base_model;
    let found = Path::new(&base);
    if found.is_dir() {
        Ok(found.to_owned())
    } else {
        let path = folder.join("adapter_config.json");
        Err(PolicyError::NoBase { path, base })
    }
}

fn absolute(folder: &Path) -> Result<PathBuf, PolicyError> {
    fs::canonicalize(folder).map_err(|source| PolicyError::Io {
        path: folder.to_owned(),
        source,
    })
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

    fn stream(
        &mut self,
        request: &Request,
        sampling: &Sampling,
        on_token: &mut dyn FnMut(u32) -> ControlFlow<()>,
    ) -> Result<Completion, GenerateError> {
        match &mut self.sampler {
            Sampler::Cpu(generator) => generator.stream(request, sampling, on_token),
            Sampler::Burn(generator) => generator.stream(request, sampling, on_token),
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
