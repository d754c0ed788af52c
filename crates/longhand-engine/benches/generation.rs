//! How many tokens a second does the generator read, and how many does it write, alone and in company?
//!
//! Reading: prompts of 512 tokens, each followed by one token. Writing: 128 tokens after prompts of 16,
//! which are part of the time.

mod small_model;

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use longhand_engine::Generator;
use longhand_rollout::{Generate, Purpose, Request, Sampling, StreamBase};

/// Requests that share nothing.
fn requests(n: usize, n_prompt: usize, max_tokens: usize) -> Vec<Request> {
    let streams = StreamBase {
        seed: 1,
        purpose: Purpose::ROLLOUT,
        step: 0,
    };
    let request = |idx: usize| Request {
        prompt: small_model::ids(n_prompt, idx),
        max_tokens,
        group: idx,
        key: streams.key(idx as u64, 0, 0),
    };
    (0..n).map(request).collect()
}

fn generation(c: &mut Criterion) {
    let mut generator = Generator::new(Arc::new(small_model::small_model().0));
    for (name, n_prompt, max_tokens, n_counted) in
        [("prefill", 512, 1, 512), ("decode", 16, 128, 128)]
    {
        let mut group = small_model::group(c, name);
        for n_requests in [1, 8] {
            let requests = requests(n_requests, n_prompt, max_tokens);
            group.throughput(Throughput::Elements((n_requests * n_counted) as u64));
            group.bench_function(BenchmarkId::from_parameter(n_requests), |b| {
                b.iter(|| generator.generate(&requests, &Sampling::at(1.0)));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, generation);
criterion_main!(benches);
