//! A TOML document as a tree in which every value remembers where it was written.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::error::ConfigError;
use crate::place::Place;

/// A value and its origin.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// What a TOML value can be here.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Number(f64),
    Flag(bool),
    List(Vec<Node>),
    Table(Vec<Entry>),
    /// Something no key accepts (a date, an integer beyond 64 bits), described.
    Foreign(String),
}

/// One `key = value` of a table.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    /// Where the key is written.
    pub(crate) place: Place,
    pub(crate) node: Node,
}

/// A text that is not TOML: byte offset and message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotToml {
    pub(crate) offset: usize,
    pub(crate) message: String,
}

impl Node {
    /// Parses a whole document.
    pub(crate) fn parse(text: &str) -> Result<Self, NotToml> {
        let document = DeTable::parse(text).map_err(|error| NotToml {
            offset: error.span().map_or(0, |span| span.start),
            message: error.message().replace('\n', "; "),
        })?;
        let place = Place::File { line: 1, column: 1 };
        let value = table(text, document.get_ref());
        Ok(Self { place, value })
    }

    /// The same; `path` names the document in the error.
    pub(crate) fn of_file(text: &str, path: &Path) -> Result<Self, ConfigError> {
        Self::parse(text).map_err(|error| {
            let (line, column) = match Place::of_offset(text, error.offset) {
                Place::File { line, column } => (line, column),
                Place::Override(_) | Place::Default => (1, 1),
            };
            ConfigError::Syntax {
                path: path.to_path_buf(),
                line,
                column,
                message: error.message,
            }
        })
    }

    /// Parses one value, the right-hand side of `key = value`.
    pub(crate) fn parse_value(text: &str) -> Option<Value> {
        // A line break could smuggle in a second key.
        if text.contains(['\n', '\r']) {
            return None;
        }
        let document = Self::parse(&format!("value = {text}")).ok()?;
        match document.value {
            Value::Table(mut entries) if entries.len() == 1 => {
                let entry = entries.pop()?;
                (entry.key == "value").then_some(entry.node.value)
            }
            _ => None,
        }
    }

    /// The same tree with every value attributed to `place`.
    pub(crate) fn all_at(value: Value, place: &Place) -> Self {
        let value = match value {
            Value::List(nodes) => {
                let nodes = nodes
                    .into_iter()
                    .map(|node| Self::all_at(node.value, place));
                Value::List(nodes.collect())
            }
            Value::Table(entries) => {
                let entries = entries.into_iter().map(|entry| Entry {
                    key: entry.key,
                    place: place.clone(),
                    node: Self::all_at(entry.node.value, place),
                });
                Value::Table(entries.collect())
            }
            scalar => scalar,
        };
        Self {
            place: place.clone(),
            value,
        }
    }

    /// An empty table.
    pub(crate) fn empty_table(place: Place) -> Self {
        Self {
            place,
            value: Value::Table(Vec::new()),
        }
    }

    /// The place of the value at a dotted path, or of the nearest enclosing value that was written.
    pub(crate) fn place_of(&self, path: &str) -> Place {
        let mut node = self;
        let mut written = self.place.clone();
        for segment in path.split('.') {
            let (next, place) = match &node.value {
                Value::Table(entries) => match entries.iter().find(|entry| entry.key == segment) {
                    // A table opened by a header or a dotted key is best found by its key.
                    Some(entry) if matches!(entry.node.value, Value::Table(_)) => {
                        (&entry.node, &entry.place)
                    }
                    Some(entry) => (&entry.node, &entry.node.place),
                    None => break,
                },
                Value::List(nodes) => {
                    match segment.parse().ok().and_then(|idx: usize| nodes.get(idx)) {
                        Some(next) => (next, &next.place),
                        None => break,
                    }
                }
                _ => break,
            };
            if *place != Place::Default {
                written = place.clone();
            }
            node = next;
        }
        written
    }

    /// The tree without places.
    pub(crate) fn to_toml(&self) -> toml::Value {
        match &self.value {
            Value::Text(text) | Value::Foreign(text) => toml::Value::String(text.clone()),
            Value::Integer(integer) => toml::Value::Integer(*integer),
            Value::Number(number) => toml::Value::Float(*number),
            Value::Flag(flag) => toml::Value::Boolean(*flag),
            Value::List(nodes) => toml::Value::Array(nodes.iter().map(Self::to_toml).collect()),
            Value::Table(entries) => {
                let pairs = entries
                    .iter()
                    .map(|entry| (entry.key.clone(), entry.node.to_toml()));
                toml::Value::Table(pairs.collect())
            }
        }
    }
}

impl Value {
    /// The value in a message: "the text \"80\"", "the number 0.5", "a table".
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Text(text) => format!("the text {text:?}"),
            Self::Integer(integer) => format!("{integer}"),
            Self::Number(number) => format!("{number:?}"),
            Self::Flag(flag) => format!("{flag}"),
            Self::List(_) => "a list".into(),
            Self::Table(_) => "a table".into(),
            Self::Foreign(text) => text.clone(),
        }
    }
}

fn table(text: &str, entries: &DeTable<'_>) -> Value {
    let entries = entries.iter().map(|(key, value)| Entry {
        key: key.get_ref().to_string(),
        place: Place::of_offset(text, key.span().start),
        node: Node {
            place: Place::of_offset(text, value.span().start),
            value: convert(text, value.get_ref()),
        },
    });
    Value::Table(entries.collect())
}

fn convert(text: &str, value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(string) => Value::Text(string.to_string()),
        DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(integer) => Value::Integer(integer),
            Err(_) => Value::Foreign(format!("the number {integer}, which exceeds 64 bits")),
        },
        DeValue::Float(float) => match float.as_str().parse() {
            Ok(number) => Value::Number(number),
            Err(_) => Value::Foreign(format!("the number {float}")),
        },
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Datetime(date) => Value::Foreign(format!("the date {date}")),
        DeValue::Array(values) => {
            let nodes = values.iter().map(|value| Node {
                place: Place::of_offset(text, value.span().start),
                value: convert(text, value.get_ref()),
            });
            Value::List(nodes.collect())
        }
        DeValue::Table(entries) => table(text, entries),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_know_their_line_and_column() {
        let text = "seed = 3\n[reader]\nchunk_size = 48\n\n[[stage]]\nkind = \"rl\"\n\n[[stage]]\nsteps = 0x10\n";
        let node = Node::parse(text).unwrap();
        let check = |path: &str, line, column| {
            assert_eq!(node.place_of(path), Place::File { line, column }, "{path}");
        };
        check("seed", 1, 8);
        check("reader", 2, 2);
        check("reader.chunk_size", 3, 14);
        check("stage.1.steps", 9, 9);
        // A key that is not there is placed at the table it is missing from.
        check("stage.0.steps", 5, 1);
        check("nowhere.at.all", 1, 1);
    }

    #[test]
    fn one_value_is_parsed_and_no_second_key_gets_in() {
        let check = |text: &str, expected: Option<&str>| {
            let found = Node::parse_value(text).map(|value| value.describe());
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        check("1e-3", Some("0.001"));
        check("[1, 2]", Some("a list"));
        check("{ kind = \"rl\" }", Some("a table"));
        check("true", Some("true"));
        check("word", None);
        check("", None);
        check("1\nother = 2", None);
        check(
            "99999999999999999999",
            Some("the number 99999999999999999999, which exceeds 64 bits"),
        );
    }
}
