//! How long does it take to cut a step's contexts into micro-batches and to join each along its prefixes?
//! Tokens of all contexts a second.
//!
//! A step: 6 problems, 16 attempts each, 5 turns. Attempts share question and chunk at every turn; notes
//! and completion are their own.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use longhand_rollout::{Context, PrefixTree, micro_batches};

const N_PROBLEMS: usize = 6;
const N_ATTEMPTS: usize = 16;
const N_TURNS: usize = 5;
/// Tokens of a question, a chunk, notes, and a completion.
const N_QUESTION: usize = 40;
const N_CHUNK: usize = 512;
const N_NOTES: usize = 96;
/// Tokens that a micro-batch may run.
const TOKEN_BUDGET: usize = 8192;

/// Made-up ids, other ones for another `salt`.
fn ids(n: usize, salt: usize) -> Vec<u32> {
    (0..n)
        .map(|i| ((salt * 7919 + i * 31 + i / 5) % 49_152) as u32)
        .collect()
}

/// Every context of a step, turn by turn as the trainer has them: problem, attempt, turn.
fn step() -> Vec<(usize, Vec<u32>, Vec<u32>)> {
    let mut owned = Vec::new();
    for problem in 0..N_PROBLEMS {
        for attempt in 0..N_ATTEMPTS {
            for turn in 0..N_TURNS {
                let of_turn = problem * N_TURNS + turn;
                let of_attempt = of_turn * N_ATTEMPTS + attempt;
                let prompt = [
                    ids(N_QUESTION, 1 + problem),
                    ids(N_CHUNK, 100 + of_turn),
                    ids(N_NOTES, 1000 + of_attempt),
                ];
                owned.push((problem, prompt.concat(), ids(N_NOTES, 5000 + of_attempt)));
            }
        }
    }
    owned
}

fn prefix_tree(c: &mut Criterion) {
    let owned = step();
    let context = |(group, prompt, completion)| Context {
        group,
        prompt,
        completion,
    };
    let contexts: Vec<Context<'_>> = owned.iter().map(|(g, p, c)| context((*g, p, c))).collect();
    let batches = micro_batches(&contexts, TOKEN_BUDGET).expect("every context fits");
    let batches: Vec<Vec<Context<'_>>> = batches
        .iter()
        .map(|batch| batch.iter().map(|idx| contexts[*idx]).collect())
        .collect();
    let n_tokens: usize = contexts.iter().map(Context::n_run).sum();

    let mut group = c.benchmark_group("a step's contexts");
    group
        .sample_size(20)
        .throughput(Throughput::Elements(n_tokens as u64));
    group.bench_function("micro_batches", |b| {
        b.iter(|| micro_batches(&contexts, TOKEN_BUDGET));
    });
    group.bench_function("PrefixTree::new", |b| {
        b.iter(|| {
            for batch in &batches {
                std::hint::black_box(PrefixTree::new(batch));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, prefix_tree);
criterion_main!(benches);
