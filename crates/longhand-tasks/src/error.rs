//! Everything that can go wrong between a task's description and its problems.

use std::{fmt, io, path::PathBuf};

use crate::Split;

/// Why a task cannot be opened, a problem cannot be made or a file cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// An option is outside its range.
    #[error("task `{kind}`: option `{option}` is {value}, {mend}")]
    BadOption {
        /// The task's `kind`.
        kind: &'static str,
        /// The option's name.
        option: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        mend: String,
    },
    /// What the answer depends on does not fit into the document.
    #[error(
        "problem `{id}` needs {needed_tokens} tokens for the paragraphs its answer depends on, more \
         than the {target_tokens} asked for; ask for longer documents"
    )]
    TooShort {
        /// The problem.
        id: String,
        /// The length asked for.
        target_tokens: usize,
        /// The length of the needed paragraphs alone.
        needed_tokens: usize,
    },
    /// The token counter says that a paragraph has no tokens, so no document could ever grow.
    #[error("the token counter gives 0 tokens for {text:?}; use the policy's own tokenizer")]
    NoTokens {
        /// The paragraph that was counted.
        text: String,
    },
    /// All paragraphs of the pool are in the document and it is still too small.
    #[error(
        "problem `{id}`: the pool of {path} has only {n_paragraphs} paragraphs for one document \
         ({n_tokens} tokens), too few for {wanted}; ask for less, \
         give a larger file or set `pool = \"repeat\"`",
        path = path.display()
    )]
    PoolExhausted {
        /// The problem.
        id: String,
        /// The file that the pool was made from.
        path: PathBuf,
        /// How many paragraphs the document could have at most.
        n_paragraphs: usize,
        /// How many tokens these have together.
        n_tokens: usize,
        /// What was asked for.
        wanted: String,
    },
    /// More own paragraphs than the document may have.
    #[error(
        "problem `{id}` has {n_own} paragraphs of its own, more than `num_docs` = {num_docs}; raise \
         `num_docs` or leave it out"
    )]
    TooFewDocs {
        /// The problem.
        id: String,
        /// How many paragraphs the file gives for it.
        n_own: usize,
        /// The option `num_docs`.
        num_docs: usize,
    },
    /// The options allow so few different problems that a split may have none.
    #[error(
        "task `{kind}` found no {split} problem in {n_draws} draws: its options allow too few different \
         ones; raise them"
    )]
    TooFewDifferent {
        /// The task's `kind`.
        kind: &'static str,
        /// The split that is empty.
        split: Split,
        /// How many problems were drawn.
        n_draws: usize,
    },
    /// A file has no problems for this split.
    #[error("{path} has no {split} problems; {mend}", path = path.display())]
    NoProblems {
        /// The file.
        path: PathBuf,
        /// The split that is empty.
        split: Split,
        /// What to change.
        mend: &'static str,
    },
    /// A file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A path names something that is not a plain file.
    #[error("{path} is {what}, not a file; give the path of a data file", path = path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// A file has nothing in it.
    #[error("{path} holds no records; give one JSON object per line", path = path.display())]
    EmptyFile {
        /// The file.
        path: PathBuf,
    },
    /// The fields of a file are those of no known format.
    #[error(
        "{path}, {place}: no format has the fields {}; there are {}",
        quoted(fields), crate::data_file::FORMATS_WITH_FIELDS, path = path.display()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// Its first record.
        place: RecordPlace,
        /// The fields of that record.
        fields: Vec<String>,
    },
    /// A file is Parquet by its first bytes, but cannot be read as such.
    #[error("{path} cannot be read as Parquet: {reason}", path = path.display())]
    BadParquet {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file has broken records.
    #[error("{first}{}", and_more(*n_more))]
    BadRecords {
        /// The first broken record.
        first: BadRecord,
        /// How many other faults the file has.
        n_more: usize,
    },
    /// A file cannot be written.
    #[error("cannot write {path}: {source}", path = path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn and_more(n_more: usize) -> String {
    match n_more {
        0 => String::new(),
        1 => " (and 1 more fault in this file)".to_owned(),
        n => format!(" (and {n} more faults in this file)"),
    }
}

fn quoted(fields: &[String]) -> String {
    /// A file of columns may have thousands.
    const N_SHOWN: usize = 12;
    let mut shown: Vec<String> = fields
        .iter()
        .take(N_SHOWN)
        .map(|field| format!("`{field}`"))
        .collect();
    if fields.is_empty() {
        return "of an empty object".to_owned();
    }
    if N_SHOWN < fields.len() {
        shown.push(format!("and {} more", fields.len() - N_SHOWN));
    }
    shown.join(", ")
}

/// Where a record starts in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordPlace {
    /// On this line, from 1.
    Line(usize),
    /// In this row, from 1.
    Row(usize),
}

impl fmt::Display for RecordPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordPlace::Line(line) => write!(f, "line {line}"),
            RecordPlace::Row(row) => write!(f, "row {row}"),
        }
    }
}

/// One fault of one record of a data file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRecord {
    /// The file.
    pub path: PathBuf,
    /// Where in the file the record starts.
    pub place: RecordPlace,
    /// The field, with its place in lists, as in `paragraphs[3].text`; `None` for the whole line.
    pub field: Option<String>,
    /// What is wrong and how to mend it.
    pub reason: String,
}

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}: ", self.path.display(), self.place)?;
        match &self.field {
            Some(field) => write!(f, "field `{field}` {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}
