//! Everything that can go wrong between a run and its folder.

use std::io;
use std::path::{Path, PathBuf};

use crate::digests::Damage;

/// Why a run's folder cannot be made, written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The folder of a new run has something in it.
    #[error(
        "the folder {path} is not empty, and a run never overwrites another; choose another --out",
        path = path.display()
    )]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// A new run's folder, or one above it, is a file.
    #[error(
        "cannot make the folder {path}: {file} is a file; choose another --out",
        path = path.display(),
        file = file.display()
    )]
    FileInTheWay {
        /// The folder that was asked for.
        path: PathBuf,
        /// The file.
        file: PathBuf,
    },
    /// A new run's folder cannot be made.
    #[error("cannot make the folder {path}: {source}; choose another --out", path = path.display())]
    Uncreatable {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A folder that no run has made.
    #[error(
        "{path} is not a run: it has no config.toml; give the folder that `longhand train` named",
        path = path.display()
    )]
    NotARun {
        /// The path.
        path: PathBuf,
    },
    /// A name that cannot be the name of a file.
    #[error(
        "`{name}` cannot name {what}; use letters, digits, `-`, `_` and `.`, with a letter or digit \
         first{except}"
    )]
    BadName {
        /// The name.
        name: String,
        /// What was to be named.
        what: &'static str,
        /// Names that are taken, as the end of the message; empty if none are.
        except: &'static str,
    },
    /// Something that is written once exists.
    #[error("{path} exists, and a run overwrites nothing; {mend}", path = path.display())]
    Exists {
        /// The file or folder.
        path: PathBuf,
        /// What to do instead.
        mend: &'static str,
    },
    /// A file or folder cannot be written, renamed or removed.
    #[error(
        "cannot write {path}: {source}; check its permissions and the space left",
        path = path.display()
    )]
    Unwritable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file or folder cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A number that is NaN or infinite was to be recorded.
    #[error(
        "`{key}` is {value}, and {path} records finite numbers only; find the step that made it",
        path = path.display()
    )]
    NotFinite {
        /// The place of the number in what was to be recorded, as in `turns[3].reward`.
        key: String,
        /// The number.
        value: f64,
        /// The file that was to hold it.
        path: PathBuf,
    },
    /// A `None`, a unit or a JSON null was to be recorded.
    #[error(
        "`{key}` has no value, and {path} records no nulls; leave out what was not measured (the \
         macro `json!` turns NaN into null)",
        path = path.display()
    )]
    NoValue {
        /// The place of the value in what was to be recorded.
        key: String,
        /// The file that was to hold it.
        path: PathBuf,
    },
    /// A record that is not made of named values.
    #[error(
        "{path} records one JSON object per line, and `{record}` is none; give a struct or a map",
        path = path.display()
    )]
    NotAnObject {
        /// The file that was to hold it.
        path: PathBuf,
        /// The record as JSON.
        record: String,
    },
    /// A record that JSON cannot express, such as a map with maps as keys.
    #[error("cannot write a record of {path} as JSON: {source}", path = path.display())]
    NotJson {
        /// The file that was to hold it.
        path: PathBuf,
        /// What serde said.
        source: serde_json::Error,
    },
    /// A line that says something else than it should.
    #[error("{path}, line {line}: {source}; mend or remove the line", path = path.display())]
    BadLine {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A file whose last line has no end.
    #[error(
        "{path}, line {line} is torn: the run was stopped while it wrote the line; remove this last \
         line, those before it are whole",
        path = path.display()
    )]
    TornLine {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// Another process holds the run.
    #[error(
        "{path} is being written by another process{who}; wait until it ends or stop it, then try \
         again",
        path = path.display(),
        who = named(*holder)
    )]
    InUse {
        /// The run's folder.
        path: PathBuf,
        /// The other process, where it could be read.
        holder: Option<u32>,
    },
    /// The file system has no locks, or refuses this one.
    #[error(
        "cannot lock {path}: {source}; put runs on a file system that has locks, so that no two \
         processes write one",
        path = path.display()
    )]
    Unlockable {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The run was opened to be read.
    #[error(
        "{path} was opened to be read, not to be written; open it with `RunDir::open_to_write`",
        path = path.display()
    )]
    OpenedToRead {
        /// The run's folder.
        path: PathBuf,
    },
    /// The run's folder, or a file it is writing, is no longer where it was.
    #[error(
        "{path} is gone: something removed, moved or replaced it while the run was writing; put it \
         back and resume the run, or start a new one",
        path = path.display()
    )]
    Gone {
        /// The folder or file.
        path: PathBuf,
    },
    /// The run's folder takes no new files any more.
    #[error(
        "{path} can no longer be written ({reason}); make it writable again and resume the run",
        path = path.display()
    )]
    ReadOnly {
        /// The run's folder.
        path: PathBuf,
        /// How that is known.
        reason: String,
    },
    /// A resume begins where a file has no line's end, or ends before that place.
    #[error(
        "{path} has {len} bytes and cannot be continued at byte {offset}: {what}; resume from \
         another checkpoint, or put back the file that belongs to this one",
        path = path.display()
    )]
    BadOffset {
        /// The file.
        path: PathBuf,
        /// Bytes that were to be kept.
        offset: u64,
        /// Bytes that the file has.
        len: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A checkpoint in a format that this program does not know.
    #[error(
        "{path} has {found}, and this program reads format {supported}; resume with the version of \
         longhand that wrote it, or start a new run",
        path = path.display()
    )]
    Format {
        /// The checkpoint's folder.
        path: PathBuf,
        /// Its format and what wrote it, as far as it says.
        found: String,
        /// The format this program reads.
        supported: u32,
    },
    /// A checkpoint is whole, but its state is not what this program keeps.
    #[error(
        "{path} does not hold the state of a run of this version: {source}; resume with the version \
         that wrote it ({program})",
        path = path.display()
    )]
    BadState {
        /// The checkpoint's `state.json`.
        path: PathBuf,
        /// What wrote it.
        program: String,
        /// What serde said.
        source: serde_json::Error,
    },
    /// The run's configuration is not the one the checkpoint was made with.
    #[error(
        "{path} has changed since the checkpoint `{checkpoint}` was saved, and a resumed run would \
         be another one; put the old file back, or start a new run with the new one",
        path = path.display()
    )]
    ConfigChanged {
        /// The run's `config.toml`.
        path: PathBuf,
        /// The checkpoint's name.
        checkpoint: String,
    },
    /// The checkpoint that was asked for is damaged.
    #[error("{0}; use another checkpoint")]
    Damaged(Damage),
    /// There are checkpoints, and none is whole.
    #[error(
        "no checkpoint in {path} is whole: {damages}; put one back from a copy, or start a new run",
        path = path.display(),
        damages = listed(damages)
    )]
    AllDamaged {
        /// The folder of checkpoints.
        path: PathBuf,
        /// What is wrong with each, newest first.
        damages: Vec<Damage>,
    },
    /// A checkpoint that was named does not exist.
    #[error("{path} does not exist; name a checkpoint that is there", path = path.display())]
    NoCheckpoint {
        /// The checkpoint's folder.
        path: PathBuf,
    },
    /// A data file that is not the one the run began with.
    #[error(
        "{path} is not the file that the run began with (its digest is not in {digests}); put that file \
         back, or start a new run",
        path = path.display(),
        digests = digests.display()
    )]
    DataChanged {
        /// The data file.
        path: PathBuf,
        /// The digests.
        digests: PathBuf,
    },
    /// A pointer to a checkpoint that is gone.
    #[error(
        "{pointer} names the checkpoint `{name}`, which does not exist; name another one, or write \
         the name of one that exists into that file",
        pointer = pointer.display()
    )]
    LostCheckpoint {
        /// The file that names it.
        pointer: PathBuf,
        /// The name.
        name: String,
    },
    /// A number that cannot be drawn.
    #[error(
        "the plot {path} cannot show `{series}`: point {point_idx} has {what} {value}; {mend}",
        path = path.display()
    )]
    BadPoint {
        /// The plot.
        path: PathBuf,
        /// The series' name.
        series: String,
        /// Index of the point.
        point_idx: usize,
        /// Which number of the point it is.
        what: &'static str,
        /// The number.
        value: f64,
        /// What is allowed.
        mend: &'static str,
    },
    /// The drawing library failed.
    #[error("cannot draw the plot {path}: {reason}", path = path.display())]
    Undrawable {
        /// The plot.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
}

/// The end of "another process", where its number is known.
fn named(holder: Option<u32>) -> String {
    holder.map_or_else(String::new, |pid| format!(" (number {pid})"))
}

fn listed(damages: &[Damage]) -> String {
    let each: Vec<String> = damages.iter().map(Damage::to_string).collect();
    each.join("; ")
}

impl RunError {
    /// For `map_err` on writing `path`.
    pub(crate) fn unwritable(path: &Path) -> impl FnOnce(io::Error) -> RunError {
        let path = path.to_path_buf();
        move |source| RunError::Unwritable { path, source }
    }

    /// For `map_err` on reading `path`.
    pub(crate) fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> RunError {
        let path = path.to_path_buf();
        move |source| RunError::Unreadable { path, source }
    }
}

/// Why a checkpoint was not saved. `E` is the error of whoever writes its files.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError<E> {
    /// The caller's part failed; the checkpoints that were there still are.
    #[error(
        "cannot write the checkpoint `{name}`: {source}; those before it are whole: mend the cause and resume the run"
    )]
    Write {
        /// The checkpoint's name.
        name: String,
        /// What went wrong.
        source: E,
    },
    /// The folder's part failed.
    #[error(transparent)]
    Run(#[from] RunError),
}
