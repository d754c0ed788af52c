//! Which task is meant, as it is written in an experiment file.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    Algebra, Arithmetic, ClassNotes, CodeTrace, Counting, HotpotQa, Jsonl, Lookup, MultiHop,
    MultiNeedle, Needle, Reasoning, Source, TaskError, VariableTracking, generator::Generated,
    hotpotqa, jsonl, reasoning::Reasoned,
};

/// A task and its options; in TOML a table with `kind` and the options of that kind.
///
/// Options that are left out have their defaults; unknown ones are errors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TaskSpec {
    /// Note the items of the asked classes.
    ClassNotes(ClassNotes),
    /// Look somebody up by name, over one or two hops, in a closed vocabulary.
    Lookup(Lookup),
    /// Find one fact about one name.
    Needle(Needle),
    /// Find facts about several names, or several of one name.
    MultiNeedle(MultiNeedle),
    /// Follow a value from variable to variable.
    VariableTracking(VariableTracking),
    /// Follow relations between people, firms and towns.
    MultiHop(MultiHop),
    /// Count how often something happened.
    Counting(Counting),
    /// Work out the value of an expression; no document.
    Arithmetic(Arithmetic),
    /// Solve an equation of one unknown; no document.
    Algebra(Algebra),
    /// Say which number a tiny program prints; no document.
    CodeTrace(CodeTrace),
    /// Questions of HotpotQA over documents composed from its paragraphs.
    Hotpotqa(HotpotQa),
    /// Questions and documents from a file of one's own.
    Jsonl(Jsonl),
}

impl TaskSpec {
    /// Every `kind` there is, in the order of the enum.
    pub const KINDS: [&str; 12] = [
        "class-notes",
        "lookup",
        "needle",
        "multi-needle",
        "variable-tracking",
        "multi-hop",
        "counting",
        "arithmetic",
        "algebra",
        "code-trace",
        "hotpotqa",
        "jsonl",
    ];

    /// The `kind` under which this task is written.
    pub fn kind(&self) -> &'static str {
        let kind_idx = match self {
            TaskSpec::ClassNotes(_) => 0,
            TaskSpec::Lookup(_) => 1,
            TaskSpec::Needle(_) => 2,
            TaskSpec::MultiNeedle(_) => 3,
            TaskSpec::VariableTracking(_) => 4,
            TaskSpec::MultiHop(_) => 5,
            TaskSpec::Counting(_) => 6,
            TaskSpec::Arithmetic(_) => 7,
            TaskSpec::Algebra(_) => 8,
            TaskSpec::CodeTrace(_) => 9,
            TaskSpec::Hotpotqa(_) => 10,
            TaskSpec::Jsonl(_) => 11,
        };
        Self::KINDS[kind_idx]
    }

    /// The kind of reasoning that a task without a document asks for; `None` for all others.
    pub fn reasoning(&self) -> Option<Reasoning> {
        match self {
            TaskSpec::Arithmetic(_) => Some(Reasoning::Arithmetic),
            TaskSpec::Algebra(_) => Some(Reasoning::Algebra),
            TaskSpec::CodeTrace(_) => Some(Reasoning::CodeTrace),
            _ => None,
        }
    }

    /// The files that its problems are read from; none for a generated task.
    pub fn files(&self) -> Vec<&Path> {
        let (path, test_path) = match self {
            TaskSpec::Hotpotqa(options) => (&options.path, &options.test_path),
            TaskSpec::Jsonl(options) => (&options.path, &options.test_path),
            _ => return Vec::new(),
        };
        let both = std::iter::once(path).chain(test_path);
        both.map(PathBuf::as_path).collect()
    }

    /// Checks the options, reads the file if there is one, and makes the source of problems.
    ///
    /// # Errors
    /// If an option is out of range, or a file cannot be read or has a broken record.
    pub fn open(&self) -> Result<Box<dyn Source + Send + Sync>, TaskError> {
        Ok(match self.clone() {
            TaskSpec::ClassNotes(options) => Box::new(Generated::open(options)?),
            TaskSpec::Lookup(options) => Box::new(Generated::open(options)?),
            TaskSpec::Needle(options) => Box::new(Generated::open(options)?),
            TaskSpec::MultiNeedle(options) => Box::new(Generated::open(options)?),
            TaskSpec::VariableTracking(options) => Box::new(Generated::open(options)?),
            TaskSpec::MultiHop(options) => Box::new(Generated::open(options)?),
            TaskSpec::Counting(options) => Box::new(Generated::open(options)?),
            TaskSpec::Arithmetic(options) => Box::new(Reasoned::open(options)?),
            TaskSpec::Algebra(options) => Box::new(Reasoned::open(options)?),
            TaskSpec::CodeTrace(options) => Box::new(Reasoned::open(options)?),
            TaskSpec::Hotpotqa(options) => Box::new(hotpotqa::open(options)?),
            TaskSpec::Jsonl(options) => Box::new(jsonl::open(options)?),
        })
    }
}
