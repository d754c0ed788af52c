//! How many multiply-adds a second does a product make, from one row to many?
//!
//! Shapes are those of SmolLM2-135M: into and out of its feed-forward, and its head. At few rows the
//! matrix has to come from memory or a cache, at many the multipliers are the limit. The two smaller
//! matrices stay in a cache here; in a model the other layers push them out of it.

mod setup;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use longhand_kernels::{Block, Format, Operand, Packed, Store, matmul};

/// Rows, from a token to a prompt, of a product `[rows, k] [k, n]`.
const ROWS: [usize; 4] = [1, 8, 32, 512];
const FEED_FORWARD: [(usize, usize); 2] = [(576, 1536), (1536, 576)];
const HEAD: (usize, usize) = (576, 49_152);

fn products(c: &mut Criterion) {
    let cpu = setup::machine();
    let shapes = FEED_FORWARD.map(|shape| (shape, &ROWS[..]));
    // Logits are made for a few tokens at a time, or they would take more memory than the model.
    for ((k, n), rows) in shapes.into_iter().chain([(HEAD, &ROWS[..3])]) {
        let values = setup::numbers(k * n);
        for format in [Format::F32, Format::Bf16, Format::Int8] {
            let whole = Block {
                values: &values,
                stride: n,
                k0: 0,
                n0: 0,
                k,
                n,
                transposed: false,
            };
            let packed = Packed::new(&cpu, format, k, n, &[whole]);
            let name = format!("matmul {k}x{n} {format:?}").to_lowercase();
            let mut group = setup::group(c, &name);
            for &rows in rows {
                let mut a = Operand::new();
                let values = setup::numbers(rows * k);
                a.fill_rows(&cpu, packed.operand_format(&cpu), &values, rows, k, k);
                let mut out = vec![0.0; rows * n];
                group.throughput(Throughput::Elements((rows * k * n) as u64));
                group.bench_function(BenchmarkId::from_parameter(rows), |b| {
                    b.iter(|| matmul(&cpu, &a, &packed, &mut out, n, Store::Set));
                });
            }
            group.finish();
        }
    }
}

criterion_group!(benches, products);
criterion_main!(benches);
