//! Problems from a file of one's own, in our format or in one that other projects write.
//!
//! Documents are taken as they are: they are neither cut nor filled up to a length.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    Problem, Source, Split, TaskError,
    data_file::{
        DEFAULT_MAX_LINE_BYTES, FileFormat, MEND_EMPTY_SPLIT, checked_test_fraction, is_held_out,
        load_problems,
    },
};

/// The formats in which the records of a file may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordFormat {
    /// Told from the fields of the first record.
    #[default]
    Auto,
    /// Our own.
    Longhand,
    /// LongBench: `input` asks about `context`; accepted are `answers`, of `all_classes` if given.
    Longbench,
    /// GSM8K: a question without a document; accepted is the number after `####` in `answer`.
    Gsm8k,
    /// Rows for verl and MemAgent, most often in Parquet: `prompt` (a text or messages) asks about
    /// `context`, if there is one; accepted is `reward_model.ground_truth`, a text or a list.
    Verl,
}

/// Options of the task `jsonl`.
///
/// A file is JSON, one object a line or one list, or Parquet (with the cargo feature `parquet`),
/// in one of the [formats](RecordFormat). Each record of our own is one object:
///
/// | field | |
/// |---|---|
/// | `id` | a text or a whole number, different in each record |
/// | `question` | a text |
/// | `answer` or `answers` | a text, or a list of accepted texts |
/// | `solution` | optional: what an expert writes, steps and answer, where that is more than the answer |
/// | `document` | one text; its paragraphs are divided by blank lines |
/// | `paragraphs` | instead of `document`: a list of texts, or of `{title, text, relevant, note}` objects (all but `text` optional); an empty list for a question without a document |
/// | `relevant` | optional, beside `paragraphs`: the numbers, from 0, of those the answer depends on |
/// | `n_facts` | optional: how many facts the answer needs; else the number of relevant paragraphs |
/// | `classes` | optional: a list of texts, of which the answer is one |
///
/// Other fields are ignored, and counted by [`check_file`](crate::check_file). Documents are taken as
/// they are: a target length has no effect on them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jsonl {
    /// The file.
    pub path: PathBuf,
    /// The format of its records, and of those of `test_path`.
    #[serde(default)]
    pub format: RecordFormat,
    /// A second file that holds the test problems. Without it, test problems are taken from `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_path: Option<PathBuf>,
    /// The share of the problems of `path` that is held out for testing, chosen by a hash of their
    /// id; 0.2 if left out. Not together with `test_path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_fraction: Option<f64>,
    /// How long one record may be.
    #[serde(default = "default_max_line_bytes")]
    pub max_line_bytes: usize,
}

fn default_max_line_bytes() -> usize {
    DEFAULT_MAX_LINE_BYTES
}

const KIND: &str = "jsonl";

/// A file of problems, opened.
#[derive(Debug)]
pub(crate) struct JsonlSource {
    options: Jsonl,
    train: Vec<Problem>,
    test: Vec<Problem>,
}

pub(crate) fn open(options: Jsonl) -> Result<JsonlSource, TaskError> {
    let test_fraction =
        checked_test_fraction(KIND, options.test_path.as_deref(), options.test_fraction)?;
    let read = |path: &Path| {
        let mut problems = Vec::new();
        let format = file_format(path, options.format)?;
        load_problems(path, format, options.max_line_bytes, |problem| {
            problems.push(problem);
        })?;
        Ok(problems)
    };
    let all = read(&options.path)?;
    let (test, train) = match (&options.test_path, test_fraction) {
        (Some(test_path), _) => (read(test_path)?, all),
        (None, share) => all
            .into_iter()
            .partition(|problem| is_held_out(&problem.id, share.unwrap_or_default())),
    };
    Ok(JsonlSource {
        options,
        train,
        test,
    })
}

/// The format of one file. HotpotQA's has a task of its own, which makes documents of any length.
fn file_format(path: &Path, format: RecordFormat) -> Result<FileFormat, TaskError> {
    let told = match format {
        RecordFormat::Longhand => FileFormat::Jsonl,
        RecordFormat::Longbench => FileFormat::Longbench,
        RecordFormat::Gsm8k => FileFormat::Gsm8k,
        RecordFormat::Verl => FileFormat::Verl,
        RecordFormat::Auto => FileFormat::of(path)?,
    };
    if told == FileFormat::Hotpotqa {
        return Err(TaskError::BadOption {
            kind: KIND,
            option: "format",
            value: "auto".to_owned(),
            mend: format!(
                "but {} has the fields of HotpotQA; use `kind = \"hotpotqa\"`, or give the format",
                path.display()
            ),
        });
    }
    Ok(told)
}

impl Source for JsonlSource {
    /// The document is as long as the file has it; from `n_problems` on the problems begin again.
    fn problem(
        &self,
        split: Split,
        _seed: u64,
        idx: u64,
        _target_tokens: usize,
        _count_tokens: &dyn Fn(&str) -> usize,
    ) -> Result<Problem, TaskError> {
        let (problems, path) = match split {
            Split::Train => (&self.train, &self.options.path),
            Split::Test => (
                &self.test,
                self.options
                    .test_path
                    .as_ref()
                    .unwrap_or(&self.options.path),
            ),
        };
        if problems.is_empty() {
            return Err(TaskError::NoProblems {
                path: path.clone(),
                split,
                mend: MEND_EMPTY_SPLIT,
            });
        }
        Ok(problems[(idx % problems.len() as u64) as usize].clone())
    }

    fn n_problems(&self, split: Split) -> Option<usize> {
        Some(match split {
            Split::Train => self.train.len(),
            Split::Test => self.test.len(),
        })
    }
}
