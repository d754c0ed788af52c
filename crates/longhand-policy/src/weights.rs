//! `model.safetensors` in Hugging Face names and layout.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use burn::{
    module::Param,
    tensor::{Tensor, backend::Backend},
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use thiserror::Error;

use crate::{model::Transformer, model_config::ModelConfig};

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
pub(crate) fn load<B: Backend>(
    path: &Path,
    config: &ModelConfig,
    device: &B::Device,
) -> Result<Transformer<B>, WeightsError> {
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
    let model = Transformer::assemble(config, device, |name, shape| {
        let view = unused.remove(name).ok_or_else(|| WeightsError::Missing {
            path: path.to_owned(),
            name: name.into(),
        })?;
        let transposed = is_projection(name);
        let mut expected = shape.to_vec();
        if transposed {
            expected.reverse();
        }
        if view.shape() != expected {
            return Err(WeightsError::Shape {
                path: path.to_owned(),
                name: name.into(),
                found: view.shape().to_vec(),
                expected,
            });
        }
        let values = to_f32(&view).ok_or_else(|| WeightsError::Type {
            path: path.to_owned(),
            name: name.into(),
            found: format!("{:?}", view.dtype()),
        })?;
        Ok(if transposed {
            transpose(&values, expected[0], expected[1])
        } else {
            values
        })
    })?;
    if unused.is_empty() {
        Ok(model)
    } else {
        let names = unused.into_keys().collect::<Vec<_>>().join(", ");
        Err(WeightsError::Extra {
            path: path.to_owned(),
            names,
        })
    }
}

/// Writes a model in f32; reading it back gives the same bits.
pub(crate) fn save<B: Backend>(model: &Transformer<B>, path: &Path) -> Result<(), WeightsError> {
    let tensors = named_tensors(model);
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .map(|(name, shape, values)| {
            let (shape, values) = if is_projection(&name) {
                (
                    vec![shape[1], shape[0]],
                    transpose(&values, shape[0], shape[1]),
                )
            } else {
                (shape, values)
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

/// Every tensor by its Hugging Face name, its shape in our layout and its values, in the model's order.
pub(crate) fn named_tensors<B: Backend>(
    model: &Transformer<B>,
) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let mut tensors = Vec::new();
    push(
        &mut tensors,
        "model.embed_tokens.weight",
        &model.embed_tokens,
    );
    for (layer_idx, layer) in model.layers.iter().enumerate() {
        let name = |part: &str| format!("model.layers.{layer_idx}.{part}");
        for (part, bias) in [
            ("q_proj", &layer.q_bias),
            ("k_proj", &layer.k_bias),
            ("v_proj", &layer.v_bias),
        ] {
            if let Some(bias) = bias {
                push(&mut tensors, &name(&format!("self_attn.{part}.bias")), bias);
            }
        }
        for (part, norm) in [("q_norm", &layer.q_norm), ("k_norm", &layer.k_norm)] {
            if let Some(norm) = norm {
                push(
                    &mut tensors,
                    &name(&format!("self_attn.{part}.weight")),
                    norm,
                );
            }
        }
        push(
            &mut tensors,
            &name("input_layernorm.weight"),
            &layer.input_norm,
        );
        push(
            &mut tensors,
            &name("self_attn.q_proj.weight"),
            &layer.q_proj,
        );
        push(
            &mut tensors,
            &name("self_attn.k_proj.weight"),
            &layer.k_proj,
        );
        push(
            &mut tensors,
            &name("self_attn.v_proj.weight"),
            &layer.v_proj,
        );
        push(
            &mut tensors,
            &name("self_attn.o_proj.weight"),
            &layer.o_proj,
        );
        push(
            &mut tensors,
            &name("post_attention_layernorm.weight"),
            &layer.post_attention_norm,
        );
        push(
            &mut tensors,
            &name("mlp.gate_proj.weight"),
            &layer.gate_proj,
        );
        push(&mut tensors, &name("mlp.up_proj.weight"), &layer.up_proj);
        push(
            &mut tensors,
            &name("mlp.down_proj.weight"),
            &layer.down_proj,
        );
    }
    push(&mut tensors, "model.norm.weight", &model.norm);
    if let Some(lm_head) = &model.lm_head {
        push(&mut tensors, "lm_head.weight", lm_head);
    }
    tensors
}

fn push<B: Backend, const D: usize>(
    tensors: &mut Vec<(String, Vec<usize>, Vec<f32>)>,
    name: &str,
    parameter: &Param<Tensor<B, D>>,
) {
    let tensor = parameter.val();
    let shape = tensor.dims().to_vec();
    tensors.push((
        name.to_string(),
        shape,
        tensor.into_data().iter::<f32>().collect(),
    ));
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
