//! Our own data format: one problem per line, with as much ground truth as there is.
//!
//! | field | |
//! |---|---|
//! | `id` | a text or a whole number, different in each record |
//! | `question` | a text |
//! | `answer` or `answers` | a text, or a list of accepted texts |
//! | `document` | one text; its paragraphs are divided by blank lines |
//! | `paragraphs` | instead of `document`: a list of texts, or of `{title, text, relevant, note}` objects (all but `text` optional) |
//! | `relevant` | optional, beside `paragraphs`: the numbers, from 0, of those the answer depends on |
//! | `n_facts` | optional: how many facts the answer needs; else the number of relevant paragraphs |
//!
//! Documents are taken as they are: they are neither cut nor filled up to a length.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    Paragraph, Problem, Source, Split, TaskError,
    data_file::{
        DEFAULT_MAX_LINE_BYTES, FileFormat, MEND_EMPTY_SPLIT, checked_test_fraction, is_held_out,
        load_problems,
    },
    fields::{Fault, Fields, kind_of},
};

/// Options of the task `jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jsonl {
    /// The file.
    pub path: PathBuf,
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
        load_problems(path, FileFormat::Jsonl, options.max_line_bytes, |problem| {
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

/// The fields that are read; the first is the id.
pub(crate) const FIELDS: [&str; 8] = [
    "id",
    "question",
    "answer",
    "answers",
    "document",
    "paragraphs",
    "relevant",
    "n_facts",
];

/// One record.
pub(crate) fn parse(object: &Map<String, Value>) -> Result<Problem, Vec<Fault>> {
    let mut fields = Fields::new(object);
    let id = id(&mut fields);
    let question = fields.text("question");
    let answers = answers(&mut fields);
    let paragraphs = document(&mut fields);
    let stated_facts = fields
        .optional("n_facts")
        .map(|value| fields.as_count("n_facts", value));

    let faults = fields.into_faults();
    let (Some(id), Some(question), Some(answers), Some(paragraphs)) =
        (id, question, answers, paragraphs)
    else {
        return Err(faults);
    };
    // A record can have all it needs and still be broken.
    if !faults.is_empty() {
        return Err(faults);
    }
    let n_relevant = paragraphs
        .iter()
        .filter(|paragraph| paragraph.relevant)
        .count();
    Ok(Problem {
        id,
        question: question.to_owned(),
        answers,
        n_facts: stated_facts.flatten().unwrap_or(n_relevant),
        paragraphs,
    })
}

fn id(fields: &mut Fields) -> Option<String> {
    match fields.required("id")? {
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        Value::String(id) if !id.trim().is_empty() => Some(id.clone()),
        Value::String(_) => {
            fields.fault("id", "is empty; give each record its own");
            None
        }
        other => {
            let reason = format!("is {}; give a text or a whole number", kind_of(other));
            fields.fault("id", reason);
            None
        }
    }
}

fn answers(fields: &mut Fields) -> Option<Vec<String>> {
    match (fields.optional("answer"), fields.optional("answers")) {
        (Some(_), Some(_)) => {
            fields.fault(
                "answers",
                "stands beside `answer`; give only one of the two",
            );
            None
        }
        (None, None) => {
            fields.fault("answer", "is missing; add it, or a list `answers`");
            None
        }
        (Some(answer), None) => Some(vec![fields.as_text("answer", answer)?.to_owned()]),
        (None, Some(answers)) => fields
            .as_list("answers", answers, "texts")?
            .iter()
            .enumerate()
            .map(|(idx, answer)| {
                fields
                    .as_text(&format!("answers[{idx}]"), answer)
                    .map(str::to_owned)
            })
            .collect::<Vec<_>>()
            .into_iter()
            .collect(),
    }
}

fn document(fields: &mut Fields) -> Option<Vec<Paragraph>> {
    match (fields.optional("document"), fields.optional("paragraphs")) {
        (Some(_), Some(_)) => {
            fields.fault(
                "paragraphs",
                "stands beside `document`; give only one of the two",
            );
            None
        }
        (None, None) => {
            fields.fault("document", "is missing; add it, or a list `paragraphs`");
            None
        }
        (Some(document), None) => {
            if fields.optional("relevant").is_some() {
                let reason = "needs `paragraphs` to point into; give these instead of `document`";
                fields.fault("relevant", reason);
            }
            Some(divided(fields.as_text("document", document)?))
        }
        (None, Some(paragraphs)) => {
            let list = fields.as_list("paragraphs", paragraphs, "paragraphs")?;
            let paragraphs: Vec<Option<Paragraph>> = list
                .iter()
                .enumerate()
                .map(|(idx, value)| paragraph(fields, &format!("paragraphs[{idx}]"), value))
                .collect();
            let mut paragraphs: Vec<Paragraph> = paragraphs.into_iter().collect::<Option<_>>()?;
            if fields.optional("relevant").is_some() {
                mark_relevant(fields, list, &mut paragraphs)?;
            }
            Some(paragraphs)
        }
    }
}

/// The paragraphs of one text: runs of lines between blank lines.
fn divided(document: &str) -> Vec<Paragraph> {
    let mut paragraphs: Vec<Paragraph> = Vec::new();
    let mut goes_on = false;
    for line in document.lines() {
        let is_blank = line.trim().is_empty();
        match paragraphs.last_mut() {
            _ if is_blank => {}
            Some(last) if goes_on => {
                last.text.push('\n');
                last.text.push_str(line);
            }
            _ => paragraphs.push(Paragraph {
                text: line.to_owned(),
                ..Paragraph::default()
            }),
        }
        goes_on = !is_blank;
    }
    paragraphs
}

fn paragraph<'a>(fields: &mut Fields<'a>, field: &str, value: &'a Value) -> Option<Paragraph> {
    match value {
        Value::String(_) => Some(Paragraph {
            text: fields.as_text(field, value)?.to_owned(),
            ..Paragraph::default()
        }),
        Value::Object(object) => {
            let part = |name: &str| object.get(name).filter(|value| !value.is_null());
            for name in object.keys() {
                if !["title", "text", "relevant", "note"].contains(&name.as_str()) {
                    let reason = "is unknown; a paragraph has `title`, `text`, `relevant`, `note`";
                    fields.fault(format!("{field}.{name}"), reason);
                }
            }
            let text = match part("text") {
                Some(text) => fields.as_text(&format!("{field}.text"), text),
                None => {
                    fields.fault(format!("{field}.text"), "is missing; add it");
                    None
                }
            };
            let title =
                part("title").map(|title| fields.as_any_text(&format!("{field}.title"), title));
            let note = part("note").map(|note| fields.as_any_text(&format!("{field}.note"), note));
            let relevant =
                part("relevant").map(|flag| fields.as_bool(&format!("{field}.relevant"), flag));
            // The inner `None` means a fault, the outer one that the part is absent.
            Some(Paragraph {
                title: title.unwrap_or(Some(""))?.to_owned(),
                text: text?.to_owned(),
                relevant: relevant.unwrap_or(Some(false))?,
                note: match note {
                    Some(note) => Some(note?.to_owned()),
                    None => None,
                },
            })
        }
        other => {
            let reason = format!(
                "is {}; give a text, or an object with `text`",
                kind_of(other)
            );
            fields.fault(field, reason);
            None
        }
    }
}

/// Sets the flags that the record's own list `relevant` names.
fn mark_relevant(fields: &mut Fields, list: &[Value], paragraphs: &mut [Paragraph]) -> Option<()> {
    if list
        .iter()
        .any(|value| value.get("relevant").is_some_and(|flag| !flag.is_null()))
    {
        let reason = "stands beside flags in `paragraphs`; give only one of the two";
        fields.fault("relevant", reason);
        return None;
    }
    let value = fields.optional("relevant")?;
    let Some(numbers) = value.as_array() else {
        let reason = format!(
            "is {}; give a list of paragraph numbers from 0",
            kind_of(value)
        );
        fields.fault("relevant", reason);
        return None;
    };
    for (idx, number) in numbers.iter().enumerate() {
        let field = format!("relevant[{idx}]");
        let paragraph_idx = fields.as_count(&field, number)?;
        let n_paragraphs = paragraphs.len();
        match paragraphs.get_mut(paragraph_idx) {
            Some(paragraph) => paragraph.relevant = true,
            None => {
                let reason = format!(
                    "is {paragraph_idx}, but the last of the {n_paragraphs} paragraphs is number {}",
                    n_paragraphs - 1
                );
                fields.fault(field, reason);
                return None;
            }
        }
    }
    Some(())
}

/// Writes problems in our own format and returns how many.
///
/// The file appears under its name only when it is complete: it is written beside it first.
///
/// # Errors
/// The first error of `problems`, or that the file cannot be written.
pub fn write_jsonl(
    path: &Path,
    problems: impl IntoIterator<Item = Result<Problem, TaskError>>,
) -> Result<usize, TaskError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let written = write_all(&partial, problems).and_then(|n_problems| {
        fs::rename(&partial, path).map_err(|source| unwritable(path, source))?;
        Ok(n_problems)
    });
    if written.is_err() {
        // What went wrong is already on its way to the caller; a leftover is the lesser trouble.
        let _ = fs::remove_file(&partial);
    }
    written
}

fn write_all(
    path: &Path,
    problems: impl IntoIterator<Item = Result<Problem, TaskError>>,
) -> Result<usize, TaskError> {
    let failed = |source| unwritable(path, source);
    let mut file = BufWriter::new(File::create(path).map_err(failed)?);
    let mut n_problems = 0;
    for problem in problems {
        writeln!(file, "{}", record(&problem?)).map_err(failed)?;
        n_problems += 1;
    }
    let file = file
        .into_inner()
        .map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    Ok(n_problems)
}

fn unwritable(path: &Path, source: io::Error) -> TaskError {
    TaskError::Unwritable {
        path: path.to_owned(),
        source,
    }
}

fn record(problem: &Problem) -> Value {
    let paragraphs: Vec<Value> = problem
        .paragraphs
        .iter()
        .map(|paragraph| {
            let mut object = Map::new();
            if !paragraph.title.is_empty() {
                object.insert("title".to_owned(), json!(paragraph.title));
            }
            object.insert("text".to_owned(), json!(paragraph.text));
            object.insert("relevant".to_owned(), json!(paragraph.relevant));
            if let Some(note) = &paragraph.note {
                object.insert("note".to_owned(), json!(note));
            }
            Value::Object(object)
        })
        .collect();
    json!({
        "id": problem.id,
        "question": problem.question,
        "answers": problem.answers,
        "n_facts": problem.n_facts,
        "paragraphs": paragraphs,
    })
}
