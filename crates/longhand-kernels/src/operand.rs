//! The left-hand side of a matrix product: rows as they are, in f32 or bf16.

use crate::{
    Cpu,
    shared::Lines,
    simd::{bf16_to_f32, f32_to_bf16},
};

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
        let _ = cpu;
        self.reset(format, rows, k);
        for row in 0..rows {
            for i in 0..k {
                self.set(row, i, values[row * stride + i]);
            }
        }
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
        let _ = cpu;
        self.reset(format, rows, k);
        for row in 0..rows {
            for i in 0..k {
                self.set(row, i, values[i * stride + row]);
            }
        }
    }

    /// Takes the transpose of another operand, in the same format.
    pub fn fill_columns_of(&mut self, cpu: &Cpu, other: &Operand) {
        let _ = cpu;
        self.reset(other.format, other.k, other.rows);
        let values = other.to_f32();
        for row in 0..self.rows {
            for i in 0..self.k {
                self.set(row, i, values[i * other.k + row]);
            }
        }
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

    fn set(&mut self, row: usize, i: usize, x: f32) {
        let at = row * self.stride + i;
        match self.format {
            OperandFormat::F32 => self.f32_mut()[at] = x,
            OperandFormat::Bf16 => self.bf16_mut()[at] = f32_to_bf16(x),
        }
    }
}

/// Whether a matrix of `rows` rows of `width` numbers, `stride` apart, is inside `len` numbers.
pub(crate) fn is_inside(len: usize, rows: usize, width: usize, stride: usize) -> bool {
    rows == 0 || width == 0 || (width <= stride && (rows - 1) * stride + width <= len)
}
