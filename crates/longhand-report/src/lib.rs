//! Writes one self-contained HTML page about a run.
//!
//! ```text
//! RUN, perhaps RUN2 → lines of metrics and timings, transcripts, config → sections → one file
//! ```
//!
//! 1. [`write_report`] reads what the runs left, asks each section for its markup and writes the page.
//! 2. Sections say what was measured; charts are drawn here, as inline SVG.
//! 3. Everything that came from a run is text: markup is built from this crate's source only.
//!
//! The page fetches nothing, reads without scripts, and is the same for the same files. Keys that a
//! run does not have leave their section out, so runs of older formats have reports too.
//!
//! Knows nothing of models, tasks or training.

mod chart;
mod columns;
mod escape;
mod html;
mod load;
mod numbers;
mod page;
mod sections;
mod stack;
mod thin;
mod ticks;

use std::path::{Path, PathBuf};

use longhand_run::{RunDir, RunError, write_file_atomic};

use crate::load::Loaded;
use crate::sections::{
    Pair, attempts, collapse, curves, findings, lengths, rewards, settings, summary, times,
};

/// Why a page cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A run's files cannot be read.
    #[error("no report: {0}")]
    Unreadable(#[source] RunError),
    /// The page cannot be stored.
    #[error("no report: {0}")]
    Unwritable(#[source] RunError),
}

/// Writes the page about a run, beside another if there is one, to `out`, which appears whole or not
/// at all; a page that was there is replaced.
///
/// # Errors
///
/// [`ReportError`]. Transcripts that cannot be read are no error: the page says so.
pub fn write_report(run: &RunDir, against: Option<&RunDir>, out: &Path) -> Result<(), ReportError> {
    let page = report(run, against)?;
    write_file_atomic(out, page.as_bytes()).map_err(ReportError::Unwritable)
}

/// The page as text.
fn report(run: &RunDir, against: Option<&RunDir>) -> Result<String, ReportError> {
    let mut loaded = Loaded::open(run).map_err(ReportError::Unreadable)?;
    let other = against.map(Loaded::open).transpose();
    let mut other = other.map_err(ReportError::Unreadable)?;
    if let (Some(other), Some(dir)) = (&mut other, against)
        && other.label == loaded.label
    {
        (loaded.label, other.label) = (longer_label(run), longer_label(dir));
    }
    let pair = Pair {
        run: &loaded,
        against: other.as_ref(),
    };
    let sections = [
        ("numbers", "Numbers", summary::numbers(pair)),
        ("findings", "Findings", findings::section(pair)),
        ("lengths", "Held-out accuracy", lengths::section(pair)),
        ("curves", "Curves", curves::section(pair)),
        ("collapse", "Votes and entropy", collapse::section(pair)),
        ("rewards", "Rewards", rewards::section(pair)),
        ("times", "Time and memory", times::section(pair)),
        ("attempts", "Attempts", attempts::section(run, pair)),
        ("config", "Configuration", settings::section(pair)),
    ];
    let title = match &other {
        Some(other) => format!("{} against {}: Longhand report", loaded.label, other.label),
        None => format!("{}: Longhand report", loaded.label),
    };
    Ok(page::page(&title, &sections, &summary::heading(pair)))
}

/// The names of the folder and of the one it is in, for two runs of one name.
fn longer_label(run: &RunDir) -> String {
    let whole = run.path().canonicalize();
    let path = whole.as_deref().unwrap_or(run.path());
    let mut names: Vec<_> = path.components().rev().take(2).collect();
    names.reverse();
    names.into_iter().collect::<PathBuf>().display().to_string()
}
