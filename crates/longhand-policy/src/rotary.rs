//! Half-split rotary position embedding, as Llama and Qwen use it (arXiv:2104.09864).
//!
//! The first and second half of a head form the pairs: `(x1 cos − x2 sin, x2 cos + x1 sin)`.

use burn::tensor::{Tensor, TensorData, backend::Backend};

/// Cosines and sines for a list of positions, each `[n_tokens, 1, head_dim / 2]`.
#[derive(Clone, Debug)]
pub(crate) struct Rotation<B: Backend> {
    cos: Tensor<B, 3>,
    sin: Tensor<B, 3>,
}

impl<B: Backend> Rotation<B> {
    /// The rotation of each token by its position.
    pub(crate) fn new(
        positions: &[usize],
        head_dim: usize,
        theta: f64,
        device: &B::Device,
    ) -> Self {
        let half = head_dim / 2;
        let mut cos = Vec::with_capacity(positions.len() * half);
        let mut sin = Vec::with_capacity(positions.len() * half);
        let frequencies: Vec<f64> = (0..half)
            .map(|i| theta.powf(-2.0 * i as f64 / head_dim as f64))
            .collect();
        for &position in positions {
            for frequency in &frequencies {
                let angle = position as f64 * frequency;
                cos.push(angle.cos() as f32);
                sin.push(angle.sin() as f32);
            }
        }
        let tensor =
            |values| Tensor::from_data(TensorData::new(values, [positions.len(), 1, half]), device);
        Self {
            cos: tensor(cos),
            sin: tensor(sin),
        }
    }

    /// Rotates queries or keys `[n_tokens, heads, head_dim]`.
    pub(crate) fn apply(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        let [n_tokens, heads, head_dim] = x.dims();
        let half = head_dim / 2;
        let x1 = x.clone().slice([0..n_tokens, 0..heads, 0..half]);
        let x2 = x.slice([0..n_tokens, 0..heads, half..head_dim]);
        let first = x1.clone() * self.cos.clone() - x2.clone() * self.sin.clone();
        let second = x2 * self.cos.clone() + x1 * self.sin.clone();
        Tensor::cat(vec![first, second], 2)
    }
}
