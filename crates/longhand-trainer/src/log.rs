//! The lines of a run: metrics and timings, and the event file that TensorBoard sees of them.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
};

use longhand_run::{Lines, RunDir, RunError};
use longhand_tensorboard::{EventWriter, event_file_name, scalars_of};
use serde::Serialize;
use serde_json::Value;

use crate::{error::TrainError, timing::Timing};

/// Writes the lines of a run.
pub(crate) struct Log {
    lines: Lines,
    events: Events,
    /// Metrics that a resume went back behind; the same are expected again.
    expected: VecDeque<Value>,
}

impl Log {
    /// A log that goes on behind what the run's files hold. The event file is a view of them, and is
    /// written anew.
    pub(crate) fn new(
        run: &RunDir,
        config: &str,
        lines: Lines,
        expected: Vec<Value>,
    ) -> Result<Self, TrainError> {
        let events = Events::of_run(run, config)?;
        Ok(Self {
            lines,
            events,
            expected: expected.into(),
        })
    }

    /// The files, for a checkpoint to say how far they were.
    pub(crate) fn lines(&self) -> &Lines {
        &self.lines
    }

    /// Appends one record and its timing. Returns the record, and whether it differs from the one that
    /// stood in its place before a resume.
    pub(crate) fn append(
        &mut self,
        record: &impl Serialize,
        timing: &Timing,
    ) -> Result<(Value, Differs), TrainError> {
        self.lines.timings(timing)?;
        self.lines.metrics(record)?;
        let record = to_value(record);
        self.events.append(&record, timing.unix_seconds)?;
        self.events.append(&to_value(timing), timing.unix_seconds)?;
        let differs = match self.expected.pop_front() {
            Some(expected) if expected != record => Differs::Yes,
            _ => Differs::No,
        };
        Ok((record, differs))
    }
}

/// Whether a line that was made again is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Differs {
    Yes,
    No,
}

fn to_value(record: &impl Serialize) -> Value {
    serde_json::to_value(record).expect("what has been written as JSON can be written as JSON")
}

struct Events {
    path: PathBuf,
    writer: EventWriter,
}

impl Events {
    fn of_run(run: &RunDir, config: &str) -> Result<Self, TrainError> {
        let folder = run.path().join("tensorboard");
        remove_event_files(&folder).map_err(unwritable(&folder))?;
        let timings = run.read_timings()?;
        let seconds = |timing: &Value| timing["unix_seconds"].as_f64();
        let now = Timing::now("rl", 0, 0.0).unix_seconds;
        let start = timings.first().and_then(seconds).unwrap_or(now);
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = if host.trim().is_empty() {
            "host"
        } else {
            host.trim()
        };
        let name = event_file_name(now as u64, host, std::process::id());
        let path = folder.join(name);
        let writer = EventWriter::create(&path, start).map_err(unwritable(&path))?;
        let mut events = Self { path, writer };
        let text = format!("```toml\n{config}\n```");
        let written = events.writer.text(start, "config", &text);
        written.map_err(unwritable(&events.path))?;
        // Each record has its timing.
        for (record, timing) in run.read_metrics()?.iter().zip(&timings) {
            let at = seconds(timing).unwrap_or(start);
            events.append(record, at)?;
            events.append(timing, at)?;
        }
        Ok(events)
    }

    fn append(&mut self, record: &Value, unix_seconds: f64) -> Result<(), TrainError> {
        let step = record["step"].as_i64().unwrap_or(0);
        let written = self.writer.scalars(unix_seconds, step, &scalars_of(record));
        Ok(written.map_err(unwritable(&self.path))?)
    }
}

fn unwritable(path: &Path) -> impl FnOnce(io::Error) -> RunError {
    let path = path.to_path_buf();
    move |source| RunError::Unwritable { path, source }
}

/// Removes the event files of earlier processes: their lines are all in the new one.
fn remove_event_files(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_ours = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("events.out.tfevents."));
        if is_ours {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
