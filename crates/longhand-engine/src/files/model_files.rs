//! The tensors of a model's folder, in one file or in several.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{
    error::{WeightsError, shown},
    header::TensorInfo,
    tensor_file::{TensorFile, read_bounded},
};

/// A model in one file.
pub(crate) const SINGLE: &str = "model.safetensors";
/// The list of a model's files.
pub(crate) const INDEX: &str = "model.safetensors.index.json";

/// The longest list of files that is read; that of a model with 90,000 tensors has half of it.
const MAX_INDEX_BYTES: u64 = 16 << 20;

/// The open files of a model: `model.safetensors`, or those that `model.safetensors.index.json` names.
#[derive(Debug)]
pub struct ModelFiles {
    files: Vec<TensorFile>,
    /// The file of each tensor.
    places: BTreeMap<String, usize>,
    /// What to name where a tensor is missing.
    path: PathBuf,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl ModelFiles {
    /// Opens the files and reads their headers.
    ///
    /// # Errors
    /// When one of them cannot be read, or the list of them does not fit what is in them.
    pub fn open(folder: &Path) -> Result<Self, WeightsError> {
        let (single, index) = (folder.join(SINGLE), folder.join(INDEX));
        if single.exists() || !index.exists() {
            let file = TensorFile::open(&single)?;
            let places = file.tensors().map(|(name, _)| (name.to_owned(), 0));
            return Ok(Self {
                places: places.collect(),
                files: vec![file],
                path: single,
            });
        }
        let bytes = read_bounded(&index, MAX_INDEX_BYTES).map_err(WeightsError::io(&index))?;
        let bad = |reason: String| WeightsError::Index {
            path: index.clone(),
            reason,
        };
        let Index { weight_map } =
            serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        let mut names: Vec<&String> = weight_map.values().collect();
        names.sort();
        names.dedup();
        let mut files = Vec::new();
        for name in &names {
            let in_folder = Path::new(name).file_name();
            if in_folder.is_none_or(|file| file != name.as_str()) {
                let name = shown(name);
                return Err(bad(format!("`{name}` is no name of a file beside it")));
            }
            files.push(TensorFile::open(&folder.join(name))?);
        }
        let mut places = BTreeMap::new();
        for (file_idx, file) in files.iter().enumerate() {
            for (tensor, _) in file.tensors() {
                if weight_map.get(tensor) != Some(names[file_idx]) {
                    let (tensor, path) = (shown(tensor), file.path().display());
                    return Err(bad(format!("it does not say that `{tensor}` is in {path}")));
                }
                places.insert(tensor.to_owned(), file_idx);
            }
        }
        let lacking = weight_map
            .iter()
            .find(|(name, _)| !places.contains_key(*name));
        if let Some((tensor, file)) = lacking {
            let (tensor, file) = (shown(tensor), shown(file));
            return Err(bad(format!("`{tensor}` is not in {file}")));
        }
        Ok(Self {
            files,
            places,
            path: index,
        })
    }

    /// The one file, or the list of them.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// What the headers say of a tensor, with the file it is in; none when no file has it.
    pub fn info(&self, name: &str) -> Option<(&TensorInfo, &Path)> {
        let file = &self.files[*self.places.get(name)?];
        Some((file.info(name)?, file.path()))
    }

    /// The file of a tensor, to read it from.
    ///
    /// # Errors
    /// When no file has it.
    pub fn file_of(&mut self, name: &str) -> Result<&mut TensorFile, WeightsError> {
        match self.places.get(name) {
            Some(file_idx) => Ok(&mut self.files[*file_idx]),
            None => Err(WeightsError::Missing {
                path: self.path.clone(),
                name: name.to_owned(),
            }),
        }
    }
}
