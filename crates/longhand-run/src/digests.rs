//! `SHA256SUMS`: digests of a checkpoint's files, and what they find when one is damaged.
//!
//! The file is what `sha256sum` writes, one `DIGEST  NAME` a line, sorted by name, so that
//! `sha256sum -c SHA256SUMS` checks a checkpoint without this program. It names every file of the
//! folder but itself. `state.json` is one of them and holds the sizes of the others: a digest says
//! that a file differs, a size says how. It also says which files belong to the checkpoint, so that
//! digests which lost a line are found out.
//!
//! Files that somebody adds to a checkpoint do not damage it.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::run_dir::is_plain;

/// The file of digests.
pub(crate) const SUMS: &str = "SHA256SUMS";
/// The file with the run's own state.
pub(crate) const STATE: &str = "state.json";
/// Between a digest and a name.
const GAP: &str = "  ";

/// What is wrong with a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the checkpoint {checkpoint} is damaged: {file} {kind}",
    checkpoint = checkpoint.display()
)]
pub struct Damage {
    /// The checkpoint's folder.
    pub checkpoint: PathBuf,
    /// The file, as named within the folder.
    pub file: String,
    /// What is wrong with it.
    pub kind: DamageKind,
}

/// What is wrong with a file of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// It is not there.
    Missing,
    /// It has not as many bytes as it had when it was saved.
    Size {
        /// Bytes it has.
        found: u64,
        /// Bytes it had.
        saved: u64,
    },
    /// Its bytes are not those that were saved.
    Digest {
        /// SHA-256 of what is there, in hexadecimal digits.
        found: String,
        /// SHA-256 of what was saved.
        saved: String,
    },
    /// It holds something that no checkpoint says.
    Malformed {
        /// What it is.
        what: String,
    },
    /// It cannot be read.
    Unreadable {
        /// What the system said.
        reason: String,
    },
}

impl Display for DamageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DamageKind::Missing => f.write_str("is missing"),
            DamageKind::Size { found, saved } if found < saved => {
                write!(f, "is truncated: it has {found} of {saved} bytes")
            }
            DamageKind::Size { found, saved } => {
                write!(
                    f,
                    "has grown: it has {found} bytes and was saved with {saved}"
                )
            }
            DamageKind::Digest { found, saved } => {
                write!(f, "has changed: its SHA-256 is {found} and was {saved}")
            }
            DamageKind::Malformed { what } => write!(f, "is malformed: {what}"),
            DamageKind::Unreadable { reason } => write!(f, "cannot be read: {reason}"),
        }
    }
}

/// Compares a checkpoint's files with the digests that were saved with them.
///
/// # Errors
///
/// The first damage found: a file that is missing, shorter, longer or different, or digests that are
/// not what a checkpoint says.
pub fn verify_checkpoint(path: &Path) -> Result<(), Damage> {
    let damage = |file: &str, kind| Damage {
        checkpoint: path.to_path_buf(),
        file: file.to_owned(),
        kind,
    };
    let bytes = fs::read(path.join(SUMS)).map_err(|error| damage(SUMS, unread(&error)))?;
    let malformed = |what: String| damage(SUMS, DamageKind::Malformed { what });
    let sums = parse(&bytes).map_err(malformed)?;
    let Some(saved) = sums.get(STATE) else {
        return Err(malformed(format!("it has no digest of {STATE}")));
    };
    // The state comes first: when it is whole, it says how long the others were.
    check_digest(&path.join(STATE), saved, None).map_err(|kind| damage(STATE, kind))?;
    let state = fs::read(path.join(STATE)).map_err(|error| damage(STATE, unread(&error)))?;
    // Another format may have no sizes; whoever restores it says that it is another one.
    let sizes =
        serde_json::from_slice(&state).map_or_else(|_| BTreeMap::new(), |Sizes { files }| files);
    if let Some(file) = sizes.keys().find(|file| !sums.contains_key(*file)) {
        return Err(malformed(format!("it has no digest of {file}")));
    }
    for (file, saved) in sums.iter().filter(|(file, _)| *file != STATE) {
        let size = sizes.get(file).copied();
        check_digest(&path.join(file), saved, size).map_err(|kind| damage(file, kind))?;
    }
    Ok(())
}

/// The part of `state.json` that says which files a checkpoint has: `[bytes]` of each.
#[derive(Deserialize)]
struct Sizes {
    files: BTreeMap<String, u64>,
}

fn check_digest(path: &Path, saved: &str, size: Option<u64>) -> Result<(), DamageKind> {
    let mut file = File::open(path).map_err(|error| unread(&error))?;
    let metadata = file.metadata().map_err(|error| unread(&error))?;
    if let Some(saved) = size.filter(|saved| *saved != metadata.len()) {
        let found = metadata.len();
        return Err(DamageKind::Size { found, saved });
    }
    let found = digest_of(&mut file).map_err(|error| unread(&error))?;
    if found == saved {
        return Ok(());
    }
    let saved = saved.to_owned();
    Err(DamageKind::Digest { found, saved })
}

fn unread(error: &io::Error) -> DamageKind {
    if error.kind() == io::ErrorKind::NotFound {
        DamageKind::Missing
    } else {
        DamageKind::Unreadable {
            reason: error.to_string(),
        }
    }
}

/// Digests by name, if every byte is as it would have been written.
fn parse(bytes: &[u8]) -> Result<BTreeMap<String, String>, String> {
    let text = str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let mut sums = BTreeMap::new();
    for (idx, line) in text.split_inclusive('\n').enumerate() {
        let (digest, name) = line
            .strip_suffix('\n')
            .and_then(|line| line.split_once(GAP))
            .filter(|(digest, name)| is_digest(digest) && name.split('/').all(is_plain))
            .ok_or_else(|| format!("line {} is no digest and name", idx + 1))?;
        if sums.insert(name.to_owned(), digest.to_owned()).is_some() {
            return Err(format!("line {} names {name} again", idx + 1));
        }
    }
    Ok(sums)
}

fn is_digest(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The text of `SHA256SUMS` for all files under `folder`.
pub(crate) fn sums_of(folder: &Path) -> io::Result<String> {
    let mut text = String::new();
    for name in sizes_of(folder)?.keys().filter(|name| *name != SUMS) {
        let digest = digest_of(&mut File::open(folder.join(name))?)?;
        text.extend([&digest, GAP, name, "\n"]);
    }
    Ok(text)
}

/// `[bytes]` of every file under `folder`, by its name within it.
pub(crate) fn sizes_of(folder: &Path) -> io::Result<BTreeMap<String, u64>> {
    let mut sizes = BTreeMap::new();
    add_sizes(folder, "", &mut sizes)?;
    Ok(sizes)
}

fn add_sizes(folder: &Path, prefix: &str, sizes: &mut BTreeMap<String, u64>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type()?;
        if !is_plain(&name) || !(kind.is_dir() || kind.is_file()) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("`{prefix}{name}` is no plain file with a plain name"),
            ));
        }
        if kind.is_dir() {
            add_sizes(&entry.path(), &format!("{prefix}{name}/"), sizes)?;
        } else {
            sizes.insert(format!("{prefix}{name}"), entry.metadata()?.len());
        }
    }
    Ok(())
}

/// SHA-256 in 64 hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn digest_of(file: &mut File) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut block = vec![0; 1 << 16];
    loop {
        let n_read = file.read(&mut block)?;
        if n_read == 0 {
            return Ok(hexadecimal(&hasher.finalize()));
        }
        hasher.update(&block[..n_read]);
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
