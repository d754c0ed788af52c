//! The optimiser's state in a file: what a run needs to go on as if it had never stopped.
//!
//! On the engine it is `optimizer.safetensors`: for every tensor `NAME` of the policy its two moments
//! `m.NAME` and `v.NAME`, `[in, out]` where the policy's file says `[out, in]`, and the number of updates
//! in the metadata. On burn it is burn's own record, `optimizer.bin`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use longhand_engine::{
    Numbers, Parameter, PassBuffers, Tensor, TensorFile, Weights, WeightsError, save_tensors,
};
use thiserror::Error;

use super::{AdamW, AdamWSettings, BurnAdamW, CpuState, State};
use crate::policy::{Body, Policy};

const OF_ENGINE: &str = "optimizer.safetensors";
const OF_BURN: &str = "optimizer.bin";
const N_UPDATES: &str = "n_updates";

/// An optimiser's file that could not be written or read.
#[derive(Debug, Error)]
pub enum OptimizerError {
    /// The file could not be written or read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The file could not be written or read.
    #[error("cannot access {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not the state of this policy's optimiser.
    #[error("{path} is not the state of an optimiser for this policy: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
}

impl AdamW {
    /// Writes the state into a folder, beside the policy it belongs to. Before the first update there is
    /// none, and no file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, policy: &Policy, folder: &Path) -> Result<(), OptimizerError> {
        match &self.state {
            State::New => Ok(()),
            State::Cpu(state) => state.save(policy, &folder.join(OF_ENGINE)),
            State::Burn(state) => {
                let path = folder.join(OF_BURN);
                let bytes = state.to_bytes().map_err(|reason| OptimizerError::Format {
                    path: path.clone(),
                    reason,
                })?;
                fs::write(&path, bytes).map_err(|source| OptimizerError::Io { path, source })
            }
        }
    }

    /// The optimiser as it was saved beside a policy; a fresh one where nothing was saved.
    ///
    /// # Errors
    /// When the file cannot be read or belongs to another policy.
    pub fn load(
        settings: AdamWSettings,
        policy: &Policy,
        folder: &Path,
    ) -> Result<Self, OptimizerError> {
        let (of_engine, of_burn) = (folder.join(OF_ENGINE), folder.join(OF_BURN));
        let state = match policy.body() {
            Body::Cpu(_) if of_engine.exists() => {
                State::Cpu(Box::new(CpuState::load(policy, &of_engine)?))
            }
            Body::Burn(on_burn) if of_burn.exists() => {
                let bytes = fs::read(&of_burn).map_err(|source| OptimizerError::Io {
                    path: of_burn.clone(),
                    source,
                })?;
                let mut state = BurnAdamW::new(&settings);
                state.restore(bytes, on_burn.device()).map_err(|reason| {
                    OptimizerError::Format {
                        path: of_burn,
                        reason,
                    }
                })?;
                State::Burn(Box::new(state))
            }
            Body::Cpu(_) if of_burn.exists() => return Err(other_engine(of_burn)),
            Body::Burn(_) if of_engine.exists() => return Err(other_engine(of_engine)),
            _ => State::New,
        };
        Ok(Self { settings, state })
    }
}

fn other_engine(path: PathBuf) -> OptimizerError {
    OptimizerError::Format {
        path,
        reason: "it was written by another engine; go on with the one that the run began with"
            .into(),
    }
}

impl CpuState {
    fn save(&self, policy: &Policy, path: &Path) -> Result<(), OptimizerError> {
        let parameters = policy.trained_parameters();
        let mut tensors = Vec::with_capacity(2 * parameters.len());
        for (prefix, moments) in [("m", &self.m), ("v", &self.v)] {
            for (Parameter { name, shape }, values) in parameters.iter().zip(moments.values()) {
                let tensor = Tensor {
                    shape: shape.clone(),
                    values,
                    is_turned: false,
                };
                tensors.push((format!("{prefix}.{name}"), tensor));
            }
        }
        let n_updates = self.n_updates.to_string();
        let notes = [(N_UPDATES, n_updates.as_str())];
        Ok(save_tensors(tensors, Numbers::F32, &notes, path)?)
    }

    fn load(policy: &Policy, path: &Path) -> Result<Self, OptimizerError> {
        let bad = |reason: String| OptimizerError::Format {
            path: path.to_owned(),
            reason,
        };
        let mut file = TensorFile::open(path)?;
        let n_updates = file
            .note(N_UPDATES)
            .and_then(|n_updates| n_updates.parse().ok())
            .ok_or_else(|| bad(format!("its metadata have no `{N_UPDATES}`")))?;
        let parameters = policy.trained_parameters();
        let mut moments = |prefix: &str| {
            Weights::of_parameters(&parameters, |Parameter { name, shape }| {
                let name = format!("{prefix}.{name}");
                let info = file.info(&name);
                let info = info.ok_or_else(|| bad(format!("it has no tensor `{name}`")))?;
                if info.shape != *shape {
                    let found = &info.shape;
                    return Err(bad(format!("{name} has shape {found:?}, not {shape:?}")));
                }
                Ok(file.read(&name)?)
            })
        };
        let (m, v) = (moments("m")?, moments("v")?);
        Ok(Self {
            gradients: m.zeros_like(),
            m,
            v,
            n_updates,
            has_gradient: false,
            buffers: PassBuffers::default(),
        })
    }
}
