//! The lock of a run, and whether its folder is still the one that was locked.
//!
//! `RUN/lock` is held with the system's lock on an open file: the system drops it when the process
//! ends, however it ends, so there is never a stale one to remove. The file stays and names the last
//! holder. Programs that the holder starts do not inherit it: the standard library opens files so
//! that they are closed in them (for a moment before they begin they have it, though, so it is tried for
//! a second).
//!
//! An open file outlives its name: a run whose folder is removed could write on without an error, and
//! nobody would ever read a line of it. So before each write the lock is compared with what is on disk
//! under its name. As long as it is held open, the system gives its number (inode) to no other file,
//! so a folder that was made anew in the same place is not taken for this one.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::atomic_file::UNFINISHED;
use crate::error::RunError;

const LOCK: &str = "lock";
/// The folder of checkpoints, in the run's.
pub(crate) const CHECKPOINTS: &str = "checkpoints";
/// How long a lock that is held is tried for.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the writing process holds of a run.
#[derive(Debug)]
pub(crate) struct Hold {
    lock: File,
    /// Digest of the configuration this process runs with, once it is known.
    pub(crate) config_sha256: OnceLock<String>,
}

impl Hold {
    /// Takes the lock of the run in the folder `run`.
    pub(crate) fn take(run: &Path) -> Result<Hold, RunError> {
        let path = run.join(LOCK);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut lock = options.open(&path).map_err(RunError::unwritable(&path))?;
        let start = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                // A program that the last holder was about to start has its files until it begins.
                Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => {
                    thread::sleep(Duration::from_millis(10));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(RunError::InUse {
                        path: run.to_path_buf(),
                        holder: holder(&mut lock),
                    });
                }
                Err(TryLockError::Error(source)) => {
                    return Err(RunError::Unlockable { path, source });
                }
            }
        }
        name_holder(&mut lock).map_err(RunError::unwritable(&path))?;
        let hold = Hold {
            lock,
            config_sha256: OnceLock::new(),
        };
        // Somebody may have removed the file while it was being locked.
        hold.check(run)?;
        Ok(hold)
    }

    /// Whether the folder is there, is the one that was locked, has its checkpoints, and takes files.
    pub(crate) fn check(&self, run: &Path) -> Result<(), RunError> {
        let there = match fs::metadata(run) {
            Ok(there) if there.is_dir() => there,
            Err(source) if !is_absence(&source) => return Err(RunError::unreadable(run)(source)),
            _ => return Err(gone(run)),
        };
        check_same_file(&self.lock, &run.join(LOCK))?;
        // A run is made with it. Where it is missing, so is what a resume begins at.
        let checkpoints = run.join(CHECKPOINTS);
        if !checkpoints.is_dir() {
            return Err(gone(&checkpoints));
        }
        if there.permissions().readonly() {
            // Permissions do not bind everybody (root, for one), and still say what somebody wants.
            return Err(read_only(run, "nobody may write to it"));
        }
        probe(run)
    }
}

/// Whether `path` still names the open `file`.
pub(crate) fn check_same_file(file: &File, path: &Path) -> Result<(), RunError> {
    let there = match fs::metadata(path) {
        Ok(there) => there,
        Err(source) if is_absence(&source) => return Err(gone(path)),
        Err(source) => return Err(RunError::unreadable(path)(source)),
    };
    let held = file.metadata().map_err(RunError::unreadable(path))?;
    if is_same(&held, &there) {
        Ok(())
    } else {
        Err(gone(path))
    }
}

/// Makes and removes an empty file: the only way to know that the folder takes files.
fn probe(run: &Path) -> Result<(), RunError> {
    let path = run.join(format!("{UNFINISHED}probe"));
    let tried = File::create(&path).and_then(|_| fs::remove_file(&path));
    tried.map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            read_only(run, &source.to_string())
        }
        io::ErrorKind::NotFound => gone(run),
        _ => RunError::unwritable(run)(source),
    })
}

fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

fn gone(path: &Path) -> RunError {
    RunError::Gone {
        path: path.to_path_buf(),
    }
}

fn read_only(path: &Path, reason: &str) -> RunError {
    RunError::ReadOnly {
        path: path.to_path_buf(),
        reason: reason.to_owned(),
    }
}

fn name_holder(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.seek(SeekFrom::Start(0))?;
    lock.write_all(format!("{}\n", std::process::id()).as_bytes())
}

/// Who holds the lock; nothing where the file cannot be read, or not yet.
fn holder(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.read_to_string(&mut text).ok()?;
    text.trim_end().parse().ok()
}

#[cfg(unix)]
fn is_same(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// Elsewhere the standard library has no stable number of a file, and open files cannot be removed.
#[cfg(not(unix))]
fn is_same(_: &Metadata, _: &Metadata) -> bool {
    true
}
