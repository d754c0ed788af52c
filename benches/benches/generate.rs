//! How fast does a group of readers read? Sampled tokens per second of the quickstart's rollouts.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use longhand_benches::Quickstart;
use longhand_rollout::{CollectOptions, Purpose, Sampling, StreamBase, collect};

fn rollouts(c: &mut Criterion) {
    let quickstart = Quickstart::load();
    let problems = quickstart.problems(12);
    let options = CollectOptions {
        group_size: 8,
        sampling: Sampling::at(1.0),
        streams: StreamBase {
            seed: 1,
            purpose: Purpose::ROLLOUT,
            step: 0,
        },
        max_batch: 96,
        teacher: None,
    };
    let mut run = || {
        let mut generator = quickstart.policy.generator();
        collect(&mut generator, &problems, &quickstart.bench.setup, &options)
            .expect("the quickstart reads")
    };
    let n_sampled: usize = run()
        .iter()
        .flat_map(|group| &group.trajectories)
        .map(|t| t.n_sampled())
        .sum();
    let mut group = c.benchmark_group("generate");
    group
        .sample_size(10)
        .throughput(Throughput::Elements(n_sampled as u64));
    group.bench_function("quickstart rollouts, 12 problems x 8", |b| b.iter(&mut run));
    group.finish();
}

criterion_group!(benches, rollouts);
criterion_main!(benches);
