//! The built program, and a small run to use it on.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use assert_cmd::Command;
use tempfile::TempDir;

/// What a call printed, and its exit code.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Call {
    /// Checks the exit code, and that standard error holds all of `texts`.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for text in texts {
            assert!(self.err.contains(text), "no {text:?} in {}", self.err);
        }
    }

    /// Standard output of a call that went well.
    #[track_caller]
    pub(crate) fn succeeds(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// Standard output of a call that went well, as JSON.
    #[track_caller]
    pub(crate) fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.succeeds()).expect("one JSON document")
    }
}

/// A folder that is removed at the end, in which the program is called.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder for the test"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file and returns its path as text.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, bytes).expect("a file of the test");
        path.display().to_string()
    }

    /// Calls `longhand` with these arguments, split at spaces.
    #[track_caller]
    pub(crate) fn longhand(&self, arguments: &str) -> Call {
        self.call(&arguments.split(' ').collect::<Vec<_>>(), "")
    }

    /// Calls `longhand` with these arguments and this standard input. It never panics.
    #[track_caller]
    pub(crate) fn call(&self, arguments: &[&str], input: impl Into<Vec<u8>>) -> Call {
        let mut command = Command::new(env!("CARGO_BIN_EXE_longhand"));
        command.current_dir(self.0.path()).env_remove("RUST_LOG");
        let Output {
            status,
            stdout,
            stderr,
        } = command
            .args(arguments)
            .write_stdin(input)
            .output()
            .expect("the program starts");
        let call = Call {
            code: status.code().expect("no signal ended it"),
            out: String::from_utf8(stdout).expect("UTF-8"),
            err: String::from_utf8(stderr).expect("UTF-8"),
        };
        assert!(
            !call.err.contains("panicked") && call.code != 101,
            "{arguments:?}: {call:?}"
        );
        call
    }

    /// A finished run in the folder `run`: a smoke run with less to do.
    #[track_caller]
    pub(crate) fn with_run() -> Self {
        let place = Self::new();
        let config = smoke("tamtrl");
        let arguments = format!(
            "train {config} --out run --quiet --set stage.1.steps=1 --set eval.n_documents=2 --set eval.lengths=[36]"
        );
        place.longhand(&arguments).succeeds();
        place
    }
}

/// The path of a smoke experiment.
pub(crate) fn smoke(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/smoke");
    let folder = folder
        .canonicalize()
        .expect("the smoke configurations are there");
    folder.join(format!("{name}.toml")).display().to_string()
}
