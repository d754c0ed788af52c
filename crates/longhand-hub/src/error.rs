//! What can be wrong with a model's name, with the hub's answers and with the cache.

use std::{io, path::PathBuf};

use thiserror::Error;

/// A model that cannot be found.
#[derive(Debug, Error)]
pub enum HubError {
    /// A name that begins like a repository and is none.
    #[error(
        "`{arg}` is no model: {reason}; expected a folder, or hf:owner/name, or hf:owner/name@revision"
    )]
    BadName {
        /// The name as written.
        arg: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A repository, in a program that was built without the feature.
    #[error(
        "`{arg}`: this program was built without the hub: build it with `cargo build --release \
         --features hub`, or download the files into a folder by hand and give the folder"
    )]
    NotBuilt {
        /// The name as written.
        arg: String,
    },
    /// Neither a variable nor a home folder says where the cache lies.
    #[error("no place for the cache of models: set HF_HOME to a folder")]
    NoCache,
    /// The hub cannot be reached, and the cache does not hold the whole model.
    #[error(
        "cannot reach the hub for `{arg}` ({reason}) and {} does not hold all of its files: try again \
         with a network, or download {files} by hand into a folder and give the folder instead of `{arg}`",
        cache.display()
    )]
    Unreachable {
        /// The name as written.
        arg: String,
        /// Why it cannot be reached.
        reason: String,
        /// Where the repository lies in the cache.
        cache: PathBuf,
        /// The files to download by hand.
        files: String,
    },
    /// The hub wants to know who asks, or does not let them.
    #[error("the hub refuses `{repository}` (HTTP {status}): {advice}")]
    Refused {
        /// The repository.
        repository: String,
        /// The answer's status, 401 or 403.
        status: u16,
        /// What to do.
        advice: &'static str,
    },
    /// The hub knows no such repository or no such revision.
    #[error("the hub has no model `{repository}` at revision `{revision}`")]
    NoRepository {
        /// The repository.
        repository: String,
        /// The revision.
        revision: String,
    },
    /// A repository without a file that a model cannot do without.
    #[error("`{repository}` at revision `{revision}` has no {file}{advice}")]
    Missing {
        /// The repository.
        repository: String,
        /// The revision.
        revision: String,
        /// The file's name.
        file: String,
        /// What to do, or nothing.
        advice: &'static str,
    },
    /// A file that did not arrive whole.
    #[error(
        "{file} of `{repository}` at revision `{revision}` was not downloaded: {reason}; the same \
         command goes on from where it stopped"
    )]
    BrokenOff {
        /// The repository.
        repository: String,
        /// The revision.
        revision: String,
        /// The file's name.
        file: String,
        /// What happened at last.
        reason: String,
    },
    /// An answer that makes no sense.
    #[error("`{repository}` at revision `{revision}`: the hub's answer makes no sense: {reason}")]
    BadAnswer {
        /// The repository.
        repository: String,
        /// The revision.
        revision: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file or folder of the cache that the system does not let us read or write.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, for example `read`.
        action: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

impl HubError {
    /// Whether the command line is to blame, whatever the hub would have said.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::BadName { .. } | Self::NotBuilt { .. })
    }
}
