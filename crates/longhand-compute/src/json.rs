//! Reading one line as JSON, strictly: an error names its place, and no field may appear twice.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::error::{LineError, shortened};

/// The object that a line holds.
pub(crate) fn parse(line: &[u8]) -> Result<Map<String, Value>, LineError> {
    let text = std::str::from_utf8(line).map_err(|error| LineError::NotUtf8 {
        at: error.valid_up_to(),
    })?;
    if text.trim().is_empty() {
        return Err(LineError::Empty);
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let Strict(value) = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let place = match error.path().to_string() {
            top if top == "." => "the line".to_owned(),
            place => format!("`{}`", shortened(&place)),
        };
        syntax_error(text, place, error.inner())
    })?;
    deserializer
        .end()
        .map_err(|error| syntax_error(text, "the line".to_owned(), &error))?;
    match value {
        Value::Object(object) => Ok(object),
        other => Err(LineError::Wrong {
            place: "the line".to_owned(),
            found: describe(&other),
            expected: "a JSON object".to_owned(),
        }),
    }
}

fn syntax_error(text: &str, place: String, error: &serde_json::Error) -> LineError {
    let column = error.column();
    // Python and others write these words, which JSON does not have.
    let word_start = text[..floor(text, column.saturating_sub(1))]
        .rfind([',', '[', ':', ' '])
        .map_or(0, |at| at + 1);
    let word = &text[word_start..];
    let is_not_finite = ["NaN", "Infinity", "-Infinity", "nan", "inf", "-inf"]
        .iter()
        .any(|known| word.starts_with(known));
    let message = error.to_string();
    let reason = match message.split_once(" at line ") {
        _ if is_not_finite => "numbers must be finite, JSON has no NaN and no infinity".to_owned(),
        Some((reason, _)) => reason.to_owned(),
        None => message,
    };
    LineError::Syntax {
        place,
        reason,
        column,
    }
}

fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

/// What a value is, in an error message.
pub(crate) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("the string \"{}\"", shortened(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// A JSON value in which no object has the same key twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(entry)) = entries.next_element()? {
            list.push(entry);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((key, Strict(value))) = entries.next_entry::<String, Strict>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format!(
                    "`{}` appears twice",
                    shortened(&key)
                )));
            }
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}
