//! What does sharing a prefix save when scoring? Scored contexts' tokens per second, shared and not.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use longhand_benches::{Quickstart, groups};
use longhand_rollout::{PrefixGroup, Suffix};

fn scoring(c: &mut Criterion) {
    let quickstart = Quickstart::load();
    let shared = groups(12, 8, 56, 6);
    let unshared: Vec<PrefixGroup> = shared
        .iter()
        .flat_map(|group| {
            group.suffixes.iter().map(|suffix| PrefixGroup {
                prefix: Vec::new(),
                suffixes: vec![Suffix {
                    given: [group.prefix.as_slice(), &suffix.given].concat(),
                    sampled: suffix.sampled.clone(),
                }],
            })
        })
        .collect();
    // The same work is asked of both: every token of every context counts.
    let n_tokens: usize = shared.iter().map(PrefixGroup::n_unshared).sum();
    let mut group = c.benchmark_group("score");
    group
        .sample_size(20)
        .throughput(Throughput::Elements(n_tokens as u64));
    group.bench_function("shared prefix", |b| {
        b.iter(|| quickstart.policy.score(&shared, 1.0))
    });
    group.bench_function("nothing shared", |b| {
        b.iter(|| quickstart.policy.score(&unshared, 1.0))
    });
    group.finish();
}

criterion_group!(benches, scoring);
criterion_main!(benches);
