//! Safetensors files, written a few rows at a time: no tensor is copied whole.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use super::{error::WeightsError, header::Header, numbers::Numbers};

/// Numbers that are converted at once.
const NUMBERS_AT_ONCE: usize = 1 << 18;
/// Rows of a file that are gathered at once from values that are their transpose: as many as make whole
/// cache lines of what is read.
const ROWS_AT_ONCE: usize = 64;

/// A tensor on its way into a file.
#[derive(Clone, Debug)]
pub struct Tensor<'a> {
    /// As the file says it.
    pub shape: Vec<usize>,
    /// Its numbers.
    pub values: &'a [f32],
    /// Whether `values` are the transpose of what the file holds, which is a matrix.
    pub is_turned: bool,
}

/// Writes tensors in the order of their names, with these lines of notes: the same numbers
/// make the same bytes.
///
/// # Errors
/// When the file cannot be written.
///
/// # Panics
/// When a tensor has not as many values as its shape says, or is turned and no matrix.
pub fn save_tensors(
    mut tensors: Vec<(String, Tensor<'_>)>,
    numbers: Numbers,
    notes: &[(&str, &str)],
    path: &Path,
) -> Result<(), WeightsError> {
    tensors.sort_by(|(left, _), (right, _)| left.cmp(right));
    let places = tensors.iter().map(|(name, tensor)| {
        let n_values: usize = tensor.shape.iter().product();
        assert_eq!(tensor.values.len(), n_values, "{name}");
        let n_bytes = n_values as u64 * numbers.width();
        (name.as_str(), &tensor.shape[..], n_bytes)
    });
    let header = Header::written(notes, numbers.number_type(), places);
    let write = || {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
        out.write_all(&header)?;
        for (_, tensor) in &tensors {
            write_values(tensor, numbers, &mut out)?;
        }
        out.flush()
    };
    write().map_err(WeightsError::io(path))
}

fn write_values(tensor: &Tensor<'_>, numbers: Numbers, out: &mut impl Write) -> io::Result<()> {
    let mut bytes = Vec::new();
    let mut write = |values: &[f32]| {
        bytes.clear();
        numbers.extend_bytes(values, &mut bytes);
        out.write_all(&bytes)
    };
    if !tensor.is_turned {
        return tensor.values.chunks(NUMBERS_AT_ONCE).try_for_each(write);
    }
    let [n_rows, n_columns]: [usize; 2] = tensor.shape[..].try_into().expect("a matrix");
    let mut rows = Vec::new();
    for first_row in (0..n_rows).step_by(ROWS_AT_ONCE) {
        let n_now = ROWS_AT_ONCE.min(n_rows - first_row);
        rows.resize(n_now * n_columns, 0.0);
        for column in 0..n_columns {
            let of_column = &tensor.values[column * n_rows + first_row..][..n_now];
            for (row, value) in of_column.iter().enumerate() {
                rows[row * n_columns + column] = *value;
            }
        }
        write(&rows)?;
    }
    Ok(())
}
