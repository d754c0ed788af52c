//! What can be wrong with an adapter's files.

use std::path::PathBuf;

use thiserror::Error;

use super::error::WeightsError;
use crate::adapter::LoraError;

/// An `adapter_config.json` that does not describe an adapter we have.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum AdapterConfigError {
    /// Not a JSON object.
    #[error("not a JSON object: {0}")]
    NotJson(String),
    /// A key is missing or has the wrong type.
    #[error("key `{key}` must be {expected}, found {found}")]
    Key {
        /// The key.
        key: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// A value that we do not support.
    #[error("`{key}` = {value} is not supported: {hint}")]
    Unsupported {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// What is supported, or why this is not.
        hint: &'static str,
    },
    /// The settings make no adapter.
    #[error(transparent)]
    Lora(#[from] LoraError),
}

/// An adapter that could not be read or written.
#[derive(Debug, Error)]
pub enum AdapterError {
    /// A file could not be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// `adapter_config.json` does not describe an adapter we have.
    #[error("{path}: {source}")]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: AdapterConfigError,
    },
    /// The adapter needs a tensor that the file lacks.
    #[error("{path} has no tensor `{name}`, which adapter_config.json asks for")]
    Missing {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// The file has tensors that the adapter does not use.
    #[error("{path} has tensors that adapter_config.json does not ask for: {names}")]
    Extra {
        /// The file.
        path: PathBuf,
        /// Their names, the first few of them.
        names: String,
    },
    /// A tensor has another shape than the model and `adapter_config.json` say.
    #[error(
        "tensor `{name}` in {path} has shape {found:?}, the model and adapter_config.json ask for \
         {expected:?}: it may belong to another model"
    )]
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
}
