//! The inner loops: a block of rows times a few panels, with all sums in registers.
//!
//! Each number of the result is one chain of fused multiply-adds over `k` in ascending order, beginning at
//! zero; how many rows and panels are done at once changes which chains run side by side, never a chain.

use std::marker::PhantomData;

use super::{Store, mixed::Mixed};
use crate::{packed::PANEL, simd::Simd};

/// How weights and rows of one format pair are read and multiplied.
///
/// # Safety
/// For all methods: the machine has the instructions; pointers are inside a row or a panel.
pub(super) trait Kernel {
    type S: Mixed;
    /// Elements of `k` in a step.
    const STEP: usize;
    /// Bytes of a row in a step.
    const ROW_BYTES: usize;
    /// Bytes of a panel in a step.
    const PANEL_BYTES: usize;
    /// Multiply-adds of a step, one after the other in each chain.
    const PARTS: usize;
    /// Whether weights are fetched ahead of their use. Where they come in slowly because they are widened,
    /// the processor's own guesses are too short; elsewhere they are better than ours.
    const FETCHES_AHEAD: bool = false;
    /// Whether columns have scales.
    const IS_SCALED: bool = false;

    unsafe fn row(row: *const u8, part: usize) -> <Self::S as Simd>::V;
    /// Weights of `LANES` columns from `lane` on.
    unsafe fn weights(panel: *const u8, lane: usize, part: usize) -> <Self::S as Simd>::V;
    unsafe fn multiply_add(
        row: <Self::S as Simd>::V,
        weights: <Self::S as Simd>::V,
        sum: <Self::S as Simd>::V,
    ) -> <Self::S as Simd>::V;
}

/// f32 times f32.
pub(super) struct F32<S>(PhantomData<S>);

// SAFETY (all blocks): the caller's promise.
#[expect(clippy::undocumented_unsafe_blocks, reason = "said once, above")]
impl<S: Mixed> Kernel for F32<S> {
    type S = S;
    const STEP: usize = 1;
    const ROW_BYTES: usize = 4;
    const PANEL_BYTES: usize = 4 * PANEL;
    const PARTS: usize = 1;

    #[inline(always)]
    unsafe fn row(row: *const u8, _: usize) -> S::V {
        unsafe { S::splat(*row.cast::<f32>()) }
    }

    #[inline(always)]
    unsafe fn weights(panel: *const u8, lane: usize, _: usize) -> S::V {
        unsafe { S::load(panel.cast::<f32>().add(lane)) }
    }

    #[inline(always)]
    unsafe fn multiply_add(row: S::V, weights: S::V, sum: S::V) -> S::V {
        unsafe { S::fma(row, weights, sum) }
    }
}

/// f32 times pairs of bf16, widened.
pub(super) struct Bf16Widened<S>(PhantomData<S>);

// SAFETY (all blocks): the caller's promise.
#[expect(clippy::undocumented_unsafe_blocks, reason = "said once, above")]
impl<S: Mixed> Kernel for Bf16Widened<S> {
    type S = S;
    const STEP: usize = 2;
    const ROW_BYTES: usize = 8;
    const PANEL_BYTES: usize = 4 * PANEL;
    const PARTS: usize = 2;

    #[inline(always)]
    unsafe fn row(row: *const u8, part: usize) -> S::V {
        unsafe { S::splat(*row.cast::<f32>().add(part)) }
    }

    #[inline(always)]
    unsafe fn weights(panel: *const u8, lane: usize, part: usize) -> S::V {
        let pairs = unsafe { panel.cast::<u16>().add(2 * lane) };
        if part == 0 {
            unsafe { S::load_evens(pairs) }
        } else {
            unsafe { S::load_odds(pairs) }
        }
    }

    #[inline(always)]
    unsafe fn multiply_add(row: S::V, weights: S::V, sum: S::V) -> S::V {
        unsafe { S::fma(row, weights, sum) }
    }
}

/// f32 times bytes, widened.
pub(super) struct Int8Widened<S>(PhantomData<S>);

// SAFETY (all blocks): the caller's promise.
#[expect(clippy::undocumented_unsafe_blocks, reason = "said once, above")]
impl<S: Mixed> Kernel for Int8Widened<S> {
    type S = S;
    const STEP: usize = 1;
    const ROW_BYTES: usize = 4;
    const PANEL_BYTES: usize = PANEL;
    const PARTS: usize = 1;
    const FETCHES_AHEAD: bool = true;
    const IS_SCALED: bool = true;

    #[inline(always)]
    unsafe fn row(row: *const u8, _: usize) -> S::V {
        unsafe { S::splat(*row.cast::<f32>()) }
    }

    #[inline(always)]
    unsafe fn weights(panel: *const u8, lane: usize, _: usize) -> S::V {
        unsafe { S::load_i8(panel.cast::<i8>().add(lane)) }
    }

    #[inline(always)]
    unsafe fn multiply_add(row: S::V, weights: S::V, sum: S::V) -> S::V {
        unsafe { S::fma(row, weights, sum) }
    }
}

/// A block of the result: rows of `a` times neighbouring panels.
pub(super) struct Block {
    pub(super) a: *const u8,
    /// Bytes from row to row.
    pub(super) a_stride: usize,
    pub(super) b: *const u8,
    /// Bytes from panel to panel.
    pub(super) panel_bytes: usize,
    pub(super) k: usize,
    pub(super) out: *mut f32,
    /// Numbers from row to row.
    pub(super) out_stride: usize,
    /// Columns of the result from here on; what is beyond is not written.
    pub(super) n_columns: usize,
    /// One for each column, where the kernel has them.
    pub(super) scales: *const f32,
    pub(super) store: Store,
}

/// How far ahead of a panel's use it is fetched: a few hundred nanoseconds at the speed of memory.
const AHEAD: usize = 1024;

/// # Safety
/// The instructions of the kernel; everything that `block` points to.
#[inline(always)]
unsafe fn multiply<K: Kernel, const ROWS: usize, const VECTORS: usize>(block: &Block) {
    let lanes = K::S::LANES;
    let place = |vector: usize| {
        let column = vector * lanes;
        (column / PANEL * block.panel_bytes, column % PANEL)
    };
    // SAFETY: steps stay inside rows and panels, which are padded to whole steps; columns behind the last
    // are not written.
    unsafe {
        let mut sums = [[K::S::splat(0.0); VECTORS]; ROWS];
        let (mut a, mut b) = (block.a, block.b);
        for _ in 0..block.k.div_ceil(K::STEP) {
            if K::FETCHES_AHEAD {
                for panel in 0..VECTORS * lanes / PANEL {
                    for line in (0..K::PANEL_BYTES).step_by(64) {
                        prefetch(b.wrapping_add(panel * block.panel_bytes + line + AHEAD));
                    }
                }
            }
            for part in 0..K::PARTS {
                if lanes == 16 {
                    let mut weights = [K::S::splat(0.0); VECTORS];
                    for (vector, weights) in weights.iter_mut().enumerate() {
                        let (panel, lane) = place(vector);
                        *weights = K::weights(b.add(panel), lane, part);
                    }
                    for (row, sums) in sums.iter_mut().enumerate() {
                        let x = K::row(a.add(row * block.a_stride), part);
                        for (sum, weights) in sums.iter_mut().zip(weights) {
                            *sum = K::multiply_add(x, weights, *sum);
                        }
                    }
                } else {
                    // With few registers it is the rows that stay.
                    let mut x = [K::S::splat(0.0); ROWS];
                    for (row, x) in x.iter_mut().enumerate() {
                        *x = K::row(a.add(row * block.a_stride), part);
                    }
                    for vector in 0..VECTORS {
                        let (panel, lane) = place(vector);
                        let weights = K::weights(b.add(panel), lane, part);
                        for (sums, x) in sums.iter_mut().zip(x) {
                            sums[vector] = K::multiply_add(x, weights, sums[vector]);
                        }
                    }
                }
            }
            a = a.add(K::ROW_BYTES);
            b = b.add(K::PANEL_BYTES);
        }
        for (row, sums) in sums.into_iter().enumerate() {
            for (vector, mut sum) in sums.into_iter().enumerate() {
                let column = vector * lanes;
                if block.n_columns <= column {
                    continue;
                }
                let n = (block.n_columns - column).min(lanes);
                let out = block.out.add(row * block.out_stride + column);
                if K::IS_SCALED {
                    sum = K::S::mul(sum, K::S::load(block.scales.add(column)));
                }
                if n == lanes {
                    if block.store == Store::Add {
                        sum = K::S::add(K::S::load(out), sum);
                    }
                    K::S::store(out, sum);
                } else {
                    if block.store == Store::Add {
                        sum = K::S::add(K::S::load_first(out, n), sum);
                    }
                    K::S::store_first(out, n, sum);
                }
            }
        }
    }
}

#[inline(always)]
fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which may name any address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// The shapes of blocks that fit the registers of one vector width.
pub(super) trait Shapes {
    /// Most rows of a block.
    const ROWS: usize;

    /// How many panels a block of so many rows takes at once, where there are as many.
    fn panels(rows: usize) -> usize;

    /// # Safety
    /// The instructions of the kernel; everything that `block` points to.
    unsafe fn multiply<K: Kernel>(rows: usize, panels: usize, block: &Block);
}

/// Lists them: `rows [panels at once, ...]`.
macro_rules! shapes {
    ($(#[$attr:meta])* $name:ident($lanes:literal): $($rows:literal [$($panels:literal)*])*) => {
        pub(in crate::matmul) struct $name;

        impl Shapes for $name {
            const ROWS: usize = { let rows = [$($rows),*]; rows[rows.len() - 1] };

            fn panels(rows: usize) -> usize {
                match rows { $($rows => *[$($panels),*].iter().max().unwrap_or(&1),)* _ => 1 }
            }

            unsafe fn multiply<K: Kernel>(rows: usize, panels: usize, block: &Block) {
                $(#[$attr])*
                unsafe fn run<K: Kernel, const ROWS: usize, const VECTORS: usize>(block: &Block) {
                    // SAFETY: the caller's promise.
                    unsafe { multiply::<K, ROWS, VECTORS>(block) }
                }
                match (rows, panels) {
                    // SAFETY: the caller's promise.
                    $($(($rows, $panels) => unsafe {
                        run::<K, $rows, { $panels * PANEL / $lanes }>(block)
                    },)*)*
                    _ => unreachable!("blocks have one of the shapes"),
                }
            }
        }
    };
}

shapes! {
    ForPortable(8): 1 [1] 2 [1]
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Bf16Pairs, ForAvx2, ForAvx512, ForAvx512Bf16, Int8Pairs, widen_int8};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::{arch::x86_64::*, mem::transmute};

    use super::*;
    use crate::simd::Avx512;

    shapes! {
        #[target_feature(enable = "avx2,fma")]
        ForAvx2(8): 1 [1 2] 2 [1] 3 [1]
    }

    shapes! {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        ForAvx512(16): 1 [1 4] 2 [1 4] 3 [1 4] 4 [1] 5 [1] 6 [1]
            7 [1] 8 [1] 9 [1] 10 [1] 11 [1] 12 [1] 13 [1] 14 [1]
    }

    shapes! {
        #[target_feature(enable = "avx512bf16,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        ForAvx512Bf16(16): 1 [1 4] 2 [1 4] 3 [1 4] 4 [1] 5 [1] 6 [1]
            7 [1] 8 [1] 9 [1] 10 [1] 11 [1] 12 [1] 13 [1] 14 [1]
    }

    /// Pairs of bf16 times pairs of bf16, with or without scales of the columns.
    pub(in crate::matmul) struct Bf16Pairs<const IS_SCALED: bool>;

    // SAFETY (all blocks): the caller's promise. Vectors of one size are transmuted.
    #[expect(clippy::undocumented_unsafe_blocks, reason = "said once, above")]
    impl<const IS_SCALED: bool> Kernel for Bf16Pairs<IS_SCALED> {
        type S = Avx512;
        const STEP: usize = 2;
        const ROW_BYTES: usize = 4;
        const PANEL_BYTES: usize = 4 * PANEL;
        const PARTS: usize = 1;
        const IS_SCALED: bool = IS_SCALED;

        #[inline(always)]
        unsafe fn row(row: *const u8, _: usize) -> __m512 {
            unsafe { _mm512_castsi512_ps(_mm512_set1_epi32(*row.cast::<i32>())) }
        }

        #[inline(always)]
        unsafe fn weights(panel: *const u8, lane: usize, _: usize) -> __m512 {
            unsafe { _mm512_loadu_ps(panel.cast::<f32>().add(lane)) }
        }

        #[inline(always)]
        unsafe fn multiply_add(row: __m512, weights: __m512, sum: __m512) -> __m512 {
            unsafe { dot(row, weights, sum) }
        }
    }

    /// Pairs of bf16 times bytes, which bf16 holds exactly.
    pub(in crate::matmul) struct Int8Pairs;

    // SAFETY (all blocks): the caller's promise.
    #[expect(clippy::undocumented_unsafe_blocks, reason = "said once, above")]
    impl Kernel for Int8Pairs {
        type S = Avx512;
        const STEP: usize = 2;
        const ROW_BYTES: usize = 4;
        const PANEL_BYTES: usize = 2 * PANEL;
        const PARTS: usize = 1;
        const FETCHES_AHEAD: bool = true;
        const IS_SCALED: bool = true;

        #[inline(always)]
        unsafe fn row(row: *const u8, _: usize) -> __m512 {
            unsafe { Bf16Pairs::<true>::row(row, 0) }
        }

        #[inline(always)]
        unsafe fn weights(panel: *const u8, lane: usize, _: usize) -> __m512 {
            unsafe {
                let panel = panel.cast::<i8>();
                let even = _mm512_castps_si512(Avx512::load_i8(panel.add(lane)));
                let odd = _mm512_castps_si512(Avx512::load_i8(panel.add(PANEL + lane)));
                // The lower half of each is zero: seven bits are all that a byte's magnitude needs.
                let pairs = _mm512_or_si512(_mm512_srli_epi32::<16>(even), odd);
                _mm512_castsi512_ps(pairs)
            }
        }

        #[inline(always)]
        unsafe fn multiply_add(row: __m512, weights: __m512, sum: __m512) -> __m512 {
            unsafe { dot(row, weights, sum) }
        }
    }

    /// Widens `n_pairs` pairs of rows of a panel of bytes to a panel of bf16.
    ///
    /// # Safety
    /// 512-bit vectors; so many rows on both sides.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub(in crate::matmul) unsafe fn widen_int8(from: *const i8, to: *mut u16, n_pairs: usize) {
        for pair in 0..n_pairs {
            for lane in [0, 16] {
                // SAFETY: the caller's promise.
                unsafe {
                    let pairs = Int8Pairs::weights(from.add(2 * pair * PANEL).cast(), lane, 0);
                    Avx512::store(to.add(2 * (pair * PANEL + lane)).cast(), pairs);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn dot(row: __m512, weights: __m512, sum: __m512) -> __m512 {
        // SAFETY: the caller has the instruction; all three types are 64 bytes of plain numbers.
        unsafe {
            let row = transmute::<__m512, __m512bh>(row);
            let weights = transmute::<__m512, __m512bh>(weights);
            _mm512_dpbf16_ps(sum, row, weights)
        }
    }
}
