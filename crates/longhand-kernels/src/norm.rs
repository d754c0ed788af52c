//! Root-mean-square norms (arXiv:1910.07467) of rows and of the heads inside rows, and their gradients.
//!
//! `y = x r w` with `r = 1 / sqrt(mean(x^2) + eps)`; backwards `dx = r w dy - x r^3 / d sum(x w dy)` and `dw =
//! sum over rows of x r dy`.

use crate::{
    Cpu, Operand, OperandFormat,
    rows::{Stored, dot, dot_of_three, for_row_blocks, for_vectors},
    shared::SharedMut,
    simd::{Simd, per_isa},
    sums::bias_gradient,
};

/// Rows that add to one partial gradient of the weight; partial gradients are added in their order.
const ROWS: usize = 64;

/// Fills `out` with the norms of the rows of `x`, `[rows, d]`, times `weight`, `[d]`.
///
/// # Panics
/// When `x` is not whole rows.
pub fn rms_norm(
    cpu: &Cpu,
    x: &[f32],
    weight: &[f32],
    eps: f32,
    out: &mut Operand,
    format: OperandFormat,
) {
    let rows = n_rows(x, weight);
    out.reset(format, rows, weight.len());
    let stride = out.stride();
    match format {
        OperandFormat::F32 => norm_rows(cpu, x, weight, eps, out.f32_mut(), stride, norm_f32),
        OperandFormat::Bf16 => norm_rows(cpu, x, weight, eps, out.bf16_mut(), stride, norm_bf16),
    }
}

/// As [`rms_norm`], into `out`, `[rows, d]`.
///
/// # Panics
/// When `x` is not whole rows, or `out` not as long.
pub fn rms_norm_f32(cpu: &Cpu, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    n_rows(x, weight);
    assert_eq!(out.len(), x.len());
    norm_rows(cpu, x, weight, eps, out, weight.len(), norm_f32);
}

/// Adds to `dx`, `[rows, d]`, and to `dweight`, `[d]`, what `dy`, the gradient of the norm's result, brings;
/// `x` is what the norm was given.
///
/// # Panics
/// When lengths are not as said.
pub fn rms_norm_backward(
    cpu: &Cpu,
    x: &[f32],
    weight: &[f32],
    eps: f32,
    dy: &[f32],
    dx: &mut [f32],
    dweight: &mut [f32],
) {
    let (rows, d) = (n_rows(x, weight), weight.len());
    assert_eq!((dy.len(), dx.len()), (x.len(), x.len()));
    assert_eq!(dweight.len(), d);
    let mut partials = vec![0.0; rows.div_ceil(ROWS) * d];
    let (dx, shared) = (SharedMut::new(dx), SharedMut::new(&mut partials));
    cpu.for_each(rows.div_ceil(ROWS), |block_idx| {
        let rows = block_idx * ROWS..rows.min((block_idx + 1) * ROWS);
        let range = rows.start * d..rows.end * d;
        // SAFETY: the instructions are there; blocks do not overlap; all have `rows.len()` rows of `d`.
        unsafe {
            let parts = Backward {
                x: x[range.clone()].as_ptr(),
                dy: dy[range.clone()].as_ptr(),
                dx: dx.slice(range).as_mut_ptr(),
                dx_is_added: true,
                weight,
                eps,
                dweight: shared
                    .slice(block_idx * d..(block_idx + 1) * d)
                    .as_mut_ptr(),
            };
            backward(cpu.isa(), &parts, rows.len());
        }
    });
    bias_gradient(cpu, &partials, rows.div_ceil(ROWS), d, 0, dweight);
}

/// Norms, in place, the heads at columns `offset..offset + n_heads * head_dim` of `x`, `[rows, stride]`, each
/// for itself and with the same `weight`, `[head_dim]`.
///
/// # Panics
/// When the heads are not inside a row, or a length is not as said.
#[expect(
    clippy::too_many_arguments,
    reason = "a strided matrix and what to do to it"
)]
pub fn head_norm(
    cpu: &Cpu,
    x: &mut [f32],
    rows: usize,
    stride: usize,
    offset: usize,
    n_heads: usize,
    head_dim: usize,
    weight: &[f32],
    eps: f32,
) {
    let width = n_heads * head_dim;
    assert_eq!((x.len(), weight.len()), (rows * stride, head_dim));
    assert!(offset + width <= stride);
    let shared = SharedMut::new(x);
    for_row_blocks(cpu, rows, 2 * width, |rows| {
        for row in rows {
            let start = row * stride + offset;
            // SAFETY: the instructions are there; rows do not overlap; each head is read before it is
            // written.
            unsafe {
                let x = shared.slice(start..start + width).as_mut_ptr();
                norm_f32(cpu.isa(), x, n_heads, weight, eps, x, head_dim);
            }
        }
    });
}

/// Replaces `dy_dx`, the gradient of [`head_norm`]'s result at the same columns of as many rows, by the
/// gradient of what it was given, `x`, and adds to `dweight`, `[head_dim]`.
///
/// # Panics
/// When the heads are not inside a row, or a length is not as said.
#[expect(
    clippy::too_many_arguments,
    reason = "a strided matrix and what to do to it"
)]
pub fn head_norm_backward(
    cpu: &Cpu,
    x: &[f32],
    dy_dx: &mut [f32],
    rows: usize,
    stride: usize,
    offset: usize,
    n_heads: usize,
    head_dim: usize,
    weight: &[f32],
    eps: f32,
    dweight: &mut [f32],
) {
    let width = n_heads * head_dim;
    assert_eq!((x.len(), dy_dx.len()), (rows * stride, rows * stride));
    assert_eq!((weight.len(), dweight.len()), (head_dim, head_dim));
    assert!(offset + width <= stride);
    let n_blocks = rows.div_ceil(ROWS);
    let mut partials = vec![0.0; n_blocks * head_dim];
    let (dy_dx, shared) = (SharedMut::new(dy_dx), SharedMut::new(&mut partials));
    cpu.for_each(n_blocks, |block_idx| {
        let partial = block_idx * head_dim..(block_idx + 1) * head_dim;
        // SAFETY: each block has its own.
        let dweight = unsafe { shared.slice(partial) }.as_mut_ptr();
        for row in block_idx * ROWS..rows.min((block_idx + 1) * ROWS) {
            let range = row * stride + offset..row * stride + offset + width;
            // SAFETY: the instructions are there; rows do not overlap; both have `n_heads` heads.
            unsafe {
                let dy_dx = dy_dx.slice(range.clone()).as_mut_ptr();
                let parts = Backward {
                    x: x[range].as_ptr(),
                    dy: dy_dx,
                    dx: dy_dx,
                    dx_is_added: false,
                    weight,
                    eps,
                    dweight,
                };
                backward(cpu.isa(), &parts, n_heads);
            }
        }
    });
    bias_gradient(cpu, &partials, n_blocks, head_dim, 0, dweight);
}

/// Rows of `x`, which has as many columns as there are weights.
fn n_rows(x: &[f32], weight: &[f32]) -> usize {
    let d = weight.len();
    assert_ne!(d, 0);
    let rows = x.len() / d;
    assert_eq!(x.len(), rows * d);
    rows
}

/// [`norm_f32`] or [`norm_bf16`].
type NormRows<T> = unsafe fn(crate::Isa, *const f32, usize, &[f32], f32, *mut T, usize);

fn norm_rows<T: Stored>(
    cpu: &Cpu,
    x: &[f32],
    weight: &[f32],
    eps: f32,
    out: &mut [T],
    out_stride: usize,
    norm: NormRows<T>,
) {
    let d = weight.len();
    let out = SharedMut::new(out);
    for_row_blocks(cpu, x.len() / d, 2 * d, |rows| {
        let x = x[rows.start * d..rows.end * d].as_ptr();
        // SAFETY: the instructions are there; blocks of rows do not overlap; rows of `out` have room for
        // `d` elements, and in operands for all lanes of the last vector.
        unsafe {
            let out = out.slice(rows.start * out_stride..rows.end * out_stride);
            norm(
                cpu.isa(),
                x,
                rows.len(),
                weight,
                eps,
                out.as_mut_ptr(),
                out_stride,
            );
        }
    });
}

/// Rows of the backward pass, one after the other, as many columns as weights.
struct Backward<'a> {
    x: *const f32,
    dy: *const f32,
    /// May be `dy`.
    dx: *mut f32,
    dx_is_added: bool,
    weight: &'a [f32],
    eps: f32,
    dweight: *mut f32,
}

per_isa! {
    unsafe fn norm_f32(x: *const f32, rows: usize, weight: &[f32], eps: f32, out: *mut f32, out_stride: usize) = norm_f32_on;
    unsafe fn norm_bf16(x: *const f32, rows: usize, weight: &[f32], eps: f32, out: *mut u16, out_stride: usize) = norm_bf16_on;
    unsafe fn backward(parts: &Backward<'_>, rows: usize) = backward_on;
}

/// # Safety
/// As [`norm_on`].
#[inline(always)]
unsafe fn norm_f32_on<S: Simd>(
    x: *const f32,
    rows: usize,
    weight: &[f32],
    eps: f32,
    out: *mut f32,
    out_stride: usize,
) {
    // SAFETY: the caller's promise.
    unsafe { norm_on::<S, f32>(x, rows, weight, eps, out, out_stride) }
}

/// # Safety
/// As [`norm_on`].
#[inline(always)]
unsafe fn norm_bf16_on<S: Simd>(
    x: *const f32,
    rows: usize,
    weight: &[f32],
    eps: f32,
    out: *mut u16,
    out_stride: usize,
) {
    // SAFETY: the caller's promise.
    unsafe { norm_on::<S, u16>(x, rows, weight, eps, out, out_stride) }
}

/// # Safety
/// The machine has the instructions; `x` has `rows` rows of `weight.len()` elements; those of `out` begin
/// every `out_stride` elements and have room as [`Stored::store`] asks.
#[inline(always)]
unsafe fn norm_on<S: Simd, T: Stored>(
    x: *const f32,
    rows: usize,
    weight: &[f32],
    eps: f32,
    out: *mut T,
    out_stride: usize,
) {
    let (d, weight) = (weight.len(), weight.as_ptr());
    for row in 0..rows {
        // SAFETY: the caller's promise.
        unsafe {
            let (x, out) = (x.add(row * d), out.add(row * out_stride));
            let r = S::splat(inverse_root::<S>(x, d, eps));
            for_vectors!(S, d, |i, len| {
                let normed = S::mul(S::load_first(x.add(i), len), r);
                let y = S::mul(normed, S::load_first(weight.add(i), len));
                T::store::<S>(out.add(i), len, y);
            });
        }
    }
}

/// `1 / sqrt(mean(x^2) + eps)`; NaN when the squares overflow, where the formula would say 0 and a broken
/// row would go on as zeros.
///
/// # Safety
/// The machine has the instructions, and `x` has `d` elements.
#[inline(always)]
unsafe fn inverse_root<S: Simd>(x: *const f32, d: usize, eps: f32) -> f32 {
    // SAFETY: the caller's promise.
    let squares = unsafe { dot::<S>(x, x, d) };
    if squares.is_finite() {
        1.0 / (squares / d as f32 + eps).sqrt()
    } else {
        f32::NAN
    }
}

/// # Safety
/// The machine has the instructions; all parts have `rows` rows, `dweight` one, of `weight.len()` elements.
#[inline(always)]
unsafe fn backward_on<S: Simd>(parts: &Backward<'_>, rows: usize) {
    let (d, weight, dweight) = (parts.weight.len(), parts.weight.as_ptr(), parts.dweight);
    for row in 0..rows {
        // SAFETY: the caller's promise.
        unsafe {
            let (x, dy) = (parts.x.add(row * d), parts.dy.add(row * d));
            let dx = parts.dx.add(row * d);
            let r = inverse_root::<S>(x, d, parts.eps);
            let of_x = -dot_of_three::<S>(x, weight, dy, d) / d as f32 * r * r * r;
            let (r, of_x) = (S::splat(r), S::splat(of_x));
            for_vectors!(S, d, |i, len| {
                let (x, dx, dweight) = (S::load_first(x.add(i), len), dx.add(i), dweight.add(i));
                let scaled_dy = S::mul(S::load_first(dy.add(i), len), r);
                let old = if parts.dx_is_added {
                    S::load_first(dx, len)
                } else {
                    S::splat(0.0)
                };
                let new = S::fma(
                    x,
                    of_x,
                    S::mul(scaled_dy, S::load_first(weight.add(i), len)),
                );
                S::store_first(dx, len, S::add(old, new));
                let sum = S::fma(x, scaled_dy, S::load_first(dweight, len));
                S::store_first(dweight, len, sum);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::{ROWS as ROW_COUNTS, WIDTHS, assert_close, bits, noise, on_all_cpus, wide},
        simd::{bf16_to_f32, f32_to_bf16},
    };

    const EPS: f32 = 1e-5;

    /// Norm of one row in f64, its gradient, and its share in that of the weight.
    fn twin(x: &[f64], weight: &[f64], eps: f64, dy: &[f64]) -> [Vec<f64>; 3] {
        let d = x.len() as f64;
        let r = 1.0 / (x.iter().map(|x| x * x).sum::<f64>() / d + eps).sqrt();
        let all = || x.iter().zip(weight).zip(dy);
        let sum: f64 = all().map(|((x, w), dy)| x * w * dy).sum();
        [
            all().map(|((x, w), _)| x * r * w).collect(),
            all()
                .map(|((x, w), dy)| r * w * dy - x * r.powi(3) / d * sum)
                .collect(),
            all().map(|((x, _), dy)| x * r * dy).collect(),
        ]
    }

    #[test]
    fn a_row_and_its_gradients_are_those_of_python() {
        // python: x, w, dy, e = [1, -2, 3], [.5, 1, 2], [1, 2, -1], .1
        //   r = 1 / math.sqrt(sum(a * a for a in x) / 3 + e); s = sum(a * b * c for a, b, c in zip(x, w, dy))
        //   [a * r * b for a, b in zip(x, w)], [a * r * c for a, c in zip(x, dy)]
        //   [r * b * c - a * r**3 / 3 * s for a, b, c in zip(x, w, dy)]
        let (x, weight, dy) = ([1.0, -2.0, 3.0], [0.5, 1.0, 2.0], [1.0, 2.0, -1.0]);
        let y = [0.229_014_306, -0.916_057_225, 2.748_171_674];
        let dweight = [0.458_028_613, -1.832_114_450, -1.374_085_837];
        let dx = [0.533_299_049, 0.307_487_740, -0.003_202_997];
        let found = on_all_cpus(|cpu| {
            let (mut y, mut dx, mut dweight) = ([0.0; 3], [10.0; 3], [20.0; 3]);
            rms_norm_f32(cpu, &x, &weight, 0.1, &mut y);
            rms_norm_backward(cpu, &x, &weight, 0.1, &dy, &mut dx, &mut dweight);
            [y, dx.map(|dx| dx - 10.0), dweight.map(|dw| dw - 20.0)].concat()
        });
        for (isa, found) in found {
            assert_close(&found, &[y, dx, dweight].concat(), 3e-6, isa);
        }
    }

    #[test]
    fn rows_agree_with_f64_alone_and_in_a_batch() {
        for d in WIDTHS {
            for rows in ROW_COUNTS {
                let (x, weight) = (noise(rows * d, 1), noise(d, 2));
                let (x64, weight64) = (wide(&x), wide(&weight));
                let norm = |row| twin(row, &weight64, f64::from(EPS), &weight64)[0].clone();
                let expected: Vec<f64> = x64.chunks_exact(d).flat_map(norm).collect();
                let found = on_all_cpus(|cpu| {
                    let mut out = vec![0.0; rows * d];
                    rms_norm_f32(cpu, &x, &weight, EPS, &mut out);
                    for row in 0..rows.min(2) {
                        let (range, mut alone) = (row * d..(row + 1) * d, vec![0.0; d]);
                        rms_norm_f32(cpu, &x[range.clone()], &weight, EPS, &mut alone);
                        assert_eq!(bits(&alone), bits(&out[range]), "neighbours matter");
                    }
                    out
                });
                let operand = |format| {
                    on_all_cpus(|cpu| {
                        let mut out = Operand::new();
                        // Whatever was there must not shine through.
                        out.fill_rows(cpu, format, &[5.0; 900], 1, 900, 900);
                        rms_norm(cpu, &x, &weight, EPS, &mut out, format);
                        out.to_f32()
                    })
                };
                assert_eq!(operand(OperandFormat::F32), found);
                let rounded = operand(OperandFormat::Bf16);
                for ((isa, found), (_, rounded)) in found.into_iter().zip(rounded) {
                    assert_close(&found, &expected, 1e-6, format!("{isa} {rows} {d}"));
                    let round = |x: &f32| bf16_to_f32(f32_to_bf16(*x));
                    assert_eq!(found.iter().map(round).collect::<Vec<_>>(), rounded);
                }
            }
        }
    }

    #[test]
    fn what_is_behind_a_row_in_an_operand_stays_zero() {
        for (isa, padding) in on_all_cpus(|cpu| {
            let mut out = Operand::new();
            out.fill_rows(cpu, OperandFormat::Bf16, &[5.0; 96], 1, 96, 96);
            rms_norm(
                cpu,
                &noise(14, 1),
                &noise(7, 2),
                EPS,
                &mut out,
                OperandFormat::Bf16,
            );
            let rows = out.bf16().chunks(out.stride());
            rows.flat_map(|row| row[7..32].iter().map(|x| bf16_to_f32(*x)))
                .collect()
        }) {
            assert_eq!(padding, [0.0; 50], "{isa}");
        }
    }

    #[test]
    fn gradients_agree_with_f64_and_are_added() {
        for d in WIDTHS {
            for rows in ROW_COUNTS {
                let (x, weight, dy) = (noise(rows * d, 1), noise(d, 2), noise(rows * d, 3));
                let (dx, dweight) = (noise(rows * d, 4), noise(d, 5));
                let (mut dx64, mut dweight64) = (wide(&dx), wide(&dweight));
                for row in 0..rows {
                    let range = row * d..(row + 1) * d;
                    let [_, dx, share] = twin(
                        &wide(&x[range.clone()]),
                        &wide(&weight),
                        f64::from(EPS),
                        &wide(&dy[range.clone()]),
                    );
                    add(&mut dx64[range], &dx);
                    add(&mut dweight64, &share);
                }
                for (isa, found) in on_all_cpus(|cpu| {
                    let (mut dx, mut dweight) = (dx.clone(), dweight.clone());
                    rms_norm_backward(cpu, &x, &weight, EPS, &dy, &mut dx, &mut dweight);
                    [dx, dweight].concat()
                }) {
                    let expected = [&*dx64, &*dweight64].concat();
                    // Two tiny numbers make large factors at a width of 1: there the gradient is near 0.
                    let tolerance = if d == 1 { 2e-4 } else { 1e-5 };
                    assert_close(&found, &expected, tolerance, format!("{isa} {rows} {d}"));
                }
            }
        }
    }

    #[test]
    fn gradients_of_the_twin_are_differences() {
        let (x, weight, dy) = (wide(&noise(5, 1)), wide(&noise(5, 2)), wide(&noise(5, 3)));
        let loss = |x: &[f64], weight: &[f64]| -> f64 {
            let y = &twin(x, weight, 0.1, &dy)[0];
            y.iter().zip(&dy).map(|(y, dy)| y * dy).sum()
        };
        let [_, dx, dweight] = twin(&x, &weight, 0.1, &dy);
        let h = 1e-5;
        for i in 0..5 {
            let moved = |values: &[f64], by| {
                let mut values = values.to_vec();
                values[i] += by;
                values
            };
            let by_x = loss(&moved(&x, h), &weight) - loss(&moved(&x, -h), &weight);
            let by_weight = loss(&x, &moved(&weight, h)) - loss(&x, &moved(&weight, -h));
            assert!((by_x / (2.0 * h) - dx[i]).abs() < 1e-8);
            assert!((by_weight / (2.0 * h) - dweight[i]).abs() < 1e-8);
        }
    }

    #[test]
    fn heads_are_normed_in_place_and_nothing_else_is() {
        for (n_heads, head_dim) in [(1, 1), (2, 7), (3, 64), (9, 65)] {
            for rows in ROW_COUNTS {
                let (offset, width) = (4, n_heads * head_dim);
                let stride = width + 9;
                let (x, dy) = (noise(rows * stride, 1), noise(rows * stride, 2));
                let (weight, dweight) = (noise(head_dim, 3), noise(head_dim, 4));
                let (mut y64, mut dx64, mut dweight64) = (wide(&x), wide(&dy), wide(&dweight));
                for head in 0..rows * n_heads {
                    let start = head / n_heads * stride + offset + head % n_heads * head_dim;
                    let range = start..start + head_dim;
                    let [y, dx, share] = twin(
                        &wide(&x[range.clone()]),
                        &wide(&weight),
                        f64::from(EPS),
                        &wide(&dy[range.clone()]),
                    );
                    y64[range.clone()].copy_from_slice(&y);
                    dx64[range].copy_from_slice(&dx);
                    add(&mut dweight64, &share);
                }
                for (isa, found) in on_all_cpus(|cpu| {
                    let (mut y, mut dx, mut dweight) = (x.clone(), dy.clone(), dweight.clone());
                    head_norm(
                        cpu, &mut y, rows, stride, offset, n_heads, head_dim, &weight, EPS,
                    );
                    head_norm_backward(
                        cpu,
                        &x,
                        &mut dx,
                        rows,
                        stride,
                        offset,
                        n_heads,
                        head_dim,
                        &weight,
                        EPS,
                        &mut dweight,
                    );
                    [y, dx, dweight].concat()
                }) {
                    let expected = [&*y64, &*dx64, &*dweight64].concat();
                    let tolerance = if head_dim == 1 { 2e-4 } else { 2e-5 };
                    assert_close(
                        &found,
                        &expected,
                        tolerance,
                        format!("{isa} {rows} {head_dim}"),
                    );
                }
            }
        }
    }

    fn add(to: &mut [f64], what: &[f64]) {
        to.iter_mut().zip(what).for_each(|(to, what)| *to += what);
    }

    #[test]
    fn rows_whose_squares_overflow_become_nan_and_not_zeros() {
        for isa in crate::Isa::available() {
            let cpu = Cpu::new(isa, std::num::NonZero::<usize>::MIN).unwrap();
            let mut out = [0.0; 4];
            rms_norm_f32(&cpu, &[1e30, 1.0, 3.0, 4.0], &[1.0, 1.0], 1e-5, &mut out);
            assert!(out[0].is_nan() && out[1].is_nan(), "{isa}: {out:?}");
            assert!(
                (out[2] - 3.0 / 12.5_f32.sqrt()).abs() < 1e-5,
                "{isa}: {out:?}"
            );
        }
    }
}
