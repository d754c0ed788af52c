//! The left-hand side of a matrix product: rows as they are, in f32 or bf16.

use crate::{
    Cpu, Isa,
    matmul::mixed::{Mixed, transpose},
    shared::{Lines, SharedMut},
    simd::{bf16_to_f32, f32_to_bf16, per_isa},
};

/// Rows and columns of a square that is transposed at a time.
const SIDE: usize = 32;

/// Numbers below which copying is not worth a fork: a few microseconds.
const SMALL: usize = 32_768;

/// How the numbers of an [`Operand`] are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OperandFormat {
    /// As they are.
    F32,
    /// Rounded to the nearest bf16, ties to even.
    Bf16,
}

impl OperandFormat {
    fn n_bytes(self) -> usize {
        match self {
            OperandFormat::F32 => 4,
            OperandFormat::Bf16 => 2,
        }
    }
}

/// A buffer of rows `[rows, k]`, row-major, for the left of a product. It keeps its memory from use to use.
///
/// Rows are `stride` numbers apart and start on cache lines. Behind its `k` numbers a row has zeros up to the
/// next multiple of 32, so that tiles can be loaded straight from it.
#[derive(Clone, Debug)]
pub struct Operand {
    format: OperandFormat,
    rows: usize,
    k: usize,
    stride: usize,
    lines: Lines,
}

impl Default for Operand {
    fn default() -> Operand {
        Operand::new()
    }
}

impl Operand {
    /// No rows.
    pub fn new() -> Operand {
        Operand {
            format: OperandFormat::F32,
            rows: 0,
            k: 0,
            stride: 0,
            lines: Lines::new(),
        }
    }

    /// Gives it a shape. The numbers are left open, but those behind `k` in each row are zero; whoever
    /// fills the rows keeps them so.
    pub fn reset(&mut self, format: OperandFormat, rows: usize, k: usize) {
        let padded_k = k.next_multiple_of(32);
        // An odd number of cache lines: with 4096 bytes between rows all would fall into the same places of
        // the cache.
        let n_lines = (padded_k * format.n_bytes() / 64) | 1;
        self.format = format;
        self.rows = rows;
        self.k = k;
        self.stride = 64 * n_lines / format.n_bytes();
        self.lines.resize(rows * 64 * n_lines);
        if k != padded_k {
            for row in 0..rows {
                let padding = row * self.stride + k..row * self.stride + padded_k;
                match format {
                    OperandFormat::F32 => self.lines.get_mut::<f32>()[padding].fill(0.0),
                    OperandFormat::Bf16 => self.lines.get_mut::<u16>()[padding].fill(0),
                }
            }
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers in a row.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Numbers from the start of a row to the start of the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// How the numbers are kept.
    pub fn format(&self) -> OperandFormat {
        self.format
    }

    /// Takes rows `[rows, k]` that are `stride` numbers apart.
    ///
    /// # Panics
    /// When `values` is too short or `stride` is below `k`.
    pub fn fill_rows(
        &mut self,
        cpu: &Cpu,
        format: OperandFormat,
        values: &[f32],
        rows: usize,
        k: usize,
        stride: usize,
    ) {
        assert!(is_inside(values.len(), rows, k, stride));
        self.reset(format, rows, k);
        let source = Source {
            values: values.as_ptr().cast(),
            stride,
            format: OperandFormat::F32,
        };
        self.fill(cpu, source, |isa, part| {
            // SAFETY: the instructions are there (`Cpu`), the lengths were checked.
            unsafe { copy_rows(isa, part) }
        });
    }

    /// Takes the transpose of `values`, which are `[k, rows]` and `stride` numbers apart.
    ///
    /// # Panics
    /// When `values` is too short or `stride` is below `rows`.
    pub fn fill_columns(
        &mut self,
        cpu: &Cpu,
        format: OperandFormat,
        values: &[f32],
        rows: usize,
        k: usize,
        stride: usize,
    ) {
        assert!(is_inside(values.len(), k, rows, stride));
        self.reset(format, rows, k);
        let source = Source {
            values: values.as_ptr().cast(),
            stride,
            format: OperandFormat::F32,
        };
        self.fill(cpu, source, |isa, part| {
            // SAFETY: the instructions are there (`Cpu`), the lengths were checked.
            unsafe { copy_columns(isa, part) }
        });
    }

    /// Takes the transpose of another operand, in the same format.
    pub fn fill_columns_of(&mut self, cpu: &Cpu, other: &Operand) {
        self.reset(other.format, other.k, other.rows);
        let source = Source {
            values: other.bytes().0,
            stride: other.stride,
            format: other.format,
        };
        self.fill(cpu, source, |isa, part| {
            // SAFETY: the instructions are there (`Cpu`); the other operand has the transposed shape.
            unsafe { copy_columns(isa, part) }
        });
    }

    /// Fills groups of rows on all threads.
    fn fill(&mut self, cpu: &Cpu, source: Source, copy: impl Fn(Isa, &Part) + Sync) {
        if self.rows == 0 || self.k == 0 {
            return;
        }
        let rows_per_task = (SMALL / self.k)
            .next_multiple_of(SIDE)
            .clamp(SIDE, 8 * SIDE);
        let (k, format, stride) = (self.k, self.format, self.stride);
        let n_rows = self.rows;
        let row_bytes = stride * format.n_bytes();
        let to = SharedMut::new(self.lines.get_mut::<i8>());
        cpu.for_each(n_rows.div_ceil(rows_per_task), |task_idx| {
            let first = task_idx * rows_per_task;
            let last = (first + rows_per_task).min(n_rows);
            // SAFETY: tasks have different rows.
            let to = unsafe { to.slice(first * row_bytes..last * row_bytes) };
            let part = Part {
                source,
                first,
                n_rows: last - first,
                k,
                to: to.as_mut_ptr().cast(),
                stride,
                format,
            };
            copy(cpu.isa(), &part);
        });
    }

    /// The numbers `[rows, k]`, widened, without what lies between rows.
    pub fn to_f32(&self) -> Vec<f32> {
        let index = |row| (0..self.k).map(move |i| row * self.stride + i);
        let indices = (0..self.rows).flat_map(index);
        match self.format {
            OperandFormat::F32 => indices.map(|i| self.f32()[i]).collect(),
            OperandFormat::Bf16 => indices.map(|i| bf16_to_f32(self.bf16()[i])).collect(),
        }
    }

    /// All rows with what lies between them: `rows * stride` numbers.
    ///
    /// # Panics
    /// When the format is not f32.
    pub(crate) fn f32(&self) -> &[f32] {
        assert_eq!(self.format, OperandFormat::F32);
        &self.lines.get()[..self.rows * self.stride]
    }

    /// As [`Operand::f32`], to be written; what lies behind `k` in a row stays zero.
    pub(crate) fn f32_mut(&mut self) -> &mut [f32] {
        assert_eq!(self.format, OperandFormat::F32);
        &mut self.lines.get_mut()[..self.rows * self.stride]
    }

    /// All rows with what lies between them: `rows * stride` numbers.
    ///
    /// # Panics
    /// When the format is not bf16.
    pub(crate) fn bf16(&self) -> &[u16] {
        assert_eq!(self.format, OperandFormat::Bf16);
        &self.lines.get()[..self.rows * self.stride]
    }

    /// As [`Operand::bf16`], to be written; what lies behind `k` in a row stays zero.
    pub(crate) fn bf16_mut(&mut self) -> &mut [u16] {
        assert_eq!(self.format, OperandFormat::Bf16);
        &mut self.lines.get_mut()[..self.rows * self.stride]
    }

    /// The first byte of the first row, and the bytes from row to row.
    pub(crate) fn bytes(&self) -> (*const u8, usize) {
        let start = self.lines.get::<i8>().as_ptr().cast();
        (start, self.stride * self.format.n_bytes())
    }
}

/// Whether a matrix of `rows` rows of `width` numbers, `stride` apart, is inside `len` numbers.
pub(crate) fn is_inside(len: usize, rows: usize, width: usize, stride: usize) -> bool {
    rows == 0 || width == 0 || (width <= stride && (rows - 1) * stride + width <= len)
}

/// Where numbers come from: rows, `stride` numbers apart.
#[derive(Clone, Copy)]
struct Source {
    values: *const u8,
    stride: usize,
    format: OperandFormat,
}

// SAFETY: read while the slice or operand that it points into is borrowed by the caller of the copy.
unsafe impl Sync for Source {}

/// Rows of an operand to be filled by one task.
struct Part {
    source: Source,
    /// The first of the rows, in the whole operand.
    first: usize,
    n_rows: usize,
    k: usize,
    to: *mut u8,
    stride: usize,
    format: OperandFormat,
}

per_isa! {
    unsafe fn copy_rows(part: &Part) = copy_rows_on;
    unsafe fn copy_columns(part: &Part) = copy_columns_on;
}

/// # Safety
/// The instructions of `S`; the source has rows of f32 like those of the part.
#[inline(always)]
unsafe fn copy_rows_on<S: Mixed>(part: &Part) {
    for row in 0..part.n_rows {
        // SAFETY: inside the source and the part.
        unsafe {
            let from = part.source.values.cast::<f32>();
            let from = from.add((part.first + row) * part.source.stride);
            write::<S>(from, part, row, 0, part.k);
        }
    }
}

/// # Safety
/// The instructions of `S`; the source has columns like the rows of the part.
#[inline(always)]
unsafe fn copy_columns_on<S: Mixed>(part: &Part) {
    let mut rows = Square([0.0; SIDE * SIDE]);
    let mut columns = Square([0.0; SIDE * SIDE]);
    let source = part.source;
    for i in (0..part.k).step_by(SIDE) {
        let width = SIDE.min(part.k - i);
        for row in (0..part.n_rows).step_by(SIDE) {
            let n_rows = SIDE.min(part.n_rows - row);
            let at = i * source.stride + part.first + row;
            // SAFETY: `width` rows of `n_rows` numbers are inside the source, the transposed inside the part.
            unsafe {
                let to = columns.0.as_mut_ptr();
                match source.format {
                    OperandFormat::F32 => {
                        let from = source.values.cast::<f32>().add(at);
                        transpose::<S>(from, source.stride, [width, n_rows], to, SIDE);
                    }
                    OperandFormat::Bf16 => {
                        let wide = rows.0.as_mut_ptr();
                        for i in 0..width {
                            let from = source.values.cast::<u16>().add(at + i * source.stride);
                            widen::<S>(from, wide.add(i * SIDE), n_rows);
                        }
                        transpose::<S>(wide, SIDE, [width, n_rows], to, SIDE);
                    }
                }
                for j in 0..n_rows {
                    write::<S>(columns.0.as_ptr().add(j * SIDE), part, row + j, i, width);
                }
            }
        }
    }
}

/// A square of f32.
#[repr(align(64))]
struct Square([f32; SIDE * SIDE]);

/// Writes `n` numbers into a row of the part, from `start` on.
///
/// # Safety
/// The instructions of `S`; `n` numbers on both sides.
#[inline(always)]
unsafe fn write<S: Mixed>(from: *const f32, part: &Part, row: usize, start: usize, n: usize) {
    let at = row * part.stride + start;
    let whole = n / S::LANES * S::LANES;
    // SAFETY: the caller's promise.
    unsafe {
        match part.format {
            OperandFormat::F32 => part.to.cast::<f32>().add(at).copy_from(from, n),
            OperandFormat::Bf16 => {
                let to = part.to.cast::<u16>().add(at);
                for i in (0..whole).step_by(S::LANES) {
                    S::store_bf16(to.add(i), S::load(from.add(i)));
                }
                for i in whole..n {
                    *to.add(i) = f32_to_bf16(*from.add(i));
                }
            }
        }
    }
}

/// Widens `n` numbers.
///
/// # Safety
/// The instructions of `S`; `n` numbers on both sides.
#[inline(always)]
unsafe fn widen<S: Mixed>(from: *const u16, to: *mut f32, n: usize) {
    let whole = n / S::LANES * S::LANES;
    // SAFETY: the caller's promise.
    unsafe {
        for i in (0..whole).step_by(S::LANES) {
            S::store(to.add(i), S::load_bf16(from.add(i)));
        }
        for i in whole..n {
            *to.add(i) = bf16_to_f32(*from.add(i));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use proptest::prelude::*;

    use super::*;

    fn check_fills([rows, k]: [usize; 2], gap: usize) {
        let values: Vec<f32> = (0..(rows + gap) * (k + gap) + rows + k)
            .map(|i| ((i * 7919 + 13) % 1009) as f32 / 504.5 - 1.0)
            .collect();
        for isa in Isa::available() {
            let cpu = Cpu::new(isa, NonZero::new(2).unwrap()).unwrap();
            for format in [OperandFormat::F32, OperandFormat::Bf16] {
                let expected = |stride: usize, transposed: bool| -> Vec<f32> {
                    let at = |i: usize| {
                        let (row, i) = (i / k, i % k);
                        let at = if transposed {
                            i * stride + row
                        } else {
                            row * stride + i
                        };
                        match format {
                            OperandFormat::F32 => values[at],
                            OperandFormat::Bf16 => bf16_to_f32(f32_to_bf16(values[at])),
                        }
                    };
                    (0..rows * k).map(at).collect()
                };
                let mut operand = Operand::new();
                // What was there before must not show.
                operand.fill_rows(&cpu, format, &[1.0; 9 * 640], 9, 640, 640);
                operand.fill_rows(&cpu, format, &values, rows, k, k + gap);
                assert_eq!(operand.to_f32(), expected(k + gap, false), "{isa}");
                check_padding(&operand);
                operand.fill_columns(&cpu, format, &values, rows, k, rows + gap);
                assert_eq!(operand.to_f32(), expected(rows + gap, true), "{isa}");
                check_padding(&operand);
                let mut turned = Operand::new();
                turned.fill_columns(&cpu, format, &values, k, rows, k + gap);
                operand.fill_columns_of(&cpu, &turned);
                assert_eq!(operand.to_f32(), expected(k + gap, false), "{isa}");
                check_padding(&operand);
            }
        }
    }

    fn check_padding(operand: &Operand) {
        assert_eq!(operand.bytes().0.addr() % 64, 0);
        assert_eq!(operand.bytes().1 % 128, 64);
        for row in 0..operand.rows {
            let start = row * operand.stride;
            let padding = start + operand.k..start + operand.k.next_multiple_of(32);
            let is_zero = match operand.format {
                OperandFormat::F32 => operand.f32()[padding].iter().all(|x| *x == 0.0),
                OperandFormat::Bf16 => operand.bf16()[padding].iter().all(|x| *x == 0),
            };
            assert!(is_zero);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn rows_and_columns_are_taken_over(
            shape in [1_usize..100, 1_usize..100],
            gap in 0_usize..4,
        ) {
            check_fills(shape, gap);
        }
    }

    #[test]
    fn awkward_shapes_are_taken_over() {
        for shape in [[0, 5], [5, 0], [1, 1], [32, 32], [300, 33], [33, 577]] {
            if shape[1] != 0 {
                check_fills(shape, 0);
            }
        }
        let mut operand = Operand::new();
        operand.fill_rows(&Cpu::detect(), OperandFormat::Bf16, &[], 5, 0, 0);
        assert_eq!([operand.rows(), operand.k()], [5, 0]);
    }
}
