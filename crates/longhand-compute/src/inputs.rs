//! Reading the fields and options of one line, as its method's table says.

use serde_json::{Map, Value};

use crate::error::{Hint, LineError, shortened};
use crate::json::describe;
use crate::method::{Accepts, Method};
use crate::path::Path;

/// A line whose names are all known to its method.
pub(crate) struct Inputs<'a> {
    method: &'static Method,
    object: &'a Map<String, Value>,
    options: Option<&'a Map<String, Value>>,
}

impl<'a> Inputs<'a> {
    /// Checks every name; `name_field` is the field that named the method.
    pub(crate) fn new(
        method: &'static Method,
        object: &'a Map<String, Value>,
        name_field: &'static str,
    ) -> Result<Inputs<'a>, LineError> {
        let fields = || method.fields.iter().map(|field| field.name);
        for name in object.keys() {
            if name != name_field && name != "options" && !fields().any(|field| field == name) {
                let known = [name_field].into_iter().chain(fields()).chain(["options"]);
                return Err(unknown("field", method, name, known.collect()));
            }
        }
        let options = match object.get("options") {
            None => None,
            Some(Value::Object(options)) => Some(options),
            Some(other) => return Err(wrong(&Path::Field("options"), other, "an object")),
        };
        for name in options.into_iter().flat_map(Map::keys) {
            if method.option(name).is_none() {
                let known = method.option_entries().map(|option| option.name);
                return Err(unknown("option", method, name, known.collect()));
            }
        }
        Ok(Inputs {
            method,
            object,
            options,
        })
    }

    fn field(&self, name: &'static str) -> Result<&'a Value, LineError> {
        let field = self.method.fields.iter().find(|field| field.name == name);
        let field = field.expect("a method reads the fields of its table");
        self.object.get(name).ok_or_else(|| LineError::Missing {
            field: name,
            reason: format!("`{}` needs {}", self.method.name, field.shape),
        })
    }

    /// A field that may be left out, as `read` finds it.
    pub(crate) fn if_given<T>(
        &self,
        name: &'static str,
        read: impl Fn(&Self, &'static str) -> Result<T, LineError>,
    ) -> Result<Option<T>, LineError> {
        match self.object.contains_key(name) {
            true => read(self, name).map(Some),
            false => Ok(None),
        }
    }

    pub(crate) fn text(&self, name: &'static str) -> Result<&'a str, LineError> {
        text(self.field(name)?, &Path::Field(name))
    }

    pub(crate) fn texts(&self, name: &'static str) -> Result<Vec<String>, LineError> {
        list(self.field(name)?, &Path::Field(name), |value, path| {
            text(value, path).map(str::to_owned)
        })
    }

    /// Strings, null where there is none.
    pub(crate) fn texts_or_null(
        &self,
        name: &'static str,
    ) -> Result<Vec<Option<String>>, LineError> {
        list(
            self.field(name)?,
            &Path::Field(name),
            |value, path| match value {
                Value::Null => Ok(None),
                Value::String(text) => Ok(Some(text.clone())),
                other => Err(wrong(path, other, "a string or null")),
            },
        )
    }

    pub(crate) fn flags(&self, name: &'static str) -> Result<Vec<bool>, LineError> {
        list(self.field(name)?, &Path::Field(name), mask_entry)
    }

    pub(crate) fn counts(&self, name: &'static str) -> Result<Vec<usize>, LineError> {
        list(self.field(name)?, &Path::Field(name), count)
    }

    pub(crate) fn count_rows(&self, name: &'static str) -> Result<Vec<Vec<usize>>, LineError> {
        rows(self.field(name)?, &Path::Field(name), count)
    }

    pub(crate) fn rows(&self, name: &'static str) -> Result<Vec<Vec<f64>>, LineError> {
        rows(self.field(name)?, &Path::Field(name), number)
    }

    pub(crate) fn mask_rows(&self, name: &'static str) -> Result<Vec<Vec<bool>>, LineError> {
        rows(self.field(name)?, &Path::Field(name), mask_entry)
    }

    /// Numbers in `[0, 1]`.
    pub(crate) fn probability_rows(&self, name: &'static str) -> Result<Vec<Vec<f64>>, LineError> {
        rows(self.field(name)?, &Path::Field(name), probability)
    }

    /// Problems > attempts > turns.
    pub(crate) fn problems(&self, name: &'static str) -> Result<Vec<Vec<Vec<f64>>>, LineError> {
        list(self.field(name)?, &Path::Field(name), |value, path| {
            rows(value, path, number)
        })
    }

    /// Problems > attempts > rewards, null where one is missing.
    pub(crate) fn optional_problems(
        &self,
        name: &'static str,
    ) -> Result<Vec<Vec<Vec<Option<f64>>>>, LineError> {
        list(self.field(name)?, &Path::Field(name), |value, path| {
            rows(value, path, |value, path| match value {
                Value::Null => Ok(None),
                other => number(other, path).map(Some),
            })
        })
    }

    /// The error for an option whose value does not go with the rest of the line.
    pub(crate) fn wrong_option(&self, name: &'static str, expected: &str) -> LineError {
        let value = self.options.and_then(|options| options.get(name));
        wrong(&Path::Option(name), value.unwrap_or(&Value::Null), expected)
    }

    /// The option's value or its default; any error names the option.
    pub(crate) fn option<T>(
        &self,
        name: &'static str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<T, LineError> {
        let option = self.method.option(name);
        let option = option.expect("a method reads the options of its table");
        let preset = option.preset.value();
        let value = self.options.and_then(|options| options.get(name));
        read(value.unwrap_or(&preset)).ok_or_else(|| {
            let or_null = match option.preset.allows_null() {
                true => " or null",
                false => "",
            };
            let expected = format!("{}{or_null}", option.accepts.describe());
            wrong(&Path::Option(name), value.unwrap_or(&preset), &expected)
        })
    }

    pub(crate) fn number_option(&self, name: &'static str) -> Result<f64, LineError> {
        let accepts = self.accepts(name);
        self.option(name, |value| in_range(value, accepts))
    }

    pub(crate) fn number_or_null_option(
        &self,
        name: &'static str,
    ) -> Result<Option<f64>, LineError> {
        let accepts = self.accepts(name);
        self.option(name, |value| match value {
            Value::Null => Some(None),
            other => in_range(other, accepts).map(Some),
        })
    }

    pub(crate) fn count_option(&self, name: &'static str) -> Result<usize, LineError> {
        self.option(name, whole)
    }

    pub(crate) fn count_or_null_option(
        &self,
        name: &'static str,
    ) -> Result<Option<usize>, LineError> {
        self.option(name, |value| match value {
            Value::Null => Some(None),
            other => whole(other).map(Some),
        })
    }

    pub(crate) fn flag_option(&self, name: &'static str) -> Result<bool, LineError> {
        self.option(name, Value::as_bool)
    }

    /// One of the table's names.
    pub(crate) fn name_option(&self, name: &'static str) -> Result<&'static str, LineError> {
        let Accepts::Names(names) = self.accepts(name) else {
            unreachable!("`{name}` is in the table as an option with names");
        };
        let given = self.option(name, |value| value.as_str().map(str::to_owned))?;
        names
            .iter()
            .find(|known| known.eq_ignore_ascii_case(&given))
            .copied()
            .ok_or_else(|| LineError::Unknown {
                what: format!("`options.{name}`"),
                name: shortened(&given),
                hint: Hint::new(&given, names.to_vec()),
            })
    }

    fn accepts(&self, name: &'static str) -> Accepts {
        let option = self.method.option(name);
        option
            .expect("a method reads the options of its table")
            .accepts
    }

    /// The error for a field that an option asks for.
    pub(crate) fn needed_by(field: &'static str, option: &str, value: &str) -> LineError {
        LineError::Missing {
            field,
            reason: format!("the option `{option}` = `{value}` needs it"),
        }
    }
}

fn unknown(what: &str, method: &'static Method, name: &str, known: Vec<&'static str>) -> LineError {
    LineError::Unknown {
        what: format!("{what} of `{}`", method.name),
        name: shortened(name),
        hint: Hint::new(name, known),
    }
}

fn wrong(path: &Path, found: &Value, expected: &str) -> LineError {
    LineError::Wrong {
        place: format!("`{path}`"),
        found: describe(found),
        expected: expected.to_owned(),
    }
}

fn list<'v, T>(
    value: &'v Value,
    path: &Path,
    read: impl Fn(&'v Value, &Path) -> Result<T, LineError>,
) -> Result<Vec<T>, LineError> {
    let entries = value
        .as_array()
        .ok_or_else(|| wrong(path, value, "a list"))?;
    entries
        .iter()
        .enumerate()
        .map(|(idx, entry)| read(entry, &Path::Entry(path, idx)))
        .collect()
}

fn rows<'v, T>(
    value: &'v Value,
    path: &Path,
    read: impl Fn(&'v Value, &Path) -> Result<T, LineError>,
) -> Result<Vec<Vec<T>>, LineError> {
    list(value, path, |row, path| list(row, path, &read))
}

fn text<'v>(value: &'v Value, path: &Path) -> Result<&'v str, LineError> {
    value.as_str().ok_or_else(|| wrong(path, value, "a string"))
}

fn number(value: &Value, path: &Path) -> Result<f64, LineError> {
    value.as_f64().ok_or_else(|| wrong(path, value, "a number"))
}

fn probability(value: &Value, path: &Path) -> Result<f64, LineError> {
    in_range(value, Accepts::Between(0.0, 1.0))
        .ok_or_else(|| wrong(path, value, "a probability, from 0 to 1"))
}

fn count(value: &Value, path: &Path) -> Result<usize, LineError> {
    whole(value).ok_or_else(|| wrong(path, value, &Accepts::Count.describe()))
}

fn mask_entry(value: &Value, path: &Path) -> Result<bool, LineError> {
    match (value.as_bool(), value.as_f64()) {
        (Some(flag), _) => Ok(flag),
        (None, Some(1.0)) => Ok(true),
        (None, Some(0.0)) => Ok(false),
        _ => Err(wrong(path, value, "true, false, 1 or 0")),
    }
}

/// A whole number, also written as `3.0`. Bounded so that no sum of them can overflow.
fn whole(value: &Value) -> Option<usize> {
    let number = value.as_f64()?;
    let is_count = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
    is_count.then_some(number as usize)
}

fn in_range(value: &Value, accepts: Accepts) -> Option<f64> {
    let number = value.as_f64()?;
    let is_in_range = match accepts {
        Accepts::AtLeast(bound) => bound <= number,
        Accepts::Above(bound) => bound < number,
        Accepts::Between(low, high) => (low..=high).contains(&number),
        Accepts::Finite => true,
        Accepts::Fraction => 0.0 < number && number <= 1.0,
        Accepts::Count
        | Accepts::Flag
        | Accepts::Names(_)
        | Accepts::Weights
        | Accepts::Conditions
        | Accepts::Clip => false,
    };
    is_in_range.then_some(number)
}

/// Refuses two ragged lists of different shapes.
pub(crate) fn check_same_shape<T, U>(
    name: &'static str,
    found: &[Vec<T>],
    other_name: &'static str,
    other: &[Vec<U>],
) -> Result<(), LineError> {
    let differ = |place: String, found: usize, other_place: String, other: usize| {
        Err(LineError::Shape {
            place,
            found,
            other_place,
            other,
        })
    };
    if found.len() != other.len() {
        return differ(
            name.to_owned(),
            found.len(),
            other_name.to_owned(),
            other.len(),
        );
    }
    for (idx, (found, other)) in found.iter().zip(other).enumerate() {
        if found.len() != other.len() {
            let (place, other_place) = (format!("{name}[{idx}]"), format!("{other_name}[{idx}]"));
            return differ(place, found.len(), other_place, other.len());
        }
    }
    Ok(())
}
