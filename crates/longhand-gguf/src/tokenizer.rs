//! `tokenizer.json` and `tokenizer_config.json` out of a file's `tokenizer.*` keys.

use std::collections::HashMap;

use serde_json::{Map, Value as Json, json};

use crate::{GgufError, Metadata, metadata::Value, pre_tokenizer::PreTokenizer};

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";

/// What a token is for, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Made by merges.
    Plain,
    /// Found in the text before merges, and left out of decoded text.
    Special,
    /// Found in the text before merges, and kept in decoded text.
    Added,
    /// A row of the embedding that no text leads to.
    Filler,
}

impl Role {
    /// The role that llama.cpp's token type has: 1 normal, 2 unknown, 3 control, 4 user-defined,
    /// 5 unused, 6 byte.
    fn of(token_type: i32) -> Option<Self> {
        match token_type {
            1 | 6 => Some(Self::Plain),
            2 | 3 => Some(Self::Special),
            4 => Some(Self::Added),
            5 => Some(Self::Filler),
            _ => None,
        }
    }
}

/// `tokenizer.json` and `tokenizer_config.json`.
pub(crate) struct TokenizerFiles {
    pub(crate) tokenizer: Json,
    pub(crate) config: Json,
}

/// Rebuilds a byte-level BPE tokenizer.
pub(crate) fn tokenizer_files(keys: &Metadata, window: usize) -> Result<TokenizerFiles, GgufError> {
    match keys.required_text(MODEL)? {
        "gpt2" => {}
        other => {
            let hint =
                "gpt2 (byte-level merges) is; for this model take tokenizer.json from its authors";
            return Err(keys.unsupported(MODEL, other, hint));
        }
    }
    // Files from before the key are cut by llama.cpp's fallback.
    let pre = keys.text(PRE)?.unwrap_or("default");
    let pre = PreTokenizer::find(pre).ok_or_else(|| {
        keys.unsupported(PRE, pre, format!("supported are {}", PreTokenizer::names()))
    })?;
    let tokens = keys.texts(TOKENS)?;
    let roles = roles(keys, tokens.len())?;
    let vocabulary = vocabulary(keys, tokens, &roles)?;
    let merges = merges(keys, &vocabulary)?;
    let role_token = |role: &str| role_token(keys, tokens, role);
    let begin = role_token("bos")?;
    let adds_begin = keys
        .bool("tokenizer.ggml.add_bos_token")?
        .unwrap_or(pre.adds_begin);
    let adds_end = keys.bool("tokenizer.ggml.add_eos_token")?.unwrap_or(false);
    if adds_end {
        let hint = "texts are encoded without an end token; a model that needs one is not read";
        return Err(keys.unsupported("tokenizer.ggml.add_eos_token", true, hint));
    }
    let by_id = tokens.iter().zip(&roles).enumerate();
    let added: Vec<Json> = by_id
        .clone()
        .filter(|(_, (_, role))| matches!(role, Role::Special | Role::Added))
        .map(|(id, (token, role))| added_token(Some(id), token, *role))
        .collect();
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true});
    let post_processor = match &begin {
        Some((id, token)) if adds_begin => json!({
            "type": "Sequence",
            "processors": [byte_level, begin_template(*id, token)],
        }),
        _ => byte_level.clone(),
    };
    let vocab: Map<String, Json> = by_id
        .clone()
        .filter(|(_, (_, role))| **role != Role::Filler)
        .map(|(id, (token, _))| (token.clone(), json!(id)))
        .collect();
    let tokenizer = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": pre.normalizer_json(),
        "pre_tokenizer": pre.to_json(),
        "post_processor": post_processor,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": pre.takes_whole_pieces,
            "vocab": vocab,
            "merges": merges,
        },
    });

    let decoder: Map<String, Json> = by_id
        .filter(|(_, (_, role))| matches!(role, Role::Special | Role::Added))
        .map(|(id, (token, role))| (id.to_string(), added_token(None, token, *role)))
        .collect();
    let mut config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": window,
        "add_bos_token": adds_begin && begin.is_some(),
        "clean_up_tokenization_spaces": false,
        "added_tokens_decoder": decoder,
    });
    let names = [
        ("bos_token", begin),
        ("eos_token", role_token("eos")?),
        ("pad_token", role_token("padding")?),
        ("unk_token", role_token("unknown")?),
    ];
    for (name, token) in names {
        if let Some((_, token)) = token {
            config[name] = json!(token);
        }
    }
    if let Some(template) = keys.text("tokenizer.chat_template")? {
        config["chat_template"] = json!(template);
    }
    Ok(TokenizerFiles { tokenizer, config })
}

/// Every token's role; all are plain where the file does not say.
fn roles(keys: &Metadata, n_tokens: usize) -> Result<Vec<Role>, GgufError> {
    if keys.get(TYPES).is_none() {
        return Ok(vec![Role::Plain; n_tokens]);
    }
    let types = keys.integers(TYPES)?;
    if types.len() != n_tokens {
        let reason = format!("{} entries for {n_tokens} tokens", types.len());
        return Err(keys.damaged(TYPES, reason));
    }
    let roles = types.iter().enumerate().map(|(id, token_type)| {
        let role = Role::of(*token_type);
        role.ok_or_else(|| {
            keys.damaged(
                TYPES,
                format!("token {id} has the unknown type {token_type}"),
            )
        })
    });
    roles.collect()
}

/// The ids of the tokens that texts can lead to.
fn vocabulary<'a>(
    keys: &Metadata,
    tokens: &'a [String],
    roles: &[Role],
) -> Result<HashMap<&'a str, usize>, GgufError> {
    let mut vocabulary = HashMap::with_capacity(tokens.len());
    for (id, (token, role)) in tokens.iter().zip(roles).enumerate() {
        if *role == Role::Filler {
            continue;
        }
        if let Some(first) = vocabulary.insert(token.as_str(), id) {
            let reason = format!("tokens {first} and {id} are both {token:?}");
            return Err(keys.damaged(TOKENS, reason));
        }
    }
    Ok(vocabulary)
}

/// The merges as pairs, first to last; both parts and the whole must be tokens.
fn merges<'a>(
    keys: &'a Metadata,
    vocabulary: &HashMap<&str, usize>,
) -> Result<Vec<(&'a str, &'a str)>, GgufError> {
    let mut whole = String::new();
    let pairs = keys
        .texts(MERGES)?
        .iter()
        .enumerate()
        .map(|(merge_idx, merge)| {
            let damaged = |reason: &str| {
                keys.damaged(MERGES, format!("merge {merge_idx} ({merge:?}) {reason}"))
            };
            // Within tokens a blank is written as another character, so the only blank parts the pair.
            let pair = merge
                .split_once(' ')
                .ok_or_else(|| damaged("has no blank"))?;
            whole.clear();
            whole.push_str(pair.0);
            whole.push_str(pair.1);
            for part in [pair.0, pair.1, &whole] {
                if !vocabulary.contains_key(part) {
                    return Err(damaged(&format!(
                        "needs the token {part:?}, which is missing"
                    )));
                }
            }
            Ok(pair)
        });
    pairs.collect()
}

/// The token that has a role, with its id.
fn role_token(
    keys: &Metadata,
    tokens: &[String],
    role: &str,
) -> Result<Option<(usize, String)>, GgufError> {
    let key = format!("tokenizer.ggml.{role}_token_id");
    let id = match keys.get(&key) {
        None => return Ok(None),
        Some(Value::Integer(id)) if *id == i128::from(u32::MAX) || *id == -1 => return Ok(None),
        Some(_) => keys.count(&key)?,
    };
    let token = usize::try_from(id)
        .ok()
        .and_then(|id| tokens.get(id).map(|token| (id, token.clone())));
    match token {
        Some(token) => Ok(Some(token)),
        None => Err(keys.damaged(&key, format!("{id} is no id of {} tokens", tokens.len()))),
    }
}

fn added_token(id: Option<usize>, token: &str, role: Role) -> Json {
    let mut object = Map::new();
    if let Some(id) = id {
        object.insert("id".to_owned(), json!(id));
    }
    object.insert("content".to_owned(), json!(token));
    for name in ["single_word", "lstrip", "rstrip", "normalized"] {
        object.insert(name.to_owned(), json!(false));
    }
    object.insert("special".to_owned(), json!(role == Role::Special));
    Json::Object(object)
}

/// The step that puts a start token before a text.
fn begin_template(id: usize, token: &str) -> Json {
    let begin = json!({"SpecialToken": {"id": token, "type_id": 0}});
    let text = |id: &str, type_id: u32| json!({"Sequence": {"id": id, "type_id": type_id}});
    let mut special_tokens = Map::new();
    special_tokens.insert(
        token.to_owned(),
        json!({"id": token, "ids": [id], "tokens": [token]}),
    );
    json!({
        "type": "TemplateProcessing",
        "single": [begin, text("A", 0)],
        "pair": [begin, text("A", 0), {"SpecialToken": {"id": token, "type_id": 1}}, text("B", 1)],
        "special_tokens": special_tokens,
    })
}
