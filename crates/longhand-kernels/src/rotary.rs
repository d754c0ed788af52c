//! Rotary positions, half-split as Llama and Qwen have them (arXiv:2104.09864).
//!
//! Element `i` of the first half of a head and element `i` of the second are a point, turned by
//! `position * inverse_frequencies[i]`.

use crate::{
    Cpu,
    rows::{for_row_blocks, for_vectors},
    shared::SharedMut,
    simd::{Simd, per_isa},
};

/// Cosines and sines of positions, `[n_positions, head_dim / 2]` each.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotary {
    inverse_frequencies: Vec<f64>,
    cos: Vec<f32>,
    sin: Vec<f32>,
    n_positions: usize,
}

impl Rotary {
    /// Tables for the positions `0..n_positions`; `inverse_frequencies`, `[head_dim / 2]`, are angles per
    /// position. Angles are computed in f64.
    pub fn new(inverse_frequencies: &[f64], n_positions: usize) -> Rotary {
        let mut rotary = Rotary {
            inverse_frequencies: inverse_frequencies.to_vec(),
            cos: Vec::new(),
            sin: Vec::new(),
            n_positions: 0,
        };
        rotary.ensure(n_positions);
        rotary
    }

    /// Makes the tables longer if they lack one of the positions `0..n_positions`; the size at least
    /// doubles, so that asking for one more each time is cheap.
    pub fn ensure(&mut self, n_positions: usize) {
        if n_positions <= self.n_positions {
            return;
        }
        let n_positions = n_positions.max(2 * self.n_positions);
        for position in self.n_positions..n_positions {
            for frequency in &self.inverse_frequencies {
                let (sin, cos) = (position as f64 * frequency).sin_cos();
                self.cos.push(cos as f32);
                self.sin.push(sin as f32);
            }
        }
        self.n_positions = n_positions;
    }

    /// Positions that the tables have.
    pub fn n_positions(&self) -> usize {
        self.n_positions
    }
}

/// Turns the heads at columns `offset..offset + n_heads * head_dim` of `x`, `[rows, stride]`, in place by
/// the positions of their rows, `[rows]`. `inverse` turns
/// them back, which is also what gradients go through.
///
/// # Panics
/// When a position is not in the tables (see [`Rotary::ensure`]), the tables are for another `head_dim`, or
/// a length is not as said.
#[expect(
    clippy::too_many_arguments,
    reason = "a strided matrix and what to do to it"
)]
pub fn rotate(
    cpu: &Cpu,
    rotary: &Rotary,
    x: &mut [f32],
    rows: usize,
    stride: usize,
    offset: usize,
    n_heads: usize,
    head_dim: usize,
    positions: &[u32],
    inverse: bool,
) {
    let half = rotary.inverse_frequencies.len();
    assert_eq!(head_dim, 2 * half);
    assert_eq!((x.len(), positions.len()), (rows * stride, rows));
    let width = n_heads * head_dim;
    assert!(offset + width <= stride);
    for position in positions {
        assert!(
            (*position as usize) < rotary.n_positions,
            "position {position} of {}",
            rotary.n_positions
        );
    }
    let shared = SharedMut::new(x);
    for_row_blocks(cpu, rows, width, |rows| {
        for row in rows {
            let start = row * stride + offset;
            let table = positions[row] as usize * half;
            // SAFETY: the instructions are there; rows do not overlap; the tables have `half` elements for
            // the position.
            unsafe {
                turn(
                    cpu.isa(),
                    shared.slice(start..start + width).as_mut_ptr(),
                    n_heads,
                    half,
                    rotary.cos[table..table + half].as_ptr(),
                    rotary.sin[table..table + half].as_ptr(),
                    if inverse { -1.0 } else { 1.0 },
                );
            }
        }
    });
}

per_isa! {
    unsafe fn turn(x: *mut f32, n_heads: usize, half: usize, cos: *const f32, sin: *const f32, sign: f32) = turn_on;
}

/// # Safety
/// The machine has the instructions; `x` has `n_heads * 2 * half` elements, the tables `half`.
#[inline(always)]
unsafe fn turn_on<S: Simd>(
    x: *mut f32,
    n_heads: usize,
    half: usize,
    cos: *const f32,
    sin: *const f32,
    sign: f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let sign = S::splat(sign);
        for_vectors!(S, half, |i, len| {
            let cos = S::load_first(cos.add(i), len);
            let sin = S::mul(S::load_first(sin.add(i), len), sign);
            for head in 0..n_heads {
                let first = x.add(head * 2 * half + i);
                let second = first.add(half);
                let (a, b) = (S::load_first(first, len), S::load_first(second, len));
                S::store_first(first, len, S::sub(S::mul(a, cos), S::mul(b, sin)));
                S::store_first(second, len, S::fma(a, sin, S::mul(b, cos)));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{ROWS, assert_close, bits, noise, on_all_cpus, wide};

    fn frequencies(half: usize) -> Vec<f64> {
        let power = |i| -(i as f64) / half as f64;
        (0..half).map(|i| 10_000_f64.powf(power(i))).collect()
    }

    #[test]
    fn a_head_is_turned_as_in_python() {
        // python: [f(p * w) for w in (1, .01) for f in (math.cos, math.sin)] with p = 3, then
        //   a, b = x[i], x[i + 2]; (a * cos - b * sin, b * cos + a * sin) for x = [1, 2, 3, 4]
        let mut rotary = Rotary::new(&[1.0, 0.01], 1);
        rotary.ensure(4);
        assert_eq!(rotary.n_positions(), 4);
        let mut x = [1.0, 2.0, 3.0, 4.0];
        rotate(&Cpu::detect(), &rotary, &mut x, 1, 4, 0, 1, 4, &[3], false);
        let expected = [-1.413_352_52, 1.879_118_07, -2.828_857_48, 4.058_191_14];
        assert_close(&x, &expected, 1e-6, "");
    }

    #[test]
    fn heads_turn_by_their_rows_positions_and_back() {
        for (n_heads, half) in [(1, 1), (3, 4), (2, 9), (9, 32), (4, 64)] {
            for rows in ROWS {
                let head_dim = 2 * half;
                let (offset, stride) = (3, n_heads * head_dim + 8);
                let positions: Vec<u32> = (0..rows).map(|row| (row * 37 % 200) as u32).collect();
                let rotary = Rotary::new(&frequencies(half), 200);
                let x = noise(rows * stride, 6);
                let mut expected = wide(&x);
                for (row, position) in positions.iter().enumerate() {
                    for head in 0..n_heads {
                        for (i, frequency) in frequencies(half).iter().enumerate() {
                            let at = row * stride + offset + head * head_dim + i;
                            let (a, b) = (expected[at], expected[at + half]);
                            let (sin, cos) = (f64::from(*position) * frequency).sin_cos();
                            expected[at] = a * cos - b * sin;
                            expected[at + half] = b * cos + a * sin;
                        }
                    }
                }
                let turn = |cpu: &Cpu, x: &mut [f32], inverse| {
                    rotate(
                        cpu, &rotary, x, rows, stride, offset, n_heads, head_dim, &positions,
                        inverse,
                    );
                };
                for (isa, found) in on_all_cpus(|cpu| {
                    let mut x = x.clone();
                    turn(cpu, &mut x, false);
                    x
                }) {
                    assert_close(&found, &expected, 1e-6, format!("{isa} {rows} {n_heads}"));
                }
                for (isa, found) in on_all_cpus(|cpu| {
                    let mut x = x.clone();
                    turn(cpu, &mut x, false);
                    turn(cpu, &mut x, true);
                    x
                }) {
                    assert_close(&found, &wide(&x), 1e-6, format!("{isa} back"));
                }
            }
        }
    }

    #[test]
    fn tables_that_grow_are_those_made_at_once() {
        let mut grown = Rotary::new(&frequencies(8), 0);
        for n_positions in 1..=300 {
            grown.ensure(n_positions);
        }
        let at_once = Rotary::new(&frequencies(8), grown.n_positions());
        assert_eq!(grown, at_once);
        // f32 angles would be off by 0.004 here.
        let far = Rotary::new(&[1.0], 100_001);
        assert_eq!(bits(&far.cos[100_000..]), bits(&[100_000_f64.cos() as f32]));
    }

    #[test]
    #[should_panic = "position 4 of 4"]
    fn a_position_behind_the_tables_is_refused() {
        let rotary = Rotary::new(&[1.0], 4);
        rotate(
            &Cpu::detect(),
            &rotary,
            &mut [0.0; 2],
            1,
            2,
            0,
            1,
            2,
            &[4],
            false,
        );
    }
}
