//! Sums over a whole slice and over the rows of a matrix, always in the same order.

use crate::{
    Cpu,
    rows::{for_row_blocks, for_vectors},
    shared::SharedMut,
    simd::{Simd, per_isa},
};

/// Elements of a slice that one task sums.
const BLOCK: usize = 1 << 16;

/// Columns that one task sums: four cache lines.
const COLUMNS: usize = 64;

/// Rows whose sum is made first and then added to the sum of all, so that rounding grows slowly.
const ROWS: usize = 64;

/// Sum of `x[i]^2`, in f64 throughout: the same number whatever the instructions, and finite exactly when
/// all of `x` is.
pub fn sum_of_squares(cpu: &Cpu, x: &[f32]) -> f64 {
    let mut sums = vec![0.0; x.len().div_ceil(BLOCK)];
    let shared = SharedMut::new(&mut sums);
    cpu.for_each(x.len().div_ceil(BLOCK), |block_idx| {
        let start = block_idx * BLOCK;
        let block = &x[start..x.len().min(start + BLOCK)];
        // SAFETY: the instructions are there; each task has its own sum.
        unsafe {
            shared.slice(block_idx..block_idx + 1)[0] = squares(cpu.isa(), block);
        }
    });
    sums.into_iter().sum()
}

/// Adds `bias` to the columns `offset..offset + bias.len()` of the rows of `x`, `[rows, stride]`.
///
/// # Panics
/// When the columns are not inside a row, or `x` does not have that many elements.
pub fn add_bias(cpu: &Cpu, x: &mut [f32], rows: usize, stride: usize, offset: usize, bias: &[f32]) {
    assert_eq!(x.len(), rows * stride);
    assert!(offset + bias.len() <= stride);
    let shared = SharedMut::new(x);
    for_row_blocks(cpu, rows, bias.len(), |rows| {
        for row in rows {
            let start = row * stride + offset;
            // SAFETY: the instructions are there, rows do not overlap, and both have `bias.len()` elements.
            unsafe {
                let row = shared.slice(start..start + bias.len());
                add(cpu.isa(), row.as_mut_ptr(), bias.as_ptr(), bias.len());
            }
        }
    });
}

/// Adds to `dbias` the sums of the columns `offset..offset + dbias.len()` of `dy`, `[rows, stride]`.
///
/// # Panics
/// When the columns are not inside a row, or `dy` does not have that many elements.
pub fn bias_gradient(
    cpu: &Cpu,
    dy: &[f32],
    rows: usize,
    stride: usize,
    offset: usize,
    dbias: &mut [f32],
) {
    assert_eq!(dy.len(), rows * stride);
    assert!(offset + dbias.len() <= stride);
    if rows == 0 {
        return;
    }
    let n_columns = dbias.len();
    let shared = SharedMut::new(dbias);
    // A column is summed by one task, so the order does not depend on how the columns are cut.
    for_row_blocks(cpu, n_columns.div_ceil(COLUMNS), rows * COLUMNS, |blocks| {
        for block_idx in blocks {
            let start = block_idx * COLUMNS;
            let end = n_columns.min(start + COLUMNS);
            let dy = &dy[offset + start..];
            // SAFETY: the instructions are there; tasks have their own columns, at most `COLUMNS` of them;
            // those of the last row end inside `dy`.
            unsafe {
                let dbias = shared.slice(start..end).as_mut_ptr();
                add_columns(cpu.isa(), dy.as_ptr(), rows, stride, dbias, end - start);
            }
        }
    });
}

per_isa! {
    unsafe fn squares(x: &[f32]) -> f64 = squares_on;
    unsafe fn add(x: *mut f32, bias: *const f32, n: usize) = add_on;
    unsafe fn add_columns(dy: *const f32, rows: usize, stride: usize, dbias: *mut f32, n: usize) = add_columns_on;
}

/// # Safety
/// The machine has the instructions.
#[inline(always)]
unsafe fn squares_on<S: Simd>(x: &[f32]) -> f64 {
    // Plain loops, which the compiler turns into vectors of f64; squares of f32 are exact there, so that
    // a fused and an unfused addition agree.
    let mut sums = [0.0_f64; 32];
    let (chunks, rest) = x.as_chunks::<32>();
    for chunk in chunks {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            let x = f64::from(*x);
            *sum += x * x;
        }
    }
    for (sum, x) in sums.iter_mut().zip(rest) {
        let x = f64::from(*x);
        *sum += x * x;
    }
    sums.into_iter().sum()
}

/// # Safety
/// The machine has the instructions, and both have `n` elements.
#[inline(always)]
unsafe fn add_on<S: Simd>(x: *mut f32, bias: *const f32, n: usize) {
    for_vectors!(S, n, |i, len| {
        // SAFETY: the caller's promise.
        unsafe {
            let sum = S::add(
                S::load_first(x.add(i), len),
                S::load_first(bias.add(i), len),
            );
            S::store_first(x.add(i), len, sum);
        }
    });
}

/// # Safety
/// The machine has the instructions; `dbias` has `n <= COLUMNS` elements, and so has each of the `rows`
/// rows that begin every `stride` elements at `dy`.
#[inline(always)]
unsafe fn add_columns_on<S: Simd>(
    dy: *const f32,
    rows: usize,
    stride: usize,
    dbias: *mut f32,
    n: usize,
) {
    let mut totals = [0.0_f32; COLUMNS];
    let totals = totals.as_mut_ptr();
    // SAFETY: the caller's promise; `totals` has `COLUMNS` elements.
    unsafe {
        for first_row in (0..rows).step_by(ROWS) {
            for_vectors!(S, n, |i, len| {
                let mut sum = S::splat(0.0);
                for row in first_row..rows.min(first_row + ROWS) {
                    sum = S::add(sum, S::load_first(dy.add(row * stride + i), len));
                }
                S::store_first(
                    totals.add(i),
                    len,
                    S::add(S::load_first(totals.add(i), len), sum),
                );
            });
        }
        add_on::<S>(dbias, totals, n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{ROWS as ROW_COUNTS, WIDTHS, assert_close, noise, on_all_cpus, wide};

    #[test]
    fn squares_are_summed_as_in_f64() {
        for n in [0, 1, 7, 33, 577, 200_001] {
            let x = noise(n, 3);
            let expected: f64 = wide(&x).iter().map(|x| x * x).sum();
            let mut sums = Vec::new();
            on_all_cpus(|cpu| {
                let sum = sum_of_squares(cpu, &x);
                vec![sum as f32, (sum - f64::from(sum as f32)) as f32]
            })
            .into_iter()
            .for_each(|(isa, parts)| {
                let sum = f64::from(parts[0]) + f64::from(parts[1]);
                assert!(
                    (sum - expected).abs() <= 1e-12 * expected,
                    "{isa}: {sum} {expected}"
                );
                sums.push(parts);
            });
            assert!(
                sums.iter().all(|sum| *sum == sums[0]),
                "instructions matter"
            );
        }
    }

    #[test]
    fn the_sum_of_squares_is_finite_exactly_when_all_numbers_are() {
        let cpu = Cpu::detect();
        let mut x = noise(70_000, 1);
        x[69_999] = 1e30;
        assert_eq!(sum_of_squares(&cpu, &x), f64::from(1e30_f32).powi(2));
        for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            x[69_999] = broken;
            assert!(!sum_of_squares(&cpu, &x).is_finite(), "{broken}");
        }
    }

    #[test]
    fn a_bias_goes_to_its_columns_and_its_gradient_comes_from_them() {
        for rows in ROW_COUNTS {
            for n in WIDTHS {
                let (stride, offset) = (n + 5, 2);
                let (x, bias) = (noise(rows * stride, 1), noise(n, 2));
                let (mut y, mut dbias) = (wide(&x), wide(&bias));
                for row in 0..rows {
                    for i in 0..n {
                        dbias[i] += y[row * stride + offset + i];
                        y[row * stride + offset + i] += f64::from(bias[i]);
                    }
                }
                for (isa, found) in on_all_cpus(|cpu| {
                    let mut x = x.clone();
                    add_bias(cpu, &mut x, rows, stride, offset, &bias);
                    x
                }) {
                    assert_close(&found, &y, 1e-6, format!("{isa} {rows} {n}"));
                }
                for (isa, found) in on_all_cpus(|cpu| {
                    let mut dbias = bias.clone();
                    bias_gradient(cpu, &x, rows, stride, offset, &mut dbias);
                    dbias
                }) {
                    assert_close(&found, &dbias, 1e-5, format!("{isa} {rows} {n}"));
                }
            }
        }
    }
}
