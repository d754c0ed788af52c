//! How fast are weights packed, which happens once a training step? Bytes of f32 weights a second.
//!
//! The head is packed from the embedding, which has a row where the head has a column.

mod setup;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use longhand_kernels::{Block, Format, Packed};

fn packing(c: &mut Criterion) {
    let cpu = setup::machine();
    for (name, k, n, transposed) in [
        ("up", 576, 1536, false),
        ("down", 1536, 576, false),
        ("head from embedding", 576, 49_152, true),
    ] {
        let values = setup::numbers(k * n);
        let whole = Block {
            values: &values,
            stride: if transposed { k } else { n },
            k0: 0,
            n0: 0,
            k,
            n,
            transposed,
        };
        let mut group = setup::group(c, &format!("pack {name}"));
        group.throughput(Throughput::Bytes(size_of_val(&*values) as u64));
        for format in [Format::F32, Format::Bf16, Format::Int8] {
            let mut packed = Packed::new(&cpu, format, k, n, &[whole]);
            let id = BenchmarkId::from_parameter(format!("{format:?}").to_lowercase());
            group.bench_function(id, |b| b.iter(|| packed.repack(&cpu, k, n, &[whole])));
        }
        group.finish();
    }
}

criterion_group!(benches, packing);
criterion_main!(benches);
