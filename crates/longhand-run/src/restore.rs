//! Which checkpoint a run goes on from: the newest one that is whole.
//!
//! Newest is the one behind which the fewest metrics lines lie, and of equals the one that was saved
//! last; neither `latest` nor `order` is needed, which a kill may leave one checkpoint behind. A
//! checkpoint is whole when every file has the digest it was saved with. Damaged ones are passed over
//! and named, never deleted.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::checkpoints::{CheckpointState, FORMAT, StateFile};
use crate::digests::{Damage, STATE, SUMS, verify_checkpoint};
use crate::error::RunError;
use crate::run_dir::RunDir;

/// A checkpoint to go on from.
#[derive(Clone, Debug)]
pub struct Restored<T> {
    /// The checkpoint's name.
    pub name: String,
    /// Its folder.
    pub path: PathBuf,
    /// What it says of the run.
    pub state: CheckpointState<T>,
    /// What is wrong with the newer ones, newest first; empty if it is the newest.
    pub damaged: Vec<Damage>,
}

impl RunDir {
    /// The newest checkpoint whose files are all as they were saved, or nothing if the run has not
    /// saved any. Changes nothing.
    ///
    /// # Errors
    ///
    /// A newer checkpoint in another format; a configuration that is not the one the checkpoint was
    /// made with; checkpoints none of which is whole; anything that cannot be read.
    pub fn newest_whole_checkpoint<T: DeserializeOwned>(
        &self,
    ) -> Result<Option<Restored<T>>, RunError> {
        let folder = self.checkpoints_folder();
        let mut names = self.checkpoint_names()?;
        // The sort keeps the order of saving among equals.
        names.sort_by_key(|name| claimed_metrics_bytes(&folder.join(name)));
        let mut damages = Vec::new();
        for name in names.into_iter().rev() {
            let path = folder.join(&name);
            check_has_format(&path)?;
            match verify_checkpoint(&path) {
                Ok(()) => {
                    return Ok(Some(Restored {
                        state: self.read_state(&name, &path)?,
                        name,
                        path,
                        damaged: damages,
                    }));
                }
                Err(damage) => damages.push(damage),
            }
        }
        if damages.is_empty() {
            return Ok(None);
        }
        Err(RunError::AllDamaged {
            path: folder,
            damages,
        })
    }

    /// The state of the checkpoint `name`, once all its files are found to be as they were saved.
    ///
    /// # Errors
    ///
    /// A checkpoint that does not exist, is damaged, has another format, or was made with another
    /// configuration than the run has now.
    pub fn load_checkpoint<T: DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<CheckpointState<T>, RunError> {
        let path = self.existing(name)?;
        check_has_format(&path)?;
        verify_checkpoint(&path).map_err(RunError::Damaged)?;
        self.read_state(name, &path)
    }

    fn read_state<T: DeserializeOwned>(
        &self,
        name: &str,
        path: &Path,
    ) -> Result<CheckpointState<T>, RunError> {
        let file = path.join(STATE);
        let text = fs::read(&file).map_err(RunError::unreadable(&file))?;
        let header: Header = serde_json::from_slice(&text).unwrap_or_default();
        if header.format != Some(Value::from(FORMAT)) {
            return Err(unknown_format(path, header));
        }
        let state: StateFile<T> =
            serde_json::from_slice(&text).map_err(|source| RunError::BadState {
                path: file,
                program: header.program.unwrap_or_default(),
                source,
            })?;
        if state.config_sha256 != self.config_sha256()? {
            return Err(RunError::ConfigChanged {
                path: self.config_path(),
                checkpoint: name.to_owned(),
            });
        }
        Ok(CheckpointState {
            metrics_bytes: state.metrics_bytes,
            timings_bytes: state.timings_bytes,
            config_sha256: state.config_sha256,
            body: state.body,
        })
    }
}

/// What every format of `state.json` is asked for.
#[derive(Default, Deserialize)]
struct Header {
    format: Option<Value>,
    program: Option<String>,
    metrics_bytes: Option<u64>,
}

/// Where the metrics ended, as far as a checkpoint says; one that does not say is looked at first.
fn claimed_metrics_bytes(path: &Path) -> u64 {
    let header = fs::read(path.join(STATE))
        .ok()
        .and_then(|text| serde_json::from_slice::<Header>(&text).ok());
    let claimed = header.and_then(|header| header.metrics_bytes);
    claimed.unwrap_or(u64::MAX)
}

/// Checkpoints had neither state nor digests before they had a format. One that lost either has the
/// other, and is damaged.
fn check_has_format(path: &Path) -> Result<(), RunError> {
    if path.join(STATE).exists() || path.join(SUMS).exists() {
        return Ok(());
    }
    Err(unknown_format(path, Header::default()))
}

fn unknown_format(path: &Path, header: Header) -> RunError {
    let format = header.format.map_or_else(
        || "no format (before format 1 there was no state.json to resume from)".to_owned(),
        |format| format!("format {format}"),
    );
    let program = header
        .program
        .map_or_else(String::new, |program| format!(", written by {program}"));
    RunError::Format {
        path: path.to_path_buf(),
        found: format + &program,
        supported: FORMAT,
    }
}
