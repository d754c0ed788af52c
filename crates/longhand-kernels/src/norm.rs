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

/// `1 / sqrt(mean(x^2) + eps)`
///
/// # Safety
/// The machine has the instructions, and `x` has `d` elements.
#[inline(always)]
unsafe fn inverse_root<S: Simd>(x: *const f32, d: usize, eps: f32) -> f32 {
    // SAFETY: the caller's promise.
    let squares = unsafe { dot::<S>(x, x, d) };
    1.0 / (squares / d as f32 + eps).sqrt()
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
