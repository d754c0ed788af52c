//! Pages of keys and values, counted by who uses them.

use longhand_kernels::{HeadShape, KvPages, PAGE};

/// The keys and values of all layers; a page number means the same positions in each.
pub(crate) struct Cache {
    pub(crate) layers: Vec<KvPages>,
    /// How many tables name each page.
    users: Vec<u32>,
    free: Vec<u32>,
}

impl Cache {
    pub(crate) fn new(shape: HeadShape, n_layers: usize) -> Self {
        Self {
            layers: (0..n_layers).map(|_| KvPages::new(shape)).collect(),
            users: Vec::new(),
            free: Vec::new(),
        }
    }

    /// A page for one table. Its content is whatever was there.
    pub(crate) fn allocate(&mut self) -> u32 {
        let page = self.free.pop().unwrap_or_else(|| {
            self.users.push(0);
            self.users.len() as u32 - 1
        });
        self.users[page as usize] = 1;
        page
    }

    /// One more table names these pages.
    pub(crate) fn retain(&mut self, pages: &[u32]) {
        for page in pages {
            self.users[*page as usize] += 1;
        }
    }

    /// A table that named these pages is gone.
    pub(crate) fn release(&mut self, pages: &[u32]) {
        for page in pages {
            let users = &mut self.users[*page as usize];
            *users -= 1;
            if *users == 0 {
                self.free.push(*page);
            }
        }
    }

    /// Makes room in every layer for all pages handed out.
    pub(crate) fn make_room(&mut self) {
        for layer in &mut self.layers {
            layer.ensure(self.users.len());
        }
    }

    /// The slot for the token at `position`, the next of the sequence with this table. A page that
    /// other tables name too is copied first, so that they keep their own content.
    pub(crate) fn slot_for_next(&mut self, table: &mut Vec<u32>, position: usize) -> u32 {
        let page_idx = position / PAGE;
        if page_idx == table.len() {
            table.push(self.allocate());
            self.make_room();
        } else if 1 < self.users[table[page_idx] as usize] {
            let own = self.allocate();
            self.make_room();
            for layer in &mut self.layers {
                layer.copy_page(table[page_idx], own);
            }
            self.release(&[table[page_idx]]);
            table[page_idx] = own;
        }
        slot(table, position)
    }

    /// Forgets every table; the memory stays.
    pub(crate) fn clear(&mut self) {
        self.users.fill(0);
        self.free.clear();
        self.free.extend((0..self.users.len() as u32).rev());
    }
}

/// Where the key of a position is.
pub(crate) fn slot(table: &[u32], position: usize) -> u32 {
    table[position / PAGE] * PAGE as u32 + (position % PAGE) as u32
}
