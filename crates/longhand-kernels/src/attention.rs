//! Softmax attention of queries over pages of keys and values, and its gradients.
//!
//! `out = softmax(q k^T / sqrt(head_dim)) v`, each query over the positions up to its own. What a query gets
//! depends, bit for bit, on itself and on the keys and values of those positions only: not on how many
//! queries there are, on which pages hold the keys, on who shares them, or on the threads.
//!
//! Knows nothing of projections, rotary angles or who allocates pages.

mod backward;
mod block;
mod forward;
mod keys;
mod softmax;
mod tiles;
#[cfg(test)]
mod twin;

use self::forward::{Queries, Results, Rows};
use crate::{
    Cpu, HeadShape, KvPages, Operand, OperandFormat, PAGE, operand::is_inside, shared::SharedMut,
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
    let stats = stats.map(|stats| {
        assert!(rows * shape.n_heads <= stats.len(), "stats too short");
        SharedMut::new(stats)
    });
    let queries = Queries { q, stride, offset };
    let stride = out.stride();
    let out = match format {
        OperandFormat::F32 => Rows::F32(SharedMut::new(out.f32_mut())),
        OperandFormat::Bf16 => Rows::Bf16(SharedMut::new(out.bf16_mut())),
    };
    let results = Results { out, stride, stats };
    forward::run(cpu, shape, pages, runs, &queries, &results);
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
    let n_slots = pages.n_pages() * PAGE;
    assert!(
        g.slots.iter().all(|slot| (*slot as usize) < n_slots),
        "a slot outside of the pages"
    );
    let copied = g.copied_pages.iter().flat_map(|(from, to)| [from, to]);
    assert!(
        copied
            .max()
            .is_none_or(|page| (*page as usize) < pages.n_pages()),
        "a copied page that is not there"
    );
    backward::run(cpu, shape, pages, runs, g, dqkv);
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

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::{
        twin::{Batch, Layout},
        *,
    };
    use crate::{
        Isa,
        simd::{bf16_to_f32, f32_to_bf16},
    };

    fn shape(n_kv_heads: usize, group: usize, head_dim: usize) -> HeadShape {
        HeadShape {
            n_heads: n_kv_heads * group,
            n_kv_heads,
            head_dim,
        }
    }

    fn cpu(isa: Isa, n_threads: usize) -> Cpu {
        Cpu::new(isa, NonZero::new(n_threads).unwrap()).unwrap()
    }

    /// Output and log-sum-exp of some runs, whose queries begin at row `q_row` of the batch.
    fn forward(
        cpu: &Cpu,
        batch: &Batch,
        layout: &Layout,
        runs: &[Run<'_>],
        q_row: usize,
    ) -> (Vec<f32>, Vec<f32>) {
        let rows: usize = runs.iter().map(|run| run.n_rows).sum();
        let mut out = Operand::new();
        let mut stats = vec![f32::NAN; rows * batch.shape.n_heads];
        attention(
            cpu,
            batch.shape,
            &layout.pages,
            runs,
            &batch.qkv[q_row * batch.stride..],
            batch.stride,
            batch.offset(),
            &mut out,
            OperandFormat::F32,
            Some(&mut stats),
        );
        (out.to_f32(), stats)
    }

    /// The queries and keys' places of the gradient, row by row.
    fn backward(cpu: &Cpu, batch: &Batch, layout: &Layout, format: OperandFormat) -> [Vec<f32>; 3] {
        let runs = batch.runs(layout);
        let (rows, stride) = (batch.rows(), batch.stride);
        let mut out = Operand::new();
        let mut stats = vec![f32::NAN; rows * batch.shape.n_heads];
        let (q, offset) = (&batch.qkv, batch.offset());
        attention(
            cpu,
            batch.shape,
            &layout.pages,
            &runs,
            q,
            stride,
            offset,
            &mut out,
            format,
            Some(&mut stats),
        );
        let gradient = AttentionGradient {
            q,
            stride,
            offset,
            k_offset: batch.k_offset(),
            v_offset: batch.v_offset(),
            out: &out,
            stats: &stats,
            dout: &batch.dout,
            slots: &layout.slots,
            copied_pages: &layout.copied_pages,
        };
        // What is there before does not count, and what lies between stays.
        let mut dqkv = vec![77.0; rows * stride];
        attention_backward(cpu, batch.shape, &layout.pages, &runs, &gradient, &mut dqkv);
        let width = batch.shape.n_heads * batch.shape.head_dim;
        let kv_width = batch.shape.n_kv_heads * batch.shape.head_dim;
        let places = [
            (offset, width),
            (batch.k_offset(), kv_width),
            (batch.v_offset(), kv_width),
        ];
        for row in dqkv.chunks(stride) {
            let is_place = |i| {
                places
                    .iter()
                    .any(|(from, n)| (*from..from + n).contains(&i))
            };
            assert!((0..stride).all(|i| is_place(i) || row[i] == 77.0));
        }
        places.map(|(from, n)| {
            let of_row = |row: &[f32]| row[from..from + n].to_vec();
            dqkv.chunks(stride).flat_map(of_row).collect()
        })
    }

    fn assert_close(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
        assert_eq!(found.len(), expected.len(), "{what}");
        for (i, (a, b)) in found.iter().zip(expected).enumerate() {
            let distance = (f64::from(*a) - b).abs();
            assert!(
                distance < tolerance * (1.0 + b.abs()),
                "{what} {i}: {a}, not {b}"
            );
        }
    }

    fn assert_same_bits(found: &[f32], expected: &[f32], what: &str) {
        assert_eq!(found.len(), expected.len(), "{what}");
        for (i, (a, b)) in found.iter().zip(expected).enumerate() {
            assert_eq!(a.to_bits(), b.to_bits(), "{what} {i}: {a}, not {b}");
        }
    }

    /// Forward and backward of a batch on all instruction sets against the twin, with shared and with
    /// copied pages, and bit for bit whatever the threads, the pages and the division into runs.
    fn check(shape: HeadShape, segments: &[(Option<usize>, usize)]) {
        let batch = Batch::new(shape, segments);
        let twin = batch.twin(&batch.wide());
        for isa in Isa::available() {
            let one = cpu(isa, 1);
            let layout = batch.lay_out(&one, true);
            let (out, stats) = forward(&one, &batch, &layout, &batch.runs(&layout), 0);
            let what = format!("{isa} {shape:?} {segments:?}");
            assert_close(&out, &twin.out, 1e-5, &format!("out {what}"));
            assert_close(&stats, &twin.stats, 1e-5, &format!("stats {what}"));
            let gradients = backward(&one, &batch, &layout, OperandFormat::F32);
            for (found, expected) in gradients.iter().zip([&twin.dq, &twin.dk, &twin.dv]) {
                assert_close(found, expected, 2e-4, &format!("gradient {what}"));
            }

            let many = cpu(isa, 5);
            let apart = batch.lay_out(&one, false);
            for (cpu, layout) in [(&many, &layout), (&one, &apart), (&many, &apart)] {
                let (o, s) = forward(cpu, &batch, layout, &batch.runs(layout), 0);
                assert_same_bits(&o, &out, &what);
                assert_same_bits(&s, &stats, &what);
            }
            let same = backward(&many, &batch, &layout, OperandFormat::F32);
            for (found, expected) in same.iter().zip(&gradients) {
                assert_same_bits(found, expected, &what);
            }
            // Every row on its own, and in pieces of some rows.
            let width = shape.n_heads * shape.head_dim;
            for piece in [1, 5] {
                for run in batch.runs(&layout) {
                    for i in (0..run.n_rows).step_by(piece) {
                        let first_row = run.first_row + i;
                        let n_rows = piece.min(run.n_rows - i);
                        let part = Run {
                            first_row: 0,
                            n_rows,
                            first_position: run.first_position + i,
                            table: run.table,
                        };
                        let (o, s) = forward(&one, &batch, &layout, &[part], first_row);
                        assert_same_bits(&o, &out[first_row * width..][..n_rows * width], &what);
                        let n_heads = shape.n_heads;
                        assert_same_bits(
                            &s,
                            &stats[first_row * n_heads..][..n_rows * n_heads],
                            &what,
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn one_position_attends_to_itself() {
        check(shape(1, 1, 2), &[(None, 1)]);
        check(shape(2, 3, 6), &[(None, 1), (None, 1)]);
    }

    #[test]
    fn heads_of_all_sizes_and_groups_are_as_in_the_twin() {
        for (group, head_dim) in [(1, 2), (2, 6), (3, 16), (4, 64), (3, 64), (2, 80), (1, 128)] {
            check(
                shape(2, group, head_dim),
                &[(None, 37), (None, 16), (None, 3)],
            );
        }
    }

    #[test]
    fn prefixes_of_three_levels_are_shared() {
        let segments = [
            (None, 21),
            (Some(0), 18),
            (Some(0), 2),
            (Some(1), 7),
            (Some(1), 30),
            (Some(2), 40),
            (Some(4), 5),
        ];
        check(shape(1, 3, 16), &segments);
        check(shape(2, 2, 6), &segments);
        let on_pages = [
            (None, 32),
            (Some(0), 16),
            (Some(0), 48),
            (Some(1), 1),
            (Some(2), 16),
        ];
        check(shape(1, 2, 8), &on_pages);
    }

    #[test]
    fn positions_in_several_blocks_are_merged() {
        check(shape(1, 2, 16), &[(None, 530), (Some(0), 3), (Some(0), 11)]);
        check(shape(1, 1, 6), &[(None, 256), (Some(0), 1), (Some(0), 257)]);
    }

    #[test]
    fn work_for_many_tasks_is_cut_and_comes_together() {
        check(
            shape(1, 4, 64),
            &[(None, 100), (Some(0), 60), (Some(0), 30)],
        );
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(24))]
        #[test]
        fn any_tree_of_segments_is_as_in_the_twin(
            n_kv_heads in 1_usize..3,
            group in 1_usize..5,
            half_dim in 1_usize..20,
            segments in proptest::collection::vec((0_usize..6, 1_usize..40), 1..6),
        ) {
            let with_parents: Vec<_> = segments
                .iter()
                .enumerate()
                .map(|(i, (parent, n))| (parent.checked_sub(1).filter(|p| *p < i), *n))
                .collect();
            check(shape(n_kv_heads, group, 2 * half_dim), &with_parents);
        }
    }

    #[test]
    fn tasks_that_share_the_positions_of_a_query_change_nothing() {
        let shape = shape(2, 4, 128);
        let batch = Batch::new(shape, &[(None, 1300)]);
        for isa in Isa::available() {
            let one = cpu(isa, 1);
            let layout = batch.lay_out(&one, true);
            let run = Run {
                first_row: 0,
                n_rows: 1,
                first_position: 1299,
                table: &layout.tables[0],
            };
            let expected = forward(&one, &batch, &layout, &[run], 1299);
            for n_threads in [2, 5, 16] {
                let found = forward(&cpu(isa, n_threads), &batch, &layout, &[run], 1299);
                assert_same_bits(&found.0, &expected.0, "out");
                assert_same_bits(&found.1, &expected.1, "stats");
            }
        }
    }

    #[test]
    fn rounded_outputs_are_the_rounded_numbers() {
        let batch = Batch::new(shape(2, 2, 6), &[(None, 20)]);
        for isa in Isa::available() {
            let one = cpu(isa, 1);
            let layout = batch.lay_out(&one, true);
            let runs = batch.runs(&layout);
            let (exact, _) = forward(&one, &batch, &layout, &runs, 0);
            let mut out = Operand::new();
            let (q, offset) = (&batch.qkv, batch.offset());
            attention(
                &one,
                batch.shape,
                &layout.pages,
                &runs,
                q,
                batch.stride,
                offset,
                &mut out,
                OperandFormat::Bf16,
                None,
            );
            let rounded = |x: &f32| bf16_to_f32(f32_to_bf16(*x));
            let expected: Vec<f32> = exact.iter().map(rounded).collect();
            assert_same_bits(&out.to_f32(), &expected, "rounded");
            // Gradients from rounded outputs are near those from exact ones.
            let found = backward(&one, &batch, &layout, OperandFormat::Bf16);
            let exact = backward(&one, &batch, &layout, OperandFormat::F32);
            for (found, exact) in found.iter().zip(&exact) {
                let exact: Vec<f64> = exact.iter().map(|x| f64::from(*x)).collect();
                assert_close(found, &exact, 2e-2, "from rounded outputs");
            }
        }
    }

    #[test]
    #[should_panic(expected = "runs do not follow each other")]
    fn runs_that_overlap_are_refused() {
        let batch = Batch::new(shape(1, 1, 2), &[(None, 4)]);
        let cpu = cpu(Isa::Portable, 1);
        let layout = batch.lay_out(&cpu, true);
        let run = batch.runs(&layout)[0];
        forward(&cpu, &batch, &layout, &[run, run], 0);
    }

    #[test]
    #[should_panic(expected = "a table too short")]
    fn a_table_that_does_not_reach_the_last_position_is_refused() {
        let batch = Batch::new(shape(1, 1, 2), &[(None, 17)]);
        let cpu = cpu(Isa::Portable, 1);
        let layout = batch.lay_out(&cpu, true);
        let table = &layout.tables[0][..1];
        let run = Run {
            table,
            ..batch.runs(&layout)[0]
        };
        forward(&cpu, &batch, &layout, &[run], 0);
    }
}
