//! `model.safetensors` in Hugging Face names and layout.

use std::{
    borrow::Cow,
    collections::HashMap,
    fs::{self, File},
    path::{Path, PathBuf},
};

use longhand_engine::{ModelConfig, Parameter, Weights, parameters};
use safetensors::{Dtype, SafeTensorError, View, tensor::TensorView};
use thiserror::Error;

use crate::tensor_file::ModelFiles;

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
    /// The list of a model's files does not fit them.
    #[error("{path} does not fit the files beside it: {reason}")]
    Index {
        /// The list.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// A number is NaN or infinite.
    #[error(
        "tensor `{name}` in {path} holds {value} at index {idx}: such weights can neither sample nor \
         learn; take a checkpoint from before they broke"
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Index into its values, in the file's order.
        idx: usize,
        /// The number.
        value: f32,
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

/// Reads a model's folder; every tensor there must be used and every tensor of the model present. Left
/// unused, as by others, are a head of its own beside tied embeddings and stored rotary frequencies.
pub(crate) fn load(folder: &Path, config: &ModelConfig) -> Result<Weights, WeightsError> {
    let mut files = ModelFiles::open(folder)?;
    let weights = Weights::assemble(config, |Parameter { name, shape }| {
        let (tensor, path) = files.take(name)?;
        let view = tensor.view();
        let transposed = is_projection(name);
        let mut expected = shape.to_vec();
        if transposed {
            expected.reverse();
        }
        if view.shape() != expected {
            return Err(WeightsError::Shape {
                path,
                name: name.clone(),
                found: view.shape().to_vec(),
                expected,
            });
        }
        let Some(values) = to_f32(&view) else {
            return Err(WeightsError::Type {
                path,
                name: name.clone(),
                found: format!("{:?}", view.dtype()),
            });
        };
        if let Some(idx) = values.iter().position(|value| !value.is_finite()) {
            return Err(WeightsError::NotFinite {
                path,
                name: name.clone(),
                idx,
                value: values[idx],
            });
        }
        Ok(if transposed {
            transpose(&values, expected[0], expected[1])
        } else {
            values
        })
    })?;
    let (mut names, path) = files.unread();
    names.retain(|name| {
        let is_tied_head = config.tie_embeddings && name == "lm_head.weight";
        !is_tied_head && !name.ends_with("rotary_emb.inv_freq")
    });
    if names.is_empty() {
        Ok(weights)
    } else {
        Err(WeightsError::Extra {
            path,
            names: names.join(", "),
        })
    }
}

/// Writes a model in f32; reading it back gives the same bits.
pub(crate) fn save(
    config: &ModelConfig,
    weights: &Weights,
    path: &Path,
) -> Result<(), WeightsError> {
    let tensors = parameters(config).into_iter().zip(weights.values()).map(
        |(Parameter { name, mut shape }, values)| {
            let is_turned = is_projection(&name);
            if is_turned {
                shape.reverse();
            }
            let tensor = Tensor {
                shape,
                values,
                is_turned,
            };
            (name, tensor)
        },
    );
    save_tensors(tensors.collect(), ("format", "pt"), path)
}

/// A tensor on its way into a file.
pub(crate) struct Tensor<'a> {
    /// As the file says it.
    pub(crate) shape: Vec<usize>,
    pub(crate) values: &'a [f32],
    /// Whether `values` are the transpose of what the file holds.
    pub(crate) is_turned: bool,
}

impl View for Tensor<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        if self.is_turned {
            let [rows, columns] = [self.shape[1], self.shape[0]];
            Cow::Owned(little_endian(&transpose(self.values, rows, columns)).into_owned())
        } else {
            little_endian(self.values)
        }
    }

    fn data_len(&self) -> usize {
        size_of_val(self.values)
    }
}

fn little_endian(values: &[f32]) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        Cow::Borrowed(bytemuck::cast_slice(values))
    } else {
        Cow::Owned(
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
        )
    }
}

/// Writes tensors one after the other, with one line of metadata: two would come in any order, and the
/// same numbers would not make the same file.
pub(crate) fn save_tensors(
    tensors: Vec<(String, Tensor<'_>)>,
    metadata: (&str, &str),
    path: &Path,
) -> Result<(), WeightsError> {
    let io = |source| WeightsError::Io {
        path: path.to_owned(),
        source,
    };
    // The crate's own file is for its owner's eyes alone; this one gets the rights that files here get.
    let rights = File::create(path)
        .and_then(|file| file.metadata())
        .map_err(io)?
        .permissions();
    let (key, value) = metadata;
    let metadata = HashMap::from([(key.to_string(), value.to_string())]);
    safetensors::serialize_to_file(tensors, Some(metadata), path).map_err(|error| match error {
        SafeTensorError::IoError(source) => io(source),
        other => WeightsError::Format {
            path: path.to_owned(),
            reason: other.to_string(),
        },
    })?;
    fs::set_permissions(path, rights).map_err(io)
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

pub(crate) fn to_f32(view: &TensorView<'_>) -> Option<Vec<f32>> {
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
