//! `failures/STAGE-000012.json`: what a step was that stopped the run, kept so that it can be run again.

use std::fs;
use std::path::PathBuf;

use serde::Serialize;

use crate::atomic_file::{sync_parent, write_file_atomic};
use crate::error::RunError;
use crate::run_dir::{RunDir, is_plain};

impl RunDir {
    /// Stores the record of a step that failed and returns the file's path. A step that failed
    /// before, in an earlier attempt at the run, keeps its file; the new one ends in `-2`, `-3` and
    /// so on.
    ///
    /// A number that is not finite becomes null: give the one that stopped the run as text. It is
    /// not refused, since that would hide what went wrong first.
    ///
    /// # Errors
    ///
    /// A stage that cannot be part of a file's name, a record that JSON cannot express, a run that
    /// was opened to be read, or a file that cannot be written.
    pub fn write_failure(
        &self,
        stage: &str,
        step: u64,
        record: &impl Serialize,
    ) -> Result<PathBuf, RunError> {
        if !is_plain(stage) {
            return Err(RunError::BadName {
                name: stage.to_owned(),
                what: "a stage",
                except: "",
            });
        }
        self.check_still_there()?;
        let folder = self.failures_folder();
        fs::create_dir_all(&folder).map_err(RunError::unwritable(&folder))?;
        sync_parent(&folder).map_err(RunError::unwritable(&folder))?;
        let mut path = folder.join(format!("{stage}-{step:06}.json"));
        let mut n_there = 1_u32;
        while path.exists() {
            n_there += 1;
            path = folder.join(format!("{stage}-{step:06}-{n_there}.json"));
        }
        let not_json = |source| RunError::NotJson {
            path: path.clone(),
            source,
        };
        let mut text = serde_json::to_vec_pretty(record).map_err(not_json)?;
        text.push(b'\n');
        write_file_atomic(&path, &text)?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn every_failure_keeps_a_file_of_its_own() {
        let root = tempfile::tempdir().expect("a folder");
        let run = RunDir::create(root.path()).expect("made");
        for (n_before, name) in ["rl-000012.json", "rl-000012-2.json", "rl-000012-3.json"]
            .into_iter()
            .enumerate()
        {
            let record = json!({"n_before": n_before});
            let path = run.write_failure("rl", 12, &record).expect("written");
            assert_eq!(path, run.path().join("failures").join(name));
            let bytes = fs::read(path).expect("readable");
            let back: Value = serde_json::from_slice(&bytes).expect("JSON");
            assert_eq!(back, record);
        }
        assert_eq!(
            fs::read_dir(run.failures_folder())
                .expect("readable")
                .count(),
            3
        );
    }

    #[test]
    fn a_number_that_is_not_finite_does_not_hide_the_failure() {
        let root = tempfile::tempdir().expect("a folder");
        let run = RunDir::create(root.path()).expect("made");
        let path = run.write_failure("rl", 1, &[f64::NAN]).expect("written");
        let bytes = fs::read(path).expect("readable");
        let back: Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(back, json!([null]));
    }

    #[test]
    fn stages_that_are_not_plain_names_and_files_in_the_way_are_errors() {
        let root = tempfile::tempdir().expect("a folder");
        let run = RunDir::create(root.path()).expect("made");
        let error = run.write_failure("../rl", 1, &1).expect_err("refused");
        assert!(matches!(error, RunError::BadName { .. }), "{error}");
        fs::write(run.failures_folder(), "a file").expect("written");
        let error = run.write_failure("rl", 1, &1).expect_err("no folder");
        assert!(error.to_string().contains("failures"), "{error}");
    }
}
