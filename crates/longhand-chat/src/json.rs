//! JSON as Python's `json.dumps` writes it: spaces after separators, no HTML escapes, key order kept.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

use crate::budget::Bounded;
use crate::python::float;

/// How the text is laid out.
pub(crate) struct Layout {
    pub(crate) ensure_ascii: bool,
    /// What one level is indented by; none for everything on one line.
    pub(crate) indent: Option<String>,
    pub(crate) item_separator: String,
    pub(crate) key_separator: String,
    pub(crate) sort_keys: bool,
}

const MAX_DEPTH: usize = 200;

/// Writes a value.
///
/// # Errors
///
/// A value that has no JSON, as undefined; a used-up budget.
pub(crate) fn write(
    out: &mut Bounded<'_>,
    value: &Value,
    layout: &Layout,
    depth: usize,
) -> Result<(), Error> {
    if MAX_DEPTH < depth {
        return Err(unserializable("a value nested too deeply"));
    }
    match value.kind() {
        ValueKind::None => out.push("null"),
        ValueKind::Bool => out.push(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => out.push(&number(value)),
        ValueKind::String => string(out, value.as_str().unwrap_or_default(), layout),
        ValueKind::Seq | ValueKind::Iterable => {
            let mut is_first = true;
            out.push("[")?;
            for item in value.try_iter()? {
                separate(out, &mut is_first, layout, depth)?;
                write(out, &item, layout, depth + 1)?;
            }
            close(out, is_first, layout, depth, "]")
        }
        ValueKind::Map => {
            let mut keys: Vec<Value> = value.try_iter()?.collect();
            if layout.sort_keys {
                keys.sort_by_key(Value::to_string);
            }
            let mut is_first = true;
            out.push("{")?;
            for key in &keys {
                separate(out, &mut is_first, layout, depth)?;
                match key.kind() {
                    ValueKind::String => string(out, key.as_str().unwrap_or_default(), layout)?,
                    ValueKind::None => out.push("\"null\"")?,
                    ValueKind::Bool => out.push(if key.is_true() {
                        "\"true\""
                    } else {
                        "\"false\""
                    })?,
                    ValueKind::Number => out.push(&format!("\"{}\"", number(key)))?,
                    _ => return Err(unserializable("a key that is no text")),
                }
                out.push(&layout.key_separator)?;
                write(out, &value.get_item(key)?, layout, depth + 1)?;
            }
            close(out, is_first, layout, depth, "}")
        }
        kind => Err(unserializable(&format!("a value of type {kind}"))),
    }
}

fn unserializable(what: &str) -> Error {
    Error::new(ErrorKind::BadSerialization, format!("{what} has no JSON"))
}

fn separate(
    out: &mut Bounded<'_>,
    is_first: &mut bool,
    layout: &Layout,
    depth: usize,
) -> Result<(), Error> {
    if !*is_first {
        out.push(&layout.item_separator)?;
    }
    *is_first = false;
    new_line(out, layout, depth + 1)
}

fn new_line(out: &mut Bounded<'_>, layout: &Layout, depth: usize) -> Result<(), Error> {
    if let Some(indent) = &layout.indent {
        out.push("\n")?;
        for _ in 0..depth {
            out.push(indent)?;
        }
    }
    Ok(())
}

fn close(
    out: &mut Bounded<'_>,
    is_empty: bool,
    layout: &Layout,
    depth: usize,
    bracket: &str,
) -> Result<(), Error> {
    if !is_empty {
        new_line(out, layout, depth)?;
    }
    out.push(bracket)
}

fn number(value: &Value) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    let number = f64::try_from(value.clone()).unwrap_or(f64::NAN);
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number < 0.0 {
            "-Infinity"
        } else {
            "Infinity"
        }
        .to_owned()
    } else {
        float(number)
    }
}

fn string(out: &mut Bounded<'_>, text: &str, layout: &Layout) -> Result<(), Error> {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            control if control < ' ' => quoted.push_str(&format!("\\u{:04x}", u32::from(control))),
            other if layout.ensure_ascii && !(' '..='~').contains(&other) => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    quoted.push_str(&format!("\\u{unit:04x}"));
                }
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    out.push(&quoted)
}
