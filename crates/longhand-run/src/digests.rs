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
    let sums = read_sums(path)?;
    // The state comes first: when it is whole, it says how long the others were.
    let state = verified_state(path, &sums)?;
    // Another format may have no sizes; whoever restores it says that it is another one.
    let sizes =
        serde_json::from_slice(&state).map_or_else(|_| BTreeMap::new(), |Sizes { files }| files);
    if let Some(file) = sizes.keys().find(|file| !sums.contains_key(*file)) {
        return Err(lacking(path, file));
    }
    for (file, saved) in sums.iter().filter(|(file, _)| *file != STATE) {
        let size = sizes.get(file).copied();
        check_digest(&path.join(file), saved, size).map_err(|kind| damage(path, file, kind))?;
    }
    Ok(())
}

/// The bytes of a checkpoint's `state.json`, if they are those that were saved. Takes no time, unlike
/// the whole checkpoint.
pub(crate) fn verify_state(path: &Path) -> Result<Vec<u8>, Damage> {
    verified_state(path, &read_sums(path)?)
}

fn verified_state(path: &Path, sums: &BTreeMap<String, String>) -> Result<Vec<u8>, Damage> {
    let saved = sums.get(STATE).ok_or_else(|| lacking(path, STATE))?;
    let state = fs::read(path.join(STATE)).map_err(|error| damage(path, STATE, unread(&error)))?;
    match_digest(sha256(&state), saved).map_err(|kind| damage(path, STATE, kind))?;
    Ok(state)
}

fn read_sums(path: &Path) -> Result<BTreeMap<String, String>, Damage> {
    let bytes = fs::read(path.join(SUMS)).map_err(|error| damage(path, SUMS, unread(&error)))?;
    parse(&bytes).map_err(|what| damage(path, SUMS, DamageKind::Malformed { what }))
}

fn damage(checkpoint: &Path, file: &str, kind: DamageKind) -> Damage {
    Damage {
        checkpoint: checkpoint.to_path_buf(),
        file: file.to_owned(),
        kind,
    }
}

fn lacking(checkpoint: &Path, file: &str) -> Damage {
    let what = format!("it has no digest of {file}");
    damage(checkpoint, SUMS, DamageKind::Malformed { what })
}

/// The part of `state.json` that says which files a checkpoint has: `[bytes]` of each.
#[derive(Deserialize)]
struct Sizes {
    files: BTreeMap<String, u64>,
}

fn check_digest(path: &Path, saved: &str, size: Option<u64>) -> Result<(), DamageKind> {
    // A pipe, for one, would be waited for when it is opened.
    let metadata = fs::metadata(path).map_err(|error| unread(&error))?;
    if !metadata.is_file() {
        let what = "it is no file".to_owned();
        return Err(DamageKind::Malformed { what });
    }
    if let Some(saved) = size.filter(|saved| *saved != metadata.len()) {
        let found = metadata.len();
        return Err(DamageKind::Size { found, saved });
    }
    let mut file = File::open(path).map_err(|error| unread(&error))?;
    let found = digest_of(&mut file).map_err(|error| unread(&error))?;
    match_digest(found, saved)
}

fn match_digest(found: String, saved: &str) -> Result<(), DamageKind> {
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

pub(crate) fn digest_of(file: &mut File) -> io::Result<String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A checkpoint's folder with two files and a state of format 1.
    fn checkpoint() -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        let path = root.path();
        fs::create_dir(path.join("optimizer")).expect("made");
        fs::write(path.join("model.txt"), "abc").expect("written");
        fs::write(path.join("optimizer/moments"), "").expect("written");
        let state = r#"{"files": {"model.txt": 3, "optimizer/moments": 0}}"#;
        fs::write(path.join(STATE), state).expect("written");
        fs::write(path.join(SUMS), sums_of(path).expect("readable")).expect("written");
        root
    }

    fn found(path: &Path) -> (String, DamageKind) {
        let damage = verify_checkpoint(path).expect_err("damaged");
        assert_eq!(damage.checkpoint, path);
        (damage.file, damage.kind)
    }

    #[test]
    fn digests_are_those_of_sha256sum() {
        let root = checkpoint();
        let text = fs::read_to_string(root.path().join(SUMS)).expect("readable");
        let lines: Vec<&str> = text.lines().collect();
        // printf abc | sha256sum; printf '' | sha256sum
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  model.txt";
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(lines[0], abc);
        assert_eq!(lines[1], format!("{empty}  optimizer/moments"));
        assert!(lines[2].ends_with("  state.json"), "{text}");
        assert_eq!(lines.len(), 3);
        assert_eq!(verify_checkpoint(root.path()), Ok(()));
    }

    #[test]
    fn every_damage_is_named() {
        let root = checkpoint();
        let path = root.path();
        let model = path.join("model.txt");
        let size = |found| DamageKind::Size { found, saved: 3 };
        fs::write(&model, "ab").expect("written");
        assert_eq!(found(path), ("model.txt".to_owned(), size(2)));
        fs::write(&model, "abcd").expect("written");
        assert_eq!(found(path), ("model.txt".to_owned(), size(4)));
        fs::write(&model, "abd").expect("written");
        let message = verify_checkpoint(path).expect_err("changed").to_string();
        // printf abd | sha256sum
        let place = "model.txt has changed: its SHA-256 is \
                     a52d159f262b2c6ddb724a61840befc36eb30c88877a4030b65cbe86298449c9 and was ba78";
        assert!(message.contains(place), "{message}");
        fs::remove_file(&model).expect("removed");
        assert_eq!(found(path), ("model.txt".to_owned(), DamageKind::Missing));
        fs::create_dir(&model).expect("made");
        assert!(matches!(found(path).1, DamageKind::Malformed { .. }));
        for file in [STATE, SUMS] {
            let root = checkpoint();
            fs::remove_file(root.path().join(file)).expect("removed");
            assert_eq!(found(root.path()), (file.to_owned(), DamageKind::Missing));
        }
    }

    #[test]
    fn digests_that_lost_or_gained_something_are_malformed() {
        let root = checkpoint();
        let path = root.path();
        let whole = fs::read_to_string(path.join(SUMS)).expect("readable");
        let lines: Vec<&str> = whole.split_inclusive('\n').collect();
        for broken in [
            lines[..2].concat(),
            lines[1..].concat(),
            [lines[0], lines[2]].concat(),
            String::new(),
            whole.trim_end().to_owned(),
            whole.replace("  ", " "),
            whole.to_uppercase(),
            format!("{whole}\n"),
            format!("{whole}{}", lines[0]),
            // The right digest, of a file that is not the checkpoint's.
            format!(
                "{whole}{}",
                lines[0].replace("model.txt", "optimizer/../model.txt")
            ),
            whole.replace("optimizer/", "/optimizer/"),
        ] {
            fs::write(path.join(SUMS), &broken).expect("written");
            let (file, kind) = found(path);
            assert_eq!(file, SUMS);
            assert!(matches!(kind, DamageKind::Malformed { .. }), "{broken}");
        }
    }

    #[test]
    fn what_somebody_adds_damages_nothing() {
        let root = checkpoint();
        fs::write(root.path().join("README.md"), "mine").expect("written");
        fs::write(root.path().join(".hidden"), "mine").expect("written");
        assert_eq!(verify_checkpoint(root.path()), Ok(()));
    }
}
