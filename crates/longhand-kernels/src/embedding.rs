//! Rows of a table by their numbers, and the gradient of that.

use crate::{
    Cpu,
    rows::{for_row_blocks, for_vectors},
    shared::SharedMut,
    simd::{Simd, per_isa},
};

/// Columns that one task adds to: four cache lines.
const COLUMNS: usize = 64;

/// `out[row] = table[ids[row]]`, for rows of `d` elements.
///
/// # Panics
/// When an id is not in the table, or a length is not as said.
pub fn gather(cpu: &Cpu, table: &[f32], d: usize, ids: &[u32], out: &mut [f32]) {
    check_ids(table, d, ids);
    assert_eq!(out.len(), ids.len() * d);
    let shared = SharedMut::new(out);
    for_row_blocks(cpu, ids.len(), d, |rows| {
        // SAFETY: blocks of rows do not overlap.
        let out = unsafe { shared.slice(rows.start * d..rows.end * d) };
        for (out, id) in out.chunks_exact_mut(d.max(1)).zip(&ids[rows]) {
            let start = *id as usize * d;
            out.copy_from_slice(&table[start..start + d]);
        }
    });
}

/// `dtable[ids[row]] += dx[row]`, for rows of `d` elements, in the order of `ids`.
///
/// # Panics
/// When an id is not in the table, or a length is not as said.
pub fn scatter_add(cpu: &Cpu, dtable: &mut [f32], d: usize, ids: &[u32], dx: &[f32]) {
    check_ids(dtable, d, ids);
    assert_eq!(dx.len(), ids.len() * d);
    let shared = SharedMut::new(dtable);
    // Ids repeat, columns do not: each task adds all rows to its columns.
    for_row_blocks(cpu, d.div_ceil(COLUMNS), ids.len() * COLUMNS, |blocks| {
        for block_idx in blocks {
            let start = block_idx * COLUMNS;
            let n = COLUMNS.min(d - start);
            for (row, id) in ids.iter().enumerate() {
                let from = &dx[row * d + start..row * d + start + n];
                let to = *id as usize * d + start;
                // SAFETY: the instructions are there; tasks have their own columns; both have `n` elements.
                unsafe {
                    let to = shared.slice(to..to + n).as_mut_ptr();
                    add(cpu.isa(), to, from.as_ptr(), n);
                }
            }
        }
    });
}

fn check_ids(table: &[f32], d: usize, ids: &[u32]) {
    if d == 0 {
        assert!(table.is_empty());
        return;
    }
    let n = table.len() / d;
    assert_eq!(table.len(), n * d);
    for id in ids {
        assert!((*id as usize) < n, "id {id} of {n}");
    }
}

per_isa! {
    unsafe fn add(to: *mut f32, from: *const f32, n: usize) = add_on;
}

/// # Safety
/// The machine has the instructions, and both have `n` elements.
#[inline(always)]
unsafe fn add_on<S: Simd>(to: *mut f32, from: *const f32, n: usize) {
    for_vectors!(S, n, |i, len| {
        // SAFETY: the caller's promise.
        unsafe {
            let sum = S::add(
                S::load_first(to.add(i), len),
                S::load_first(from.add(i), len),
            );
            S::store_first(to.add(i), len, sum);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{ROWS, WIDTHS, bits, noise, on_all_cpus};

    fn ids(rows: usize, n: usize) -> Vec<u32> {
        // Some ids come often, in no order.
        (0..rows).map(|row| (row * row * 7 % n) as u32).collect()
    }

    #[test]
    fn rows_are_taken_by_id() {
        for d in WIDTHS {
            for rows in ROWS {
                let (table, ids) = (noise(11 * d, 4), ids(rows, 11));
                let row = |id: &u32| table[*id as usize * d..(*id as usize + 1) * d].to_vec();
                let expected: Vec<f32> = ids.iter().flat_map(row).collect();
                for (isa, found) in on_all_cpus(|cpu| {
                    let mut out = vec![9.0; rows * d];
                    gather(cpu, &table, d, &ids, &mut out);
                    out
                }) {
                    assert_eq!(bits(&found), bits(&expected), "{isa}");
                }
            }
        }
    }

    #[test]
    fn gradients_are_added_in_the_order_of_ids() {
        for d in WIDTHS {
            for rows in ROWS {
                let (table, ids, dx) = (noise(11 * d, 4), ids(rows, 11), noise(rows * d, 5));
                let mut expected = table.clone();
                for (row, id) in ids.iter().enumerate() {
                    for i in 0..d {
                        expected[*id as usize * d + i] += dx[row * d + i];
                    }
                }
                for (isa, found) in on_all_cpus(|cpu| {
                    let mut dtable = table.clone();
                    scatter_add(cpu, &mut dtable, d, &ids, &dx);
                    dtable
                }) {
                    assert_eq!(bits(&found), bits(&expected), "{isa}");
                }
            }
        }
    }

    #[test]
    #[should_panic = "id 3 of 3"]
    fn an_id_behind_the_table_is_refused() {
        gather(&Cpu::detect(), &[0.0; 6], 2, &[0, 3], &mut [0.0; 4]);
    }
}
