//! Products of bf16 on matrix tiles: two tiles of rows times two of columns at a time.
//!
//! The instructions are behind [`Tiles`], so that what surrounds them can be tested on machines that do not
//! have them.

use super::{Block, Part, Store};
use crate::packed::PANEL;

/// Rows of a tile, and its columns of f32.
const SIDE: usize = 16;

/// Bytes of a row of a tile.
const WIDTH: usize = 64;

/// `k` that a tile of rows covers: 32 numbers of bf16.
const DEPTH: usize = 32;

/// Eight tiles of up to 16 rows of up to 64 bytes. Tile numbers are below eight.
///
/// # Safety
/// For all methods: the machine has tiles; pointers are valid for the rows of the tile, `stride` bytes
/// apart; tiles are used after `configure`, before `release`, in the shape that was configured.
pub(crate) trait Tiles {
    unsafe fn configure(&mut self, shapes: &TileShapes);
    unsafe fn zero<const TILE: usize>(&mut self);
    unsafe fn load<const TILE: usize>(&mut self, from: *const u8, stride: usize);
    /// Adds the product of rows of pairs and of pairs of rows.
    unsafe fn dot<const SUM: usize, const ROWS: usize, const WEIGHTS: usize>(&mut self);
    unsafe fn store<const TILE: usize>(&mut self, to: *mut u8, stride: usize);
    unsafe fn release(&mut self);
}

/// The shape of every tile, as the machine reads it.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(crate) struct TileShapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    n_rows: [u8; 16],
}

// Tiles 0 to 3 are sums, 4 and 5 rows, 6 and 7 weights.
impl TileShapes {
    /// For `upper` rows and `lower` rows below them, the latter perhaps none.
    fn new(upper: usize, lower: usize) -> TileShapes {
        let mut shapes = TileShapes {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            n_rows: [0; 16],
        };
        let rows = [upper, upper, lower, lower, upper, lower, SIDE, SIDE];
        for (tile, rows) in rows.into_iter().enumerate() {
            // A tile without rows has no columns either.
            shapes.row_bytes[tile] = if rows == 0 { 0 } else { WIDTH as u16 };
            shapes.n_rows[tile] = rows as u8;
        }
        shapes
    }
}

/// # Safety
/// The machine has tiles; everything that `part` points to: rows of bf16 padded to a multiple of 32, panels of
/// pairs padded alike.
pub(super) unsafe fn multiply<T: Tiles>(tiles: &mut T, part: &Part) {
    let tail = part.n_rows % (2 * SIDE);
    let whole = part.n_rows - tail;
    // SAFETY: the caller's promise; blocks have the rows that were configured.
    unsafe {
        if whole != 0 {
            tiles.configure(&TileShapes::new(SIDE, SIDE));
            for panel in 0..part.n_panels {
                for row in (0..whole).step_by(2 * SIDE) {
                    multiply_block(tiles, SIDE, SIDE, &part.from(row, panel));
                }
            }
        }
        if tail != 0 {
            let (upper, lower) = (tail.min(SIDE), tail.saturating_sub(SIDE));
            tiles.configure(&TileShapes::new(upper, lower));
            for panel in 0..part.n_panels {
                multiply_block(tiles, upper, lower, &part.from(whole, panel));
            }
        }
        // Tiles in use make every change of threads slower.
        tiles.release();
    }
}

/// # Safety
/// As [`multiply`], with tiles configured for `upper` and `lower` rows.
#[inline(always)]
unsafe fn multiply_block<T: Tiles>(tiles: &mut T, upper: usize, lower: usize, block: &Block) {
    // SAFETY: the caller's promise; a step covers 64 bytes of each row and 16 rows of pairs of the panel.
    unsafe {
        tiles.zero::<0>();
        tiles.zero::<1>();
        if lower != 0 {
            tiles.zero::<2>();
            tiles.zero::<3>();
        }
        for step in 0..block.k.div_ceil(DEPTH) {
            let a = block.a.add(step * WIDTH);
            let b = block.b.add(step * SIDE * 2 * WIDTH);
            tiles.load::<4>(a, block.a_stride);
            tiles.load::<6>(b, 2 * WIDTH);
            tiles.load::<7>(b.add(WIDTH), 2 * WIDTH);
            tiles.dot::<0, 4, 6>();
            tiles.dot::<1, 4, 7>();
            if lower != 0 {
                tiles.load::<5>(a.add(SIDE * block.a_stride), block.a_stride);
                tiles.dot::<2, 5, 6>();
                tiles.dot::<3, 5, 7>();
            }
        }
        let below = block.out.wrapping_add(SIDE * block.out_stride);
        write::<T, 0>(tiles, upper, block, block.out, 0);
        write::<T, 1>(tiles, upper, block, block.out, SIDE);
        if lower != 0 {
            write::<T, 2>(tiles, lower, block, below, 0);
            write::<T, 3>(tiles, lower, block, below, SIDE);
        }
    }
}

/// Brings the sums of one tile to the output.
///
/// # Safety
/// As [`multiply_block`]; `out` is the first row of the tile, `column` its first column.
#[inline(always)]
unsafe fn write<T: Tiles, const TILE: usize>(
    tiles: &mut T,
    n_rows: usize,
    block: &Block,
    out: *mut f32,
    column: usize,
) {
    let n_columns = block.n_columns.saturating_sub(column).min(SIDE);
    let out = out.wrapping_add(column);
    if n_columns == SIDE && block.store == Store::Set && block.scales.is_null() {
        // SAFETY: the whole tile is inside the output.
        unsafe { tiles.store::<TILE>(out.cast(), 4 * block.out_stride) }
        return;
    }
    let mut sums = [[0.0_f32; SIDE]; SIDE];
    // SAFETY: room for sixteen rows of sixteen; rows and columns stay inside the output, columns inside the
    // scales.
    unsafe {
        tiles.store::<TILE>(sums.as_mut_ptr().cast(), WIDTH);
        for (row, sums) in sums.iter().enumerate().take(n_rows) {
            for (i, sum) in sums.iter().enumerate().take(n_columns) {
                let scale = if block.scales.is_null() {
                    1.0
                } else {
                    *block.scales.add(column + i)
                };
                let to = out.add(row * block.out_stride + i);
                *to = match block.store {
                    Store::Set => sum * scale,
                    Store::Add => *to + sum * scale,
                };
            }
        }
    }
}

/// Whether tiles give a product of small whole numbers, which every order of summing gets right.
///
/// # Safety
/// The machine has tiles.
#[cfg(any(test, all(target_arch = "x86_64", target_os = "linux")))]
pub(crate) unsafe fn are_right<T: Tiles>(tiles: &mut T) -> bool {
    const ROWS: usize = 3 * SIDE + 5;
    const K: usize = 2 * DEPTH;
    let bf16 = |x: i32| ((x as f32).to_bits() >> 16) as u16;
    let left = |row: usize, i: usize| ((row * 5 + i * 3) % 13) as i32 - 6;
    let right = |i: usize, column: usize| ((i * 7 + column * 11) % 17) as i32 - 8;
    let a: Vec<u16> = (0..ROWS * K).map(|at| bf16(left(at / K, at % K))).collect();
    let b: Vec<u16> = (0..K * PANEL)
        .map(|at| {
            let (pair, column, odd) = (at / 2 / PANEL, at / 2 % PANEL, at % 2);
            bf16(right(2 * pair + odd, column))
        })
        .collect();
    let mut out = vec![0.0; ROWS * PANEL];
    let part = Part {
        n_rows: ROWS,
        n_panels: 1,
        corner: Block {
            a: a.as_ptr().cast(),
            a_stride: 2 * K,
            b: b.as_ptr().cast(),
            panel_bytes: 2 * K * PANEL,
            k: K,
            out: out.as_mut_ptr(),
            out_stride: PANEL,
            n_columns: PANEL,
            scales: std::ptr::null(),
            store: Store::Set,
        },
    };
    // SAFETY: buffers of these shapes.
    unsafe { multiply(tiles, &part) };
    out.iter().enumerate().all(|(at, x)| {
        let (row, column) = (at / PANEL, at % PANEL);
        let product = (0..K).map(|i| left(row, i) * right(i, column));
        *x == product.sum::<i32>() as f32
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{check_against_f64, pack, values},
        *,
    };
    use crate::{Cpu, Format, Isa, Operand, OperandFormat, shared::SharedMut, simd::bf16_to_f32};

    /// Tiles in plain memory, which hold the caller to the shapes that were configured.
    struct Emulated {
        shapes: Option<TileShapes>,
        tiles: [[[u8; WIDTH]; SIDE]; 8],
    }

    impl Emulated {
        fn new() -> Emulated {
            Emulated {
                shapes: None,
                tiles: [[[7; WIDTH]; SIDE]; 8],
            }
        }

        /// Rows and bytes in a row of a tile that may be used.
        fn shape(&self, tile: usize) -> [usize; 2] {
            let shapes = self.shapes.as_ref().expect("tiles are configured");
            let shape = [
                usize::from(shapes.n_rows[tile]),
                usize::from(shapes.row_bytes[tile]),
            ];
            assert!((1..=SIDE).contains(&shape[0]) && (1..=WIDTH).contains(&shape[1]));
            shape
        }

        fn f32(&self, tile: usize, row: usize, column: usize) -> f32 {
            let bytes = &self.tiles[tile][row][4 * column..4 * column + 4];
            f32::from_le_bytes(bytes.try_into().unwrap())
        }

        fn bf16(&self, tile: usize, row: usize, column: usize) -> f32 {
            let bytes = &self.tiles[tile][row][2 * column..2 * column + 2];
            bf16_to_f32(u16::from_le_bytes(bytes.try_into().unwrap()))
        }
    }

    impl Tiles for Emulated {
        unsafe fn configure(&mut self, shapes: &TileShapes) {
            assert_eq!([shapes.palette, shapes.start_row], [1, 0]);
            assert_eq!(shapes.reserved, [0; 14]);
            assert_eq!(shapes.row_bytes[8..], [0; 8]);
            assert_eq!(shapes.n_rows[8..], [0; 8]);
            for (rows, bytes) in shapes.n_rows.iter().zip(shapes.row_bytes) {
                assert_eq!(*rows == 0, bytes == 0);
            }
            self.shapes = Some(shapes.clone());
            self.tiles = [[[0; WIDTH]; SIDE]; 8];
        }

        unsafe fn zero<const TILE: usize>(&mut self) {
            self.shape(TILE);
            self.tiles[TILE] = [[0; WIDTH]; SIDE];
        }

        unsafe fn load<const TILE: usize>(&mut self, from: *const u8, stride: usize) {
            let [n_rows, n_bytes] = self.shape(TILE);
            self.tiles[TILE] = [[0; WIDTH]; SIDE];
            for row in 0..n_rows {
                let to = self.tiles[TILE][row].as_mut_ptr();
                // SAFETY: the caller's promise.
                unsafe { to.copy_from(from.add(row * stride), n_bytes) }
            }
        }

        unsafe fn dot<const SUM: usize, const ROWS: usize, const WEIGHTS: usize>(&mut self) {
            let [sum, rows, weights] = [SUM, ROWS, WEIGHTS].map(|tile| self.shape(tile));
            assert_eq!(
                [sum[0], rows[1] / 4, sum[1]],
                [rows[0], weights[0], weights[1]]
            );
            for row in 0..sum[0] {
                for column in 0..sum[1] / 4 {
                    let part = |odd: usize| {
                        (0..weights[0]).fold(0.0, |part, pair| {
                            let x = self.bf16(ROWS, row, 2 * pair + odd);
                            part + x * self.bf16(WEIGHTS, pair, 2 * column + odd)
                        })
                    };
                    let new = self.f32(SUM, row, column) + (part(0) + part(1));
                    self.tiles[SUM][row][4 * column..4 * column + 4]
                        .copy_from_slice(&new.to_le_bytes());
                }
            }
        }

        unsafe fn store<const TILE: usize>(&mut self, to: *mut u8, stride: usize) {
            let [n_rows, n_bytes] = self.shape(TILE);
            for row in 0..n_rows {
                let from = self.tiles[TILE][row].as_ptr();
                // SAFETY: the caller's promise.
                unsafe { to.add(row * stride).copy_from(from, n_bytes) }
            }
        }

        unsafe fn release(&mut self) {
            assert!(self.shapes.is_some());
            self.shapes = None;
        }
    }

    /// The left side in bf16, the right side packed, and their product on emulated tiles.
    fn check_tiles([m, k, n]: [usize; 3]) -> Vec<f32> {
        let cpu = Cpu::new(Isa::Portable, std::num::NonZero::<usize>::MIN).unwrap();
        let b = pack(&cpu, Format::Bf16, [k, n]);
        let mut a = Operand::new();
        a.fill_rows(&cpu, OperandFormat::Bf16, &values(m * k, 2), m, k, k);
        let mut product = Vec::new();
        for (store, start) in [(Store::Add, 0.75), (Store::Set, 0.0)] {
            product = vec![0.75; m * n];
            let out = SharedMut::new(&mut product);
            let mut tiles = Emulated::new();
            // SAFETY: emulated tiles need no instructions; the output has the shape of the product.
            unsafe { multiply(&mut tiles, &Part::whole(&a, &b, out, n, store)) };
            assert!(tiles.shapes.is_none(), "tiles are released");
            let what = format!("tiles {store:?} {m} {k} {n}");
            check_against_f64(&a, &b, start, &product, &what);
        }
        product
    }

    #[test]
    fn products_on_tiles_are_those_of_plain_loops() {
        for m in [1, 2, 15, 16, 17, 31, 32, 33, 49, 64, 70] {
            for k in [1, 2, 31, 32, 33, 70] {
                for n in [1, 15, 16, 17, 32, 33, 70] {
                    check_tiles([m, k, n]);
                }
            }
        }
    }

    #[test]
    fn rows_on_tiles_are_the_same_in_any_company() {
        let n = 33;
        let all = check_tiles([70, 100, n]);
        for m in [1, 16, 20, 32, 40] {
            assert_eq!(check_tiles([m, 100, n]), all[..m * n], "{m} rows");
        }
    }

    #[test]
    fn columns_are_scaled() {
        let cpu = Cpu::new(Isa::Portable, std::num::NonZero::<usize>::MIN).unwrap();
        let (m, k, n) = (19, 40, 21);
        let b = pack(&cpu, Format::Bf16, [k, n]);
        let mut a = Operand::new();
        a.fill_rows(&cpu, OperandFormat::Bf16, &values(m * k, 2), m, k, k);
        let scales: Vec<f32> = (0..PANEL).map(|i| i as f32).collect();
        let run = |scales: *const f32| {
            let mut product = vec![0.0; m * n];
            let mut part = Part::whole(&a, &b, SharedMut::new(&mut product), n, Store::Set);
            part.corner.scales = scales;
            // SAFETY: as above; one scale for each column of the panel.
            unsafe { multiply(&mut Emulated::new(), &part) };
            product
        };
        let (plain, scaled) = (run(std::ptr::null()), run(scales.as_ptr()));
        for (at, (plain, scaled)) in plain.iter().zip(&scaled).enumerate() {
            assert_eq!(plain * (at % n) as f32, *scaled);
        }
    }

    #[test]
    fn the_test_of_real_tiles_passes_right_ones_and_fails_wrong_ones() {
        // SAFETY: emulated tiles need no instructions.
        unsafe {
            assert!(are_right(&mut Emulated::new()));
            assert!(!are_right(&mut Broken(Emulated::new())));
        }
    }

    /// Loads nothing.
    struct Broken(Emulated);

    // SAFETY (all blocks): passed on.
    #[expect(clippy::undocumented_unsafe_blocks, reason = "said once, above")]
    impl Tiles for Broken {
        unsafe fn configure(&mut self, shapes: &TileShapes) {
            unsafe { self.0.configure(shapes) }
        }

        unsafe fn zero<const TILE: usize>(&mut self) {
            unsafe { self.0.zero::<TILE>() }
        }

        unsafe fn load<const TILE: usize>(&mut self, _: *const u8, _: usize) {}

        unsafe fn dot<const SUM: usize, const ROWS: usize, const WEIGHTS: usize>(&mut self) {
            unsafe { self.0.dot::<SUM, ROWS, WEIGHTS>() }
        }

        unsafe fn store<const TILE: usize>(&mut self, to: *mut u8, stride: usize) {
            unsafe { self.0.store::<TILE>(to, stride) }
        }

        unsafe fn release(&mut self) {
            unsafe { self.0.release() }
        }
    }
}
