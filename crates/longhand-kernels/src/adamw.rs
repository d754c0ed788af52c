//! AdamW: adaptive steps with decoupled weight decay (arXiv:1711.05101).
//!
//! `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`, `p = p (1 - lr wd) - lr (m / (1 - b1^t)) / (sqrt(v /
//! (1 - b2^t)) + eps)`, as `torch.optim.AdamW` has it.

use crate::{
    Cpu,
    rows::for_vectors,
    shared::SharedMut,
    simd::{Simd, per_isa},
};

/// Elements that one task updates.
const BLOCK: usize = 1 << 15;

/// The settings of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate of this step.
    pub lr: f64,
    /// How much of the mean of gradients is kept.
    pub beta1: f64,
    /// How much of the mean of squared gradients is kept.
    pub beta2: f64,
    /// Added to the root of the mean of squares.
    pub eps: f64,
    /// Share of a parameter that a step at learning rate 1 would take away.
    pub weight_decay: f64,
    /// Number of this step, from 1, for the correction of the two means.
    pub step: u64,
}

/// One step of `param` along `grad * grad_scale`; `m` and `v` are the two means, zero before the first step.
///
/// # Panics
/// When lengths differ, or the step is 0.
pub fn adamw(
    cpu: &Cpu,
    settings: &AdamW,
    grad_scale: f32,
    param: &mut [f32],
    grad: &[f32],
    m: &mut [f32],
    v: &mut [f32],
) {
    let n = param.len();
    assert_eq!((grad.len(), m.len(), v.len()), (n, n, n));
    assert_ne!(settings.step, 0);
    let factors = Factors::new(settings, grad_scale);
    let (param, m, v) = (SharedMut::new(param), SharedMut::new(m), SharedMut::new(v));
    cpu.for_each(n.div_ceil(BLOCK), |block_idx| {
        let start = block_idx * BLOCK;
        let range = start..n.min(start + BLOCK);
        // SAFETY: the instructions are there; blocks do not overlap; all four have as many elements.
        unsafe {
            update(
                cpu.isa(),
                &factors,
                param.slice(range.clone()).as_mut_ptr(),
                grad[range.clone()].as_ptr(),
                m.slice(range.clone()).as_mut_ptr(),
                v.slice(range.clone()).as_mut_ptr(),
                range.len(),
            );
        }
    });
}

/// What every element is multiplied by, made in f64 once.
struct Factors {
    grad_scale: f32,
    new_in_m: f32,
    old_in_v: f32,
    new_in_v: f32,
    /// `1 - lr * weight_decay`
    kept: f32,
    /// `-lr / (1 - beta1^step)`
    minus_step: f32,
    /// `1 / sqrt(1 - beta2^step)`
    root_scale: f32,
    eps: f32,
}

impl Factors {
    fn new(settings: &AdamW, grad_scale: f32) -> Factors {
        let step = settings.step as f64;
        Factors {
            grad_scale,
            new_in_m: (1.0 - settings.beta1) as f32,
            old_in_v: settings.beta2 as f32,
            new_in_v: (1.0 - settings.beta2) as f32,
            kept: (1.0 - settings.lr * settings.weight_decay) as f32,
            minus_step: (-settings.lr / (1.0 - settings.beta1.powf(step))) as f32,
            root_scale: (1.0 - settings.beta2.powf(step)).sqrt().recip() as f32,
            eps: settings.eps as f32,
        }
    }
}

per_isa! {
    unsafe fn update(factors: &Factors, param: *mut f32, grad: *const f32, m: *mut f32, v: *mut f32, n: usize) = update_on;
}

/// # Safety
/// The machine has the instructions, and all four have `n` elements.
#[inline(always)]
unsafe fn update_on<S: Simd>(
    factors: &Factors,
    param: *mut f32,
    grad: *const f32,
    m: *mut f32,
    v: *mut f32,
    n: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let grad_scale = S::splat(factors.grad_scale);
        let new_in_m = S::splat(factors.new_in_m);
        let (old_in_v, new_in_v) = (S::splat(factors.old_in_v), S::splat(factors.new_in_v));
        let (kept, minus_step) = (S::splat(factors.kept), S::splat(factors.minus_step));
        let (root_scale, eps) = (S::splat(factors.root_scale), S::splat(factors.eps));
        for_vectors!(S, n, |i, len| {
            let (param, m, v) = (param.add(i), m.add(i), v.add(i));
            let g = S::mul(S::load_first(grad.add(i), len), grad_scale);
            let mean = S::load_first(m, len);
            let mean = S::fma(S::sub(g, mean), new_in_m, mean);
            let square = S::mul(S::load_first(v, len), old_in_v);
            let square = S::fma(S::mul(g, g), new_in_v, square);
            let root = S::fma(S::sqrt(square), root_scale, eps);
            let p = S::mul(S::load_first(param, len), kept);
            let p = S::fma(S::div(mean, root), minus_step, p);
            S::store_first(m, len, mean);
            S::store_first(v, len, square);
            S::store_first(param, len, p);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{WIDTHS, assert_close, noise, on_all_cpus, wide};

    /// Learning rate 0.1, so that a step is far from rounding.
    fn settings(step: u64) -> AdamW {
        AdamW {
            lr: 0.1,
            beta1: 0.9,
            beta2: 0.99,
            eps: 1e-3,
            weight_decay: 0.05,
            step,
        }
    }

    #[test]
    fn two_steps_are_those_of_python() {
        // python: lr, b1, b2, eps, wd = 0.1, 0.9, 0.99, 1e-3, 0.05
        //   p = [1.0, -0.5, 0.25]; m = [0.0] * 3; v = [0.0] * 3
        //   for t, g in ((1, [0.5, -2.0, 0.0]), (2, [-1.0, 0.5, 0.125])):
        //       for i in range(3):
        //           p[i] *= 1 - lr * wd
        //           m[i] = b1 * m[i] + (1 - b1) * g[i]; v[i] = b2 * v[i] + (1 - b2) * g[i] ** 2
        //           p[i] -= lr * (m[i] / (1 - b1 ** t)) / (math.sqrt(v[i] / (1 - b2 ** t)) + eps)
        let expected = [
            [0.895_199_600_8, -0.397_549_975_0, 0.248_75],
            [0.927_238_255_8, -0.348_553_685_7, 0.174_088_815_5],
        ];
        let last_means = [[-0.055, -0.13, 0.0125], [0.012_475, 0.0421, 0.000_156_25]];
        let grads = [[0.5, -2.0, 0.0], [-1.0, 0.5, 0.125]];
        for (isa, found) in on_all_cpus(|cpu| {
            let (mut param, mut m, mut v) = ([1.0, -0.5, 0.25], [0.0; 3], [0.0; 3]);
            let mut found = Vec::new();
            for (step, grad) in (1..).zip(grads) {
                // The scale is undone by what is scaled.
                let grad = grad.map(|g: f32| 4.0 * g);
                adamw(
                    cpu,
                    &settings(step),
                    0.25,
                    &mut param,
                    &grad,
                    &mut m,
                    &mut v,
                );
                found.extend(param);
            }
            found.extend(m);
            found.extend(v);
            found
        }) {
            let expected = [expected[0], expected[1], last_means[0], last_means[1]].concat();
            assert_close(&found, &expected, 3e-7, isa);
        }
    }

    #[test]
    fn a_late_step_of_any_size_agrees_with_f64() {
        for n in WIDTHS.into_iter().chain([0, 70_001]) {
            let (param, grad) = (noise(n, 1), noise(n, 2));
            let (m, v) = (
                noise(n, 3),
                noise(n, 4).iter().map(|x| x * x).collect::<Vec<_>>(),
            );
            let settings = settings(1000);
            let [mut p64, g64, mut m64, mut v64] = [&param, &grad, &m, &v].map(|x| wide(x));
            for i in 0..n {
                let g = 0.3 * g64[i];
                m64[i] = 0.9 * m64[i] + 0.1 * g;
                v64[i] = 0.99 * v64[i] + 0.01 * g * g;
                let root = (v64[i] / (1.0 - 0.99_f64.powi(1000))).sqrt() + 1e-3;
                p64[i] = p64[i] * 0.995 - 0.1 * m64[i] / (1.0 - 0.9_f64.powi(1000)) / root;
            }
            for (isa, found) in on_all_cpus(|cpu| {
                let (mut param, mut m, mut v) = (param.clone(), m.clone(), v.clone());
                adamw(cpu, &settings, 0.3, &mut param, &grad, &mut m, &mut v);
                [param, m, v].concat()
            }) {
                let expected = [&*p64, &*m64, &*v64].concat();
                assert_close(&found, &expected, 1e-6, format!("{isa} {n}"));
            }
        }
    }

    #[test]
    fn no_gradient_means_only_decay_and_no_decay_means_nothing() {
        let cpu = Cpu::detect();
        for (weight_decay, expected) in [(0.05, [0.995, -1.99]), (0.0, [1.0, -2.0])] {
            let settings = AdamW {
                weight_decay,
                eps: 1e-8,
                ..settings(1)
            };
            let mut param = [1.0, -2.0];
            adamw(
                &cpu,
                &settings,
                1.0,
                &mut param,
                &[0.0; 2],
                &mut [0.0; 2],
                &mut [0.0; 2],
            );
            assert_eq!(param, expected);
        }
    }
}
