//! The right-hand side of a matrix product, cut into panels of 32 columns.

use crate::{
    Cpu, Isa, OperandFormat,
    operand::is_inside,
    shared::Lines,
    simd::{bf16_to_f32, f32_to_bf16},
};

/// Columns of a panel.
pub(crate) const PANEL: usize = 32;

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
        let _ = cpu;
        self.k = k;
        self.n = n;
        let n_panels = n.div_ceil(PANEL);
        self.lines.resize(n_panels * self.panel_bytes());
        self.lines.get_mut::<u32>().fill(0);
        let value = |row: usize, column: usize| {
            let covers = |b: &&Block<'_>| {
                (b.k0..b.k0 + b.k).contains(&row) && (b.n0..b.n0 + b.n).contains(&column)
            };
            blocks.iter().find(covers).map_or(0.0, |b| {
                let (i, j) = (row - b.k0, column - b.n0);
                let (i, j) = if b.transposed { (j, i) } else { (i, j) };
                b.values[i * b.stride + j]
            })
        };
        let scales = (0..n_panels * PANEL).map(|column| {
            let column = (0..k).map(|row| value(row, column).abs());
            column.fold(0.0, f32::max) / 127.0
        });
        self.scales = match self.format {
            Format::Int8 => scales.collect(),
            _ => Vec::new(),
        };
        for column in 0..n {
            for row in 0..k {
                let (at, x) = (self.index(row, column), value(row, column));
                match self.format {
                    Format::F32 => self.lines.get_mut::<f32>()[at] = x,
                    Format::Bf16 => self.lines.get_mut::<u16>()[at] = f32_to_bf16(x),
                    Format::Int8 => {
                        let scale = self.scales[column].max(f32::MIN_POSITIVE);
                        self.lines.get_mut::<i8>()[at] = (x / scale).round_ties_even() as i8;
                    }
                }
            }
        }
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
        match self.format {
            Format::F32 => OperandFormat::F32,
            // Rounded on every machine, so that products differ only by the order of their sums.
            Format::Bf16 => OperandFormat::Bf16,
            Format::Int8 if cpu.isa() < Isa::Avx512Bf16 => OperandFormat::F32,
            Format::Int8 => OperandFormat::Bf16,
        }
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
