//! Which task is meant, as it is written in an experiment file.

use serde::{Deserialize, Serialize};

use crate::{Source, TaskError};

/// A task and its options; in TOML a table with `kind` and the options of that kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TaskSpec {}

impl TaskSpec {
    /// Checks the options, reads the file if there is one, and makes the source of problems.
    ///
    /// # Errors
    /// If an option is out of range or a file cannot be read as the task says.
    pub fn open(&self) -> Result<Box<dyn Source + Send + Sync>, TaskError> {
        match *self {}
    }
}
