//! The gated activation of a feed-forward, `silu(gate) * up` (arXiv:2002.05202), and its gradient.
//!
//! `silu(x) = x s(x)` with the logistic `s`; its derivative is `s (1 + x (1 - s))`.

use crate::{
    Cpu, Operand, OperandFormat,
    rows::{Stored, for_row_blocks, for_vectors},
    shared::SharedMut,
    simd::{Simd, per_isa},
};

/// Fills `out` with `silu(gate) * up`, `[rows, inner]`, from `gate_up`, whose rows are `gate | up`,
/// `[rows, 2 * inner]`.
///
/// # Panics
/// When `gate_up` is not whole rows.
pub fn gated(cpu: &Cpu, gate_up: &[f32], inner: usize, out: &mut Operand, format: OperandFormat) {
    let rows = n_rows(gate_up, inner);
    out.reset(format, rows, inner);
    let stride = out.stride();
    match format {
        OperandFormat::F32 => gated_rows(cpu, gate_up, inner, out.f32_mut(), stride, act_f32),
        OperandFormat::Bf16 => gated_rows(cpu, gate_up, inner, out.bf16_mut(), stride, act_bf16),
    }
}

/// Replaces `gate_up`, `gate | up` in each row, by its gradient, given that of the result, `dact`,
/// `[rows, inner]`.
///
/// # Panics
/// When lengths are not as said.
pub fn gated_backward(cpu: &Cpu, gate_up: &mut [f32], inner: usize, dact: &[f32]) {
    let rows = n_rows(gate_up, inner);
    assert_eq!(dact.len(), rows * inner);
    let shared = SharedMut::new(gate_up);
    for_row_blocks(cpu, rows, 6 * inner, |rows| {
        for row in rows {
            let dact = dact[row * inner..(row + 1) * inner].as_ptr();
            // SAFETY: the instructions are there; rows do not overlap.
            unsafe {
                let gate_up = shared.slice(row * 2 * inner..(row + 1) * 2 * inner);
                backward(cpu.isa(), gate_up.as_mut_ptr(), inner, dact);
            }
        }
    });
}

fn n_rows(gate_up: &[f32], inner: usize) -> usize {
    assert_ne!(inner, 0);
    let rows = gate_up.len() / (2 * inner);
    assert_eq!(gate_up.len(), rows * 2 * inner);
    rows
}

/// [`act_f32`] or [`act_bf16`].
type ActRow<T> = unsafe fn(crate::Isa, *const f32, usize, *mut T);

fn gated_rows<T: Stored>(
    cpu: &Cpu,
    gate_up: &[f32],
    inner: usize,
    out: &mut [T],
    out_stride: usize,
    act: ActRow<T>,
) {
    let out = SharedMut::new(out);
    for_row_blocks(cpu, gate_up.len() / (2 * inner), 4 * inner, |rows| {
        for row in rows {
            let gate_up = gate_up[row * 2 * inner..(row + 1) * 2 * inner].as_ptr();
            // SAFETY: the instructions are there; rows do not overlap, and those of an operand have room
            // for all lanes of the last vector.
            unsafe {
                let out = out.slice(row * out_stride..(row + 1) * out_stride);
                act(cpu.isa(), gate_up, inner, out.as_mut_ptr());
            }
        }
    });
}

per_isa! {
    unsafe fn act_f32(gate_up: *const f32, inner: usize, out: *mut f32) = act_f32_on;
    unsafe fn act_bf16(gate_up: *const f32, inner: usize, out: *mut u16) = act_bf16_on;
    unsafe fn backward(gate_up: *mut f32, inner: usize, dact: *const f32) = backward_on;
}

/// # Safety
/// As [`act_on`].
#[inline(always)]
unsafe fn act_f32_on<S: Simd>(gate_up: *const f32, inner: usize, out: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { act_on::<S, f32>(gate_up, inner, out) }
}

/// # Safety
/// As [`act_on`].
#[inline(always)]
unsafe fn act_bf16_on<S: Simd>(gate_up: *const f32, inner: usize, out: *mut u16) {
    // SAFETY: the caller's promise.
    unsafe { act_on::<S, u16>(gate_up, inner, out) }
}

/// # Safety
/// The machine has the instructions; `gate_up` has `2 * inner` elements, `out` has room for `inner` as
/// [`Stored::store`] asks.
#[inline(always)]
unsafe fn act_on<S: Simd, T: Stored>(gate_up: *const f32, inner: usize, out: *mut T) {
    for_vectors!(S, inner, |i, len| {
        // SAFETY: the caller's promise.
        unsafe {
            let gate = S::load_first(gate_up.add(i), len);
            let up = S::load_first(gate_up.add(inner + i), len);
            let one_and_exp = S::add(S::exp(S::sub(S::splat(0.0), gate)), S::splat(1.0));
            T::store::<S>(out.add(i), len, S::div(S::mul(gate, up), one_and_exp));
        }
    });
}

/// # Safety
/// The machine has the instructions; `gate_up` has `2 * inner` elements, `dact` has `inner`.
#[inline(always)]
unsafe fn backward_on<S: Simd>(gate_up: *mut f32, inner: usize, dact: *const f32) {
    for_vectors!(S, inner, |i, len| {
        // SAFETY: the caller's promise.
        unsafe {
            let one = S::splat(1.0);
            let (gate_at, up_at) = (gate_up.add(i), gate_up.add(inner + i));
            let (gate, up) = (S::load_first(gate_at, len), S::load_first(up_at, len));
            let dact = S::load_first(dact.add(i), len);
            let exp = S::exp(S::sub(S::splat(0.0), gate));
            let logistic = S::div(one, S::add(exp, one));
            // dact s, which both gradients have.
            let shared = S::mul(dact, logistic);
            let slope = S::fma(gate, S::sub(one, logistic), one);
            S::store_first(gate_at, len, S::mul(S::mul(shared, slope), up));
            S::store_first(up_at, len, S::mul(shared, gate));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::{ROWS, WIDTHS, assert_close, noise, on_all_cpus, wide},
        simd::{bf16_to_f32, f32_to_bf16},
    };

    fn act(cpu: &Cpu, gate_up: &[f32], inner: usize, format: OperandFormat) -> Vec<f32> {
        let mut out = Operand::new();
        // Whatever was there must not shine through.
        out.fill_rows(cpu, format, &[5.0; 900], 1, 900, 900);
        gated(cpu, gate_up, inner, &mut out, format);
        out.to_f32()
    }

    /// `silu(gate) * up` of one pair, and its derivatives times `dact`.
    fn twin(gate: f64, up: f64, dact: f64) -> [f64; 3] {
        let logistic = 1.0 / (1.0 + (-gate).exp());
        let slope = logistic + gate * logistic * (1.0 - logistic);
        [
            gate * logistic * up,
            dact * up * slope,
            dact * gate * logistic,
        ]
    }

    #[test]
    fn values_and_gradients_agree_with_f64() {
        for inner in WIDTHS {
            for rows in ROWS {
                // Gates from -12 to 12.
                let mut gate_up = noise(rows * 2 * inner, 7);
                for row in gate_up.chunks_exact_mut(2 * inner) {
                    row[..inner].iter_mut().for_each(|x| *x *= 6.0);
                }
                let dact = noise(rows * inner, 8);
                let (x, dy) = (wide(&gate_up), wide(&dact));
                let (mut y, mut dx) = (vec![0.0; dy.len()], vec![0.0; x.len()]);
                for row in 0..rows {
                    for i in 0..inner {
                        let (at, out) = (row * 2 * inner + i, row * inner + i);
                        [y[out], dx[at], dx[at + inner]] = twin(x[at], x[at + inner], dy[out]);
                    }
                }
                let what = |isa| format!("{isa} {rows} {inner}");
                let found = on_all_cpus(|cpu| act(cpu, &gate_up, inner, OperandFormat::F32));
                let rounded = on_all_cpus(|cpu| act(cpu, &gate_up, inner, OperandFormat::Bf16));
                for ((isa, found), (_, rounded)) in found.into_iter().zip(rounded) {
                    assert_close(&found, &y, 1e-6, what(isa));
                    let found: Vec<f32> =
                        found.iter().map(|x| bf16_to_f32(f32_to_bf16(*x))).collect();
                    assert_eq!(found, rounded, "{}", what(isa));
                }
                for (isa, found) in on_all_cpus(|cpu| {
                    let mut gate_up = gate_up.clone();
                    gated_backward(cpu, &mut gate_up, inner, &dact);
                    gate_up
                }) {
                    assert_close(&found, &dx, 2e-6, what(isa));
                }
            }
        }
    }

    #[test]
    fn derivatives_are_differences() {
        for gate in [-3.0, -0.4, 0.0, 1.3, 5.0] {
            let [_, dgate, dup] = twin(gate, 1.7, 1.0);
            let h = 1e-6;
            let slope = |a: [f64; 3], b: [f64; 3]| (b[0] - a[0]) / (2.0 * h);
            let by_gate = slope(twin(gate - h, 1.7, 1.0), twin(gate + h, 1.7, 1.0));
            let by_up = slope(twin(gate, 1.7 - h, 1.0), twin(gate, 1.7 + h, 1.0));
            assert!((by_gate - dgate).abs() < 1e-8 && (by_up - dup).abs() < 1e-8);
        }
        // python: 2 / (1 + math.exp(-2)) * 3
        assert!((twin(2.0, 3.0, 1.0)[0] - 5.284_782_467_867).abs() < 1e-11);
    }

    #[test]
    fn far_gates_are_closed_or_open_and_nan_stays() {
        for (isa, y) in on_all_cpus(|cpu| {
            let gate_up = [-500.0, 500.0, f32::NAN, 1.0, 1.0, 1.0];
            act(cpu, &gate_up, 3, OperandFormat::F32)
        }) {
            assert!(y[0].abs() < 1e-35, "{isa}: {}", y[0]);
            assert_eq!(y[1], 500.0, "{isa}");
        }
        let broken = act(&Cpu::detect(), &[f32::NAN, 1.0], 1, OperandFormat::Bf16);
        assert!(broken[0].is_nan());
    }
}
