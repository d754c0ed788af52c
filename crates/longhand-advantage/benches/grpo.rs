//! How many rewards a second does GRPO turn into advantages? A batch of 96 problems, 8 attempts each.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use longhand_advantage::{DEFAULT_EPS, Scale, grpo};

fn of_a_batch(c: &mut Criterion) {
    let reward = |idx: usize| ((idx * 7919) % 11) as f64 / 10.0;
    let groups: Vec<Vec<f64>> = (0..96)
        .map(|problem| {
            (0..8)
                .map(|attempt| reward(problem * 8 + attempt))
                .collect()
        })
        .collect();
    let mut group = c.benchmark_group("grpo of 96x8 rewards");
    group.throughput(Throughput::Elements(96 * 8));
    for scale in [Scale::Group, Scale::Batch] {
        group.bench_function(format!("{scale:?}").to_lowercase(), |b| {
            b.iter(|| grpo(&groups, scale, DEFAULT_EPS));
        });
    }
    group.finish();
}

criterion_group!(benches, of_a_batch);
criterion_main!(benches);
