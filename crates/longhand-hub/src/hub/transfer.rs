//! Requests, and files that arrive whole or not at all.

use std::{
    fmt,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use hf_hub::api::RepoInfo;
use sha2::{Digest as _, Sha256};
use ureq::{
    Agent, Body,
    http::{HeaderMap, Response, Uri, uri::PathAndQuery},
};

use super::shelf::Shelf;
use crate::{Event, HubSettings};

const MAX_REDIRECTS: usize = 10;
/// The description of a repository lists its files; larger answers are refused.
const MAX_INFO_BYTES: u64 = 64 << 20;

/// What came of a request.
#[derive(Debug)]
pub(super) enum Fault {
    /// Nothing answered, or a server that is out of order.
    Unreachable(String),
    /// An answer other than asked for.
    Status(u16),
    /// A file that did not arrive whole.
    Cut(String),
    /// An answer that makes no sense.
    Nonsense(String),
    /// The cache.
    Disk {
        path: PathBuf,
        action: &'static str,
        source: io::Error,
    },
}

impl Fault {
    /// Whether it may be otherwise the next time.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Cut(_))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(reason) | Self::Cut(reason) | Self::Nonsense(reason) => {
                f.write_str(reason)
            }
            Self::Status(status) => write!(f, "the hub answers with HTTP {status}"),
            Self::Disk { path, source, .. } => write!(f, "{}: {source}", path.display()),
        }
    }
}

/// Asks the hub, and hosts that it sends us to.
pub(super) struct Client {
    agent: Agent,
    /// The one place that may see the token.
    home: Uri,
    token: Option<String>,
}

/// What the hub says of a file.
struct Remote {
    location: Uri,
    etag: String,
    n_bytes: u64,
}

/// The last answer of a chain of redirects.
struct Answer {
    response: Response<Body>,
    uri: Uri,
    /// From the first answer that names it.
    linked: Linked,
}

/// What the hub says of a file that lies elsewhere.
#[derive(Default)]
struct Linked {
    etag: Option<String>,
    n_bytes: Option<u64>,
    commit: Option<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Ask {
    /// For headers; ends where the hub has said enough and redirects to where the file lies.
    Head,
    /// For bytes from this one on.
    From(u64),
}

impl Client {
    pub(super) fn new(settings: &HubSettings, home: &Uri) -> Self {
        let patience = Some(settings.patience);
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_resolve(patience)
            .timeout_connect(patience)
            .timeout_per_read(patience)
            .user_agent(concat!("longhand/", env!("CARGO_PKG_VERSION")));
        // A proxy cannot reach what is on this machine.
        let is_local = home
            .host()
            .is_some_and(|host| ["localhost", "127.0.0.1", "[::1]"].contains(&host));
        let config = if is_local { config.proxy(None) } else { config };
        Self {
            agent: config.build().into(),
            home: home.clone(),
            token: settings.token.clone(),
        }
    }

    /// The commit of a revision and the names of its files.
    pub(super) fn info(&self, address: &Uri) -> Result<RepoInfo, Fault> {
        let mut answer = self.follow(Ask::From(0), address)?;
        check_status(&answer.response)?;
        let mut bytes = Vec::new();
        let reader = answer.response.body_mut().as_reader();
        let read = reader.take(MAX_INFO_BYTES).read_to_end(&mut bytes);
        read.map_err(|error| Fault::Unreachable(format!("the answer broke off: {error}")))?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Fault::Nonsense(format!("the description of the repository: {error}")))
    }

    /// Downloads a file into the cache and links it into the snapshot.
    pub(super) fn fetch(
        &self,
        url: &str,
        commit: &str,
        name: &str,
        shelf: &Shelf,
        progress: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), Fault> {
        let url = parse_uri(url)?;
        let remote = self.remote(&url, commit)?;
        let blob = shelf.blob(&remote.etag);
        if let Some(folder) = blob.parent() {
            fs::create_dir_all(folder).map_err(|source| disk(folder, "create", source))?;
        }
        let _lock = lock(&blob.with_extension("lock"), &mut || {
            progress(Event::Waiting { name });
        })?;
        let is_whole =
            fs::metadata(&blob).is_ok_and(|data| data.is_file() && data.len() == remote.n_bytes);
        if !is_whole {
            self.download(&remote, &blob, &mut |n_done| {
                progress(Event::File {
                    name,
                    n_done,
                    n_bytes: remote.n_bytes,
                });
            })?;
        }
        shelf.link(commit, name, &remote.etag)
    }

    /// Where a file lies, how long it is and what its blob is called.
    fn remote(&self, url: &Uri, commit: &str) -> Result<Remote, Fault> {
        let Answer {
            response,
            uri,
            linked,
        } = self.follow(Ask::Head, url)?;
        let is_enough = linked.etag.is_some() && linked.n_bytes.is_some();
        if !(is_enough && response.status().is_redirection()) {
            check_status(&response)?;
        }
        let nonsense = |reason: &str| Fault::Nonsense(reason.to_owned());
        if linked.commit.is_some_and(|found| found != commit) {
            return Err(nonsense("it is of another commit than asked for"));
        }
        let etag = linked.etag.or_else(|| header(response.headers(), "etag"));
        let etag = etag.ok_or_else(|| nonsense("it has no ETag"))?;
        let etag = etag.trim_start_matches("W/").trim_matches('"').to_owned();
        let is_safe = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if etag.is_empty() || 128 < etag.len() || !etag.bytes().all(is_safe) {
            return Err(Fault::Nonsense(format!("its ETag is {etag:?}")));
        }
        let n_bytes = linked
            .n_bytes
            .or_else(|| header(response.headers(), "content-length")?.parse().ok());
        Ok(Remote {
            location: uri,
            etag,
            n_bytes: n_bytes.ok_or_else(|| nonsense("it has no length"))?,
        })
    }

    /// Continues the part that lies beside the blob, or begins it, and gives it its name when it is whole.
    fn download(
        &self,
        remote: &Remote,
        blob: &Path,
        told: &mut dyn FnMut(u64),
    ) -> Result<(), Fault> {
        let part = blob.with_extension("part");
        let failed = |action| {
            let part = part.clone();
            move |source| disk(&part, action, source)
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&part)
            .map_err(failed("open"))?;
        let mut digest = Sha256::new();
        let mut n_done = file.metadata().map_err(failed("read"))?.len();
        if remote.n_bytes < n_done {
            file.set_len(0).map_err(failed("write"))?;
            n_done = 0;
        }
        let names_digest = is_sha256(&remote.etag);
        if names_digest {
            io::copy(&mut file, &mut digest).map_err(failed("read"))?;
        }
        told(n_done);
        if n_done < remote.n_bytes {
            let mut answer = self.follow(Ask::From(n_done), &remote.location)?;
            if !begins_at(&answer.response, n_done, remote.n_bytes)? {
                // The server sends the whole file whatever it was asked for.
                file.set_len(0).map_err(failed("write"))?;
                digest = Sha256::new();
                n_done = 0;
            }
            file.seek(SeekFrom::Start(n_done))
                .map_err(failed("write"))?;
            let mut body = answer.response.body_mut().as_reader();
            let mut buffer = vec![0; 1 << 16];
            while n_done < remote.n_bytes {
                let n = match body.read(&mut buffer) {
                    Ok(0) => {
                        let (done, all) = (n_done, remote.n_bytes);
                        return Err(Fault::Cut(format!("it ended after {done} of {all} bytes")));
                    }
                    Ok(n) => n.min(usize::try_from(remote.n_bytes - n_done).unwrap_or(n)),
                    Err(error) => {
                        return Err(Fault::Cut(format!(
                            "it broke off after {n_done} bytes: {error}"
                        )));
                    }
                };
                let (piece, _) = buffer.split_at(n);
                file.write_all(piece).map_err(failed("write"))?;
                if names_digest {
                    digest.update(piece);
                }
                n_done += n as u64;
                told(n_done);
            }
        }
        if names_digest && hex(&digest.finalize()) != remote.etag.to_ascii_lowercase() {
            fs::remove_file(&part).map_err(failed("remove"))?;
            return Err(Fault::Cut(
                "it has not the SHA-256 that the hub names".into(),
            ));
        }
        file.sync_all().map_err(failed("write"))?;
        fs::rename(&part, blob).map_err(|source| disk(blob, "write", source))
    }

    /// Asks, and goes where the answers point to.
    fn follow(&self, ask: Ask, start: &Uri) -> Result<Answer, Fault> {
        let mut uri = start.clone();
        let mut linked = Linked::default();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.ask(ask, &uri)?;
            linked.learn(response.headers());
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(Answer {
                    response,
                    uri,
                    linked,
                });
            }
            let location = header(response.headers(), "location");
            let location =
                location.ok_or_else(|| Fault::Nonsense("a redirect to nowhere".into()))?;
            let next = redirected(&uri, &location)?;
            let is_elsewhere = !is_same_place(&uri, &next);
            uri = next;
            let is_enough = linked.etag.is_some() && linked.n_bytes.is_some();
            if ask == Ask::Head && is_elsewhere && is_enough {
                return Ok(Answer {
                    response,
                    uri,
                    linked,
                });
            }
        }
        Err(Fault::Nonsense("redirects without end".into()))
    }

    fn ask(&self, ask: Ask, uri: &Uri) -> Result<Response<Body>, Fault> {
        let mut request = match ask {
            Ask::Head => self.agent.head(uri.clone()),
            Ask::From(0) => self.agent.get(uri.clone()),
            Ask::From(n) => self
                .agent
                .get(uri.clone())
                .header("range", format!("bytes={n}-")),
        };
        // Lengths and ranges are those of the file, not of what a compressor makes of it.
        request = request.header("accept-encoding", "identity");
        if let Some(token) = &self.token
            && is_same_place(uri, &self.home)
        {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = request.call().map_err(|error| match error {
            ureq::Error::Http(_) | ureq::Error::BadUri(_) => Fault::Nonsense(error.to_string()),
            error => Fault::Unreachable(error.to_string()),
        })?;
        match response.status().as_u16() {
            status @ (429 | 500..) => {
                let reason = format!("the hub answers with HTTP {status}");
                Err(Fault::Unreachable(reason))
            }
            _ => Ok(response),
        }
    }
}

impl Linked {
    fn learn(&mut self, headers: &HeaderMap) {
        let n_bytes = || header(headers, "x-linked-size")?.parse().ok();
        self.etag = self
            .etag
            .take()
            .or_else(|| header(headers, "x-linked-etag"));
        self.n_bytes = self.n_bytes.or_else(n_bytes);
        self.commit = self
            .commit
            .take()
            .or_else(|| header(headers, "x-repo-commit"));
    }
}

/// Whether an answer begins at the byte asked for; if not, it is the whole file.
fn begins_at(response: &Response<Body>, n_done: u64, n_bytes: u64) -> Result<bool, Fault> {
    match response.status().as_u16() {
        200 => Ok(n_done == 0),
        206 => {
            let range = header(response.headers(), "content-range").unwrap_or_default();
            let expected = format!("bytes {n_done}-");
            if range.starts_with(&expected) && range.ends_with(&format!("/{n_bytes}")) {
                Ok(true)
            } else {
                Err(Fault::Nonsense(format!(
                    "asked for bytes from {n_done} on, it sends {range:?}"
                )))
            }
        }
        status => Err(Fault::Status(status)),
    }
}

fn check_status(response: &Response<Body>) -> Result<(), Fault> {
    match response.status().as_u16() {
        200 | 206 => Ok(()),
        status => Err(Fault::Status(status)),
    }
}

fn parse_uri(text: &str) -> Result<Uri, Fault> {
    text.parse()
        .map_err(|error| Fault::Nonsense(format!("the address {text:?}: {error}")))
}

/// The target of a redirect, absolute or from the root of the same place.
fn redirected(from: &Uri, location: &str) -> Result<Uri, Fault> {
    if location.starts_with('/') && !location.starts_with("//") {
        let path: Result<PathAndQuery, _> = location.parse();
        let mut parts = from.clone().into_parts();
        parts.path_and_query = path.ok();
        return Uri::from_parts(parts)
            .map_err(|error| Fault::Nonsense(format!("a redirect to {location:?}: {error}")));
    }
    let to = parse_uri(location)?;
    let is_worse = from.scheme_str() == Some("https") && to.scheme_str() != Some("https");
    if to.host().is_none() || is_worse {
        return Err(Fault::Nonsense(format!("a redirect to {location:?}")));
    }
    Ok(to)
}

fn is_same_place(a: &Uri, b: &Uri) -> bool {
    a.scheme() == b.scheme() && a.authority() == b.authority()
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// Held until dropped. A file system without locks is used without.
fn lock(path: &Path, waiting: &mut dyn FnMut()) -> Result<File, Fault> {
    let failed = |source| disk(path, "lock", source);
    let file = File::create(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            waiting();
            file.lock().map_err(failed)?;
        }
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    Ok(file)
}

fn disk(path: &Path, action: &'static str, source: io::Error) -> Fault {
    Fault::Disk {
        path: path.to_owned(),
        action,
        source,
    }
}

/// Large files are named by their digest.
fn is_sha256(etag: &str) -> bool {
    etag.len() == 64 && etag.bytes().all(|b| b.is_ascii_hexdigit())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
