//! A snapshot of a repository: from the cache, or downloaded into it.
//!
//! `hf-hub` says where things lie, on the hub and in the cache. Requests are ours: a token goes to the hub
//! alone and not to where it redirects, a part is continued only where the answer begins at its end, and a
//! file is linked into the snapshot only when it has the length and, for large files, the SHA-256 that the
//! hub names.

mod plan;
mod shelf;
mod transfer;

use std::{fs, path::PathBuf, thread};

use hf_hub::{
    Cache, Repo, RepoType,
    api::{
        RepoInfo,
        sync::{ApiBuilder, ApiRepo},
    },
};

use crate::{Event, HubError, HubSettings, Repository};
use plan::{BY_HAND, INDEX, OPTIONAL, Plan, plan, shards};
use shelf::{Cached, Shelf, is_commit};
use transfer::{Client, Fault};

/// Faults in a row, without a new byte between them, after which a file is given up.
const MAX_FAULTS: u32 = 5;

/// The folder of a snapshot with all files that Longhand reads.
pub(crate) fn snapshot(
    repository: &Repository,
    settings: impl FnOnce() -> Result<HubSettings, HubError>,
    progress: &mut dyn FnMut(Event<'_>),
) -> Result<PathBuf, HubError> {
    let settings = settings()?;
    Search {
        repository,
        shelf: Shelf::new(Cache::new(settings.cache.clone()), repository),
        settings: &settings,
        progress,
    }
    .run()
}

struct Search<'a> {
    repository: &'a Repository,
    settings: &'a HubSettings,
    shelf: Shelf,
    progress: &'a mut dyn FnMut(Event<'_>),
}

impl Search<'_> {
    fn run(mut self) -> Result<PathBuf, HubError> {
        let revision = self.repository.revision();
        if is_commit(revision) {
            let cached = self.shelf.cached(revision);
            // A commit does not change, so that one that is whole needs no question.
            if let Some(cached) = cached.filter(|cached| cached.unconfirmed.is_empty()) {
                return Ok(cached.folder);
            }
        }
        if self.settings.is_offline {
            return self.offline("HF_HUB_OFFLINE is set");
        }
        let at = |revision: &str| {
            let id = self.repository.id().to_owned();
            let repo = Repo::with_revision(id, RepoType::Model, revision.to_owned());
            hub_repository(self.settings, repo)
        };
        let asked = at(revision).map_err(|reason| self.bad_answer(reason))?;
        let info_request = asked.info_request();
        let address = info_request.uri_ref();
        let address = address.ok_or_else(|| self.bad_answer("no address to ask".into()))?;
        let client = Client::new(self.settings, address);
        let info: RepoInfo = match client.info(address) {
            Ok(info) => info,
            Err(Fault::Unreachable(reason)) => return self.offline(&reason),
            Err(Fault::Status(404)) => {
                return Err(HubError::NoRepository {
                    repository: self.repository.id().to_owned(),
                    revision: revision.to_owned(),
                });
            }
            Err(fault) => return Err(self.told(fault, "its description")),
        };
        if !is_commit(&info.sha) {
            return Err(self.bad_answer(format!("{:?} is no commit", info.sha)));
        }
        // From here on by commit: a branch may move between two files.
        let pinned = at(&info.sha).map_err(|reason| self.bad_answer(reason))?;
        self.download(&client, &pinned, &info)
    }

    fn download(
        &mut self,
        client: &Client,
        pinned: &ApiRepo,
        info: &RepoInfo,
    ) -> Result<PathBuf, HubError> {
        let has = |file: &str| {
            info.siblings
                .iter()
                .any(|sibling| sibling.rfilename == file)
        };
        let missing = |file: String, advice| HubError::Missing {
            repository: self.repository.id().to_owned(),
            revision: self.repository.revision().to_owned(),
            file,
            advice,
        };
        let Plan { files, is_sharded } =
            plan(&has).map_err(|lack| missing(lack.file.to_owned(), lack.advice))?;
        // Looked at before anything large is downloaded.
        for file in &files {
            self.file(client, pinned, &info.sha, file)?;
        }
        if is_sharded {
            let path = self.shelf.folder(&info.sha).join(INDEX);
            let index = fs::read(&path).map_err(|source| HubError::Io {
                path,
                action: "read",
                source,
            })?;
            let shards = shards(&index).map_err(|reason| self.bad_answer(reason))?;
            if let Some(shard) = shards.iter().find(|shard| !has(shard)) {
                let missing = HubError::Missing {
                    repository: self.repository.id().to_owned(),
                    revision: self.repository.revision().to_owned(),
                    file: shard.clone(),
                    advice: ", which model.safetensors.index.json names",
                };
                return Err(missing);
            }
            for shard in &shards {
                self.file(client, pinned, &info.sha, shard)?;
            }
        }
        for file in OPTIONAL.into_iter().filter(|file| !has(file)) {
            self.shelf.note_absent(&info.sha, file)?;
        }
        // Last, so that the branch of an unreachable hub is a snapshot that is whole.
        self.shelf
            .note_revision(self.repository.revision(), &info.sha)?;
        Ok(self.shelf.folder(&info.sha))
    }

    /// Makes sure of one file, however often its download breaks off as long as it gets on.
    fn file(
        &mut self,
        client: &Client,
        pinned: &ApiRepo,
        commit: &str,
        name: &str,
    ) -> Result<(), HubError> {
        if self.shelf.has(commit, name) {
            return Ok(());
        }
        let (mut n_faults, mut furthest) = (0, 0);
        loop {
            let mut reached = 0;
            let mut progress = |event: Event<'_>| {
                if let Event::File { n_done, .. } = event {
                    reached = n_done;
                }
                (self.progress)(event);
            };
            let url = pinned.url(name);
            let fault = match client.fetch(&url, commit, name, &self.shelf, &mut progress) {
                Ok(()) => return Ok(()),
                Err(fault) => fault,
            };
            n_faults = if furthest < reached { 1 } else { n_faults + 1 };
            furthest = furthest.max(reached);
            if MAX_FAULTS <= n_faults || !fault.may_pass() {
                return Err(self.told(fault, name));
            }
            let reason = fault.to_string();
            (self.progress)(Event::Retry {
                name,
                reason: &reason,
            });
            thread::sleep(self.settings.retry_pause * n_faults);
        }
    }

    /// The snapshot in the cache where the hub does not answer.
    fn offline(self, reason: &str) -> Result<PathBuf, HubError> {
        let commit = self.shelf.commit(self.repository.revision());
        let cached = commit.as_ref().and_then(|commit| {
            let cached = self.shelf.cached(commit)?;
            Some((commit, cached))
        });
        let Some((commit, cached)) = cached else {
            return Err(HubError::Unreachable {
                arg: self.repository.to_string(),
                reason: reason.to_owned(),
                cache: self.shelf.repository_folder(),
                files: BY_HAND.to_owned(),
            });
        };
        let Cached {
            folder,
            unconfirmed,
        } = cached;
        (self.progress)(Event::Offline {
            reason,
            commit,
            unconfirmed: &unconfirmed,
        });
        Ok(folder)
    }

    fn bad_answer(&self, reason: String) -> HubError {
        HubError::BadAnswer {
            repository: self.repository.id().to_owned(),
            revision: self.repository.revision().to_owned(),
            reason,
        }
    }

    /// A fault as an error about this repository.
    fn told(&self, fault: Fault, file: &str) -> HubError {
        let repository = self.repository.id().to_owned();
        let revision = self.repository.revision().to_owned();
        match fault {
            Fault::Status(status @ (401 | 403)) => HubError::Refused {
                repository,
                status,
                advice: if self.settings.token.is_some() {
                    "it does not exist, or the token (HF_TOKEN) is wrong or its owner may not read it: check \
                     the name and the token, and ask for access on the repository's page"
                } else {
                    "it does not exist, or is private or gated: check the name, ask for access on the \
                     repository's page, make a token that may read and set HF_TOKEN to it"
                },
            },
            Fault::Status(404) => HubError::Missing {
                repository,
                revision,
                file: file.to_owned(),
                advice: ", although the hub lists it",
            },
            Fault::Disk {
                path,
                action,
                source,
            } => HubError::Io {
                path,
                action,
                source,
            },
            Fault::Nonsense(reason) => self.bad_answer(format!("{file}: {reason}")),
            fault @ (Fault::Status(_) | Fault::Unreachable(_) | Fault::Cut(_)) => {
                HubError::BrokenOff {
                    repository,
                    revision,
                    file: file.to_owned(),
                    reason: fault.to_string(),
                }
            }
        }
    }
}

/// The addresses of a repository.
fn hub_repository(settings: &HubSettings, repo: Repo) -> Result<ApiRepo, String> {
    let mut builder = ApiBuilder::from_cache(Cache::new(settings.cache.clone()))
        .with_token(None)
        .with_progress(false);
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
    }
    let api = builder.build().map_err(|error| error.to_string())?;
    Ok(api.repo(repo))
}
