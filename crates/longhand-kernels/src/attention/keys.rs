//! The keys and values of a batch as the backward pass wants them, and which rows they belong to.

use super::{AttentionGradient, Run};
use crate::{Cpu, HeadShape, KvPages, PAGE, shared::SharedMut};

/// Stands for no page and no row.
pub(super) const NONE: u32 = u32::MAX;

/// Pages that are worth a task of their own.
const PAGES_OF_TASK: usize = 16;

/// The pages that runs see, in the order in which they first do.
pub(super) struct SeenPages {
    pub(super) pages: Vec<u32>,
    /// For each page of all its place in `pages`, or [`NONE`].
    pub(super) places: Vec<u32>,
}

impl SeenPages {
    pub(super) fn new(pages: &KvPages, runs: &[Run<'_>]) -> SeenPages {
        let mut seen = SeenPages {
            pages: Vec::new(),
            places: vec![NONE; pages.n_pages()],
        };
        for run in runs.iter().filter(|run| 0 < run.n_rows) {
            let n_positions = run.first_position + run.n_rows;
            for page in &run.table[..n_positions.div_ceil(PAGE)] {
                let place = &mut seen.places[*page as usize];
                if *place == NONE {
                    *place = seen.pages.len() as u32;
                    seen.pages.push(*page);
                }
            }
        }
        seen
    }

    /// Keys as `[page][kv head][16][head_dim]` and values as `[page][kv head][head_dim][16]`: each the
    /// other way round than in the pages. Slots that nobody sees hold anything, as they do there.
    pub(super) fn turn(&self, cpu: &Cpu, pages: &KvPages, keys: &mut [f32], values: &mut [f32]) {
        let HeadShape {
            n_kv_heads,
            head_dim,
            ..
        } = pages.shape();
        let head_len = head_dim * PAGE;
        let len = self.pages.len() * n_kv_heads * head_len;
        let keys = SharedMut::new(&mut keys[..len]);
        let values = SharedMut::new(&mut values[..len]);
        cpu.for_each(self.pages.len().div_ceil(PAGES_OF_TASK), |task_idx| {
            let first = task_idx * PAGES_OF_TASK;
            let last = (first + PAGES_OF_TASK).min(self.pages.len());
            for place in first..last {
                for head in 0..n_kv_heads {
                    let start = (place * n_kv_heads + head) * head_len;
                    // SAFETY: one task has this page.
                    let (to_keys, to_values) = unsafe {
                        let places = start..start + head_len;
                        (keys.slice(places.clone()), values.slice(places))
                    };
                    let from = pages.keys(self.pages[place], head);
                    for (slot, key) in to_keys.chunks_exact_mut(head_dim).enumerate() {
                        for (d, x) in key.iter_mut().enumerate() {
                            *x = from[d * PAGE + slot];
                        }
                    }
                    let from = pages.values(self.pages[place], head);
                    for (d, line) in to_values.chunks_exact_mut(PAGE).enumerate() {
                        for (slot, x) in line.iter_mut().enumerate() {
                            *x = from[slot * head_dim + d];
                        }
                    }
                }
            }
        });
    }

    /// Slots that hold the keys of each row, as `place * 16 + slot`: row `r` has those from `starts[r]` up
    /// to `starts[r + 1]`.
    pub(super) fn slots_of_rows(&self, g: &AttentionGradient<'_>) -> (Vec<usize>, Vec<usize>) {
        let owners = self.owners(g);
        let mut starts = vec![0; g.slots.len() + 1];
        let owned = |slots: &mut dyn FnMut(usize, usize)| {
            for (slot, owner) in owners.iter().enumerate() {
                if *owner != NONE {
                    slots(slot, *owner as usize);
                }
            }
        };
        owned(&mut |_, owner| starts[owner + 1] += 1);
        for row in 0..g.slots.len() {
            starts[row + 1] += starts[row];
        }
        let mut slots = vec![0; starts[g.slots.len()]];
        let mut next = starts.clone();
        owned(&mut |slot, owner| {
            slots[next[owner]] = slot;
            next[owner] += 1;
        });
        (starts, slots)
    }

    /// For every slot of the seen pages the row whose key it holds, [`NONE`] where there is none.
    fn owners(&self, g: &AttentionGradient<'_>) -> Vec<u32> {
        let n_pages = self.places.len();
        let mut of_all = vec![NONE; n_pages * PAGE];
        for (row, slot) in g.slots.iter().enumerate() {
            of_all[*slot as usize] = row as u32;
        }
        for (from, to) in g.copied_pages {
            for slot in 0..PAGE {
                let owner = of_all[*from as usize * PAGE + slot];
                let copy = &mut of_all[*to as usize * PAGE + slot];
                if *copy == NONE {
                    *copy = owner;
                }
            }
        }
        let of_page = |page: &u32| &of_all[*page as usize * PAGE..][..PAGE];
        self.pages.iter().flat_map(of_page).copied().collect()
    }
}
