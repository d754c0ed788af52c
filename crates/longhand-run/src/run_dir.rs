//! A run's folder: how it is made, found, named and opened.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::atomic_file::{UNFINISHED, sync_parent, write_file_atomic};
use crate::digests::sha256;
use crate::error::RunError;
use crate::lock::{CHECKPOINTS, Hold};

const CONFIG: &str = "config.toml";

/// The folder of one run. Clones share the lock, which is free again when the last one is dropped.
#[derive(Clone, Debug)]
pub struct RunDir {
    path: PathBuf,
    /// The lock, unless the run was opened to be read.
    hold: Option<Arc<Hold>>,
}

impl RunDir {
    /// Makes the folder of a new run, with the folders above it and those inside it, and locks it.
    ///
    /// Of two runs that ask for the same folder at the same time, one gets it. What a run left that was
    /// killed before it had a configuration is no more than an empty folder.
    ///
    /// # Errors
    ///
    /// A folder with anything else in it, a file where a folder should be, or one that cannot be made;
    /// another process that is just beginning there.
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
        if !is_bare(path).map_err(uncreatable)? {
            return Err(occupied());
        }
        let mut run = RunDir {
            path: path.to_path_buf(),
            hold: None,
        };
        for folder in [
            run.checkpoints_folder(),
            run.transcripts_folder(),
            run.plots_folder(),
        ] {
            fs::create_dir_all(folder).map_err(uncreatable)?;
        }
        // The system gives the lock to one run: from here on the place is taken.
        run.hold = Some(Arc::new(Hold::take(path)?));
        // Another run may have had it, and be done, since the folder was looked at.
        if !is_bare(path).map_err(uncreatable)? {
            return Err(occupied());
        }
        sync_parent(path).map_err(uncreatable)?;
        Ok(run)
    }

    /// Opens the folder of a run that has begun, to read it, whoever is writing it.
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
            hold: None,
        })
    }

    /// Opens the folder of a run that has begun, to go on with it, and locks it.
    ///
    /// # Errors
    ///
    /// As [`RunDir::open`]; a run that another process holds; a folder that cannot be written.
    pub fn open_to_write(path: &Path) -> Result<RunDir, RunError> {
        let mut run = RunDir::open(path)?;
        run.hold = Some(Arc::new(Hold::take(path)?));
        run.run_config_sha256()?;
        Ok(run)
    }

    /// Whether what is written would be found: the folder is there, is the one that was opened, and
    /// takes files. Everything that adds to the run asks this first, since a file that is open can
    /// still be written when its folder is gone.
    ///
    /// # Errors
    ///
    /// A folder that was removed, moved, replaced or made read-only, a lock that was removed or
    /// replaced, or a run that was opened to be read.
    pub fn check_still_there(&self) -> Result<(), RunError> {
        match &self.hold {
            Some(hold) => hold.check(&self.path),
            None => Err(RunError::OpenedToRead {
                path: self.path.clone(),
            }),
        }
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
        let path = self.config_path();
        if path.exists() {
            return Err(RunError::Exists {
                path,
                mend: "start a new run for another configuration",
            });
        }
        write_file_atomic(&path, resolved_toml.as_bytes())?;
        if let Some(hold) = &self.hold {
            // There was no file before, so there was no digest.
            let _ = hold.config_sha256.set(sha256(resolved_toml.as_bytes()));
        }
        Ok(())
    }

    /// The text of the resolved experiment file.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or is not UTF-8.
    pub fn experiment_text(&self) -> Result<String, RunError> {
        let path = self.config_path();
        fs::read_to_string(&path).map_err(RunError::unreadable(&path))
    }

    /// Digest of `config.toml` as it is now.
    pub(crate) fn config_sha256(&self) -> Result<String, RunError> {
        let path = self.config_path();
        let bytes = fs::read(&path).map_err(RunError::unreadable(&path))?;
        Ok(sha256(&bytes))
    }

    /// Digest of the `config.toml` that this process runs with: the one it wrote, or found when it
    /// opened the run. Somebody may have edited the file since.
    pub(crate) fn run_config_sha256(&self) -> Result<String, RunError> {
        let Some(hold) = &self.hold else {
            return self.config_sha256();
        };
        if let Some(known) = hold.config_sha256.get() {
            return Ok(known.clone());
        }
        let found = self.config_sha256()?;
        Ok(hold.config_sha256.get_or_init(|| found).clone())
    }

    pub(crate) fn config_path(&self) -> PathBuf {
        self.path.join(CONFIG)
    }

    /// `metrics.jsonl`: what was computed.
    #[must_use]
    pub fn metrics_path(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// `timings.jsonl`: what the clock and the machine said.
    #[must_use]
    pub fn timings_path(&self) -> PathBuf {
        self.path.join("timings.jsonl")
    }

    /// `failures`, where steps that stopped the run are kept; absent while there are none.
    #[must_use]
    pub fn failures_folder(&self) -> PathBuf {
        self.path.join("failures")
    }

    /// `superseded`, where lines are kept that a resume went back behind; absent while there are
    /// none.
    #[must_use]
    pub fn superseded_folder(&self) -> PathBuf {
        self.path.join("superseded")
    }

    pub(crate) fn transcripts_folder(&self) -> PathBuf {
        self.path.join("transcripts")
    }

    /// `checkpoints`, with a folder for each and the files that name them.
    #[must_use]
    pub fn checkpoints_folder(&self) -> PathBuf {
        self.path.join(CHECKPOINTS)
    }

    pub(crate) fn plots_folder(&self) -> PathBuf {
        self.path.join("plots")
    }
}

/// Whether a folder holds nothing but what [`RunDir::create`] makes, and nothing in that.
fn is_bare(path: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_bare = match &*name {
            "lock" => true,
            "checkpoints" | "transcripts" | "plots" => {
                entry.file_type()?.is_dir() && fs::read_dir(entry.path())?.next().is_none()
            }
            // The configuration on its way, or a test whether files can be made.
            _ => name.starts_with(UNFINISHED) && entry.file_type()?.is_file(),
        };
        if !is_bare {
            return Ok(false);
        }
    }
    Ok(true)
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
        let run = RunDir::create(root.path()).expect("empty");
        let message = refusal(root.path());
        assert!(
            message.contains("is being written by another process"),
            "{message}"
        );
        run.write_config("seed = 1\n").expect("written");
        drop(run);
        let message = refusal(root.path());
        assert!(message.contains("is not empty"), "{message}");
        assert!(message.contains("choose another --out"), "{message}");
        assert!(
            message.contains(&root.path().display().to_string()),
            "{message}"
        );
    }

    #[test]
    fn what_a_run_left_that_had_no_configuration_yet_is_an_empty_folder() {
        let root = tempfile::tempdir().expect("a folder");
        drop(RunDir::create(root.path()).expect("empty"));
        fs::write(root.path().join(".unfinished-config.toml"), "se").expect("written");
        let run = RunDir::create(root.path()).expect("taken over");
        run.write_config("seed = 1\n").expect("written");
        drop(run);
        // With anything of a run in it, it is none.
        for (folder, file) in [
            ("checkpoints", "latest"),
            ("transcripts", "a"),
            ("", "notes.txt"),
        ] {
            let root = tempfile::tempdir().expect("a folder");
            drop(RunDir::create(root.path()).expect("empty"));
            fs::write(root.path().join(folder).join(file), "").expect("written");
            assert!(
                refusal(root.path()).contains("is not empty"),
                "{folder}/{file}"
            );
        }
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

    fn written() -> (tempfile::TempDir, PathBuf, RunDir) {
        let root = tempfile::tempdir().expect("a folder");
        let path = root.path().join("one");
        let run = RunDir::create(&path).expect("made");
        run.write_config("seed = 7\n").expect("written");
        (root, path, run)
    }

    #[test]
    fn one_writer_at_a_time_and_the_second_learns_who_the_first_is() {
        let (_root, path, run) = written();
        let clone = run.clone();
        drop(run);
        let error = RunDir::open_to_write(&path).expect_err("held by the clone");
        let RunError::InUse {
            holder: Some(holder),
            ..
        } = error
        else {
            panic!("{error}");
        };
        assert_eq!(holder, std::process::id());
        let message = error.to_string();
        assert!(message.contains(&format!("(number {holder})")), "{message}");
        assert!(message.contains(&path.display().to_string()), "{message}");
        RunDir::open(&path).expect("readers are welcome");
        drop(clone);
        let again = RunDir::open_to_write(&path).expect("free again");
        again.check_still_there().expect("there");
        assert!(RunDir::open_to_write(&path).is_err());
    }

    #[test]
    fn a_lock_that_names_nobody_still_holds() {
        let (_root, path, _run) = written();
        fs::write(path.join("lock"), "who?").expect("written");
        let error = RunDir::open_to_write(&path).expect_err("held");
        assert!(
            matches!(error, RunError::InUse { holder: None, .. }),
            "{error}"
        );
    }

    #[test]
    fn a_lock_file_that_a_killed_run_left_holds_nobody_up() {
        let (_root, path, run) = written();
        drop(run);
        fs::write(path.join("lock"), "1234567890 and more than a number").expect("written");
        RunDir::open_to_write(&path).expect("nobody holds it");
        let text = fs::read_to_string(path.join("lock")).expect("readable");
        assert_eq!(text, format!("{}\n", std::process::id()));
    }

    #[test]
    fn a_run_opened_to_be_read_writes_nothing() {
        let (_root, path, run) = written();
        drop(run);
        let run = RunDir::open(&path).expect("a run");
        let error = run.lines().expect_err("not opened to write");
        assert!(matches!(error, RunError::OpenedToRead { .. }), "{error}");
        assert!(run.write_transcripts("rl", 1, &[]).is_err());
        assert!(run.prune("", 0).is_err());
        assert!(!run.metrics_path().exists());
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
