//! Files of problems: their formats, their checks, and which of their problems are held out.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    BadRecord, Problem, TaskError, fields::Fault, hotpotqa_record, jsonl_record,
    records::for_each_record, stream::hash,
};

/// The formats of data files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileFormat {
    /// HotpotQA in the distractor setting: `_id, question, answer, supporting_facts, context`.
    Hotpotqa,
    /// Our own: `id, question, answer | answers, document | paragraphs [, relevant]`.
    Jsonl,
}

impl FileFormat {
    /// The format of a file, told from its first record that is a JSON object: HotpotQA's has a
    /// `context` or `supporting_facts`. A file without any object counts as our own format.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn of(path: &Path) -> Result<Self, TaskError> {
        let mut format = None;
        for_each_record(path, DEFAULT_MAX_LINE_BYTES, |_, object| {
            if let (None, Ok(object)) = (format, object) {
                let is_hotpotqa =
                    object.contains_key("context") || object.contains_key("supporting_facts");
                format = Some(if is_hotpotqa {
                    FileFormat::Hotpotqa
                } else {
                    FileFormat::Jsonl
                });
            }
        })?;
        Ok(format.unwrap_or(FileFormat::Jsonl))
    }

    fn parse(self, object: &Map<String, Value>) -> Result<Problem, Vec<Fault>> {
        match self {
            FileFormat::Hotpotqa => hotpotqa_record::parse(object),
            FileFormat::Jsonl => jsonl_record::parse(object),
        }
    }

    fn fields(self) -> &'static [&'static str] {
        match self {
            FileFormat::Hotpotqa => &hotpotqa_record::FIELDS,
            FileFormat::Jsonl => &jsonl_record::FIELDS,
        }
    }
}

/// How long a line, or an element of a list, may be unless an option says otherwise: 8 MiB.
pub const DEFAULT_MAX_LINE_BYTES: usize = 8 << 20;

/// What a data file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReport {
    /// The format it was read in.
    pub format: FileFormat,
    /// Sound problems.
    pub n_problems: usize,
    /// Paragraphs of the sound problems.
    pub n_paragraphs: usize,
    /// How many of these paragraphs are marked as relevant.
    pub n_relevant: usize,
    /// Bytes of text in these paragraphs.
    pub n_bytes: usize,
    /// Blank lines, which are passed over.
    pub n_blank_lines: usize,
    /// Fields that the format does not know and that have no effect, with how many records have
    /// them.
    pub ignored_fields: BTreeMap<String, usize>,
    /// Every fault of every broken record, in the order of the file.
    pub bad_records: Vec<BadRecord>,
}

/// Reads a whole data file and lists what is in it, faults included.
///
/// # Errors
/// If the file cannot be read at all or holds no records. Broken records are no errors here; they
/// are in the report.
pub fn check_file(
    path: &Path,
    format: FileFormat,
    max_line_bytes: usize,
) -> Result<FileReport, TaskError> {
    read_problems(path, format, max_line_bytes, |_| {})
}

/// Reads all problems of a file; fails if any record is broken.
pub(crate) fn load_problems(
    path: &Path,
    format: FileFormat,
    max_line_bytes: usize,
    on_problem: impl FnMut(Problem),
) -> Result<(), TaskError> {
    let mut report = read_problems(path, format, max_line_bytes, on_problem)?;
    if report.bad_records.is_empty() {
        return Ok(());
    }
    let n_more = report.bad_records.len() - 1;
    Err(TaskError::BadRecords {
        first: report.bad_records.swap_remove(0),
        n_more,
    })
}

fn read_problems(
    path: &Path,
    format: FileFormat,
    max_line_bytes: usize,
    mut on_problem: impl FnMut(Problem),
) -> Result<FileReport, TaskError> {
    let mut report = FileReport {
        format,
        n_problems: 0,
        n_paragraphs: 0,
        n_relevant: 0,
        n_bytes: 0,
        n_blank_lines: 0,
        ignored_fields: BTreeMap::new(),
        bad_records: Vec::new(),
    };
    let mut line_of_id: HashMap<String, usize> = HashMap::new();
    report.n_blank_lines = for_each_record(path, max_line_bytes, |line, object| {
        let parsed = object
            .map_err(|reason| {
                vec![Fault {
                    field: None,
                    reason,
                }]
            })
            .and_then(|object| {
                for name in object
                    .keys()
                    .filter(|name| !format.fields().contains(&name.as_str()))
                {
                    *report.ignored_fields.entry(name.clone()).or_default() += 1;
                }
                format.parse(&object)
            })
            .and_then(
                |problem| match line_of_id.insert(problem.id.clone(), line) {
                    None => Ok(problem),
                    Some(earlier) => Err(vec![Fault {
                        field: Some(format.fields()[0].to_owned()),
                        reason: format!(
                            "is {:?}, which line {earlier} has too; give each record its own",
                            problem.id
                        ),
                    }]),
                },
            );
        match parsed {
            Ok(problem) => {
                report.n_problems += 1;
                report.n_paragraphs += problem.paragraphs.len();
                report.n_relevant += problem.paragraphs.iter().filter(|p| p.relevant).count();
                report.n_bytes += problem
                    .paragraphs
                    .iter()
                    .map(|p| p.text.len())
                    .sum::<usize>();
                on_problem(problem);
            }
            Err(faults) => report
                .bad_records
                .extend(faults.into_iter().map(|fault| BadRecord {
                    path: path.to_owned(),
                    line,
                    field: fault.field,
                    reason: fault.reason,
                })),
        }
    })?;
    if report.n_problems == 0 && report.bad_records.is_empty() {
        return Err(TaskError::EmptyFile {
            path: path.to_owned(),
        });
    }
    Ok(report)
}

/// The share of a file's problems that is held out where neither a share nor a second file is given.
pub const DEFAULT_TEST_FRACTION: f64 = 0.2;

/// Whether a problem is held out: a fixed hash of its id, as a number from 0 to 1, is below
/// `test_fraction`. So a problem keeps its split when the file is reordered or grows.
pub(crate) fn is_held_out(id: &str, test_fraction: f64) -> bool {
    #[expect(
        clippy::cast_precision_loss,
        reason = "53 bits fit into the fraction of an f64"
    )]
    let place = (hash(id) >> 11) as f64 / (1_u64 << 53) as f64;
    place < test_fraction
}

/// The share to hold out of the one file, or `None` if a second file holds the test problems.
pub(crate) fn checked_test_fraction(
    kind: &'static str,
    test_path: Option<&Path>,
    test_fraction: Option<f64>,
) -> Result<Option<f64>, TaskError> {
    let bad = |value: f64, mend: &str| TaskError::BadOption {
        kind,
        option: "test_fraction",
        value: value.to_string(),
        mend: mend.to_owned(),
    };
    match (test_path, test_fraction) {
        (Some(_), Some(share)) => Err(bad(share, "leave it out beside `test_path`")),
        (Some(_), None) => Ok(None),
        (None, Some(share)) if !(0.0..=1.0).contains(&share) => Err(bad(share, "give 0 to 1")),
        (None, share) => Ok(Some(share.unwrap_or(DEFAULT_TEST_FRACTION))),
    }
}

/// How to mend a split without problems.
pub(crate) const MEND_EMPTY_SPLIT: &str =
    "set `test_fraction` (0 to 1) so that both splits have some, or give `test_path`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_held_out_share_is_the_share_asked_for() {
        let held_out = |share| {
            (0..2_000)
                .filter(|n| is_held_out(&n.to_string(), share))
                .count()
        };
        assert_eq!(held_out(0.0), 0);
        assert_eq!(held_out(1.0), 2_000);
        // Binomial with n = 2000, p = 0.2: mean 400, standard deviation 18.
        assert!((310..490).contains(&held_out(0.2)), "{}", held_out(0.2));
    }
}
