//! Matrix products: rows on the left, packed weights on the right.

use crate::{Cpu, Operand, Packed, operand::is_inside};

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
    let (left, right) = (a.to_f32(), b.to_f32());
    for row in 0..a.rows() {
        let out = &mut out[row * out_stride..][..b.n()];
        let mut sums = vec![0.0; b.n()];
        for i in 0..a.k() {
            let x = left[row * a.k() + i];
            for (sum, w) in sums.iter_mut().zip(&right[i * b.n()..]) {
                *sum += x * w;
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            match store {
                Store::Set => *out = sum,
                Store::Add => *out += sum,
            }
        }
    }
}
