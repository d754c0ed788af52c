//! Keys and values of sequences, in pages of sixteen positions that sequences can share.
//!
//! For every page and key head: the keys transposed, `[head_dim][16]`, so that one number of a query meets
//! sixteen keys at once, and the values as they are, `[16][head_dim]`. A sequence is a table of page
//! numbers; its position `t` is slot `t % 16` of page `table[t / 16]`. Sequences with a common beginning
//! name the same pages.
//!
//! Knows nothing of who owns a page: allocating, sharing and freeing numbers is the caller's.

use crate::{Cpu, operand::is_inside, shared::Lines};

/// Positions in a page.
pub const PAGE: usize = 16;

/// Numbers below which a write is not worth waking another thread.
const N_FOR_ANOTHER_TASK: usize = 32 * 1024;

/// The heads of an attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadShape {
    /// Heads of the queries: a multiple of `n_kv_heads`.
    pub n_heads: usize,
    /// Heads of keys and values; query head `h` reads head `h / (n_heads / n_kv_heads)`.
    pub n_kv_heads: usize,
    /// Numbers in a query, key or value of one head; even.
    pub head_dim: usize,
}

impl HeadShape {
    /// Query heads that read the same keys.
    pub fn group(&self) -> usize {
        self.n_heads / self.n_kv_heads
    }

    pub(crate) fn assert_valid(&self) {
        assert!(0 < self.n_kv_heads, "no key heads");
        assert!(
            0 < self.n_heads && self.n_heads.is_multiple_of(self.n_kv_heads),
            "{} query heads cannot share {} key heads",
            self.n_heads,
            self.n_kv_heads
        );
        assert!(
            0 < self.head_dim && self.head_dim.is_multiple_of(2),
            "heads of {} numbers",
            self.head_dim
        );
    }
}

/// One layer's keys and values.
#[derive(Clone, Debug)]
pub struct KvPages {
    shape: HeadShape,
    n_pages: usize,
    /// `[page][kv head][head_dim][16]`
    keys: Lines,
    /// `[page][kv head][16][head_dim]`
    values: Lines,
}

impl KvPages {
    /// No pages yet.
    ///
    /// # Panics
    /// When the query heads are no multiple of the key heads, or `head_dim` is odd or 0.
    pub fn new(shape: HeadShape) -> KvPages {
        shape.assert_valid();
        KvPages {
            shape,
            n_pages: 0,
            keys: Lines::new(),
            values: Lines::new(),
        }
    }

    /// Makes pages `0..n_pages` usable; existing ones keep what they hold, new ones hold zeros.
    pub fn ensure(&mut self, n_pages: usize) {
        if self.n_pages < n_pages {
            let n_bytes = n_pages * self.page_len() * size_of::<f32>();
            self.keys.resize(n_bytes);
            self.values.resize(n_bytes);
            self.n_pages = n_pages;
        }
    }

    /// Pages that can be used.
    pub fn n_pages(&self) -> usize {
        self.n_pages
    }

    /// Memory taken by keys and values.
    pub fn n_bytes(&self) -> usize {
        self.keys.n_bytes() + self.values.n_bytes()
    }

    /// The heads it was made for.
    pub fn shape(&self) -> HeadShape {
        self.shape
    }

    /// Writes the keys and values of tokens: row `i` of `x` (`[rows, stride]`) holds all key heads from
    /// `k_offset` and all value heads from `v_offset`, and goes to slot `slots[i]`, which is
    /// `page * 16 + slot`. Of two rows for the same slot the later one stays.
    ///
    /// # Panics
    /// When `slots` is not one per row, a slot is outside the pages, or `x` is too short.
    #[expect(clippy::too_many_arguments, reason = "a matrix and the places in it")]
    pub fn write(
        &mut self,
        cpu: &Cpu,
        x: &[f32],
        rows: usize,
        stride: usize,
        k_offset: usize,
        v_offset: usize,
        slots: &[u32],
    ) {
        let HeadShape {
            n_kv_heads,
            head_dim,
            ..
        } = self.shape;
        let width = n_kv_heads * head_dim;
        assert_eq!(slots.len(), rows, "one slot per row");
        let row_end = k_offset.max(v_offset) + width;
        assert!(is_inside(x.len(), rows, row_end, stride), "x too short");
        let n_slots = self.n_pages * PAGE;
        assert!(
            slots.iter().all(|slot| (*slot as usize) < n_slots),
            "a slot outside of {} pages",
            self.n_pages
        );
        // Tasks are cut along the numbers of a head, not along rows: whatever the slots, no two tasks
        // write the same place.
        let n_columns = if rows * width < N_FOR_ANOTHER_TASK {
            width
        } else {
            PAGE
        };
        let page_len = self.page_len();
        let keys = Places(self.keys.get_mut().as_mut_ptr());
        let values = Places(self.values.get_mut().as_mut_ptr());
        cpu.for_each(width.div_ceil(n_columns), |task_idx| {
            let columns = task_idx * n_columns..((task_idx + 1) * n_columns).min(width);
            for (row, slot) in slots.iter().enumerate() {
                let (page, slot) = (*slot as usize / PAGE, *slot as usize % PAGE);
                let page = page * page_len;
                let k = &x[row * stride + k_offset..][..width];
                let v = &x[row * stride + v_offset..][..width];
                let mut column = columns.start;
                while column < columns.end {
                    let (head, d) = (column / head_dim, column % head_dim);
                    let n = (head_dim - d).min(columns.end - column);
                    let head = page + head * head_dim * PAGE;
                    // SAFETY: the page is inside (asserted), the head too, `d + n <= head_dim`; keys
                    // `[d..d + n][slot]` and values `[slot][d..d + n]` of a head are written by the one
                    // task that has these columns.
                    unsafe {
                        let to = keys.at(head + d * PAGE + slot);
                        for (i, k) in k[column..column + n].iter().enumerate() {
                            to.add(i * PAGE).write(*k);
                        }
                        let to = values.at(head + slot * head_dim + d);
                        to.copy_from_nonoverlapping(v[column..].as_ptr(), n);
                    }
                    column += n;
                }
            }
        });
    }

    /// Makes page `to` hold what page `from` holds.
    ///
    /// # Panics
    /// When a page is outside the pages.
    pub fn copy_page(&mut self, from: u32, to: u32) {
        let (from, to) = (from as usize, to as usize);
        assert!(from.max(to) < self.n_pages, "no such page");
        let n = self.page_len();
        for lines in [&mut self.keys, &mut self.values] {
            let numbers = lines.get_mut::<f32>();
            numbers.copy_within(from * n..(from + 1) * n, to * n);
        }
    }

    /// `[head_dim][16]` of one page and key head.
    #[inline]
    pub(crate) fn keys(&self, page: u32, kv_head: usize) -> &[f32] {
        self.part(&self.keys, page, kv_head)
    }

    /// `[16][head_dim]` of one page and key head.
    #[inline]
    pub(crate) fn values(&self, page: u32, kv_head: usize) -> &[f32] {
        self.part(&self.values, page, kv_head)
    }

    #[inline]
    fn part<'a>(&self, lines: &'a Lines, page: u32, kv_head: usize) -> &'a [f32] {
        let n = self.shape.head_dim * PAGE;
        &lines.get()[(page as usize * self.shape.n_kv_heads + kv_head) * n..][..n]
    }

    fn page_len(&self) -> usize {
        self.shape.n_kv_heads * self.shape.head_dim * PAGE
    }
}

/// Where tasks write single numbers.
struct Places(*mut f32);

impl Places {
    /// # Safety
    /// `i` is inside the buffer.
    #[inline]
    unsafe fn at(&self, i: usize) -> *mut f32 {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(i) }
    }
}

// SAFETY: nothing but an address; every write through it says why no other task has the place.
unsafe impl Sync for Places {}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::*;
    use crate::Isa;

    fn shape(n_kv_heads: usize, head_dim: usize) -> HeadShape {
        HeadShape {
            n_heads: n_kv_heads,
            n_kv_heads,
            head_dim,
        }
    }

    /// Writes rows whose numbers say where they come from, and reads every one of them back.
    fn check(shape: HeadShape, rows: usize, n_pages: usize, slot: impl Fn(usize) -> u32) {
        let cpu = Cpu::new(Isa::Portable, NonZero::new(3).unwrap()).unwrap();
        let width = shape.n_kv_heads * shape.head_dim;
        let stride = 2 * width + 5;
        let x: Vec<f32> = (0..rows * stride).map(|i| i as f32).collect();
        let slots: Vec<u32> = (0..rows).map(slot).collect();
        let mut pages = KvPages::new(shape);
        pages.ensure(n_pages);
        pages.write(&cpu, &x, rows, stride, 2, width + 4, &slots);
        let mut n_written = 0;
        for page in 0..n_pages as u32 {
            for head in 0..shape.n_kv_heads {
                let keys = pages.keys(page, head);
                let values = pages.values(page, head);
                for slot in 0..PAGE {
                    let row = slots
                        .iter()
                        .position(|s| *s as usize == page as usize * 16 + slot);
                    n_written += usize::from(row.is_some());
                    for d in 0..shape.head_dim {
                        let at = |offset| match row {
                            Some(row) => x[row * stride + offset + head * shape.head_dim + d],
                            None => 0.0,
                        };
                        assert_eq!(keys[d * PAGE + slot], at(2), "key {page} {head} {slot} {d}");
                        let value = values[slot * shape.head_dim + d];
                        assert_eq!(value, at(width + 4), "value {page} {head} {slot} {d}");
                    }
                }
            }
        }
        assert_eq!(n_written, rows * shape.n_kv_heads);
    }

    #[test]
    fn every_number_arrives_in_its_place() {
        check(shape(1, 2), 1, 1, |_| 7);
        check(shape(3, 6), 5, 3, |row| 40 - 3 * row as u32);
        check(shape(2, 80), 33, 4, |row| row as u32 + 16);
    }

    #[test]
    fn large_writes_are_cut_into_tasks_and_arrive_all_the_same() {
        check(shape(3, 64), 200, 13, |row| 207 - row as u32);
        check(shape(4, 20), 420, 30, |row| row as u32);
    }

    #[test]
    fn pages_grow_and_keep_and_are_copied() {
        let cpu = Cpu::new(Isa::Portable, NonZero::<usize>::MIN).unwrap();
        let mut pages = KvPages::new(shape(1, 2));
        pages.ensure(1);
        pages.write(&cpu, &[1.0, 2.0, 3.0, 4.0], 1, 4, 0, 2, &[5]);
        pages.ensure(3);
        assert_eq!(pages.n_pages(), 3);
        assert!(3 * 2 * 2 * 16 * 4 <= pages.n_bytes());
        pages.copy_page(0, 2);
        for page in [0, 2] {
            assert_eq!([5, 21].map(|i| pages.keys(page, 0)[i]), [1.0, 2.0]);
            assert_eq!(pages.values(page, 0)[10..12], [3.0, 4.0]);
        }
        assert!(pages.keys(1, 0).iter().all(|x| *x == 0.0));
        pages.ensure(1);
        assert_eq!(pages.n_pages(), 3, "pages are never taken away");
    }

    #[test]
    #[should_panic(expected = "a slot outside of 1 pages")]
    fn a_slot_outside_is_refused() {
        let cpu = Cpu::new(Isa::Portable, NonZero::<usize>::MIN).unwrap();
        let mut pages = KvPages::new(shape(1, 2));
        pages.ensure(1);
        pages.write(&cpu, &[0.0; 4], 1, 4, 0, 2, &[16]);
    }
}
