//! The template engine, set up as Hugging Face sets up Jinja.

use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Rest, ValueKind, ValueOrKwargs, from_args};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, Value};

use crate::budget::{Bounded, Budget};
use crate::clock::Clock;
use crate::error::Raised;
use crate::guard::{HOLD, JOIN, MULTIPLY, TICK};
use crate::json::{self, Layout};
use crate::python::{self, Ends};

/// Nested calls; each macro counts for several.
const MAX_RECURSION: usize = 200;

/// As Hugging Face: the first line break after a block and the spaces before it are left out.
pub(crate) fn syntax() -> Result<SyntaxConfig, Error> {
    SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
}

/// An engine for one rendering.
pub(crate) fn environment<'s>(
    budget: &Arc<Budget>,
    clock: Clock,
    n_instructions: u64,
) -> Result<Environment<'s>, Error> {
    let mut env = Environment::new();
    env.set_syntax(syntax()?);
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_recursion_limit(MAX_RECURSION);
    env.set_fuel(Some(n_instructions));
    let shared = Arc::clone(budget);
    env.set_formatter(move |out, _, value| {
        let mut text = Bounded::new(&shared);
        python::write(&mut text, value)?;
        out.write_str(&text.text)
            .map_err(|_| Error::from(ErrorKind::WriteFailure))
    });
    let shared = Arc::clone(budget);
    env.set_unknown_method_callback(move |state, value, method, args| {
        call_method(&shared, state, value, method, args)
    });
    env.add_function(
        "raise_exception",
        |message: &Value| -> Result<Value, Error> {
            let message = message.to_string();
            Err(Error::new(ErrorKind::InvalidOperation, message.clone())
                .with_source(Raised(message)))
        },
    );
    env.add_function("strftime_now", move |format: &str| {
        clock.now().format(format)
    });
    add_guards(&mut env, budget);
    add_filters(&mut env, budget);
    add_tests(&mut env);
    Ok(env)
}

/// The functions that [`crate::guard`] puts into templates.
fn add_guards(env: &mut Environment<'_>, budget: &Arc<Budget>) {
    let shared = Arc::clone(budget);
    env.add_function(HOLD, move |value: Value| {
        shared.charge_value(&value)?;
        Ok::<_, Error>(value)
    });
    let shared = Arc::clone(budget);
    env.add_function(TICK, move || {
        shared.tick()?;
        Ok::<_, Error>(true)
    });
    let shared = Arc::clone(budget);
    env.add_function(JOIN, move |left: &Value, right: &Value| {
        let mut text = Bounded::new(&shared);
        python::write(&mut text, left)?;
        python::write(&mut text, right)?;
        Ok::<_, Error>(text.text)
    });
    let shared = Arc::clone(budget);
    env.add_function("dict", move |value: Option<Value>, named: Kwargs| {
        let dict = minijinja::functions::dict(value, named)?;
        shared.charge_value(&dict)?;
        Ok::<_, Error>(dict)
    });
    let shared = Arc::clone(budget);
    env.add_function(MULTIPLY, move |left: &Value, right: &Value| {
        multiply(&shared, left, right)
    });
}

fn multiply(budget: &Budget, left: &Value, right: &Value) -> Result<Value, Error> {
    let impossible = || {
        let reason = format!("cannot multiply {} and {}", left.kind(), right.kind());
        Error::new(ErrorKind::InvalidOperation, reason)
    };
    let integer = |value: &Value| match value.kind() {
        ValueKind::Bool => Some(i128::from(value.is_true())),
        ValueKind::Number if value.is_integer() => i128::try_from(value.clone()).ok(),
        _ => None,
    };
    match (integer(left), integer(right)) {
        (Some(left), Some(right)) => {
            let product = left.checked_mul(right).ok_or_else(impossible)?;
            return Ok(i64::try_from(product).map_or_else(|_| Value::from(product), Value::from));
        }
        (Some(count), None) if right.kind() != ValueKind::Number => {
            return repeat(budget, right, count).ok_or_else(impossible)?;
        }
        (None, Some(count)) if left.kind() != ValueKind::Number => {
            return repeat(budget, left, count).ok_or_else(impossible)?;
        }
        _ => {}
    }
    match (f64::try_from(left.clone()), f64::try_from(right.clone())) {
        (Ok(left), Ok(right)) => Ok(Value::from(left * right)),
        _ => Err(impossible()),
    }
}

/// A string or a list, so many times over; none for other values.
fn repeat(budget: &Budget, value: &Value, count: i128) -> Option<Result<Value, Error>> {
    let count = usize::try_from(count.max(0)).unwrap_or(usize::MAX);
    match value.kind() {
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            let charged = budget.charge(text.len().saturating_mul(count));
            Some(charged.map(|()| Value::from(text.repeat(count))))
        }
        ValueKind::Seq | ValueKind::Iterable => Some(repeat_items(budget, value, count)),
        _ => None,
    }
}

fn repeat_items(budget: &Budget, value: &Value, count: usize) -> Result<Value, Error> {
    let items: Vec<Value> = value.try_iter()?.collect();
    let mut out = Vec::new();
    for _ in 0..count {
        budget.tick()?;
        for item in &items {
            budget.charge(size_of::<Value>())?;
            budget.charge_value(item)?;
            out.push(item.clone());
        }
        if items.is_empty() {
            break;
        }
    }
    Ok(Value::from(out))
}

/// Filters that differ from Jinja's, or that can make much of little.
fn add_filters(env: &mut Environment<'_>, budget: &Arc<Budget>) {
    let shared = Arc::clone(budget);
    env.add_filter(
        "tojson",
        move |value: &Value,
              ensure_ascii: Option<&Value>,
              indent: Option<&Value>,
              named: Kwargs| {
            let given = |value: Option<&Value>, name: &str| -> Result<Value, Error> {
                match value {
                    Some(value) => Ok(value.clone()),
                    None => Ok(named.get::<Option<Value>>(name)?.unwrap_or(Value::from(()))),
                }
            };
            let ensure_ascii = given(ensure_ascii, "ensure_ascii")?;
            let indent = given(indent, "indent")?;
            let separators = given(None, "separators")?;
            let sort_keys = given(None, "sort_keys")?;
            named.assert_all_used()?;
            let indent = indentation(&indent)?;
            let (item_separator, key_separator) = if separators.is_none() {
                let item = if indent.is_some() { "," } else { ", " };
                (item.to_owned(), ": ".to_owned())
            } else {
                let mut pair = separators
                    .try_iter()?
                    .map(|separator| separator.to_string());
                (
                    pair.next().unwrap_or_default(),
                    pair.next().unwrap_or_default(),
                )
            };
            let layout = Layout {
                ensure_ascii: ensure_ascii.is_true(),
                indent,
                item_separator,
                key_separator,
                sort_keys: sort_keys.is_true(),
            };
            let mut text = Bounded::new(&shared);
            json::write(&mut text, value, &layout, 0)?;
            Ok::<_, Error>(text.text)
        },
    );
    let shared = Arc::clone(budget);
    env.add_filter(
        "join",
        move |items: &Value, separator: Option<&str>, attribute: Option<&str>, named: Kwargs| {
            let separator = match separator {
                Some(separator) => separator.to_owned(),
                None => named.get::<Option<String>>("d")?.unwrap_or_default(),
            };
            let attribute = match attribute {
                Some(attribute) => Some(attribute.to_owned()),
                None => named.get::<Option<String>>("attribute")?,
            };
            named.assert_all_used()?;
            let Some(attribute) = attribute else {
                return python::join(&shared, &separator, items);
            };
            let mut values = Vec::new();
            for item in items.try_iter()? {
                shared.charge(size_of::<Value>())?;
                values.push(item.get_attr(&attribute)?);
            }
            python::join(&shared, &separator, &Value::from(values))
        },
    );
    let shared = Arc::clone(budget);
    env.add_filter(
        "replace",
        move |value: &Value, old: &str, new: &str, count: Option<i64>| {
            let mut text = Bounded::new(&shared);
            python::write(&mut text, value)?;
            python::replace(&shared, &text.text, old, new, count)
        },
    );
    let shared = Arc::clone(budget);
    env.add_filter("string", move |value: &Value| {
        let mut text = Bounded::new(&shared);
        python::write(&mut text, value)?;
        Ok::<_, Error>(text.text)
    });
    let shared = Arc::clone(budget);
    env.add_filter("trim", move |value: &Value, letters: Option<&str>| {
        let mut text = Bounded::new(&shared);
        python::write(&mut text, value)?;
        Ok::<_, Error>(python::strip(&text.text, Ends::Both, letters).to_owned())
    });
    let shared = Arc::clone(budget);
    env.add_filter(
        "indent",
        move |value: &Value,
              width: Option<&Value>,
              first: Option<bool>,
              blank: Option<bool>,
              named: Kwargs| {
            let width = match width {
                Some(width) => width.clone(),
                None => named
                    .get::<Option<Value>>("width")?
                    .unwrap_or(Value::from(4)),
            };
            let first = first.or(named.get("first")?).unwrap_or(false);
            let blank = blank.or(named.get("blank")?).unwrap_or(false);
            named.assert_all_used()?;
            let indent = indentation(&width)?.unwrap_or_default();
            let mut text = Bounded::new(&shared);
            python::write(&mut text, value)?;
            let mut out = Bounded::new(&shared);
            // As Jinja: a line break at the end of the text stays, and so does what follows it.
            for (idx, line) in text.text.split('\n').enumerate() {
                if 0 < idx {
                    out.push("\n")?;
                }
                let is_indented = if idx == 0 {
                    first
                } else {
                    blank || !line.is_empty()
                };
                if is_indented {
                    out.push(&indent)?;
                }
                out.push(line)?;
            }
            Ok::<_, Error>(out.text)
        },
    );
    let shared = Arc::clone(budget);
    env.add_filter(
        "format",
        move |state: &mut State, format: &Value, values: Rest<ValueOrKwargs>| {
            bound_widths(&shared, format)?;
            minijinja::filters::format(state, format, values)
        },
    );
    let shared = Arc::clone(budget);
    env.add_filter(
        "batch",
        move |state: &State, value: Value, count: usize, fill_with: Option<Value>| {
            shared.charge(count.saturating_mul(size_of::<Value>()))?;
            let batches = minijinja::filters::batch(state, value, count, fill_with)?;
            shared.charge_value(&batches)?;
            Ok::<_, Error>(batches)
        },
    );
    let shared = Arc::clone(budget);
    env.add_filter(
        "slice",
        move |state: &State, value: Value, count: usize, fill_with: Option<Value>| {
            shared.charge(count.saturating_mul(2 * size_of::<Value>()))?;
            let slices = minijinja::filters::slice(state, value, count, fill_with)?;
            shared.charge_value(&slices)?;
            Ok::<_, Error>(slices)
        },
    );
}

/// Spaces for a number, a string as it is; none for none.
fn indentation(value: &Value) -> Result<Option<String>, Error> {
    if value.is_none() {
        return Ok(None);
    }
    if let Some(text) = value.as_str() {
        return Ok(Some(text.to_owned()));
    }
    match value.as_i64() {
        Some(width @ ..=1_000) => Ok(Some(" ".repeat(usize::try_from(width).unwrap_or(0)))),
        _ => Err(Error::new(
            ErrorKind::InvalidOperation,
            "an indentation is at most 1000",
        )),
    }
}

/// Widths and precisions of a format are charged: a few digits ask for gigabytes.
fn bound_widths(budget: &Budget, format: &Value) -> Result<(), Error> {
    let text = format.as_str().unwrap_or_default();
    if text.contains('*') {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            "`*` in a format is not supported",
        ));
    }
    for digits in text.split(|letter: char| !letter.is_ascii_digit()) {
        if !digits.is_empty() {
            budget.charge(digits.parse().unwrap_or(usize::MAX))?;
        }
    }
    Ok(())
}

/// Tests that say something else of strings, maps and booleans in Python.
fn add_tests(env: &mut Environment<'_>) {
    let holds_items = |value: &Value| {
        matches!(
            value.kind(),
            ValueKind::Seq | ValueKind::Map | ValueKind::String
        )
    };
    env.add_test("sequence", holds_items);
    env.add_test("iterable", move |value: &Value| {
        holds_items(value) || matches!(value.kind(), ValueKind::Iterable | ValueKind::Undefined)
    });
    env.add_test("number", |value: &Value| {
        matches!(value.kind(), ValueKind::Number | ValueKind::Bool)
    });
}

/// Methods of Python's strings, lists and dictionaries.
fn call_method(
    budget: &Budget,
    state: &mut State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    let Some(text) = value.as_str() else {
        budget.tick()?;
        return minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args);
    };
    budget.charge(text.len())?;
    let stripped = |ends| -> Result<Value, Error> {
        let (letters,): (Option<&str>,) = from_args(args)?;
        Ok(Value::from(python::strip(text, ends, letters)))
    };
    match method {
        "strip" => stripped(Ends::Both),
        "lstrip" => stripped(Ends::Left),
        "rstrip" => stripped(Ends::Right),
        "replace" => {
            let (old, new, count): (&str, &str, Option<i64>) = from_args(args)?;
            Ok(Value::from(python::replace(budget, text, old, new, count)?))
        }
        "join" => {
            let (items,): (&Value,) = from_args(args)?;
            Ok(Value::from(python::join(budget, text, items)?))
        }
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Ok(Value::from(text.strip_prefix(prefix).unwrap_or(text)))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Ok(Value::from(text.strip_suffix(suffix).unwrap_or(text)))
        }
        "partition" | "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            let is_from_right = method == "rpartition";
            let parts = if is_from_right {
                text.rsplit_once(separator)
            } else {
                text.split_once(separator)
            };
            let parts = match parts {
                Some((before, after)) => [before, separator, after],
                None if is_from_right => ["", "", text],
                None => [text, "", ""],
            };
            Ok(Value::from(parts.map(Value::from).to_vec()))
        }
        "format" => {
            bound_widths(budget, value)?;
            minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args)
        }
        _ => minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args),
    }
}
