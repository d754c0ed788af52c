//! Small models for the tests.

use longhand_engine::{Family, Initialisation, ModelConfig, Weights};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// One of each family, with the head tied and not.
pub(crate) fn configs() -> Vec<ModelConfig> {
    let families = [Family::Llama, Family::Qwen2, Family::Qwen3];
    let config = |(family, tie_embeddings)| ModelConfig {
        family,
        vocab_size: 11,
        hidden_size: 8,
        intermediate_size: 12,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 6,
        rope_theta: 10_000.0,
        rope_scaling: longhand_engine::RopeScaling::Unscaled,
        norm_eps: 1e-5,
        tie_embeddings,
        max_positions: 64,
        end_ids: vec![1],
    };
    let pairs = families
        .into_iter()
        .flat_map(|family| [(family, true), (family, false)]);
    pairs.map(config).collect()
}

pub(crate) fn weights(config: &ModelConfig) -> Weights {
    let init = Initialisation {
        embedding_std: 1.0,
        q_norm_gain: 1.5,
    };
    Weights::from_scratch(config, init, &mut ChaCha8Rng::seed_from_u64(4))
}
