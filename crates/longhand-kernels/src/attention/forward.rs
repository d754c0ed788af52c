//! Attention forward: a block of queries over blocks of positions.
//!
//! Positions are cut into blocks of [`POSITIONS`], counted from the start of the sequence. For each the
//! largest score, the sum of exponentials and the weighted values are computed from nothing and then
//! merged, in order, into those of the blocks before. So the blocks of a query may be computed by
//! different tasks, as in decoding behind a long context, and come out the same.

use std::{cell::RefCell, ops::Range};

use super::{
    Run,
    block::{Block, n_visible_in_all},
    softmax::{
        Merging, POSITIONS, SCORE_STRIDE, State, exponentials, merge, store_bf16, store_f32,
    },
    tiles::{Scores, WeightedSums, scores, weighted_sums},
};
use crate::{
    Cpu, HeadShape, Isa, KvPages, PAGE,
    shared::{Lines, SharedMut},
};

/// Pages of a block of positions.
const PAGES: usize = POSITIONS / PAGE;

/// Queries (rows times heads of a group) of a block.
const QUERIES: usize = 96;
/// Fewer queries than this do not make good use of a page that is read for them.
const QUERIES_AT_LEAST: usize = 12;
/// Multiply-adds that are worth a task of their own, some ten microseconds.
const WORK_OF_TASK: usize = 400_000;
/// What a query costs beside its products, in multiply-adds.
const WORK_OF_QUERY: usize = 2_000;

/// Queries, and where they are.
pub(super) struct Queries<'a> {
    pub(super) q: &'a [f32],
    pub(super) stride: usize,
    pub(super) offset: usize,
}

/// Where results go: `[rows, stride]` in one of the formats, and the log-sum-exp if it is wanted.
pub(super) struct Results<'a> {
    pub(super) out: Rows<'a>,
    pub(super) stride: usize,
    pub(super) stats: Option<SharedMut<'a, f32>>,
}

pub(super) enum Rows<'a> {
    F32(SharedMut<'a, f32>),
    Bf16(SharedMut<'a, u16>),
}

pub(super) fn run(
    cpu: &Cpu,
    shape: HeadShape,
    pages: &KvPages,
    runs: &[Run<'_>],
    queries: &Queries<'_>,
    results: &Results<'_>,
) {
    let n_rows = runs.last().map_or(0, |run| run.first_row + run.n_rows);
    if n_rows == 0 {
        return;
    }
    let plan = Plan::new(cpu, shape, runs, n_rows);
    let forward = Forward {
        isa: cpu.isa(),
        shape,
        pages,
        queries,
        results,
    };
    let n_units = shape.n_kv_heads * plan.n_blocks;
    // Later blocks of a run see more positions; long tasks first leave the threads even at the end.
    let unit = |unit_idx: usize| {
        let (kv_head, block_idx) = (unit_idx / plan.n_blocks, unit_idx % plan.n_blocks);
        let start = (plan.n_blocks - 1 - block_idx) * plan.rows_per_block;
        let rows = start..(start + plan.rows_per_block).min(n_rows);
        (kv_head, Block::new(runs, rows))
    };
    if plan.n_parts == 1 {
        cpu.for_each(plan.n_tasks, |task_idx| {
            for unit_idx in share(n_units, plan.n_tasks, task_idx) {
                let (kv_head, block) = unit(unit_idx);
                forward.whole(kv_head, &block, None);
            }
        });
        return;
    }
    let partial_len = forward.state_len(plan.rows_per_block * shape.group());
    let n_blocks_of_positions = plan.n_blocks_of_positions;
    let mut partials = vec![0.0; n_units * n_blocks_of_positions * partial_len];
    let shared = SharedMut::new(&mut partials);
    cpu.for_each(n_units * plan.n_parts, |task_idx| {
        let (unit_idx, part_idx) = (task_idx / plan.n_parts, task_idx % plan.n_parts);
        let (kv_head, block) = unit(unit_idx);
        for position_idx in share(n_blocks_of_positions, plan.n_parts, part_idx) {
            let start = (unit_idx * n_blocks_of_positions + position_idx) * partial_len;
            // SAFETY: the part of this unit and this block of positions, which one task has.
            let partial = unsafe { shared.slice(start..start + partial_len) };
            forward.partly(kv_head, &block, position_idx, partial);
        }
    });
    cpu.for_each(n_units, |unit_idx| {
        let (kv_head, block) = unit(unit_idx);
        let partials = &partials[unit_idx * n_blocks_of_positions * partial_len..];
        forward.whole(kv_head, &block, Some((partials, partial_len)));
    });
}

/// How the work is cut. Nothing of it changes a bit of the result.
struct Plan {
    rows_per_block: usize,
    n_blocks: usize,
    n_tasks: usize,
    n_blocks_of_positions: usize,
    /// Tasks that share the positions of one block of queries.
    n_parts: usize,
}

impl Plan {
    fn new(cpu: &Cpu, shape: HeadShape, runs: &[Run<'_>], n_rows: usize) -> Plan {
        let group = shape.group();
        let products = 2 * n_visible_in_all(runs) * shape.head_dim;
        let work = shape.n_heads * (products + n_rows * WORK_OF_QUERY);
        let n_worth = (work / WORK_OF_TASK).max(1);
        let n_wanted = n_worth.min(4 * cpu.n_threads());
        let n_wanted = if cpu.n_threads() == 1 { 1 } else { n_wanted };
        let at_least = QUERIES_AT_LEAST.div_ceil(group);
        let at_most = (QUERIES / group).max(1).max(at_least);
        let rows_per_block = (n_rows * shape.n_kv_heads / n_wanted).clamp(at_least, at_most);
        let n_blocks = n_rows.div_ceil(rows_per_block);
        // Blocks of about the same size.
        let rows_per_block = n_rows.div_ceil(n_blocks);
        let n_blocks = n_rows.div_ceil(rows_per_block);
        let n_units = n_blocks * shape.n_kv_heads;
        let n_positions = runs.iter().map(|run| run.first_position + run.n_rows);
        let n_blocks_of_positions = n_positions.max().unwrap_or(0).div_ceil(POSITIONS);
        let n_parts = if 2 * n_units <= n_wanted {
            n_wanted.div_ceil(n_units).min(n_blocks_of_positions)
        } else {
            1
        };
        Plan {
            rows_per_block,
            n_blocks,
            n_tasks: n_worth.min(n_units),
            n_blocks_of_positions,
            n_parts,
        }
    }
}

/// The items of task `task_idx` when `n_items` are dealt out in order.
fn share(n_items: usize, n_tasks: usize, task_idx: usize) -> Range<usize> {
    n_items * task_idx / n_tasks..n_items * (task_idx + 1) / n_tasks
}

struct Forward<'a> {
    isa: Isa,
    shape: HeadShape,
    pages: &'a KvPages,
    queries: &'a Queries<'a>,
    results: &'a Results<'a>,
}

impl Forward<'_> {
    fn padded_dim(&self) -> usize {
        self.shape.head_dim.next_multiple_of(PAGE)
    }

    /// Numbers of a [`State`].
    fn state_len(&self, n_queries: usize) -> usize {
        2 * n_queries.next_multiple_of(PAGE) + n_queries * self.padded_dim()
    }

    fn n_queries(&self, block: &Block<'_>) -> usize {
        block.rows.len() * self.shape.group()
    }

    /// Computes the states of all blocks of positions, or takes them from `partials`, merges them in order
    /// and writes the results.
    fn whole(&self, kv_head: usize, block: &Block<'_>, partials: Option<(&[f32], usize)>) {
        let n_queries = self.n_queries(block);
        let state_len = self.state_len(n_queries);
        let n_visible = self.n_visible(block);
        with_scratch(2 * state_len + self.scratch_len(n_queries), |scratch| {
            let (all, rest) = scratch.split_at_mut(state_len);
            let (part, rest) = rest.split_at_mut(state_len);
            if partials.is_none() {
                self.load(kv_head, block, rest);
            }
            for position_idx in 0..block.n_pages().div_ceil(PAGES) {
                let to = if position_idx == 0 {
                    &mut *all
                } else {
                    &mut *part
                };
                if let Some((partials, partial_len)) = partials {
                    to.copy_from_slice(&partials[position_idx * partial_len..][..state_len]);
                } else {
                    self.positions(block, kv_head, position_idx, &n_visible, rest, to);
                }
                if position_idx != 0 {
                    let merging = Merging {
                        first: position_idx * POSITIONS,
                        n_visible: &n_visible,
                        width: self.padded_dim(),
                        all: State::new(all, n_queries),
                        part: State::new(part, n_queries),
                    };
                    // SAFETY: the instructions are those of the `Cpu`; the fields fit each other.
                    unsafe { merge(self.isa, merging) };
                }
            }
            self.store(kv_head, block, &State::new(all, n_queries));
        });
    }

    /// The state of one block of positions.
    fn partly(&self, kv_head: usize, block: &Block<'_>, position_idx: usize, partial: &mut [f32]) {
        if block.n_pages() <= position_idx * PAGES {
            return;
        }
        let n_queries = self.n_queries(block);
        let n_visible = self.n_visible(block);
        let partial = &mut partial[..self.state_len(n_queries)];
        with_scratch(self.scratch_len(n_queries), |scratch| {
            self.load(kv_head, block, scratch);
            self.positions(block, kv_head, position_idx, &n_visible, scratch, partial);
        });
    }

    /// For each query the number of positions that it sees.
    fn n_visible(&self, block: &Block<'_>) -> Vec<usize> {
        let group = self.shape.group();
        let of_row = |n| std::iter::repeat_n(n, group);
        block.n_visible().flat_map(of_row).collect()
    }

    /// Numbers for queries and scores.
    fn scratch_len(&self, n_queries: usize) -> usize {
        n_queries * (self.padded_dim() + SCORE_STRIDE)
    }

    /// Brings the queries together, times the scale of the scores.
    fn load(&self, kv_head: usize, block: &Block<'_>, scratch: &mut [f32]) {
        let HeadShape { head_dim, .. } = self.shape;
        let group = self.shape.group();
        let scale = 1.0 / (head_dim as f32).sqrt();
        let mut to = scratch.chunks_exact_mut(self.padded_dim());
        for row in block.rows.clone() {
            let first = row * self.queries.stride + self.queries.offset;
            let heads = &self.queries.q[first + kv_head * group * head_dim..][..group * head_dim];
            for (from, to) in heads.chunks_exact(head_dim).zip(&mut to) {
                for (from, to) in from.iter().zip(to) {
                    *to = from * scale;
                }
            }
        }
    }

    /// Scores, exponentials and weighted values over one block of positions.
    fn positions(
        &self,
        block: &Block<'_>,
        kv_head: usize,
        position_idx: usize,
        n_visible: &[usize],
        scratch: &mut [f32],
        to: &mut [f32],
    ) {
        let group = self.shape.group();
        let width = self.padded_dim();
        let first = position_idx * POSITIONS;
        let places = position_idx * PAGES..(position_idx + 1) * PAGES;
        let (queries, all_scores) = scratch.split_at_mut(n_visible.len() * width);
        let to = State::new(to, n_visible.len());
        let mut addresses = [std::ptr::null(); PAGES];
        block.for_each_span(places.clone(), |span| {
            let queries_of = span.rows.start * group..span.rows.end * group;
            for (address, page) in addresses.iter_mut().zip(span.pages) {
                *address = self.pages.keys(*page, kv_head).as_ptr();
            }
            let first_score = queries_of.start * SCORE_STRIDE + span.places.start * PAGE - first;
            let job = Scores {
                rows: queries[queries_of.start * width..].as_ptr(),
                row_stride: width,
                head_dim: self.shape.head_dim,
                pages: &addresses[..span.pages.len()],
                first: span.places.start * PAGE,
                n_visible: &n_visible[queries_of],
                out: all_scores[first_score..].as_mut_ptr(),
                out_stride: SCORE_STRIDE,
            };
            // SAFETY: the instructions are those of the `Cpu`; queries and scores have room for all
            // queries and positions of the blocks, and pages are whole.
            unsafe { scores(self.isa, &job) };
        });
        // SAFETY: as above; there is a largest and a total for each query.
        unsafe {
            exponentials(
                self.isa, all_scores, first, n_visible, to.largest, to.totals,
            )
        };
        to.sums.fill(0.0);
        block.for_each_span(places, |span| {
            let queries_of = span.rows.start * group..span.rows.end * group;
            for (address, page) in addresses.iter_mut().zip(span.pages) {
                *address = self.pages.values(*page, kv_head).as_ptr();
            }
            let first_score = queries_of.start * SCORE_STRIDE + span.places.start * PAGE - first;
            let job = WeightedSums {
                weights: all_scores[first_score..].as_ptr(),
                weight_row: SCORE_STRIDE,
                weight_step: 1,
                pages: &addresses[..span.pages.len()],
                x_stride: self.shape.head_dim,
                width: self.shape.head_dim,
                first: span.places.start * PAGE,
                n_visible: &n_visible[queries_of.clone()],
                sums: to.sums[queries_of.start * width..].as_mut_ptr(),
                sum_stride: width,
            };
            // SAFETY: as above, with a line of sums for each query.
            unsafe { weighted_sums(self.isa, &job) };
        });
    }

    /// Divides by the totals and writes the results of a block's rows.
    fn store(&self, kv_head: usize, block: &Block<'_>, state: &State<'_>) {
        let HeadShape {
            n_heads, head_dim, ..
        } = self.shape;
        let group = self.shape.group();
        for (row_idx, row) in block.rows.clone().enumerate() {
            let sums = &state.sums[row_idx * group * self.padded_dim()..];
            let totals = &state.totals[row_idx * group..][..group];
            let first = row * self.results.stride + kv_head * group * head_dim;
            let places = first..first + group * head_dim;
            match &self.results.out {
                Rows::F32(out) => {
                    // SAFETY: the instructions are those of the `Cpu`. This row's numbers of the heads of
                    // this key head are written by the one task that has the block.
                    unsafe {
                        let out = out.slice(places);
                        store_f32(self.isa, sums, self.padded_dim(), totals, out);
                    }
                }
                Rows::Bf16(out) => {
                    // SAFETY: as above.
                    unsafe {
                        let out = out.slice(places);
                        store_bf16(self.isa, sums, self.padded_dim(), totals, out);
                    }
                }
            }
            if let Some(stats) = &self.results.stats {
                let first = row * n_heads + kv_head * group;
                // SAFETY: as above.
                let stats = unsafe { stats.slice(first..first + group) };
                let largest = &state.largest[row_idx * group..];
                for ((to, largest), total) in stats.iter_mut().zip(largest).zip(totals) {
                    *to = largest + total.ln();
                }
            }
        }
    }
}

/// Calls `work` with `n` numbers on cache lines; what they hold is left open.
pub(super) fn with_scratch(n: usize, work: impl FnOnce(&mut [f32])) {
    thread_local! {
        static SCRATCH: RefCell<Lines> =
            const { RefCell::new(Lines::new()) };
    }
    SCRATCH.with_borrow_mut(|lines| {
        if lines.n_bytes() < n * size_of::<f32>() {
            lines.resize(n * size_of::<f32>());
        }
        work(&mut lines.get_mut()[..n]);
    });
}
