//! What can be wrong with a GGUF file or with the folder that it should become.

use std::{io, path::PathBuf};

use thiserror::Error;

/// A file that cannot be imported.
#[derive(Debug, Error)]
pub enum GgufError {
    /// A file or folder that the system does not let us read or write.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, for example `read`.
        action: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Bytes that contradict the format: the file is damaged, cut off or not GGUF.
    #[error("{}: {place}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The part of the file, a key or a tensor.
        place: String,
        /// What is wrong, and how to mend it where that is known.
        reason: String,
    },
    /// A sound file that asks for something we do not have.
    #[error("{}: {place} is not supported: {reason}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The key or tensor, with its value.
        place: String,
        /// What is supported.
        reason: String,
    },
    /// A folder that may not be written.
    #[error("{}: {reason}", path.display())]
    OutFolder {
        /// The folder.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
}
