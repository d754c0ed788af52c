//! Half-split rotary position embedding, as Llama and Qwen use it (arXiv:2104.09864).
//!
//! The first and second half of a head form the pairs: `(x1 cos − x2 sin, x2 cos + x1 sin)`.
//!
//! Written as `x · cos + (x R) · sin` with a constant matrix `R` that swaps the halves and negates the
//! first: one small product and contiguous element-wise passes, where slicing the halves apart would make
//! the CPU backend walk element by element.

use burn::tensor::{Tensor, TensorData, backend::Backend};

/// The rotation of every token of a pass, for queries and for keys.
#[derive(Clone, Debug)]
pub(crate) struct Rotation<B: Backend> {
    /// `[head_dim, head_dim]`
    swap: Tensor<B, 2>,
    of_queries: Angles<B>,
    of_keys: Angles<B>,
}

/// Cosines and sines, each `[n_tokens, heads * head_dim]`.
#[derive(Clone, Debug)]
struct Angles<B: Backend> {
    cos: Tensor<B, 2>,
    sin: Tensor<B, 2>,
}

impl<B: Backend> Rotation<B> {
    /// The rotation of each token by its position; `frequencies` `[head_dim / 2]` in radians a position.
    pub(crate) fn new(
        positions: &[usize],
        n_heads: usize,
        n_kv_heads: usize,
        frequencies: &[f64],
        device: &B::Device,
    ) -> Self {
        let half = frequencies.len();
        let head_dim = 2 * half;
        // In f64 and on the host: far positions turn by many circles. Heads are repeated on the device.
        let of_angles = |function: fn(f64) -> f64| {
            let angles = positions
                .iter()
                .flat_map(|&position| frequencies.iter().map(move |f| position as f64 * f));
            let values: Vec<f32> = angles.map(|angle| function(angle) as f32).collect();
            Tensor::from_data(TensorData::new(values, [positions.len(), half]), device)
        };
        let (cos, sin) = (of_angles(f64::cos), of_angles(f64::sin));
        let of_heads = |heads: usize| Angles {
            cos: cos.clone().repeat_dim(1, 2 * heads),
            sin: sin.clone().repeat_dim(1, 2 * heads),
        };
        let of_queries = of_heads(n_heads);
        let of_keys = if n_heads == n_kv_heads {
            of_queries.clone()
        } else {
            of_heads(n_kv_heads)
        };
        let mut swap = vec![0.0_f32; head_dim * head_dim];
        for i in 0..half {
            swap[(i + half) * head_dim + i] = -1.0;
            swap[i * head_dim + i + half] = 1.0;
        }
        let swap = Tensor::from_data(TensorData::new(swap, [head_dim, head_dim]), device);
        Self {
            swap,
            of_queries,
            of_keys,
        }
    }

    /// Rotates queries `[n_tokens, heads, head_dim]`.
    pub(crate) fn queries(&self, q: Tensor<B, 3>) -> Tensor<B, 3> {
        self.apply(q, &self.of_queries)
    }

    /// Rotates keys `[n_tokens, kv_heads, head_dim]`.
    pub(crate) fn keys(&self, k: Tensor<B, 3>) -> Tensor<B, 3> {
        self.apply(k, &self.of_keys)
    }

    fn apply(&self, x: Tensor<B, 3>, angles: &Angles<B>) -> Tensor<B, 3> {
        let [n_tokens, heads, head_dim] = x.dims();
        let swapped = x
            .clone()
            .reshape([n_tokens * heads, head_dim])
            .matmul(self.swap.clone())
            .reshape([n_tokens, heads * head_dim]);
        let x = x.reshape([n_tokens, heads * head_dim]);
        (x * angles.cos.clone() + swapped * angles.sin.clone()).reshape([n_tokens, heads, head_dim])
    }
}
