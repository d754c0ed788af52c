//! One repository's place in the cache.
//!
//! Blobs are named by their ETag, snapshots link to them by name, `refs` says the commit of a branch, and
//! `.no_exist` has an empty file for each optional file that a commit does not have: the layout that
//! Hugging Face's tools share.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use hf_hub::{Cache, CacheRepo, Repo, RepoType};

use super::plan::{INDEX, OPTIONAL, plan, shards};
use super::transfer::Fault;
use crate::{HubError, Repository};

pub(super) struct Shelf {
    cache: CacheRepo,
    folder: PathBuf,
}

/// A snapshot with everything that a model needs.
pub(super) struct Cached {
    pub(super) folder: PathBuf,
    /// Optional files that are neither there nor known to be in the commit.
    pub(super) unconfirmed: Vec<&'static str>,
}

impl Shelf {
    pub(super) fn new(cache: Cache, repository: &Repository) -> Self {
        let revision = repository.revision().to_owned();
        let repo = Repo::with_revision(repository.id().to_owned(), RepoType::Model, revision);
        Self {
            folder: cache.path().join(repo.folder_name()),
            cache: cache.repo(repo),
        }
    }

    pub(super) fn repository_folder(&self) -> PathBuf {
        self.folder.clone()
    }

    /// The folder of a snapshot.
    pub(super) fn folder(&self, commit: &str) -> PathBuf {
        self.cache.pointer_path(commit)
    }

    /// Where a file lies that has this ETag.
    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.cache.blob_path(etag)
    }

    /// Whether a snapshot has a file; a link to nothing is none.
    pub(super) fn has(&self, commit: &str, name: &str) -> bool {
        self.folder(commit).join(name).is_file()
    }

    /// The commit of a revision as of the last time that the hub was asked.
    pub(super) fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let commit = fs::read_to_string(self.folder.join("refs").join(revision)).ok()?;
        let commit = commit.trim();
        is_commit(commit).then(|| commit.to_owned())
    }

    /// A snapshot, if it is whole.
    pub(super) fn cached(&self, commit: &str) -> Option<Cached> {
        let folder = self.folder(commit);
        let has = |name: &str| folder.join(name).is_file();
        if plan(&has).ok()?.is_sharded {
            let shards = shards(&fs::read(folder.join(INDEX)).ok()?).ok()?;
            if !shards.iter().all(|shard| has(shard)) {
                return None;
            }
        }
        let is_open = |name: &&str| !has(name) && !self.absent(commit, name).exists();
        let unconfirmed = OPTIONAL.into_iter().filter(is_open).collect();
        Some(Cached {
            folder,
            unconfirmed,
        })
    }

    /// Notes that a commit does not have a file.
    pub(super) fn note_absent(&self, commit: &str, name: &str) -> Result<(), HubError> {
        let path = self.absent(commit, name);
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
            fs::write(&path, b"")
        };
        write().map_err(|source| cannot_write(&path, source))
    }

    /// Notes the commit of a revision; a commit is its own.
    pub(super) fn note_revision(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        if is_commit(revision) {
            return Ok(());
        }
        let written = self.cache.create_ref(commit);
        written.map_err(|source| cannot_write(&self.folder.join("refs").join(revision), source))
    }

    /// Puts a whole blob into a snapshot.
    pub(super) fn link(&self, commit: &str, name: &str, etag: &str) -> Result<(), Fault> {
        let link = self.folder(commit).join(name);
        let make = || {
            fs::create_dir_all(self.folder(commit))?;
            if link.symlink_metadata().is_ok() && !link.is_file() {
                fs::remove_file(&link)?;
            }
            link_blob(&self.blob(etag), etag, &link)
        };
        match make() {
            // Another process was faster.
            Err(_) if link.is_file() => Ok(()),
            made => made.map_err(|source| Fault::Disk {
                path: link,
                action: "link",
                source,
            }),
        }
    }

    fn absent(&self, commit: &str, name: &str) -> PathBuf {
        self.folder.join(".no_exist").join(commit).join(name)
    }
}

/// Relative, so that a cache can be moved.
#[cfg(unix)]
fn link_blob(_blob: &Path, etag: &str, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(Path::new("../../blobs").join(etag), link)
}

/// Symbolic links need rights that users of other systems may not have.
#[cfg(not(unix))]
fn link_blob(blob: &Path, _etag: &str, link: &Path) -> io::Result<()> {
    fs::hard_link(blob, link)
}

fn cannot_write(path: &Path, source: io::Error) -> HubError {
    HubError::Io {
        path: path.to_owned(),
        action: "write",
        source,
    }
}

/// Whether a revision is the full name of a commit.
pub(super) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|b| b.is_ascii_hexdigit())
}
