//! Files of a model's folder.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::ChatError;

/// Longest file of a template.
const MAX_TEMPLATE_BYTES: u64 = 4 << 20;
/// Longest file of settings; tokenizers list thousands of added tokens in theirs.
const MAX_JSON_BYTES: u64 = 64 << 20;

/// Names that templates may use for special tokens.
const TOKENS: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

/// One template: where it stands and its text.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) file: String,
    pub(crate) text: String,
}

/// What a folder says about chats.
pub(crate) struct ChatFiles {
    /// By name; the one that is used without tools is `default`.
    pub(crate) sources: BTreeMap<String, Source>,
    pub(crate) tokens: Map<String, Value>,
}

/// Reads a file; none if there is none.
fn read(path: &Path, n_bytes: u64) -> Result<Option<String>, ChatError> {
    let failed = |source| ChatError::Read {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    file.take(n_bytes + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if n_bytes < text.len() as u64 {
        let path = path.to_owned();
        return Err(ChatError::TooLong { path, n_bytes });
    }
    Ok(Some(text))
}

/// Reads an object of JSON; none if there is no file.
pub(crate) fn object(path: &Path) -> Result<Option<Map<String, Value>>, ChatError> {
    let Some(text) = read(path, MAX_JSON_BYTES)? else {
        return Ok(None);
    };
    let object = serde_json::from_str(&text).map_err(|error| malformed(path, error))?;
    Ok(Some(object))
}

pub(crate) fn malformed(path: &Path, reason: impl ToString) -> ChatError {
    ChatError::Malformed {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

/// Reads the templates and special tokens of a folder. Files with templates come before the one in the
/// tokenizer's settings.
pub(crate) fn chat_files(folder: &Path) -> Result<ChatFiles, ChatError> {
    let config_path = folder.join("tokenizer_config.json");
    let config = object(&config_path)?.unwrap_or_default();
    let legacy_path = folder.join("special_tokens_map.json");
    let legacy = object(&legacy_path)?.unwrap_or_default();
    let mut tokens = Map::new();
    for name in TOKENS {
        let (path, value) = match (config.get(name), legacy.get(name)) {
            (Some(value), _) if !value.is_null() => (&config_path, value),
            (_, Some(value)) if !value.is_null() => (&legacy_path, value),
            _ => continue,
        };
        let text = value.as_str().or_else(|| value.get("content")?.as_str());
        let text = text.ok_or_else(|| {
            malformed(
                path,
                format!("`{name}` must be a string, or an object with `content`"),
            )
        })?;
        tokens.insert(name.to_owned(), Value::from(text));
    }
    let mut sources = BTreeMap::new();
    let mut add = |name: &str, path: PathBuf| -> Result<(), ChatError> {
        if let Some(text) = read(&path, MAX_TEMPLATE_BYTES)? {
            let file = path.display().to_string();
            sources.insert(name.to_owned(), Source { file, text });
        }
        Ok(())
    };
    add("default", folder.join("chat_template.jinja"))?;
    if let Ok(entries) = fs::read_dir(folder.join("additional_chat_templates")) {
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let name = path.file_stem().and_then(|stem| stem.to_str());
            if let (Some(name), Some("jinja")) =
                (name, path.extension().and_then(|end| end.to_str()))
            {
                add(name, path.clone())?;
            }
        }
    }
    if sources.is_empty() {
        sources = inline_sources(&config_path, config.get("chat_template"))?;
    }
    if sources.is_empty() {
        let folder = folder.to_owned();
        return Err(ChatError::NoTemplate { folder });
    }
    Ok(ChatFiles { sources, tokens })
}

/// Templates inside the tokenizer's settings: one, or a list of named ones.
fn inline_sources(
    path: &Path,
    value: Option<&Value>,
) -> Result<BTreeMap<String, Source>, ChatError> {
    let source = |name: &str, text: &str| {
        let file = format!("{} (chat_template{name})", path.display());
        let text = text.to_owned();
        Source { file, text }
    };
    match value {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(Value::String(text)) => Ok([("default".to_owned(), source("", text))].into()),
        Some(Value::Array(named)) => {
            let named = named.iter().map(|item| {
                let name = item.get("name")?.as_str()?;
                let text = item.get("template")?.as_str()?;
                Some((name.to_owned(), source(&format!(" `{name}`"), text)))
            });
            named.collect::<Option<_>>().ok_or_else(|| {
                malformed(
                    path,
                    "each item of `chat_template` needs `name` and `template`",
                )
            })
        }
        Some(_) => Err(malformed(
            path,
            "`chat_template` must be a string or a list",
        )),
    }
}
