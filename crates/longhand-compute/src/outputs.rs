//! Building the answer to a line: fields in order, and never a number that JSON does not have.

use serde_json::{Map, Value};

use crate::error::LineError;
use crate::path::Path;

/// The fields of an answer.
#[derive(Default)]
pub(crate) struct Outputs {
    fields: Map<String, Value>,
}

impl Outputs {
    pub(crate) fn into_object(self) -> Map<String, Value> {
        self.fields
    }

    /// A value that is no number computed here.
    pub(crate) fn value(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn number(self, name: &'static str, number: f64) -> Result<Self, LineError> {
        let value = finite(number, &Path::Field(name))?;
        Ok(self.value(name, value))
    }

    pub(crate) fn list(self, name: &'static str, numbers: &[f64]) -> Result<Self, LineError> {
        let value = list(numbers, &Path::Field(name), |number, path| {
            finite(*number, path)
        })?;
        Ok(self.value(name, value))
    }

    pub(crate) fn list_or_null(
        self,
        name: &'static str,
        numbers: &[Option<f64>],
    ) -> Result<Self, LineError> {
        let value = list(numbers, &Path::Field(name), |number, path| match number {
            Some(number) => finite(*number, path),
            None => Ok(Value::Null),
        })?;
        Ok(self.value(name, value))
    }

    pub(crate) fn rows(self, name: &'static str, numbers: &[Vec<f64>]) -> Result<Self, LineError> {
        let value = rows(numbers, &Path::Field(name))?;
        Ok(self.value(name, value))
    }

    pub(crate) fn problems(
        self,
        name: &'static str,
        numbers: &[Vec<Vec<f64>>],
    ) -> Result<Self, LineError> {
        let value = list(numbers, &Path::Field(name), |numbers, path| {
            rows(numbers, path)
        })?;
        Ok(self.value(name, value))
    }

    /// As [`problems`](Self::problems), with null for what is missing.
    pub(crate) fn optional_problems(
        self,
        name: &'static str,
        numbers: &[Vec<Vec<Option<f64>>>],
    ) -> Result<Self, LineError> {
        let value = list(numbers, &Path::Field(name), |rows, path| {
            list(rows, path, |row, path| {
                list(row, path, |number, path| match number {
                    Some(number) => finite(*number, path),
                    None => Ok(Value::Null),
                })
            })
        })?;
        Ok(self.value(name, value))
    }
}

fn rows(numbers: &[Vec<f64>], path: &Path) -> Result<Value, LineError> {
    list(numbers, path, |row, path| {
        list(row, path, |number, path| finite(*number, path))
    })
}

fn list<T>(
    entries: &[T],
    path: &Path,
    write: impl Fn(&T, &Path) -> Result<Value, LineError>,
) -> Result<Value, LineError> {
    entries
        .iter()
        .enumerate()
        .map(|(idx, entry)| write(entry, &Path::Entry(path, idx)))
        .collect()
}

/// Finite input can still overflow, and a null or a word in the answer would hide it.
fn finite(number: f64, path: &Path) -> Result<Value, LineError> {
    if !number.is_finite() {
        return Err(LineError::NotFinite {
            place: path.to_string(),
            value: number,
        });
    }
    Ok(Value::from(number))
}
