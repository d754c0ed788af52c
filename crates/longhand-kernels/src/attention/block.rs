//! A block of queries, and which of them read which pages together.

use std::ops::Range;

use super::Run;
use crate::PAGE;

/// Consecutive rows of the batch, of one run or of several.
pub(super) struct Block<'a> {
    pub(super) rows: Range<usize>,
    parts: Vec<Part<'a>>,
}

/// The rows of one run in a block.
struct Part<'a> {
    /// Rows of the block before it.
    first: usize,
    n_rows: usize,
    first_position: usize,
    /// The pages that its rows see.
    table: &'a [u32],
    /// Leading pages that it has in common with the part before.
    n_shared: usize,
}

/// Rows of a block that read the same pages.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Span<'a> {
    /// Rows, counted from the first of the block.
    pub(super) rows: Range<usize>,
    /// Places of the pages in the table.
    pub(super) places: Range<usize>,
    /// The pages themselves.
    pub(super) pages: &'a [u32],
}

impl<'a> Block<'a> {
    /// The block of these rows. Runs follow each other, from row 0 on.
    pub(super) fn new(runs: &[Run<'a>], rows: Range<usize>) -> Block<'a> {
        let first_run = runs.partition_point(|run| run.first_row + run.n_rows <= rows.start);
        let mut parts: Vec<Part<'_>> = Vec::new();
        for run in &runs[first_run..] {
            if rows.end <= run.first_row {
                break;
            }
            let start = rows.start.max(run.first_row);
            let n_rows = rows.end.min(run.first_row + run.n_rows) - start;
            if n_rows == 0 {
                continue;
            }
            let first_position = run.first_position + start - run.first_row;
            let table = &run.table[..(first_position + n_rows).div_ceil(PAGE)];
            let n_shared = parts.last().map_or(0, |before| {
                let pairs = before.table.iter().zip(table);
                pairs.take_while(|(a, b)| a == b).count()
            });
            parts.push(Part {
                first: start - rows.start,
                n_rows,
                first_position,
                table,
                n_shared,
            });
        }
        Block { rows, parts }
    }

    /// Positions that a row sees, for every row of the block.
    pub(super) fn n_visible(&self) -> impl Iterator<Item = usize> {
        let of_part = |part: &Part<'_>| part.first_position + 1..=part.first_position + part.n_rows;
        self.parts.iter().flat_map(of_part)
    }

    /// For each part the pages that it sees.
    pub(super) fn tables(&self) -> impl Iterator<Item = &'a [u32]> {
        self.parts.iter().map(|part| part.table)
    }

    /// Pages that the row which sees most of them sees.
    pub(super) fn n_pages(&self) -> usize {
        let n_pages = self.parts.iter().map(|part| part.table.len());
        n_pages.max().unwrap_or(0)
    }

    /// Calls `visit` for all rows and pages with places in `places`, in ascending order of places for each
    /// row. Neighbours that have the same pages come together.
    pub(super) fn for_each_span(&self, places: Range<usize>, mut visit: impl FnMut(Span<'a>)) {
        let mut from = places.start;
        while from < places.end {
            let cuts = self.parts.iter().map(|part| part.n_shared);
            let next = cuts.filter(|cut| from < *cut).min();
            let to = next.unwrap_or(places.end).min(places.end);
            let mut parts = self.parts.as_slice();
            while let Some((part, rest)) = parts.split_first() {
                let n_joined = rest.iter().take_while(|part| from < part.n_shared).count();
                let last = n_joined.checked_sub(1).map_or(part, |i| &rest[i]);
                parts = &rest[n_joined..];
                let to = to.min(part.table.len());
                if from < to {
                    visit(Span {
                        rows: part.first..last.first + last.n_rows,
                        places: from..to,
                        pages: &part.table[from..to],
                    });
                }
            }
            from = to;
        }
    }
}

/// Numbers of multiply-adds of one product, by row: how large the work is.
pub(super) fn n_visible_in_all(runs: &[Run<'_>]) -> usize {
    let of_run = |run: &Run<'_>| {
        let (n, first) = (run.n_rows, run.first_position);
        n * first + n * (n + 1) / 2
    };
    runs.iter().map(of_run).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first_row: usize, n_rows: usize, first_position: usize, table: &[u32]) -> Run<'_> {
        Run {
            first_row,
            n_rows,
            first_position,
            table,
        }
    }

    fn check(
        runs: &[Run<'_>],
        rows: Range<usize>,
        places: Range<usize>,
        expected: &[(Range<usize>, Range<usize>, &[u32])],
    ) {
        let block = Block::new(runs, rows);
        let mut spans = Vec::new();
        block.for_each_span(places, |span| {
            spans.push((span.rows, span.places, span.pages));
        });
        assert_eq!(spans, expected);
    }

    #[test]
    fn runs_with_a_common_beginning_read_it_together() {
        let tables = [[1, 2, 3], [1, 2, 4], [1, 5, 6], [7, 2, 3]];
        let runs: Vec<_> = (0..4).map(|i| run(i, 1, 40, &tables[i])).collect();
        check(
            &runs,
            0..4,
            0..3,
            &[
                (0..3, 0..1, &[1]),
                (3..4, 0..1, &[7]),
                (0..2, 1..2, &[2]),
                (2..3, 1..2, &[5]),
                (3..4, 1..2, &[2]),
                (0..1, 2..3, &[3]),
                (1..2, 2..3, &[4]),
                (2..3, 2..3, &[6]),
                (3..4, 2..3, &[3]),
            ],
        );
        check(&runs, 1..2, 1..3, &[(0..1, 1..3, &[2, 4])]);
        check(&runs, 0..2, 0..2, &[(0..2, 0..2, &[1, 2])]);
    }

    #[test]
    fn pages_that_no_row_sees_are_left_out() {
        let table = [3, 4, 5, 6];
        let runs = [run(0, 20, 0, &table), run(20, 3, 14, &table)];
        check(&runs, 0..10, 0..4, &[(0..10, 0..1, &[3])]);
        check(&runs, 10..23, 0..4, &[(0..13, 0..2, &[3, 4])]);
        let block = Block::new(&runs, 18..23);
        assert_eq!(block.n_visible().collect::<Vec<_>>(), [19, 20, 15, 16, 17]);
        assert_eq!(block.n_pages(), 2);
        assert_eq!(n_visible_in_all(&runs), 210 + 15 + 16 + 17);
    }

    #[test]
    fn a_part_with_fewer_pages_ends_earlier_than_the_one_it_shares_with() {
        let runs = [run(0, 1, 47, &[1, 2, 3]), run(1, 1, 10, &[1])];
        check(
            &runs,
            0..2,
            0..3,
            &[(0..2, 0..1, &[1]), (0..1, 1..3, &[2, 3])],
        );
    }
}
