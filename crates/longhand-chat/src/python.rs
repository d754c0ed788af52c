//! Where Python's strings and numbers differ from the engine's.

use std::fmt::Write as _;

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

use crate::budget::{Bounded, Budget};

/// What Python's `str.strip` removes: Unicode's white space and four separators.
pub(crate) fn is_space(letter: char) -> bool {
    letter.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&letter)
}

/// Both ends, one of them, or none.
#[derive(Clone, Copy)]
pub(crate) enum Ends {
    Both,
    Left,
    Right,
}

/// `strip`, `lstrip` and `rstrip`; `letters` are what is removed, white space if there are none.
pub(crate) fn strip<'t>(text: &'t str, ends: Ends, letters: Option<&str>) -> &'t str {
    let is_removed = |letter: char| letters.map_or(is_space(letter), |set| set.contains(letter));
    match ends {
        Ends::Both => text.trim_matches(is_removed),
        Ends::Left => text.trim_start_matches(is_removed),
        Ends::Right => text.trim_end_matches(is_removed),
    }
}

/// `str.replace`, charged before it is made.
pub(crate) fn replace(
    budget: &Budget,
    text: &str,
    old: &str,
    new: &str,
    count: Option<i64>,
) -> Result<String, Error> {
    budget.charge(text.len())?;
    let most = count.map_or(usize::MAX, |count| {
        usize::try_from(count).unwrap_or(usize::MAX)
    });
    let n_matches = text.matches(old).take(most).count();
    budget.charge(n_matches.saturating_mul(new.len()))?;
    Ok(text.replacen(old, new, most))
}

/// `str.join`, where a list's items are written as Jinja writes them.
pub(crate) fn join(budget: &Budget, separator: &str, items: &Value) -> Result<String, Error> {
    let mut out = Bounded::new(budget);
    for (idx, item) in items.try_iter()?.enumerate() {
        if 0 < idx {
            out.push(separator)?;
        }
        write(&mut out, &item)?;
    }
    Ok(out.text)
}

/// As Python's `str` writes a value; undefined is nothing.
pub(crate) fn write(out: &mut Bounded<'_>, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::String => out.push(value.as_str().unwrap_or_default()),
        ValueKind::Undefined => Ok(()),
        _ => repr(out, value, 0),
    }
}

const MAX_DEPTH: usize = 200;

/// As Python's `repr` writes a value.
fn repr(out: &mut Bounded<'_>, value: &Value, depth: usize) -> Result<(), Error> {
    if MAX_DEPTH < depth {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            "a value nested too deeply",
        ));
    }
    match value.kind() {
        ValueKind::String => out.push(&quoted(value.as_str().unwrap_or_default())),
        ValueKind::Number if !value.is_integer() => {
            out.push(&float(f64::try_from(value.clone()).unwrap_or(f64::NAN)))
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let brackets = if value.is_tuple() {
                ["(", ")"]
            } else {
                ["[", "]"]
            };
            out.push(brackets[0])?;
            let mut n_items = 0;
            for item in value.try_iter()? {
                if 0 < n_items {
                    out.push(", ")?;
                }
                repr(out, &item, depth + 1)?;
                n_items += 1;
            }
            if value.is_tuple() && n_items == 1 {
                out.push(",")?;
            }
            out.push(brackets[1])
        }
        ValueKind::Map => {
            out.push("{")?;
            for (idx, key) in value.try_iter()?.enumerate() {
                if 0 < idx {
                    out.push(", ")?;
                }
                repr(out, &key, depth + 1)?;
                out.push(": ")?;
                repr(out, &value.get_item(&key)?, depth + 1)?;
            }
            out.push("}")
        }
        _ => out.push(&value.to_string()),
    }
}

fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            letter if letter == quote => {
                out.push('\\');
                out.push(letter);
            }
            control if control.is_control() => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\x{:02x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push(quote);
    out
}

/// As Python's `repr` writes a float: the shortest digits, with an exponent below 1e-4 and from 1e16.
pub(crate) fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number < 0.0 { "-inf" } else { "inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if number != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = number.to_string();
    if plain.contains('.') {
        plain
    } else {
        plain + ".0"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_python_writes_them() {
        // repr(x)
        for (number, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (1e-4, "0.0001"),
            (1.25e-5, "1.25e-05"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(float(number), expected);
        }
    }
}
