//! `model.safetensors` in Hugging Face names and layout.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use longhand_engine::{ModelConfig, Parameter, Weights, parameters};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use thiserror::Error;

/// Weights that could not be read or written.
#[derive(Debug, Error)]
pub enum WeightsError {
    /// Reading or writing failed.
    #[error("cannot access {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not a safetensors file.
    #[error("{path} is not a safetensors file: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What the `safetensors` crate says.
        reason: String,
    },
    /// The model needs a tensor that the file lacks.
    #[error("{path} has no tensor `{name}`, which config.json asks for")]
    Missing {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// The file has tensors that the model does not use.
    #[error("{path} has tensors that config.json does not ask for: {names}")]
    Extra {
        /// The file.
        path: PathBuf,
        /// Their names.
        names: String,
    },
    /// A tensor has another shape than `config.json` says.
    #[error("tensor `{name}` in {path} has shape {found:?}, config.json asks for {expected:?}")]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// A tensor has a number type that is not read.
    #[error("tensor `{name}` in {path} has type {found}; F32, F16 and BF16 are read")]
    Type {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its type.
        found: String,
    },
}

/// Reads a model; every tensor of the file must be used and every tensor of the model present.
pub(crate) fn load(path: &Path, config: &ModelConfig) -> Result<Weights, WeightsError> {
    let bytes = std::fs::read(path).map_err(|source| WeightsError::Io {
        path: path.to_owned(),
        source,
    })?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| WeightsError::Format {
        path: path.to_owned(),
        reason: e.to_string(),
    })?;
    let mut unused: BTreeMap<String, TensorView<'_>> = file
        .iter()
        .map(|(name, view)| (name.to_string(), view))
        .collect();
    let weights = Weights::assemble(config, |Parameter { name, shape }| {
        let view = unused
            .remove(name.as_str())
            .ok_or_else(|| WeightsError::Missing {
                path: path.to_owned(),
                name: name.clone(),
            })?;
        let transposed = is_projection(name);
        let mut expected = shape.to_vec();
        if transposed {
            expected.reverse();
        }
        if view.shape() != expected {
            return Err(WeightsError::Shape {
                path: path.to_owned(),
                name: name.clone(),
                found: view.shape().to_vec(),
                expected,
            });
        }
        let values = to_f32(&view).ok_or_else(|| WeightsError::Type {
            path: path.to_owned(),
            name: name.clone(),
            found: format!("{:?}", view.dtype()),
        })?;
        Ok(if transposed {
            transpose(&values, expected[0], expected[1])
        } else {
            values
        })
    })?;
    if unused.is_empty() {
        Ok(weights)
    } else {
        let names = unused.into_keys().collect::<Vec<_>>().join(", ");
        Err(WeightsError::Extra {
            path: path.to_owned(),
            names,
        })
    }
}

/// Writes a model in f32; reading it back gives the same bits.
pub(crate) fn save(
    config: &ModelConfig,
    weights: &Weights,
    path: &Path,
) -> Result<(), WeightsError> {
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = parameters(config)
        .into_iter()
        .zip(weights.values())
        .map(|(Parameter { name, shape }, values)| {
            let (shape, values) = if is_projection(&name) {
                let turned = transpose(values, shape[0], shape[1]);
                (vec![shape[1], shape[0]], Cow::Owned(turned))
            } else {
                (shape, Cow::Borrowed(values))
            };
            (
                name,
                shape,
                values
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect(),
            )
        })
        .collect();
    let format = |e: safetensors::SafeTensorError| WeightsError::Format {
        path: path.to_owned(),
        reason: e.to_string(),
    };
    let views = bytes
        .iter()
        .map(|(name, shape, bytes)| {
            Ok((
                name,
                TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(format)?,
            ))
        })
        .collect::<Result<Vec<_>, WeightsError>>()?;
    let metadata = std::collections::HashMap::from([("format".to_string(), "pt".to_string())]);
    let file = safetensors::serialize(views, Some(metadata)).map_err(format)?;
    std::fs::write(path, file).map_err(|source| WeightsError::Io {
        path: path.to_owned(),
        source,
    })
}

/// Whether a tensor is a matrix that Hugging Face files keep as `[out, in]` and we as `[in, out]`.
fn is_projection(name: &str) -> bool {
    name.ends_with("_proj.weight") || name == "lm_head.weight"
}

fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    for column in 0..columns {
        out.extend((0..rows).map(|row| values[row * columns + column]));
    }
    out
}

fn to_f32(view: &TensorView<'_>) -> Option<Vec<f32>> {
    let bytes = view.data();
    match view.dtype() {
        Dtype::F32 => Some(
            bytes
                .as_chunks::<4>()
                .0
                .iter()
                .map(|b| f32::from_le_bytes(*b))
                .collect(),
        ),
        Dtype::BF16 => Some(
            bytes
                .as_chunks::<2>()
                .0
                .iter()
                .map(|b| f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16))
                .collect(),
        ),
        Dtype::F16 => Some(
            bytes
                .as_chunks::<2>()
                .0
                .iter()
                .map(|b| burn::tensor::f16::from_le_bytes(*b).to_f32())
                .collect(),
        ),
        _ => None,
    }
}
