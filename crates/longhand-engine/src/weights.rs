//! The trained numbers of a model in f32, and gradients of the same shapes.

use std::sync::Mutex;

use longhand_kernels::{AdamW, Cpu, adamw, sum_of_squares};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use xxhash_rust::xxh3::xxh3_128;

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

/// One list of numbers for each of a model's [`parameters`], or of an adapter's, in their order.
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
        source: impl FnMut(&Parameter) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        Self::of_parameters(&parameters(config), source)
    }

    /// The same for any parameters, as those of an adapter.
    ///
    /// # Errors
    /// Those of `source`.
    ///
    /// # Panics
    /// When a list has another length than its shape says.
    pub fn of_parameters<E>(
        parameters: &[Parameter],
        mut source: impl FnMut(&Parameter) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        let take = |parameter: &Parameter| {
            let values = source(parameter)?;
            assert_eq!(values.len(), parameter.n_values(), "{}", parameter.name);
            Ok(values)
        };
        let values = parameters.iter().map(take).collect::<Result<_, E>>()?;
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

    /// Whether both have the same lists, whatever is in them.
    pub(crate) fn is_like(&self, other: &Weights) -> bool {
        let lengths = |weights: &Weights| weights.values.iter().map(Vec::len).collect::<Vec<_>>();
        lengths(self) == lengths(other)
    }

    /// Sets every number.
    pub fn fill(&mut self, cpu: &Cpu, value: f32) {
        // Memory is the limit, and each list is touched by whoever will add to it.
        let lists: Vec<_> = self.values.iter_mut().map(Mutex::new).collect();
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

    /// A digest of the numbers, bit for bit and in their order: XXH3 of 128 bits over that of each list.
    /// It tells versions apart; it does not keep anybody from making two alike.
    pub fn digest(&self, cpu: &Cpu) -> u128 {
        let digests = Mutex::new(vec![[0; 16]; self.values.len()]);
        cpu.for_each(self.values.len(), |i| {
            let digest = xxh3_128(bytemuck::cast_slice(&self.values[i]));
            if let Ok(mut digests) = digests.lock() {
                digests[i] = digest.to_le_bytes();
            }
        });
        xxh3_128(digests.into_inner().unwrap_or_default().as_flattened())
    }

    /// The first number that is NaN or infinite, with its parameter's place; none when all are finite.
    pub fn first_not_finite(&self, cpu: &Cpu) -> Option<NotFinite> {
        // The sum is as fast as memory; only when it is spoilt is the culprit looked for. It may
        // overflow over finite numbers too.
        if global_norm(cpu, self).is_finite() {
            return None;
        }
        let lists = self.values.iter().enumerate();
        let found = |(parameter_idx, list): (usize, &Vec<f32>)| {
            let value_idx = list.iter().position(|value| !value.is_finite())?;
            Some(NotFinite {
                parameter_idx,
                value_idx,
                value: list[value_idx],
            })
        };
        lists.filter_map(found).next()
    }
}

/// A number that is NaN or infinite, and its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NotFinite {
    /// Index into [`parameters`].
    pub parameter_idx: usize,
    /// Index into the parameter's list.
    pub value_idx: usize,
    /// NaN, or an infinity.
    pub value: f32,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(lists: &[&[f32]]) -> Weights {
        Weights {
            values: lists.iter().map(|list| list.to_vec()).collect(),
        }
    }

    #[test]
    fn the_digest_sees_every_bit_and_every_place_and_no_thread() {
        let digest = |lists: &[&[f32]]| weights(lists).digest(&Cpu::detect());
        let first = digest(&[&[1.0, 2.0], &[3.0]]);
        assert_eq!(first, digest(&[&[1.0, 2.0], &[3.0]]));
        for other in [
            [&[1.0, 2.0][..], &[3.000_000_2]],
            [&[2.0, 1.0], &[3.0]],
            [&[1.0], &[2.0, 3.0]],
            [&[1.0, 2.0], &[-3.0]],
        ] {
            assert_ne!(first, digest(&other), "{other:?}");
        }
        assert_ne!(digest(&[&[0.0]]), digest(&[&[-0.0]]));
        let one = std::num::NonZero::<usize>::MIN;
        let lists: Vec<Vec<f32>> = (0..9).map(|i| vec![i as f32; 1000 + i]).collect();
        let weights = Weights { values: lists };
        let alone = Cpu::new(longhand_kernels::Isa::Portable, one).unwrap();
        assert_eq!(weights.digest(&alone), weights.digest(&Cpu::detect()));
    }

    #[test]
    fn the_first_number_that_is_not_finite_is_found() {
        let found = |lists: &[&[f32]]| weights(lists).first_not_finite(&Cpu::detect());
        assert_eq!(found(&[&[1.0], &[2.0, 3.0]]), None);
        // Squares that overflow are no fault of the numbers.
        assert_eq!(found(&[&[1.0], &[f32::MAX; 40]]), None);
        for value in [f32::INFINITY, f32::NEG_INFINITY] {
            let place = found(&[&[1.0], &[2.0, value], &[f32::NAN]]).unwrap();
            assert_eq!((place.parameter_idx, place.value_idx), (1, 1));
            assert_eq!(place.value, value);
        }
        assert!(found(&[&[f32::NAN]]).unwrap().value.is_nan());
    }
}
