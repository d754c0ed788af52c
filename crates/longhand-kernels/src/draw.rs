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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Isa,
        check::{noise, one_thread},
        logit_stats,
    };

    /// Just below 1, the largest number that a generator gives.
    const LARGEST_U: f64 = 1.0 - f64::EPSILON / 2.0;

    fn cpus() -> Vec<Cpu> {
        Isa::available().into_iter().map(one_thread).collect()
    }

    fn draw_one(cpu: &Cpu, logits: &[f32], scale: f32, u: f64) -> usize {
        let (n, mut stats) = (logits.len(), [LogitStats::default()]);
        logit_stats(cpu, logits, 1, n, n, scale, &mut stats);
        draw(cpu, logits, scale, &stats[0], u)
    }

    /// Cumulative probabilities in f64, before and with each id.
    fn cumulative(logits: &[f32], scale: f32) -> Vec<f64> {
        let exps = logits
            .iter()
            .map(|x| (f64::from(*x) * f64::from(scale)).exp());
        let total: f64 = exps.clone().sum();
        let mut sums = vec![0.0];
        sums.extend(exps.scan(0.0, |sum, exp| {
            *sum += exp / total;
            Some(*sum)
        }));
        sums
    }

    #[test]
    fn the_first_whose_cumulative_probability_exceeds_u_is_drawn() {
        for n in [1, 7, 64, 1024, 1025, 5000] {
            let mut logits = noise(n, 3);
            logits.iter_mut().for_each(|x| *x *= 3.0);
            let sums = cumulative(&logits, 0.8);
            for cpu in cpus() {
                for i in 0..200 {
                    let u = f64::from(i) / 200.0;
                    let id = draw_one(&cpu, &logits, 0.8, u);
                    let fits = sums[id] - 1e-6 <= u && u < sums[id + 1] + 1e-6;
                    assert!(fits, "{cpu:?} {n} {u}: {id}");
                }
            }
        }
    }

    #[test]
    fn shares_follow_the_probabilities() {
        // python: [math.exp(z / 2) / sum(math.exp(w / 2) for w in (1, 3, 2)) for z in (1, 3, 2)]
        let shares = [0.186_323_7, 0.506_480_4, 0.307_195_9, 0.0];
        let logits = [1.0, 3.0, 2.0, f32::NEG_INFINITY];
        for cpu in cpus() {
            let mut counts = [0.0_f64; 4];
            for i in 0..10_000 {
                counts[draw_one(&cpu, &logits, 0.5, (f64::from(i) + 0.5) / 1e4)] += 1e-4;
            }
            for (count, share) in counts.into_iter().zip(shares) {
                assert!((count - share).abs() < 2e-4, "{cpu:?}: {count} {share}");
            }
        }
    }

    #[test]
    fn ids_without_probability_are_never_drawn() {
        for n in [3, 1500, 4000] {
            for only in [0, 1, n / 2, n - 1] {
                let mut logits = vec![f32::NEG_INFINITY; n];
                logits[only] = -3.0;
                for cpu in cpus() {
                    for u in [0.0, 0.5, LARGEST_U] {
                        assert_eq!(draw_one(&cpu, &logits, 1.0, u), only);
                    }
                }
            }
            // The last one is too improbable to be told from nothing.
            let mut logits = noise(n, 1);
            logits[n - 1] = -150.0;
            for cpu in cpus() {
                assert_eq!(draw_one(&cpu, &logits, 1.0, 0.0), 0);
                assert_eq!(draw_one(&cpu, &logits, 1.0, LARGEST_U), n - 2);
            }
        }
    }

    #[test]
    #[should_panic = "no distribution"]
    fn nothing_is_drawn_from_broken_logits() {
        draw_one(&Cpu::detect(), &[0.0, f32::NAN], 1.0, 0.5);
    }

    #[test]
    fn the_first_of_the_largest_is_the_most_probable() {
        for cpu in cpus() {
            for n in [1, 7, 64, 577, 3000] {
                let mut logits = noise(n, 4);
                for at in [n - 1, n / 2, n / 3] {
                    logits[at] = 9.0;
                    assert_eq!(argmax(&cpu, &logits), at, "{cpu:?} {n}");
                }
                logits[n / 3] = f32::NAN;
                let next = if n / 2 == n / 3 { n - 1 } else { n / 2 };
                let expected = if n == 1 { 0 } else { next };
                assert_eq!(argmax(&cpu, &logits), expected, "{cpu:?} {n}");
                logits.fill(f32::NEG_INFINITY);
                assert_eq!(argmax(&cpu, &logits), 0);
            }
        }
    }
}
