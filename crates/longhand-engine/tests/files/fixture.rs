//! Small random models, and folders to break.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use longhand_engine::{
    Family, Initialisation, ModelConfig, RopeScaling, SaveOptions, Weights, parameters,
    save_weights,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use tempfile::TempDir;

pub(crate) const FAMILIES: [Family; 3] = [Family::Llama, Family::Qwen2, Family::Qwen3];

pub(crate) fn config(family: Family, tie_embeddings: bool) -> ModelConfig {
    ModelConfig {
        family,
        vocab_size: 31,
        hidden_size: 12,
        intermediate_size: 20,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 6,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::Unscaled,
        norm_eps: 1e-5,
        tie_embeddings,
        max_positions: 256,
        end_ids: vec![1],
    }
}

/// Weights of which no two are alike, norms and biases included.
pub(crate) fn weights(config: &ModelConfig) -> Weights {
    let init = Initialisation {
        embedding_std: 1.0,
        q_norm_gain: 1.5,
    };
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut weights = Weights::from_scratch(config, init, &mut rng);
    for values in weights.values_mut() {
        for (i, value) in values.iter_mut().enumerate() {
            *value += i as f32 / 64.0;
        }
    }
    weights
}

/// A model in a folder that is removed with it.
pub(crate) struct Saved {
    folder: TempDir,
    pub(crate) config: ModelConfig,
    pub(crate) weights: Weights,
}

impl Saved {
    pub(crate) fn new(config: ModelConfig, options: &SaveOptions) -> Self {
        let (folder, weights) = (tempfile::tempdir().unwrap(), weights(&config));
        save_weights(&config, &weights, folder.path(), options).unwrap();
        Self {
            folder,
            config,
            weights,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What its numbers are called, with them.
    pub(crate) fn named(&self) -> impl Iterator<Item = (String, &[f32])> {
        let names = parameters(&self.config).into_iter().map(|p| p.name);
        names.zip(self.weights.values().iter().map(Vec::as_slice))
    }

    /// Why it cannot be loaded.
    pub(crate) fn refusal(&self) -> String {
        self.refusal_as(&self.config)
    }

    pub(crate) fn refusal_as(&self, config: &ModelConfig) -> String {
        let error = longhand_engine::load_weights(self.path(), config).unwrap_err();
        error.to_string()
    }

    pub(crate) fn single(&self) -> PathBuf {
        self.path().join("model.safetensors")
    }

    /// Writes the single file anew with these tensors, `(name, type, shape, bytes)`, in it.
    pub(crate) fn put(&self, put: &[(&str, Dtype, &[usize], &[u8])]) {
        let bytes = fs::read(self.single()).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let mut views: BTreeMap<String, TensorView<'_>> = file.tensors().into_iter().collect();
        for (name, dtype, shape, bytes) in put {
            let view = TensorView::new(*dtype, shape.to_vec(), bytes).unwrap();
            views.insert((*name).to_owned(), view);
        }
        safetensors::serialize_to_file(views, None, &self.single()).unwrap();
    }
}

/// All files of a folder with their bytes, sorted.
pub(crate) fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut files: Vec<(String, Vec<u8>)> = entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}
