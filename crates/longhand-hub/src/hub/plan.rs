//! Which files of a repository are wanted, and which it cannot do without.

use serde_json::Value;

pub(super) const INDEX: &str = "model.safetensors.index.json";

const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const WEIGHTS: &str = "model.safetensors";
const ADAPTER_CONFIG: &str = "adapter_config.json";
const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";

/// Files that change how a model is used where they exist.
pub(super) const OPTIONAL: [&str; 6] = [
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
];

/// What to download by hand, as a list in a sentence.
pub(super) const BY_HAND: &str = "config.json, generation_config.json, tokenizer.json, tokenizer_config.json, \
     special_tokens_map.json, chat_template.jinja and model.safetensors (or model.safetensors.index.json and \
     the files that it names), as far as the repository has them,";

/// The files to have, the small ones first.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) files: Vec<&'static str>,
    /// Whether the weights are in files that [`INDEX`] names.
    pub(super) is_sharded: bool,
}

/// A file without which the others are no model.
#[derive(Debug, PartialEq)]
pub(super) struct Missing {
    pub(super) file: &'static str,
    pub(super) advice: &'static str,
}

/// Chooses from the files that a repository or a folder has.
///
/// A repository with weights is a model; one without weights and with an adapter's configuration is an
/// adapter, which may leave the tokenizer to its base model. Where there are both one file of weights and
/// an index, the one file is taken, as the loader does.
pub(super) fn plan(has: &dyn Fn(&str) -> bool) -> Result<Plan, Missing> {
    let is_sharded = !has(WEIGHTS) && has(INDEX);
    let is_model = has(WEIGHTS) || is_sharded;
    let needed: &[&'static str] = match (is_model, has(ADAPTER_CONFIG)) {
        (true, _) => &[CONFIG, TOKENIZER],
        (false, true) => &[ADAPTER_WEIGHTS],
        (false, false) => {
            return Err(Missing {
                file: "model.safetensors",
                advice: no_weights_advice(has),
            });
        }
    };
    if let Some(file) = needed.iter().find(|file| !has(file)) {
        let advice = if *file == TOKENIZER {
            ": only tokenizers in this form are read"
        } else {
            ""
        };
        return Err(Missing { file, advice });
    }
    let mut files = vec![CONFIG, TOKENIZER];
    files.extend(OPTIONAL);
    if is_model {
        files.push(if is_sharded { INDEX } else { WEIGHTS });
    }
    files.retain(|file| has(file));
    Ok(Plan { files, is_sharded })
}

fn no_weights_advice(has: &dyn Fn(&str) -> bool) -> &'static str {
    if has("pytorch_model.bin") || has("pytorch_model.bin.index.json") {
        ": its weights are pickles, which may run any program when they are read and are not downloaded; \
         choose a revision with safetensors"
    } else {
        ": it is no model in Hugging Face layout, nor an adapter"
    }
}

/// The files that an index names, each once, in order.
///
/// # Errors
///
/// What is wrong with the index: a name that is not that of a safetensors file beside it is refused.
pub(super) fn shards(index: &[u8]) -> Result<Vec<String>, String> {
    let index: Value =
        serde_json::from_slice(index).map_err(|error| format!("{INDEX}: {error}"))?;
    let Some(map) = index.get("weight_map").and_then(Value::as_object) else {
        return Err(format!("{INDEX} has no `weight_map`"));
    };
    let mut names = Vec::new();
    for value in map.values() {
        let name = value.as_str().filter(|name| is_plain_safetensors(name));
        let Some(name) = name else {
            return Err(format!(
                "{INDEX} names {value}, which is no safetensors file beside it"
            ));
        };
        names.push(name.to_owned());
    }
    names.sort();
    names.dedup();
    if names.is_empty() {
        return Err(format!("{INDEX} names no files"));
    }
    Ok(names)
}

fn is_plain_safetensors(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    name.ends_with(".safetensors")
        && !name.starts_with('.')
        && name.len() <= 128
        && name.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[&str], expected: Result<(&[&str], bool), &str>) {
        let found = plan(&|file| files.contains(&file));
        match (found, expected) {
            (Ok(found), Ok((files, is_sharded))) => {
                assert_eq!(
                    (found.files.as_slice(), found.is_sharded),
                    (files, is_sharded)
                );
            }
            (Err(found), Err(file)) => assert_eq!(found.file, file),
            (found, expected) => panic!("{files:?}: {found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn only_what_is_read_is_wanted() {
        check(
            &[
                "README.md",
                "model.safetensors",
                "modeling.py",
                "pytorch_model.bin",
                "tokenizer.json",
                "generation_config.json",
                "config.json",
            ],
            Ok((
                &[
                    "config.json",
                    "tokenizer.json",
                    "generation_config.json",
                    "model.safetensors",
                ],
                false,
            )),
        );
        check(
            &["config.json", "tokenizer.json", INDEX],
            Ok((&["config.json", "tokenizer.json", INDEX], true)),
        );
        check(
            &["config.json", "tokenizer.json", INDEX, WEIGHTS],
            Ok((&["config.json", "tokenizer.json", WEIGHTS], false)),
        );
    }

    #[test]
    fn an_adapter_needs_no_model() {
        check(
            &[ADAPTER_CONFIG, ADAPTER_WEIGHTS, "chat_template.jinja"],
            Ok((
                &["chat_template.jinja", ADAPTER_CONFIG, ADAPTER_WEIGHTS],
                false,
            )),
        );
        check(
            &[ADAPTER_CONFIG, CONFIG, "adapter_model.bin"],
            Err(ADAPTER_WEIGHTS),
        );
        check(&[ADAPTER_WEIGHTS], Err(WEIGHTS));
    }

    #[test]
    fn what_is_missing_is_named() {
        check(&[], Err(WEIGHTS));
        check(&[WEIGHTS, TOKENIZER], Err(CONFIG));
        check(&[WEIGHTS, CONFIG, "tokenizer.model"], Err(TOKENIZER));
        let pickle = plan(&|file| ["config.json", "pytorch_model.bin"].contains(&file));
        assert!(pickle.unwrap_err().advice.contains("pickles"));
    }

    #[test]
    fn an_index_names_files_beside_it() {
        let index =
            |name: &str| format!(r#"{{"weight_map":{{"a":"x-1.safetensors","b":{name}}}}}"#);
        assert_eq!(
            shards(index(r#""x-1.safetensors""#).as_bytes()).unwrap(),
            ["x-1.safetensors"]
        );
        assert_eq!(
            shards(index(r#""a.safetensors""#).as_bytes()).unwrap(),
            ["a.safetensors", "x-1.safetensors"]
        );
        for name in [
            r#""../x.safetensors""#,
            r#""/x.safetensors""#,
            r#""a/x.safetensors""#,
            r#""a\\x.safetensors""#,
            r#"".safetensors""#,
            r#""x.bin""#,
            r#""x%2F.safetensors""#,
            "7",
        ] {
            let error = shards(index(name).as_bytes()).unwrap_err();
            assert!(error.contains("no safetensors file beside it"), "{error}");
        }
        assert!(shards(b"{}").unwrap_err().contains("weight_map"));
        assert!(
            shards(br#"{"weight_map":{}}"#)
                .unwrap_err()
                .contains("names no files")
        );
        assert!(shards(b"{").is_err());
    }
}
