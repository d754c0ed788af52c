//! Tokens that end a turn.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::ChatError;
use crate::folder::{malformed, object};

/// Ids of the tokens that end what a model says: `eos_token_id` of `generation_config.json`, of
/// `config.json` where that says nothing. In the order of the file, without repetitions.
///
/// # Errors
///
/// A file that cannot be read, an id that is none, and a folder that names no id.
pub fn stop_ids(folder: &Path) -> Result<Vec<u32>, ChatError> {
    for name in ["generation_config.json", "config.json"] {
        let path = folder.join(name);
        let Some(config) = object(&path)? else {
            continue;
        };
        let ids = ids(&config).ok_or_else(|| {
            malformed(&path, "`eos_token_id` must be a token id or a list of them")
        })?;
        if !ids.is_empty() {
            return Ok(ids);
        }
    }
    let folder = folder.to_owned();
    Err(ChatError::NoStopToken { folder })
}

/// None if the value is neither an id nor a list of ids.
fn ids(config: &Map<String, Value>) -> Option<Vec<u32>> {
    let id = |value: &Value| u32::try_from(value.as_u64()?).ok();
    match config.get("eos_token_id") {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::Array(values)) => {
            let mut ids = Vec::with_capacity(values.len());
            for value in values {
                let id = id(value)?;
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
            Some(ids)
        }
        Some(value) => Some(vec![id(value)?]),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The ids, or the error's text, of a folder with these files.
    fn check(generation: Option<&str>, config: Option<&str>, expected: Result<&[u32], &str>) {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in [
            ("generation_config.json", generation),
            ("config.json", config),
        ] {
            if let Some(text) = text {
                fs::write(folder.path().join(name), text).expect("a file");
            }
        }
        match (stop_ids(folder.path()), expected) {
            (Ok(ids), Ok(expected)) => assert_eq!(ids, expected),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (other, expected) => panic!("{other:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn the_generation_config_comes_first() {
        let config = Some(r#"{"eos_token_id": 7}"#);
        check(Some(r#"{"eos_token_id": 2}"#), config, Ok(&[2]));
        check(Some(r#"{"eos_token_id": [3, 2, 3]}"#), config, Ok(&[3, 2]));
        check(Some(r#"{"eos_token_id": null}"#), config, Ok(&[7]));
        check(Some(r#"{"eos_token_id": []}"#), config, Ok(&[7]));
        check(Some("{}"), config, Ok(&[7]));
        check(None, config, Ok(&[7]));
    }

    #[test]
    fn what_is_no_id_is_named() {
        for bad in ["-1", "1.5", "\"x\"", "[1, null]", "4294967296", "{}"] {
            let text = format!("{{\"eos_token_id\": {bad}}}");
            check(
                Some(&text),
                None,
                Err("generation_config.json: `eos_token_id`"),
            );
        }
        check(Some("[]"), None, Err("generation_config.json"));
        check(None, None, Err("names no stop token"));
        check(Some("{}"), Some("{}"), Err("names no stop token"));
    }
}
