//! A model's weights from and to files in Hugging Face names and layout.

use std::{fs, io, path::Path};

use serde_json::{Map, Value, json};

use super::{
    error::{WeightsError, listed},
    model_files::{INDEX, ModelFiles, SINGLE},
    numbers::Numbers,
    tensor_writer::{Tensor, save_tensors},
};
use crate::{
    ModelConfig,
    parameters::{Parameter, parameters},
    weights::Weights,
};

/// `transformers` refuses files that do not name a framework.
const NOTES: [(&str, &str); 1] = [("format", "pt")];

/// Reads the weights of a model's folder; every tensor there must be used and every tensor of the model
/// present. Left unused, as by others, are a head of its own beside tied embeddings and stored rotary
/// frequencies.
///
/// # Errors
/// When a file cannot be read, or does not hold the numbers of such a model. All headers are compared with
/// the model before the first number is read.
pub fn load_weights(folder: &Path, config: &ModelConfig) -> Result<Weights, WeightsError> {
    let mut files = ModelFiles::open(folder)?;
    check(&files, config)?;
    Weights::assemble(config, |Parameter { name, .. }| {
        let file = files.file_of(name)?;
        file.read_finite(name, is_projection(name))
    })
}

/// Compares the headers with the model.
fn check(files: &ModelFiles, config: &ModelConfig) -> Result<(), WeightsError> {
    let parameters = parameters(config);
    for Parameter { name, shape } in &parameters {
        let Some((info, path)) = files.info(name) else {
            return Err(WeightsError::Missing {
                path: files.path().to_owned(),
                name: name.clone(),
            });
        };
        let expected = file_shape(name, shape);
        if info.shape != expected {
            return Err(WeightsError::Shape {
                path: path.to_owned(),
                name: name.clone(),
                found: info.shape.clone(),
                expected,
            });
        }
        if info.number_type.width().is_none() {
            return Err(WeightsError::Type {
                path: path.to_owned(),
                name: name.clone(),
                found: info.number_type.name().to_owned(),
            });
        }
    }
    let mut asked: Vec<&str> = parameters.iter().map(|p| p.name.as_str()).collect();
    asked.sort_unstable();
    let is_extra = |name: &&str| {
        let is_tied_head = config.tie_embeddings && *name == "lm_head.weight";
        let is_asked = asked.binary_search(name).is_ok();
        !is_asked && !is_tied_head && !name.ends_with("rotary_emb.inv_freq")
    };
    let extra: Vec<&str> = files.names().filter(is_extra).collect();
    if extra.is_empty() {
        Ok(())
    } else {
        Err(WeightsError::Extra {
            path: files.path().to_owned(),
            names: listed(&extra),
        })
    }
}

/// How weights are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaveOptions {
    /// What the numbers become.
    pub numbers: Numbers,
    /// The most bytes of tensors in one file; a tensor that has more is in a file by itself. None for all
    /// in one.
    pub max_file_bytes: Option<u64>,
}

/// Writes a model's weights into a folder: `model.safetensors`, or, where one file would have too many
/// bytes, several of them and their list, cut as Hugging Face cuts them. The same weights make the same
/// files. A file of an earlier model that would be read in their place is removed.
///
/// # Errors
/// When a file cannot be written. Files that have been written by then stay.
///
/// # Panics
/// When the weights are not those of the config.
pub fn save_weights(
    config: &ModelConfig,
    weights: &Weights,
    folder: &Path,
    options: &SaveOptions,
) -> Result<(), WeightsError> {
    let SaveOptions {
        numbers,
        max_file_bytes,
    } = *options;
    let parameters = parameters(config);
    assert_eq!(
        parameters.len(),
        weights.values.len(),
        "weights of another model"
    );
    let mut tensors: Vec<(String, Tensor<'_>)> = parameters
        .into_iter()
        .zip(&weights.values)
        .map(|(Parameter { name, shape }, values)| {
            let tensor = Tensor {
                shape: file_shape(&name, &shape),
                values,
                is_turned: is_projection(&name),
            };
            (name, tensor)
        })
        .collect();
    tensors.sort_by_key(|(name, _)| place_elsewhere(name));
    let mut files = cut(tensors, numbers, max_file_bytes.unwrap_or(u64::MAX));
    if let [_] = &files[..] {
        save_tensors(files.remove(0), numbers, &NOTES, &folder.join(SINGLE))?;
        return remove(&folder.join(INDEX));
    }
    let n_files = files.len();
    let (mut weight_map, mut n_bytes) = (Map::new(), 0);
    for (file_idx, tensors) in files.into_iter().enumerate() {
        let file = format!("model-{:05}-of-{n_files:05}.safetensors", file_idx + 1);
        for (name, tensor) in &tensors {
            weight_map.insert(name.clone(), json!(file));
            n_bytes += tensor.values.len() as u64 * numbers.width();
        }
        save_tensors(tensors, numbers, &NOTES, &folder.join(file))?;
    }
    weight_map.sort_keys();
    let index = json!({
        "metadata": {"total_parameters": config.n_parameters(), "total_size": n_bytes},
        "weight_map": Value::Object(weight_map),
    });
    let path = folder.join(INDEX);
    fs::write(&path, format!("{index:#}\n")).map_err(WeightsError::io(&path))?;
    remove(&folder.join(SINGLE))
}

/// Cuts tensors into files of at most so many bytes. As elsewhere, one that has more is a file by itself
/// and does not close the file that is being filled.
fn cut<'a>(
    tensors: Vec<(String, Tensor<'a>)>,
    numbers: Numbers,
    max_bytes: u64,
) -> Vec<Vec<(String, Tensor<'a>)>> {
    let (mut files, mut filling, mut n_bytes) = (Vec::new(), Vec::new(), 0_u64);
    for named in tensors {
        let n_more = named.1.values.len() as u64 * numbers.width();
        if max_bytes < n_more {
            files.push(vec![named]);
            continue;
        }
        if max_bytes < n_bytes + n_more {
            files.push(std::mem::take(&mut filling));
            n_bytes = 0;
        }
        n_bytes += n_more;
        filling.push(named);
    }
    if !filling.is_empty() {
        files.push(filling);
    }
    files
}

fn remove(path: &Path) -> Result<(), WeightsError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(WeightsError::io(path)(error)),
        _ => Ok(()),
    }
}

/// The parts of a layer in the order in which PyTorch's modules have them.
const PARTS: [&str; 14] = [
    "self_attn.q_proj.weight",
    "self_attn.q_proj.bias",
    "self_attn.k_proj.weight",
    "self_attn.k_proj.bias",
    "self_attn.v_proj.weight",
    "self_attn.v_proj.bias",
    "self_attn.o_proj.weight",
    "self_attn.q_norm.weight",
    "self_attn.k_norm.weight",
    "mlp.gate_proj.weight",
    "mlp.up_proj.weight",
    "mlp.down_proj.weight",
    "input_layernorm.weight",
    "post_attention_layernorm.weight",
];

/// Where a parameter stands among those of PyTorch's modules: files are cut along that order.
fn place_elsewhere(name: &str) -> (usize, usize, usize) {
    let of_layer = name.strip_prefix("model.layers.");
    match of_layer.and_then(|rest| rest.split_once('.')) {
        Some((layer_idx, part)) => {
            let part_idx = PARTS.iter().position(|known| *known == part);
            let layer_idx = layer_idx.parse().unwrap_or(usize::MAX);
            (1, layer_idx, part_idx.unwrap_or(PARTS.len()))
        }
        None if name == "model.embed_tokens.weight" => (0, 0, 0),
        None if name == "model.norm.weight" => (2, 0, 0),
        None => (3, 0, 0),
    }
}

/// Whether a tensor is a matrix that Hugging Face files keep as `[out, in]` and we as `[in, out]`.
fn is_projection(name: &str) -> bool {
    name.ends_with("_proj.weight") || name == "lm_head.weight"
}

/// A parameter's shape in files.
fn file_shape(name: &str, shape: &[usize]) -> Vec<usize> {
    let mut shape = shape.to_vec();
    if is_projection(name) {
        shape.reverse();
    }
    shape
}
