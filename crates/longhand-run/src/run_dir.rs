//! A run's folder: how it is made, found, named and opened.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::atomic_file::{sync_parent, write_file_atomic};
use crate::error::RunError;

const CONFIG: &str = "config.toml";

/// The folder of one run.
#[derive(Clone, Debug)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Makes the folder of a new run, with the folders above it and those inside it.
    ///
    /// Of two runs that ask for the same folder at the same time, one gets it.
    ///
    /// # Errors
    ///
    /// A folder with anything in it, a file where a folder should be, or one that cannot be made.
    pub fn create(path: &Path) -> Result<RunDir, RunError> {
        let uncreatable = |source| RunError::Uncreatable {
            path: path.to_path_buf(),
            source,
        };
        if let Some(file) = path.ancestors().find(|place| place.is_file()) {
            return Err(RunError::FileInTheWay {
                path: path.to_path_buf(),
                file: file.to_path_buf(),
            });
        }
        fs::create_dir_all(path).map_err(uncreatable)?;
        let occupied = || RunError::Occupied {
            path: path.to_path_buf(),
        };
        if fs::read_dir(path).map_err(uncreatable)?.next().is_some() {
            return Err(occupied());
        }
        let run = RunDir {
            path: path.to_path_buf(),
        };
        // The system lets one run make this folder: from here on the place is taken.
        fs::create_dir(run.checkpoints_folder()).map_err(|source| {
            if source.kind() == io::ErrorKind::AlreadyExists {
                occupied()
            } else {
                uncreatable(source)
            }
        })?;
        fs::create_dir(run.transcripts_folder()).map_err(uncreatable)?;
        fs::create_dir(run.plots_folder()).map_err(uncreatable)?;
        sync_parent(path).map_err(uncreatable)?;
        Ok(run)
    }

    /// Opens the folder of a run that has begun, to read it or to add to it.
    ///
    /// # Errors
    ///
    /// A path that is not a folder with a `config.toml`.
    pub fn open(path: &Path) -> Result<RunDir, RunError> {
        if !RunDir::is_run(path) {
            return Err(RunError::NotARun {
                path: path.to_path_buf(),
            });
        }
        Ok(RunDir {
            path: path.to_path_buf(),
        })
    }

    /// Whether `path` is a run's folder; a model's folder, for one, is not.
    #[must_use]
    pub fn is_run(path: &Path) -> bool {
        path.join(CONFIG).is_file()
    }

    /// The path for the next run of this name: `PARENT/NAME-001`, or one more than the highest
    /// number there is. Makes nothing.
    #[must_use]
    pub fn next_free(parent: &Path, name: &str) -> PathBuf {
        // A parent that cannot be listed has no runs yet, or `create` will say what is wrong.
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        let numbers = entries.filter_map(|entry| {
            let entry = entry.file_name();
            let digits = entry.to_str()?.strip_prefix(name)?.strip_prefix('-')?;
            digits.parse::<u32>().ok()
        });
        let next = numbers.max().map_or(1, |highest| u64::from(highest) + 1);
        parent.join(format!("{name}-{next:03}"))
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Stores the resolved experiment file. Only once: it says what made everything else here.
    ///
    /// # Errors
    ///
    /// A run that has one, or a file that cannot be written.
    pub fn write_config(&self, resolved_toml: &str) -> Result<(), RunError> {
        let path = self.path.join(CONFIG);
        if path.exists() {
            return Err(RunError::Exists {
                path,
                mend: "start a new run for another configuration",
            });
        }
        write_file_atomic(&path, resolved_toml.as_bytes())
    }

    /// The text of the resolved experiment file.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or is not UTF-8.
    pub fn experiment_text(&self) -> Result<String, RunError> {
        let path = self.path.join(CONFIG);
        fs::read_to_string(&path).map_err(RunError::unreadable(&path))
    }

    /// `metrics.jsonl`.
    #[must_use]
    pub fn metrics_path(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    pub(crate) fn transcripts_folder(&self) -> PathBuf {
        self.path.join("transcripts")
    }

    pub(crate) fn checkpoints_folder(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    pub(crate) fn plots_folder(&self) -> PathBuf {
        self.path.join("plots")
    }
}

/// Whether `name` can be a file's name everywhere: letters, digits, `-`, `_`, `.`, and not hidden.
pub(crate) fn is_plain(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(path: &Path) -> String {
        RunDir::create(path).expect_err("refused").to_string()
    }

    #[test]
    fn a_new_folder_is_made_with_those_above_it() {
        let root = tempfile::tempdir().expect("a folder");
        let path = root.path().join("runs/deep/one");
        let run = RunDir::create(&path).expect("made");
        assert_eq!(run.path(), path);
        assert!(path.is_dir());
        assert!(!RunDir::is_run(&path), "no configuration yet");
        run.write_config("seed = 7\n").expect("written");
        let again = RunDir::open(&path).expect("a run");
        assert_eq!(again.experiment_text().expect("readable"), "seed = 7\n");
    }

    #[test]
    fn an_empty_folder_is_taken_once() {
        let root = tempfile::tempdir().expect("a folder");
        RunDir::create(root.path()).expect("empty");
        let message = refusal(root.path());
        assert!(message.contains("is not empty"), "{message}");
        assert!(message.contains("choose another --out"), "{message}");
        assert!(
            message.contains(&root.path().display().to_string()),
            "{message}"
        );
    }

    #[test]
    fn a_folder_with_one_file_is_refused_and_left_alone() {
        let root = tempfile::tempdir().expect("a folder");
        fs::write(root.path().join("notes.txt"), "mine").expect("written");
        assert!(refusal(root.path()).contains("is not empty"));
        assert_eq!(fs::read_dir(root.path()).expect("readable").count(), 1);
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let root = tempfile::tempdir().expect("a folder");
        let file = root.path().join("runs");
        fs::write(&file, "not a folder").expect("written");
        for path in [file.clone(), file.join("one"), file.join("deep/one")] {
            let message = refusal(&path);
            assert!(
                message.contains(&format!("{} is a file", file.display())),
                "{message}"
            );
            assert!(message.contains("choose another --out"), "{message}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_parent_that_takes_no_folders_is_named() {
        // Not even root can make a folder here.
        let message = refusal(Path::new("/proc/longhand-run"));
        assert!(
            message.contains("cannot make the folder /proc/longhand-run: "),
            "{message}"
        );
        assert!(message.contains("choose another --out"), "{message}");
    }

    #[test]
    fn a_configuration_is_written_once() {
        let root = tempfile::tempdir().expect("a folder");
        let run = RunDir::create(root.path()).expect("made");
        run.write_config("seed = 1\n").expect("written");
        let error = run.write_config("seed = 2\n").expect_err("there is one");
        assert!(error.to_string().contains("config.toml exists"), "{error}");
        assert_eq!(run.experiment_text().expect("readable"), "seed = 1\n");
    }

    #[test]
    fn what_is_not_a_run_is_not_opened() {
        let root = tempfile::tempdir().expect("a folder");
        for path in [root.path().to_path_buf(), root.path().join("nowhere")] {
            let error = RunDir::open(&path).expect_err("no run");
            assert!(matches!(error, RunError::NotARun { .. }), "{error}");
        }
    }

    #[test]
    fn numbers_go_on_from_the_highest() {
        let root = tempfile::tempdir().expect("a folder");
        let next = |name| RunDir::next_free(root.path(), name);
        assert_eq!(next("tiny"), root.path().join("tiny-001"));
        for taken in [
            "tiny-001",
            "tiny-7",
            "tiny-old",
            "tiny-er-040",
            "tinier-090",
            "tiny-",
        ] {
            fs::create_dir(root.path().join(taken)).expect("made");
        }
        assert_eq!(next("tiny"), root.path().join("tiny-008"));
        fs::write(root.path().join("tiny-999"), "a file is taken too").expect("written");
        assert_eq!(next("tiny"), root.path().join("tiny-1000"));
        let nowhere = root.path().join("nowhere");
        assert_eq!(
            RunDir::next_free(&nowhere, "tiny"),
            nowhere.join("tiny-001")
        );
    }

    #[test]
    fn plain_names() {
        for name in ["rl-000012", "best.v2", "A_b", "7"] {
            assert!(is_plain(name), "{name}");
        }
        for name in [
            "", ".", "..", ".hidden", "-x", "a/b", "a\\b", "a b", "é", "a\0", "a:b",
        ] {
            assert!(!is_plain(name), "{name:?}");
        }
    }
}
