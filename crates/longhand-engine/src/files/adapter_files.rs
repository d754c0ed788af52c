//! Adapters in folders, as PEFT has them: `adapter_config.json` and `adapter_model.safetensors`.

use std::{
    fs,
    io::{Error as IoError, ErrorKind},
    path::Path,
};

use super::{
    adapter_config::AdapterConfig,
    adapter_error::AdapterError,
    error::{WeightsError, listed},
    numbers::Numbers,
    tensor_file::{TensorFile, read_bounded},
    tensor_writer::{Tensor, save_tensors},
};
use crate::{
    ModelConfig,
    adapter::{Adapter, adapter_parameters},
    parameters::Parameter,
};

const CONFIG: &str = "adapter_config.json";
const TENSORS: &str = "adapter_model.safetensors";

/// What PEFT puts before the names of a model's modules.
const PREFIX: &str = "base_model.model.";
/// The note that holds the digest of the base: unknown keys of `adapter_config.json` are frowned upon.
const BASE_DIGEST: &str = "base_digest";

/// The longest `adapter_config.json` that is read; they have one or two KB.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// What an adapter stands beside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdapterNote {
    /// A folder or a repository.
    pub base_model: String,
    /// The digest of the base's weights ([`crate::Weights::digest`]); none where nobody wrote it.
    pub base_digest: Option<u128>,
}

/// What the files say about an adapter, its numbers aside.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterFile {
    /// Its settings.
    pub lora: crate::LoraConfig,
    /// What it was trained beside: a folder or a repository; empty where the files do not say.
    pub base_model: String,
    /// The digest of the base's weights; none in adapters from elsewhere.
    pub base_digest: Option<u128>,
}

/// Reads what an adapter is: `adapter_config.json`, and the notes in `adapter_model.safetensors`.
///
/// # Errors
/// When one of them cannot be read, or asks for what we do not have.
pub fn read_adapter_config(folder: &Path) -> Result<AdapterFile, AdapterError> {
    Ok(open(folder)?.0)
}

fn open(folder: &Path) -> Result<(AdapterFile, TensorFile), AdapterError> {
    let path = folder.join(CONFIG);
    let read = || {
        let bytes = read_bounded(&path, MAX_CONFIG_BYTES)?;
        String::from_utf8(bytes).map_err(|error| IoError::new(ErrorKind::InvalidData, error))
    };
    let text = read().map_err(WeightsError::io(&path))?;
    let AdapterConfig { lora, base_model } =
        AdapterConfig::from_json(&text).map_err(|source| AdapterError::Config { path, source })?;
    let file = TensorFile::open(&folder.join(TENSORS))?;
    let digest = file.note(BASE_DIGEST);
    let read = AdapterFile {
        lora,
        base_model,
        base_digest: digest.and_then(|digits| u128::from_str_radix(digits, 16).ok()),
    };
    Ok((read, file))
}

/// Reads an adapter of this model; every tensor of the file must be used and every one of the adapter
/// present.
///
/// # Errors
/// When a file cannot be read, asks for what we do not have, or does not hold the numbers of such an
/// adapter.
pub fn load_adapter(folder: &Path, config: &ModelConfig) -> Result<Adapter, AdapterError> {
    let (AdapterFile { lora, .. }, mut file) = open(folder)?;
    let parameters = adapter_parameters(config, &lora);
    let mut asked = Vec::with_capacity(parameters.len());
    for parameter in &parameters {
        let (name, expected) = as_stored(parameter);
        let Some(info) = file.info(&name) else {
            return Err(AdapterError::Missing {
                path: file.path().to_owned(),
                name,
            });
        };
        if info.shape != expected {
            return Err(AdapterError::Shape {
                path: file.path().to_owned(),
                found: info.shape.clone(),
                name,
                expected,
            });
        }
        asked.push(name);
    }
    asked.sort_unstable();
    let names = file.tensors().map(|(name, _)| name);
    let extra: Vec<&str> = names
        .filter(|name| {
            asked
                .binary_search_by(|asked| asked.as_str().cmp(name))
                .is_err()
        })
        .collect();
    if !extra.is_empty() {
        return Err(AdapterError::Extra {
            path: file.path().to_owned(),
            names: listed(&extra),
        });
    }
    Adapter::assemble(config, lora, |parameter| {
        let (name, _) = as_stored(parameter);
        Ok(file.read_finite(&name, true)?)
    })
}

/// Writes an adapter into an existing folder, in f32: reading it back gives the same bits, and the same
/// adapter makes the same files.
///
/// # Errors
/// When a file cannot be written.
///
/// # Panics
/// When the adapter is not of the model.
pub fn save_adapter(
    config: &ModelConfig,
    adapter: &Adapter,
    note: &AdapterNote,
    folder: &Path,
) -> Result<(), AdapterError> {
    let parameters = adapter_parameters(config, &adapter.config);
    let values = adapter.weights.values();
    assert_eq!(
        parameters.len(),
        values.len(),
        "an adapter of another model"
    );
    let tensors = parameters.iter().zip(values).map(|(parameter, values)| {
        let (name, shape) = as_stored(parameter);
        let tensor = Tensor {
            shape,
            values,
            is_turned: true,
        };
        (name, tensor)
    });
    let digest = note.base_digest.map(|digest| format!("{digest:032x}"));
    let mut notes = vec![("format", "pt")];
    notes.extend(digest.as_deref().map(|digest| (BASE_DIGEST, digest)));
    save_tensors(
        tensors.collect(),
        Numbers::F32,
        &notes,
        &folder.join(TENSORS),
    )?;
    let written = AdapterConfig {
        lora: adapter.config.clone(),
        base_model: note.base_model.clone(),
    };
    let path = folder.join(CONFIG);
    Ok(fs::write(&path, written.to_json()).map_err(WeightsError::io(&path))?)
}

/// A parameter's name and shape in files.
fn as_stored(Parameter { name, shape }: &Parameter) -> (String, Vec<usize>) {
    let shape = shape.iter().rev().copied().collect();
    (format!("{PREFIX}{name}"), shape)
}
