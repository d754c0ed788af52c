//! What does sharing a beginning save when scoring? Tokens of contexts a second, shared and not.
//!
//! `G` contexts of `P` tokens in common and `S` of their own are `G (P + S)` rows when each is run by
//! itself, and `P + G S` rows when the beginning is run once: the prediction is their ratio. It counts
//! rows only. For the rows behind the beginning, neither attention to it nor the head is saved; on the
//! other hand, fewer rows and keys stay in the caches. What is measured is printed beside it.

mod small_model;

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use longhand_engine::Model;
use longhand_rollout::{Context, PrefixTree};

/// `(P, S, G)`: chat turns, a chunk with its notes, a long document with short answers, hardly anything.
const CASES: [(usize, usize, usize); 4] = [(64, 64, 8), (256, 64, 8), (512, 16, 8), (16, 128, 4)];

/// A case's contexts as prompts and completions, sharing their beginning, or parting at the first token.
fn owned(case: (usize, usize, usize), shares: bool) -> Vec<(Vec<u32>, Vec<u32>)> {
    let (n_prefix, n_suffix, n_contexts) = case;
    let context = |idx: usize| {
        let prompt = small_model::ids(n_prefix, if shares { 0 } else { idx });
        // The last sampled token is not run: it predicts nothing.
        (prompt, small_model::ids(n_suffix + 1, idx))
    };
    (0..n_contexts).map(context).collect()
}

fn contexts(owned: &[(Vec<u32>, Vec<u32>)]) -> Vec<Context<'_>> {
    let context = |(prompt, completion)| Context {
        group: 0,
        prompt,
        completion,
    };
    owned.iter().map(|(p, c)| context((p, c))).collect()
}

/// The shortest of a few passes: the one that was disturbed least.
fn shortest(model: &Model, contexts: &[Context<'_>]) -> Duration {
    let pass = || {
        let start = Instant::now();
        std::hint::black_box(model.score(contexts, 1.0));
        start.elapsed()
    };
    (0..5).map(|_| pass()).min().unwrap_or_default()
}

fn sharing(c: &mut Criterion) {
    let model = small_model::small_model().0;
    for case in CASES {
        let (n_prefix, n_suffix, n_contexts) = case;
        let (shared, apart) = (owned(case, true), owned(case, false));
        let (shared, apart) = (contexts(&shared), contexts(&apart));
        let rows = [&shared, &apart].map(|contexts| PrefixTree::new(contexts).n_shared());
        let n_apart = n_contexts * (n_prefix + n_suffix);
        assert_eq!(rows, [n_prefix + n_contexts * n_suffix, n_apart]);

        let name = format!("score P={n_prefix} S={n_suffix} G={n_contexts}");
        let measured =
            shortest(&model, &apart).as_secs_f64() / shortest(&model, &shared).as_secs_f64();
        let predicted = rows[1] as f64 / rows[0] as f64;
        println!("{name}: sharing predicted {predicted:.2} times as fast, measured {measured:.2}");

        let mut group = small_model::group(c, &name);
        // The same is asked of both: every token of every context counts.
        group.throughput(Throughput::Elements(n_apart as u64));
        group.bench_function("shared", |b| b.iter(|| model.score(&shared, 1.0)));
        group.bench_function("apart", |b| b.iter(|| model.score(&apart, 1.0)));
        group.finish();
    }
}

criterion_group!(benches, sharing);
criterion_main!(benches);
