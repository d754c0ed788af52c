//! Files that belong to a model beside its weights, and go where it goes.

use std::{fs, io, path::Path, sync::Arc};

use crate::policy::PolicyError;

/// What a folder in Hugging Face layout says of the model as something that talks.
const NAMES: [&str; 4] = [
    GENERATION_CONFIG,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
];

pub(crate) const GENERATION_CONFIG: &str = "generation_config.json";

/// Such files, byte by byte.
#[derive(Clone, Debug, Default)]
pub(crate) struct Companions {
    files: Vec<(&'static str, Arc<[u8]>)>,
}

impl Companions {
    /// Those of a folder.
    pub(crate) fn load(folder: &Path) -> Result<Self, PolicyError> {
        let mut files = Vec::new();
        for name in NAMES {
            let path = folder.join(name);
            match fs::read(&path) {
                Ok(bytes) => files.push((name, bytes.into())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(PolicyError::Io { path, source }),
            }
        }
        Ok(Self { files })
    }

    pub(crate) fn save(&self, folder: &Path) -> Result<(), PolicyError> {
        for (name, bytes) in &self.files {
            let path = folder.join(name);
            fs::write(&path, bytes).map_err(|source| PolicyError::Io { path, source })?;
        }
        Ok(())
    }

    /// All but this file.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.files.retain(|(file, _)| *file != name);
        self
    }
}
