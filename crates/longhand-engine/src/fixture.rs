//! A small model for the tests.

use crate::{Family, ModelConfig};

pub(crate) fn config() -> ModelConfig {
    ModelConfig {
        family: Family::Qwen3,
        vocab_size: 23,
        hidden_size: 24,
        intermediate_size: 36,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 6,
        rope_theta: 10_000.0,
        rope_scaling: crate::RopeScaling::Unscaled,
        norm_eps: 1e-5,
        tie_embeddings: false,
        max_positions: 256,
        end_ids: vec![1],
    }
}
