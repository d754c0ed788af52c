//! Rows cut into tasks, and the loops over one row that several kernels share.

use std::ops::Range;

use crate::{Cpu, simd::Simd};

/// Numbers that one task should handle at least: less is not worth waking a thread for.
const NUMBERS_PER_TASK: usize = 1 << 15;

/// Calls `task` for blocks of rows that cover `0..n_rows`, on all threads. `numbers_per_row` says how much
/// work a row is, in numbers that are loaded, multiplied and stored. For tasks whose rows do not depend on
/// each other: how the rows are cut is left open.
pub(crate) fn for_row_blocks(
    cpu: &Cpu,
    n_rows: usize,
    numbers_per_row: usize,
    task: impl Fn(Range<usize>) + Sync,
) {
    let block = NUMBERS_PER_TASK.div_ceil(numbers_per_row.max(1));
    cpu.for_each(n_rows.div_ceil(block), |block_idx| {
        let start = block_idx * block;
        task(start..n_rows.min(start + block));
    });
}

/// Runs the body for every vector of `0..n`: `i` is its first element, `len` how many elements it has,
/// `LANES` for all but the last.
macro_rules! for_vectors {
    ($S:ident, $n:expr, |$i:ident, $len:ident| $body:block) => {{
        let n = $n;
        let mut $i = 0;
        while $i + $S::LANES <= n {
            let $len = $S::LANES;
            $body
            $i += $S::LANES;
        }
        if $i < n {
            let $len = n - $i;
            $body
        }
    }};
}
pub(crate) use for_vectors;

/// Sum of `a[i] * b[i]`, in an order that depends on `n` alone.
///
/// # Safety
/// The machine has the instructions, and both have `n` elements.
#[inline(always)]
pub(crate) unsafe fn dot<S: Simd>(a: *const f32, b: *const f32, n: usize) -> f32 {
    // SAFETY: the caller's promise; `i` and `len` stay inside `n`.
    unsafe {
        let mut sums = [S::splat(0.0); 4];
        let mut i = 0;
        // Four sums, so that an addition does not wait for the one before.
        while i + 4 * S::LANES <= n {
            for (vector_idx, sum) in sums.iter_mut().enumerate() {
                let at = i + vector_idx * S::LANES;
                *sum = S::fma(S::load(a.add(at)), S::load(b.add(at)), *sum);
            }
            i += 4 * S::LANES;
        }
        let (a, b) = (a.add(i), b.add(i));
        for_vectors!(S, n - i, |i, len| {
            let (a, b) = (S::load_first(a.add(i), len), S::load_first(b.add(i), len));
            sums[0] = S::fma(a, b, sums[0]);
        });
        S::sum(S::add(S::add(sums[0], sums[1]), S::add(sums[2], sums[3])))
    }
}

/// Sum of `a[i] * b[i] * c[i]`, as [`dot`].
///
/// # Safety
/// The machine has the instructions, and all have `n` elements.
#[inline(always)]
pub(crate) unsafe fn dot_of_three<S: Simd>(
    a: *const f32,
    b: *const f32,
    c: *const f32,
    n: usize,
) -> f32 {
    // SAFETY: the caller's promise; `i` and `len` stay inside `n`.
    unsafe {
        let mut sums = [S::splat(0.0); 4];
        let mut i = 0;
        while i + 4 * S::LANES <= n {
            for (vector_idx, sum) in sums.iter_mut().enumerate() {
                let at = i + vector_idx * S::LANES;
                let product = S::mul(S::load(a.add(at)), S::load(b.add(at)));
                *sum = S::fma(product, S::load(c.add(at)), *sum);
            }
            i += 4 * S::LANES;
        }
        let (a, b, c) = (a.add(i), b.add(i), c.add(i));
        for_vectors!(S, n - i, |i, len| {
            let product = S::mul(S::load_first(a.add(i), len), S::load_first(b.add(i), len));
            sums[0] = S::fma(product, S::load_first(c.add(i), len), sums[0]);
        });
        S::sum(S::add(S::add(sums[0], sums[1]), S::add(sums[2], sums[3])))
    }
}

/// How a result is kept: as f32, or rounded to the bits of a bf16.
pub(crate) trait Stored: Copy + Send {
    /// Stores the first `n` lanes; bf16 stores all, so that behind `n` there must be room.
    ///
    /// # Safety
    /// The machine has the instructions; `to` has `n` elements (for bf16 `LANES`).
    unsafe fn store<S: Simd>(to: *mut Self, n: usize, v: S::V);
}

impl Stored for f32 {
    #[inline(always)]
    unsafe fn store<S: Simd>(to: *mut f32, n: usize, v: S::V) {
        // SAFETY: the caller's promise.
        unsafe { S::store_first(to, n, v) }
    }
}

impl Stored for u16 {
    #[inline(always)]
    unsafe fn store<S: Simd>(to: *mut u16, _n: usize, v: S::V) {
        // SAFETY: the caller's promise.
        unsafe { S::store_bf16(to, v) }
    }
}
