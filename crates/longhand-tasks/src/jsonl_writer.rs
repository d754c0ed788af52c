//! Writes problems in our own data format, whole or not at all.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use crate::{Problem, TaskError};

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
    let mut record = json!({
        "id": problem.id,
        "question": problem.question,
        "answers": problem.answers,
        "n_facts": problem.n_facts,
        "paragraphs": paragraphs,
    });
    if let Some(solution) = &problem.solution {
        record["solution"] = json!(solution);
    }
    if !problem.classes.is_empty() {
        record["classes"] = json!(problem.classes);
    }
    record
}
