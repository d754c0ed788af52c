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
    /// How many ids have the largest logit. They are counted apart: beside their 1, the exponentials of a
    /// confident row would be rounded away, and its entropy with them.
    n_largest: f64,
    /// Of `e^d` over the others.
    others: f64,
    /// Of `d e^d`.
    weighted: f64,
    /// Of the logits.
    logits: f64,
}

impl Sums {
    fn stats(&self, n_ids: usize, inverse_temperature: f32) -> LogitStats {
        let scale = f64::from(inverse_temperature);
        let log_sum = (self.others + (self.n_largest - 1.0)).ln_1p();
        LogitStats {
            max: self.max,
            log_sum: log_sum as f32,
            log_sum_exp: (f64::from(self.max) * scale + log_sum) as f32,
            entropy: (log_sum - self.weighted / (self.others + self.n_largest)) as f32,
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
        n_largest: 0.0,
        others: 0.0,
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
            if 0.0 < sums.n_largest {
                let shift = (f64::from(sums.max) - f64::from(max)) * f64::from(inverse_temperature);
                let (factor, exp) = (shift.exp(), sums.others + sums.n_largest);
                sums.weighted = factor * (sums.weighted + shift * exp);
                sums.others = factor * exp;
                sums.n_largest = 0.0;
            }
            sums.max = max;
        }
        let (max, scale) = (S::splat(sums.max), S::splat(inverse_temperature));
        let mut n_largest = S::splat(0.0);
        let (mut others, mut weighted) = (n_largest, n_largest);
        for i in (0..n).step_by(S::LANES) {
            let d = S::mul(S::sub(S::load(x.add(i)), max), scale);
            let is_largest = S::zero_below(S::splat(1.0), d, 0.0);
            let e = S::exp(d);
            n_largest = S::add(n_largest, is_largest);
            others = S::add(others, S::sub(e, is_largest));
            // Infinitely far below, `d e^d` is 0 as well.
            weighted = S::fma(S::max(d, S::splat(FAR_BELOW)), e, weighted);
        }
        sums.n_largest += f64::from(S::sum(n_largest));
        sums.others += f64::from(S::sum(others));
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

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::check::{assert_close, bits, noise, on_all_cpus, one_thread};

    const INF: f32 = f32::INFINITY;

    fn stats(
        cpu: &Cpu,
        logits: &[f32],
        stride: usize,
        n_ids: usize,
        scale: f32,
    ) -> Vec<LogitStats> {
        let rows = logits.len() / stride;
        let mut out = vec![LogitStats::default(); rows];
        logit_stats(cpu, logits, rows, stride, n_ids, scale, &mut out);
        out
    }

    fn numbers(stats: &LogitStats) -> [f32; 5] {
        [
            stats.max,
            stats.log_sum,
            stats.log_sum_exp,
            stats.entropy,
            stats.mean,
        ]
    }

    /// Log-probabilities in f64, and what [`numbers`] should be.
    fn twin(logits: &[f32], scale: f32) -> (Vec<f64>, [f64; 5]) {
        let z: Vec<f64> = logits
            .iter()
            .map(|x| f64::from(*x) * f64::from(scale))
            .collect();
        let max = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // What is not the largest is summed apart, as 1 would swallow it.
        let rest: f64 = z
            .iter()
            .filter(|z| **z < max)
            .map(|z| (z - max).exp())
            .sum();
        let n_largest = z.iter().filter(|z| **z == max).count() as f64;
        let log_sum = (rest + (n_largest - 1.0)).ln_1p();
        let logprobs: Vec<f64> = z.iter().map(|z| z - max - log_sum).collect();
        let terms = logprobs
            .iter()
            .filter(|l| l.is_finite())
            .map(|l| -l.exp() * l);
        let entropy = terms.sum();
        let mean = z.iter().sum::<f64>() / z.len() as f64;
        (
            logprobs,
            [
                max / f64::from(scale),
                log_sum,
                max + log_sum,
                entropy,
                mean,
            ],
        )
    }

    /// `logprobs` of a twin to gradients.
    fn twin_gradient(logits: &[f32], scale: f32, of: &RowGradient<'_>) -> Vec<f64> {
        let (logprobs, [.., entropy, _]) = twin(logits, scale);
        let id_gradient = |(j, logprob): (usize, &f64)| {
            let p = logprob.exp();
            let targets = of.targets.iter().map(|(target, g)| {
                f64::from(*g) * (f64::from(u8::from(*target as usize == j)) - p)
            });
            let entropy = if p == 0.0 {
                0.0
            } else {
                -p * (logprob + entropy)
            };
            f64::from(scale) * (targets.sum::<f64>() + f64::from(of.entropy_weight) * entropy)
        };
        logprobs.iter().enumerate().map(id_gradient).collect()
    }

    #[test]
    fn statistics_and_gradient_are_those_of_python() {
        // python: z = [.5 * a for a in (1, 3, 2, -1)]; S = sum(math.exp(a) for a in z)
        //   P = [math.exp(a) / S for a in z]; H = -sum(a * math.log(a) for a in P)
        //   math.log(S), H, sum(z) / 4; [.5 * (.7 * ((j == 1) - P[j]) - .2 * ((j == 2) - P[j])
        //       + .3 * (-P[j] * (math.log(P[j]) + H))) for j in range(4)]
        let mut logits = [1.0, 3.0, 2.0, -1.0, INF];
        let cpu = Cpu::detect();
        let found = stats(&cpu, &logits, 5, 4, 0.5)[0];
        let expected = [3.0, 0.746_567_269, 2.246_567_269, 1.192_979_118, 0.625];
        assert_close(&numbers(&found), &expected, 1e-6, "statistics");
        assert!((found.logprob(2.0, 0.5) - (1.0 - 2.246_567_3)).abs() < 1e-6);
        let of = RowGradient {
            stats: found,
            targets: &[(1, 0.5), (2, -0.2), (1, 0.2)],
            entropy_weight: 0.3,
        };
        logit_gradient(&cpu, &mut logits, 1, 5, 4, 0.5, &[of]);
        let expected = [
            -0.029_113_373,
            0.199_763_019,
            -0.169_561_587,
            -0.001_088_059,
            0.0,
        ];
        assert_close(&logits, &expected, 1e-7, "gradient");
    }

    #[test]
    fn the_twins_gradient_is_a_difference() {
        let (logits, scale) = (noise(6, 1), 0.7);
        let of = RowGradient {
            stats: LogitStats::default(),
            targets: &[(1, 0.5), (4, -1.2)],
            entropy_weight: 0.3,
        };
        let loss = |logits: &[f32]| {
            let (logprobs, [.., entropy, _]) = twin(logits, scale);
            let targets = of.targets.iter();
            let targets = targets.map(|(target, g)| f64::from(*g) * logprobs[*target as usize]);
            targets.sum::<f64>() + f64::from(of.entropy_weight) * entropy
        };
        for (j, expected) in twin_gradient(&logits, scale, &of).into_iter().enumerate() {
            let (mut up, mut down) = (logits.clone(), logits.clone());
            up[j] += 0.001;
            down[j] -= 0.001;
            let width = f64::from(up[j]) - f64::from(down[j]);
            let difference = (loss(&up) - loss(&down)) / width;
            assert!(
                (difference - expected).abs() < 1e-6,
                "{difference} {expected}"
            );
        }
    }

    #[test]
    fn statistics_agree_with_f64() {
        for n_ids in [1, 7, 16, 64, 513, 1100, 50_257] {
            for (spread, scale) in [(1.0, 1.0), (5.0, 0.7), (20.0, 1.0), (0.001, 10.0)] {
                let (rows, stride) = (3, n_ids + 3);
                let mut logits = noise(rows * stride, n_ids as u64);
                logits.iter_mut().for_each(|x| *x = *x * spread + 7.0);
                // Ids that are ruled out, and a confident row.
                logits[n_ids / 2 + 1..stride].fill(-INF);
                logits[2 * stride] = 40.0 * spread + 7.0;
                let found = on_all_cpus(|cpu| {
                    let stats = stats(cpu, &logits, stride, n_ids, scale);
                    assert!(stats.iter().all(|stats| stats.is_finite));
                    stats.iter().flat_map(numbers).collect()
                });
                for (isa, found) in found {
                    for (row, found) in found.chunks_exact(5).enumerate() {
                        let logits = &logits[row * stride..row * stride + n_ids];
                        let (_, expected) = twin(logits, scale);
                        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
                            let error = (f64::from(*found) - expected).abs();
                            // Below 1e-30 nothing is left of the exponentials.
                            let fits = error <= 1e-6 * expected.abs() + 1e-30
                                || f64::from(*found) == expected;
                            let what = format!("{isa} {n_ids} {spread} row {row} number {i}");
                            assert!(fits, "{what}: {found} is not {expected}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn gradients_agree_with_f64() {
        for n_ids in [1, 7, 64, 577, 20_000] {
            let (rows, stride, scale) = (4, n_ids + 2, 0.8);
            let mut logits = noise(rows * stride, 9);
            logits.iter_mut().for_each(|x| *x *= 4.0);
            if 1 < n_ids {
                logits[stride] = -INF;
            }
            let last = n_ids as u32 - 1;
            let targets: [&[(u32, f32)]; 4] =
                [&[(0, 1.5)], &[(last, -0.5), (last / 2, 2.0)], &[], &[]];
            for (isa, found) in on_all_cpus(|cpu| {
                let stats = stats(cpu, &logits, stride, n_ids, scale);
                let of = |row: usize| RowGradient {
                    stats: stats[row],
                    targets: targets[row],
                    entropy_weight: [0.0, 0.3, -1.0, 0.0][row],
                };
                let of: Vec<_> = (0..rows).map(of).collect();
                let mut gradient = logits.clone();
                logit_gradient(cpu, &mut gradient, rows, stride, n_ids, scale, &of);
                for (row, of) in of.iter().enumerate() {
                    let range = row * stride..(row + 1) * stride;
                    let (found, behind) = gradient[range.clone()].split_at(n_ids);
                    let expected = twin_gradient(&logits[range][..n_ids], scale, of);
                    assert_close(found, &expected, 1e-6, format!("{n_ids} row {row}"));
                    assert_eq!(behind, [0.0; 2]);
                }
                gradient
            }) {
                // A row without a task, whatever its logits.
                assert!(found[3 * stride..].iter().all(|x| *x == 0.0), "{isa}");
            }
        }
    }

    proptest! {
        #[test]
        fn gradients_sum_to_zero_and_entropy_is_between_none_and_that_of_all_alike(
            mut logits in vec(-30.0_f32..30.0, 1..80),
            g in -2.0_f32..2.0,
            entropy_weight in -1.0_f32..1.0,
            scale in 0.1_f32..3.0,
        ) {
            let n = logits.len();
            let cpu = Cpu::detect();
            let stats = stats(&cpu, &logits, n, n, scale)[0];
            prop_assert!(0.0 <= stats.entropy && stats.entropy <= (n as f32).ln() + 1e-6);
            // Adding the same to all logits changes no probability.
            let targets = [(n as u32 / 2, g)];
            let of = RowGradient { stats, targets: &targets, entropy_weight };
            logit_gradient(&cpu, &mut logits, 1, n, n, scale, &[of]);
            prop_assert!(logits.iter().sum::<f32>().abs() < 2e-5);
        }
    }

    #[test]
    fn a_row_does_not_depend_on_its_neighbours() {
        let (n_ids, rows) = (700, 70);
        let logits = noise(rows * n_ids, 2);
        let cpu = one_thread(crate::Isa::detect());
        let together = stats(&cpu, &logits, n_ids, n_ids, 1.0);
        for row in [0, 1, 33, 69] {
            let alone = stats(
                &cpu,
                &logits[row * n_ids..(row + 1) * n_ids],
                n_ids,
                n_ids,
                1.0,
            );
            assert_eq!(bits(&numbers(&alone[0])), bits(&numbers(&together[row])));
        }
    }

    #[test]
    fn broken_rows_are_reported_and_rows_with_ids_ruled_out_are_not() {
        for isa in crate::Isa::available() {
            let cpu = one_thread(isa);
            for n in [1, 5, 16, 700] {
                for at in [0, n / 2, n - 1] {
                    for broken in [f32::NAN, -f32::NAN, INF] {
                        let mut logits = noise(n, 1);
                        logits[at] = broken;
                        let found = stats(&cpu, &logits, n, n, 1.0)[0];
                        assert!(!found.is_finite, "{isa} {n} {at} {broken}");
                    }
                    let mut logits = vec![-INF; n];
                    assert!(!stats(&cpu, &logits, n, n, 1.0)[0].is_finite, "{isa} {n}");
                    logits[at] = 3.0;
                    let found = stats(&cpu, &logits, n, n, 1.0)[0];
                    assert!(found.is_finite, "{isa} {n} {at}");
                    assert_eq!(numbers(&found)[..4], [3.0, 0.0, 3.0, 0.0]);
                }
            }
        }
    }

    #[test]
    #[should_panic = "5 ids of 4"]
    fn more_ids_than_columns_are_refused() {
        stats(&Cpu::detect(), &[0.0; 4], 4, 5, 1.0);
    }
}
