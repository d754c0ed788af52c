//! The keys of a GGUF file and their values.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::{GgufError, byte_reader::ByteReader};

/// Keys that a file may have: real ones have some tens.
const MOST_KEYS: u64 = 1 << 16;
/// Bytes of a key's name, as the format says.
const LONGEST_KEY: u64 = (1 << 16) - 1;

/// A key's value. Lists that an import has no use for are passed over.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A whole number of any width.
    Integer(i128),
    /// A 32- or 64-bit float; as the shortest decimal number that gives the 32 bits.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
    /// A list of 32-bit integers.
    Integers(Vec<i32>),
    /// A list that was not kept.
    Skipped,
}

/// All keys of a file, in the order of their names.
#[derive(Debug)]
pub struct Metadata {
    path: PathBuf,
    values: BTreeMap<String, Value>,
}

impl Metadata {
    pub(crate) fn read(
        bytes: &mut ByteReader,
        path: &Path,
        n_keys: u64,
    ) -> Result<Self, GgufError> {
        // A length, a type and one byte of value are the least that a key takes.
        bytes.check_left("number of keys", n_keys, 13)?;
        if MOST_KEYS < n_keys {
            let reason = format!("{n_keys} keys; at most {MOST_KEYS} make sense");
            return Err(bytes.damaged("number of keys", reason));
        }
        let mut values = BTreeMap::new();
        for key_idx in 0..n_keys {
            let key = bytes.string(&format!("name of key {key_idx}"), LONGEST_KEY)?;
            let place = format!("key `{key}`");
            let value = read_value(bytes, &key, &place)?;
            if values.insert(key, value).is_some() {
                return Err(bytes.damaged(&place, "it stands twice"));
            }
        }
        Ok(Self {
            path: path.to_owned(),
            values,
        })
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn damaged(&self, key: &str, reason: impl Into<String>) -> GgufError {
        GgufError::Damaged {
            path: self.path.clone(),
            place: format!("key `{key}`"),
            reason: reason.into(),
        }
    }

    pub(crate) fn unsupported(
        &self,
        key: &str,
        value: impl std::fmt::Display,
        reason: impl Into<String>,
    ) -> GgufError {
        GgufError::Unsupported {
            path: self.path.clone(),
            place: format!("key `{key}` = {value}"),
            reason: reason.into(),
        }
    }

    fn wrong(&self, key: &str, expected: &str) -> GgufError {
        let found = match self.get(key) {
            None => "it is missing",
            Some(Value::Integer(_)) => "it is a whole number out of range",
            Some(Value::Float(_)) => "it is a float out of range",
            Some(Value::Bool(_)) => "it is true or false",
            Some(Value::Text(_)) => "it is a text",
            Some(Value::Texts(_) | Value::Integers(_) | Value::Skipped) => "it is a list",
        };
        self.damaged(key, format!("{expected} is needed, but {found}"))
    }

    /// A size from 1 to 2^31 - 1; `Ok(None)` where the key is absent.
    pub(crate) fn size(&self, key: &str) -> Result<Option<usize>, GgufError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Integer(n)) if (1..=i128::from(i32::MAX)).contains(n) => {
                Ok(Some(*n as usize))
            }
            Some(_) => Err(self.wrong(key, "a whole number from 1 to 2147483647")),
        }
    }

    pub(crate) fn required_size(&self, key: &str) -> Result<usize, GgufError> {
        let size = self.size(key)?;
        size.ok_or_else(|| self.wrong(key, "a whole number from 1 to 2147483647"))
    }

    /// A count that may be nought; nought where the key is absent.
    pub(crate) fn count(&self, key: &str) -> Result<u64, GgufError> {
        match self.get(key) {
            None => Ok(0),
            Some(Value::Integer(n)) if u64::try_from(*n).is_ok() => Ok(*n as u64),
            Some(_) => Err(self.wrong(key, "a whole number")),
        }
    }

    /// A positive number.
    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, GgufError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Float(x)) if x.is_finite() && 0.0 < *x => Ok(Some(*x)),
            Some(Value::Integer(n)) if 0 < *n => Ok(Some(*n as f64)),
            Some(_) => Err(self.wrong(key, "a positive number")),
        }
    }

    pub(crate) fn bool(&self, key: &str) -> Result<Option<bool>, GgufError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(_) => Err(self.wrong(key, "true or false")),
        }
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>, GgufError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(key, "a text")),
        }
    }

    pub(crate) fn required_text(&self, key: &str) -> Result<&str, GgufError> {
        self.text(key)?.ok_or_else(|| self.wrong(key, "a text"))
    }

    pub(crate) fn texts(&self, key: &str) -> Result<&[String], GgufError> {
        match self.get(key) {
            Some(Value::Texts(texts)) => Ok(texts),
            _ => Err(self.wrong(key, "a list of texts")),
        }
    }

    pub(crate) fn integers(&self, key: &str) -> Result<&[i32], GgufError> {
        match self.get(key) {
            Some(Value::Integers(integers)) => Ok(integers),
            _ => Err(self.wrong(key, "a list of 32-bit integers")),
        }
    }
}

/// Numbers of the value types in the file.
mod kind {
    pub(super) const UINT32: u32 = 4;
    pub(super) const INT32: u32 = 5;
    pub(super) const STRING: u32 = 8;
    pub(super) const ARRAY: u32 = 9;
}

/// Bytes of a number type.
fn width(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

fn read_value(bytes: &mut ByteReader, key: &str, place: &str) -> Result<Value, GgufError> {
    match bytes.u32(place)? {
        kind::STRING => Ok(Value::Text(bytes.string(place, u64::MAX)?)),
        kind::ARRAY => read_list(bytes, key, place),
        number => read_number(bytes, number, place),
    }
}

fn read_number(bytes: &mut ByteReader, kind: u32, place: &str) -> Result<Value, GgufError> {
    Ok(match kind {
        0 => Value::Integer(u8::from_le_bytes(bytes.array(place)?).into()),
        1 => Value::Integer(i8::from_le_bytes(bytes.array(place)?).into()),
        2 => Value::Integer(u16::from_le_bytes(bytes.array(place)?).into()),
        3 => Value::Integer(i16::from_le_bytes(bytes.array(place)?).into()),
        kind::UINT32 => Value::Integer(bytes.u32(place)?.into()),
        kind::INT32 => Value::Integer(i32::from_le_bytes(bytes.array(place)?).into()),
        6 => {
            // 1e-5 in 32 bits is 9.99999975e-6 in 64; the shortest decimal is what somebody once wrote.
            let narrow = f32::from_le_bytes(bytes.array(place)?);
            Value::Float(narrow.to_string().parse().expect("a float reads back"))
        }
        7 => match bytes.array(place)? {
            [0] => Value::Bool(false),
            [1] => Value::Bool(true),
            [other] => {
                return Err(
                    bytes.damaged(place, format!("a truth value must be 0 or 1, not {other}"))
                );
            }
        },
        10 => Value::Integer(bytes.u64(place)?.into()),
        11 => Value::Integer(i64::from_le_bytes(bytes.array(place)?).into()),
        12 => Value::Float(f64::from_le_bytes(bytes.array(place)?)),
        other => return Err(bytes.damaged(place, format!("there is no value type {other}"))),
    })
}

/// Only the lists of the tokenizer are kept, so that a file of other lists takes no memory.
fn read_list(bytes: &mut ByteReader, key: &str, place: &str) -> Result<Value, GgufError> {
    let kind = bytes.u32(place)?;
    let n = bytes.u64(place)?;
    let keep = key.starts_with("tokenizer.ggml.");
    match kind {
        kind::STRING => {
            bytes.check_left(place, n, 8)?;
            let mut texts = Vec::new();
            for text_idx in 0..n {
                if keep {
                    let place = format!("{place}, entry {text_idx}");
                    texts.push(bytes.string(&place, u64::MAX)?);
                } else {
                    let n_bytes = bytes.u64(place)?;
                    bytes.skip(place, n_bytes, 1)?;
                }
            }
            Ok(if keep {
                Value::Texts(texts)
            } else {
                Value::Skipped
            })
        }
        kind::INT32 | kind::UINT32 if keep => {
            bytes.check_left(place, n, 4)?;
            let integers = (0..n).map(|_| Ok(i32::from_le_bytes(bytes.array(place)?)));
            Ok(Value::Integers(integers.collect::<Result<_, GgufError>>()?))
        }
        kind::ARRAY => Err(bytes.unsupported(
            place.to_owned(),
            "a list of lists; only flat lists are read",
        )),
        other => {
            let width = width(other);
            let width = width
                .ok_or_else(|| bytes.damaged(place, format!("there is no value type {other}")))?;
            bytes.skip(place, n, width)?;
            Ok(Value::Skipped)
        }
    }
}
