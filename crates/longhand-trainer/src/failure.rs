//! `failures/STAGE-000012.json`: what is needed to see a broken number again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use longhand_run::{RunDir, RunError};
use serde::{Deserialize, Serialize};

use crate::{error::TrainError, not_finite::NotFinite, position::Position};

/// The form of the file.
const FORMAT: u32 = 1;

/// The first number that broke, and where the run stood before the step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Failure {
    format: u32,
    /// The same in words.
    pub(crate) message: String,
    pub(crate) found: NotFinite,
    /// Before the step: a replay begins at a checkpoint at or before it.
    pub(crate) position: Position,
}

pub(crate) fn write_failure(
    run: &RunDir,
    found: &NotFinite,
    position: &Position,
) -> Result<PathBuf, TrainError> {
    let failure = Failure {
        format: FORMAT,
        message: found.to_string(),
        found: found.clone(),
        position: position.clone(),
    };
    Ok(run.write_failure(&found.stage, found.step as u64, &failure)?)
}

pub(crate) fn read_failure(path: &Path) -> Result<Failure, TrainError> {
    let bytes = fs::read(path).map_err(|source| RunError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let bad = |reason: String| TrainError::BadFailure {
        path: path.to_owned(),
        reason,
    };
    let failure: Failure =
        serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
    if failure.format != FORMAT {
        return Err(bad(format!(
            "it has format {}, this program reads format {FORMAT}",
            failure.format
        )));
    }
    Ok(failure)
}
