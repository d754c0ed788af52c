//! How many scores a second does attention make: over a prompt, for one more token, and on its way back?
//!
//! A score is one query of one head against one key. Heads are those of SmolLM2-135M.

mod setup;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use longhand_kernels::{
    AttentionGradient, Cpu, HeadShape, KvPages, Operand, OperandFormat, PAGE, Run, attention,
    attention_backward,
};

const SHAPE: HeadShape = HeadShape {
    n_heads: 9,
    n_kv_heads: 3,
    head_dim: 64,
};
const Q: usize = SHAPE.n_heads * SHAPE.head_dim;
const KV: usize = SHAPE.n_kv_heads * SHAPE.head_dim;
/// Queries, keys and values of a row side by side.
const STRIDE: usize = Q + 2 * KV;

/// Positions of a sequence.
const N_POSITIONS: usize = 512;
/// Sequences that are continued together.
const N_SEQUENCES: usize = 8;

/// Pages that hold something at every slot.
fn filled(cpu: &Cpu, n_pages: usize) -> KvPages {
    let mut pages = KvPages::new(SHAPE);
    pages.ensure(n_pages);
    let slots: Vec<u32> = (0..(n_pages * PAGE) as u32).collect();
    let x = setup::numbers(slots.len() * STRIDE);
    pages.write(cpu, &x, slots.len(), STRIDE, Q, Q + KV, &slots);
    pages
}

/// Scores of a prompt: each position against itself and those before.
fn n_scores_of_prompt() -> u64 {
    (SHAPE.n_heads * N_POSITIONS * (N_POSITIONS + 1) / 2) as u64
}

fn prompt(c: &mut Criterion) {
    let cpu = setup::machine();
    let n_pages = N_POSITIONS / PAGE;
    let table: Vec<u32> = (0..n_pages as u32).collect();
    let pages = filled(&cpu, n_pages);
    let runs = [Run {
        first_row: 0,
        n_rows: N_POSITIONS,
        first_position: 0,
        table: &table,
    }];
    let qkv = setup::numbers(N_POSITIONS * STRIDE);
    let (mut out, mut stats) = (Operand::new(), vec![0.0; N_POSITIONS * SHAPE.n_heads]);
    let forward = |out: &mut Operand, stats: &mut [f32]| {
        let f32 = OperandFormat::F32;
        attention(
            &cpu,
            SHAPE,
            &pages,
            &runs,
            &qkv,
            STRIDE,
            0,
            out,
            f32,
            Some(stats),
        );
    };
    let mut group = setup::group(c, "attention over a prompt of 512");
    group.throughput(Throughput::Elements(n_scores_of_prompt()));
    group.bench_function("forward", |b| b.iter(|| forward(&mut out, &mut stats)));

    forward(&mut out, &mut stats);
    let slots: Vec<u32> = (0..N_POSITIONS as u32).collect();
    let dout = setup::numbers(N_POSITIONS * Q);
    let gradient = AttentionGradient {
        q: &qkv,
        stride: STRIDE,
        offset: 0,
        k_offset: Q,
        v_offset: Q + KV,
        out: &out,
        stats: &stats,
        dout: &dout,
        slots: &slots,
        copied_pages: &[],
    };
    let mut dqkv = vec![0.0; N_POSITIONS * STRIDE];
    group.bench_function("backward", |b| {
        b.iter(|| attention_backward(&cpu, SHAPE, &pages, &runs, &gradient, &mut dqkv));
    });
    group.finish();
}

fn next_token(c: &mut Criterion) {
    let cpu = Cpu::detect();
    let n_pages = N_POSITIONS / PAGE;
    let pages = filled(&cpu, N_SEQUENCES * n_pages);
    let q = setup::numbers(N_SEQUENCES * STRIDE);
    // All but the last page in common, as in attempts at one problem; or nothing.
    let table = |sequence_idx: usize, shares: bool| -> Vec<u32> {
        let own = |page: usize| (sequence_idx * n_pages + page) as u32;
        let page = |page| {
            if shares && page + 1 < n_pages {
                page as u32
            } else {
                own(page)
            }
        };
        (0..n_pages).map(page).collect()
    };
    let mut group = setup::group(c, "attention of one more token at 512");
    for (name, n_sequences, shares) in [
        ("1 sequence", 1, false),
        ("8 apart", N_SEQUENCES, false),
        ("8 that share", N_SEQUENCES, true),
    ] {
        let tables: Vec<Vec<u32>> = (0..n_sequences).map(|idx| table(idx, shares)).collect();
        let run = |(first_row, table)| Run {
            first_row,
            n_rows: 1,
            first_position: N_POSITIONS - 1,
            table,
        };
        let runs: Vec<Run<'_>> = tables
            .iter()
            .map(Vec::as_slice)
            .enumerate()
            .map(run)
            .collect();
        let mut out = Operand::new();
        let n_scores = n_sequences * SHAPE.n_heads * N_POSITIONS;
        group.throughput(Throughput::Elements(n_scores as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                let f32 = OperandFormat::F32;
                attention(
                    &cpu, SHAPE, &pages, &runs, &q, STRIDE, 0, &mut out, f32, None,
                );
            });
        });
    }
    group.finish();
}

criterion_group!(benches, prompt, next_token);
criterion_main!(benches);
