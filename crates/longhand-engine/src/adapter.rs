//! Low-rank adapters beside frozen weights, LoRA (arXiv:2106.09685): settings, parameters, merging.
//!
//! `y = x W + (alpha / rank) · dropout(x) A B` for each adapted projection `W` `[in, out]`, with `A` `[in,
//! rank]` and `B` `[rank, out]`. A file holds the transposes, `lora_A` `[rank, in]` and `lora_B` `[out,
//! rank]`.
//!
//! Differs from the paper: any projection may be adapted, not queries and values alone, and `A` begins
//! uniform as in PEFT, not normal.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use thiserror::Error;

use crate::{
    ModelConfig,
    packed_model::Widths,
    parameters::{LayerPlaces, Parameter, Places},
    weights::Weights,
};

/// A projection that an adapter may stand beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// Queries.
    Q,
    /// Keys.
    K,
    /// Values.
    V,
    /// The output of attention.
    O,
    /// The gate of the feed-forward.
    Gate,
    /// What the gate lets through.
    Up,
    /// The output of the feed-forward.
    Down,
}

impl Target {
    /// All of them, in the order of a layer.
    pub const ALL: [Target; 7] = [
        Target::Q,
        Target::K,
        Target::V,
        Target::O,
        Target::Gate,
        Target::Up,
        Target::Down,
    ];

    /// The Hugging Face name of the module.
    pub fn name(self) -> &'static str {
        match self {
            Target::Q => "q_proj",
            Target::K => "k_proj",
            Target::V => "v_proj",
            Target::O => "o_proj",
            Target::Gate => "gate_proj",
            Target::Up => "up_proj",
            Target::Down => "down_proj",
        }
    }

    /// The target of this name.
    ///
    /// # Errors
    /// [`LoraError::UnknownTarget`] for any name that is not in [`Target::ALL`].
    pub fn parse(name: &str) -> Result<Target, LoraError> {
        let mut all = Target::ALL.into_iter();
        all.find(|target| target.name() == name)
            .ok_or_else(|| LoraError::UnknownTarget {
                name: name.into(),
                known: Target::ALL.map(Target::name).join(", "),
            })
    }

    /// The module inside its layer that holds it.
    fn block(self) -> &'static str {
        match self {
            Target::Q | Target::K | Target::V | Target::O => "self_attn",
            Target::Gate | Target::Up | Target::Down => "mlp",
        }
    }

    /// `[in, out]`
    fn shape(self, widths: Widths) -> [usize; 2] {
        let Widths {
            hidden,
            inner,
            q,
            kv,
        } = widths;
        match self {
            Target::Q => [hidden, q],
            Target::K | Target::V => [hidden, kv],
            Target::O => [q, hidden],
            Target::Gate | Target::Up => [hidden, inner],
            Target::Down => [inner, hidden],
        }
    }

    /// Of its projection among the model's parameters.
    pub(crate) fn place(self, at: &LayerPlaces) -> usize {
        match self {
            Target::Q => at.qkv[0],
            Target::K => at.qkv[1],
            Target::V => at.qkv[2],
            Target::O => at.o,
            Target::Gate => at.gate_up[0],
            Target::Up => at.gate_up[1],
            Target::Down => at.down,
        }
    }
}

/// What an adapter is.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraConfig {
    /// Columns of `A` and rows of `B`; at least 1.
    pub rank: usize,
    /// The adapter's part is multiplied by `alpha / rank`.
    pub alpha: f64,
    /// Probability, in `[0, 1)`, with which each number that goes into an `A` is left out in training.
    pub dropout: f64,
    /// Projections that have one, in any order.
    pub targets: Vec<Target>,
}

/// Settings that make no adapter.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum LoraError {
    /// No projection of this name can be adapted.
    #[error("unknown target module `{name}`: {known} are known")]
    UnknownTarget {
        /// The name.
        name: String,
        /// The names there are.
        known: String,
    },
    /// Without a rank there is nothing to train.
    #[error("the rank is 0")]
    NoRank,
    /// Not a finite number above 0.
    #[error("alpha is {alpha}; it must be above 0")]
    Alpha {
        /// What it is.
        alpha: f64,
    },
    /// Not in `[0, 1)`.
    #[error("dropout is {dropout}; it must be at least 0 and below 1")]
    Dropout {
        /// What it is.
        dropout: f64,
    },
    /// Nothing is adapted.
    #[error("no target module")]
    NoTarget,
    /// One is named twice.
    #[error("target module `{}` is named twice", target.name())]
    TargetTwice {
        /// Which.
        target: Target,
    },
}

impl LoraConfig {
    /// Refuses settings that make no adapter.
    ///
    /// # Errors
    /// [`LoraError`], but never [`LoraError::UnknownTarget`].
    pub fn check(&self) -> Result<(), LoraError> {
        let Self {
            rank,
            alpha,
            dropout,
            ref targets,
        } = *self;
        if rank == 0 {
            return Err(LoraError::NoRank);
        }
        if !alpha.is_finite() || alpha <= 0.0 {
            return Err(LoraError::Alpha { alpha });
        }
        if !(0.0..1.0).contains(&dropout) {
            return Err(LoraError::Dropout { dropout });
        }
        if targets.is_empty() {
            return Err(LoraError::NoTarget);
        }
        for (target_idx, target) in targets.iter().enumerate() {
            if targets[..target_idx].contains(target) {
                return Err(LoraError::TargetTwice { target: *target });
            }
        }
        Ok(())
    }

    /// `alpha / rank`
    pub fn scale(&self) -> f64 {
        self.alpha / self.rank as f64
    }

    /// The targets in the order of [`Target::ALL`], which is that of the parameters.
    pub(crate) fn ordered_targets(&self) -> Vec<Target> {
        let mut targets = self.targets.clone();
        targets.sort_unstable();
        targets
    }
}

/// The parameters of an adapter in their fixed order: layer by layer, targets as in [`Target::ALL`], `A`
/// before `B`.
pub fn adapter_parameters(config: &ModelConfig, lora: &LoraConfig) -> Vec<Parameter> {
    let widths = Widths::new(config);
    let mut parameters = Vec::new();
    for layer_idx in 0..config.n_layers {
        for target in lora.ordered_targets() {
            let [n_in, n_out] = target.shape(widths);
            let (block, module) = (target.block(), target.name());
            for (part, shape) in [("A", [n_in, lora.rank]), ("B", [lora.rank, n_out])] {
                parameters.push(Parameter {
                    name: format!("model.layers.{layer_idx}.{block}.{module}.lora_{part}.weight"),
                    shape: shape.to_vec(),
                });
            }
        }
    }
    parameters
}

/// A trained or fresh adapter of some model.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    /// What it is.
    pub config: LoraConfig,
    /// One list of numbers for each of its [`adapter_parameters`], in their order.
    pub weights: Weights,
}

impl Adapter {
    /// One that changes nothing yet: `A` uniform in `(-1/√in, 1/√in)`, which is the Kaiming-uniform of
    /// PEFT with `a = √5`, and `B` zero.
    ///
    /// # Panics
    /// When the settings make no adapter ([`LoraConfig::check`]).
    pub fn fresh(config: &ModelConfig, lora: LoraConfig, rng: &mut ChaCha8Rng) -> Self {
        let draw = |parameter: &Parameter| {
            let n = parameter.n_values();
            let Some(n_in) = is_a(parameter).then_some(parameter.shape[0]) else {
                return Ok(vec![0.0; n]);
            };
            let bound = 1.0 / (n_in as f64).sqrt();
            let mut next = || {
                let u: f64 = rng.random();
                ((2.0 * u - 1.0) * bound) as f32
            };
            Ok::<_, std::convert::Infallible>((0..n).map(|_| next()).collect())
        };
        Self::assemble(config, lora, draw).unwrap_or_else(|never| match never {})
    }

    /// Takes values by parameter: `source` is asked for each, in their order.
    ///
    /// # Errors
    /// Those of `source`.
    ///
    /// # Panics
    /// When a list has another length than its shape says, or the settings make no adapter
    /// ([`LoraConfig::check`]).
    pub fn assemble<E>(
        config: &ModelConfig,
        lora: LoraConfig,
        source: impl FnMut(&Parameter) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        if let Err(error) = lora.check() {
            panic!("{error}");
        }
        let weights = Weights::of_parameters(&adapter_parameters(config, &lora), source)?;
        Ok(Self {
            config: lora,
            weights,
        })
    }

    /// Whether it changes nothing, as a fresh one: every `B` is zero.
    pub fn is_fresh(&self) -> bool {
        let (pairs, _) = self.weights.values.as_chunks::<2>();
        pairs
            .iter()
            .all(|[_, b]| b.iter().all(|value| *value == 0.0))
    }

    /// The model's weights with the adapter's part added, `W + (alpha / rank) · A B`, summed in f64.
    ///
    /// # Panics
    /// When adapter or weights are not of the model.
    pub fn merged(&self, config: &ModelConfig, weights: &Weights) -> Weights {
        let (places, widths) = (Places::new(config), Widths::new(config));
        let (rank, scale) = (self.config.rank, self.config.scale());
        let mut merged = weights.clone();
        let sites = places.layers.iter().flat_map(|at| {
            let targets = self.config.ordered_targets().into_iter();
            targets.map(move |target| (target, target.place(at)))
        });
        let (pairs, rest) = self.weights.values.as_chunks::<2>();
        let n_targets = config.n_layers * self.config.targets.len();
        assert_eq!((pairs.len(), rest.len()), (n_targets, 0), "another model");
        for ((target, place), [a, b]) in sites.zip(pairs) {
            let [n_in, n_out] = target.shape(widths);
            let whole = &mut merged.values[place];
            assert_eq!(
                (whole.len(), a.len(), b.len()),
                (n_in * n_out, n_in * rank, rank * n_out),
                "another model"
            );
            let mut sums = vec![0.0_f64; n_out];
            for (row, of_a) in whole.chunks_exact_mut(n_out).zip(a.chunks_exact(rank)) {
                sums.fill(0.0);
                for (a, of_b) in of_a.iter().zip(b.chunks_exact(n_out)) {
                    let a = scale * f64::from(*a);
                    for (sum, b) in sums.iter_mut().zip(of_b) {
                        *sum += a * f64::from(*b);
                    }
                }
                for (w, sum) in row.iter_mut().zip(&sums) {
                    *w = (f64::from(*w) + sum) as f32;
                }
            }
        }
        merged
    }
}

/// Whether it is an `A`, not a `B`.
fn is_a(parameter: &Parameter) -> bool {
    parameter.name.ends_with("lora_A.weight")
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::{Family, Initialisation, fixture, parameters};

    fn lora(rank: usize, targets: &[Target]) -> LoraConfig {
        LoraConfig {
            rank,
            alpha: 6.0,
            dropout: 0.0,
            targets: targets.to_vec(),
        }
    }

    fn fresh(config: &ModelConfig, lora: LoraConfig) -> Adapter {
        Adapter::fresh(config, lora, &mut ChaCha8Rng::seed_from_u64(1))
    }

    #[test]
    fn an_unknown_target_is_refused_with_the_known_names() {
        for target in Target::ALL {
            assert_eq!(Target::parse(target.name()), Ok(target));
        }
        for name in ["lm_head", "q_proj.weight", "Q_proj", ""] {
            assert_eq!(
                Target::parse(name).unwrap_err().to_string(),
                format!(
                    "unknown target module `{name}`: q_proj, k_proj, v_proj, o_proj, gate_proj, \
                     up_proj, down_proj are known"
                )
            );
        }
    }

    #[test]
    fn settings_that_make_no_adapter_are_refused() {
        let good = lora(2, &[Target::V, Target::Q]);
        assert_eq!(good.check(), Ok(()));
        assert_eq!(good.scale(), 3.0);
        let changed = |change: fn(&mut LoraConfig)| {
            let mut bad = good.clone();
            change(&mut bad);
            bad.check().unwrap_err().to_string()
        };
        for (found, expected) in [
            (changed(|lora| lora.rank = 0), "the rank is 0"),
            (
                changed(|lora| lora.alpha = 0.0),
                "alpha is 0; it must be above 0",
            ),
            (
                changed(|lora| lora.alpha = f64::NAN),
                "alpha is NaN; it must be above 0",
            ),
            (
                changed(|lora| lora.dropout = 1.0),
                "dropout is 1; it must be at least 0 and below 1",
            ),
            (
                changed(|lora| lora.dropout = -0.1),
                "dropout is -0.1; it must be at least 0 and below 1",
            ),
            (changed(|lora| lora.targets.clear()), "no target module"),
            (
                changed(|lora| lora.targets.push(Target::V)),
                "target module `v_proj` is named twice",
            ),
        ] {
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn parameters_go_layer_by_layer_in_the_order_of_all_targets() {
        // hidden 24, inner 36, queries 24, keys 12.
        let config = fixture::config();
        let all = adapter_parameters(&config, &lora(3, &[Target::Down, Target::K, Target::O]));
        let found: Vec<(&str, &[usize])> = all
            .iter()
            .map(|parameter| (parameter.name.as_str(), parameter.shape.as_slice()))
            .collect();
        let of_layer: [(&str, &[usize]); 6] = [
            ("self_attn.k_proj.lora_A", &[24, 3]),
            ("self_attn.k_proj.lora_B", &[3, 12]),
            ("self_attn.o_proj.lora_A", &[24, 3]),
            ("self_attn.o_proj.lora_B", &[3, 24]),
            ("mlp.down_proj.lora_A", &[36, 3]),
            ("mlp.down_proj.lora_B", &[3, 24]),
        ];
        let expected: Vec<(String, &[usize])> = (0..2)
            .flat_map(|layer_idx| {
                of_layer
                    .map(|(name, shape)| (format!("model.layers.{layer_idx}.{name}.weight"), shape))
            })
            .collect();
        let expected: Vec<(&str, &[usize])> = expected
            .iter()
            .map(|(name, shape)| (name.as_str(), *shape))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn every_target_has_the_shape_of_its_projection() {
        for family in [Family::Llama, Family::Qwen2, Family::Qwen3] {
            let config = ModelConfig {
                family,
                ..fixture::config()
            };
            let of_model = parameters(&config);
            for pair in adapter_parameters(&config, &lora(5, &Target::ALL)).chunks(2) {
                let name = pair[0].name.replace("lora_A.", "");
                let projection = of_model.iter().find(|p| p.name == name).unwrap();
                assert_eq!(
                    [pair[0].shape[0], pair[1].shape[1]],
                    projection.shape[..],
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn a_fresh_adapter_is_spread_evenly_and_merges_to_the_same_weights() {
        let config = fixture::config();
        let adapter = fresh(&config, lora(40, &Target::ALL));
        let all = adapter_parameters(&config, &adapter.config);
        for (parameter, values) in all.iter().zip(adapter.weights.values()) {
            if !is_a(parameter) {
                assert!(values.iter().all(|value| *value == 0.0));
                continue;
            }
            let bound = 1.0 / (parameter.shape[0] as f32).sqrt();
            assert!(values.iter().all(|value| value.abs() <= bound));
            // A uniform number's mean square is a third of its bound's; of 960 numbers within a tenth.
            let square = values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32;
            let ratio = square / (bound * bound / 3.0);
            assert!((0.88..1.12).contains(&ratio), "{} {ratio}", parameter.name);
        }
        let init = Initialisation {
            embedding_std: 1.0,
            q_norm_gain: 1.0,
        };
        let weights = Weights::from_scratch(&config, init, &mut ChaCha8Rng::seed_from_u64(2));
        assert_eq!(adapter.merged(&config, &weights), weights);
    }

    #[test]
    fn merging_adds_the_scaled_product() {
        let config = ModelConfig {
            n_layers: 1,
            ..fixture::config()
        };
        let mut adapter = fresh(&config, lora(2, &[Target::K]));
        adapter.weights.values[0] = (0..48).map(|i| i as f32).collect();
        adapter.weights.values[1] = (0..24).map(|i| i as f32 / 8.0).collect();
        let weights = Weights::assemble(&config, |parameter| {
            Ok::<_, ()>(vec![1.0; parameter.n_values()])
        });
        let weights = weights.unwrap();
        let merged = adapter.merged(&config, &weights);
        let changed: Vec<usize> = (0..merged.values.len())
            .filter(|place| merged.values[*place] != weights.values[*place])
            .collect();
        let place = Places::new(&config).layers[0].qkv[1];
        assert_eq!(changed, [place]);
        // Row 5, column 3: 1 + 6 / 2 · (10 · 3 / 8 + 11 · 15 / 8)
        assert_eq!(merged.values[place][5 * 12 + 3], 74.125);
    }

    #[test]
    #[should_panic = "the rank is 0"]
    fn an_adapter_without_rank_is_refused() {
        fresh(&fixture::config(), lora(0, &Target::ALL));
    }
}
