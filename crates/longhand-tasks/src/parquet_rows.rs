//! Rows of a Parquet file as JSON objects.

use std::{
    fs::File,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use parquet::{
    file::reader::{FileReader, SerializedFileReader},
    record::{Field, Row, reader::RowIter},
};
use serde_json::{Map, Number, Value};

use crate::{
    TaskError,
    records::{Object, too_long},
};

/// What a Parquet file begins and ends with.
pub(crate) const MARK: &[u8] = b"PAR1";

/// Hands every row with its number, from 1, to `on_row` until that breaks off. After a row that
/// cannot be read nothing follows.
pub(crate) fn for_each_row(
    path: &Path,
    file: File,
    max_row_bytes: usize,
    mut on_row: impl FnMut(usize, Object) -> ControlFlow<()>,
) -> Result<(), TaskError> {
    let bad = |reason| TaskError::BadParquet {
        path: path.to_owned(),
        reason,
    };
    let reader = guarded(|| SerializedFileReader::new(file)).map_err(bad)?;
    let schema = reader.metadata().file_metadata().schema();
    if schema.get_fields().is_empty() {
        return Err(bad("it has no columns".to_owned()));
    }
    let mut rows = guarded(|| Ok(RowIter::from_file_into(Box::new(reader)))).map_err(bad)?;
    for row_number in 1.. {
        let object = match guarded(|| rows.next().transpose()) {
            Ok(None) => break,
            Ok(Some(row)) => match object_of(row) {
                (_, n_bytes) if max_row_bytes < n_bytes => {
                    Err(too_long("this row", n_bytes, max_row_bytes))
                }
                (object, _) => Ok(object),
            },
            Err(reason) => {
                let reason = format!("this row cannot be read: {reason}; the file may be damaged");
                // Nothing comes after it whatever is answered.
                let _ = on_row(row_number, Err(reason));
                break;
            }
        };
        if on_row(row_number, object).is_break() {
            break;
        }
    }
    Ok(())
}

/// A call of the Parquet reader, which panics on some damaged files, as a result.
fn guarded<T>(call: impl FnOnce() -> parquet::errors::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("its parts contradict each other".to_owned()),
    }
}

/// A row, and how many bytes its texts have together.
fn object_of(row: Row) -> (Map<String, Value>, usize) {
    let mut n_bytes = 0;
    let object = row
        .into_columns()
        .into_iter()
        .map(|(name, field)| (name, value_of(field, &mut n_bytes)))
        .collect();
    (object, n_bytes)
}

/// A field as JSON. Bytes that are text become that text; what JSON cannot say, as other bytes, times
/// and decimals, becomes null, since no format has a field of such a kind.
fn value_of(field: Field, n_bytes: &mut usize) -> Value {
    match field {
        Field::Bool(truth) => truth.into(),
        Field::Byte(number) => number.into(),
        Field::Short(number) => number.into(),
        Field::Int(number) => number.into(),
        Field::Long(number) => number.into(),
        Field::UByte(number) => number.into(),
        Field::UShort(number) => number.into(),
        Field::UInt(number) => number.into(),
        Field::ULong(number) => number.into(),
        Field::Float(number) => float(number.into()),
        Field::Double(number) => float(number),
        Field::Str(text) => {
            *n_bytes += text.len();
            text.into()
        }
        Field::Bytes(bytes) => {
            *n_bytes += bytes.len();
            std::str::from_utf8(bytes.data()).map_or(Value::Null, Value::from)
        }
        Field::Group(row) => {
            let (object, n_inner_bytes) = object_of(row);
            *n_bytes += n_inner_bytes;
            object.into()
        }
        Field::ListInternal(list) => list
            .elements()
            .iter()
            .map(|element| value_of(element.clone(), n_bytes))
            .collect(),
        Field::MapInternal(map) => map
            .entries()
            .iter()
            .filter_map(|(key, value)| match key {
                Field::Str(key) => Some((key.clone(), value_of(value.clone(), n_bytes))),
                _ => None,
            })
            .collect::<Map<_, _>>()
            .into(),
        _ => Value::Null,
    }
}

fn float(number: f64) -> Value {
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}
