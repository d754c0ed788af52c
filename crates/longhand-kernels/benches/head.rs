//! What do entropies and self-certainties cost beside log-probabilities, from hidden states on?
//!
//! A log-probability needs the product with the head and one pass over the logits; the statistics come out of
//! the same pass. What they add can be no more than what `statistics` takes beyond `product`. The head is that
//! of SmolLM2-135M.

mod setup;

use std::num::NonZero;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use longhand_kernels::{
    Block, Cpu, Format, LogitStats, Operand, Packed, Store, logit_stats, matmul,
};

const N_ROWS: usize = 64;
const HIDDEN: usize = 576;
const N_IDS: usize = 49_152;

fn head(c: &mut Criterion) {
    let machine = setup::machine();
    let values = setup::numbers(HIDDEN * N_IDS);
    let states = setup::numbers(N_ROWS * HIDDEN);
    let mut logits = vec![0.0; N_ROWS * N_IDS];
    let mut stats = vec![LogitStats::default(); N_ROWS];
    for n_threads in 1..=machine.n_threads().min(2) {
        let n_threads = NonZero::new(n_threads).unwrap_or(NonZero::<usize>::MIN);
        let Ok(cpu) = Cpu::new(machine.isa(), n_threads) else {
            continue;
        };
        for format in [Format::F32, Format::Bf16] {
            let block = Block {
                values: &values,
                stride: N_IDS,
                k0: 0,
                n0: 0,
                k: HIDDEN,
                n: N_IDS,
                transposed: false,
            };
            let packed = Packed::new(&cpu, format, HIDDEN, N_IDS, &[block]);
            let mut operand = Operand::new();
            operand.fill_rows(
                &cpu,
                packed.operand_format(&cpu),
                &states,
                N_ROWS,
                HIDDEN,
                HIDDEN,
            );
            let name = format!("head {format:?}, {n_threads} threads").to_lowercase();
            let mut group = setup::group(c, &name);
            group.throughput(Throughput::Elements(N_ROWS as u64));
            group.bench_function("product", |b| {
                b.iter(|| matmul(&cpu, &operand, &packed, &mut logits, N_IDS, Store::Set));
            });
            group.bench_function("statistics", |b| {
                b.iter(|| logit_stats(&cpu, &logits, N_ROWS, N_IDS, N_IDS, 1.0, &mut stats));
            });
            group.bench_function("both", |b| {
                b.iter(|| {
                    matmul(&cpu, &operand, &packed, &mut logits, N_IDS, Store::Set);
                    logit_stats(&cpu, &logits, N_ROWS, N_IDS, N_IDS, 1.0, &mut stats);
                });
            });
            group.finish();
        }
    }
}

criterion_group!(benches, head);
criterion_main!(benches);
