//! Gradients of attention: blocks of queries over pieces of positions, probabilities computed anew.
//!
//! With `p = exp(s - lse)`, `dp = dout v^T` and `delta = sum of dout * out`:
//! `ds = p (dp - delta)`, `dq = ds k / sqrt(head_dim)`, `dk = ds^T q / sqrt(head_dim)`, `dv = p^T dout`.
//!
//! The rows are cut in a few parts of about equal work, by their number and not by the threads. Each part
//! and key head collects gradients of its own for the keys and values that it sees; they are then added, in
//! the order of the parts.

use std::{cell::RefCell, ops::Range};

use super::{
    AttentionGradient, Run,
    block::{Block, Span, n_visible_in_all},
    forward::with_scratch,
    keys::{NONE, SeenPages},
    tiles::{Scores, WeightedSums, scores, weighted_sums},
};
use crate::{
    Cpu, HeadShape, Isa, KvPages, OperandFormat, PAGE,
    shared::{Lines, SharedMut},
    simd::{Simd, bf16_to_f32, per_isa},
};

/// Positions of a piece, in pages: queries, keys and their gradients stay in the second cache.
const PAGES: usize = 4;
const SCORE_STRIDE: usize = (PAGES + 1) * PAGE;
/// Queries (rows times heads of a group) of a block.
const QUERIES: usize = 48;
/// Parts times key heads, when there is enough work.
const UNITS: usize = 16;
/// Multiply-adds that are worth a unit, some hundred microseconds.
const WORK_OF_UNIT: usize = 4_000_000;
/// Rows whose keys' gradients are added by one task.
const ROWS_OF_TASK: usize = 32;

pub(super) fn run(
    cpu: &Cpu,
    shape: HeadShape,
    pages: &KvPages,
    runs: &[Run<'_>],
    g: &AttentionGradient<'_>,
    dqkv: &mut [f32],
) {
    let n_rows = g.slots.len();
    if n_rows == 0 {
        return;
    }
    let seen = SeenPages::new(pages, runs);
    let parts = cut(shape, runs, n_rows, &seen);
    let n_kv_heads = shape.n_kv_heads;
    let page_len = shape.head_dim * PAGE;
    let turned_len = seen.pages.len() * n_kv_heads * page_len;
    let n_collected = parts.last().map_or(0, |part| part.start + part.len);
    with_lasting(2 * turned_len + n_collected * page_len, |lasting| {
        let (keys, rest) = lasting.split_at_mut(turned_len);
        let (values, collected) = rest.split_at_mut(turned_len);
        seen.turn(cpu, pages, keys, values);
        let dqkv = SharedMut::new(dqkv);
        let backward = Backward {
            isa: cpu.isa(),
            shape,
            pages,
            seen: &seen,
            keys,
            values,
            g,
            dqkv: &dqkv,
        };
        let shared = SharedMut::new(collected);
        cpu.for_each(parts.len() * n_kv_heads, |unit_idx| {
            let (part, kv_head) = (&parts[unit_idx / n_kv_heads], unit_idx % n_kv_heads);
            let n = 2 * part.n_pages;
            let start = part.start + kv_head * n;
            // SAFETY: one task has this unit.
            let collected = unsafe { shared.slice(start * page_len..(start + n) * page_len) };
            collected.fill(0.0);
            let mut row = part.rows.start;
            while row < part.rows.end {
                let end = (row + rows_per_block(shape)).min(part.rows.end);
                backward.block(kv_head, &Block::new(runs, row..end), part, collected);
                row = end;
            }
        });
        backward.add(cpu, &parts, collected);
    });
}

/// Rows of the batch, and the pages that they see.
struct Part {
    rows: Range<usize>,
    /// For each seen page its place among those that this part sees, or [`NONE`].
    places: Vec<u32>,
    n_pages: usize,
    /// Where its gradients begin, in pages of one head: `[kv head][keys, values][n_pages]`.
    start: usize,
    len: usize,
}

fn rows_per_block(shape: HeadShape) -> usize {
    (QUERIES / shape.group()).max(1)
}

/// Parts of about the same work, at borders of blocks.
fn cut(shape: HeadShape, runs: &[Run<'_>], n_rows: usize, seen: &SeenPages) -> Vec<Part> {
    let n_visible = n_visible_in_all(runs);
    let work = 5 * n_visible * shape.n_heads * shape.head_dim;
    let at_most = UNITS.div_ceil(shape.n_kv_heads);
    let n_parts = (work / (shape.n_kv_heads * WORK_OF_UNIT)).clamp(1, at_most);
    let per_block = rows_per_block(shape);
    let mut parts: Vec<Part> = Vec::new();
    let (mut done, mut first_row, mut row) = (0, 0, 0);
    while row < n_rows {
        let end = (row + per_block).min(n_rows);
        done += Block::new(runs, row..end).n_visible().sum::<usize>();
        row = end;
        if row == n_rows || (parts.len() + 1) * n_visible <= done * n_parts {
            let block = Block::new(runs, first_row..row);
            let mut places = vec![NONE; seen.pages.len()];
            let mut n_pages = 0;
            for page in block.tables().flatten() {
                let place = &mut places[seen.places[*page as usize] as usize];
                if *place == NONE {
                    *place = n_pages as u32;
                    n_pages += 1;
                }
            }
            parts.push(Part {
                rows: first_row..row,
                places,
                n_pages,
                start: parts.last().map_or(0, |part| part.start + part.len),
                len: 2 * n_pages * shape.n_kv_heads,
            });
            first_row = row;
        }
    }
    parts
}

struct Backward<'a> {
    isa: Isa,
    shape: HeadShape,
    pages: &'a KvPages,
    seen: &'a SeenPages,
    keys: &'a [f32],
    values: &'a [f32],
    g: &'a AttentionGradient<'a>,
    dqkv: &'a SharedMut<'a, f32>,
}

/// What a block of queries needs, each `[n_queries][..]`.
struct Queries<'a> {
    n_visible: &'a [usize],
    /// Times the scale of the scores.
    q: &'a mut [f32],
    dout: &'a mut [f32],
    dq: &'a mut [f32],
    /// Scores, then probabilities.
    p: &'a mut [f32],
    /// Gradients of probabilities, then of scores.
    ds: &'a mut [f32],
    lse: &'a mut [f32],
    delta: &'a mut [f32],
}

impl Backward<'_> {
    fn padded_dim(&self) -> usize {
        self.shape.head_dim.next_multiple_of(PAGE)
    }

    fn block(&self, kv_head: usize, block: &Block<'_>, part: &Part, collected: &mut [f32]) {
        let group = self.shape.group();
        let of_row = |n| std::iter::repeat_n(n, group);
        let n_visible: Vec<usize> = block.n_visible().flat_map(of_row).collect();
        let n = n_visible.len();
        let (wide, long) = (n * self.padded_dim(), n * SCORE_STRIDE);
        with_scratch(3 * wide + 2 * long + 2 * n, |scratch| {
            let (q, rest) = scratch.split_at_mut(wide);
            let (dout, rest) = rest.split_at_mut(wide);
            let (dq, rest) = rest.split_at_mut(wide);
            let (p, rest) = rest.split_at_mut(long);
            let (ds, rest) = rest.split_at_mut(long);
            let (lse, delta) = rest.split_at_mut(n);
            let mut queries = Queries {
                n_visible: &n_visible,
                q,
                dout,
                dq,
                p,
                ds,
                lse,
                delta,
            };
            self.load(kv_head, block, &mut queries);
            block.for_each_span(0..block.n_pages(), |span| {
                for first in (0..span.pages.len()).step_by(PAGES) {
                    let last = (first + PAGES).min(span.pages.len());
                    let piece = Span {
                        rows: span.rows.clone(),
                        places: span.places.start + first..span.places.start + last,
                        pages: &span.pages[first..last],
                    };
                    self.piece(kv_head, &piece, part, &mut queries, collected);
                }
            });
            self.store(kv_head, block, queries.dq);
        });
    }

    fn load(&self, kv_head: usize, block: &Block<'_>, to: &mut Queries<'_>) {
        let HeadShape {
            n_heads, head_dim, ..
        } = self.shape;
        let (g, group, width) = (self.g, self.shape.group(), self.padded_dim());
        let scale = 1.0 / (head_dim as f32).sqrt();
        to.dq.fill(0.0);
        for (i, row) in block.rows.clone().enumerate() {
            for head_of_group in 0..group {
                let query = i * group + head_of_group;
                let head = kv_head * group + head_of_group;
                let q = &g.q[row * g.stride + g.offset + head * head_dim..][..head_dim];
                for (to, q) in to.q[query * width..].iter_mut().zip(q) {
                    *to = q * scale;
                }
                let dout = &g.dout[(row * n_heads + head) * head_dim..][..head_dim];
                to.dout[query * width..][..head_dim].copy_from_slice(dout);
                let out = row * g.out.stride() + head * head_dim;
                to.delta[query] = match g.out.format() {
                    OperandFormat::F32 => dot(dout, &g.out.f32()[out..], |x| x),
                    OperandFormat::Bf16 => dot(dout, &g.out.bf16()[out..], bf16_to_f32),
                };
                to.lse[query] = g.stats[row * n_heads + head];
            }
        }
    }

    /// Queries of some rows against a few pages.
    fn piece(
        &self,
        kv_head: usize,
        span: &Span<'_>,
        part: &Part,
        queries: &mut Queries<'_>,
        collected: &mut [f32],
    ) {
        let HeadShape {
            n_kv_heads,
            head_dim,
            ..
        } = self.shape;
        let group = self.shape.group();
        let width = self.padded_dim();
        let head_len = head_dim * PAGE;
        let first = span.places.start * PAGE;
        let n_pages = span.pages.len();
        // The first rows of a run do not see its last pages.
        let rows = span.rows.start * group..span.rows.end * group;
        let sees = |n_visible: &usize| first < *n_visible;
        let Some(n_blind) = queries.n_visible[rows.clone()].iter().position(sees) else {
            return;
        };
        let start = rows.start + n_blind;
        let n_visible = &queries.n_visible[start..rows.end];
        let (mut keys, mut key_rows, mut values) = (
            [std::ptr::null(); PAGES],
            [std::ptr::null(); PAGES],
            [std::ptr::null(); PAGES],
        );
        for (i, page) in span.pages.iter().enumerate() {
            let place = self.seen.places[*page as usize] as usize * n_kv_heads + kv_head;
            keys[i] = self.pages.keys(*page, kv_head).as_ptr();
            key_rows[i] = self.keys[place * head_len..][..head_len].as_ptr();
            values[i] = self.values[place * head_len..][..head_len].as_ptr();
        }
        let p = queries.p[start * SCORE_STRIDE..].as_mut_ptr();
        let ds = queries.ds[start * SCORE_STRIDE..].as_mut_ptr();
        let q = queries.q[start * width..].as_ptr();
        let dout = queries.dout[start * width..].as_ptr();
        let products = |rows, pages, out| Scores {
            rows,
            row_stride: width,
            head_dim,
            pages,
            first,
            n_visible,
            out,
            out_stride: SCORE_STRIDE,
        };
        let of_queries = WeightedSums {
            weights: ds,
            weight_row: SCORE_STRIDE,
            weight_step: 1,
            pages: &key_rows[..n_pages],
            x_stride: head_dim,
            width: head_dim,
            first,
            n_visible,
            sums: queries.dq[start * width..].as_mut_ptr(),
            sum_stride: width,
        };
        // SAFETY: the instructions are those of the `Cpu`. Queries, scores and their gradients have a line
        // for each query from `start` on, with room for the positions of `PAGES` pages; pages are whole.
        unsafe {
            scores(self.isa, &products(q, &keys[..n_pages], p));
            scores(self.isa, &products(dout, &values[..n_pages], ds));
            probabilities(
                self.isa,
                p,
                ds,
                first,
                n_pages * PAGE,
                n_visible,
                [&queries.lse[start..], &queries.delta[start..]],
            );
            weighted_sums(self.isa, &of_queries);
        }
        // Lines of sixteen queries take the place of pages; each of the sixteen keys takes all of them.
        let n_lines = n_visible.len().div_ceil(PAGE);
        let lines = |from: *const f32| -> Vec<*const f32> {
            let line = |i| from.wrapping_add(i * PAGE * width);
            (0..n_lines).map(line).collect()
        };
        let (q_lines, dout_lines) = (lines(q), lines(dout));
        let all = [n_visible.len(); PAGE];
        let (dk, dv) = collected.split_at_mut(part.n_pages * head_len);
        for (i, page) in span.pages.iter().enumerate() {
            let seen = self.seen.places[*page as usize] as usize;
            let place = part.places[seen] as usize * head_len;
            for (weights, lines, sums) in [(ds, &q_lines, &mut *dk), (p, &dout_lines, &mut *dv)] {
                let of_keys = WeightedSums {
                    weights: weights.wrapping_add(i * PAGE),
                    weight_row: 1,
                    weight_step: SCORE_STRIDE,
                    pages: lines,
                    x_stride: width,
                    width: head_dim,
                    first: 0,
                    n_visible: &all,
                    sums: sums[place..][..head_len].as_mut_ptr(),
                    sum_stride: head_dim,
                };
                // SAFETY: as above; sums have a line for each of the sixteen keys.
                unsafe { weighted_sums(self.isa, &of_keys) };
            }
        }
    }

    fn store(&self, kv_head: usize, block: &Block<'_>, dq: &[f32]) {
        let (g, head_dim) = (self.g, self.shape.head_dim);
        let width = self.shape.group() * head_dim;
        let scale = 1.0 / (head_dim as f32).sqrt();
        let mut heads = dq.chunks_exact(self.padded_dim());
        for row in block.rows.clone() {
            let start = row * g.stride + g.offset + kv_head * width;
            // SAFETY: the queries of this row and key head are one task's, and nothing else is written
            // while tasks of this kind run.
            let to = unsafe { self.dqkv.slice(start..start + width) };
            for (to, dq) in to.chunks_exact_mut(head_dim).zip(&mut heads) {
                for (to, dq) in to.iter_mut().zip(dq) {
                    *to = dq * scale;
                }
            }
        }
    }

    /// Adds what the parts have collected for the key of each row, part after part.
    fn add(&self, cpu: &Cpu, parts: &[Part], collected: &[f32]) {
        let HeadShape {
            n_kv_heads,
            head_dim,
            ..
        } = self.shape;
        let g = self.g;
        let (starts, slots) = self.seen.slots_of_rows(g);
        let n_rows = g.slots.len();
        let is_small = collected.len() < 64 * 1024;
        let rows_of_task = if is_small { n_rows } else { ROWS_OF_TASK };
        cpu.for_each(n_rows.div_ceil(rows_of_task), |task_idx| {
            for row in task_idx * rows_of_task..((task_idx + 1) * rows_of_task).min(n_rows) {
                for (kind, offset) in [g.k_offset, g.v_offset].into_iter().enumerate() {
                    let start = row * g.stride + offset;
                    // SAFETY: one task has this row, and takes one of its parts at a time.
                    let to = unsafe { self.dqkv.slice(start..start + n_kv_heads * head_dim) };
                    to.fill(0.0);
                    for slot in &slots[starts[row]..starts[row + 1]] {
                        for part in parts {
                            let place = part.places[slot / PAGE];
                            if place == NONE {
                                continue;
                            }
                            for (kv_head, to) in to.chunks_exact_mut(head_dim).enumerate() {
                                let page = (2 * kv_head + kind) * part.n_pages + place as usize;
                                let at = (part.start + page) * PAGE + slot % PAGE;
                                let from = &collected[at * head_dim..][..head_dim];
                                for (to, x) in to.iter_mut().zip(from) {
                                    *to += x;
                                }
                            }
                        }
                    }
                }
            }
        });
    }
}

/// The products' sum, in eight lanes.
fn dot<T: Copy>(a: &[f32], b: &[T], widen: impl Fn(T) -> f32) -> f32 {
    let mut lanes = [0.0; 8];
    for (a, b) in a.chunks(8).zip(b.chunks(8)) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * widen(*b);
        }
    }
    lanes.iter().sum()
}

per_isa! {
    /// Turns scores into probabilities `p` and the gradients of probabilities into those of scores, over
    /// `n` positions from `first` on; zeros where a query does not see. Asks for: lines of `SCORE_STRIDE`
    /// for each query.
    unsafe fn probabilities(
        p: *mut f32, ds: *mut f32, first: usize, n: usize, n_visible: &[usize],
        lse_and_delta: [&[f32]; 2]
    ) = probabilities_on;
}

#[inline(always)]
unsafe fn probabilities_on<S: Simd>(
    p: *mut f32,
    ds: *mut f32,
    first: usize,
    n: usize,
    n_visible: &[usize],
    [lse, delta]: [&[f32]; 2],
) {
    for (query, n_visible) in n_visible.iter().enumerate() {
        let n_visible = n_visible.saturating_sub(first).min(n);
        // SAFETY: a line of each for every query, by the caller's promise, with room for `n` positions,
        // which are whole vectors.
        unsafe {
            let p = p.add(query * SCORE_STRIDE);
            let ds = ds.add(query * SCORE_STRIDE);
            let lse = S::splat(lse[query]);
            let delta = S::splat(delta[query]);
            let mut t = 0;
            while t < n_visible {
                let x = S::exp(S::sub(S::load(p.add(t)), lse));
                S::store(p.add(t), x);
                let gradient = S::sub(S::load(ds.add(t)), delta);
                S::store(ds.add(t), S::mul(x, gradient));
                t += S::LANES;
            }
            for t in n_visible..n {
                *p.add(t) = 0.0;
                *ds.add(t) = 0.0;
            }
        }
    }
}

/// Calls `work` with `n` numbers on cache lines, which stay with the calling thread for the next call; what
/// they hold is left open. Apart from the scratch memory of tasks, which may run on this thread as well.
fn with_lasting(n: usize, work: impl FnOnce(&mut [f32])) {
    thread_local! {
        static LASTING: RefCell<Lines> =
            const { RefCell::new(Lines::new()) };
    }
    LASTING.with_borrow_mut(|lines| {
        if lines.n_bytes() < n * size_of::<f32>() {
            lines.resize(n * size_of::<f32>());
        }
        work(&mut lines.get_mut()[..n]);
    });
}
