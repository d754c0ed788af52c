//! Reads the fields of one record and remembers everything that is wrong with them.

use serde_json::{Map, Value};

/// What is wrong with one field, and how to mend it; the field is `None` for the whole record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) field: Option<String>,
    pub(crate) reason: String,
}

/// The fields of one record.
pub(crate) struct Fields<'a> {
    object: &'a Map<String, Value>,
    faults: Vec<Fault>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(object: &'a Map<String, Value>) -> Self {
        Self {
            object,
            faults: Vec::new(),
        }
    }

    /// The faults found so far; a record with none is sound.
    pub(crate) fn into_faults(self) -> Vec<Fault> {
        self.faults
    }

    pub(crate) fn fault(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.faults.push(Fault {
            field: Some(field.into()),
            reason: reason.into(),
        });
    }

    /// A field that may be absent; `null` counts as absent.
    pub(crate) fn optional(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    /// A field that must be there.
    pub(crate) fn required(&mut self, name: &str) -> Option<&'a Value> {
        let value = self.optional(name);
        if value.is_none() {
            let reason = if self.object.contains_key(name) {
                "is null; give a value"
            } else {
                "is missing; add it"
            };
            self.fault(name, reason);
        }
        value
    }

    /// A text that must be there and not be blank.
    pub(crate) fn text(&mut self, name: &str) -> Option<&'a str> {
        let value = self.required(name)?;
        self.as_text(name, value)
    }

    /// `value` as a text that is not blank; `field` names its place.
    pub(crate) fn as_text(&mut self, field: &str, value: &'a Value) -> Option<&'a str> {
        let text = self.as_any_text(field, value)?;
        if text.trim().is_empty() {
            self.fault(field, "is empty; give a text");
            return None;
        }
        Some(text)
    }

    /// `value` as a text that may be empty.
    pub(crate) fn as_any_text(&mut self, field: &str, value: &'a Value) -> Option<&'a str> {
        let text = value.as_str();
        if text.is_none() {
            self.fault(
                field,
                format!("is {}, not a text; put it in quotes", kind_of(value)),
            );
        }
        text
    }

    /// `value` as a list with at least one element; `of_what` says of what, for the message.
    pub(crate) fn as_list(
        &mut self,
        field: &str,
        value: &'a Value,
        of_what: &str,
    ) -> Option<&'a [Value]> {
        match value {
            Value::Array(list) if list.is_empty() => {
                self.fault(field, format!("is an empty list; give a list of {of_what}"));
                None
            }
            Value::Array(list) => Some(list),
            other => {
                self.fault(
                    field,
                    format!(
                        "is {}, not a list; give a list of {of_what}",
                        kind_of(other)
                    ),
                );
                None
            }
        }
    }

    /// `value` as a number from 0 without a fraction.
    pub(crate) fn as_count(&mut self, field: &str, value: &Value) -> Option<usize> {
        let count = value.as_u64().and_then(|count| usize::try_from(count).ok());
        if count.is_none() {
            self.fault(
                field,
                format!("is {}; give a whole number from 0", shown(value)),
            );
        }
        count
    }

    /// `value` as true or false.
    pub(crate) fn as_bool(&mut self, field: &str, value: &Value) -> Option<bool> {
        let truth = value.as_bool();
        if truth.is_none() {
            self.fault(field, format!("is {}; give true or false", shown(value)));
        }
        truth
    }
}

/// What a JSON value is, with its article.
pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        other => kind_of(other).to_owned(),
    }
}
