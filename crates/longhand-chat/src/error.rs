//! Everything that can go wrong between a model's folder and a prompt.

use std::io;
use std::path::PathBuf;

use minijinja::ErrorKind;

use crate::budget::Exhausted;

/// Why a conversation has no text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChatError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is longer than such files are.
    #[error("{path} is longer than {n_bytes} bytes", path = path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The most that is read.
        n_bytes: u64,
    },
    /// A file is not the JSON that it should be.
    #[error("{path}: {reason}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A folder without a template.
    #[error(
        "{folder} has no chat template: neither chat_template.jinja nor `chat_template` in \
         tokenizer_config.json; it may be a base model",
        folder = folder.display()
    )]
    NoTemplate {
        /// The folder.
        folder: PathBuf,
    },
    /// Several templates, and none of them is the one that is wanted.
    #[error("no chat template is named `{name}`; there are {names:?}")]
    NoSuchTemplate {
        /// The name.
        name: String,
        /// The names that exist.
        names: Vec<String>,
    },
    /// A template that cannot be parsed.
    #[error("{file}:{line}: {reason}")]
    Syntax {
        /// Where the template stands.
        file: String,
        /// Line of the template, from 1.
        line: usize,
        /// What the parser said.
        reason: String,
    },
    /// The template itself refused the conversation, with `raise_exception`.
    #[error("{file}:{line}: the template refuses the conversation: {message}")]
    Refused {
        /// Where the template stands.
        file: String,
        /// Line of the template, from 1.
        line: usize,
        /// Its words.
        message: String,
    },
    /// The template needs more than its limits.
    #[error("{file}:{line}: {reason}")]
    Exhausted {
        /// Where the template stands.
        file: String,
        /// Line of the template, from 1.
        line: usize,
        /// The limit that was reached.
        reason: String,
    },
    /// The template failed.
    #[error("{file}:{line}: {reason}")]
    Render {
        /// Where the template stands.
        file: String,
        /// Line of the template, from 1; 0 if it is not known.
        line: usize,
        /// What the engine said.
        reason: String,
    },
    /// A message that is none.
    #[error("message {message_idx}: {reason}")]
    Message {
        /// Which message, from 0.
        message_idx: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Options that make no sense for these messages.
    #[error("{0}")]
    Options(&'static str),
    /// Neither file names a token that ends a turn.
    #[error(
        "{folder} names no stop token: `eos_token_id` is neither in generation_config.json nor in config.json",
        folder = folder.display()
    )]
    NoStopToken {
        /// The folder.
        folder: PathBuf,
    },
}

/// Marks errors that a template raised itself.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Raised(pub(crate) String);

impl ChatError {
    /// An error of the engine, with the place in the template.
    pub(crate) fn from_engine(error: &minijinja::Error, file: &str) -> Self {
        let file = file.to_owned();
        let mut line = error.line().unwrap_or(0);
        let mut reason = describe(error);
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            if let Some(raised) = cause.downcast_ref::<Raised>() {
                let message = raised.0.clone();
                return Self::Refused {
                    file,
                    line,
                    message,
                };
            }
            if let Some(exhausted) = cause.downcast_ref::<Exhausted>() {
                let reason = exhausted.0.to_owned();
                return Self::Exhausted { file, line, reason };
            }
            if let Some(inner) = cause.downcast_ref::<minijinja::Error>() {
                line = inner.line().unwrap_or(line);
                reason = describe(inner);
            }
            source = cause.source();
        }
        match error.kind() {
            ErrorKind::SyntaxError | ErrorKind::BadEscape => Self::Syntax { file, line, reason },
            ErrorKind::OutOfFuel => Self::Exhausted {
                file,
                line,
                reason: "the template runs too long".to_owned(),
            },
            _ => Self::Render { file, line, reason },
        }
    }
}

fn describe(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}
