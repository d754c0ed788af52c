//! Dropout (arXiv:1207.0580): leaves numbers out by a hash of their place, so that nothing is stored.
//!
//! What is kept is multiplied by `1 / (1 - share)`, so that the expectation stays.

use crate::{
    Cpu, Operand, OperandFormat,
    rows::for_row_blocks,
    shared::SharedMut,
    simd::{Simd, bf16_to_f32, f32_to_bf16, per_isa},
};

/// Which numbers of a matrix are dropped: each for itself with the same probability, as a pure function of
/// the key, its row and its column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    key: u64,
    /// A number whose hash is below is dropped.
    threshold: u32,
    /// What the others are multiplied by.
    scale: f32,
}

impl Dropout {
    /// Drops each number with probability `share`, to within 2⁻³².
    ///
    /// # Panics
    /// When `share` is not in `[0, 1)`.
    pub fn new(key: u64, share: f64) -> Dropout {
        assert!((0.0..1.0).contains(&share), "a share of {share}");
        Dropout {
            key,
            // The cast saturates, so that a share close to 1 does not become none.
            threshold: (share * 2.0_f64.powi(32)) as u32,
            scale: (1.0 / (1.0 - share)) as f32,
        }
    }

    fn row(&self, row: usize) -> Row {
        Row {
            hash: mixed(self.key ^ mixed(row as u64)),
            threshold: self.threshold,
            scale: self.scale,
        }
    }
}

/// Spreads 64 bits over all of them (SplitMix64, doi:10.1145/2714064.2660195).
pub fn mixed(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// What is dropped of one row.
#[derive(Clone, Copy)]
struct Row {
    hash: u64,
    threshold: u32,
    scale: f32,
}

impl Row {
    /// What the number in this column is multiplied by: 32-bit steps only, which every vector unit has.
    #[inline(always)]
    fn factor(self, column: usize) -> f32 {
        let (low, high) = (self.hash as u32, (self.hash >> 32) as u32);
        let x = (column as u32).wrapping_mul(0x9e37_79b9).wrapping_add(low);
        let x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d) ^ high;
        let x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
        let x = x ^ (x >> 16);
        if x < self.threshold { 0.0 } else { self.scale }
    }
}

/// Fills `out` with the rows of `x`, in `format`, without what is dropped.
pub fn drop_out(
    cpu: &Cpu,
    x: &Operand,
    dropout: Dropout,
    out: &mut Operand,
    format: OperandFormat,
) {
    let (rows, k, from_stride) = (x.rows(), x.k(), x.stride());
    out.reset(format, rows, k);
    let stride = out.stride();
    let to = match format {
        OperandFormat::F32 => Rows::F32(SharedMut::new(out.f32_mut())),
        OperandFormat::Bf16 => Rows::Bf16(SharedMut::new(out.bf16_mut())),
    };
    for_row_blocks(cpu, rows, 4 * k, |rows| {
        for row in rows {
            let (from, to_start) = (row * from_stride, row * stride);
            let of_row = dropout.row(row);
            // SAFETY: the instructions are there; rows do not overlap.
            unsafe {
                let to = match &to {
                    Rows::F32(to) => RowMut::F32(to.slice(to_start..to_start + k)),
                    Rows::Bf16(to) => RowMut::Bf16(to.slice(to_start..to_start + k)),
                };
                let from = match x.format() {
                    OperandFormat::F32 => RowRef::F32(&x.f32()[from..from + k]),
                    OperandFormat::Bf16 => RowRef::Bf16(&x.bf16()[from..from + k]),
                };
                keep(cpu.isa(), from, of_row, to);
            }
        }
    });
}

/// `out += y` without what is dropped of `y`, for rows of `width` numbers.
///
/// # Panics
/// When lengths differ, or are not whole rows.
pub fn add_kept(cpu: &Cpu, y: &[f32], width: usize, dropout: Dropout, out: &mut [f32]) {
    assert_eq!(y.len(), out.len());
    assert!(y.len().is_multiple_of(width), "whole rows");
    let shared = SharedMut::new(out);
    for_row_blocks(cpu, y.len() / width.max(1), 4 * width, |rows| {
        for row in rows {
            let here = row * width..(row + 1) * width;
            // SAFETY: the instructions are there; rows do not overlap.
            unsafe {
                let out = shared.slice(here.clone());
                add_row(cpu.isa(), &y[here], dropout.row(row), out);
            }
        }
    });
}

enum Rows<'a> {
    F32(SharedMut<'a, f32>),
    Bf16(SharedMut<'a, u16>),
}

enum RowMut<'a> {
    F32(&'a mut [f32]),
    Bf16(&'a mut [u16]),
}

enum RowRef<'a> {
    F32(&'a [f32]),
    Bf16(&'a [u16]),
}

per_isa! {
    unsafe fn keep(from: RowRef<'_>, row: Row, to: RowMut<'_>) = keep_on;
    unsafe fn add_row(y: &[f32], row: Row, out: &mut [f32]) = add_row_on;
}

/// # Safety
/// The machine has the instructions.
#[inline(always)]
unsafe fn keep_on<S: Simd>(from: RowRef<'_>, row: Row, to: RowMut<'_>) {
    // Plain loops, which the compiler turns into vectors.
    match (from, to) {
        (RowRef::F32(from), RowMut::F32(to)) => {
            for (column, (from, to)) in from.iter().zip(to).enumerate() {
                *to = from * row.factor(column);
            }
        }
        (RowRef::F32(from), RowMut::Bf16(to)) => {
            for (column, (from, to)) in from.iter().zip(to).enumerate() {
                *to = f32_to_bf16(from * row.factor(column));
            }
        }
        (RowRef::Bf16(from), RowMut::F32(to)) => {
            for (column, (from, to)) in from.iter().zip(to).enumerate() {
                *to = bf16_to_f32(*from) * row.factor(column);
            }
        }
        (RowRef::Bf16(from), RowMut::Bf16(to)) => {
            for (column, (from, to)) in from.iter().zip(to).enumerate() {
                *to = f32_to_bf16(bf16_to_f32(*from) * row.factor(column));
            }
        }
    }
}

/// # Safety
/// The machine has the instructions.
#[inline(always)]
unsafe fn add_row_on<S: Simd>(y: &[f32], row: Row, out: &mut [f32]) {
    for (column, (y, out)) in y.iter().zip(out).enumerate() {
        *out += y * row.factor(column);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{ROWS, WIDTHS, noise, on_all_cpus};

    /// What ones become: the factor of every number.
    fn factors(cpu: &Cpu, rows: usize, width: usize, dropout: Dropout) -> Vec<f32> {
        let mut out = vec![0.0; rows * width];
        add_kept(cpu, &vec![1.0; rows * width], width, dropout, &mut out);
        out
    }

    #[test]
    fn the_stated_share_is_dropped_and_the_expectation_kept() {
        let cpu = Cpu::detect();
        let (rows, width) = (400, 500);
        for share in [0.0, 0.05, 0.5, 0.9] {
            let found = factors(&cpu, rows, width, Dropout::new(5, share));
            let n_dropped = found.iter().filter(|factor| **factor == 0.0).count();
            let n = found.len() as f64;
            // Five standard deviations of a binomial.
            let bound = 5.0 * (n * share * (1.0 - share)).sqrt();
            assert!((n_dropped as f64 - n * share).abs() <= bound, "{share}");
            let kept = (1.0 / (1.0 - share)) as f32;
            assert!(found.iter().all(|factor| [0.0, kept].contains(factor)));
            // No row and no column is favoured: seven standard deviations, for the largest of many.
            let of_row = |row: usize| found[row * width..][..width].to_vec();
            let of_column =
                |column: usize| found[column..].iter().copied().step_by(width).collect();
            let rows = (0..rows).map(of_row);
            let columns = (0..width).map(of_column);
            for line in rows.chain(columns) {
                let n_dropped = line.iter().filter(|factor| **factor == 0.0).count() as f64;
                let n = line.len() as f64;
                let bound = 7.0 * (n * share * (1.0 - share)).sqrt();
                assert!((n_dropped - n * share).abs() <= bound, "{share}");
            }
        }
    }

    #[test]
    fn keys_rows_and_columns_are_dropped_independently() {
        let cpu = Cpu::detect();
        let (rows, width) = (200, 200);
        let dropped = |key| -> Vec<bool> {
            let found = factors(&cpu, rows, width, Dropout::new(key, 0.5));
            found.iter().map(|factor| *factor == 0.0).collect()
        };
        let first = dropped(1);
        let share_alike = |a: &[bool], b: &[bool]| {
            let n_alike = a.iter().zip(b).filter(|(a, b)| a == b).count();
            n_alike as f64 / a.len().min(b.len()) as f64
        };
        // 40 000 coins: a standard deviation of 0.0025.
        for (what, other) in [
            ("key", &dropped(2)[..]),
            ("distant key", &dropped(1 << 40)),
            ("row", &first[width..]),
            ("column", &first[1..]),
        ] {
            let share = share_alike(&first, other);
            assert!((share - 0.5).abs() < 0.0125, "{what}: {share}");
        }
    }

    #[test]
    fn both_forms_drop_the_same_whatever_the_machine() {
        let dropout = Dropout::new(77, 0.3);
        for rows in ROWS {
            for width in WIDTHS {
                let expected = factors(&Cpu::detect(), rows, width, dropout);
                let x = noise(rows * width, 3);
                let kept: Vec<f32> = x.iter().zip(&expected).map(|(x, f)| x * f).collect();
                for (isa, found) in on_all_cpus(|cpu| {
                    let mut operand = Operand::new();
                    operand.fill_rows(cpu, OperandFormat::F32, &x, rows, width, width);
                    let mut out = Operand::new();
                    drop_out(cpu, &operand, dropout, &mut out, OperandFormat::F32);
                    out.to_f32()
                }) {
                    assert_eq!(found, kept, "{isa} {rows} {width}");
                }
                for (isa, found) in on_all_cpus(|cpu| {
                    let mut out = vec![1.0; x.len()];
                    add_kept(cpu, &x, width, dropout, &mut out);
                    out
                }) {
                    for ((found, kept), x) in found.iter().zip(&kept).zip(&x) {
                        assert!((found - 1.0 - kept).abs() < 1e-6 * (1.0 + x.abs()), "{isa}");
                    }
                }
                for [from, to] in [
                    [OperandFormat::F32, OperandFormat::Bf16],
                    [OperandFormat::Bf16, OperandFormat::F32],
                    [OperandFormat::Bf16, OperandFormat::Bf16],
                ] {
                    for (isa, found) in on_all_cpus(|cpu| {
                        let mut operand = Operand::new();
                        operand.fill_rows(cpu, from, &x, rows, width, width);
                        let mut out = Operand::new();
                        // Whatever was there must not shine through.
                        out.fill_rows(cpu, to, &[5.0; 900], 1, 900, 900);
                        drop_out(cpu, &operand, dropout, &mut out, to);
                        out.to_f32()
                    }) {
                        for (found, kept) in found.iter().zip(&kept) {
                            assert_eq!(*found == 0.0, *kept == 0.0, "{isa}");
                            assert!((found - kept).abs() <= 0.01 * kept.abs(), "{isa}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic = "a share of 1"]
    fn nothing_would_be_left() {
        Dropout::new(0, 1.0);
    }
}
