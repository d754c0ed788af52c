//! `data.sha256`: digests of the data files that a run reads its problems from.
//!
//! A run that goes on with other data is another run, and nothing else in its folder would tell. The file
//! is as `sha256sum` writes it, with the paths as the experiment names them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::atomic_file::write_file_atomic;
use crate::digests::digest_of;
use crate::error::RunError;
use crate::run_dir::RunDir;

impl RunDir {
    /// Stores the digests of data files; without any, no file is made.
    ///
    /// # Errors
    ///
    /// A data file that cannot be read, or a run's folder that cannot be written.
    pub fn write_data_digests(&self, files: &[&Path]) -> Result<(), RunError> {
        if files.is_empty() {
            return Ok(());
        }
        let mut lines = String::new();
        for file in files {
            let digest = digest(file)?;
            lines.push_str(&format!("{digest}  {}\n", file.display()));
        }
        write_file_atomic(&self.data_digests_path(), lines.as_bytes())
    }

    /// Compares data files with the digests that were stored when the run began. A run that has none, made
    /// before there were any, is not held against them.
    ///
    /// # Errors
    ///
    /// [`RunError::DataChanged`] with the first file that is another one now, or that the digests lack; a
    /// file that cannot be read.
    pub fn check_data_digests(&self, files: &[&Path]) -> Result<(), RunError> {
        let path = self.data_digests_path();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(RunError::unreadable(&path)(error)),
        };
        for file in files {
            let line = format!("{}  {}", digest(file)?, file.display());
            if !text.lines().any(|stored| stored == line) {
                return Err(RunError::DataChanged {
                    path: file.to_path_buf(),
                    digests: path,
                });
            }
        }
        Ok(())
    }

    fn data_digests_path(&self) -> PathBuf {
        self.path().join("data.sha256")
    }
}

fn digest(path: &Path) -> Result<String, RunError> {
    let mut file = File::open(path).map_err(RunError::unreadable(path))?;
    digest_of(&mut file).map_err(RunError::unreadable(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_file_that_changed_is_named() {
        let root = tempfile::tempdir().expect("a folder");
        let run = RunDir::create(&root.path().join("run")).expect("made");
        let [one, two] = ["one.jsonl", "two.jsonl"].map(|name| root.path().join(name));
        fs::write(&one, "1\n").expect("written");
        fs::write(&two, "2\n").expect("written");
        let files = [one.as_path(), two.as_path()];
        run.check_data_digests(&files).expect("nothing was stored");
        run.write_data_digests(&files).expect("written");
        run.check_data_digests(&files).expect("as they were");
        let text = fs::read_to_string(run.path().join("data.sha256")).expect("readable");
        // printf '1\\n' | sha256sum
        let digest = "4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865";
        assert!(
            text.starts_with(&format!("{digest}  {}\n", one.display())),
            "{text}"
        );

        fs::write(&two, "3\n").expect("written");
        let error = run.check_data_digests(&files).expect_err("it changed");
        assert!(
            matches!(&error, RunError::DataChanged { path, .. } if *path == two),
            "{error}"
        );
        let other = root.path().join("three.jsonl");
        fs::write(&other, "1\n").expect("written");
        assert!(run.check_data_digests(&[&other]).is_err(), "another name");
    }

    #[test]
    fn a_run_without_data_files_has_no_digests() {
        let root = tempfile::tempdir().expect("a folder");
        let run = RunDir::create(root.path()).expect("made");
        run.write_data_digests(&[]).expect("nothing to write");
        assert!(!root.path().join("data.sha256").exists());
    }
}
