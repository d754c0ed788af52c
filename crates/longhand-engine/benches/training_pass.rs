//! How many rows a second does a training pass send forwards and back, what does computing a layer again
//! cost, and what does training an adapter alone save?
//!
//! The contexts are eight attempts of 64 tokens after 256 in common, whose rows are counted once.

mod small_model;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use longhand_engine::{Adapter, Keep, LoraConfig, PassBuffers, ScoreGradient, Target};
use longhand_rollout::{Context, PrefixTree};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

fn training_pass(c: &mut Criterion) {
    let (model, weights) = small_model::small_model();
    let mut of_model = weights.zeros_like();
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
    let grad = ScoreGradient {
        logprobs: &grad,
        entropies: None,
    };

    let mut group = small_model::group(c, "training pass");
    let n_rows = PrefixTree::new(&contexts).n_shared();
    group.throughput(Throughput::Elements(n_rows as u64));
    let lora = LoraConfig {
        rank: 16,
        alpha: 32.0,
        dropout: 0.0,
        targets: Target::ALL.to_vec(),
    };
    let adapter = Adapter::fresh(model.config(), lora, &mut ChaCha8Rng::seed_from_u64(2));
    let adapted = model.with_adapter(&adapter);
    let mut of_adapter = adapter.weights.zeros_like();
    for (name, model, keep) in [
        ("activations", &model, Keep::Activations),
        ("checkpoints", &model, Keep::Checkpoints),
        ("adapter", &adapted, Keep::Activations),
    ] {
        let mut buffers = PassBuffers::default();
        let gradients = match model.adapter_config() {
            Some(_) => &mut of_adapter,
            None => &mut of_model,
        };
        group.bench_function(name, |b| {
            b.iter(|| {
                let memory = std::mem::take(&mut buffers);
                let pass = model.forward(&contexts, 1.0, keep, memory, None);
                buffers = pass.backward(model, &weights, grad, gradients);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, training_pass);
criterion_main!(benches);
