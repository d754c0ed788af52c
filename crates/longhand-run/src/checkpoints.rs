//! Checkpoints: a folder each, complete under its name or not there at all.
//!
//! The caller writes into a hidden sibling. Its files and folders reach the disk, it takes its name
//! by a rename, and only then does `checkpoints/latest` name it. A run that is killed anywhere on
//! the way leaves the checkpoints it had, and at most a hidden folder that the next save removes.
//!
//! `checkpoints/order` lists the names in the order of saving: names of several stages do not sort
//! by age, and times of folders change when a run is copied. A folder that the list lacks, because a
//! run was killed between rename and list, is complete and counts as the newest.

use std::fs;
use std::path::{Path, PathBuf};

use crate::atomic_file::{UNFINISHED, sync_parent, sync_tree, unfinished, write_file_atomic};
use crate::error::{CheckpointError, RunError};
use crate::run_dir::{RunDir, is_plain};

const LATEST: &str = "latest";
const ORDER: &str = "order";

impl RunDir {
    /// Saves a checkpoint: `write` gets an empty folder and fills it. Returns the folder's path.
    ///
    /// A name is used once. A step that is run again after a kill may find its checkpoint there
    /// already; that one is complete.
    ///
    /// # Errors
    ///
    /// What `write` returns; a name that is taken or cannot be a folder's; anything that cannot be
    /// written. The checkpoints that were there before still are, and `latest` names one of them or,
    /// if nothing but the naming failed, the new one is there too.
    pub fn save_checkpoint<E>(
        &self,
        name: &str,
        write: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, CheckpointError<E>> {
        let (path, hidden) = self.prepare(name)?;
        if let Err(source) = write(&hidden) {
            // The first error is the one to tell; the next save removes what stays.
            let _ = fs::remove_dir_all(&hidden);
            return Err(CheckpointError::Write {
                name: name.to_owned(),
                source,
            });
        }
        self.publish(name, &path, &hidden)?;
        Ok(path)
    }

    /// The newest checkpoint, or none if the run has not saved any.
    ///
    /// # Errors
    ///
    /// A pointer that cannot be read or names a folder that is gone.
    pub fn latest_checkpoint(&self) -> Result<Option<PathBuf>, RunError> {
        let pointer = self.checkpoints_folder().join(LATEST);
        if !pointer.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&pointer).map_err(RunError::unreadable(&pointer))?;
        let name = text.trim_end();
        let path = self.checkpoints_folder().join(name);
        if !is_plain(name) || !path.is_dir() {
            return Err(RunError::LostCheckpoint {
                pointer,
                name: name.to_owned(),
            });
        }
        Ok(Some(path))
    }

    /// All checkpoints, oldest first.
    ///
    /// # Errors
    ///
    /// A folder or list that cannot be read.
    pub fn checkpoints(&self) -> Result<Vec<PathBuf>, RunError> {
        let folder = self.checkpoints_folder();
        let names = self.checkpoint_names()?;
        Ok(names.iter().map(|name| folder.join(name)).collect())
    }

    /// Removes all but the newest `keep_last` checkpoints whose names begin with `prefix`, never the
    /// one that `latest` names, and returns the paths that are gone.
    ///
    /// # Errors
    ///
    /// A folder that cannot be read or removed.
    pub fn prune(&self, prefix: &str, keep_last: usize) -> Result<Vec<PathBuf>, RunError> {
        let latest = self.latest_checkpoint()?;
        let mut names = self.checkpoint_names()?;
        names.retain(|name| name.starts_with(prefix));
        let folder = self.checkpoints_folder();
        let all: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
        let n_old = all.len().saturating_sub(keep_last);
        let mut removed = Vec::new();
        for path in all.iter().take(n_old) {
            if latest.as_ref() != Some(path) {
                remove(path).map_err(RunError::unwritable(path))?;
                removed.push(path.clone());
            }
        }
        if !removed.is_empty() {
            self.write_order(&self.checkpoint_names()?)?;
        }
        Ok(removed)
    }

    /// Checks the name, clears leftovers and makes the hidden folder: `(final path, hidden path)`.
    fn prepare(&self, name: &str) -> Result<(PathBuf, PathBuf), RunError> {
        if !is_plain(name) || [LATEST, ORDER].contains(&name) {
            return Err(RunError::BadName {
                name: name.to_owned(),
                what: "a checkpoint",
                except: ", and neither `latest` nor `order`",
            });
        }
        let folder = self.checkpoints_folder();
        let path = folder.join(name);
        if path.exists() {
            return Err(RunError::Exists {
                path,
                mend: "save under another name",
            });
        }
        fs::create_dir_all(&folder).map_err(RunError::unwritable(&folder))?;
        self.remove_leftovers()?;
        let hidden = unfinished(&path).map_err(RunError::unwritable(&path))?;
        fs::create_dir(&hidden).map_err(RunError::unwritable(&hidden))?;
        Ok((path, hidden))
    }

    fn publish(&self, name: &str, path: &Path, hidden: &Path) -> Result<(), RunError> {
        let renamed = sync_tree(hidden).and_then(|()| fs::rename(hidden, path));
        renamed.map_err(|source| {
            let _ = fs::remove_dir_all(hidden);
            RunError::unwritable(path)(source)
        })?;
        sync_parent(path).map_err(RunError::unwritable(path))?;
        self.write_order(&self.checkpoint_names()?)?;
        let pointer = self.checkpoints_folder().join(LATEST);
        write_file_atomic(&pointer, format!("{name}\n").as_bytes())
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

    /// Names of the complete checkpoints, oldest first: those of the list, then those it lacks.
    fn checkpoint_names(&self) -> Result<Vec<String>, RunError> {
        let folder = self.checkpoints_folder();
        let list = folder.join(ORDER);
        let text = if list.exists() {
            fs::read_to_string(&list).map_err(RunError::unreadable(&list))?
        } else {
            String::new()
        };
        let mut present = Vec::new();
        for entry in fs::read_dir(&folder).map_err(RunError::unreadable(&folder))? {
            let entry = entry.map_err(RunError::unreadable(&folder))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_plain(&name) && entry.path().is_dir() {
                present.push(name);
            }
        }
        let age = |name: &String| text.lines().position(|line| line == name);
        present.sort_by_key(|name| (age(name).unwrap_or(usize::MAX), name.clone()));
        Ok(present)
    }

    fn write_order(&self, names: &[String]) -> Result<(), RunError> {
        let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
        write_file_atomic(&self.checkpoints_folder().join(ORDER), lines.as_bytes())
    }
}

/// Removes a checkpoint. It loses its name first: a kill must not leave half of it under that name.
fn remove(path: &Path) -> std::io::Result<()> {
    let hidden = unfinished(path)?;
    fs::rename(path, &hidden)?;
    fs::remove_dir_all(&hidden)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io;

    use super::*;

    fn run() -> (tempfile::TempDir, RunDir) {
        let root = tempfile::tempdir().expect("a folder");
        let run = RunDir::create(root.path()).expect("made");
        (root, run)
    }

    fn save(run: &RunDir, name: &str) -> PathBuf {
        run.save_checkpoint(name, |folder| fs::write(folder.join("model.txt"), name))
            .expect("saved")
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
            assert_eq!(
                fs::read_to_string(path.join("model.txt")).expect("readable"),
                name
            );
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
        let saved = run.save_checkpoint("one", |folder| {
            fs::create_dir(folder.join("optimizer"))?;
            fs::write(folder.join("optimizer/state"), [1, 2, 3])
        });
        let path = saved.expect("saved");
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
        let error = run
            .save_checkpoint("second", |folder| {
                fs::write(folder.join("model.txt"), "half a mo")?;
                Err(io::Error::other("the disk is full"))
            })
            .expect_err("the caller failed");
        assert_eq!(
            error.to_string(),
            "cannot write the checkpoint `second`: the disk is full"
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
        assert_eq!(fs::read_dir(second).expect("readable").count(), 1);
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
    fn names_are_used_once() {
        let (_root, run) = run();
        let path = save(&run, "one");
        let again = run.save_checkpoint("one", |_| -> Result<(), Infallible> {
            panic!("nothing is written for a name that is taken")
        });
        let message = again.expect_err("taken").to_string();
        assert!(message.contains("one exists"), "{message}");
        assert_eq!(
            fs::read_to_string(path.join("model.txt")).expect("readable"),
            "one"
        );
    }

    #[test]
    fn names_that_mean_something_else_are_refused() {
        let (_root, run) = run();
        for name in ["", "..", "a/b", ".hidden", "latest", "order"] {
            let error = run
                .save_checkpoint(name, |_| Ok::<(), Infallible>(()))
                .expect_err("refused");
            assert!(
                error.to_string().contains("cannot name a checkpoint"),
                "{error}"
            );
        }
        assert_eq!(entries(&run), Vec::<String>::new());
    }

    #[test]
    fn a_file_in_the_way_of_the_folder_is_an_error() {
        let (_root, run) = run();
        fs::remove_dir(run.checkpoints_folder()).expect("removed");
        fs::write(run.checkpoints_folder(), "a file").expect("written");
        let error = run
            .save_checkpoint("one", |_| Ok::<(), Infallible>(()))
            .expect_err("no folder");
        assert!(
            matches!(error, CheckpointError::Run(RunError::Unwritable { .. })),
            "{error}"
        );
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
