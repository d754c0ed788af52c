//! The softmax of a block of scores, and how blocks come together.

use crate::{
    PAGE,
    simd::{Simd, per_isa},
};

/// Positions of a block: what the scores of a block of queries need stays in the second cache.
pub(super) const POSITIONS: usize = 256;
/// From the scores of one query to the next: not a power of two, which would put all of them into a few
/// places of the cache.
pub(super) const SCORE_STRIDE: usize = POSITIONS + PAGE;

/// For every query the largest score, the sum of exponentials, and the values weighted by them.
pub(super) struct State<'a> {
    pub(super) largest: &'a mut [f32],
    pub(super) totals: &'a mut [f32],
    /// `[n_queries][padded head_dim]`
    pub(super) sums: &'a mut [f32],
}

impl<'a> State<'a> {
    pub(super) fn new(numbers: &'a mut [f32], n_queries: usize) -> State<'a> {
        let n_padded = n_queries.next_multiple_of(PAGE);
        let (largest, rest) = numbers.split_at_mut(n_padded);
        let (totals, sums) = rest.split_at_mut(n_padded);
        State {
            largest,
            totals,
            sums,
        }
    }
}

/// Two states of the same queries, the second over the block of positions from `first` on.
pub(super) struct Merging<'a> {
    pub(super) first: usize,
    pub(super) n_visible: &'a [usize],
    pub(super) width: usize,
    pub(super) all: State<'a>,
    pub(super) part: State<'a>,
}

per_isa! {
    /// Turns scores into exponentials of their distance to the largest, and finds largest and total.
    /// Queries that see no position from `first` on are left alone.
    pub(super) unsafe fn exponentials(
        scores: &mut [f32], first: usize, n_visible: &[usize], largest: &mut [f32], totals: &mut [f32]
    ) = exponentials_on;
    /// Adds the second state to the first, for queries that see positions of the second.
    pub(super) unsafe fn merge(merging: Merging<'_>) = merge_on;
    /// Writes sums divided by totals. Asks for whole vectors behind `width` numbers of each sum.
    pub(super) unsafe fn store_f32(sums: &[f32], stride: usize, totals: &[f32], out: &mut [f32]) = store_f32_on;
    /// As [`store_f32`], rounded.
    pub(super) unsafe fn store_bf16(sums: &[f32], stride: usize, totals: &[f32], out: &mut [u16]) = store_bf16_on;
}

#[inline(always)]
unsafe fn exponentials_on<S: Simd>(
    scores: &mut [f32],
    first: usize,
    n_visible: &[usize],
    largest: &mut [f32],
    totals: &mut [f32],
) {
    for (query, n_visible) in n_visible.iter().enumerate() {
        let n = n_visible.saturating_sub(first).min(POSITIONS);
        if n == 0 {
            continue;
        }
        let scores = &mut scores[query * SCORE_STRIDE..][..n.next_multiple_of(PAGE)];
        // Nothing that lies beyond the query's own position may count, and it may be anything.
        scores[n..].fill(f32::NEG_INFINITY);
        let n_padded = scores.len();
        let scores = scores.as_mut_ptr();
        // SAFETY: `n_padded` scores are there, a multiple of the lanes.
        unsafe {
            let mut max = S::load(scores);
            let mut t = S::LANES;
            while t < n_padded {
                max = S::max(S::load(scores.add(t)), max);
                t += S::LANES;
            }
            let max = S::largest(max);
            let mut sum = S::splat(0.0);
            let mut t = 0;
            while t < n_padded {
                let x = S::exp(S::sub(S::load(scores.add(t)), S::splat(max)));
                S::store(scores.add(t), x);
                sum = S::add(sum, x);
                t += S::LANES;
            }
            largest[query] = max;
            totals[query] = S::sum(sum);
        }
    }
}

#[inline(always)]
unsafe fn merge_on<S: Simd>(merging: Merging<'_>) {
    let Merging {
        first,
        n_visible,
        width,
        all,
        part,
    } = merging;
    for (query, n_visible) in n_visible.iter().enumerate() {
        if *n_visible <= first {
            continue;
        }
        let max = all.largest[query].max(part.largest[query]);
        let sums = &mut all.sums[query * width..][..width];
        let others = &part.sums[query * width..][..width];
        // SAFETY: both have `width` numbers, a multiple of the lanes; a vector has at least one lane.
        unsafe {
            let ours = S::exp(S::splat(all.largest[query] - max));
            let theirs = S::exp(S::splat(part.largest[query] - max));
            let total = S::mul(theirs, S::splat(part.totals[query]));
            let total = S::fma(ours, S::splat(all.totals[query]), total);
            S::store_first(&mut all.totals[query], 1, total);
            let mut d = 0;
            while d < width {
                let to = sums.as_mut_ptr().add(d);
                let sum = S::mul(theirs, S::load(others.as_ptr().add(d)));
                S::store(to, S::fma(ours, S::load(to), sum));
                d += S::LANES;
            }
        }
        all.largest[query] = max;
    }
}

#[inline(always)]
unsafe fn store_f32_on<S: Simd>(sums: &[f32], stride: usize, totals: &[f32], out: &mut [f32]) {
    let head_dim = out.len() / totals.len();
    for (i, total) in totals.iter().enumerate() {
        let from = &sums[i * stride..][..stride];
        let to = &mut out[i * head_dim..][..head_dim];
        let mut d = 0;
        while d < head_dim {
            let n = (head_dim - d).min(S::LANES);
            // SAFETY: `from` has whole vectors, `to` has `n` numbers left.
            unsafe {
                let x = S::div(S::load(from.as_ptr().add(d)), S::splat(*total));
                if n == S::LANES {
                    S::store(to.as_mut_ptr().add(d), x);
                } else {
                    S::store_first(to.as_mut_ptr().add(d), n, x);
                }
            }
            d += n;
        }
    }
}

#[inline(always)]
unsafe fn store_bf16_on<S: Simd>(sums: &[f32], stride: usize, totals: &[f32], out: &mut [u16]) {
    let head_dim = out.len() / totals.len();
    for (i, total) in totals.iter().enumerate() {
        let from = &sums[i * stride..][..stride];
        let to = &mut out[i * head_dim..][..head_dim];
        let mut d = 0;
        while d < head_dim {
            let n = (head_dim - d).min(S::LANES);
            let mut rounded = [0; PAGE];
            // SAFETY: `from` has whole vectors, `rounded` too, and `to` has `n` numbers left.
            unsafe {
                let x = S::div(S::load(from.as_ptr().add(d)), S::splat(*total));
                if n == S::LANES {
                    S::store_bf16(to.as_mut_ptr().add(d), x);
                } else {
                    S::store_bf16(rounded.as_mut_ptr(), x);
                    to[d..].copy_from_slice(&rounded[..n]);
                }
            }
            d += n;
        }
    }
}
