//! The two products of an attention, in blocks that stay in registers.
//!
//! Every number is one chain of multiply-adds in ascending order (over the numbers of a head, or over
//! positions), whatever block it falls into: blocks change how often memory is read, never a bit of the
//! result.

use crate::{
    PAGE,
    simd::{Simd, per_isa},
};

/// Pages that are worked on together: their keys or values stay in the nearest cache.
const PAGES_AT_ONCE: usize = 4;

/// `out[r][t] = rows[r] . keys[t]`, for rows that see some of the keys.
pub(super) struct Scores<'a> {
    /// `[n_rows][row_stride]`
    pub(super) rows: *const f32,
    pub(super) row_stride: usize,
    pub(super) head_dim: usize,
    /// Each `[head_dim][16]`.
    pub(super) pages: &'a [*const f32],
    /// Position of the first page's first key.
    pub(super) first: usize,
    /// For each row how many positions it sees; the scores of others are left open.
    pub(super) n_visible: &'a [usize],
    /// `[n_rows][out_stride]`
    pub(super) out: *mut f32,
    pub(super) out_stride: usize,
}

/// `sums[r] += sum over t of weights[r][t] * x[t]`, in ascending order of `t`.
pub(super) struct WeightedSums<'a> {
    /// Weight of `t` in row `r` at `r * weight_row + t * weight_step`.
    pub(super) weights: *const f32,
    pub(super) weight_row: usize,
    pub(super) weight_step: usize,
    /// Each `[16][x_stride]`; `x[t]` is line `t % 16` of page `t / 16`.
    pub(super) pages: &'a [*const f32],
    pub(super) x_stride: usize,
    /// Numbers of a line that are summed.
    pub(super) width: usize,
    /// Position of the first page's first line.
    pub(super) first: usize,
    /// For each row how many positions it sees; others are not summed.
    pub(super) n_visible: &'a [usize],
    /// `[n_rows][sum_stride]`
    pub(super) sums: *mut f32,
    pub(super) sum_stride: usize,
}

per_isa! {
    /// Computes scores; see [`Scores`]. Asks for: pointers valid for what the fields say, `out` with whole
    /// pages up to the last one that a row sees.
    pub(super) unsafe fn scores(job: &Scores<'_>) = scores_on;
    /// Adds weighted sums; see [`WeightedSums`]. Asks for: pointers valid for what the fields say.
    pub(super) unsafe fn weighted_sums(job: &WeightedSums<'_>) = weighted_sums_on;
}

#[inline(always)]
unsafe fn scores_on<S: Simd>(job: &Scores<'_>) {
    let n_rows = job.n_visible.len();
    for (chunk_idx, chunk) in job.pages.chunks(PAGES_AT_ONCE).enumerate() {
        let first_page = chunk_idx * PAGES_AT_ONCE;
        let mut row = 0;
        while row < n_rows {
            let n = rows_of_tile(n_rows - row, false);
            let mut n_visible = 0;
            for visible in &job.n_visible[row..row + n] {
                n_visible = n_visible.max(*visible);
            }
            let n_pages = n_visible
                .saturating_sub(job.first)
                .div_ceil(PAGE)
                .saturating_sub(first_page)
                .min(chunk.len());
            // SAFETY: rows and pages are inside by the caller's promise.
            unsafe {
                let rows = job.rows.add(row * job.row_stride);
                let out = job.out.add(row * job.out_stride + first_page * PAGE);
                match n {
                    6 => scores_of_rows::<S, 6>(job, rows, &chunk[..n_pages], out),
                    3 => scores_of_rows::<S, 3>(job, rows, &chunk[..n_pages], out),
                    2 => scores_of_rows::<S, 2>(job, rows, &chunk[..n_pages], out),
                    _ => scores_of_rows::<S, 1>(job, rows, &chunk[..n_pages], out),
                }
            }
            row += n;
        }
    }
}

#[inline(always)]
unsafe fn scores_of_rows<S: Simd, const R: usize>(
    job: &Scores<'_>,
    rows: *const f32,
    pages: &[*const f32],
    out: *mut f32,
) {
    let mut page = 0;
    while page < pages.len() {
        // SAFETY: the caller's promise.
        unsafe {
            let keys = pages.as_ptr().add(page);
            let out = out.add(page * PAGE);
            // Sixteen registers hold one page of six rows, thirty-two hold four.
            if S::LANES == PAGE && page + 4 <= pages.len() {
                score_tile::<S, R, 4>(job, rows, keys, out);
                page += 4;
            } else if S::LANES == PAGE && page + 2 > pages.len() {
                score_tile::<S, R, 1>(job, rows, keys, out);
                page += 1;
            } else {
                score_tile::<S, R, 2>(job, rows, keys, out);
                page += 2 * S::LANES / PAGE;
            }
        }
    }
}

/// `R` rows by `C` vectors of keys.
#[inline(always)]
unsafe fn score_tile<S: Simd, const R: usize, const C: usize>(
    job: &Scores<'_>,
    rows: *const f32,
    pages: *const *const f32,
    out: *mut f32,
) {
    // SAFETY: `C * LANES` keys lie in the pages, `R` rows behind `rows`, by the caller's promise.
    unsafe {
        let per_page = PAGE / S::LANES;
        let mut keys = [std::ptr::null::<f32>(); C];
        let mut c = 0;
        while c < C {
            keys[c] = (*pages.add(c / per_page)).add(c % per_page * S::LANES);
            c += 1;
        }
        let mut sums = [[S::splat(0.0); C]; R];
        for d in 0..job.head_dim {
            let mut k = [S::splat(0.0); C];
            let mut c = 0;
            while c < C {
                k[c] = S::load(keys[c].add(d * PAGE));
                c += 1;
            }
            let mut r = 0;
            while r < R {
                let x = S::splat(*rows.add(r * job.row_stride + d));
                let mut c = 0;
                while c < C {
                    sums[r][c] = S::fma(x, k[c], sums[r][c]);
                    c += 1;
                }
                r += 1;
            }
        }
        let mut r = 0;
        while r < R {
            let mut c = 0;
            while c < C {
                S::store(out.add(r * job.out_stride + c * S::LANES), sums[r][c]);
                c += 1;
            }
            r += 1;
        }
    }
}

#[inline(always)]
unsafe fn weighted_sums_on<S: Simd>(job: &WeightedSums<'_>) {
    let n_rows = job.n_visible.len();
    let n_pages = job.pages.len();
    let mut page = 0;
    while page < n_pages {
        let from = page * PAGE;
        let to = (page + PAGES_AT_ONCE).min(n_pages) * PAGE;
        let mut row = 0;
        while row < n_rows {
            let n = rows_of_tile(n_rows - row, true);
            let mut together = to;
            for n_visible in &job.n_visible[row..row + n] {
                together = together.min(n_visible.saturating_sub(job.first));
            }
            let together = together.max(from);
            // SAFETY: rows and positions are inside by the caller's promise.
            unsafe {
                match n {
                    6 => sums_of_rows::<S, 6>(job, row, from, together),
                    4 => sums_of_rows::<S, 4>(job, row, from, together),
                    3 => sums_of_rows::<S, 3>(job, row, from, together),
                    2 => sums_of_rows::<S, 2>(job, row, from, together),
                    _ => {}
                }
                // What not all of them see, each goes through on its own.
                let mut r = 0;
                while r < n {
                    let own_from = if n == 1 { from } else { together };
                    let own_to = job.n_visible[row + r].saturating_sub(job.first).min(to);
                    sums_of_rows::<S, 1>(job, row + r, own_from, own_to);
                    r += 1;
                }
            }
            row += n;
        }
        page += PAGES_AT_ONCE;
    }
}

#[inline(always)]
unsafe fn sums_of_rows<S: Simd, const R: usize>(
    job: &WeightedSums<'_>,
    row: usize,
    from: usize,
    to: usize,
) {
    if to <= from {
        return;
    }
    let mut d = 0;
    while d < job.width {
        let n_left = job.width - d;
        // SAFETY: the caller's promise; no more than `n_left` numbers of a line are touched.
        unsafe {
            if S::LANES == PAGE && 4 * S::LANES <= n_left {
                sum_tile::<S, R, 4, false>(job, row, from, to, d, S::LANES);
                d += 4 * S::LANES;
            } else if 2 * S::LANES <= n_left {
                sum_tile::<S, R, 2, false>(job, row, from, to, d, S::LANES);
                d += 2 * S::LANES;
            } else if S::LANES <= n_left {
                sum_tile::<S, R, 1, false>(job, row, from, to, d, S::LANES);
                d += S::LANES;
            } else {
                sum_tile::<S, R, 1, true>(job, row, from, to, d, n_left);
                d = job.width;
            }
        }
    }
}

/// `R` rows by `C` vectors of a line from number `d` on; of the last one only `n_last` lanes, when `PARTLY`.
#[inline(always)]
unsafe fn sum_tile<S: Simd, const R: usize, const C: usize, const PARTLY: bool>(
    job: &WeightedSums<'_>,
    row: usize,
    from: usize,
    to: usize,
    d: usize,
    n_last: usize,
) {
    // SAFETY: rows, positions and numbers are inside by the caller's promise.
    unsafe {
        let out = job.sums.add(row * job.sum_stride + d);
        let mut sums = [[S::splat(0.0); C]; R];
        let mut r = 0;
        while r < R {
            let mut c = 0;
            while c < C {
                let at = out.add(r * job.sum_stride + c * S::LANES);
                sums[r][c] = if PARTLY {
                    S::load_first(at, n_last)
                } else {
                    S::load(at)
                };
                c += 1;
            }
            r += 1;
        }
        let mut weights = job
            .weights
            .add(row * job.weight_row + from * job.weight_step);
        let mut t = from;
        while t < to {
            let page_end = to.min((t / PAGE + 1) * PAGE);
            let mut x = (*job.pages.as_ptr().add(t / PAGE)).add(t % PAGE * job.x_stride + d);
            while t < page_end {
                let mut line = [S::splat(0.0); C];
                let mut c = 0;
                while c < C {
                    let at = x.add(c * S::LANES);
                    line[c] = if PARTLY {
                        S::load_first(at, n_last)
                    } else {
                        S::load(at)
                    };
                    c += 1;
                }
                let mut r = 0;
                while r < R {
                    let w = S::splat(*weights.add(r * job.weight_row));
                    let mut c = 0;
                    while c < C {
                        sums[r][c] = S::fma(w, line[c], sums[r][c]);
                        c += 1;
                    }
                    r += 1;
                }
                x = x.wrapping_add(job.x_stride);
                weights = weights.wrapping_add(job.weight_step);
                t += 1;
            }
        }
        let mut r = 0;
        while r < R {
            let mut c = 0;
            while c < C {
                let at = out.add(r * job.sum_stride + c * S::LANES);
                if PARTLY {
                    S::store_first(at, n_last, sums[r][c]);
                } else {
                    S::store(at, sums[r][c]);
                }
                c += 1;
            }
            r += 1;
        }
    }
}

/// Rows of the next tile when `n` are left.
#[inline(always)]
fn rows_of_tile(n: usize, has_four: bool) -> usize {
    match n {
        // Sixteen keys of a page are four tiles of four.
        4 | 7 | 8 | 12 | 16 if has_four => 4,
        6.. => 6,
        3..=5 => 3,
        n => n,
    }
}
