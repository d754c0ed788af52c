//! The project's own chores, as functions: the tests call the same checks as `cargo xtask`.
//!
//! Depends on the standard library and a JSON reader, so that it builds in seconds. Knows nothing of the
//! other crates' code: it reads files and starts cargo.

pub mod bench;
mod cargo_build;
pub mod ci;
pub mod compare;
pub mod fetch;
pub mod files;
pub mod fuzz;
pub mod map;
pub mod readme;
pub mod reproduce;
pub mod rust_source;
pub mod sanitize;
pub mod soak;
pub mod tidy;

use std::fmt;
use std::path::PathBuf;

/// The commands that `cargo xtask` knows, each with the line that its help prints.
pub const COMMANDS: &[(&str, &str)] = &[
    (
        "tidy",
        "check the house rules that the compiler does not know",
    ),
    (
        "ci",
        "run the gate, step by step with timings; `cargo xtask ci STEP...` runs only those steps",
    ),
    (
        "bench",
        "measure the program into benches/results; --peers measures what others use as well, turn by turn; \
         --quick runs the small cases once; also --threads N, --repetitions N, --program PATH, SET...",
    ),
    (
        "sanitize",
        "run the kernels' unit tests with every access to memory checked",
    ),
    (
        "fuzz",
        "look for bytes that break a parser, a minute each; also --seconds N, TARGET...",
    ),
    (
        "compare-transformers",
        "compare the engine with Python's transformers and peft, on small random models and on MODEL...; \
         also --python PATH, --program PATH, --no-small",
    ),
    (
        "fetch",
        "obtain a real model into models/; `cargo xtask fetch smollm2`",
    ),
    (
        "reproduce",
        "train every method of a comparison with several seeds and write a table; also METHOD..., --seeds 1,2,3, \
         --jobs N, --out FOLDER, --program PATH, --set KEY=VALUE",
    ),
    (
        "soak",
        "run many small steps and see that memory does not grow; also --steps N, --program PATH",
    ),
];

/// One broken rule, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path relative to the repository's root, with `/` between its parts.
    pub path: String,
    /// Line number from 1, where one line is to blame.
    pub line: Option<usize>,
    /// What is wrong and how to mend it: a lower-case fragment without a full stop.
    pub message: String,
}

impl Violation {
    /// A rule broken by a whole file.
    pub fn of_file(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            line: None,
            message: message.into(),
        }
    }

    /// A rule broken at `line`, counted from 1.
    pub fn at(path: impl Into<String>, line: usize, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            line: Some(line),
            message: message.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.message),
            None => write!(f, "{}: {}", self.path, self.message),
        }
    }
}

/// The repository's root: the folder above this package's.
#[must_use]
pub fn repository_root() -> PathBuf {
    // Compiled in, so that tests find the root whatever folder they are started from.
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}
