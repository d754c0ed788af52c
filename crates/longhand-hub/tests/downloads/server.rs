//! A hub on this machine: one repository in the hub's address layout, and a second port for large files.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use sha2::{Digest as _, Sha256};

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the hub has, and how it behaves.
#[derive(Clone, Default)]
pub(crate) struct State {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Files that lie on the other port and are named by their digest.
    pub(crate) large: Vec<String>,
    /// Files that are listed and not there.
    pub(crate) gone: Vec<String>,
    /// The token to show.
    pub(crate) token: Option<String>,
    /// Whether branches are unknown.
    pub(crate) has_no_branch: bool,
    /// Bytes after which the next answers with contents break off, by name.
    pub(crate) cuts: BTreeMap<String, Vec<usize>>,
    /// Whether ranges are ignored.
    pub(crate) ignores_ranges: bool,
    /// Files of which the first byte is wrong in the next answer.
    pub(crate) damages: Vec<String>,
    /// Whether answers with contents do not say how long they are.
    pub(crate) hides_length: bool,
    /// The status of every answer, instead.
    pub(crate) status: Option<u16>,
    /// Whether large files redirect to themselves.
    pub(crate) is_circular: bool,
    /// The ETag of small files, instead of one by their length.
    pub(crate) etag: Option<String>,
    /// Method and path of each request, with its range.
    pub(crate) log: Vec<String>,
    /// Paths on the other port that were asked for with a token.
    pub(crate) leaks: Vec<String>,
}

pub(crate) struct Hub {
    state: Arc<Mutex<State>>,
    pub(crate) endpoint: String,
}

struct Request {
    method: String,
    path: String,
    token: Option<String>,
    from: Option<usize>,
}

impl Hub {
    pub(crate) fn start(state: State) -> Self {
        let state = Arc::new(Mutex::new(state));
        let hub = TcpListener::bind("127.0.0.1:0").unwrap();
        let blobs = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let (endpoint, blob_place) = (address(&hub), address(&blobs));
        for (listener, is_hub) in [(hub, true), (blobs, false)] {
            let (state, blob_place) = (Arc::clone(&state), blob_place.clone());
            // Ends with the test's process.
            thread::spawn(move || {
                for stream in listener.incoming() {
                    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                    // A client that hangs up is its own affair.
                    let _ =
                        stream.and_then(|stream| serve(&stream, is_hub, &blob_place, &mut state));
                }
            });
        }
        Self { state, endpoint }
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    /// The requests since the last call.
    pub(crate) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().log)
    }

    pub(crate) fn leaks(&self) -> Vec<String> {
        self.state.lock().unwrap().leaks.clone()
    }
}

fn read_request(stream: &TcpStream) -> std::io::Result<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    let mut words = first.split(' ').map(str::to_owned);
    let mut request = Request {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        token: None,
        from: None,
    };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => request.token = value.strip_prefix("Bearer ").map(str::to_owned),
            "range" => {
                let from = value
                    .strip_prefix("bytes=")
                    .and_then(|v| v.strip_suffix('-'));
                request.from = from.and_then(|from| from.parse().ok());
            }
            _ => {}
        }
    }
    Ok(request)
}

fn serve(
    mut stream: &TcpStream,
    is_hub: bool,
    blob_place: &str,
    state: &mut State,
) -> std::io::Result<()> {
    let request = read_request(stream)?;
    let range = request
        .from
        .map_or(String::new(), |from| format!(" from {from}"));
    let (method, path) = (&request.method, &request.path);
    state.log.push(format!("{method} {path}{range}"));
    if !is_hub && request.token.is_some() {
        state.leaks.push(path.clone());
    }
    let head = |status: u16, headers: &str| {
        format!("HTTP/1.1 {status} Test\r\nConnection: close\r\n{headers}\r\n")
    };
    let nothing = |status: u16, headers: &str| {
        head(status, &format!("Content-Length: 0\r\n{headers}")).into_bytes()
    };
    let commit = format!("X-Repo-Commit: {COMMIT}\r\n");
    if let Some(status) = state.status {
        return stream.write_all(&nothing(status, ""));
    }
    if is_hub && request.token != state.token {
        return stream.write_all(&nothing(401, ""));
    }
    if let Some(revision) = path.strip_prefix("/api/models/o/n/revision/") {
        let is_known = revision == COMMIT || !state.has_no_branch;
        if !is_known {
            return stream.write_all(&nothing(404, ""));
        }
        let mut names = String::new();
        for name in state.files.keys() {
            let comma = if names.is_empty() { "" } else { "," };
            write!(names, r#"{comma}{{"rfilename":"{name}"}}"#).unwrap();
        }
        let body = format!(r#"{{"sha":"{COMMIT}","private":false,"siblings":[{names}]}}"#);
        let length = format!("Content-Length: {}\r\n", body.len());
        return stream.write_all(format!("{}{body}", head(200, &length)).as_bytes());
    }
    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
    let Some(bytes) = state
        .files
        .get(&name)
        .filter(|_| !state.gone.contains(&name))
    else {
        return stream.write_all(&nothing(404, &commit));
    };
    let digest = Sha256::digest(bytes);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    if path.starts_with(&format!("/o/n/resolve/{COMMIT}/")) {
        let headers = if state.large.contains(&name) {
            let target = if state.is_circular {
                path.clone()
            } else {
                format!("{blob_place}/blobs/{name}")
            };
            let size = bytes.len();
            format!(
                "{commit}X-Linked-Etag: \"{digest}\"\r\nX-Linked-Size: {size}\r\nLocation: {target}\r\n"
            )
        } else {
            format!("{commit}Location: /api/resolve-cache/models/o/n/{COMMIT}/{name}\r\n")
        };
        return stream.write_all(&nothing(302, &headers));
    }
    let mut bytes = bytes.clone();
    if request.method == "GET"
        && let Some(place) = state.damages.iter().position(|damaged| *damaged == name)
    {
        state.damages.remove(place);
        bytes[0] ^= 1;
    }
    // By the length, so that files of one length share a blob only where they are the same.
    let plain = format!("{}-{}", bytes.len(), name.replace('.', "_"));
    let etag = state.etag.clone().unwrap_or(plain);
    let from = request.from.filter(|_| !state.ignores_ranges);
    let (status, range) = match from {
        Some(from) => {
            let (last, all) = (bytes.len() - 1, bytes.len());
            (206, format!("Content-Range: bytes {from}-{last}/{all}\r\n"))
        }
        None => (200, String::new()),
    };
    let body = bytes.split_off(from.unwrap_or(0));
    let length = match state.hides_length && request.method == "GET" {
        true => String::new(),
        false => format!("Content-Length: {}\r\n", body.len()),
    };
    let headers = format!("{commit}ETag: W/\"{etag}\"\r\n{length}{range}");
    stream.write_all(head(status, &headers).as_bytes())?;
    if request.method == "GET" {
        let cuts = state.cuts.get_mut(&name).filter(|cuts| !cuts.is_empty());
        let n_sent = cuts.map_or(body.len(), |cuts| cuts.remove(0).min(body.len()));
        stream.write_all(&body[..n_sent])?;
    }
    Ok(())
}
