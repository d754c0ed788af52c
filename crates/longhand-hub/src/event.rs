//! What a caller hears while a model is being found.

/// A step of [`crate::ModelArg::folder`], for a progress bar or a log.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A file is on its way: told when it begins, after each piece, and when it is whole.
    File {
        /// Name in the repository.
        name: &'a str,
        /// Bytes on disk, with those of an earlier, broken off download.
        n_done: u64,
        /// Bytes of the whole file.
        n_bytes: u64,
    },
    /// A download broke off and is tried again from where it stopped.
    Retry {
        /// Name in the repository.
        name: &'a str,
        /// What happened.
        reason: &'a str,
    },
    /// Another process is downloading the same file.
    Waiting {
        /// Name in the repository.
        name: &'a str,
    },
    /// The hub was not reached, and the snapshot in the cache is used.
    Offline {
        /// Why it was not reached.
        reason: &'a str,
        /// The commit of the snapshot.
        commit: &'a str,
        /// Optional files that the cache lacks and that the repository may have.
        unconfirmed: &'a [&'static str],
    },
}
