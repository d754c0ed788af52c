//! Matrix products: rows on the left, packed weights on the right.

mod blocks;
pub(crate) mod mixed;
#[cfg(any(test, target_arch = "x86_64"))]
pub(crate) mod tiles;

use std::{cell::RefCell, ops::Range};

#[cfg(target_arch = "x86_64")]
use blocks::{Bf16Pairs, ForAvx2, ForAvx512, ForAvx512Bf16, Int8Pairs};
use blocks::{Bf16Widened, Block, F32, ForPortable, Int8Widened, Kernel, Shapes};
use mixed::Mixed;

use crate::{
    Cpu, Format, Isa, Operand, OperandFormat, Packed,
    operand::is_inside,
    packed::PANEL,
    shared::{Lines, SharedMut},
    simd::{Portable, per_isa},
};
#[cfg(target_arch = "x86_64")]
use crate::{
    amx,
    simd::{Avx2, Avx512},
};

/// What becomes of the numbers that were in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Store {
    /// They are overwritten.
    Set,
    /// The product is added to them.
    Add,
}

/// `out[row * out_stride + column] (=|+=) sum over i of a[row, i] b[i, column]`
///
/// A row of the result is the same to the last bit whatever other rows there are, and however many threads.
///
/// # Panics
/// When the inner lengths differ, `a` is not in the format that [`Packed::operand_format`] names, `out` is
/// too short or `out_stride` below the number of columns.
pub fn matmul(
    cpu: &Cpu,
    a: &Operand,
    b: &Packed,
    out: &mut [f32],
    out_stride: usize,
    store: Store,
) {
    assert_eq!(a.k(), b.k(), "inner lengths");
    assert_eq!(a.format(), b.operand_format(cpu), "format of the operand");
    assert!(is_inside(out.len(), a.rows(), b.n(), out_stride), "output");
    if a.rows() == 0 || b.n() == 0 {
        return;
    }
    let out = SharedMut::new(out);
    let cut = Cut::new(cpu, a, b);
    cpu.for_each(cut.n_tasks(), |task_idx| {
        let (rows, panels) = cut.task(task_idx);
        let whole = Part::whole(a, b, out, out_stride, store);
        let part = Part {
            n_rows: rows.len(),
            n_panels: panels.len(),
            corner: whole.from(rows.start, panels.start),
        };
        // SAFETY: the instructions are there (`Cpu`); lengths were checked; tasks cover disjoint parts of
        // the output, which is exclusively borrowed until all have ended.
        unsafe { multiply(cpu.isa(), a.format(), b.format(), &part) }
    });
}

/// How the output is cut into tasks: blocks of rows times blocks of panels. No sum is cut, so this may
/// depend on the number of threads.
struct Cut {
    n_rows: usize,
    n_panels: usize,
    n_row_blocks: usize,
    panels_per_block: usize,
}

/// Multiply-adds below which a product is not worth a fork: a few microseconds.
const SMALL: usize = 100_000;

/// Bytes of rows that stay in the second-level cache while panels pass.
const ROWS_IN_CACHE: usize = 384 << 10;

impl Cut {
    fn new(cpu: &Cpu, a: &Operand, b: &Packed) -> Cut {
        let n_panels = b.n().div_ceil(PANEL);
        let n_products = a.rows() * b.n() * b.k();
        let rows_per_block = (ROWS_IN_CACHE / a.bytes().1.max(1)).max(56);
        let n_row_blocks = a.rows().div_ceil(rows_per_block);
        let n_wanted = if n_products < SMALL {
            1
        } else {
            (n_products / (SMALL / 2)).min(16 * cpu.n_threads())
        };
        // Few rows go through four panels at once.
        let together = if a.rows() <= 3 { 4 } else { 1 };
        let n_panel_blocks = n_wanted.div_ceil(n_row_blocks).max(1);
        let panels_per_block = n_panels.div_ceil(n_panel_blocks);
        Cut {
            n_rows: a.rows(),
            n_panels,
            n_row_blocks,
            panels_per_block: panels_per_block.next_multiple_of(together),
        }
    }

    fn n_tasks(&self) -> usize {
        self.n_row_blocks * self.n_panels.div_ceil(self.panels_per_block)
    }

    fn task(&self, task_idx: usize) -> (Range<usize>, Range<usize>) {
        let (panel_block, row_block) = (task_idx / self.n_row_blocks, task_idx % self.n_row_blocks);
        let row = |row_block| row_block * self.n_rows / self.n_row_blocks;
        let panel = panel_block * self.panels_per_block;
        (
            row(row_block)..row(row_block + 1),
            panel..(panel + self.panels_per_block).min(self.n_panels),
        )
    }
}

/// Rows times panels, as a block that begins at the same corner but is not bound to registers.
struct Part {
    n_rows: usize,
    n_panels: usize,
    corner: Block,
}

impl Part {
    /// All rows times all panels.
    fn whole(
        a: &Operand,
        b: &Packed,
        out: SharedMut<'_, f32>,
        out_stride: usize,
        store: Store,
    ) -> Part {
        let (a_start, a_stride) = a.bytes();
        Part {
            n_rows: a.rows(),
            n_panels: b.n().div_ceil(PANEL),
            corner: Block {
                a: a_start,
                a_stride,
                b: b.panels(),
                panel_bytes: b.panel_bytes(),
                k: b.k(),
                out: out.start(),
                out_stride,
                n_columns: b.n(),
                scales: b.scales(),
                store,
            },
        }
    }

    /// The part from a row and a panel on.
    fn from(&self, row: usize, panel: usize) -> Block {
        let corner = &self.corner;
        let column = panel * PANEL;
        Block {
            a: corner.a.wrapping_add(row * corner.a_stride),
            b: corner.b.wrapping_add(panel * corner.panel_bytes),
            out: corner.out.wrapping_add(row * corner.out_stride + column),
            n_columns: corner.n_columns - column,
            scales: if corner.scales.is_null() {
                corner.scales
            } else {
                corner.scales.wrapping_add(column)
            },
            ..*corner
        }
    }
}

thread_local! {
    /// Where rows are widened.
    static ROWS: RefCell<Lines> = const { RefCell::new(Lines::new()) };
    /// Where a panel is widened.
    static PANEL_ROWS: RefCell<Lines> = const { RefCell::new(Lines::new()) };
}

/// Rows up to which bf16 is widened where it is used; for more, each panel is widened once, which leaves
/// more registers to the sums.
fn few_rows(isa: Isa) -> usize {
    if isa < Isa::Avx512 { 3 } else { 8 }
}

/// # Safety
/// The instructions of `isa`; everything that `part` points to.
unsafe fn multiply(isa: Isa, rows: OperandFormat, weights: Format, part: &Part) {
    // SAFETY: the caller's promise; formats are paired with their kernels.
    unsafe {
        match (weights, rows) {
            (Format::F32, _) => multiply_f32(isa, part),
            (Format::Int8, OperandFormat::F32) => multiply_int8(isa, part),
            #[cfg(target_arch = "x86_64")]
            (Format::Bf16, _) if isa == Isa::Amx => tiles::multiply(&mut amx::Registers, part),
            #[cfg(target_arch = "x86_64")]
            (Format::Bf16, _) if isa == Isa::Avx512Bf16 => {
                sweep::<ForAvx512Bf16, Bf16Pairs<false>>(part);
            }
            (Format::Bf16, _) => with_widened_rows(isa, part, |part| {
                if part.n_rows <= few_rows(isa) {
                    multiply_bf16(isa, part);
                } else {
                    let widen = |from: *const u8, to: *mut u8, n_pairs| {
                        widen_pairs(isa, from.cast(), to.cast(), n_pairs);
                    };
                    with_widened_panels(part, 4 * PANEL, widen, |part| multiply_f32(isa, part));
                }
            }),
            #[cfg(target_arch = "x86_64")]
            (Format::Int8, _) if isa < Isa::Amx && part.n_rows <= ForAvx512Bf16::ROWS => {
                sweep::<ForAvx512Bf16, Int8Pairs>(part);
            }
            #[cfg(target_arch = "x86_64")]
            (Format::Int8, _) => {
                let widen = |from: *const u8, to: *mut u8, n_pairs| {
                    blocks::widen_int8(from.cast(), to.cast(), n_pairs);
                };
                with_widened_panels(part, 2 * PANEL, widen, |part| {
                    if isa == Isa::Amx {
                        tiles::multiply(&mut amx::Registers, part);
                    } else {
                        sweep::<ForAvx512Bf16, Bf16Pairs<true>>(part);
                    }
                });
            }
            #[cfg(not(target_arch = "x86_64"))]
            (Format::Int8, _) => unreachable!("bf16 rows are for x86-64"),
        }
    }
}

/// For each width, the kernel that widens weights to f32.
macro_rules! widening {
    ($($name:ident = $kernel:ident;)*) => {$(
        /// # Safety
        /// The instructions of `isa`; everything that `part` points to, in the formats of the kernel.
        unsafe fn $name(isa: Isa, part: &Part) {
            // SAFETY: the caller's promise.
            unsafe {
                match isa {
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => {
                        sweep::<ForAvx512, $kernel<Avx512>>(part);
                    }
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => sweep::<ForAvx2, $kernel<Avx2>>(part),
                    _ => sweep::<ForPortable, $kernel<Portable>>(part),
                }
            }
        }
    )*};
}

widening! {
    multiply_f32 = F32;
    multiply_bf16 = Bf16Widened;
    multiply_int8 = Int8Widened;
}

/// Goes through the panels, and at each through the rows, in blocks that fit the registers.
///
/// # Safety
/// The instructions of the kernel; everything that `part` points to.
unsafe fn sweep<S: Shapes, K: Kernel>(part: &Part) {
    // Blocks of nearly equal height: a low one at the end would leave the arithmetic waiting.
    let n_chunks = part.n_rows.div_ceil(S::ROWS);
    let together = if n_chunks == 1 {
        S::panels(part.n_rows)
    } else {
        1
    };
    let mut panel = 0;
    while panel < part.n_panels {
        let n_panels = if part.n_panels - panel < together {
            1
        } else {
            together
        };
        for chunk in 0..n_chunks {
            let start = chunk * part.n_rows / n_chunks;
            let end = (chunk + 1) * part.n_rows / n_chunks;
            // SAFETY: inside the part.
            unsafe { S::multiply::<K>(end - start, n_panels, &part.from(start, panel)) }
        }
        panel += n_panels;
    }
}

/// # Safety
/// The instructions of `isa`; rows of bf16, padded to a multiple of 32.
unsafe fn with_widened_rows(isa: Isa, part: &Part, then: impl Fn(&Part)) {
    let padded_k = part.corner.k.next_multiple_of(32);
    // One line more, against rows that all begin at the same place in the cache.
    let stride = 4 * padded_k + 64;
    ROWS.with_borrow_mut(|scratch| {
        scratch.resize(scratch.n_bytes().max(part.n_rows * stride));
        let widened = scratch.get_mut::<f32>().as_mut_ptr();
        for row in 0..part.n_rows {
            let from = part.corner.a.wrapping_add(row * part.corner.a_stride);
            let to = widened.wrapping_add(row * stride / 4);
            // SAFETY: both rows have `padded_k` numbers.
            unsafe { widen_bf16(isa, from.cast(), to, padded_k) }
        }
        then(&Part {
            corner: Block {
                a: widened.cast_const().cast(),
                a_stride: stride,
                ..part.corner
            },
            ..*part
        });
    });
}

/// Takes one panel after the other, widened by `widen(from, to, n_pairs)` to `row_bytes` bytes a row, and `k`
/// made even.
///
/// # Safety
/// `widen` turns so many pairs of rows of a panel of `part` into rows of that length.
unsafe fn with_widened_panels(
    part: &Part,
    row_bytes: usize,
    widen: impl Fn(*const u8, *mut u8, usize),
    then: impl Fn(&Part),
) {
    let padded_k = part.corner.k.next_multiple_of(32);
    PANEL_ROWS.with_borrow_mut(|scratch| {
        scratch.resize(scratch.n_bytes().max(padded_k * row_bytes));
        let widened = scratch.get_mut::<i8>().as_mut_ptr().cast::<u8>();
        for panel in 0..part.n_panels {
            let corner = part.from(0, panel);
            widen(corner.b, widened, padded_k / 2);
            then(&Part {
                n_rows: part.n_rows,
                n_panels: 1,
                corner: Block {
                    b: widened,
                    k: part.corner.k.next_multiple_of(2),
                    ..corner
                },
            });
        }
    });
}

per_isa! {
    /// Widens `n` numbers, a multiple of 32.
    unsafe fn widen_bf16(from: *const u16, to: *mut f32, n: usize) = widen_bf16_on;
    /// Widens `n_pairs` pairs of rows of a panel of bf16.
    unsafe fn widen_pairs(from: *const u16, to: *mut f32, n_pairs: usize) = widen_pairs_on;
}

#[inline(always)]
unsafe fn widen_bf16_on<S: Mixed>(from: *const u16, to: *mut f32, n: usize) {
    for i in (0..n).step_by(S::LANES) {
        // SAFETY: inside both.
        unsafe { S::store(to.add(i), S::load_bf16(from.add(i))) }
    }
}

#[inline(always)]
unsafe fn widen_pairs_on<S: Mixed>(from: *const u16, to: *mut f32, n_pairs: usize) {
    for pair in 0..n_pairs {
        for lane in (0..PANEL).step_by(S::LANES) {
            // SAFETY: inside both.
            unsafe {
                let pairs = from.add(2 * (pair * PANEL + lane));
                let to = to.add(2 * pair * PANEL + lane);
                S::store(to, S::load_evens(pairs));
                S::store(to.add(PANEL), S::load_odds(pairs));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use proptest::prelude::*;

    use super::*;

    const FORMATS: [Format; 3] = [Format::F32, Format::Bf16, Format::Int8];

    pub(super) fn values(n: usize, seed: usize) -> Vec<f32> {
        let value = |i: usize| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.5 - 1.0;
        (0..n).map(value).collect()
    }

    pub(super) fn pack(cpu: &Cpu, format: Format, [k, n]: [usize; 2]) -> Packed {
        let values = values(k * n, 1);
        let block = crate::Block {
            values: &values,
            stride: n,
            k0: 0,
            n0: 0,
            k,
            n,
            transposed: false,
        };
        Packed::new(cpu, format, k, n, &[block])
    }

    fn cpu(isa: Isa, n_threads: usize) -> Cpu {
        Cpu::new(isa, NonZero::new(n_threads).unwrap()).unwrap()
    }

    /// Compares with a product in f64 of the numbers as they were packed: what was in `out` before, the
    /// product, and how far from it a sum of `k` roundings may be.
    pub(super) fn check_against_f64(a: &Operand, b: &Packed, start: f32, out: &[f32], what: &str) {
        let (left, right) = (a.to_f32(), b.to_f32());
        let (k, n) = (b.k(), b.n());
        for row in 0..a.rows() {
            for column in 0..n {
                let terms =
                    (0..k).map(|i| f64::from(left[row * k + i]) * f64::from(right[i * n + column]));
                let size: f64 = terms.clone().map(f64::abs).sum::<f64>() + f64::from(start.abs());
                let exact = terms.sum::<f64>() + f64::from(start);
                let found = f64::from(out[row * n + column]);
                let bound = size * (k + 4) as f64 * 2.0_f64.powi(-23);
                assert!(
                    (found - exact).abs() <= bound,
                    "{what}, row {row}, column {column}: {found}, not {exact}"
                );
            }
        }
    }

    fn check_product([m, k, n]: [usize; 3]) {
        let gap = 3;
        for isa in Isa::available() {
            let cpu = cpu(isa, 2);
            for format in FORMATS {
                let b = pack(&cpu, format, [k, n]);
                let mut a = Operand::new();
                a.fill_rows(&cpu, b.operand_format(&cpu), &values(m * k, 2), m, k, k);
                for (store, start) in [(Store::Set, 0.0), (Store::Add, 0.75)] {
                    let mut out = vec![0.75; m * (n + gap)];
                    matmul(&cpu, &a, &b, &mut out, n + gap, store);
                    let mut rows = out.chunks_exact(n + gap);
                    assert!(rows.all(|row| row[n..] == [0.75; 3]), "{isa} {format:?}");
                    let inside = out.chunks_exact(n + gap).flat_map(|row| &row[..n]);
                    let out: Vec<f32> = inside.copied().collect();
                    let what = format!("{isa} {format:?} {store:?} {m} {k} {n}");
                    check_against_f64(&a, &b, start, &out, &what);
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn products_are_those_of_plain_loops(m in 0_usize..=70, k in 0_usize..=70, n in 0_usize..=70) {
            check_product([m, k, n]);
        }
    }

    #[test]
    fn every_height_of_a_block_is_right() {
        for m in 1..=30 {
            check_product([m, 17, 161]);
        }
    }

    #[test]
    fn awkward_shapes_are_right() {
        for shape in [
            [1, 1, 1],
            [13, 1, 33],
            [13, 33, 577],
            [1, 576, 577],
            [64, 1025, 31],
            [90, 600, 300],
        ] {
            check_product(shape);
        }
    }

    #[test]
    fn a_row_is_the_same_in_any_company_and_on_any_number_of_threads() {
        let (m, k, n) = (75, 611, 300);
        let values = values(m * k, 3);
        for isa in Isa::available() {
            for format in FORMATS {
                let mut all: Option<Vec<f32>> = None;
                for n_threads in [1, 2] {
                    let cpu = cpu(isa, n_threads);
                    let b = pack(&cpu, format, [k, n]);
                    for n_together in [m, 1, 2, 5, 17, 33] {
                        let mut out = vec![0.0; m * n];
                        let mut a = Operand::new();
                        for (rows, out) in values
                            .chunks(n_together * k)
                            .zip(out.chunks_mut(n_together * n))
                        {
                            let n_rows = rows.len() / k;
                            a.fill_rows(&cpu, b.operand_format(&cpu), rows, n_rows, k, k);
                            matmul(&cpu, &a, &b, out, n, Store::Set);
                        }
                        let all = all.get_or_insert_with(|| out.clone());
                        let same = all
                            .iter()
                            .zip(&out)
                            .all(|(x, y)| x.to_bits() == y.to_bits());
                        assert!(
                            same,
                            "{isa} {format:?} {n_threads} threads, {n_together} rows"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn instruction_sets_agree_on_bf16_to_the_order_of_sums() {
        let (m, k, n) = (5, 300, 40);
        let run = |isa| {
            let cpu = cpu(isa, 1);
            let b = pack(&cpu, Format::Bf16, [k, n]);
            let mut a = Operand::new();
            a.fill_rows(&cpu, b.operand_format(&cpu), &values(m * k, 5), m, k, k);
            let mut out = vec![0.0; m * n];
            matmul(&cpu, &a, &b, &mut out, n, Store::Set);
            out
        };
        let portable = run(Isa::Portable);
        for isa in Isa::available() {
            for (x, y) in portable.iter().zip(run(isa)) {
                assert!((x - y).abs() < 1e-4, "{isa}: {x} {y}");
            }
        }
    }

    #[test]
    fn tasks_cover_every_number_once() {
        let cpu = Cpu::detect();
        for shape in [
            [1, 576, 49_152],
            [1000, 576, 960],
            [3, 4096, 100],
            [200, 64, 64],
        ] {
            let [m, k, n] = shape;
            let b = Packed::new(&cpu, Format::Bf16, k, n, &[]);
            let mut a = Operand::new();
            a.reset(OperandFormat::Bf16, m, k);
            let cut = Cut::new(&cpu, &a, &b);
            let n_panels = n.div_ceil(PANEL);
            let mut seen = vec![0; m * n_panels];
            for (rows, panels) in (0..cut.n_tasks()).map(|task_idx| cut.task(task_idx)) {
                for row in rows {
                    panels
                        .clone()
                        .for_each(|panel| seen[row * n_panels + panel] += 1);
                }
            }
            assert!(seen.iter().all(|n| *n == 1), "{shape:?}");
        }
    }

    #[test]
    #[should_panic = "format of the operand"]
    fn rows_in_the_wrong_format_are_refused() {
        let cpu = Cpu::detect();
        let b = pack(&cpu, Format::F32, [2, 2]);
        let mut a = Operand::new();
        a.fill_rows(&cpu, OperandFormat::Bf16, &[1.0; 4], 2, 2, 2);
        matmul(&cpu, &a, &b, &mut [0.0; 4], 2, Store::Set);
    }

    #[test]
    #[should_panic = "output"]
    fn an_output_that_is_too_short_is_refused() {
        let cpu = Cpu::detect();
        let b = pack(&cpu, Format::F32, [2, 2]);
        let mut a = Operand::new();
        a.fill_rows(&cpu, OperandFormat::F32, &[1.0; 4], 2, 2, 2);
        matmul(&cpu, &a, &b, &mut [0.0; 4], 3, Store::Set);
    }
}
