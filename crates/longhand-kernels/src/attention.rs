//! Softmax attention of queries over pages of keys and values, and its gradients.
//!
//! `out = softmax(q k^T / sqrt(head_dim)) v`, each query over the positions up to its own. What a query gets
//! depends, bit for bit, on itself and on the keys and values of those positions only: not on how many
//! queries there are, on which pages hold the keys, on who shares them, or on the threads.
//!
//! Knows nothing of projections, rotary angles or who allocates pages.

use crate::{
    Cpu, HeadShape, KvPages, Operand, OperandFormat, PAGE,
    operand::is_inside,
    simd::{bf16_to_f32, f32_to_bf16},
};

/// Consecutive positions of one sequence: `n_rows` rows from `first_row` stand at positions from
/// `first_position`, and each attends to all positions of `table` up to its own.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// Row of the batch at which the run begins.
    pub first_row: usize,
    /// Its rows.
    pub n_rows: usize,
    /// Position of the first row in its sequence.
    pub first_position: usize,
    /// Pages of the sequence: position `t` is slot `t % 16` of page `table[t / 16]`.
    pub table: &'a [u32],
}

/// What [`attention_backward`] starts from.
pub struct AttentionGradient<'a> {
    /// `[rows, stride]`: the queries of the forward pass, head `h` of a row at `offset + h * head_dim`.
    pub q: &'a [f32],
    /// Numbers from row to row of `q` and of the gradients.
    pub stride: usize,
    /// Place of the queries in a row.
    pub offset: usize,
    /// Place of the keys in a row, key head after key head.
    pub k_offset: usize,
    /// Place of the values in a row.
    pub v_offset: usize,
    /// The output of the forward pass.
    pub out: &'a Operand,
    /// `[rows, n_heads]`: its log-sum-exp.
    pub stats: &'a [f32],
    /// `[rows, n_heads * head_dim]`: the gradient of the output.
    pub dout: &'a [f32],
    /// `[rows]`: where the key of each row lives, `page * 16 + slot`.
    pub slots: &'a [u32],
    /// Pages that were made by [`KvPages::copy_page`], `(from, to)`, in the order of making. A slot of `to`
    /// that no row wrote holds the key of the row that `from` has there, and its gradient goes to that row.
    pub copied_pages: &'a [(u32, u32)],
}

/// Attention of the rows of all runs. Head `h` of row `r` of the queries begins at
/// `q[r * stride + offset + h * head_dim]`; `out` becomes `[rows, n_heads * head_dim]` in `format`. With
/// `stats` (`[rows, n_heads]`), the log-sum-exp of the scaled scores is kept for the backward pass.
///
/// Rows are those of the runs, which follow each other: the first begins at row 0, each other one where the
/// one before ends. Consecutive runs whose tables begin with the same pages read those together.
///
/// # Panics
/// When runs leave rows out or overlap, a table is too short or names a page that is not there, `shape` is
/// not that of the pages, or `q` or `stats` are too short.
#[expect(
    clippy::too_many_arguments,
    reason = "inputs, outputs and their places"
)]
pub fn attention(
    cpu: &Cpu,
    shape: HeadShape,
    pages: &KvPages,
    runs: &[Run<'_>],
    q: &[f32],
    stride: usize,
    offset: usize,
    out: &mut Operand,
    format: OperandFormat,
    stats: Option<&mut [f32]>,
) {
    let rows = assert_runs(shape, pages, runs);
    let width = shape.n_heads * shape.head_dim;
    assert!(
        is_inside(q.len(), rows, offset + width, stride),
        "q too short"
    );
    out.reset(format, rows, width);
    let mut stats = stats;
    if let Some(stats) = &stats {
        assert!(rows * shape.n_heads <= stats.len(), "stats too short");
    }
    let _ = cpu;
    let out_stride = out.stride();
    for run in runs {
        for i in 0..run.n_rows {
            let (row, limit) = (run.first_row + i, run.first_position + i + 1);
            for head in 0..shape.n_heads {
                let q = &q[row * stride + offset + head * shape.head_dim..][..shape.head_dim];
                let (sums, lse) = plain(shape, pages, run.table, head, q, limit);
                if let Some(stats) = &mut stats {
                    stats[row * shape.n_heads + head] = lse;
                }
                for (d, x) in sums.into_iter().enumerate() {
                    let at = row * out_stride + head * shape.head_dim + d;
                    match format {
                        OperandFormat::F32 => out.f32_mut()[at] = x,
                        OperandFormat::Bf16 => out.bf16_mut()[at] = f32_to_bf16(x),
                    }
                }
            }
        }
    }
}

fn score(shape: HeadShape, pages: &KvPages, page: u32, kv: usize, q: &[f32], slot: usize) -> f32 {
    let keys = pages.keys(page, kv);
    let products = q.iter().enumerate().map(|(d, q)| q * keys[d * PAGE + slot]);
    products.sum::<f32>() / (shape.head_dim as f32).sqrt()
}

fn plain(
    shape: HeadShape,
    pages: &KvPages,
    table: &[u32],
    head: usize,
    q: &[f32],
    limit: usize,
) -> (Vec<f32>, f32) {
    let kv = head / shape.group();
    let scores: Vec<f32> = (0..limit)
        .map(|t| score(shape, pages, table[t / PAGE], kv, q, t % PAGE))
        .collect();
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = scores.iter().map(|s| (s - largest).exp()).sum();
    let mut sums = vec![0.0; shape.head_dim];
    for (t, s) in scores.iter().enumerate() {
        let values = &pages.values(table[t / PAGE], kv)[t % PAGE * shape.head_dim..];
        for (sum_d, v) in sums.iter_mut().zip(values) {
            *sum_d += (s - largest).exp() / sum * v;
        }
    }
    (sums, largest + sum.ln())
}

/// Gradients of [`attention`] with respect to queries, keys and values, written to the places of queries,
/// keys and values in the rows of `dqkv` (`[rows, stride]`); what else is in a row stays as it is.
///
/// Every position that a run sees is the key of a row of this batch: of the row whose slot it is, or, in a
/// copied page, of the row that the original page has there. Positions of which that is not so count as
/// constants.
///
/// # Panics
/// As [`attention`], and when a slice is too short.
pub fn attention_backward(
    cpu: &Cpu,
    shape: HeadShape,
    pages: &KvPages,
    runs: &[Run<'_>],
    gradient: &AttentionGradient<'_>,
    dqkv: &mut [f32],
) {
    let g = gradient;
    let rows = assert_runs(shape, pages, runs);
    let HeadShape {
        n_heads,
        n_kv_heads,
        head_dim,
    } = shape;
    let (width, kv_width) = (n_heads * head_dim, n_kv_heads * head_dim);
    let row_end = (g.offset + width).max(g.k_offset.max(g.v_offset) + kv_width);
    assert!(
        is_inside(g.q.len(), rows, g.offset + width, g.stride),
        "q too short"
    );
    assert!(
        is_inside(dqkv.len(), rows, row_end, g.stride),
        "dqkv too short"
    );
    assert_eq!((g.out.rows(), g.out.k()), (rows, width), "another output");
    assert!(rows * n_heads <= g.stats.len(), "stats too short");
    assert!(rows * width <= g.dout.len(), "dout too short");
    assert_eq!(g.slots.len(), rows, "one slot per row");
    let _ = cpu;
    let owners = owners(pages, g);
    for row in 0..rows {
        for (offset, width) in [
            (g.offset, width),
            (g.k_offset, kv_width),
            (g.v_offset, kv_width),
        ] {
            dqkv[row * g.stride + offset..][..width].fill(0.0);
        }
    }
    let scale = 1.0 / (head_dim as f32).sqrt();
    for run in runs {
        for i in 0..run.n_rows {
            let (row, limit) = (run.first_row + i, run.first_position + i + 1);
            for head in 0..n_heads {
                let kv = head / shape.group();
                let q_at = row * g.stride + g.offset + head * head_dim;
                let q = &g.q[q_at..][..head_dim];
                let dout = &g.dout[row * width + head * head_dim..][..head_dim];
                let out_at = row * g.out.stride() + head * head_dim;
                let out = |d| match g.out.format() {
                    OperandFormat::F32 => g.out.f32()[out_at + d],
                    OperandFormat::Bf16 => bf16_to_f32(g.out.bf16()[out_at + d]),
                };
                let delta: f32 = dout.iter().enumerate().map(|(d, x)| x * out(d)).sum();
                for t in 0..limit {
                    let (page, slot) = (run.table[t / PAGE], t % PAGE);
                    let s = score(shape, pages, page, kv, q, slot);
                    let p = (s - g.stats[row * n_heads + head]).exp();
                    let values = &pages.values(page, kv)[slot * head_dim..][..head_dim];
                    let dp: f32 = dout.iter().zip(values).map(|(x, v)| x * v).sum();
                    let ds = p * (dp - delta) * scale;
                    let keys = pages.keys(page, kv);
                    let owner = owners[page as usize * PAGE + slot];
                    for d in 0..head_dim {
                        dqkv[q_at + d] += ds * keys[d * PAGE + slot];
                        if owner != u32::MAX {
                            let at = owner as usize * g.stride + kv * head_dim + d;
                            dqkv[at + g.k_offset] += ds * q[d];
                            dqkv[at + g.v_offset] += p * dout[d];
                        }
                    }
                }
            }
        }
    }
}

/// For every slot the row whose key it holds, `u32::MAX` where there is none.
fn owners(pages: &KvPages, g: &AttentionGradient<'_>) -> Vec<u32> {
    let mut owners = vec![u32::MAX; pages.n_pages() * PAGE];
    for (row, slot) in g.slots.iter().enumerate() {
        owners[*slot as usize] = row as u32;
    }
    for (from, to) in g.copied_pages {
        for slot in 0..PAGE {
            let owner = owners[*from as usize * PAGE + slot];
            let copy = &mut owners[*to as usize * PAGE + slot];
            if *copy == u32::MAX {
                *copy = owner;
            }
        }
    }
    owners
}

/// The number of rows of all runs.
fn assert_runs(shape: HeadShape, pages: &KvPages, runs: &[Run<'_>]) -> usize {
    assert_eq!(shape, pages.shape(), "pages of other heads");
    let mut rows = 0;
    for run in runs {
        assert_eq!(run.first_row, rows, "runs do not follow each other");
        rows += run.n_rows;
        let n_pages = (run.first_position + run.n_rows).div_ceil(PAGE);
        assert!(n_pages <= run.table.len(), "a table too short");
        let mut used = run.table[..n_pages].iter();
        assert!(
            used.all(|page| (*page as usize) < pages.n_pages()),
            "a table names a page that is not there"
        );
    }
    rows
}
