//! The trained numbers of a model in f32, and gradients of the same shapes.

use longhand_kernels::{AdamW, Cpu, adamw, sum_of_squares};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::{
    ModelConfig,
    parameters::{Parameter, parameters},
};

/// The spread of freshly drawn weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Initialisation {
    /// Standard deviation of the embedding.
    pub embedding_std: f64,
    /// First gain of the query norm, where the family has one; above 1 sharpens early attention.
    pub q_norm_gain: f64,
}

/// One list of numbers for each of a model's [`parameters`], in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    pub(crate) values: Vec<Vec<f32>>,
}

impl Weights {
    /// Takes values by parameter: `source` is asked for each, in their order.
    ///
    /// # Errors
    /// Those of `source`.
    ///
    /// # Panics
    /// When a list has another length than its shape says.
    pub fn assemble<E>(
        config: &ModelConfig,
        mut source: impl FnMut(&Parameter) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        let take = |parameter: &Parameter| {
            let values = source(parameter)?;
            assert_eq!(values.len(), parameter.n_values(), "{}", parameter.name);
            Ok(values)
        };
        let values = parameters(config)
            .iter()
            .map(take)
            .collect::<Result<_, E>>()?;
        Ok(Self { values })
    }

    /// Draws the weights: projections `N(0, 1/√fan_in)`, the two that write to the residual stream
    /// further divided by `√(2 · layers)`, the head `N(0, 1/√hidden)`, norms at one, biases at zero.
    pub fn from_scratch(config: &ModelConfig, init: Initialisation, rng: &mut ChaCha8Rng) -> Self {
        let draw = |parameter: &Parameter| {
            let fan_in = (parameter.shape[0] as f64).sqrt();
            let (name, n) = (&parameter.name, parameter.n_values());
            let std = match name.rsplit('.').nth(1).unwrap_or_default() {
                "embed_tokens" => init.embedding_std,
                "o_proj" | "down_proj" => 1.0 / fan_in / (2.0 * config.n_layers as f64).sqrt(),
                "q_norm" => return Ok(vec![init.q_norm_gain as f32; n]),
                _ if name.ends_with(".bias") => return Ok(vec![0.0; n]),
                _ if parameter.shape.len() == 1 => return Ok(vec![1.0; n]),
                _ => 1.0 / fan_in,
            };
            let mut next = || {
                let z: f64 = StandardNormal.sample(rng);
                (z * std) as f32
            };
            Ok::<_, std::convert::Infallible>((0..n).map(|_| next()).collect())
        };
        Self::assemble(config, draw).unwrap_or_else(|never| match never {})
    }

    /// Zeros of the same shapes.
    pub fn zeros_like(&self) -> Self {
        let zeros = |values: &Vec<f32>| vec![0.0; values.len()];
        Self {
            values: self.values.iter().map(zeros).collect(),
        }
    }

    /// Sets every number.
    pub fn fill(&mut self, cpu: &Cpu, value: f32) {
        // Memory is the limit, and each list is touched by whoever will add to it.
        let lists: Vec<_> = self.values.iter_mut().map(std::sync::Mutex::new).collect();
        cpu.for_each(lists.len(), |i| {
            if let Ok(mut list) = lists[i].lock() {
                list.fill(value);
            }
        });
    }

    /// The lists, in the order of [`parameters`].
    pub fn values(&self) -> &[Vec<f32>] {
        &self.values
    }

    /// The same, to change.
    pub fn values_mut(&mut self) -> &mut [Vec<f32>] {
        &mut self.values
    }
}

/// `√Σ g²` over all parameters.
pub fn global_norm(cpu: &Cpu, gradients: &Weights) -> f64 {
    let lists = gradients.values.iter();
    lists
        .map(|list| sum_of_squares(cpu, list))
        .sum::<f64>()
        .sqrt()
}

/// One step of AdamW for every parameter, along `gradients * scale`; see [`AdamW`].
///
/// # Panics
/// When the five are not of the same model.
pub fn adamw_step(
    cpu: &Cpu,
    step: &AdamW,
    scale: f32,
    weights: &mut Weights,
    gradients: &Weights,
    m: &mut Weights,
    v: &mut Weights,
) {
    let n = weights.values.len();
    assert_eq!(
        (gradients.values.len(), m.values.len(), v.values.len()),
        (n, n, n)
    );
    let moments = m.values.iter_mut().zip(&mut v.values);
    for ((weight, gradient), (m, v)) in weights
        .values
        .iter_mut()
        .zip(&gradients.values)
        .zip(moments)
    {
        adamw(cpu, step, scale, weight, gradient, m, v);
    }
}
