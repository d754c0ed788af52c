//! Everything that can go wrong between a path and the text of a document.

use std::{io, path::PathBuf};

/// Why a document cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The path names something that is not a plain file.
    #[error("{path} is {what}, not a file; give the path of a document", path = path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// The file is in a format that is not read.
    #[error("{path} is {what}, which is not read; {mend}", path = path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
        /// How to get text out of it.
        mend: &'static str,
    },
    /// The file has bytes that are not text.
    #[error("{path}: {reason} at byte {offset}; {mend}", path = path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// Where it stops being text, in bytes from 0.
        offset: u64,
        /// What is wrong there.
        reason: &'static str,
        /// How to mend it.
        mend: &'static str,
    },
    /// The file has no text.
    #[error("{path} holds no text; give a document with some", path = path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}
