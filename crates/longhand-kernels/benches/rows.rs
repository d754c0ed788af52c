//! Do the operations between products keep up with memory? Bytes read and written a second.
//!
//! Rows are as wide as those of SmolLM2-135M, and as many as a small micro-batch has.

mod setup;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use longhand_kernels::{
    AdamW, LogitStats, Operand, OperandFormat, Rotary, RowGradient, adamw, draw, gated,
    logit_gradient, logit_stats, rms_norm, rotate,
};

const N_ROWS: usize = 512;
const HIDDEN: usize = 576;
const INNER: usize = 1536;
const N_HEADS: usize = 9;
const HEAD_DIM: usize = 64;

/// Rows of logits, which are far wider.
const N_LOGIT_ROWS: usize = 16;
const N_IDS: usize = 49_152;

/// Bytes of `n` numbers.
fn bytes(n: usize) -> Throughput {
    Throughput::Bytes((n * size_of::<f32>()) as u64)
}

fn of_layers(c: &mut Criterion) {
    let cpu = setup::machine();
    let mut group = setup::group(c, "rows of a layer");
    let (x, weight) = (setup::numbers(N_ROWS * HIDDEN), setup::numbers(HIDDEN));
    let mut out = Operand::new();
    group.throughput(bytes(2 * N_ROWS * HIDDEN));
    group.bench_function("rms_norm", |b| {
        b.iter(|| rms_norm(&cpu, &x, &weight, 1e-5, &mut out, OperandFormat::F32));
    });
    let gate_up = setup::numbers(N_ROWS * 2 * INNER);
    group.throughput(bytes(3 * N_ROWS * INNER));
    group.bench_function("gated", |b| {
        b.iter(|| gated(&cpu, &gate_up, INNER, &mut out, OperandFormat::F32));
    });
    let frequencies: Vec<f64> = (0..HEAD_DIM / 2)
        .map(|i| 10_000_f64.powf(-2.0 * i as f64 / HEAD_DIM as f64))
        .collect();
    let rotary = Rotary::new(&frequencies, N_ROWS);
    let positions: Vec<u32> = (0..N_ROWS as u32).collect();
    let mut q = setup::numbers(N_ROWS * HIDDEN);
    group.throughput(bytes(2 * N_ROWS * HIDDEN));
    group.bench_function("rotate", |b| {
        b.iter(|| {
            let q = &mut q;
            rotate(
                &cpu, &rotary, q, N_ROWS, HIDDEN, 0, N_HEADS, HEAD_DIM, &positions, false,
            );
        });
    });
    group.finish();
}

fn of_logits(c: &mut Criterion) {
    let cpu = setup::machine();
    let mut group = setup::group(c, "rows of logits");
    let n = N_LOGIT_ROWS * N_IDS;
    let mut logits = setup::numbers(n);
    let mut stats = vec![LogitStats::default(); N_LOGIT_ROWS];
    group.throughput(bytes(n));
    group.bench_function("logit_stats", |b| {
        b.iter(|| logit_stats(&cpu, &logits, N_LOGIT_ROWS, N_IDS, N_IDS, 1.0, &mut stats));
    });
    logit_stats(&cpu, &logits, N_LOGIT_ROWS, N_IDS, N_IDS, 1.0, &mut stats);
    group.throughput(bytes(N_IDS));
    group.bench_function("draw", |b| {
        b.iter(|| draw(&cpu, &logits[..N_IDS], 1.0, &stats[0], 0.7));
    });
    let targets: [(u32, f32); 1] = [(17, 0.5)];
    let row = |stats: &LogitStats| RowGradient {
        stats: *stats,
        targets: &targets,
        entropy_weight: 0.0,
    };
    let rows: Vec<RowGradient<'_>> = stats.iter().map(row).collect();
    group.throughput(bytes(2 * n));
    // The gradient takes the logits' place; from the second time on it is that of another gradient,
    // which takes as long.
    group.bench_function("logit_gradient", |b| {
        b.iter(|| {
            let logits = &mut logits;
            logit_gradient(&cpu, logits, N_LOGIT_ROWS, N_IDS, N_IDS, 1.0, &rows);
        });
    });
    group.finish();
}

fn of_weights(c: &mut Criterion) {
    let cpu = setup::machine();
    let mut group = setup::group(c, "weights");
    // More than a cache holds.
    let n = 16 << 20;
    let (mut param, grad) = (setup::numbers(n), setup::numbers(n));
    let (mut m, mut v) = (vec![0.0; n], vec![0.0; n]);
    let settings = AdamW {
        lr: 1e-4,
        beta1: 0.9,
        beta2: 0.99,
        eps: 1e-8,
        weight_decay: 0.01,
        step: 1,
    };
    // Four are read and three written.
    group.throughput(bytes(7 * n));
    group.bench_function("adamw", |b| {
        b.iter(|| adamw(&cpu, &settings, 1.0, &mut param, &grad, &mut m, &mut v));
    });
    group.finish();
}

criterion_group!(benches, of_layers, of_logits, of_weights);
criterion_main!(benches);
