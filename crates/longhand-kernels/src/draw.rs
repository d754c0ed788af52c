//! One id from one row of logits: drawn by its probability, or the most probable.

use crate::{
    Cpu, LogitStats,
    rows::for_vectors,
    simd::{Simd, per_isa},
};

/// Ids that are looked through one by one only when the drawn one is among them.
const BLOCK: usize = 1024;

/// The id that `u`, in `[0, 1)`, draws from the softmax of `logits * inverse_temperature`: the first whose
/// cumulative probability exceeds `u`, else the last with any probability. `stats` are those of `logits`.
///
/// # Panics
/// When the statistics are not finite.
pub fn draw(
    cpu: &Cpu,
    logits: &[f32],
    inverse_temperature: f32,
    stats: &LogitStats,
    u: f64,
) -> usize {
    assert!(stats.is_finite, "no distribution to draw from");
    let mut exps = [0.0_f32; BLOCK];
    let exp_block = |block: &[f32], exps: &mut [f32; BLOCK]| {
        let (from, to) = (block.as_ptr(), exps.as_mut_ptr());
        // SAFETY: the instructions are there; both have `block.len() <= BLOCK` elements.
        let sum = unsafe {
            exp_and_sum(
                cpu.isa(),
                from,
                block.len(),
                stats.max,
                inverse_temperature,
                to,
            )
        };
        f64::from(sum)
    };
    let blocks = logits.chunks(BLOCK);
    let sums: Vec<f64> = blocks.map(|block| exp_block(block, &mut exps)).collect();
    let threshold = u * sums.iter().sum::<f64>();
    let mut before = 0.0;
    let mut chosen = (0, 0.0);
    for (block_idx, sum) in sums.iter().enumerate() {
        if *sum == 0.0 {
            continue;
        }
        chosen = (block_idx, before);
        before += sum;
        if threshold < before {
            break;
        }
    }
    let (block_idx, mut sum) = chosen;
    let start = block_idx * BLOCK;
    let block = &logits[start..logits.len().min(start + BLOCK)];
    exp_block(block, &mut exps);
    let mut last = 0;
    for (i, exp) in exps[..block.len()].iter().enumerate() {
        if *exp == 0.0 {
            continue;
        }
        sum += f64::from(*exp);
        last = i;
        if threshold < sum {
            break;
        }
    }
    start + last
}

/// The first of the largest logits; NaN is passed over.
///
/// # Panics
/// When there are none.
pub fn argmax(cpu: &Cpu, logits: &[f32]) -> usize {
    assert!(!logits.is_empty());
    let mut best = (f32::NEG_INFINITY, 0);
    for (block_idx, block) in logits.chunks(BLOCK).enumerate() {
        // SAFETY: the instructions are there.
        let max = unsafe { largest(cpu.isa(), block.as_ptr(), block.len()) };
        if best.0 < max {
            best = (max, block_idx * BLOCK);
        }
    }
    let (max, start) = best;
    let is_largest = |logit: &f32| *logit == max;
    start + logits[start..].iter().position(is_largest).unwrap_or(0)
}

per_isa! {
    unsafe fn exp_and_sum(x: *const f32, n: usize, max: f32, inverse_temperature: f32, exps: *mut f32) -> f32 = exp_and_sum_on;
    unsafe fn largest(x: *const f32, n: usize) -> f32 = largest_on;
}

/// Stores `e^((x - max) * inverse_temperature)` and returns the sum.
///
/// # Safety
/// The machine has the instructions, and both have `n` elements.
#[inline(always)]
unsafe fn exp_and_sum_on<S: Simd>(
    x: *const f32,
    n: usize,
    max: f32,
    inverse_temperature: f32,
    exps: *mut f32,
) -> f32 {
    // SAFETY: the caller's promise.
    unsafe {
        let (max, scale) = (S::splat(max), S::splat(inverse_temperature));
        let mut sum = S::splat(0.0);
        for_vectors!(S, n, |i, len| {
            let d = S::mul(S::sub(S::load_first(x.add(i), len), max), scale);
            let (exps, exp) = (exps.add(i), S::exp(d));
            S::store_first(exps, len, exp);
            // Lanes behind the last id come back as zeros.
            let exp = if len < S::LANES {
                S::load_first(exps, len)
            } else {
                exp
            };
            sum = S::add(sum, exp);
        });
        S::sum(sum)
    }
}

/// # Safety
/// The machine has the instructions, and `x` has `n` elements.
#[inline(always)]
unsafe fn largest_on<S: Simd>(x: *const f32, n: usize) -> f32 {
    // SAFETY: the caller's promise.
    unsafe {
        let mut max = S::splat(f32::NEG_INFINITY);
        let n_full = n - n % S::LANES;
        for i in (0..n_full).step_by(S::LANES) {
            max = S::max(S::load(x.add(i)), max);
        }
        let mut largest = S::largest(max);
        for i in n_full..n {
            largest = largest.max(*x.add(i));
        }
        largest
    }
}
