//! The right-hand side of a matrix product, cut into panels of 32 columns.

use crate::{
    Cpu, Isa, OperandFormat,
    matmul::mixed::{Mixed, transpose},
    operand::is_inside,
    shared::{Lines, SharedMut},
    simd::{bf16_to_f32, per_isa},
};

/// Columns of a panel.
pub(crate) const PANEL: usize = 32;

/// Rows of a panel that are packed at a time.
const CHUNK: usize = 32;

/// Panels that a task packs side by side: from a matrix that is not transposed, a row of each is next to
/// the row of the other, and the memory reads whole pages.
const PANELS_PER_TASK: usize = 8;

/// Numbers below which packing is not worth a fork: a few microseconds.
const SMALL: usize = 32_768;

/// How the numbers of a [`Packed`] matrix are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// As they are.
    F32,
    /// Rounded to the nearest bf16, ties to even.
    Bf16,
    /// Whole numbers from -127 to 127 with one scale for each column.
    Int8,
}

impl Format {
    /// The format in which this machine wants the left-hand side of a product with such a matrix.
    pub fn operand_format(self, cpu: &Cpu) -> OperandFormat {
        match self {
            Format::F32 => OperandFormat::F32,
            // Rounded on every machine, so that products differ only by the order of their sums.
            Format::Bf16 => OperandFormat::Bf16,
            Format::Int8 if cpu.isa() < Isa::Avx512Bf16 => OperandFormat::F32,
            Format::Int8 => OperandFormat::Bf16,
        }
    }
}

/// A part of the matrix to be packed, placed with its corner at (`k0`, `n0`).
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// Row-major `[k, n]`, or `[n, k]` when `transposed`.
    pub values: &'a [f32],
    /// Numbers from the start of a row of `values` to the start of the next.
    pub stride: usize,
    /// First row of the packed matrix that it covers.
    pub k0: usize,
    /// First column of the packed matrix that it covers.
    pub n0: usize,
    /// Rows of the packed matrix that it covers.
    pub k: usize,
    /// Columns of the packed matrix that it covers.
    pub n: usize,
    /// Whether `values` has a row for each column of the packed matrix.
    pub transposed: bool,
}

/// A matrix `[k, n]` for the right of a product, in panels of 32 columns, padded with zeros.
///
/// f32 panels are `[k][32]`; bf16 panels hold pairs of rows, `[k / 2][32][2]`; int8 panels are `[k][32]`. The
/// last two have their `k` padded to a multiple of 32.
#[derive(Clone, Debug)]
pub struct Packed {
    format: Format,
    k: usize,
    n: usize,
    lines: Lines,
    /// One for each column, with int8.
    scales: Vec<f32>,
}

impl Packed {
    /// Packs a matrix `[k, n]`; what no block covers is zero.
    ///
    /// # Panics
    /// When a block reaches beyond the matrix or its values, or two overlap.
    pub fn new(cpu: &Cpu, format: Format, k: usize, n: usize, blocks: &[Block<'_>]) -> Packed {
        let mut packed = Packed {
            format,
            k: 0,
            n: 0,
            lines: Lines::new(),
            scales: Vec::new(),
        };
        packed.repack(cpu, k, n, blocks);
        packed
    }

    /// Packs another matrix `[k, n]` into the same memory and format.
    ///
    /// # Panics
    /// When a block reaches beyond the matrix or its values, or two overlap.
    pub fn repack(&mut self, cpu: &Cpu, k: usize, n: usize, blocks: &[Block<'_>]) {
        check(k, n, blocks);
        self.k = k;
        self.n = n;
        let n_panels = n.div_ceil(PANEL);
        let panel_bytes = self.panel_bytes();
        self.lines.resize(n_panels * panel_bytes);
        let n_scales = match self.format {
            Format::Int8 => n_panels * PANEL,
            _ => 0,
        };
        self.scales.resize(n_scales, 0.0);
        if n_panels == 0 || k == 0 {
            return;
        }
        let n_together = if k * n < SMALL {
            n_panels
        } else {
            PANELS_PER_TASK.min(n_panels.div_ceil(2 * cpu.n_threads()))
        };
        let panels = SharedMut::new(self.lines.get_mut::<i8>());
        let scales = SharedMut::new(&mut self.scales);
        let format = self.format;
        cpu.for_each(n_panels.div_ceil(n_together), |task_idx| {
            let first = task_idx * n_together;
            let last = (first + n_together).min(n_panels);
            // SAFETY: tasks have different panels.
            let (panels, scales) = unsafe {
                let scales = match format {
                    Format::Int8 => scales.slice(first * PANEL..last * PANEL),
                    _ => &mut [],
                };
                (
                    panels.slice(first * panel_bytes..last * panel_bytes),
                    scales,
                )
            };
            let part = Part {
                format,
                k,
                blocks,
                first_column: first * PANEL,
                n_panels: last - first,
                panels: panels.as_mut_ptr(),
                panel_bytes,
                scales: scales.as_mut_ptr(),
            };
            // SAFETY: the instructions are there (`Cpu`); panels and scales of the part are exclusively
            // ours; blocks were checked.
            unsafe { pack(cpu.isa(), &part) }
        });
    }

    /// Rows: the length of the sums.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Columns.
    pub fn n(&self) -> usize {
        self.n
    }

    /// How the numbers are kept.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Bytes of all panels and scales.
    pub fn n_bytes(&self) -> usize {
        self.lines.n_bytes() + size_of_val(&*self.scales)
    }

    /// The format in which this machine wants the left-hand side of a product with this matrix.
    pub fn operand_format(&self, cpu: &Cpu) -> OperandFormat {
        self.format.operand_format(cpu)
    }

    /// The matrix `[k, n]`, row-major, as products see it.
    pub fn to_f32(&self) -> Vec<f32> {
        let value = |row, column| {
            let at = self.index(row, column);
            match self.format {
                Format::F32 => self.lines.get::<f32>()[at],
                Format::Bf16 => bf16_to_f32(self.lines.get::<u16>()[at]),
                Format::Int8 => self.scales[column] * f32::from(self.lines.get::<i8>()[at]),
            }
        };
        let row = |row| (0..self.n).map(move |column| value(row, column));
        (0..self.k).flat_map(row).collect()
    }

    /// The first byte of the first panel.
    pub(crate) fn panels(&self) -> *const u8 {
        self.lines.get::<i8>().as_ptr().cast()
    }

    /// One for each column of each panel; null where the format has none.
    pub(crate) fn scales(&self) -> *const f32 {
        match self.format {
            Format::Int8 => self.scales.as_ptr(),
            _ => std::ptr::null(),
        }
    }

    /// Bytes from panel to panel.
    pub(crate) fn panel_bytes(&self) -> usize {
        let padded_k = self.k.next_multiple_of(32);
        match self.format {
            Format::F32 => PANEL * 4 * self.k,
            Format::Bf16 => PANEL * 2 * padded_k,
            Format::Int8 => PANEL * padded_k,
        }
    }

    /// Where in the panels a number is, counted in numbers.
    fn index(&self, row: usize, column: usize) -> usize {
        let (panel, lane) = (column / PANEL, column % PANEL);
        let padded_k = self.k.next_multiple_of(32);
        match self.format {
            Format::F32 => (panel * self.k + row) * PANEL + lane,
            Format::Bf16 => {
                let pair = panel * padded_k / 2 + row / 2;
                (pair * PANEL + lane) * 2 + row % 2
            }
            Format::Int8 => (panel * padded_k + row) * PANEL + lane,
        }
    }
}

fn check(k: usize, n: usize, blocks: &[Block<'_>]) {
    for (block_idx, a) in blocks.iter().enumerate() {
        assert!(a.k0 + a.k <= k && a.n0 + a.n <= n, "a block reaches out");
        let (rows, width) = if a.transposed { (a.n, a.k) } else { (a.k, a.n) };
        assert!(is_inside(a.values.len(), rows, width, a.stride));
        for b in &blocks[..block_idx] {
            let apart_in_k = a.k0 + a.k <= b.k0 || b.k0 + b.k <= a.k0;
            let apart_in_n = a.n0 + a.n <= b.n0 || b.n0 + b.n <= a.n0;
            assert!(apart_in_k || apart_in_n, "blocks overlap");
        }
    }
}

/// Neighbouring panels to be packed by one task.
struct Part<'a> {
    format: Format,
    k: usize,
    blocks: &'a [Block<'a>],
    first_column: usize,
    n_panels: usize,
    panels: *mut i8,
    panel_bytes: usize,
    scales: *mut f32,
}

per_isa! {
    unsafe fn pack(part: &Part<'_>) = pack_on;
}

/// A piece of a panel in plain f32.
#[repr(align(64))]
struct Chunk([f32; CHUNK * PANEL]);

/// # Safety
/// The instructions of `S`; panels and scales of the part, exclusively.
#[inline(always)]
unsafe fn pack_on<S: Mixed>(part: &Part<'_>) {
    let chunks = || (0..part.k).step_by(CHUNK);
    // SAFETY: the caller's promise.
    unsafe {
        if part.format == Format::Int8 {
            for panel in 0..part.n_panels {
                find_scales::<S>(part, panel);
                chunks().for_each(|row| pack_chunk::<S>(part, panel, row));
            }
        } else if part.blocks.iter().all(|block| block.transposed) {
            for panel in 0..part.n_panels {
                chunks().for_each(|row| pack_chunk::<S>(part, panel, row));
            }
        } else {
            for row in chunks() {
                (0..part.n_panels).for_each(|panel| pack_chunk::<S>(part, panel, row));
            }
        }
    }
}

/// The scales of a panel's columns.
///
/// # Safety
/// As [`pack_on`].
#[inline(always)]
unsafe fn find_scales<S: Mixed>(part: &Part<'_>, panel: usize) {
    let mut largest = [0.0_f32; PANEL];
    let mut chunk = Chunk([0.0; CHUNK * PANEL]);
    for row in (0..part.k).step_by(CHUNK) {
        // SAFETY: the chunk has the room; vectors are inside it.
        unsafe {
            gather::<S>(part, panel, row, CHUNK, chunk.0.as_mut_ptr());
            for lane in (0..PANEL).step_by(S::LANES) {
                let mut so_far = S::load(largest.as_ptr().add(lane));
                for values in chunk.0.chunks_exact(PANEL) {
                    let x = S::load(values.as_ptr().add(lane));
                    so_far = S::max(so_far, S::max(x, S::sub(S::splat(0.0), x)));
                }
                S::store(largest.as_mut_ptr().add(lane), so_far);
            }
        }
    }
    for (lane, largest) in largest.into_iter().enumerate() {
        // SAFETY: every panel has as many scales.
        unsafe { *part.scales.add(panel * PANEL + lane) = largest / 127.0 }
    }
}

/// Packs `CHUNK` rows of a panel, or those that are left.
///
/// # Safety
/// As [`pack_on`].
#[inline(always)]
unsafe fn pack_chunk<S: Mixed>(part: &Part<'_>, panel: usize, row: usize) {
    // SAFETY: f32 panels have `k` rows, the others a multiple of 32.
    unsafe {
        let to = part.panels.add(panel * part.panel_bytes);
        let is_f32 = part.format == Format::F32;
        let n_rows = if is_f32 {
            CHUNK.min(part.k - row)
        } else {
            CHUNK
        };
        if is_f32 && part.blocks.iter().all(|block| !block.transposed) {
            gather::<S>(part, panel, row, n_rows, to.cast::<f32>().add(row * PANEL));
            return;
        }
        // By way of a chunk, transposes write whole lines of the panel, one after the other.
        let mut chunk = Chunk([0.0; CHUNK * PANEL]);
        let from = chunk.0.as_mut_ptr();
        gather::<S>(part, panel, row, n_rows, from);
        if is_f32 {
            let to = to.cast::<f32>().add(row * PANEL);
            for i in (0..n_rows * PANEL).step_by(S::LANES) {
                S::store(to.add(i), S::load(from.add(i)));
            }
            return;
        }
        if part.format == Format::Bf16 {
            let to = to.cast::<u16>().add(row * PANEL);
            for pair in 0..CHUNK / 2 {
                for lane in (0..PANEL).step_by(S::LANES) {
                    let evens = S::load(from.add(2 * pair * PANEL + lane));
                    let odds = S::load(from.add((2 * pair + 1) * PANEL + lane));
                    S::store_pairs(to.add(2 * (pair * PANEL + lane)), evens, odds);
                }
            }
        } else {
            let to = to.add(row * PANEL);
            for lane in (0..PANEL).step_by(S::LANES) {
                let scale = S::load(part.scales.add(panel * PANEL + lane));
                // Of a column of zeros everything is zero; its scale of zero must not divide.
                let inverse = S::div(S::splat(1.0), S::max(scale, S::splat(1e-38)));
                for i in 0..CHUNK {
                    let x = S::mul(S::load(from.add(i * PANEL + lane)), inverse);
                    let whole = S::min(S::max(S::round(x), S::splat(-127.0)), S::splat(127.0));
                    S::store_i8(to.add(i * PANEL + lane), whole);
                }
            }
        }
    }
}

/// Writes `n_rows` rows of a panel in f32, zeros where no block is.
///
/// # Safety
/// The instructions of `S`; `to` has room for `n_rows` times 32 numbers.
#[inline(always)]
unsafe fn gather<S: Mixed>(part: &Part<'_>, panel: usize, row: usize, n_rows: usize, to: *mut f32) {
    let column = part.first_column + panel * PANEL;
    let overlap = |block: &Block<'_>| {
        let rows = row.max(block.k0)..(row + n_rows).min(block.k0 + block.k);
        let columns = column.max(block.n0)..(column + PANEL).min(block.n0 + block.n);
        (rows, columns)
    };
    let n_covered = part.blocks.iter().map(|block| {
        let (rows, columns) = overlap(block);
        rows.len() * columns.len()
    });
    // SAFETY: room for so many numbers. Overlaps are inside the chunk and inside the block, whose values
    // reach as far (`check`).
    unsafe {
        if n_covered.sum::<usize>() != n_rows * PANEL {
            to.write_bytes(0, n_rows * PANEL);
        }
        for block in part.blocks {
            let (rows, columns) = overlap(block);
            if rows.is_empty() || columns.is_empty() {
                continue;
            }
            let to = to.add((rows.start - row) * PANEL + columns.start - column);
            let (i, j) = (rows.start - block.k0, columns.start - block.n0);
            let values = block.values.as_ptr();
            if block.transposed {
                let from = values.add(j * block.stride + i);
                transpose::<S>(from, block.stride, [columns.len(), rows.len()], to, PANEL);
            } else {
                let from = values.add(i * block.stride + j);
                for i in 0..rows.len() {
                    let (from, to) = (from.add(i * block.stride), to.add(i * PANEL));
                    if columns.len() == PANEL {
                        *to.cast::<[f32; PANEL]>() = from.cast::<[f32; PANEL]>().read_unaligned();
                    } else {
                        to.copy_from_nonoverlapping(from, columns.len());
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use proptest::prelude::*;

    use super::*;

    fn values(n: usize) -> Vec<f32> {
        (0..n)
            .map(|i| ((i * 7919 + 13) % 1009) as f32 / 504.5 - 1.0)
            .collect()
    }

    fn cpus() -> impl Iterator<Item = Cpu> {
        let two = NonZero::new(2).unwrap();
        Isa::available()
            .into_iter()
            .map(move |isa| Cpu::new(isa, two).unwrap())
    }

    /// Packs two blocks, one of them transposed, with nothing around and between them, and reads them back.
    fn check_round_trip([k, n]: [usize; 2], [k0, n0]: [usize; 2], gap: usize) {
        let (upper, lower) = (values(k * (n + 3)), values(n * (k + 1)));
        let block = |values, stride, k0, transposed| Block {
            values,
            stride,
            k0,
            n0,
            k,
            n,
            transposed,
        };
        let below = k0 + k + gap;
        let blocks = [
            block(&*upper, n + 3, k0, false),
            block(&*lower, k + 1, below, true),
        ];
        let [whole_k, whole_n] = [below + k + 1, n0 + n + 2];
        let expected = |row: usize, column: usize| {
            if column < n0 || n0 + n <= column {
                0.0
            } else if (k0..k0 + k).contains(&row) {
                upper[(row - k0) * (n + 3) + column - n0]
            } else if (below..below + k).contains(&row) {
                lower[(column - n0) * (k + 1) + row - below]
            } else {
                0.0
            }
        };
        for cpu in cpus() {
            for format in [Format::F32, Format::Bf16, Format::Int8] {
                // What was there before must not show.
                let full = values(4 * whole_k * whole_n);
                let everything = Block {
                    values: &full,
                    stride: 2 * whole_n,
                    k0: 0,
                    n0: 0,
                    k: 2 * whole_k,
                    n: 2 * whole_n,
                    transposed: false,
                };
                let mut packed = Packed::new(&cpu, format, 2 * whole_k, 2 * whole_n, &[everything]);
                packed.repack(&cpu, whole_k, whole_n, &blocks);
                let found = packed.to_f32();
                for column in 0..whole_n {
                    let largest = (0..whole_k).map(|row| expected(row, column).abs());
                    let step = largest.fold(0.0, f32::max) / 127.0;
                    for row in 0..whole_k {
                        let (found, x) = (found[row * whole_n + column], expected(row, column));
                        let bound = match format {
                            Format::F32 => 0.0,
                            Format::Bf16 => x.abs() / 256.0,
                            Format::Int8 => step * 0.500_01,
                        };
                        let isa = cpu.isa();
                        assert!(
                            (found - x).abs() <= bound,
                            "{isa} {format:?} {row} {column}: {found} {x}"
                        );
                    }
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn blocks_are_placed_and_the_rest_is_zero(
            shape in [1_usize..70, 1_usize..70],
            corner in [0_usize..40, 0_usize..40],
            gap in 0_usize..3,
        ) {
            check_round_trip(shape, corner, gap);
        }
    }

    #[test]
    fn awkward_shapes_are_placed() {
        for shape in [[1, 1], [1, 33], [32, 32], [64, 96], [31, 257], [100, 577]] {
            check_round_trip(shape, [0, 0], 0);
            check_round_trip(shape, [5, 31], 1);
        }
    }

    #[test]
    fn pairs_and_panels_are_laid_out_as_said() {
        let cpu = Cpu::detect();
        let (k, n) = (3, 34);
        let values: Vec<f32> = (0..k * n).map(|i| i as f32).collect();
        let block = Block {
            values: &values,
            stride: n,
            k0: 0,
            n0: 0,
            k,
            n,
            transposed: false,
        };
        let f32 = Packed::new(&cpu, Format::F32, k, n, &[block]);
        assert_eq!(f32.lines.get::<f32>()[PANEL..PANEL + 2], [34.0, 35.0]);
        assert_eq!(
            f32.lines.get::<f32>()[k * PANEL..k * PANEL + 3],
            [32.0, 33.0, 0.0]
        );
        let bf16 = Packed::new(&cpu, Format::Bf16, k, n, &[block]);
        let pairs: Vec<f32> = bf16.lines.get().iter().map(|x| bf16_to_f32(*x)).collect();
        assert_eq!(pairs[..4], [0.0, 34.0, 1.0, 35.0]);
        assert_eq!(pairs[2 * PANEL..2 * PANEL + 4], [68.0, 0.0, 69.0, 0.0]);
        assert_eq!(bf16.n_bytes(), 2 * 32 * 32 * 2);
        assert!(pairs[3 * PANEL * 2..32 * PANEL].iter().all(|x| *x == 0.0));
    }

    #[test]
    #[should_panic = "blocks overlap"]
    fn overlapping_blocks_are_refused() {
        let block = Block {
            values: &[1.0; 4],
            stride: 2,
            k0: 0,
            n0: 0,
            k: 2,
            n: 2,
            transposed: false,
        };
        Packed::new(
            &Cpu::detect(),
            Format::F32,
            3,
            3,
            &[
                block,
                Block {
                    k0: 1,
                    n0: 1,
                    ..block
                },
            ],
        );
    }

    #[test]
    #[should_panic = "a block reaches out"]
    fn blocks_beyond_the_matrix_are_refused() {
        let block = Block {
            values: &[1.0; 4],
            stride: 2,
            k0: 1,
            n0: 0,
            k: 2,
            n: 2,
            transposed: false,
        };
        Packed::new(&Cpu::detect(), Format::F32, 2, 2, &[block]);
    }
}
