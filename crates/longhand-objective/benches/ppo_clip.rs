//! How many tokens a second does PPO's clipped objective evaluate, gradient included, out of 100,000?

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use longhand_objective::{Objective, TokenBatch};

const N_CONTEXTS: usize = 1000;
const N_TOKENS: usize = 100 * N_CONTEXTS;

fn of_a_batch(c: &mut Criterion) {
    // Both signs of advantages, and ratios on both sides of the clip.
    let number = |idx: usize, step: usize| ((idx * step) % 1009) as f64 / 1009.0;
    let all = |of: &dyn Fn(usize) -> f64| -> Vec<f64> { (0..N_TOKENS).map(of).collect() };
    let old_logprobs = all(&|idx| -3.0 * number(idx, 7919));
    let logprobs = all(&|idx| old_logprobs[idx] + 0.6 * (number(idx, 31) - 0.5));
    let advantages = all(&|idx| number(idx, 101) - 0.5);
    let batch = TokenBatch {
        lengths: &[N_TOKENS / N_CONTEXTS; N_CONTEXTS],
        logprobs: &logprobs,
        old_logprobs: &old_logprobs,
        advantages: &advantages,
        loss_mask: &vec![true; N_TOKENS],
        weights: &vec![1.0 / N_TOKENS as f64; N_TOKENS],
        ref_logprobs: None,
        rollout_logprobs: None,
    };
    let objective = Objective::default();
    let mut group = c.benchmark_group("objective of 100,000 tokens");
    group.throughput(Throughput::Elements(N_TOKENS as u64));
    group.bench_function("ppo-clip", |b| b.iter(|| objective.evaluate(&batch)));
    group.finish();
}

criterion_group!(benches, of_a_batch);
criterion_main!(benches);
