//! Writing so that a reader, or a run that is killed, never meets half a file.
//!
//! Bytes go into a hidden sibling, reach the disk, and take their name by a rename. The folder is
//! synchronised too: until then the rename itself could be lost with the power.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::error::RunError;

/// Start of the names of files and folders that are not finished. Names that callers give never
/// start with a dot, so the two cannot meet.
pub(crate) const UNFINISHED: &str = ".unfinished-";

/// Writes `bytes` to `path`, replacing what is there in one step.
///
/// One writer at a time: the unfinished sibling's name is made from `path` alone, so that what a
/// killed run left is overwritten by the next one.
///
/// # Errors
///
/// A path without a file name, or whatever the system says; what was at `path` is then still there.
pub fn write_file_atomic(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    let unfinished = unfinished(path).map_err(RunError::unwritable(path))?;
    write_then_rename(path, &unfinished, bytes).map_err(|source| {
        // The first error is the one to tell; a leftover harms nobody.
        let _ = fs::remove_file(&unfinished);
        RunError::unwritable(path)(source)
    })
}

fn write_then_rename(path: &Path, unfinished: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(unfinished, path)?;
    sync_parent(path)
}

/// The hidden sibling in which `path` is prepared.
pub(crate) fn unfinished(path: &Path) -> io::Result<PathBuf> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path has no file name"))?;
    let mut hidden = std::ffi::OsString::from(UNFINISHED);
    hidden.push(name);
    Ok(path.with_file_name(hidden))
}

/// Makes the entry of `path` in its folder outlive a power cut.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_folder(Path::new(".")),
        Some(parent) => sync_folder(parent),
        None => Ok(()),
    }
}

/// Synchronises a folder's list of entries, where the system can open a folder at all.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(path)?.sync_all()?;
    }
    Ok(())
}

/// Synchronises every file and folder under `path`, and `path` itself.
pub(crate) fn sync_tree(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sync_tree(&entry.path())?;
        } else if kind.is_file() {
            sync_file(&entry.path())?;
        }
    }
    sync_folder(path)
}

fn sync_file(path: &Path) -> io::Result<()> {
    // Windows synchronises only what is open for writing; elsewhere a file may be read-only.
    let mut options = OpenOptions::new();
    options.read(true).write(cfg!(windows));
    options.open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("the folder is readable");
        entries
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("UTF-8")
            })
            .collect()
    }

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.txt");
        write_file_atomic(&path, b"first, and longer").expect("written");
        write_file_atomic(&path, b"second").expect("written");
        assert_eq!(fs::read(&path).expect("readable"), b"second");
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn what_a_killed_run_left_is_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.txt");
        fs::write(unfinished(&path).expect("a name"), "half a fi").expect("written");
        write_file_atomic(&path, b"whole").expect("written");
        assert_eq!(fs::read(&path).expect("readable"), b"whole");
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn a_failed_write_names_the_path_and_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        // A folder with something in it cannot be replaced by a file.
        let path = folder.path().join("taken");
        fs::create_dir_all(path.join("inside")).expect("made");
        let error = write_file_atomic(&path, b"text").expect_err("a folder is in the way");
        assert!(
            error.to_string().contains(&path.display().to_string()),
            "{error}"
        );
        assert_eq!(names(folder.path()), ["taken"]);

        let error = write_file_atomic(Path::new("/"), b"text").expect_err("no file name");
        assert!(matches!(error, RunError::Unwritable { .. }), "{error}");
    }
}
