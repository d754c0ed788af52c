//! What the benches share: a small model with random weights, made-up ids, and groups that take seconds.

use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, measurement::WallTime};
use longhand_engine::{Cpu, Family, Initialisation, Model, ModelConfig, Precision, Weights};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Ids that the model knows.
pub(crate) const N_IDS: usize = 1024;

/// A model of 3.7 million parameters, in the precision that a policy takes on this machine. It has no
/// end ids, so every completion is as long as asked for. Says what it computes on, since the numbers mean
/// nothing without it.
pub(crate) fn small_model() -> (Model, Weights) {
    let cpu = Cpu::detect();
    let config = ModelConfig {
        family: Family::Llama,
        vocab_size: N_IDS,
        hidden_size: 256,
        intermediate_size: 768,
        n_layers: 4,
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 64,
        rope_theta: 10_000.0,
        rope_scaling: longhand_engine::RopeScaling::Unscaled,
        norm_eps: 1e-5,
        tie_embeddings: false,
        max_positions: 4096,
        end_ids: vec![],
    };
    let init = Initialisation {
        embedding_std: 1.0,
        q_norm_gain: 1.0,
    };
    let weights = Weights::from_scratch(&config, init, &mut ChaCha8Rng::seed_from_u64(1));
    let format = Precision::Auto.format(&cpu, &config);
    println!("{}, {format:?}, {} threads", cpu.isa(), cpu.n_threads());
    let model = Model::new(&cpu, &config, N_IDS, &weights, format);
    (model, weights)
}

/// Ids that differ from those of another salt at the first already.
pub(crate) fn ids(n: usize, salt: usize) -> Vec<u32> {
    let id = |i: usize| (salt + i * 389 + i / 7) % N_IDS;
    (0..n).map(|i| id(i) as u32).collect()
}

/// A group whose every line takes about two seconds.
pub(crate) fn group<'a>(c: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500));
    group
}
