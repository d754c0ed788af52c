//! What can be wrong with a model's files.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// Weights that could not be read or written.
#[derive(Debug, Error)]
pub enum WeightsError {
    /// Reading or writing failed.
    #[error("cannot access {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not a safetensors file.
    #[error("{path} is not a safetensors file: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The model needs a tensor that the file lacks.
    #[error("{path} has no tensor `{name}`, which config.json asks for")]
    Missing {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// The file has tensors that the model does not use.
    #[error("{path} has tensors that config.json does not ask for: {names}")]
    Extra {
        /// The file.
        path: PathBuf,
        /// Their names, the first few of them.
        names: String,
    },
    /// A tensor has another shape than `config.json` says.
    #[error("tensor `{name}` in {path} has shape {found:?}, config.json asks for {expected:?}")]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// The list of a model's files does not fit them.
    #[error("{path} does not fit the files beside it: {reason}")]
    Index {
        /// The list.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// A number is NaN or infinite.
    #[error(
        "tensor `{name}` in {path} holds {value} at index {idx}: such weights can neither sample nor \
         learn; take a checkpoint from before they broke"
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Index into its values, in the file's order.
        idx: usize,
        /// The number.
        value: f32,
    },
    /// A tensor has a number type that is not read.
    #[error("tensor `{name}` in {path} has type {found}; F32, F16 and BF16 are read")]
    Type {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its type.
        found: String,
    },
}

impl WeightsError {
    /// For `map_err`: reading or writing this file failed.
    pub(crate) fn io(path: &Path) -> impl Fn(std::io::Error) -> Self {
        move |source| Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// Names that are listed in a message; the rest is counted.
const MOST_NAMES: usize = 8;
/// Characters of a name that are shown.
const LONGEST_NAME: usize = 200;

/// A name that a file gave, fit for one line of a message.
pub(crate) fn shown(name: &str) -> String {
    let mut escaped = name.escape_debug();
    let shown: String = escaped.by_ref().take(LONGEST_NAME).collect();
    if escaped.next().is_none() {
        shown
    } else {
        format!("{shown}...")
    }
}

/// Names that a file gave, as a list of bounded length.
pub(crate) fn listed(names: &[&str]) -> String {
    let first: Vec<String> = names.iter().take(MOST_NAMES).map(|n| shown(n)).collect();
    match names.len().saturating_sub(MOST_NAMES) {
        0 => first.join(", "),
        n_more => format!("{} and {n_more} more", first.join(", ")),
    }
}
