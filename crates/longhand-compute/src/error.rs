//! Why a line could not be answered.

use std::fmt;

/// What is wrong with a line: where, and how to mend it.
///
/// Places are written as in `rewards[0][2]`. Nothing repeats more of the line than a short name.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    #[error("the line is empty, but it must hold one JSON object")]
    Empty,
    #[error("the line is not UTF-8 from byte {at} on")]
    NotUtf8 { at: usize },
    #[error("{place} cannot be read: {reason} (column {column})")]
    Syntax {
        place: String,
        reason: String,
        column: usize,
    },
    #[error("{place} is {found}, but it must be {expected}")]
    Wrong {
        place: String,
        found: String,
        expected: String,
    },
    #[error("`{field}` is missing: {reason}")]
    Missing { field: &'static str, reason: String },
    #[error("`{place}` has {found} entries, but `{other_place}` has {other}")]
    Shape {
        place: String,
        found: usize,
        other_place: String,
        other: usize,
    },
    #[error("unknown {what} `{name}`{hint}")]
    Unknown {
        what: String,
        name: String,
        hint: Hint,
    },
    #[error("{options} cannot be combined: {reason}")]
    Combination {
        options: &'static str,
        reason: &'static str,
    },
    #[error("the result `{place}` is {value}: the input is beyond what f64 can hold")]
    NotFinite { place: String, value: f64 },
}

/// The names that are known, and the one that was probably meant.
#[derive(Debug)]
pub(crate) struct Hint {
    nearest: Option<&'static str>,
    known: Vec<&'static str>,
}

impl Hint {
    pub(crate) fn new(name: &str, known: Vec<&'static str>) -> Hint {
        // A name of megabytes resembles nothing, and comparing takes time in its length.
        let is_short = name.len() < 64;
        let nearest = known
            .iter()
            .filter(|_| is_short)
            .map(|known| (strsim::damerau_levenshtein(name, known), *known))
            .filter(|(distance, known)| *distance <= (known.len() / 3).max(2))
            .min()
            .map(|(_, known)| known);
        Hint { nearest, known }
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        if let Some(nearest) = self.nearest {
            write!(formatter, "; did you mean `{nearest}`?")?;
        }
        match self.known.as_slice() {
            [] => write!(formatter, "; there are none here"),
            known => write!(formatter, "; known: {}", known.join(", ")),
        }
    }
}

/// A name as it stands in an error message: not longer than a message should be.
pub(crate) fn shortened(name: &str) -> String {
    const MAX_CHARS: usize = 40;
    match name.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}
