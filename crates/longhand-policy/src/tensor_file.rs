//! Safetensors files read tensor by tensor, and models cut into several of them.
//!
//! A file's header is read and held against the file's length; a tensor's bytes are read when they are
//! asked for, so that never more than one of them is held beside what has become of the others.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use safetensors::tensor::{Metadata, TensorInfo, TensorView};
use serde::Deserialize;

use crate::weights::WeightsError;

/// The longest header that is read; the largest models have a few MB.
const MAX_HEADER: u64 = 100_000_000;

/// One file.
pub(crate) struct TensorFile {
    path: PathBuf,
    file: File,
    metadata: Metadata,
    /// Where the tensors' bytes begin.
    start: u64,
}

/// A tensor as it stands in its file.
pub(crate) struct StoredTensor {
    pub(crate) info: TensorInfo,
    bytes: Vec<u8>,
}

impl StoredTensor {
    pub(crate) fn view(&self) -> TensorView<'_> {
        let TensorInfo { dtype, shape, .. } = &self.info;
        TensorView::new(*dtype, shape.clone(), &self.bytes)
            .expect("lengths were compared when the file was opened")
    }
}

impl TensorFile {
    pub(crate) fn open(path: &Path) -> Result<Self, WeightsError> {
        let io = |source| WeightsError::Io {
            path: path.to_owned(),
            source,
        };
        let format = |reason: String| WeightsError::Format {
            path: path.to_owned(),
            reason,
        };
        let mut file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let mut n_header = [0; 8];
        if length < 8 {
            return Err(format(format!("it has {length} bytes, a header has more")));
        }
        file.read_exact(&mut n_header).map_err(io)?;
        let n_header = u64::from_le_bytes(n_header);
        if MAX_HEADER.min(length - 8) < n_header {
            return Err(format(format!(
                "its header claims {n_header} bytes, the file has {length}"
            )));
        }
        let mut header = vec![0; n_header as usize];
        file.read_exact(&mut header).map_err(io)?;
        let metadata: Metadata =
            serde_json::from_slice(&header).map_err(|error| format(error.to_string()))?;
        let start = 8 + n_header;
        for (name, info) in metadata.tensors() {
            let (from, to) = info.data_offsets;
            let n_values = info
                .shape
                .iter()
                .try_fold(1_usize, |n, size| n.checked_mul(*size));
            let n_bits = n_values.and_then(|n| n.checked_mul(info.dtype.bitsize()));
            let fits = from <= to && to as u64 <= length - start;
            if !fits || n_bits != (to - from).checked_mul(8) {
                return Err(format(format!(
                    "tensor `{name}` claims bytes {from} to {to} for shape {:?}, the file has {} bytes of tensors",
                    info.shape,
                    length - start
                )));
            }
        }
        let n_claimed = metadata.data_len() as u64;
        if n_claimed != length - start {
            return Err(format(format!(
                "its tensors take {n_claimed} bytes, the file has {}: it was cut off or added to",
                length - start
            )));
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            metadata,
            start,
        })
    }

    /// One line of the header's metadata.
    pub(crate) fn note(&self, key: &str) -> Option<&str> {
        Some(self.metadata.metadata().as_ref()?.get(key)?.as_str())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn names(&self) -> Vec<String> {
        self.metadata.offset_keys()
    }

    /// Reads a tensor; none when the file lacks it.
    pub(crate) fn read(&mut self, name: &str) -> Result<Option<StoredTensor>, WeightsError> {
        let Some(info) = self.metadata.info(name).cloned() else {
            return Ok(None);
        };
        let (from, to) = info.data_offsets;
        let mut bytes = vec![0; to - from];
        self.file
            .seek(SeekFrom::Start(self.start + from as u64))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(|source| WeightsError::Io {
                path: self.path.clone(),
                source,
            })?;
        Ok(Some(StoredTensor { info, bytes }))
    }
}

/// The tensors of a model's folder: `model.safetensors`, or the files that
/// `model.safetensors.index.json` names.
pub(crate) struct ModelFiles {
    files: Vec<TensorFile>,
    /// The file of each tensor that has not been read.
    unread: BTreeMap<String, usize>,
    /// What to name where a tensor is missing.
    path: PathBuf,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl ModelFiles {
    pub(crate) fn open(folder: &Path) -> Result<Self, WeightsError> {
        let single = folder.join("model.safetensors");
        let index = folder.join("model.safetensors.index.json");
        if single.exists() || !index.exists() {
            let file = TensorFile::open(&single)?;
            let unread = file.names().into_iter().map(|name| (name, 0)).collect();
            return Ok(Self {
                files: vec![file],
                unread,
                path: single,
            });
        }
        let bytes = fs::read(&index).map_err(|source| WeightsError::Io {
            path: index.clone(),
            source,
        })?;
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
            if Path::new(name)
                .file_name()
                .is_none_or(|file| file != name.as_str())
            {
                return Err(bad(format!("`{name}` is no name of a file beside it")));
            }
            files.push(TensorFile::open(&folder.join(name))?);
        }
        let mut unread = BTreeMap::new();
        for (file_idx, file) in files.iter().enumerate() {
            for tensor in file.names() {
                let named = weight_map.get(&tensor);
                if named != Some(names[file_idx]) {
                    let path = file.path().display();
                    return Err(bad(format!("it does not say that `{tensor}` is in {path}")));
                }
                unread.insert(tensor, file_idx);
            }
        }
        if let Some((tensor, file)) = weight_map
            .iter()
            .find(|(name, _)| !unread.contains_key(*name))
        {
            return Err(bad(format!("`{tensor}` is not in {file}")));
        }
        Ok(Self {
            files,
            unread,
            path: index,
        })
    }

    /// Reads a tensor that has not been read, with the file it is in.
    pub(crate) fn take(&mut self, name: &str) -> Result<(StoredTensor, PathBuf), WeightsError> {
        let missing = || WeightsError::Missing {
            path: self.path.clone(),
            name: name.to_owned(),
        };
        let file_idx = self.unread.remove(name).ok_or_else(missing)?;
        let file = &mut self.files[file_idx];
        let tensor = file.read(name)?;
        let path = file.path().to_owned();
        let tensor = tensor.ok_or_else(|| WeightsError::Missing {
            path: path.clone(),
            name: name.to_owned(),
        })?;
        Ok((tensor, path))
    }

    /// Names that nobody has asked for, with a path to name.
    pub(crate) fn unread(self) -> (Vec<String>, PathBuf) {
        (self.unread.into_keys().collect(), self.path)
    }
}
