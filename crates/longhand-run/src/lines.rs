//! `metrics.jsonl` and `timings.jsonl`: one JSON object per line, in the order in which things
//! happened.
//!
//! `metrics.jsonl` holds what is computed, and is the same byte for byte when a run is repeated or
//! resumed; `timings.jsonl` holds what the clock and the machine say. Every line is handed to the
//! system before the call returns, so a run that is killed loses at most the line it was writing. A
//! checkpoint stores where the metrics ended, and their timings end behind as many lines. A resumed run goes back to these places: what lies
//! behind them it will write again, and that is copied to `superseded/` before it is cut off.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;

use crate::atomic_file::{sync_parent, write_file_atomic};
use crate::error::RunError;
use crate::json_lines::{json_line, parse_lines, parse_lines_so_far, whole_len};
use crate::lock::check_same_file;
use crate::run_dir::RunDir;

/// Appends to a run's `metrics.jsonl` and `timings.jsonl`.
#[derive(Debug)]
pub struct Lines {
    run: RunDir,
    metrics: LineFile,
    timings: LineFile,
}

impl Lines {
    /// Writes one line of `metrics.jsonl`.
    ///
    /// # Errors
    ///
    /// A number that is not finite or a null, with its key; a record that is not a JSON object; a
    /// run's folder, or file, that is gone or cannot be written. The file is then as it was, unless
    /// the system refuses even that.
    pub fn metrics(&mut self, record: &impl Serialize) -> Result<(), RunError> {
        let line = json_line(record, &self.metrics.path)?;
        self.run.check_still_there()?;
        self.metrics.append(&line)
    }

    /// Writes one line of `timings.jsonl`.
    ///
    /// # Errors
    ///
    /// As [`Lines::metrics`].
    pub fn timings(&mut self, record: &impl Serialize) -> Result<(), RunError> {
        let line = json_line(record, &self.timings.path)?;
        self.run.check_still_there()?;
        self.timings.append(&line)
    }

    /// Makes all lines outlive a power cut.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    pub fn sync(&self) -> Result<(), RunError> {
        self.metrics.sync()?;
        self.timings.sync()
    }

    /// `[bytes]` Where `metrics.jsonl` ends.
    pub(crate) fn metrics_end(&self) -> Result<u64, RunError> {
        self.metrics.len()
    }
}

impl RunDir {
    /// Opens `metrics.jsonl` and `timings.jsonl` for appending; makes them if there are none.
    ///
    /// # Errors
    ///
    /// A run that was opened to be read; a file whose last line is torn, since the next one would be
    /// glued to it, or one that cannot be opened.
    pub fn lines(&self) -> Result<Lines, RunError> {
        self.check_still_there()?;
        let mut lines = Lines {
            run: self.clone(),
            metrics: LineFile::open(self.metrics_path())?,
            timings: LineFile::open(self.timings_path())?,
        };
        for file in [&mut lines.metrics, &mut lines.timings] {
            let len = file.len()?;
            if !file.is_line_end(len)? {
                // Reading says which line it is.
                file.read_from(0)
                    .and_then(|bytes| parse_lines::<Value>(&bytes, &file.path))?;
            }
        }
        Ok(lines)
    }

    /// Goes back to a checkpoint's lines: keeps the first `metrics_bytes` of `metrics.jsonl` and
    /// `timings_bytes` of `timings.jsonl`, and moves the rest to `superseded/metrics-N.jsonl` and
    /// `superseded/timings-N.jsonl`. Returns the files, ready for the next lines, and the superseded
    /// lines of `metrics.jsonl` that are whole and parse.
    ///
    /// A kill on the way loses nothing: the next resume moves what is still there.
    ///
    /// # Errors
    ///
    /// A run that was opened to be read; a place behind a file's end or within a line, with nothing
    /// changed in either file; a file that cannot be read or written.
    pub fn resume_lines(
        &self,
        metrics_bytes: u64,
        timings_bytes: u64,
    ) -> Result<(Lines, Vec<Value>), RunError> {
        self.check_still_there()?;
        let mut lines = Lines {
            run: self.clone(),
            metrics: LineFile::open(self.metrics_path())?,
            timings: LineFile::open(self.timings_path())?,
        };
        lines.metrics.check_offset(metrics_bytes)?;
        lines.timings.check_offset(timings_bytes)?;
        let metrics = lines.metrics.read_from(metrics_bytes)?;
        let timings = lines.timings.read_from(timings_bytes)?;
        self.supersede(&metrics, &timings)?;
        lines.metrics.cut(metrics_bytes)?;
        lines.timings.cut(timings_bytes)?;
        let whole = metrics[..whole_len(&metrics)].split(|byte| *byte == b'\n');
        let superseded = whole.filter_map(|line| serde_json::from_slice(line).ok());
        Ok((lines, superseded.collect()))
    }

    /// `[bytes]` Where the timings of the first `metrics_bytes` of metrics end: behind as many lines, or
    /// behind the last line there is.
    pub(crate) fn end_of_timings(&self, metrics_bytes: u64) -> Result<u64, RunError> {
        let bytes = |path: PathBuf| match fs::read(&path) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(RunError::unreadable(&path)(error)),
        };
        let (metrics, timings) = (bytes(self.metrics_path())?, bytes(self.timings_path())?);
        let kept = metrics.len().min(metrics_bytes as usize);
        let n_lines = metrics[..kept]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        let whole = timings[..whole_len(&timings)].split_inclusive(|byte| *byte == b'\n');
        Ok(whole.take(n_lines).map(|line| line.len() as u64).sum())
    }

    /// Stores what is about to be cut off, under the first number that is free in both files' names.
    fn supersede(&self, metrics: &[u8], timings: &[u8]) -> Result<(), RunError> {
        if metrics.is_empty() && timings.is_empty() {
            return Ok(());
        }
        let folder = self.superseded_folder();
        fs::create_dir_all(&folder).map_err(RunError::unwritable(&folder))?;
        sync_parent(&folder).map_err(RunError::unwritable(&folder))?;
        let paths = |number: u64| {
            ["metrics", "timings"].map(|kind| folder.join(format!("{kind}-{number}.jsonl")))
        };
        let mut number = 1;
        while paths(number).iter().any(|path| path.exists()) {
            number += 1;
        }
        for (path, bytes) in paths(number).iter().zip([metrics, timings]) {
            if !bytes.is_empty() {
                write_file_atomic(path, bytes)?;
            }
        }
        Ok(())
    }

    /// All lines of `metrics.jsonl`, in their order.
    ///
    /// # Errors
    ///
    /// A file that cannot be read; with its number, a line that is not JSON, or that has no end.
    pub fn read_metrics(&self) -> Result<Vec<Value>, RunError> {
        let path = self.metrics_path();
        let bytes = fs::read(&path).map_err(RunError::unreadable(&path))?;
        parse_lines(&bytes, &path)
    }

    /// All lines of `timings.jsonl`, in their order.
    ///
    /// # Errors
    ///
    /// As [`RunDir::read_metrics`].
    pub fn read_timings(&self) -> Result<Vec<Value>, RunError> {
        let path = self.timings_path();
        let bytes = fs::read(&path).map_err(RunError::unreadable(&path))?;
        parse_lines(&bytes, &path)
    }

    /// The whole lines of `metrics.jsonl` in a run that may be alive or was killed, and whether a
    /// torn one follows them. A file that is not there yet has no lines.
    ///
    /// # Errors
    ///
    /// A file that cannot be read; with its number, a line with an end that is not JSON.
    pub fn read_metrics_so_far(&self) -> Result<(Vec<Value>, bool), RunError> {
        read_so_far(self.metrics_path())
    }

    /// The whole lines of `timings.jsonl`, likewise.
    ///
    /// # Errors
    ///
    /// As [`RunDir::read_metrics_so_far`].
    pub fn read_timings_so_far(&self) -> Result<(Vec<Value>, bool), RunError> {
        read_so_far(self.timings_path())
    }
}

fn read_so_far(path: PathBuf) -> Result<(Vec<Value>, bool), RunError> {
    match fs::read(&path) {
        Ok(bytes) => parse_lines_so_far(&bytes, &path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((Vec::new(), false)),
        Err(error) => Err(RunError::unreadable(&path)(error)),
    }
}

/// One of the two files.
#[derive(Debug)]
struct LineFile {
    path: PathBuf,
    file: File,
}

impl LineFile {
    fn open(path: PathBuf) -> Result<LineFile, RunError> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        let file = options.open(&path).map_err(RunError::unwritable(&path))?;
        sync_parent(&path).map_err(RunError::unwritable(&path))?;
        Ok(LineFile { path, file })
    }

    fn append(&mut self, line: &[u8]) -> Result<(), RunError> {
        check_same_file(&self.file, &self.path)?;
        let len = self.len()?;
        self.file.write_all(line).map_err(|source| {
            // Half a line would tear the file; the first error is the one to tell.
            let _ = self.file.set_len(len);
            RunError::unwritable(&self.path)(source)
        })
    }

    fn sync(&self) -> Result<(), RunError> {
        let synced = self.file.sync_all();
        synced.map_err(RunError::unwritable(&self.path))
    }

    fn len(&self) -> Result<u64, RunError> {
        let metadata = self.file.metadata();
        Ok(metadata.map_err(RunError::unreadable(&self.path))?.len())
    }

    /// Whether a line could begin at `offset`, which is not behind the end.
    fn is_line_end(&mut self, offset: u64) -> Result<bool, RunError> {
        let Some(last) = offset.checked_sub(1) else {
            return Ok(true);
        };
        let mut byte = [0];
        let read = self.file.seek(SeekFrom::Start(last));
        read.and_then(|_| self.file.read_exact(&mut byte))
            .map_err(RunError::unreadable(&self.path))?;
        Ok(byte == *b"\n")
    }

    fn check_offset(&mut self, offset: u64) -> Result<(), RunError> {
        let len = self.len()?;
        let what = if len < offset {
            "it ends before"
        } else if !self.is_line_end(offset)? {
            "no line ends there"
        } else {
            return Ok(());
        };
        Err(RunError::BadOffset {
            path: self.path.clone(),
            offset,
            len,
            what,
        })
    }

    fn read_from(&mut self, offset: u64) -> Result<Vec<u8>, RunError> {
        let mut bytes = Vec::new();
        let read = self.file.seek(SeekFrom::Start(offset));
        read.and_then(|_| self.file.read_to_end(&mut bytes))
            .map_err(RunError::unreadable(&self.path))?;
        Ok(bytes)
    }

    fn cut(&mut self, len: u64) -> Result<(), RunError> {
        let cut = self.file.set_len(len).and_then(|()| self.file.sync_all());
        cut.map_err(RunError::unwritable(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run() -> (tempfile::TempDir, RunDir) {
        let root = tempfile::tempdir().expect("a folder");
        let run = RunDir::create(root.path()).expect("made");
        (root, run)
    }

    fn superseded(run: &RunDir, name: &str) -> String {
        fs::read_to_string(run.superseded_folder().join(name)).expect("readable")
    }

    #[derive(Serialize)]
    struct Line {
        step: u32,
        reward: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        kl: Option<f32>,
    }

    #[test]
    fn lines_are_there_as_soon_as_they_are_appended() {
        let (_root, run) = run();
        let mut lines = run.lines().expect("opened");
        assert_eq!(run.read_metrics().expect("readable"), Vec::<Value>::new());
        assert_eq!(run.read_timings().expect("readable"), Vec::<Value>::new());
        let line = Line {
            step: 1,
            reward: 0.1,
            kl: None,
        };
        lines.metrics(&line).expect("appended");
        let first = json!({"step": 1, "reward": 0.1});
        assert_eq!(
            run.read_metrics().expect("readable"),
            std::slice::from_ref(&first)
        );
        drop(lines);
        let mut lines = run.lines().expect("opened again");
        let line = Line {
            step: 2,
            reward: -0.0,
            kl: Some(0.5),
        };
        lines.metrics(&line).expect("appended");
        lines.timings(&json!({"seconds": 1.5})).expect("appended");
        let second = json!({"step": 2, "reward": -0.0, "kl": 0.5});
        assert_eq!(run.read_metrics().expect("readable"), [first, second]);
        assert_eq!(
            run.read_timings().expect("readable"),
            [json!({"seconds": 1.5})]
        );
    }

    #[test]
    fn what_is_refused_leaves_no_trace() {
        let (_root, run) = run();
        let mut lines = run.lines().expect("opened");
        let line = Line {
            step: 3,
            reward: 0.5,
            kl: Some(f32::NAN),
        };
        let message = lines.metrics(&line).expect_err("refused").to_string();
        assert!(message.starts_with("`kl` is NaN, and "), "{message}");
        assert!(message.contains("metrics.jsonl"), "{message}");
        let message = lines.timings(&line).expect_err("refused").to_string();
        assert!(message.contains("timings.jsonl"), "{message}");
        assert_eq!(fs::read(run.metrics_path()).expect("readable"), b"");
        assert_eq!(fs::read(run.timings_path()).expect("readable"), b"");
    }

    #[test]
    fn nothing_is_glued_to_a_torn_line() {
        let (_root, run) = run();
        for path in [run.metrics_path(), run.timings_path()] {
            fs::write(&path, "{\"step\":1}\n{\"step\":2}").expect("written");
            let error = run.lines().expect_err("torn");
            let RunError::TornLine { path: torn, line } = error else {
                panic!("{error}");
            };
            assert_eq!((torn, line), (path.clone(), 2));
            fs::write(&path, "").expect("written");
        }
        run.lines().expect("mended");
    }

    #[test]
    fn what_is_alive_is_read_so_far() {
        let (_root, run) = run();
        assert_eq!(
            run.read_metrics_so_far().expect("no file yet"),
            (Vec::new(), false)
        );
        assert!(
            run.read_metrics().is_err(),
            "the strict reader wants a file"
        );
        fs::write(run.metrics_path(), "{\"step\":1}\n{\"st").expect("written");
        fs::write(run.timings_path(), "{\"s\":1}\n").expect("written");
        let one = |key: &str| vec![json!({key: 1})];
        assert_eq!(
            run.read_metrics_so_far().expect("readable"),
            (one("step"), true)
        );
        assert_eq!(
            run.read_timings_so_far().expect("readable"),
            (one("s"), false)
        );
        assert!(run.read_metrics().is_err());
    }

    #[test]
    fn files_that_cannot_be_opened_are_named() {
        let (_root, run) = run();
        fs::create_dir(run.timings_path()).expect("a folder in the way");
        let error = run.lines().expect_err("a folder");
        assert!(matches!(error, RunError::Unwritable { .. }), "{error}");
        assert!(error.to_string().contains("timings.jsonl"), "{error}");
        let error = run.read_timings_so_far().expect_err("a folder");
        assert!(matches!(error, RunError::Unreadable { .. }), "{error}");
    }

    #[test]
    fn a_resume_moves_what_it_will_write_again() {
        let (_root, run) = run();
        fs::write(run.metrics_path(), "{\"step\":0}\n{\"step\":1}\n{\"st").expect("written");
        fs::write(run.timings_path(), "{\"s\":0}\n{\"s\":1}\n").expect("written");
        let (mut lines, gone) = run.resume_lines(11, 8).expect("resumed");
        assert_eq!(gone, [json!({"step": 1})]);
        assert_eq!(superseded(&run, "metrics-1.jsonl"), "{\"step\":1}\n{\"st");
        assert_eq!(superseded(&run, "timings-1.jsonl"), "{\"s\":1}\n");
        lines.metrics(&json!({"step": 9})).expect("appended");
        let steps = [json!({"step": 0}), json!({"step": 9})];
        assert_eq!(run.read_metrics().expect("whole again"), steps);
        assert_eq!(run.read_timings().expect("whole"), [json!({"s": 0})]);

        // Nothing lies behind the timings now; the number goes with the run's resumes all the same.
        let (_lines, gone) = run.resume_lines(0, 8).expect("resumed");
        assert_eq!(gone, steps);
        assert!(run.superseded_folder().join("metrics-2.jsonl").is_file());
        assert!(!run.superseded_folder().join("timings-2.jsonl").exists());
        let (_lines, gone) = run.resume_lines(0, 0).expect("resumed");
        assert_eq!(gone, Vec::<Value>::new());
        assert_eq!(superseded(&run, "timings-3.jsonl"), "{\"s\":0}\n");
    }

    #[test]
    fn a_resume_with_nothing_to_move_makes_no_folder() {
        let (_root, run) = run();
        fs::write(run.metrics_path(), "{}\n").expect("written");
        run.resume_lines(3, 0).expect("resumed");
        assert!(!run.superseded_folder().exists());
    }

    #[test]
    fn places_where_no_line_ends_change_nothing() {
        let (_root, run) = run();
        let texts = ["{\"step\":0}\n{\"step\":1}\n", "{\"s\":0}\n"];
        fs::write(run.metrics_path(), texts[0]).expect("written");
        fs::write(run.timings_path(), texts[1]).expect("written");
        for (metrics, timings, message) in [
            (
                10,
                8,
                "metrics.jsonl has 22 bytes and cannot be continued at byte 10: no line",
            ),
            (
                23,
                8,
                "metrics.jsonl has 22 bytes and cannot be continued at byte 23: it ends",
            ),
            (
                11,
                7,
                "timings.jsonl has 8 bytes and cannot be continued at byte 7: no line",
            ),
            (11, u64::MAX, "timings.jsonl has 8 bytes"),
        ] {
            let error = run.resume_lines(metrics, timings).expect_err("refused");
            assert!(error.to_string().contains(message), "{error}");
            let now = [run.metrics_path(), run.timings_path()]
                .map(|path| fs::read_to_string(path).expect("readable"));
            assert_eq!(now, texts);
        }
        assert!(!run.superseded_folder().exists());
    }
}
