//! Checkpoints: a folder each, complete under its name or not there at all.
//!
//! The caller writes its files into a hidden sibling; `state.json` and `SHA256SUMS` join them. All of
//! it reaches the disk, it takes its name by a rename, and only then does `checkpoints/latest` name
//! it. A run that is killed anywhere on the way leaves the checkpoints it had, and at most a hidden
//! folder that the next save removes.
//!
//! `state.json`:
//!
//! | field | type | meaning |
//! |---|---|---|
//! | `format` | integer | version of this table, 1 |
//! | `program` | string | what wrote it |
//! | `config_sha256` | string | digest of the run's `config.toml` |
//! | `metrics_bytes` | integer | where `metrics.jsonl` ended |
//! | `files` | object | size in bytes of every other file but `SHA256SUMS`, by name |
//! | `body` | any | what the trainer needs to go on |
//!
//! `checkpoints/order` lists the names in the order of saving: names of several stages do not sort
//! by age, and times of folders change when a run is copied. A folder that the list lacks, because a
//! run was killed between rename and list, is complete and counts as the newest.
//!
//! A resumed run makes a checkpoint again when it went back behind it. One that is the same is kept.
//! A damaged or a different one moves aside, to `damaged-NAME` or `replaced-NAME`, and is never
//! deleted.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::atomic_file::{UNFINISHED, sync_parent, sync_tree, unfinished, write_file_atomic};
use crate::digests::{STATE, SUMS, sizes_of, sums_of, verify_checkpoint};
use crate::error::{CheckpointError, RunError};
use crate::finite::first_non_finite;
use crate::lines::Lines;
use crate::lock::check_same_file;
use crate::run_dir::{RunDir, is_plain};

const LATEST: &str = "latest";
const BEST: &str = "best";
const ORDER: &str = "order";
/// Starts of the names of checkpoints that were moved aside.
const DAMAGED: &str = "damaged-";
const REPLACED: &str = "replaced-";

/// The version of `state.json` that this program writes and reads.
pub(crate) const FORMAT: u32 = 1;

/// What a checkpoint says of the run.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointState<T> {
    /// Where `metrics.jsonl` ended.
    pub metrics_bytes: u64,
    /// Where the timings of these metrics end: behind as many lines. The checkpoint itself does not say,
    /// since their lengths are the clock's, and two checkpoints of the same computation are the same.
    pub timings_bytes: u64,
    /// SHA-256 of the run's `config.toml`, in hexadecimal digits.
    pub config_sha256: String,
    /// What the caller stored.
    pub body: T,
}

/// `state.json`, as described in the module's header.
#[derive(Serialize, Deserialize)]
pub(crate) struct StateFile<T> {
    pub(crate) format: u32,
    pub(crate) program: String,
    pub(crate) config_sha256: String,
    pub(crate) metrics_bytes: u64,
    pub(crate) files: BTreeMap<String, u64>,
    pub(crate) body: T,
}

impl RunDir {
    /// Saves a checkpoint: `write` gets an empty folder and fills it; `state` is stored beside it.
    /// `lines` are the run's own, and reach the disk before. Returns the folder's path.
    ///
    /// A checkpoint of this name that is there already, whole and the same, is kept and counts as
    /// saved just now; another one moves aside.
    ///
    /// # Errors
    ///
    /// What `write` returns; a name that cannot be a checkpoint's; a number in `state` that is not
    /// finite; a run that is gone or was opened to be read; anything that cannot be written. The
    /// checkpoints that were there before still are, and `latest` names one of them or, if nothing
    /// but the naming failed, the new one is there too.
    pub fn save_checkpoint<E>(
        &self,
        name: &str,
        state: &impl Serialize,
        lines: &Lines,
        write: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, CheckpointError<E>> {
        self.check_still_there()?;
        lines.sync()?;
        let held = self.hold_checkpoints_folder()?;
        let (path, hidden) = self.prepare(name)?;
        let saved = write(&hidden)
            .map_err(|source| CheckpointError::Write {
                name: name.to_owned(),
                source,
            })
            .and_then(|()| Ok(self.complete(&hidden, &path, state, lines)?))
            // Whoever writes may have made anew what was removed or moved in the meantime.
            .and_then(|()| Ok(self.check_checkpoints_folder(held.as_ref())?))
            .and_then(|()| Ok(self.publish(name, &path, &hidden)?));
        if let Err(error) = saved {
            // The first error is the one to tell; the next save removes what stays.
            let _ = fs::remove_dir_all(&hidden);
            // Except that a folder which is gone or closed says more than the file that met it first.
            return Err(match self.check_checkpoints_folder(held.as_ref()) {
                Err(cause @ (RunError::Gone { .. } | RunError::ReadOnly { .. })) => cause.into(),
                _ => error,
            });
        }
        Ok(path)
    }

    /// The folder of checkpoints, held open where the system can open folders, to tell it from one that
    /// is made in its place.
    fn hold_checkpoints_folder(&self) -> Result<Option<File>, RunError> {
        if !cfg!(unix) {
            return Ok(None);
        }
        let path = self.checkpoints_folder();
        let held = File::open(&path).map_err(RunError::unreadable(&path))?;
        Ok(Some(held))
    }

    /// Whether the run and its folder of checkpoints are still where they were.
    fn check_checkpoints_folder(&self, held: Option<&File>) -> Result<(), RunError> {
        self.check_still_there()?;
        match held {
            Some(held) => check_same_file(held, &self.checkpoints_folder()),
            None => Ok(()),
        }
    }

    /// The newest checkpoint, or none if the run has not saved any.
    ///
    /// # Errors
    ///
    /// A pointer that cannot be read or names a folder that is gone.
    pub fn latest_checkpoint(&self) -> Result<Option<PathBuf>, RunError> {
        self.pointed_at(LATEST)
    }

    /// The best checkpoint, or none if the run has not named any.
    ///
    /// # Errors
    ///
    /// As [`RunDir::latest_checkpoint`].
    pub fn best_checkpoint(&self) -> Result<Option<PathBuf>, RunError> {
        self.pointed_at(BEST)
    }

    /// Names the latest checkpoint, where `latest` names another one: a run may have been killed when a
    /// checkpoint had its name and was not the latest yet.
    ///
    /// # Errors
    ///
    /// As [`RunDir::set_best`].
    pub fn set_latest(&self, name: &str) -> Result<(), RunError> {
        self.check_still_there()?;
        let path = self.existing(name)?;
        match self.latest_checkpoint() {
            Ok(Some(latest)) if latest == path => Ok(()),
            _ => self.name_latest(name),
        }
    }

    /// Names the best checkpoint.
    ///
    /// # Errors
    ///
    /// A checkpoint that does not exist, a run that is gone or was opened to be read, or a file that
    /// cannot be written.
    pub fn set_best(&self, name: &str) -> Result<(), RunError> {
        self.check_still_there()?;
        self.existing(name)?;
        let pointer = self.checkpoints_folder().join(BEST);
        write_file_atomic(&pointer, format!("{name}\n").as_bytes())
    }

    /// All checkpoints, oldest first. Those that were moved aside are not among them.
    ///
    /// # Errors
    ///
    /// A folder or list that cannot be read.
    pub fn checkpoints(&self) -> Result<Vec<PathBuf>, RunError> {
        let folder = self.checkpoints_folder();
        let names = self.checkpoint_names()?;
        Ok(names.iter().map(|name| folder.join(name)).collect())
    }

    /// Removes all but the newest `keep_last` checkpoints whose names begin with `prefix`, never one
    /// that `latest` or `best` names, and returns the paths that are gone.
    ///
    /// # Errors
    ///
    /// A run that is gone or was opened to be read; a folder that cannot be read or removed.
    pub fn prune(&self, prefix: &str, keep_last: usize) -> Result<Vec<PathBuf>, RunError> {
        self.check_still_there()?;
        // While nobody knows the latest, nothing goes; a best one that somebody removed protects
        // nothing any more.
        let best = match self.best_checkpoint() {
            Err(RunError::LostCheckpoint { .. }) => None,
            best => best?,
        };
        let kept = [self.latest_checkpoint()?, best];
        let mut names = self.checkpoint_names()?;
        names.retain(|name| name.starts_with(prefix));
        let folder = self.checkpoints_folder();
        let n_old = names.len().saturating_sub(keep_last);
        let mut removed = Vec::new();
        for name in &names[..n_old] {
            let path = folder.join(name);
            if !kept.contains(&Some(path.clone())) {
                remove(&path).map_err(RunError::unwritable(&path))?;
                removed.push(path);
            }
        }
        if !removed.is_empty() {
            self.write_order(&self.checkpoint_names()?)?;
        }
        Ok(removed)
    }

    /// The folder of the checkpoint `name`, which exists.
    pub(crate) fn existing(&self, name: &str) -> Result<PathBuf, RunError> {
        let path = self.checkpoints_folder().join(name);
        if is_checkpoint_name(name) && path.is_dir() {
            Ok(path)
        } else {
            Err(RunError::NoCheckpoint { path })
        }
    }

    /// Names of the complete checkpoints, oldest first: those of the list, then those it lacks.
    pub(crate) fn checkpoint_names(&self) -> Result<Vec<String>, RunError> {
        let folder = self.checkpoints_folder();
        let list = folder.join(ORDER);
        // A list that is not text has forgotten the order and nothing else.
        let text = match fs::read(&list) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(RunError::unreadable(&list)(error)),
        };
        let mut present = Vec::new();
        for entry in fs::read_dir(&folder).map_err(RunError::unreadable(&folder))? {
            let entry = entry.map_err(RunError::unreadable(&folder))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_checkpoint_name(&name) && entry.path().is_dir() {
                present.push(name);
            }
        }
        let age = |name: &String| text.lines().position(|line| line == name);
        present.sort_by_key(|name| (age(name).unwrap_or(usize::MAX), name.clone()));
        Ok(present)
    }

    fn pointed_at(&self, pointer: &str) -> Result<Option<PathBuf>, RunError> {
        let pointer = self.checkpoints_folder().join(pointer);
        if !pointer.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&pointer).map_err(RunError::unreadable(&pointer))?;
        let name = text.trim_end();
        self.existing(name)
            .map(Some)
            .map_err(|_| RunError::LostCheckpoint {
                pointer,
                name: name.to_owned(),
            })
    }

    /// Checks the name, clears leftovers and makes the hidden folder: `(final path, hidden path)`.
    fn prepare(&self, name: &str) -> Result<(PathBuf, PathBuf), RunError> {
        if !is_checkpoint_name(name) {
            return Err(RunError::BadName {
                name: name.to_owned(),
                what: "a checkpoint",
                except: ", and neither `latest`, `best` nor `order` nor a name that begins with \
                         `damaged-` or `replaced-`",
            });
        }
        let folder = self.checkpoints_folder();
        let path = folder.join(name);
        self.remove_leftovers()?;
        let hidden = unfinished(&path).map_err(RunError::unwritable(&path))?;
        fs::create_dir(&hidden).map_err(RunError::unwritable(&hidden))?;
        Ok((path, hidden))
    }

    /// Adds the state and the digests to what the caller has written. Errors name `path`, the place
    /// that the files will have.
    fn complete(
        &self,
        hidden: &Path,
        path: &Path,
        state: &impl Serialize,
        lines: &Lines,
    ) -> Result<(), RunError> {
        for name in [STATE, SUMS] {
            if hidden.join(name).exists() {
                return Err(RunError::Exists {
                    path: path.join(name),
                    mend: "give the checkpoint's own file another name",
                });
            }
        }
        let state_path = path.join(STATE);
        if let Some((key, value)) =
            first_non_finite(state).and_then(|gap| Some((gap.key, gap.value?)))
        {
            let path = state_path;
            return Err(RunError::NotFinite { key, value, path });
        }
        let metrics_bytes = lines.metrics_end()?;
        let state = StateFile {
            format: FORMAT,
            program: concat!("longhand ", env!("CARGO_PKG_VERSION")).to_owned(),
            config_sha256: self.run_config_sha256()?,
            metrics_bytes,
            files: sizes_of(hidden).map_err(RunError::unwritable(path))?,
            body: state,
        };
        let mut text = serde_json::to_vec_pretty(&state).map_err(|source| RunError::NotJson {
            path: state_path,
            source,
        })?;
        text.push(b'\n');
        fs::write(hidden.join(STATE), text)
            .and_then(|()| sums_of(hidden))
            .and_then(|sums| fs::write(hidden.join(SUMS), sums))
            .and_then(|()| sync_tree(hidden))
            .map_err(RunError::unwritable(path))
    }

    /// Gives the hidden folder its name, or keeps the same checkpoint that has it.
    fn publish(&self, name: &str, path: &Path, hidden: &Path) -> Result<(), RunError> {
        // A link that leads nowhere is in the way too.
        let taken = fs::symlink_metadata(path).is_ok();
        let kept = taken && is_the_same(path, hidden).map_err(RunError::unreadable(path))?;
        if kept {
            fs::remove_dir_all(hidden).map_err(RunError::unwritable(hidden))?;
        } else {
            let mut aside = None;
            if taken {
                let whole = verify_checkpoint(path).is_ok();
                let prefix = if whole { REPLACED } else { DAMAGED };
                let place = self.free_name(&format!("{prefix}{name}"));
                fs::rename(path, &place).map_err(RunError::unwritable(&place))?;
                aside = Some(place);
            }
            fs::rename(hidden, path).map_err(|source| {
                // Another try, or a reader, finds what was there.
                let _ = aside.map(|aside| fs::rename(aside, path));
                RunError::unwritable(path)(source)
            })?;
            sync_parent(path).map_err(RunError::unwritable(path))?;
        }
        self.name_latest(name)
    }

    fn name_latest(&self, name: &str) -> Result<(), RunError> {
        let mut names = self.checkpoint_names()?;
        names.retain(|other| other != name);
        names.push(name.to_owned());
        self.write_order(&names)?;
        let pointer = self.checkpoints_folder().join(LATEST);
        write_file_atomic(&pointer, format!("{name}\n").as_bytes())
    }

    /// `name` in the folder of checkpoints, with `-2`, `-3` and so on if that is taken.
    fn free_name(&self, name: &str) -> PathBuf {
        let folder = self.checkpoints_folder();
        let mut path = folder.join(name);
        let mut n_there = 1_u32;
        while fs::symlink_metadata(&path).is_ok() {
            n_there += 1;
            path = folder.join(format!("{name}-{n_there}"));
        }
        path
    }

    /// Removes what killed runs left.
    fn remove_leftovers(&self) -> Result<(), RunError> {
        let folder = self.checkpoints_folder();
        for entry in fs::read_dir(&folder).map_err(RunError::unreadable(&folder))? {
            let path = entry.map_err(RunError::unreadable(&folder))?.path();
            let is_leftover = path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(UNFINISHED));
            if is_leftover {
                let removed = if path.is_dir() {
                    fs::remove_dir_all(&path)
                } else {
                    fs::remove_file(&path)
                };
                removed.map_err(RunError::unwritable(&path))?;
            }
        }
        Ok(())
    }

    fn write_order(&self, names: &[String]) -> Result<(), RunError> {
        let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
        write_file_atomic(&self.checkpoints_folder().join(ORDER), lines.as_bytes())
    }
}

fn is_checkpoint_name(name: &str) -> bool {
    is_plain(name)
        && ![LATEST, BEST, ORDER].contains(&name)
        && ![DAMAGED, REPLACED]
            .iter()
            .any(|start| name.starts_with(start))
}

/// Whether the checkpoint at `path` is whole and the digests of `hidden` are its own.
fn is_the_same(path: &Path, hidden: &Path) -> io::Result<bool> {
    if verify_checkpoint(path).is_err() {
        return Ok(false);
    }
    Ok(fs::read(path.join(SUMS))? == fs::read(hidden.join(SUMS))?)
}

/// Removes a checkpoint. It loses its name first: a kill must not leave half of it under that name.
fn remove(path: &Path) -> io::Result<()> {
    let hidden = unfinished(path)?;
    fs::rename(path, &hidden)?;
    fs::remove_dir_all(&hidden)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use serde_json::{Value, json};

    use super::*;

    fn run() -> (tempfile::TempDir, RunDir) {
        let root = tempfile::tempdir().expect("a folder");
        let run = RunDir::create(root.path()).expect("made");
        run.write_config("seed = 1\n").expect("written");
        (root, run)
    }

    fn try_save<E>(
        run: &RunDir,
        name: &str,
        write: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, CheckpointError<E>> {
        let lines = run.lines().expect("opened");
        run.save_checkpoint(name, &json!({"step": 1, "best": null}), &lines, write)
    }

    fn save_text(run: &RunDir, name: &str, text: &str) -> PathBuf {
        try_save(run, name, |folder| {
            fs::write(folder.join("model.txt"), text)
        })
        .expect("saved")
    }

    fn save(run: &RunDir, name: &str) -> PathBuf {
        save_text(run, name, name)
    }

    fn text(path: &Path) -> String {
        fs::read_to_string(path.join("model.txt")).expect("readable")
    }

    fn names(paths: &[PathBuf]) -> Vec<&str> {
        let names = paths.iter().map(|path| path.file_name().expect("a name"));
        names.map(|name| name.to_str().expect("UTF-8")).collect()
    }

    /// Everything in the folder of checkpoints, hidden things too.
    fn entries(run: &RunDir) -> Vec<String> {
        let entries = fs::read_dir(run.checkpoints_folder()).expect("readable");
        let mut names: Vec<String> = entries
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("UTF-8")
            })
            .collect();
        names.sort();
        names
    }

    fn latest(run: &RunDir) -> Option<PathBuf> {
        run.latest_checkpoint().expect("readable")
    }

    #[test]
    fn a_run_begins_without_checkpoints() {
        let (_root, run) = run();
        assert_eq!(latest(&run), None);
        assert_eq!(run.checkpoints().expect("listed"), Vec::<PathBuf>::new());
        assert_eq!(
            run.prune("", 0).expect("nothing to do"),
            Vec::<PathBuf>::new()
        );
    }

    #[test]
    fn checkpoints_come_in_the_order_of_saving_and_the_last_is_the_latest() {
        let (_root, run) = run();
        for name in ["warm-start-000100", "rl-000010", "rl-000009"] {
            let path = save(&run, name);
            assert_eq!(text(&path), name);
            assert_eq!(latest(&run), Some(path));
        }
        let all = run.checkpoints().expect("listed");
        assert_eq!(names(&all), ["warm-start-000100", "rl-000010", "rl-000009"]);
        let pointer = run.path().join("checkpoints/latest");
        assert_eq!(
            fs::read_to_string(pointer).expect("readable"),
            "rl-000009\n"
        );
    }

    #[test]
    fn folders_inside_a_checkpoint_are_kept() {
        let (_root, run) = run();
        let saved = try_save(&run, "one", |folder| {
            fs::create_dir(folder.join("optimizer"))?;
            fs::write(folder.join("optimizer/state"), [1, 2, 3])
        });
        let path = saved.expect("saved");
        verify_checkpoint(&path).expect("whole");
        assert_eq!(
            fs::read(path.join("optimizer/state")).expect("readable"),
            [1, 2, 3]
        );
    }

    #[test]
    fn an_error_while_writing_keeps_what_was_there_and_leaves_nothing_else() {
        let (_root, run) = run();
        let first = save(&run, "first");
        let before = entries(&run);
        let error = try_save(&run, "second", |folder| {
            fs::write(folder.join("model.txt"), "half a mo")?;
            Err(io::Error::other("the disk is full"))
        })
        .expect_err("the caller failed");
        assert_eq!(
            error.to_string(),
            "cannot write the checkpoint `second`: the disk is full; those before it are whole: mend the cause \
             and resume the run"
        );
        assert_eq!(entries(&run), before);
        assert_eq!(latest(&run), Some(first));
        save(&run, "second");
    }

    #[test]
    fn what_killed_runs_left_is_ignored_and_then_removed() {
        let (_root, run) = run();
        let first = save(&run, "first");
        let folder = run.checkpoints_folder();
        fs::create_dir(folder.join(".unfinished-second")).expect("made");
        fs::write(folder.join(".unfinished-second/model.txt"), "half").expect("written");
        fs::create_dir(folder.join(".unfinished-third")).expect("made");
        fs::write(folder.join(".unfinished-latest"), "sec").expect("written");
        assert_eq!(names(&run.checkpoints().expect("listed")), ["first"]);
        assert_eq!(latest(&run), Some(first));
        let second = save(&run, "second");
        assert_eq!(fs::read_dir(second).expect("readable").count(), 3);
        assert_eq!(entries(&run), ["first", "latest", "order", "second"]);
    }

    #[test]
    fn a_kill_between_rename_and_naming_leaves_a_checkpoint_that_counts() {
        let (_root, run) = run();
        let b = save(&run, "b");
        fs::create_dir(run.checkpoints_folder().join("a")).expect("made");
        assert_eq!(names(&run.checkpoints().expect("listed")), ["b", "a"]);
        assert_eq!(
            latest(&run),
            Some(b),
            "what `latest` names is what a run goes on from"
        );
        save(&run, "c");
        assert_eq!(names(&run.checkpoints().expect("listed")), ["b", "a", "c"]);
    }

    #[test]
    fn a_checkpoint_that_is_made_again_is_kept_if_it_is_the_same_and_becomes_the_newest() {
        let (_root, run) = run();
        let one = save(&run, "one");
        save(&run, "two");
        let marked = one.join("note.txt");
        fs::write(&marked, "somebody's own").expect("written");
        assert_eq!(save(&run, "one"), one);
        assert!(marked.is_file(), "the old folder was kept");
        assert_eq!(latest(&run), Some(one));
        assert_eq!(names(&run.checkpoints().expect("listed")), ["two", "one"]);
        assert_eq!(entries(&run), ["latest", "one", "order", "two"]);
    }

    #[test]
    fn a_checkpoint_that_is_made_again_and_differs_moves_aside() {
        let (_root, run) = run();
        let path = save_text(&run, "one", "first");
        save_text(&run, "one", "second");
        save_text(&run, "one", "third");
        assert_eq!(text(&path), "third");
        let folder = run.checkpoints_folder();
        assert_eq!(text(&folder.join("replaced-one")), "first");
        assert_eq!(text(&folder.join("replaced-one-2")), "second");
        for place in ["one", "replaced-one", "replaced-one-2"] {
            verify_checkpoint(&folder.join(place)).expect("whole");
        }
        assert_eq!(names(&run.checkpoints().expect("listed")), ["one"]);
        assert_eq!(
            names(&run.prune("", 0).expect("pruned")),
            Vec::<&str>::new()
        );
    }

    #[test]
    fn a_damaged_checkpoint_moves_aside_even_if_it_is_a_file() {
        let (_root, run) = run();
        let path = save(&run, "one");
        fs::write(path.join("model.txt"), "onf").expect("written");
        save(&run, "one");
        assert_eq!(text(&path), "one");
        let folder = run.checkpoints_folder();
        assert_eq!(text(&folder.join("damaged-one")), "onf");
        fs::write(folder.join("two"), "a file").expect("written");
        save(&run, "two");
        assert!(folder.join("damaged-two").is_file());
        assert_eq!(names(&run.checkpoints().expect("listed")), ["one", "two"]);
    }

    #[test]
    fn the_state_says_what_the_header_says() {
        let (_root, run) = run();
        let mut lines = run.lines().expect("opened");
        lines.metrics(&json!({"step": 0})).expect("appended");
        lines.timings(&json!({"s": 0})).expect("appended");
        let body = json!({"step": 1, "gates": [0.1, 0.2], "best": null});
        let write = |folder: &Path| fs::write(folder.join("model.txt"), "1234");
        let path = run
            .save_checkpoint("one", &body, &lines, write)
            .expect("saved");
        let state = fs::read(path.join("state.json")).expect("readable");
        let state: Value = serde_json::from_slice(&state).expect("JSON");
        // printf 'seed = 1\n' | sha256sum
        let config = "46545c629053298cb8b068758bd6cb0ba83f1533f50a054de71575535afea66b";
        let program = format!("longhand {}", env!("CARGO_PKG_VERSION"));
        let expected = json!({
            "format": 1, "program": program, "config_sha256": config,
            "metrics_bytes": 11, "files": {"model.txt": 4}, "body": body,
        });
        assert_eq!(state, expected);
    }

    #[test]
    fn a_state_with_a_number_that_is_not_finite_is_refused_with_its_place() {
        let (_root, run) = run();
        let lines = run.lines().expect("opened");
        let body = BTreeMap::from([("entropy_gate", f64::NAN)]);
        let error = run
            .save_checkpoint("one", &body, &lines, |_| Ok::<(), Infallible>(()))
            .expect_err("it would come back as null");
        let message = error.to_string();
        assert!(message.starts_with("`entropy_gate` is NaN"), "{message}");
        assert_eq!(entries(&run), Vec::<String>::new());
    }

    #[test]
    fn the_callers_files_take_no_names_of_ours_and_are_plain() {
        let (_root, run) = run();
        for (name, message) in [
            ("state.json", "one/state.json exists"),
            ("SHA256SUMS", "one/SHA256SUMS exists"),
            (".hidden", "`.hidden` is no plain file"),
            ("two words", "`two words` is no plain file"),
        ] {
            let error = try_save(&run, "one", |folder| fs::write(folder.join(name), "mine"))
                .expect_err("refused")
                .to_string();
            assert!(error.contains(message), "{error}");
            assert_eq!(entries(&run), Vec::<String>::new());
        }
    }

    #[test]
    fn the_best_is_named_and_never_pruned() {
        let (_root, run) = run();
        assert_eq!(run.best_checkpoint().expect("readable"), None);
        let error = run.set_best("a").expect_err("not there");
        assert!(matches!(error, RunError::NoCheckpoint { .. }), "{error}");
        for name in ["a", "b", "c", "d"] {
            save(&run, name);
        }
        run.set_best("a").expect("named");
        run.set_best("b").expect("named");
        let best = run.checkpoints_folder().join("b");
        assert_eq!(run.best_checkpoint().expect("readable"), Some(best));
        assert_eq!(names(&run.prune("", 1).expect("pruned")), ["a", "c"]);
        assert_eq!(names(&run.checkpoints().expect("listed")), ["b", "d"]);
        assert!(run.set_best("latest").is_err());
        fs::remove_dir_all(run.checkpoints_folder().join("b")).expect("removed");
        assert!(run.best_checkpoint().is_err());
        save(&run, "e");
        assert_eq!(names(&run.prune("", 1).expect("pruned")), ["d"]);
    }

    #[test]
    fn an_order_that_is_not_text_is_forgotten_and_nothing_else() {
        let (_root, run) = run();
        save(&run, "b");
        save(&run, "a");
        fs::write(run.checkpoints_folder().join(ORDER), [255, 10]).expect("written");
        assert_eq!(names(&run.checkpoints().expect("listed")), ["a", "b"]);
    }

    #[test]
    fn names_that_mean_something_else_are_refused() {
        let (_root, run) = run();
        for name in [
            "",
            "..",
            "a/b",
            ".hidden",
            "latest",
            "best",
            "order",
            "damaged-a",
            "replaced-a",
        ] {
            let error = try_save(&run, name, |_| Ok::<(), Infallible>(())).expect_err("refused");
            assert!(
                error.to_string().contains("cannot name a checkpoint"),
                "{error}"
            );
        }
        assert_eq!(entries(&run), Vec::<String>::new());
    }

    #[test]
    fn a_folder_of_checkpoints_that_is_removed_or_replaced_is_an_error() {
        let (_root, run) = run();
        let folder = run.checkpoints_folder();
        let lines = run.lines().expect("opened");
        let check = |write: &dyn Fn(&Path) -> io::Result<()>| {
            let error = run.save_checkpoint("one", &1, &lines, write);
            let error = error.expect_err("no folder").to_string();
            let gone = format!("{} is gone", folder.display());
            assert!(error.starts_with(&gone), "{error}");
        };
        fs::remove_dir(&folder).expect("removed");
        check(&|_| Ok(()));
        assert!(!folder.exists());
        fs::write(&folder, "a file").expect("written");
        check(&|_| Ok(()));
        assert_eq!(fs::read_to_string(&folder).expect("kept"), "a file");
        if !cfg!(unix) {
            return;
        }
        // While the checkpoint is written, and whoever writes it makes the folder anew.
        fs::remove_file(&folder).expect("removed");
        fs::create_dir(&folder).expect("made");
        let moved = run.path().join("moved");
        check(&|hidden| {
            fs::rename(&folder, &moved)?;
            fs::create_dir_all(hidden)?;
            fs::write(hidden.join("model.txt"), "one")
        });
        assert_eq!(fs::read_dir(&folder).expect("readable").count(), 0);
    }

    #[test]
    fn the_latest_can_be_named_and_is_left_alone_where_it_is_named() {
        let (_root, run) = run();
        save(&run, "one");
        let two = save(&run, "two");
        let pointer = run.checkpoints_folder().join(LATEST);
        for text in ["one\n", "gone\n"] {
            fs::write(&pointer, text).expect("written");
            run.set_latest("two").expect("written");
            assert_eq!(
                run.latest_checkpoint().expect("readable"),
                Some(two.clone())
            );
        }
        fs::write(&pointer, "two").expect("written");
        run.set_latest("two").expect("nothing to do");
        assert_eq!(fs::read_to_string(&pointer).expect("readable"), "two");
        run.set_latest("three").expect_err("not there");
    }

    #[test]
    fn a_pointer_to_nothing_is_an_error() {
        let (_root, run) = run();
        save(&run, "one");
        for text in ["gone\n", "", "../checkpoints/one", "one\ntwo"] {
            fs::write(run.checkpoints_folder().join(LATEST), text).expect("written");
            let error = run.latest_checkpoint().expect_err("no such checkpoint");
            assert!(
                matches!(error, RunError::LostCheckpoint { .. }),
                "{text:?}: {error}"
            );
            assert!(
                run.prune("", 0).is_err(),
                "nothing is removed while nobody knows the latest"
            );
        }
    }

    #[test]
    fn pruning_keeps_the_newest_and_the_latest() {
        let (_root, run) = run();
        for name in ["d", "c", "b", "a"] {
            save(&run, name);
        }
        assert_eq!(
            names(&run.prune("", 5).expect("pruned")),
            Vec::<&str>::new()
        );
        assert_eq!(names(&run.prune("", 2).expect("pruned")), ["d", "c"]);
        assert_eq!(names(&run.checkpoints().expect("listed")), ["b", "a"]);
        assert_eq!(entries(&run), ["a", "b", "latest", "order"]);
        assert_eq!(names(&run.prune("", 0).expect("pruned")), ["b"]);
        assert_eq!(latest(&run), Some(run.checkpoints_folder().join("a")));
        // A run may go on from an older one; then that one is what must not be lost.
        save(&run, "e");
        fs::write(run.checkpoints_folder().join(LATEST), "a\n").expect("written");
        assert_eq!(
            names(&run.prune("", 1).expect("pruned")),
            Vec::<&str>::new()
        );
        assert_eq!(names(&run.checkpoints().expect("listed")), ["a", "e"]);
    }
}
