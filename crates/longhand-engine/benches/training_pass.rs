//! How many rows a second does a training pass send forwards and back, and what does computing a layer
//! again cost?
//!
//! The contexts are eight attempts of 64 tokens after 256 in common, whose rows are counted once.

mod small_model;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use longhand_engine::{Keep, PassBuffers};
use longhand_rollout::{Context, PrefixTree};

fn training_pass(c: &mut Criterion) {
    let (model, weights) = small_model::small_model();
    let mut gradients = weights.zeros_like();
    let prompt = small_model::ids(256, 0);
    let completions: Vec<Vec<u32>> = (0..8).map(|idx| small_model::ids(64, idx)).collect();
    let context = |completion| Context {
        group: 0,
        prompt: &prompt,
        completion,
    };
    let contexts: Vec<Context<'_>> = completions.iter().map(|c| context(c)).collect();
    let n_targets: usize = completions.iter().map(Vec::len).sum();
    let grad: Vec<f32> = (0..n_targets).map(|i| (i as f32).sin() * 1e-2).collect();

    let mut group = small_model::group(c, "training pass");
    let n_rows = PrefixTree::new(&contexts).n_shared();
    group.throughput(Throughput::Elements(n_rows as u64));
    for keep in [Keep::Activations, Keep::Checkpoints] {
        let mut buffers = PassBuffers::default();
        group.bench_function(format!("{keep:?}").to_lowercase(), |b| {
            b.iter(|| {
                let pass = model.forward(&contexts, 1.0, keep, std::mem::take(&mut buffers), None);
                buffers = pass.backward(&model, &weights, &grad, &mut gradients);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, training_pass);
criterion_main!(benches);
