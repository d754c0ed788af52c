//! What one pass runs: a flat list of tokens, where each stands, and what it may see.

use std::ops::Range;

use longhand_kernels::{PAGE, Run};
use longhand_rollout::PrefixTree;

use crate::cache::{Cache, slot};

/// Tokens of one pass. A row's keys may be needed in several pages: sequences that part within a page
/// each have a page of their own from there on, and the tokens before the parting are in both.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// `[n_rows]`
    pub(crate) ids: Vec<u32>,
    /// `[n_rows]`
    pub(crate) positions: Vec<u32>,
    /// Where each row's key and value go, `[n_rows]`.
    slots: Vec<u32>,
    /// Further places of a row's key: `(row, slot)`, by row.
    copies: Vec<(usize, u32)>,
    /// The pages that those places are in, `(from, to)`: what the parting sequences had before.
    copied_pages: Vec<(u32, u32)>,
    spans: Vec<Span>,
}

/// Rows at consecutive positions of one sequence.
#[derive(Debug)]
struct Span {
    first_row: usize,
    n_rows: usize,
    first_position: usize,
    table: Vec<u32>,
}

/// Rows that are run at once.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    pub(crate) ids: &'a [u32],
    pub(crate) positions: &'a [u32],
    /// Rows, of this part, whose keys and values go to a further place each: `[n_copies]`.
    pub(crate) copied: Vec<usize>,
    /// Places of the rows' keys, then of the copies', `[n_rows + n_copies]`.
    pub(crate) slots: Vec<u32>,
    /// Of the whole pass.
    pub(crate) copied_pages: &'a [(u32, u32)],
    pub(crate) runs: Vec<Run<'a>>,
}

impl Part<'_> {
    pub(crate) fn n_rows(&self) -> usize {
        self.ids.len()
    }
}

impl Rows {
    pub(crate) fn n_rows(&self) -> usize {
        self.ids.len()
    }

    /// Appends the tokens of a sequence that stand at `first_position..`; its table has their pages.
    pub(crate) fn push(&mut self, ids: &[u32], first_position: usize, table: &[u32]) {
        let positions = first_position..first_position + ids.len();
        self.spans.push(Span {
            first_row: self.ids.len(),
            n_rows: ids.len(),
            first_position,
            table: table.to_vec(),
        });
        self.ids.extend(ids);
        self.positions
            .extend(positions.clone().map(|position| position as u32));
        self.slots
            .extend(positions.map(|position| slot(table, position)));
    }

    /// Appends a whole tree and returns, for each segment, its first row and its table, whose pages are
    /// the caller's to release.
    pub(crate) fn push_tree(&mut self, tree: &PrefixTree, cache: &mut Cache) -> Vec<Placed> {
        let mut placed: Vec<Placed> = Vec::with_capacity(tree.segments.len());
        for segment in &tree.segments {
            let end = segment.start + segment.ids.len();
            let n_shared = segment.start / PAGE;
            let mut table = match segment.parent {
                Some(parent) => placed[parent].table[..n_shared].to_vec(),
                None => Vec::new(),
            };
            cache.retain(&table);
            table.extend((n_shared..end.div_ceil(PAGE)).map(|_| cache.allocate()));

            let first_row = self.ids.len();
            self.push(&segment.ids, segment.start, &table);
            // The tokens before the parting, in the page where it happens.
            let mut ancestor = segment.parent;
            if let Some(parent) = ancestor
                && n_shared * PAGE < segment.start
            {
                let from = placed[parent].table[n_shared];
                self.copied_pages.push((from, table[n_shared]));
            }
            for position in (n_shared * PAGE..segment.start).rev() {
                while let Some(idx) = ancestor {
                    if tree.segments[idx].start <= position {
                        let row = placed[idx].first_row + position - tree.segments[idx].start;
                        self.copies.push((row, slot(&table, position)));
                        break;
                    }
                    ancestor = tree.segments[idx].parent;
                }
            }
            placed.push(Placed { first_row, table });
        }
        self.copies.sort_unstable();
        cache.make_room();
        placed
    }

    /// The rows of a range, with what they need.
    pub(crate) fn part(&self, rows: Range<usize>) -> Part<'_> {
        let first = self.copies.partition_point(|(row, _)| *row < rows.start);
        let last = self.copies.partition_point(|(row, _)| *row < rows.end);
        let copies = &self.copies[first..last];
        let mut slots = self.slots[rows.clone()].to_vec();
        slots.extend(copies.iter().map(|(_, slot)| slot));
        let begin = self
            .spans
            .partition_point(|span| span.first_row + span.n_rows <= rows.start);
        let spans = self.spans[begin..]
            .iter()
            .take_while(|span| span.first_row < rows.end);
        let runs = spans.map(|span| {
            let start = span.first_row.max(rows.start);
            let end = (span.first_row + span.n_rows).min(rows.end);
            Run {
                first_row: start - rows.start,
                n_rows: end - start,
                first_position: span.first_position + start - span.first_row,
                table: &span.table,
            }
        });
        Part {
            ids: &self.ids[rows.clone()],
            positions: &self.positions[rows.clone()],
            copied: copies.iter().map(|(row, _)| row - rows.start).collect(),
            slots,
            copied_pages: &self.copied_pages,
            runs: runs.collect(),
        }
    }

    /// All rows, cut into parts of at most `max_rows`.
    pub(crate) fn parts(&self, max_rows: usize) -> impl Iterator<Item = (usize, Part<'_>)> {
        let n_rows = self.n_rows();
        (0..n_rows)
            .step_by(max_rows)
            .map(move |start| (start, self.part(start..(start + max_rows).min(n_rows))))
    }
}

/// Where a segment of a tree went.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) first_row: usize,
    pub(crate) table: Vec<u32>,
}
