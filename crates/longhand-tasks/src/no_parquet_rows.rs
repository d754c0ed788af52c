//! Parquet in a build without it: refused with what to do.

use std::{fs::File, ops::ControlFlow, path::Path};

use crate::{TaskError, records::Object};

/// What a Parquet file begins and ends with.
pub(crate) const MARK: &[u8] = b"PAR1";

/// Refuses the file.
pub(crate) fn for_each_row(
    path: &Path,
    _file: File,
    _max_row_bytes: usize,
    _on_row: impl FnMut(usize, Object) -> ControlFlow<()>,
) -> Result<(), TaskError> {
    Err(TaskError::BadParquet {
        path: path.to_owned(),
        reason: "this program is built without it; build it with the cargo feature `parquet`, or \
                 convert the file to JSON lines"
            .to_owned(),
    })
}
