//! Shows the steps, attempts and turns of a run in a terminal.
//!
//! ```text
//! a run's folder + Query → steps, attempts or turns → plain text or JSON lines
//! ```
//!
//! 1. [`Query`] says what is asked for; without any wish it is the table of steps.
//! 2. [`inspect`] writes it once, from the top down, so that it can be piped.
//! 3. [`Seen`] tells what was not shown: what a limit left out, and files that are damaged.
//!
//! Text that a model wrote may hold anything; control characters are shown as escapes, so that it
//! cannot steer the terminal.
//!
//! Knows nothing of models and tokenizers: the text of single tokens is not stored, and not shown.

mod attempts;
mod error;
mod measures;
mod paint;
mod query;
mod steps;
mod table;
mod turns;

use std::io::Write;
use std::path::PathBuf;

use longhand_run::{RunDir, RunError, Transcript, TranscriptFile};

pub use crate::error::InspectError;
pub use crate::paint::{Style, terminal_width};
pub use crate::query::Query;

/// What came of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Steps or attempts that were written.
    pub shown: usize,
    /// Steps or attempts that were asked for and left out by the limit.
    pub left_out: usize,
    /// Files that were skipped because they cannot be read.
    pub damaged: Vec<Damaged>,
    /// Whether the last line of `metrics.jsonl` is torn, and was left out.
    pub torn: bool,
}

/// A file that was skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// The file.
    pub path: PathBuf,
    /// Why; names the file.
    pub reason: String,
}

impl Damaged {
    fn new(file: &TranscriptFile, error: &RunError) -> Self {
        Self {
            path: file.path.clone(),
            reason: error.to_string(),
        }
    }
}

/// Writes what the query asks for.
///
/// # Errors
///
/// What the query names and the run has not, with what it has; files that cannot be read at all; an
/// `out` that cannot be written to. A transcript file that is damaged is no error but is in [`Seen`].
pub fn inspect(
    run: &RunDir,
    query: &Query,
    style: &Style,
    out: &mut impl Write,
) -> Result<Seen, InspectError> {
    if !query.selects_attempts() {
        return steps::write(run, query, style, out);
    }
    let files = transcript_files(run, query)?;
    if let (Some(step), Some(problem)) = (query.step, &query.problem) {
        let mut seen = Seen::default();
        let attempts = read(run, &files, &mut seen);
        if seen.damaged.is_empty() {
            check_names(query, &attempts, step, problem)?;
        }
        let selected: Vec<&Transcript> = attempts.iter().filter(|a| query.selects(a)).collect();
        if query.json {
            write_json(&selected, query, out, &mut seen)?;
        } else {
            turns::write(&selected, query, style, out)?;
            seen.shown = selected.len();
        }
        return Ok(seen);
    }
    attempts::write(run, &files, query, style, out)
}

/// The files that the query's stage and step leave.
fn transcript_files(run: &RunDir, query: &Query) -> Result<Vec<TranscriptFile>, InspectError> {
    let all = run.transcript_files()?;
    if all.is_empty() {
        return Err(InspectError::NoTranscripts);
    }
    let of_stage: Vec<TranscriptFile> = all
        .iter()
        .filter(|file| {
            query
                .stage
                .as_ref()
                .is_none_or(|stage| *stage == file.stage)
        })
        .cloned()
        .collect();
    if of_stage.is_empty() {
        return Err(InspectError::NoStage {
            stage: query.stage.clone().unwrap_or_default(),
            there: error::names(all.into_iter().map(|file| file.stage)),
        });
    }
    let there = error::ranges(of_stage.iter().map(|file| file.step));
    let files: Vec<TranscriptFile> = of_stage
        .into_iter()
        .filter(|file| query.step.is_none_or(|step| step == file.step))
        .collect();
    match (query.step, files.is_empty()) {
        (Some(step), true) => Err(InspectError::NoStep { step, there }),
        _ => Ok(files),
    }
}

/// All attempts of some files; what cannot be read goes to `seen`.
fn read(run: &RunDir, files: &[TranscriptFile], seen: &mut Seen) -> Vec<Transcript> {
    let mut attempts = Vec::new();
    for file in files {
        match run.read_transcripts(&file.stage, file.step) {
            Ok(transcripts) => attempts.extend(transcripts),
            Err(error) => seen.damaged.push(Damaged::new(file, &error)),
        }
    }
    attempts
}

/// Whether the problem and the attempt that the query names are there.
fn check_names(
    query: &Query,
    attempts: &[Transcript],
    step: u64,
    problem: &str,
) -> Result<(), InspectError> {
    let group: Vec<&Transcript> = attempts
        .iter()
        .filter(|attempt| query::is_problem(attempt, problem))
        .collect();
    if group.is_empty() {
        return Err(InspectError::NoProblem {
            problem: problem.to_owned(),
            step,
            there: error::ranges(attempts.iter().map(|attempt| attempt.problem_idx)),
        });
    }
    match query.attempt {
        Some(attempt) if group.iter().all(|one| one.attempt != attempt) => {
            Err(InspectError::NoAttempt {
                attempt,
                problem: problem.to_owned(),
                step,
                there: error::ranges(group.iter().map(|one| u64::from(one.attempt))),
            })
        }
        _ => Ok(()),
    }
}

/// Writes attempts as JSON lines, as they are stored.
fn write_json(
    attempts: &[&Transcript],
    query: &Query,
    out: &mut impl Write,
    seen: &mut Seen,
) -> Result<(), InspectError> {
    for attempt in attempts {
        if query
            .limit
            .is_none_or(|limit| limit == 0 || seen.shown < limit)
        {
            serde_json::to_writer(&mut *out, attempt).map_err(std::io::Error::from)?;
            writeln!(out)?;
            seen.shown += 1;
        } else {
            seen.left_out += 1;
        }
    }
    Ok(())
}
