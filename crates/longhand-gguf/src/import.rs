//! A whole import: a GGUF file in, a folder in Hugging Face layout out, all of it or nothing.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use serde_json::Value as Json;

use crate::{
    Gguf, GgufError, Storage,
    model_config::ModelConfig,
    tensor_plan::{PlannedTensor, plan},
    tokenizer::tokenizer_files,
    weights_file::{WriteError, write_weights},
};

/// What may be chosen.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImportOptions {
    /// How `model.safetensors` stores numbers.
    pub storage: Storage,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// `general.architecture`.
    pub architecture: &'static str,
    /// Tensors in `model.safetensors`.
    pub n_tensors: usize,
    /// Numbers in them.
    pub n_parameters: u64,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// The longest sequence that the model is meant for, in tokens.
    pub window: usize,
}

/// Turns `gguf_path` into the folder `out_dir`, which must be absent or empty.
///
/// Everything is written into a hidden folder beside it, which is renamed at the end: whoever finds
/// `out_dir` finds all of it, whenever the process was killed.
///
/// # Errors
/// [`GgufError`], before anything is written where the file or `out_dir` is to blame.
pub fn import(
    gguf_path: &Path,
    out_dir: &Path,
    options: &ImportOptions,
) -> Result<Imported, GgufError> {
    check_out_folder(out_dir)?;
    let mut gguf = Gguf::open(gguf_path)?;
    let config = ModelConfig::read(&mut gguf)?;
    let tensors = plan(&gguf, &config)?;
    let tokenizer = tokenizer_files(gguf.metadata(), config.window)?;
    let n_numbers =
        |tensor: &PlannedTensor| -> u64 { tensor.source.shape.iter().map(|n| *n as u64).product() };
    let imported = Imported {
        architecture: config.architecture.name(),
        n_tensors: tensors.len(),
        n_parameters: tensors.iter().map(n_numbers).sum(),
        vocab_size: config.vocab_size,
        window: config.window,
    };

    let hidden = hidden_sibling(out_dir)?;
    let written = write_folder(&hidden, |hidden| {
        let texts = [
            ("config.json", config.to_json(options.storage.torch_name())),
            ("generation_config.json", config.generation_json()),
            ("tokenizer.json", tokenizer.tokenizer),
            ("tokenizer_config.json", tokenizer.config),
        ];
        for (name, json) in texts {
            write_json(&hidden.join(name), &json)?;
        }
        let path = hidden.join("model.safetensors");
        write_file(&path, |out| {
            write_weights(&mut gguf, &tensors, options.storage, out)
        })
    });
    let renamed = written.and_then(|()| replace_empty(&hidden, out_dir));
    if renamed.is_err() {
        // The error that is returned is the one that matters; what is left is hidden.
        let _ = fs::remove_dir_all(&hidden);
    }
    renamed.map(|()| imported)
}

fn io_error(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> GgufError {
    let path = path.to_owned();
    move |source| GgufError::Io {
        path,
        action,
        source,
    }
}

fn check_out_folder(out_dir: &Path) -> Result<(), GgufError> {
    let refused = |reason: &str| {
        Err(GgufError::OutFolder {
            path: out_dir.to_owned(),
            reason: reason.to_owned(),
        })
    };
    match fs::read_dir(out_dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => refused("the folder is not empty; name another, or remove it first"),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            refused("this is not a folder; name another")
        }
        Err(error) => Err(io_error(out_dir, "read")(error)),
    }
}

/// `.NAME.import-PID` beside the folder, so that renaming stays within one file system.
fn hidden_sibling(out_dir: &Path) -> Result<PathBuf, GgufError> {
    let Some(name) = out_dir.file_name() else {
        return Err(GgufError::OutFolder {
            path: out_dir.to_owned(),
            reason: "the path has no last part; name a folder to be made".to_owned(),
        });
    };
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".import-{}", std::process::id()));
    Ok(out_dir.with_file_name(hidden))
}

fn write_folder(
    hidden: &Path,
    fill: impl FnOnce(&Path) -> Result<(), GgufError>,
) -> Result<(), GgufError> {
    fs::create_dir_all(hidden).map_err(io_error(hidden, "make the folder"))?;
    fill(hidden)?;
    sync_folder(hidden)
}

/// The rename takes the place of an empty folder; a folder that has been filled meanwhile is kept.
fn replace_empty(hidden: &Path, out_dir: &Path) -> Result<(), GgufError> {
    match fs::remove_dir(out_dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io_error(out_dir, "replace the folder")(error));
        }
        _ => {}
    }
    fs::rename(hidden, out_dir).map_err(io_error(out_dir, "write the folder"))?;
    match out_dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        _ => sync_folder(Path::new(".")),
    }
}

/// Names survive a power cut only when their folder is written out; only Unix can say so.
fn sync_folder(folder: &Path) -> Result<(), GgufError> {
    if cfg!(unix) {
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        return synced.map_err(io_error(folder, "write the folder"));
    }
    Ok(())
}

fn write_json(path: &Path, json: &Json) -> Result<(), GgufError> {
    write_file(path, |out| {
        serde_json::to_writer_pretty(&mut *out, json).map_err(io::Error::from)?;
        out.write_all(b"\n")?;
        Ok(())
    })
}

fn write_file(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> Result<(), WriteError>,
) -> Result<(), GgufError> {
    let write = || {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
        fill(&mut out)?;
        out.into_inner()
            .map_err(io::IntoInnerError::into_error)?
            .sync_all()?;
        Ok(())
    };
    write().map_err(|error| match error {
        WriteError::Source(error) => error,
        WriteError::Target(source) => io_error(path, "write")(source),
    })
}
