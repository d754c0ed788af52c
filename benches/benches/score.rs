//! What does sharing a prefix save when scoring? Scored contexts' tokens per second, shared and not.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use longhand_benches::{Quickstart, contexts};
use longhand_rollout::Context;

fn scoring(c: &mut Criterion) {
    let quickstart = Quickstart::load();
    let owned = contexts(12, 8, 56, 6);
    let together: Vec<Context<'_>> = owned
        .iter()
        .map(|(prompt, completion)| Context {
            group: 0,
            prompt,
            completion,
        })
        .collect();
    // The same work is asked of both: every token of every context counts.
    let n_tokens: usize = together.iter().map(Context::n_run).sum();
    let mut group = c.benchmark_group("score");
    group
        .sample_size(20)
        .throughput(Throughput::Elements(n_tokens as u64));
    group.bench_function("shared prefix", |b| {
        b.iter(|| quickstart.policy.score(&together, 1.0))
    });
    group.bench_function("one context after the other", |b| {
        b.iter(|| {
            for alone in &together {
                std::hint::black_box(quickstart.policy.score(std::slice::from_ref(alone), 1.0));
            }
        })
    });
    group.finish();
}

criterion_group!(benches, scoring);
criterion_main!(benches);
