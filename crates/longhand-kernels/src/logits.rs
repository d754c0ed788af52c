//! Statistics of a softmax over ids, and gradients of log-probabilities and entropy with respect to logits.
//!
//! With `z = logits * inverse_temperature` over the first `n_ids` columns: `ln p_j = z_j - ln sum_i e^z_i`
//! and `H = -sum_j p_j ln p_j`.

use crate::{
    Cpu,
    rows::{for_row_blocks, for_vectors},
    shared::SharedMut,
    simd::{Simd, per_isa},
};

/// Ids whose exponentials are summed in f32, in lanes; blocks are summed in f64.
const BLOCK: usize = 512;

/// A scaled logit this far below the largest has probability 0.
const FAR_BELOW: f32 = -200.0;

/// Statistics of one row of logits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LogitStats {
    /// Largest logit, not scaled.
    pub max: f32,
    /// `ln sum_i e^(z_i - max z)`: minus the log-probability of the most probable id.
    pub log_sum: f32,
    /// `ln sum_i e^z_i`
    pub log_sum_exp: f32,
    /// `-sum_j p_j ln p_j`
    pub entropy: f32,
    /// Mean of `z`; self-certainty is `log_sum_exp - mean - ln n_ids`.
    pub mean: f32,
    /// False when a logit is NaN or infinite upwards, or none is finite; the rest then means nothing.
    pub is_finite: bool,
}

impl LogitStats {
    /// The log-probability of an id with this logit.
    pub fn logprob(&self, logit: f32, inverse_temperature: f32) -> f32 {
        let below = f64::from(logit - self.max) * f64::from(inverse_temperature);
        (below - f64::from(self.log_sum)) as f32
    }
}

/// What the gradient of one row is made of.
#[derive(Clone, Copy, Debug)]
pub struct RowGradient<'a> {
    /// Of this row.
    pub stats: LogitStats,
    /// Ids, each with the derivative of the loss with respect to its log-probability. An id may come twice.
    pub targets: &'a [(u32, f32)],
    /// Derivative of the loss with respect to the entropy.
    pub entropy_weight: f32,
}

/// Statistics of each row of `logits`, `[rows, stride]`, over its first `n_ids` columns.
///
/// # Panics
/// When a length is not as said, `n_ids` is 0 or more than `stride`, or the inverse temperature is not
/// positive and finite.
pub fn logit_stats(
    cpu: &Cpu,
    logits: &[f32],
    rows: usize,
    stride: usize,
    n_ids: usize,
    inverse_temperature: f32,
    out: &mut [LogitStats],
) {
    check(logits, rows, stride, n_ids, inverse_temperature);
    assert_eq!(out.len(), rows);
    let shared = SharedMut::new(out);
    for_row_blocks(cpu, rows, 4 * n_ids, |rows| {
        // SAFETY: blocks of rows do not overlap.
        let out = unsafe { shared.slice(rows.clone()) };
        for (out, row) in out.iter_mut().zip(rows) {
            let logits = &logits[row * stride..row * stride + n_ids];
            // SAFETY: the instructions are there, and the row has `n_ids` elements.
            let sums = unsafe { sums(cpu.isa(), logits.as_ptr(), n_ids, inverse_temperature) };
            *out = sums.stats(n_ids, inverse_temperature);
        }
    });
}

/// Makes of `logits`, `[rows, stride]`, in place the gradient of `sum_i g_i ln p_(t_i) + e H` for the targets
/// `(t_i, g_i)` and the entropy weight `e` of each row: the gradient with respect to logit `j` is
/// `inverse_temperature * (sum_i g_i (1[j = t_i] - p_j) - e p_j (ln p_j + H))`. Columns from `n_ids` on
/// become 0. A row without targets and entropy becomes 0 whatever its logits; otherwise its statistics must
/// be finite for the result to mean anything.
///
/// # Panics
/// As [`logit_stats`], and when a target is not below `n_ids`.
pub fn logit_gradient(
    cpu: &Cpu,
    logits: &mut [f32],
    rows: usize,
    stride: usize,
    n_ids: usize,
    inverse_temperature: f32,
    rows_gradient: &[RowGradient<'_>],
) {
    check(logits, rows, stride, n_ids, inverse_temperature);
    assert_eq!(rows_gradient.len(), rows);
    let shared = SharedMut::new(logits);
    for_row_blocks(cpu, rows, 4 * stride, |rows| {
        for row in rows {
            // SAFETY: rows do not overlap.
            let logits = unsafe { shared.slice(row * stride..(row + 1) * stride) };
            let (logits, behind) = logits.split_at_mut(n_ids);
            row_gradient(cpu, logits, inverse_temperature, &rows_gradient[row]);
            behind.fill(0.0);
        }
    });
}

fn check(logits: &[f32], rows: usize, stride: usize, n_ids: usize, inverse_temperature: f32) {
    assert_eq!(logits.len(), rows * stride);
    assert!(0 < n_ids && n_ids <= stride, "{n_ids} ids of {stride}");
    assert!(
        0.0 < inverse_temperature && inverse_temperature.is_finite(),
        "inverse temperature {inverse_temperature}"
    );
}

fn row_gradient(cpu: &Cpu, logits: &mut [f32], inverse_temperature: f32, of: &RowGradient<'_>) {
    if of.targets.is_empty() && of.entropy_weight == 0.0 {
        logits.fill(0.0);
        return;
    }
    let total: f64 = of.targets.iter().map(|(_, g)| f64::from(*g)).sum();
    let scale = -f64::from(inverse_temperature);
    let entropy_weight = f64::from(of.entropy_weight);
    let factors = Factors {
        max: of.stats.max,
        log_sum: of.stats.log_sum,
        inverse_temperature,
        constant: (scale * (total + entropy_weight * f64::from(of.stats.entropy))) as f32,
        per_logprob: (scale * entropy_weight) as f32,
    };
    // SAFETY: the instructions are there.
    unsafe { gradient(cpu.isa(), logits.as_mut_ptr(), logits.len(), &factors) };
    for (target, g) in of.targets {
        logits[*target as usize] += g * inverse_temperature;
    }
}

/// The gradient of an id that is no target is `p (constant + per_logprob ln p)`.
struct Factors {
    max: f32,
    log_sum: f32,
    inverse_temperature: f32,
    constant: f32,
    per_logprob: f32,
}

/// Sums over one row, relative to its largest logit: `d = (logit - max) * inverse_temperature`.
struct Sums {
    max: f32,
    /// Of `e^d`.
    exp: f64,
    /// Of `d e^d`.
    weighted: f64,
    /// Of the logits.
    logits: f64,
}

impl Sums {
    fn stats(&self, n_ids: usize, inverse_temperature: f32) -> LogitStats {
        let scale = f64::from(inverse_temperature);
        let log_sum = self.exp.ln();
        LogitStats {
            max: self.max,
            log_sum: log_sum as f32,
            log_sum_exp: (f64::from(self.max) * scale + log_sum) as f32,
            entropy: (log_sum - self.weighted / self.exp) as f32,
            mean: (self.logits / n_ids as f64 * scale) as f32,
            is_finite: self.max.is_finite() && !self.logits.is_nan(),
        }
    }
}

per_isa! {
    unsafe fn sums(x: *const f32, n: usize, inverse_temperature: f32) -> Sums = sums_on;
    unsafe fn gradient(x: *mut f32, n: usize, factors: &Factors) = gradient_on;
}

/// # Safety
/// The machine has the instructions, and `x` has `n` elements.
#[inline(always)]
unsafe fn sums_on<S: Simd>(x: *const f32, n: usize, inverse_temperature: f32) -> Sums {
    let mut sums = Sums {
        max: f32::NEG_INFINITY,
        exp: 0.0,
        weighted: 0.0,
        logits: 0.0,
    };
    let n_full = n - n % S::LANES;
    // The last ids are padded to a vector with what adds nothing.
    let (mut rest, mut rest_or_zero) = ([f32::NEG_INFINITY; 16], [0.0_f32; 16]);
    // SAFETY: the caller's promise; there are less than `LANES <= 16` elements from `n_full` on; blocks and
    // their vectors are inside `n_full`, or the padded vector.
    unsafe {
        for i in n_full..n {
            rest[i - n_full] = *x.add(i);
            rest_or_zero[i - n_full] = *x.add(i);
        }
        let mut start = 0;
        while start < n_full {
            let end = n_full.min(start + BLOCK);
            let block = x.add(start);
            block_sums::<S>(block, block, end - start, inverse_temperature, &mut sums);
            start = end;
        }
        if n_full < n {
            let (rest, rest_or_zero) = (rest.as_ptr(), rest_or_zero.as_ptr());
            block_sums::<S>(rest, rest_or_zero, S::LANES, inverse_temperature, &mut sums);
        }
    }
    sums
}

/// Adds one block of ids to the sums. `summands` are the logits, but for padding.
///
/// # Safety
/// The machine has the instructions, and both have `n` elements, a multiple of `LANES`.
#[inline(always)]
unsafe fn block_sums<S: Simd>(
    x: *const f32,
    summands: *const f32,
    n: usize,
    inverse_temperature: f32,
    sums: &mut Sums,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut largest = S::splat(f32::NEG_INFINITY);
        let mut logits = S::splat(0.0);
        for i in (0..n).step_by(S::LANES) {
            // A NaN is not larger than anything in this order, but stays in the sum.
            largest = S::max(S::load(x.add(i)), largest);
            logits = S::add(logits, S::load(summands.add(i)));
        }
        sums.logits += f64::from(S::sum(logits));
        let max = S::largest(largest);
        if max == f32::NEG_INFINITY {
            return;
        }
        if sums.max < max {
            if 0.0 < sums.exp {
                let shift = (f64::from(sums.max) - f64::from(max)) * f64::from(inverse_temperature);
                let factor = shift.exp();
                sums.weighted = factor * (sums.weighted + shift * sums.exp);
                sums.exp *= factor;
            }
            sums.max = max;
        }
        let (max, scale) = (S::splat(sums.max), S::splat(inverse_temperature));
        // The largest are counted apart: beside their 1, the exponentials of a confident row would be
        // rounded away, and its entropy with them.
        let mut n_largest = S::splat(0.0);
        let (mut exp, mut weighted) = (n_largest, n_largest);
        for i in (0..n).step_by(S::LANES) {
            let d = S::mul(S::sub(S::load(x.add(i)), max), scale);
            let is_largest = S::zero_below(S::splat(1.0), d, 0.0);
            let e = S::exp(d);
            n_largest = S::add(n_largest, is_largest);
            exp = S::add(exp, S::sub(e, is_largest));
            // Infinitely far below, `d e^d` is 0 as well.
            weighted = S::fma(S::max(d, S::splat(FAR_BELOW)), e, weighted);
        }
        sums.exp += f64::from(S::sum(exp)) + f64::from(S::sum(n_largest));
        sums.weighted += f64::from(S::sum(weighted));
    }
}

/// # Safety
/// The machine has the instructions, and `x` has `n` elements.
#[inline(always)]
unsafe fn gradient_on<S: Simd>(x: *mut f32, n: usize, factors: &Factors) {
    // SAFETY: the caller's promise.
    unsafe {
        let (max, log_sum) = (S::splat(factors.max), S::splat(factors.log_sum));
        let scale = S::splat(factors.inverse_temperature);
        let constant = S::splat(factors.constant);
        let per_logprob = S::splat(factors.per_logprob);
        for_vectors!(S, n, |i, len| {
            let x = x.add(i);
            let d = S::mul(S::sub(S::load_first(x, len), max), scale);
            let logprob = S::max(S::sub(d, log_sum), S::splat(FAR_BELOW));
            let factor = S::fma(per_logprob, logprob, constant);
            S::store_first(x, len, S::mul(S::exp(logprob), factor));
        });
    }
}
