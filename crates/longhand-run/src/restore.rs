//! Which checkpoint a run goes on from: the newest one that is whole.
//!
//! Newest is the one behind which the fewest metrics lines lie, and of equals the one that was saved
//! last; neither `latest` nor `order` is needed, which a kill may leave one checkpoint behind. A
//! checkpoint is whole when every file has the digest it was saved with. Damaged ones are passed over
//! and named, never deleted.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::checkpoints::{CheckpointState, FORMAT, StateFile};
use crate::digests::{Damage, STATE, SUMS, verify_checkpoint, verify_state};
use crate::error::RunError;
use crate::run_dir::RunDir;

/// A checkpoint to go on from.
#[derive(Clone, Debug)]
pub struct Restored<T> {
    /// The checkpoint's name.
    pub name: String,
    /// Its folder.
    pub path: PathBuf,
    /// What it says of the run.
    pub state: CheckpointState<T>,
    /// What is wrong with the newer ones, newest first; empty if it is the newest.
    pub damaged: Vec<Damage>,
}

impl RunDir {
    /// The newest checkpoint whose files are all as they were saved, or nothing if the run has not
    /// saved any. Changes nothing.
    ///
    /// # Errors
    ///
    /// A newer checkpoint in another format; a configuration that is not the one the checkpoint was
    /// made with; checkpoints none of which is whole; anything that cannot be read.
    pub fn newest_whole_checkpoint<T: DeserializeOwned>(
        &self,
    ) -> Result<Option<Restored<T>>, RunError> {
        let folder = self.checkpoints_folder();
        let mut names = self.checkpoint_names()?;
        // The sort keeps the order of saving among equals.
        names.sort_by_key(|name| claimed_metrics_bytes(&folder.join(name)));
        let mut damages = Vec::new();
        for name in names.into_iter().rev() {
            let path = folder.join(&name);
            check_has_format(&path)?;
            match verify_checkpoint(&path) {
                Ok(()) => {
                    return Ok(Some(Restored {
                        state: self.read_state(&name, &path)?,
                        name,
                        path,
                        damaged: damages,
                    }));
                }
                Err(damage) => damages.push(damage),
            }
        }
        if damages.is_empty() {
            return Ok(None);
        }
        Err(RunError::AllDamaged {
            path: folder,
            damages,
        })
    }

    /// The state of the checkpoint `name`, once all its files are found to be as they were saved.
    ///
    /// # Errors
    ///
    /// A checkpoint that does not exist, is damaged, has another format, or was made with another
    /// configuration than the run has now.
    pub fn load_checkpoint<T: DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<CheckpointState<T>, RunError> {
        let path = self.existing(name)?;
        check_has_format(&path)?;
        verify_checkpoint(&path).map_err(RunError::Damaged)?;
        self.read_state(name, &path)
    }

    fn read_state<T: DeserializeOwned>(
        &self,
        name: &str,
        path: &Path,
    ) -> Result<CheckpointState<T>, RunError> {
        let file = path.join(STATE);
        let text = fs::read(&file).map_err(RunError::unreadable(&file))?;
        let header: Header = serde_json::from_slice(&text).unwrap_or_default();
        if header.format != Some(Value::from(FORMAT)) {
            return Err(unknown_format(path, header));
        }
        let state: StateFile<T> =
            serde_json::from_slice(&text).map_err(|source| RunError::BadState {
                path: file,
                program: header.program.unwrap_or_default(),
                source,
            })?;
        if state.config_sha256 != self.config_sha256()? {
            return Err(RunError::ConfigChanged {
                path: self.config_path(),
                checkpoint: name.to_owned(),
            });
        }
        Ok(CheckpointState {
            metrics_bytes: state.metrics_bytes,
            timings_bytes: self.end_of_timings(state.metrics_bytes)?,
            config_sha256: state.config_sha256,
            body: state.body,
        })
    }
}

/// What every format of `state.json` is asked for.
#[derive(Default, Deserialize)]
struct Header {
    format: Option<Value>,
    program: Option<String>,
    metrics_bytes: Option<u64>,
}

/// Where the metrics ended, as far as a checkpoint says. One that does not say, or whose word cannot
/// be trusted, is looked at first, so that it is named.
fn claimed_metrics_bytes(path: &Path) -> u64 {
    let header = verify_state(path)
        .ok()
        .and_then(|text| serde_json::from_slice::<Header>(&text).ok());
    let claimed = header.and_then(|header| header.metrics_bytes);
    claimed.unwrap_or(u64::MAX)
}

/// Checkpoints had neither state nor digests before they had a format. One that lost either has the
/// other, and is damaged.
fn check_has_format(path: &Path) -> Result<(), RunError> {
    if path.join(STATE).exists() || path.join(SUMS).exists() {
        return Ok(());
    }
    Err(unknown_format(path, Header::default()))
}

fn unknown_format(path: &Path, header: Header) -> RunError {
    let format = header.format.map_or_else(
        || "no format (before format 1 there was no state.json to resume from)".to_owned(),
        |format| format!("format {format}"),
    );
    let program = header
        .program
        .map_or_else(String::new, |program| format!(", written by {program}"));
    RunError::Format {
        path: path.to_path_buf(),
        found: format + &program,
        supported: FORMAT,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run() -> (tempfile::TempDir, RunDir) {
        let root = tempfile::tempdir().expect("a folder");
        let run = RunDir::create(root.path()).expect("made");
        run.write_config("seed = 1\n").expect("written");
        (root, run)
    }

    /// One more line of metrics, and a checkpoint behind it whose body is `body`.
    fn save(run: &RunDir, name: &str, body: u32) -> PathBuf {
        let mut lines = run.lines().expect("opened");
        lines.metrics(&json!({"step": body})).expect("appended");
        run.save_checkpoint(name, &body, &lines, |folder| {
            fs::write(folder.join("model.txt"), name)
        })
        .expect("saved")
    }

    fn newest(run: &RunDir) -> Restored<u32> {
        let restored = run.newest_whole_checkpoint().expect("readable");
        restored.expect("a checkpoint")
    }

    fn refusal(run: &RunDir) -> RunError {
        run.newest_whole_checkpoint::<u32>().expect_err("refused")
    }

    fn damage(path: &Path) {
        fs::write(path.join("model.txt"), "damaged").expect("written");
    }

    /// Replaces the state and makes the digests fit.
    fn rewrite_state(path: &Path, state: &Value) {
        fs::write(path.join(STATE), state.to_string()).expect("written");
        let sums = crate::digests::sums_of(path).expect("readable");
        fs::write(path.join(SUMS), sums).expect("written");
    }

    #[test]
    fn a_run_without_checkpoints_has_none_to_go_on_from() {
        let (_root, run) = run();
        let none = run.newest_whole_checkpoint::<u32>().expect("readable");
        assert!(none.is_none());
    }

    #[test]
    fn the_newest_comes_back_as_it_was_saved() {
        let (_root, run) = run();
        save(&run, "b", 1);
        let path = save(&run, "a", 2);
        let restored = newest(&run);
        assert_eq!((restored.name.as_str(), &restored.path), ("a", &path));
        assert_eq!(restored.damaged, []);
        let state = restored.state;
        assert_eq!((state.metrics_bytes, state.timings_bytes), (22, 0));
        assert_eq!(state.body, 2);
        assert_eq!(run.load_checkpoint::<u32>("b").expect("whole").body, 1);
        let error = run.load_checkpoint::<u32>("c").expect_err("not there");
        assert!(matches!(error, RunError::NoCheckpoint { .. }), "{error}");
    }

    #[test]
    fn neither_the_pointer_nor_the_order_is_needed() {
        let (_root, run) = run();
        save(&run, "z", 1);
        save(&run, "y", 2);
        save(&run, "x", 3);
        let folder = run.checkpoints_folder();
        // As a kill leaves them between the rename and the names.
        fs::write(folder.join("order"), "z\ny\n").expect("written");
        fs::write(folder.join("latest"), "y\n").expect("written");
        assert_eq!(newest(&run).name, "x");
        fs::remove_file(folder.join("order")).expect("removed");
        fs::remove_file(folder.join("latest")).expect("removed");
        assert_eq!(newest(&run).name, "x");
        fs::write(folder.join("latest"), "gone\n").expect("written");
        assert_eq!(newest(&run).name, "x");
    }

    #[test]
    fn of_two_behind_the_same_line_the_one_saved_last_is_newer() {
        let (_root, run) = run();
        let lines = run.lines().expect("opened");
        for (body, name) in ["b", "c", "a"].into_iter().enumerate() {
            run.save_checkpoint(name, &body, &lines, |_| Ok::<(), RunError>(()))
                .expect("saved");
        }
        assert_eq!(
            (newest(&run).name, newest(&run).state.body),
            ("a".to_owned(), 2)
        );
    }

    #[test]
    fn damaged_ones_are_passed_over_and_named_newest_first() {
        let (_root, run) = run();
        let paths = ["a", "b", "c"].map(|name| save(&run, name, 7));
        damage(&paths[2]);
        fs::write(paths[1].join(STATE), "{\"metrics_bytes\": 0}").expect("written");
        let restored = newest(&run);
        assert_eq!(restored.name, "a");
        let mut named: Vec<_> = restored.damaged.iter().map(|one| &one.checkpoint).collect();
        named.sort();
        assert_eq!(named, [&paths[1], &paths[2]]);
        let error = run.load_checkpoint::<u32>("c").expect_err("damaged");
        assert!(matches!(error, RunError::Damaged(_)), "{error}");
        assert!(error.to_string().contains("model.txt"), "{error}");

        damage(&paths[0]);
        let error = refusal(&run);
        let RunError::AllDamaged { damages, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(damages.len(), 3);
        for path in &paths {
            let name = path.display().to_string();
            assert!(error.to_string().contains(&name), "{error}");
        }
    }

    #[test]
    fn other_formats_are_refused_and_named() {
        let (_root, run) = run();
        save(&run, "a", 1);
        let path = save(&run, "b", 2);
        for (state, named) in [
            (
                json!({"format": 2, "program": "longhand 9.0"}),
                "format 2, written by longhand 9.0",
            ),
            (json!({"format": "x", "metrics_bytes": 99}), "format \"x\","),
            (json!({"program": "longhand 9.0"}), "no format"),
            (json!([1]), "no format"),
        ] {
            rewrite_state(&path, &state);
            for error in [
                refusal(&run),
                run.load_checkpoint::<u32>("b").expect_err("refused"),
            ] {
                assert!(matches!(error, RunError::Format { .. }), "{error}");
                let message = error.to_string();
                assert!(message.contains(named), "{message}");
                assert!(message.contains("reads format 1"), "{message}");
                assert!(message.contains(&path.display().to_string()), "{message}");
            }
        }
    }

    #[test]
    fn a_checkpoint_from_before_there_were_formats_is_one_without() {
        let (_root, run) = run();
        let path = run.checkpoints_folder().join("rl-000001");
        fs::create_dir(&path).expect("made");
        fs::write(path.join("model.safetensors"), "weights").expect("written");
        let message = refusal(&run).to_string();
        assert!(message.contains("no format (before format 1"), "{message}");
        assert!(message.contains("rl-000001"), "{message}");
    }

    #[test]
    fn a_state_that_is_not_ours_is_an_error() {
        let (_root, run) = run();
        save(&run, "a", 1);
        let error = run
            .newest_whole_checkpoint::<String>()
            .expect_err("a number is no text");
        assert!(matches!(error, RunError::BadState { .. }), "{error}");
        assert!(error.to_string().contains("longhand 0."), "{error}");
    }

    #[test]
    fn another_configuration_is_refused_even_if_it_changed_while_the_run_was_alive() {
        let (_root, run) = run();
        save(&run, "a", 1);
        let config = run.path().join("config.toml");
        fs::write(&config, "seed = 2\n").expect("written");
        // The run goes on with the seed that it began with.
        save(&run, "b", 2);
        for error in [
            refusal(&run),
            run.load_checkpoint::<u32>("a").expect_err("refused"),
        ] {
            assert!(matches!(error, RunError::ConfigChanged { .. }), "{error}");
            assert!(
                error.to_string().contains("config.toml has changed"),
                "{error}"
            );
        }
        fs::write(&config, "seed = 1\n").expect("written");
        assert_eq!(newest(&run).name, "b");
    }

    #[test]
    fn a_kill_while_a_damaged_one_is_replaced_leaves_the_one_before() {
        let (_root, run) = run();
        save(&run, "a", 1);
        let path = save(&run, "b", 2);
        damage(&path);
        let folder = run.checkpoints_folder();
        // `b` has been moved aside and its successor has not got the name; `latest` names it still.
        fs::rename(&path, folder.join("damaged-b")).expect("moved");
        fs::create_dir(folder.join(".unfinished-b")).expect("made");
        assert_eq!(newest(&run).name, "a");
        save(&run, "b", 3);
        assert_eq!(
            (newest(&run).name, newest(&run).state.body),
            ("b".to_owned(), 3)
        );
        assert!(folder.join("damaged-b").is_dir());
    }

    #[test]
    fn what_was_moved_aside_is_not_gone_on_from() {
        let (_root, run) = run();
        let path = save(&run, "a", 1);
        damage(&path);
        save(&run, "a", 2);
        fs::rename(&path, run.checkpoints_folder().join("replaced-a")).expect("moved");
        let none = run.newest_whole_checkpoint::<u32>().expect("readable");
        assert!(none.is_none());
    }
}
