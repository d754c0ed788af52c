//! The header of a safetensors file: eight bytes of length, then JSON that says where each tensor is.
//!
//! `{"__metadata__": {"format": "pt"}, "NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}`,
//! the offsets being counted from the header's end. Tensors stand one behind the other, without gaps.
//!
//! It is parsed here, and not by the format's own crate, because that one holds every value of the JSON
//! before it looks at any, which is a hundred times the header where somebody means harm.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::{Map, Value, json};

use super::{error::shown, numbers::NumberType};

/// The longest header that is read: a hundred times that of a model with a hundred layers.
pub(crate) const MAX_HEADER_BYTES: u64 = 16 << 20;
/// The most dimensions that a tensor may have.
const MAX_DIMENSIONS: usize = 8;
/// The key that is no tensor.
const NOTES: &str = "__metadata__";

/// What a header says of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// What its numbers are.
    pub number_type: NumberType,
    /// Its sizes.
    pub shape: Vec<usize>,
    /// Where its bytes begin, counted from the header's end.
    pub(crate) start: u64,
    /// Where they end.
    pub(crate) end: u64,
}

/// A header that fits its file.
#[derive(Debug, Default)]
pub(crate) struct Header {
    pub(crate) tensors: BTreeMap<String, TensorInfo>,
    pub(crate) notes: BTreeMap<String, String>,
}

impl Header {
    /// Reads the JSON of a header in front of so many bytes of tensors.
    ///
    /// # Errors
    /// Why it is none, or how it does not fit.
    pub(crate) fn parse(json: &[u8], n_bytes: u64) -> Result<Self, String> {
        let header: Self = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let mut in_order: Vec<(&String, &TensorInfo)> = header.tensors.iter().collect();
        in_order.sort_by_key(|(_, info)| (info.start, info.end));
        let mut reached = 0;
        for (name, TensorInfo { start, end, .. }) in in_order {
            let name = shown(name);
            if *start != reached {
                return Err(format!(
                    "tensor `{name}` begins at byte {start}, the one before it ends at {reached}"
                ));
            }
            if n_bytes < *end {
                return Err(format!(
                    "tensor `{name}` claims bytes {start} to {end}, the file has {n_bytes} bytes of tensors: it may have been cut off"
                ));
            }
            reached = *end;
        }
        if reached != n_bytes {
            return Err(format!(
                "its tensors take {reached} bytes, the file has {n_bytes}: it was cut off or added to"
            ));
        }
        Ok(header)
    }

    /// The header of tensors `(name, shape, bytes)` that stand in this order, with its length in front;
    /// padded with spaces so that the numbers begin at a multiple of 8 bytes.
    pub(crate) fn written<'a>(
        notes: &[(&str, &str)],
        number_type: NumberType,
        tensors: impl Iterator<Item = (&'a str, &'a [usize], u64)>,
    ) -> Vec<u8> {
        let mut object = Map::new();
        let notes = notes
            .iter()
            .map(|(key, note)| ((*key).to_owned(), json!(note)));
        object.insert(NOTES.to_owned(), Value::Object(notes.collect()));
        let mut start = 0;
        for (name, shape, n_bytes) in tensors {
            let end = start + n_bytes;
            let entry = json!({
                "dtype": number_type.name(),
                "shape": shape,
                "data_offsets": [start, end],
            });
            object.insert(name.to_owned(), entry);
            start = end;
        }
        let mut json = Value::Object(object).to_string();
        while !json.len().is_multiple_of(8) {
            json.push(' ');
        }
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend(json.into_bytes());
        bytes
    }
}

/// A tensor's entry.
#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

impl Entry {
    fn checked(self) -> Result<TensorInfo, String> {
        let Self {
            dtype,
            shape,
            data_offsets: [start, end],
        } = self;
        let (number_type, n_bits) = NumberType::parse(&dtype)
            .ok_or_else(|| format!("has the unknown type `{}`", shown(&dtype)))?;
        if MAX_DIMENSIONS < shape.len() {
            return Err(format!("has {} dimensions", shape.len()));
        }
        let mut sizes = shape.iter().map(|size| *size as u64);
        let n_bits = sizes.try_fold(n_bits, u64::checked_mul);
        let claimed = end.checked_sub(start).and_then(|n| n.checked_mul(8));
        if n_bits.is_none() || n_bits != claimed {
            return Err(format!(
                "claims bytes {start} to {end} for shape {shape:?} of {dtype}"
            ));
        }
        Ok(TensorInfo {
            number_type,
            shape,
            start,
            end,
        })
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with an entry for each tensor")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut header = Header::default();
        while let Some(name) = map.next_key::<String>()? {
            if name == NOTES {
                header.notes = map.next_value::<Option<_>>()?.unwrap_or_default();
                continue;
            }
            let info = map.next_value::<Entry>()?.checked();
            let info = info.map_err(|reason| {
                A::Error::custom(format_args!("tensor `{}` {reason}", shown(&name)))
            })?;
            if header.tensors.contains_key(&name) {
                return Err(A::Error::custom(format_args!(
                    "it has two tensors `{}`",
                    shown(&name)
                )));
            }
            header.tensors.insert(name, info);
        }
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_is_written() {
        let tensors = [("b", &[2, 3][..], 24), ("a", &[0], 0), ("c", &[], 4)];
        let bytes = Header::written(&[("format", "pt")], NumberType::F32, tensors.into_iter());
        assert_eq!(bytes.len() % 8, 0);
        assert_eq!(bytes[..8], (bytes.len() as u64 - 8).to_le_bytes());
        let header = Header::parse(&bytes[8..], 28).unwrap();
        assert_eq!(header.notes["format"], "pt");
        let places = header.tensors.iter();
        let places: Vec<_> = places
            .map(|(name, info)| (name.as_str(), &info.shape[..], info.start, info.end))
            .collect();
        assert_eq!(
            places,
            [
                ("a", &[0][..], 24, 24),
                ("b", &[2, 3], 0, 24),
                ("c", &[], 24, 28)
            ]
        );
    }

    #[test]
    fn headers_that_do_not_fit_are_refused() {
        let check = |json: &str, expected: &str| {
            let message = Header::parse(json.as_bytes(), 8).unwrap_err();
            assert!(message.contains(expected), "{json}: {message}");
        };
        let entry = |dtype: &str, shape: &str, start: u64, end: u64| {
            format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}"#)
        };
        let one = |dtype: &str, shape: &str, start: u64, end: u64| {
            format!(r#"{{"a":{}}}"#, entry(dtype, shape, start, end))
        };
        let two = |name: &str, start: u64| {
            let second = entry("F32", "[1]", start, start + 4);
            format!(r#"{{"a":{},"{name}":{second}}}"#, entry("F32", "[1]", 0, 4))
        };
        assert!(Header::parse(two("b", 4).as_bytes(), 8).is_ok());
        check(
            &two("b", 2),
            "`b` begins at byte 2, the one before it ends at 4",
        );
        check(&two("b", 5), "`b` begins at byte 5");
        check(&two("a", 4), "it has two tensors `a`");
        check(&one("F32", "[3]", 0, 12), "the file has 8 bytes of tensors");
        check(&one("F32", "[1]", 0, 4), "cut off or added to");
        check(&one("F32", "[2]", 8, 0), "claims bytes 8 to 0");
        check(&one("F32", "[1]", 0, 8), "for shape [1] of F32");
        check(&one("F33", "[1]", 0, 8), "has the unknown type `F33`");
        check(&one("F4", "[3]", 0, 1), "for shape [3] of F4");
        // 2^62 numbers of 32 bits: 2^67 bits, which are 8 in 64 bits.
        let wraps = "[4611686018427387904]";
        check(&one("F32", wraps, 0, 8), "claims bytes 0 to 8");
        check(&one("F32", "[-1]", 0, 8), "invalid value");
        check(&one("F32", "[1e300]", 0, 8), "invalid type");
        check(&one("U8", "[1,1,1,1,1,1,1,1,8]", 0, 8), "9 dimensions");
        check("[]", "an object with an entry for each tensor");
        check("{", "EOF");
        check(r#"{"a":{}}"#, "missing field");
        check(&format!("{}{}", r#"{"a":"#, "[".repeat(100_000)), "line 1");
        let name = "\u{1b}".repeat(1000);
        let long = one("F33", "[1]", 0, 8).replace("\"a\"", &json!(name).to_string());
        assert!(Header::parse(long.as_bytes(), 8).unwrap_err().len() < 400);
    }
}
