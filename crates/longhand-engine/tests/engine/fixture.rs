//! Small random models, contexts of uneven shapes, and losses over them.

use longhand_engine::{
    Cpu, Family, Format, Initialisation, Model, ModelConfig, ScoreGradient, TokenScores, Weights,
    parameters,
};
use longhand_rollout::Context;
use proptest::{collection::vec, prelude::*};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::naive::log_softmax_after_each;

/// A model and what it is made of; it has more embedding rows than ids that count.
#[derive(Clone)]
pub(crate) struct Small {
    pub(crate) config: ModelConfig,
    pub(crate) n_ids: usize,
    pub(crate) weights: Weights,
}

impl Small {
    pub(crate) fn new(family: Family, tie_embeddings: bool) -> Self {
        let config = ModelConfig {
            family,
            vocab_size: 32,
            hidden_size: 12,
            intermediate_size: 20,
            n_layers: 2,
            n_heads: 4,
            n_kv_heads: 2,
            head_dim: 6,
            rope_theta: 10_000.0,
            rope_scaling: longhand_engine::RopeScaling::Unscaled,
            norm_eps: 1e-5,
            tie_embeddings,
            max_positions: 256,
            end_ids: vec![1],
        };
        let init = Initialisation {
            embedding_std: 1.0,
            q_norm_gain: 1.5,
        };
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut weights = Weights::from_scratch(&config, init, &mut rng);
        // Norms and biases that do something.
        for values in weights.values_mut().iter_mut().filter(|v| v.len() <= 24) {
            for value in values {
                *value += rng.random_range(-0.2..0.2);
            }
        }
        Self {
            config,
            n_ids: 29,
            weights,
        }
    }

    pub(crate) fn named_weights(&self) -> Vec<(String, Vec<f32>)> {
        let names = parameters(&self.config).into_iter().map(|p| p.name);
        names.zip(self.weights.values().to_vec()).collect()
    }

    pub(crate) fn model(&self, cpu: &Cpu) -> Model {
        self.model_in(cpu, Format::F32)
    }

    pub(crate) fn model_in(&self, cpu: &Cpu, format: Format) -> Model {
        Model::new(cpu, &self.config, self.n_ids, &self.weights, format)
    }
}

/// Prompts with completions.
pub(crate) type Owned = Vec<(Vec<u32>, Vec<u32>)>;

pub(crate) fn contexts(owned: &Owned) -> Vec<Context<'_>> {
    owned
        .iter()
        .map(|(prompt, completion)| Context {
            group: 0,
            prompt,
            completion,
        })
        .collect()
}

/// Three contexts of which two begin in common, and a fourth that goes on as the first for a while: some
/// rows predict several tokens.
pub(crate) fn few() -> Owned {
    let trunk: Vec<u32> = (0..18).map(|i| i * 5 % 29).collect();
    vec![
        (trunk.clone(), vec![3, 4, 5]),
        ([&trunk[..17], &[9]].concat(), vec![3, 6]),
        (vec![2, 8], vec![7]),
        (trunk, vec![3, 9]),
    ]
}

/// `Σ (a · logprob + b · entropy)` over sampled tokens.
pub(crate) struct Loss {
    logprobs: Vec<f32>,
    entropies: Option<Vec<f32>>,
}

impl Loss {
    pub(crate) fn of_logprobs(owned: &Owned) -> Self {
        let n: usize = owned.iter().map(|(_, completion)| completion.len()).sum();
        Self {
            logprobs: (0..n).map(|i| ((i * 7) % 5) as f32 - 1.5).collect(),
            entropies: None,
        }
    }

    pub(crate) fn of_entropies(owned: &Owned) -> Self {
        let both = Self::of_both(owned);
        Self {
            logprobs: vec![0.0; both.logprobs.len()],
            ..both
        }
    }

    pub(crate) fn of_both(owned: &Owned) -> Self {
        let of_logprobs = Self::of_logprobs(owned);
        let n = of_logprobs.logprobs.len();
        Self {
            entropies: Some((0..n).map(|i| ((i * 5) % 7) as f32 - 2.5).collect()),
            ..of_logprobs
        }
    }

    /// The loss of these tokens alone.
    pub(crate) fn part(&self, tokens: std::ops::Range<usize>) -> Self {
        Self {
            logprobs: self.logprobs[tokens.clone()].to_vec(),
            entropies: self.entropies.as_ref().map(|of| of[tokens].to_vec()),
        }
    }

    pub(crate) fn gradient(&self) -> ScoreGradient<'_> {
        ScoreGradient {
            logprobs: &self.logprobs,
            entropies: self.entropies.as_deref(),
        }
    }

    /// Its value for log-probabilities and entropies.
    pub(crate) fn value(&self, scores: impl IntoIterator<Item = (f64, f64)>) -> f64 {
        let value = |(i, (logprob, entropy)): (usize, (f64, f64))| {
            let of_entropy = self.entropies.as_ref().map_or(0.0, |of| f64::from(of[i]));
            f64::from(self.logprobs[i]) * logprob + of_entropy * entropy
        };
        scores.into_iter().enumerate().map(value).sum()
    }

    pub(crate) fn value_of(&self, scores: &TokenScores) -> f64 {
        let pairs = scores.logprobs.iter().zip(&scores.entropies);
        self.value(pairs.map(|(logprob, entropy)| (f64::from(*logprob), f64::from(*entropy))))
    }

    /// Its value for the naive model.
    pub(crate) fn naive_value(&self, small: &Small, owned: &Owned, temperature: f64) -> f64 {
        let mut scores = Vec::new();
        for (prompt, completion) in owned {
            let run = [prompt.as_slice(), completion].concat();
            let rows = log_softmax_after_each(small, &run, temperature);
            for (id, row) in completion.iter().zip(&rows[prompt.len() - 1..]) {
                let entropy = -row
                    .iter()
                    .map(|logprob| logprob.exp() * logprob)
                    .sum::<f64>();
                scores.push((row[*id as usize], entropy));
            }
        }
        self.value(scores)
    }
}

/// Contexts that part at many places: within a page, at its border, behind it, in prompts and completions.
pub(crate) fn uneven() -> Owned {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut ids = |n: usize| -> Vec<u32> { (0..n).map(|_| rng.random_range(0..29)).collect() };
    let trunk = ids(40);
    let mut owned: Owned = [3, 16, 17, 20, 32, 33, 40]
        .into_iter()
        .map(|n| ([&trunk[..n], &ids(5)].concat(), ids(4)))
        .collect();
    let (prompt, completion) = (trunk[..35].to_vec(), ids(20));
    owned.push((prompt.clone(), completion.clone()));
    owned.push((prompt.clone(), completion.clone()));
    owned.push((prompt.clone(), [&completion[..7], &ids(2)].concat()));
    owned.push((prompt, vec![]));
    owned.push((ids(1), ids(1)));
    owned
}

/// Any few contexts over few ids, so that they share a lot.
pub(crate) fn any_contexts() -> impl Strategy<Value = Owned> {
    let tokens = |max: usize, min: usize| vec(0_u32..3, min..max);
    vec((tokens(40, 1), tokens(6, 0)), 1..7).prop_filter("something sampled", |owned| {
        owned.iter().any(|(_, c)| !c.is_empty())
    })
}

pub(crate) fn max_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}
