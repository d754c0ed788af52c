//! What the tests of row kernels share: every instruction set, threads that must not matter, and noise.

use std::num::NonZero;

use crate::{Cpu, Isa};

/// Widths of rows: one, less than a vector, whole vectors, and one more.
pub(crate) const WIDTHS: [usize; 5] = [1, 7, 64, 576, 577];

/// Numbers of rows; the largest makes several tasks of wide rows.
pub(crate) const ROWS: [usize; 4] = [0, 1, 3, 130];

/// One thread, restricted to these instructions.
pub(crate) fn one_thread(isa: Isa) -> Cpu {
    Cpu::new(isa, NonZero::<usize>::MIN).unwrap()
}

/// What `run` returns for every available instruction set; with one thread and with three it must be the
/// same to the bit.
pub(crate) fn on_all_cpus(run: impl Fn(&Cpu) -> Vec<f32>) -> Vec<(Isa, Vec<f32>)> {
    let on = |isa| {
        let alone = run(&one_thread(isa));
        let shared = run(&Cpu::new(isa, NonZero::new(3).unwrap()).unwrap());
        assert_eq!(bits(&alone), bits(&shared), "{isa}: threads matter");
        (isa, alone)
    };
    Isa::available().into_iter().map(on).collect()
}

/// Bits, so that equal means the same.
pub(crate) fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// `n` numbers between -2 and 2 that depend on the seed.
pub(crate) fn noise(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    let mut next = || {
        // The generator of Numerical Recipes; its upper bits are good enough here.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 22) as f32 - 2.0
    };
    (0..n).map(|_| next()).collect()
}

/// Numbers as f64, for the naive twin.
pub(crate) fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

/// Differences must stay below `tolerance`, for numbers above 1 relative to them.
pub(crate) fn assert_close(found: &[f32], expected: &[f64], tolerance: f64, what: impl ToString) {
    assert_eq!(found.len(), expected.len(), "{}", what.to_string());
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs() / expected.abs().max(1.0);
        let what = what.to_string();
        assert!(
            error < tolerance,
            "{what}: {found} is not {expected} at {i}"
        );
    }
}
