//! Files of problems: their formats, their checks, and which of their problems are held out.

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
    path::Path,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    BadRecord, Problem, RecordPlace, TaskError, fields::Fault, gsm8k_record, hotpotqa_record,
    jsonl_record, longbench_record, records::for_each_record, stream::hash, verl_record,
};

/// The formats of data files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileFormat {
    /// HotpotQA in the distractor setting: `_id, question, answer, supporting_facts, context`.
    Hotpotqa,
    /// Our own: `id, question, answer | answers, document | paragraphs [, relevant]`.
    Jsonl,
    /// LongBench: `input, context, answers, all_classes`.
    Longbench,
    /// GSM8K: `question` and `answer` with `####`; there is no document.
    Gsm8k,
    /// What verl and MemAgent train on: `prompt, context, reward_model.ground_truth, extra_info`.
    Verl,
}

/// The formats and the fields that tell them, for messages.
pub(crate) const FORMATS_WITH_FIELDS: &str = "our own (`id`, `question`, `answer`, `document`), \
     longbench (`input`, `context`, `answers`), gsm8k (`question`, `answer` with `####`), verl \
     (`prompt`, `reward_model`) and hotpotqa (`question`, `context`, `supporting_facts`)";

impl FileFormat {
    /// Every format with its name, in the order of the enum.
    pub const ALL: [(&str, FileFormat); 5] = [
        ("hotpotqa", FileFormat::Hotpotqa),
        ("jsonl", FileFormat::Jsonl),
        ("longbench", FileFormat::Longbench),
        ("gsm8k", FileFormat::Gsm8k),
        ("verl", FileFormat::Verl),
    ];

    /// The format of a file, told from the fields of its first record that is a JSON object. A file
    /// without any object counts as our own format, so that its faults can be listed.
    ///
    /// # Errors
    /// If the file cannot be read, or its fields are those of no format.
    pub fn of(path: &Path) -> Result<Self, TaskError> {
        let mut first: Option<(RecordPlace, Map<String, Value>)> = None;
        for_each_record(path, DEFAULT_MAX_LINE_BYTES, |place, object| match object {
            Ok(object) => {
                first = Some((place, object));
                ControlFlow::Break(())
            }
            Err(_) => ControlFlow::Continue(()),
        })?;
        let Some((place, object)) = first else {
            return Ok(FileFormat::Jsonl);
        };
        Self::told(&object).ok_or_else(|| TaskError::UnknownFormat {
            path: path.to_owned(),
            place,
            fields: object.keys().cloned().collect(),
        })
    }

    /// The format that has the fields of `object`. Where a record lacks some, the others tell, so
    /// that what is missing can be named.
    fn told(object: &Map<String, Value>) -> Option<Self> {
        let has = |name: &str| object.contains_key(name);
        let answer = object.get("answer").and_then(Value::as_str);
        if has("supporting_facts") {
            Some(FileFormat::Hotpotqa)
        } else if has("prompt") || has("reward_model") {
            Some(FileFormat::Verl)
        } else if has("document") || has("paragraphs") {
            Some(FileFormat::Jsonl)
        } else if has("input") || has("all_classes") {
            Some(FileFormat::Longbench)
        } else if has("context") {
            Some(FileFormat::Hotpotqa)
        } else if has("question") && answer.is_some_and(|text| text.contains(gsm8k_record::MARK)) {
            Some(FileFormat::Gsm8k)
        } else if has("id") {
            Some(FileFormat::Jsonl)
        } else {
            None
        }
    }

    /// A sound record. Where its format gives it no id, that is a hash of question and document, so
    /// that a problem keeps its split when the file is reordered.
    fn parse(self, object: &Map<String, Value>) -> Result<Problem, Vec<Fault>> {
        let mut problem = match self {
            FileFormat::Hotpotqa => hotpotqa_record::parse(object),
            FileFormat::Jsonl => jsonl_record::parse(object),
            FileFormat::Longbench => longbench_record::parse(object),
            FileFormat::Gsm8k => gsm8k_record::parse(object),
            FileFormat::Verl => verl_record::parse(object),
        }?;
        if problem.id.is_empty() {
            problem.id = id_of_content(&problem);
        }
        Ok(problem)
    }

    fn fields(self) -> &'static [&'static str] {
        match self {
            FileFormat::Hotpotqa => &hotpotqa_record::FIELDS,
            FileFormat::Jsonl => &jsonl_record::FIELDS,
            FileFormat::Longbench => &longbench_record::FIELDS,
            FileFormat::Gsm8k => &gsm8k_record::FIELDS,
            FileFormat::Verl => &verl_record::FIELDS,
        }
    }
}

fn id_of_content(problem: &Problem) -> String {
    format!("{:016x}", content_hash(problem))
}

/// A hash of question and document.
fn content_hash(problem: &Problem) -> u64 {
    hash(&format!("{}\0{}", problem.question, problem.document()))
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
    /// Broken records, each of which may have several faults.
    pub n_bad_records: usize,
    /// Lengths of the documents of sound problems, as the counter gives them, in ascending order.
    pub lengths: Vec<usize>,
    /// Sound problems that ask the same of the same document as an earlier one, under another id:
    /// their places, each with that of the first.
    pub duplicates: Vec<(RecordPlace, RecordPlace)>,
}

/// How many documents have a length in a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LengthBin {
    /// The shortest length that counts here.
    pub at_least: usize,
    /// The shortest length that no longer counts here.
    pub below: usize,
    /// How many documents.
    pub n_documents: usize,
}

impl FileReport {
    /// The histogram of [`lengths`](Self::lengths), from the shortest document to the longest: 0, 1,
    /// 2 to 3, 4 to 7, and so on; ranges in between are there even if they are empty.
    pub fn histogram(&self) -> Vec<LengthBin> {
        let bin_of = |length: usize| usize::BITS - length.leading_zeros();
        let (Some(&shortest), Some(&longest)) = (self.lengths.first(), self.lengths.last()) else {
            return Vec::new();
        };
        let power = |bin: u32| 1_usize.checked_shl(bin).unwrap_or(usize::MAX);
        (bin_of(shortest)..=bin_of(longest))
            .map(|bin| LengthBin {
                at_least: if bin == 0 { 0 } else { power(bin - 1) },
                below: power(bin),
                n_documents: self.lengths.iter().filter(|&&n| bin_of(n) == bin).count(),
            })
            .collect()
    }
}

/// Reads a whole data file and lists what is in it, faults included; lengths are in words.
///
/// # Errors
/// If the file cannot be read at all or holds no records. Broken records are no errors here; they
/// are in the report.
pub fn check_file(
    path: &Path,
    format: FileFormat,
    max_line_bytes: usize,
) -> Result<FileReport, TaskError> {
    let count_words = |text: &str| text.split_whitespace().count();
    check_file_counting(path, format, max_line_bytes, &count_words)
}

/// As [`check_file`], with lengths as `count_tokens` gives them, summed over
/// [`rendered`](crate::Paragraph::rendered) paragraphs.
///
/// # Errors
/// As [`check_file`].
pub fn check_file_counting(
    path: &Path,
    format: FileFormat,
    max_line_bytes: usize,
    count_tokens: &dyn Fn(&str) -> usize,
) -> Result<FileReport, TaskError> {
    let (mut lengths, mut duplicates) = (Vec::new(), Vec::new());
    let mut place_of_content: HashMap<u64, RecordPlace> = HashMap::new();
    let report = read_problems(path, format, max_line_bytes, |place, problem| {
        let paragraphs = problem.paragraphs.iter();
        lengths.push(paragraphs.map(|p| count_tokens(&p.rendered())).sum());
        let first = *place_of_content
            .entry(content_hash(&problem))
            .or_insert(place);
        if first != place {
            duplicates.push((place, first));
        }
    })?;
    lengths.sort_unstable();
    Ok(FileReport {
        lengths,
        duplicates,
        ..report
    })
}

/// Reads all problems of a file; fails if any record is broken.
pub(crate) fn load_problems(
    path: &Path,
    format: FileFormat,
    max_line_bytes: usize,
    mut on_problem: impl FnMut(Problem),
) -> Result<(), TaskError> {
    let on_problem = |_, problem| on_problem(problem);
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
    mut on_problem: impl FnMut(RecordPlace, Problem),
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
        n_bad_records: 0,
        lengths: Vec::new(),
        duplicates: Vec::new(),
    };
    let mut place_of_id: HashMap<String, RecordPlace> = HashMap::new();
    report.n_blank_lines = for_each_record(path, max_line_bytes, |place, object| {
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
                |problem| match place_of_id.insert(problem.id.clone(), place) {
                    None => Ok(problem),
                    Some(earlier) => Err(vec![repeated(format, &problem, earlier)]),
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
                on_problem(place, problem);
            }
            Err(faults) => {
                report.n_bad_records += 1;
                report
                    .bad_records
                    .extend(faults.into_iter().map(|fault| BadRecord {
                        path: path.to_owned(),
                        place,
                        field: fault.field,
                        reason: fault.reason,
                    }));
            }
        }
        ControlFlow::Continue(())
    })?;
    if report.n_problems == 0 && report.bad_records.is_empty() {
        return Err(TaskError::EmptyFile {
            path: path.to_owned(),
        });
    }
    Ok(report)
}

/// What is wrong with a problem whose id an earlier one has.
fn repeated(format: FileFormat, problem: &Problem, earlier: RecordPlace) -> Fault {
    if problem.id == id_of_content(problem) {
        return Fault {
            field: None,
            reason: format!("this asks what {earlier} asks of the same document; remove one"),
        };
    }
    Fault {
        field: Some(format.fields()[0].to_owned()),
        reason: format!(
            "is {:?}, which {earlier} has too; give each record its own",
            problem.id
        ),
    }
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
