//! `metrics.jsonl`: one JSON object per line, in the order in which things happened.
//!
//! Every line is written at once and handed to the system before [`MetricsWriter::append`] returns,
//! so a run that is killed loses at most the line it was writing. Numbers are finite and nothing is
//! null: a value that was not measured is left out.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::error::RunError;
use crate::finite::first_gap;
use crate::run_dir::RunDir;

/// Appends to a run's `metrics.jsonl`.
#[derive(Debug)]
pub struct MetricsWriter {
    path: PathBuf,
    file: File,
}

impl MetricsWriter {
    /// Writes one line.
    ///
    /// # Errors
    ///
    /// A number that is not finite or a null, with its key; a record that is not a JSON object; a
    /// file that cannot be written. Only in the last case may part of a line have been written.
    pub fn append(&mut self, record: &impl Serialize) -> Result<(), RunError> {
        let line = json_line(record, &self.path)?;
        self.file
            .write_all(&line)
            .and_then(|()| self.file.flush())
            .map_err(RunError::unwritable(&self.path))
    }
}

impl RunDir {
    /// Opens `metrics.jsonl` for appending; makes it if there is none.
    ///
    /// # Errors
    ///
    /// A file whose last line is torn, since the next one would be glued to it, or one that cannot
    /// be opened.
    pub fn metrics_writer(&self) -> Result<MetricsWriter, RunError> {
        let path = self.metrics_path();
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(RunError::unwritable(&path))?;
        if !ends_whole(&mut file).map_err(RunError::unreadable(&path))? {
            // Reading says which line it is.
            self.read_metrics()?;
        }
        Ok(MetricsWriter { path, file })
    }

    /// All lines of `metrics.jsonl`, in their order.
    ///
    /// # Errors
    ///
    /// A file that cannot be read; with its number, a line that is not JSON, or that has no end.
    pub fn read_metrics(&self) -> Result<Vec<Value>, RunError> {
        let path = self.metrics_path();
        let bytes = std::fs::read(&path).map_err(RunError::unreadable(&path))?;
        parse_lines(&bytes, &path)
    }
}

/// Whether a file is empty or ends with a line's end.
fn ends_whole(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// A record as one line of JSON; `path` is where it will go.
pub(crate) fn json_line(record: &impl Serialize, path: &Path) -> Result<Vec<u8>, RunError> {
    let path = || path.to_path_buf();
    if let Some(gap) = first_gap(record) {
        let (key, path) = (gap.key, path());
        return Err(match gap.value {
            Some(value) => RunError::NotFinite { key, value, path },
            None => RunError::NoValue { key, path },
        });
    }
    let mut line = serde_json::to_vec(record).map_err(|source| RunError::NotJson {
        path: path(),
        source,
    })?;
    if !line.starts_with(b"{") {
        return Err(RunError::NotAnObject {
            path: path(),
            record: String::from_utf8_lossy(&line).into_owned(),
        });
    }
    line.push(b'\n');
    Ok(line)
}

/// The records of a file of JSON lines, every one of which has its end.
pub(crate) fn parse_lines<T: serde::de::DeserializeOwned>(
    bytes: &[u8],
    path: &Path,
) -> Result<Vec<T>, RunError> {
    let mut records = Vec::new();
    for (idx, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let (path, line_number) = (|| path.to_path_buf(), idx + 1);
        let line = line.strip_suffix(b"\n").ok_or_else(|| RunError::TornLine {
            path: path(),
            line: line_number,
        })?;
        records.push(
            serde_json::from_slice(line).map_err(|source| RunError::BadLine {
                path: path(),
                line: line_number,
                source,
            })?,
        );
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn run() -> (tempfile::TempDir, RunDir) {
        let root = tempfile::tempdir().expect("a folder");
        let run = RunDir::create(root.path()).expect("made");
        (root, run)
    }

    fn with_text(text: &[u8]) -> (tempfile::TempDir, RunDir) {
        let (root, run) = run();
        fs::write(run.metrics_path(), text).expect("written");
        (root, run)
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
        let mut writer = run.metrics_writer().expect("opened");
        assert_eq!(run.read_metrics().expect("readable"), Vec::<Value>::new());
        writer
            .append(&Line {
                step: 1,
                reward: 0.1,
                kl: None,
            })
            .expect("appended");
        let first = json!({"step": 1, "reward": 0.1});
        assert_eq!(
            run.read_metrics().expect("readable"),
            std::slice::from_ref(&first)
        );
        drop(writer);
        let mut writer = run.metrics_writer().expect("opened again");
        writer
            .append(&Line {
                step: 2,
                reward: -0.0,
                kl: Some(0.5),
            })
            .expect("appended");
        let second = json!({"step": 2, "reward": -0.0, "kl": 0.5});
        assert_eq!(run.read_metrics().expect("readable"), [first, second]);
    }

    #[test]
    fn a_number_that_is_not_finite_is_refused_with_its_key_and_nothing_is_written() {
        let (_root, run) = run();
        let mut writer = run.metrics_writer().expect("opened");
        let line = Line {
            step: 3,
            reward: 0.5,
            kl: Some(f32::NAN),
        };
        let message = writer.append(&line).expect_err("refused").to_string();
        assert!(message.starts_with("`kl` is NaN, and "), "{message}");
        assert!(message.contains("metrics.jsonl"), "{message}");
        let message = writer
            .append(&json!({"a": {"b": f64::NAN}}))
            .expect_err("null")
            .to_string();
        assert!(message.starts_with("`a.b` has no value"), "{message}");
        assert_eq!(fs::read(run.metrics_path()).expect("readable"), b"");
    }

    #[test]
    fn only_objects_are_records() {
        let (_root, run) = run();
        let mut writer = run.metrics_writer().expect("opened");
        let message = writer.append(&[1, 2]).expect_err("a list").to_string();
        assert!(message.contains("`[1,2]` is none"), "{message}");
        let odd_keys = BTreeMap::from([((1, 2), 3)]);
        let error = writer.append(&odd_keys).expect_err("no JSON key");
        assert!(matches!(error, RunError::NotJson { .. }), "{error}");
    }

    #[test]
    fn a_torn_last_line_is_called_torn_even_if_it_would_parse() {
        for torn in ["{\"step\":", "{\"step\":2}"] {
            let (_root, run) = with_text(format!("{{\"step\":1}}\n{torn}").as_bytes());
            let message = run.read_metrics().expect_err("torn").to_string();
            assert!(
                message.contains("metrics.jsonl, line 2 is torn"),
                "{message}"
            );
            let error = run
                .metrics_writer()
                .expect_err("the next line would be glued to it");
            assert!(
                matches!(error, RunError::TornLine { line: 2, .. }),
                "{error}"
            );
        }
    }

    #[test]
    fn a_broken_line_is_named() {
        for broken in [&b"{\"step\":}"[..], b"", b"{\"a\":\"\xff\"}", b"{} {}"] {
            let (_root, run) = with_text(&[b"{\"step\":1}\n", broken, b"\n{}\n"].concat());
            let message = run.read_metrics().expect_err("broken").to_string();
            assert!(message.contains("metrics.jsonl, line 2: "), "{message}");
        }
    }

    #[test]
    fn files_that_cannot_be_opened_are_named() {
        let (_root, run) = run();
        let error = run.read_metrics().expect_err("no file yet");
        assert!(matches!(error, RunError::Unreadable { .. }), "{error}");
        fs::create_dir(run.metrics_path()).expect("a folder in the way");
        let error = run.metrics_writer().expect_err("a folder");
        assert!(matches!(error, RunError::Unwritable { .. }), "{error}");
    }

    proptest! {
        #[test]
        fn every_finite_number_comes_back_bit_for_bit(bits in any::<u64>(), small in any::<u32>()) {
            let numbers = (f64::from_bits(bits), f32::from_bits(small));
            prop_assume!(numbers.0.is_finite() && numbers.1.is_finite());
            let path = Path::new("metrics.jsonl");
            let line = json_line(&BTreeMap::from([("a", numbers.0)]), path).expect("finite");
            let back: Vec<BTreeMap<String, f64>> = parse_lines(&line, path).expect("parsed");
            prop_assert_eq!(back[0]["a"].to_bits(), numbers.0.to_bits());
            let line = json_line(&BTreeMap::from([("a", numbers.1)]), path).expect("finite");
            let back: Vec<BTreeMap<String, f32>> = parse_lines(&line, path).expect("parsed");
            prop_assert_eq!(back[0]["a"].to_bits(), numbers.1.to_bits());
        }
    }
}
