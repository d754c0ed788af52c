//! What a model is: the sizes and switches of `config.json` in Hugging Face layout.

use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::{files::Numbers, rope_scaling::RopeScaling, unsupported_settings};

/// The three architectures that one transformer covers; they differ in two switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// No biases, no query/key norm (Llama 2 and 3, SmolLM2, TinyLlama).
    Llama,
    /// Biases on the query, key and value projections.
    Qwen2,
    /// A root-mean-square norm per head on queries and keys, before the rotation.
    Qwen3,
}

impl Family {
    /// The `model_type` that `config.json` carries.
    pub fn model_type(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
        }
    }

    /// The class name under `architectures`.
    fn architecture(self) -> &'static str {
        match self {
            Self::Llama => "LlamaForCausalLM",
            Self::Qwen2 => "Qwen2ForCausalLM",
            Self::Qwen3 => "Qwen3ForCausalLM",
        }
    }

    /// Whether the query, key and value projections have biases.
    pub fn qkv_bias(self) -> bool {
        self == Self::Qwen2
    }

    /// Whether queries and keys are normalised per head.
    pub fn qk_norm(self) -> bool {
        self == Self::Qwen3
    }
}

/// Sizes of a decoder-only transformer.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// The architecture.
    pub family: Family,
    /// Rows of the embedding; at least the tokenizer's number of ids.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the gated feed-forward.
    pub intermediate_size: usize,
    /// Number of layers.
    pub n_layers: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Width of one head; even.
    pub head_dim: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// How the rotary frequencies are stretched.
    pub rope_scaling: RopeScaling,
    /// Added to the mean square in every norm.
    pub norm_eps: f64,
    /// Whether the head reuses the embedding.
    pub tie_embeddings: bool,
    /// The longest sequence the model is meant for, in tokens: its window.
    pub max_positions: usize,
    /// Ids that end a completion.
    pub end_ids: Vec<u32>,
}

/// The largest size that a model may have anywhere.
const MAX_SIZE: usize = i32::MAX as usize;

/// The most layers that a model may have, a hundred times those of the deepest there are: each takes memory
/// for the names of its parameters, before any file is compared with them.
const MAX_LAYERS: usize = 1 << 14;

/// The most parameters that a model may have: 2^48, a thousand times the largest there are.
const MAX_PARAMETERS: u128 = 1 << 48;

/// A `config.json` that does not describe a model we have.
#[derive(Debug, Error, PartialEq)]
pub enum ModelConfigError {
    /// Not a JSON object.
    #[error("not a JSON object: {0}")]
    NotJson(String),
    /// A key is missing or has the wrong type.
    #[error("key `{key}` must be {expected}, found {found}")]
    Key {
        /// The key.
        key: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// A value that we do not support.
    #[error("`{key}` = {value} is not supported: {hint}")]
    Unsupported {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is supported.
        hint: String,
    },
}

impl ModelConfig {
    /// Number of parameters.
    ///
    /// # Panics
    /// When there are more than the machine can count, which [`ModelConfig::check`] refuses.
    pub fn n_parameters(&self) -> usize {
        usize::try_from(self.count_parameters()).expect("a model that was checked")
    }

    /// Does not overflow while every size is below 2^31.
    fn count_parameters(&self) -> u128 {
        let wide = |size: usize| size as u128;
        let (hidden, head_dim) = (wide(self.hidden_size), wide(self.head_dim));
        let (n_heads, n_kv_heads) = (wide(self.n_heads), wide(self.n_kv_heads));
        let attention = hidden * head_dim * (2 * n_heads + 2 * n_kv_heads);
        let biases = if self.family.qkv_bias() {
            head_dim * (n_heads + 2 * n_kv_heads)
        } else {
            0
        };
        let head_norms = if self.family.qk_norm() {
            2 * head_dim
        } else {
            0
        };
        let feed_forward = 3 * hidden * wide(self.intermediate_size);
        let layer = attention + biases + head_norms + feed_forward + 2 * hidden;
        let tables = if self.tie_embeddings { 1 } else { 2 };
        wide(self.n_layers) * layer + hidden + tables * wide(self.vocab_size) * hidden
    }

    /// Checks that the sizes fit together, and that the model's can be counted: a file that claims more
    /// than any machine holds would otherwise be believed.
    ///
    /// # Errors
    /// [`ModelConfigError::Unsupported`] with the first size that is to blame.
    pub fn check(&self) -> Result<(), ModelConfigError> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.n_layers),
            ("num_attention_heads", self.n_heads),
            ("num_key_value_heads", self.n_kv_heads),
            ("head_dim", self.head_dim),
            ("max_position_embeddings", self.max_positions),
        ];
        for (key, value) in sizes {
            if value == 0 {
                return Err(unsupported(key, value, "it must be at least 1"));
            }
            if MAX_SIZE < value {
                let hint = format!("it must be at most {MAX_SIZE}");
                return Err(unsupported(key, value, hint));
            }
        }
        if MAX_LAYERS < self.n_layers {
            let hint = format!("it must be at most {MAX_LAYERS}");
            return Err(unsupported("num_hidden_layers", self.n_layers, hint));
        }
        if !self.n_heads.is_multiple_of(self.n_kv_heads) {
            let hint = format!("it must divide num_attention_heads = {}", self.n_heads);
            return Err(unsupported("num_key_value_heads", self.n_kv_heads, hint));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(unsupported(
                "head_dim",
                self.head_dim,
                "the rotary embedding needs an even width",
            ));
        }
        let n_parameters = self.count_parameters();
        if MAX_PARAMETERS < n_parameters {
            let hint = format!("with it the model has {n_parameters} parameters");
            return Err(unsupported("hidden_size", self.hidden_size, hint));
        }
        Ok(())
    }

    /// Reads `config.json`.
    pub fn from_json(text: &str) -> Result<Self, ModelConfigError> {
        let value: Value =
            serde_json::from_str(text).map_err(|e| ModelConfigError::NotJson(e.to_string()))?;
        let Value::Object(object) = value else {
            return Err(ModelConfigError::NotJson(
                "the outermost value is no object".into(),
            ));
        };
        let model_type = object
            .get("model_type")
            .and_then(Value::as_str)
            .unwrap_or("(missing)");
        let family = match model_type {
            "llama" => Family::Llama,
            "qwen2" => Family::Qwen2,
            "qwen3" => Family::Qwen3,
            other => {
                return Err(unsupported(
                    "model_type",
                    other,
                    "supported are llama, qwen2, qwen3",
                ));
            }
        };
        unsupported_settings::refuse(&object, family)?;
        // Newer files nest the rotary settings, older ones keep them at the top.
        let nested = rotary_settings(&object, "rope_parameters")?;
        let scaling = rotary_settings(&object, "rope_scaling")?;
        let rope_scaling = match (nested, scaling) {
            (None, None) => RopeScaling::Unscaled,
            (Some(only), None) | (None, Some(only)) => RopeScaling::from_json(only)?,
            (Some(nested), Some(scaling)) => {
                let read = RopeScaling::from_json(nested)?;
                if read != RopeScaling::from_json(scaling)? {
                    let hint = "rope_parameters says otherwise";
                    return Err(unsupported("rope_scaling", json!(scaling), hint));
                }
                read
            }
        };
        let theta_holder = match nested {
            Some(nested) if nested.contains_key("rope_theta") => nested,
            _ => &object,
        };
        let hidden_size = size(&object, "hidden_size", None)?;
        let n_heads = size(&object, "num_attention_heads", None)?;
        // Where a file is silent, Qwen 3 means 128, whatever its width.
        let head_dim = match family {
            Family::Qwen3 => 128,
            Family::Llama | Family::Qwen2 => hidden_size / n_heads.max(1),
        };
        let config = Self {
            family,
            vocab_size: size(&object, "vocab_size", None)?,
            hidden_size,
            intermediate_size: size(&object, "intermediate_size", None)?,
            n_layers: size(&object, "num_hidden_layers", None)?,
            n_heads,
            n_kv_heads: size(&object, "num_key_value_heads", Some(n_heads))?,
            head_dim: size(&object, "head_dim", Some(head_dim))?,
            rope_theta: number(theta_holder, "rope_theta", 10_000.0)?,
            rope_scaling,
            norm_eps: number(&object, "rms_norm_eps", 1e-6)?,
            tie_embeddings: match object.get("tie_word_embeddings") {
                None | Some(Value::Null) => false,
                Some(Value::Bool(tied)) => *tied,
                Some(other) => return Err(wrong("tie_word_embeddings", "true or false", other)),
            },
            max_positions: size(&object, "max_position_embeddings", Some(2048))?,
            end_ids: end_ids(&object)?,
        };
        config.check()?;
        Ok(config)
    }

    /// Writes `config.json` for weights in f32.
    pub fn to_json(&self) -> String {
        self.to_json_for(Numbers::F32)
    }

    /// Writes `config.json` for weights in these numbers.
    pub fn to_json_for(&self, numbers: Numbers) -> String {
        // An empty list makes `transformers` fail when it generates.
        let end = match self.end_ids.as_slice() {
            [] => Value::Null,
            [one] => json!(one),
            several => json!(several),
        };
        let mut value = json!({
            "architectures": [self.family.architecture()],
            "model_type": self.family.model_type(),
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.n_layers,
            "num_attention_heads": self.n_heads,
            "num_key_value_heads": self.n_kv_heads,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "rope_theta": self.rope_theta,
            "rms_norm_eps": self.norm_eps,
            "tie_word_embeddings": self.tie_embeddings,
            "max_position_embeddings": self.max_positions,
            "eos_token_id": end,
            "torch_dtype": numbers.torch_name(),
        });
        // Qwen2 has no such switch: its biases are those of the family.
        if self.family != Family::Qwen2 {
            value["attention_bias"] = json!(false);
        }
        if let Some(scaling) = self.rope_scaling.to_json() {
            value["rope_scaling"] = scaling;
        }
        format!("{value:#}\n")
    }

    /// `[head_dim / 2]` Radians by which each pair of a head is turned from one position to the next.
    pub fn inverse_frequencies(&self) -> Vec<f64> {
        let width = self.head_dim as f64;
        let frequency = |i: usize| self.rope_theta.powf(-2.0 * i as f64 / width);
        (0..self.head_dim / 2)
            .map(|i| self.rope_scaling.scaled(frequency(i)))
            .collect()
    }
}

/// The rotary settings under this key; none where the file has none.
fn rotary_settings<'a>(
    object: &'a Map<String, Value>,
    key: &'static str,
) -> Result<Option<&'a Map<String, Value>>, ModelConfigError> {
    let settings = match object.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(settings)) => settings,
        Some(other) => return Err(wrong(key, "an object", other)),
    };
    for kind in ["rope_type", "type"] {
        match settings.get(kind) {
            None | Some(Value::Null | Value::String(_)) => {}
            Some(other) => return Err(wrong(key, "an object whose rope_type is a name", other)),
        }
    }
    // Settings for each kind of layer.
    if let Some((kind, _)) = settings.iter().find(|(_, value)| value.is_object()) {
        return Err(unsupported(key, kind, "all layers turn their heads alike"));
    }
    Ok(Some(settings))
}

fn end_ids(object: &Map<String, Value>) -> Result<Vec<u32>, ModelConfigError> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    let Some(value) = object.get("eos_token_id") else {
        return Ok(Vec::new());
    };
    let ids = match value {
        Value::Null => Some(Vec::new()),
        Value::Array(values) => values.iter().map(id).collect(),
        one => id(one).map(|id| vec![id]),
    };
    ids.ok_or_else(|| wrong("eos_token_id", "a token id or a list of them", value))
}

fn size(
    object: &Map<String, Value>,
    key: &'static str,
    default: Option<usize>,
) -> Result<usize, ModelConfigError> {
    match (object.get(key), default) {
        (None | Some(Value::Null), Some(default)) => Ok(default),
        (value, _) => {
            let value = value.unwrap_or(&Value::Null);
            let size = value
                .as_u64()
                .and_then(|n| usize::try_from(n).ok())
                .filter(|n| *n <= 1 << 32);
            size.ok_or_else(|| wrong(key, "a whole number", value))
        }
    }
}

fn number(
    object: &Map<String, Value>,
    key: &'static str,
    default: f64,
) -> Result<f64, ModelConfigError> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(default),
        Some(value) => {
            let positive = value.as_f64().filter(|x| x.is_finite() && 0.0 < *x);
            positive.ok_or_else(|| wrong(key, "a positive number", value))
        }
    }
}

pub(crate) fn wrong(key: &'static str, expected: &'static str, found: &Value) -> ModelConfigError {
    let found = match found {
        Value::Null => "nothing".to_string(),
        found => bounded(found.to_string()),
    };
    ModelConfigError::Key {
        key,
        expected,
        found,
    }
}

pub(crate) fn unsupported(
    key: &'static str,
    value: impl ToString,
    hint: impl Into<String>,
) -> ModelConfigError {
    ModelConfigError::Unsupported {
        key,
        value: bounded(value.to_string()),
        hint: hint.into(),
    }
}

/// A value as a message shows it, on one line and not without end.
fn bounded(value: String) -> String {
    if value.len() <= 200 && !value.contains(char::is_control) {
        return value;
    }
    let printable = value.chars().filter(|c| !c.is_control());
    printable.take(200).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> ModelConfig {
        ModelConfig {
            family: Family::Qwen3,
            vocab_size: 11,
            hidden_size: 8,
            intermediate_size: 12,
            n_layers: 2,
            n_heads: 4,
            n_kv_heads: 2,
            head_dim: 6,
            rope_theta: 10_000.0,
            rope_scaling: RopeScaling::Unscaled,
            norm_eps: 1e-5,
            tie_embeddings: false,
            max_positions: 64,
            end_ids: vec![1],
        }
    }

    #[test]
    fn written_config_reads_back() {
        for (family, end_ids) in [
            (Family::Llama, vec![1]),
            (Family::Qwen2, vec![]),
            (Family::Qwen3, vec![1, 7]),
        ] {
            let config = ModelConfig {
                family,
                end_ids,
                ..small()
            };
            let text = config.to_json();
            assert!(!text.contains("[]"), "{text}");
            assert_eq!(ModelConfig::from_json(&text), Ok(config));
        }
    }

    #[test]
    fn a_width_of_heads_that_is_not_written_is_the_familys() {
        for (family, expected) in [(Family::Llama, 2), (Family::Qwen2, 2), (Family::Qwen3, 128)] {
            let written = ModelConfig { family, ..small() }.to_json();
            let mut value: Value = serde_json::from_str(&written).unwrap();
            value.as_object_mut().unwrap().remove("head_dim");
            let config = ModelConfig::from_json(&value.to_string()).unwrap();
            assert_eq!(config.head_dim, expected);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |edit: fn(&mut Value), expected: &str| {
            let mut value: Value = serde_json::from_str(&small().to_json()).unwrap();
            edit(&mut value);
            let error = ModelConfig::from_json(&value.to_string())
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(
            |v| v["model_type"] = json!("gpt2"),
            "`model_type` = gpt2 is not supported",
        );
        check(
            |v| v["rope_scaling"] = json!({"rope_type": "yarn"}),
            "`rope_scaling` = yarn",
        );
        check(
            |v| v["hidden_size"] = json!("64"),
            "key `hidden_size` must be a whole number, found \"64\"",
        );
        check(
            |v| v["num_key_value_heads"] = json!(3),
            "it must divide num_attention_heads = 4",
        );
        check(|v| v["head_dim"] = json!(0), "`head_dim` = 0");
        check(
            |v| v["vocab_size"] = json!(3_000_000_000_u64),
            "`vocab_size` = 3000000000 is not supported: it must be at most 2147483647",
        );
        // Each size for itself could be; together they are 2^61 numbers in the tables alone.
        check(
            |v| {
                v["vocab_size"] = json!(1_u64 << 30);
                v["hidden_size"] = json!(1_u64 << 30);
            },
            "the model has",
        );
        check(|v| v["head_dim"] = json!(5), "even width");
        check(|v| v["eos_token_id"] = json!("</s>"), "eos_token_id");
        check(
            |v| v["use_sliding_window"] = json!(true),
            "use_sliding_window",
        );
        check(
            |v| v["num_hidden_layers"] = json!(1_u64 << 30),
            "`num_hidden_layers` = 1073741824 is not supported: it must be at most 16384",
        );
        check(|v| v["rope_scaling"] = json!("yarn"), "must be an object");
        check(
            |v| v["rope_scaling"] = json!({"rope_type": 3}),
            "an object whose rope_type is a name",
        );
        check(
            |v| v["rope_parameters"] = json!({"full_attention": {"rope_theta": 1e6}}),
            "`rope_parameters` = full_attention",
        );
        check(
            |v| {
                v["rope_parameters"] = json!({"rope_type": "default"});
                v["rope_scaling"] = json!({"rope_type": "linear", "factor": 2.0});
            },
            "rope_parameters says otherwise",
        );
    }

    #[test]
    fn a_message_is_one_line_of_bounded_length() {
        let object = json!({"model_type": "\n\u{1b}[31m".repeat(500)});
        let message = ModelConfig::from_json(&object.to_string()).unwrap_err();
        let message = message.to_string();
        assert!(message.len() < 400 && !message.contains(char::is_control));
    }

    #[test]
    fn published_files_are_read() {
        let read = |value: Value| ModelConfig::from_json(&value.to_string()).unwrap();
        // Qwen2.5-0.5B-Instruct, with what is switched off and what is not about the model.
        let qwen2 = read(json!({
            "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643,
            "eos_token_id": 151645, "hidden_act": "silu", "hidden_size": 896,
            "initializer_range": 0.02, "intermediate_size": 4864,
            "max_position_embeddings": 32768, "max_window_layers": 21, "model_type": "qwen2",
            "num_attention_heads": 14, "num_hidden_layers": 24, "num_key_value_heads": 2,
            "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 32768,
            "tie_word_embeddings": true, "torch_dtype": "bfloat16", "use_cache": true,
            "use_sliding_window": false, "vocab_size": 151936
        }));
        assert_eq!((qwen2.head_dim, qwen2.max_positions), (64, 32768));
        assert_eq!(qwen2.n_parameters(), 494_032_768);
        // Qwen3-0.6B as newer versions write it.
        let qwen3 = read(json!({
            "architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "dtype": "bfloat16",
            "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu", "hidden_size": 1024,
            "intermediate_size": 3072, "layer_types": vec!["full_attention"; 28],
            "max_position_embeddings": 40960, "max_window_layers": 28, "model_type": "qwen3",
            "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 8,
            "pad_token_id": null, "rms_norm_eps": 1e-06,
            "rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"},
            "sliding_window": null, "tie_word_embeddings": true, "use_sliding_window": false,
            "vocab_size": 151936
        }));
        assert_eq!((qwen3.head_dim, qwen3.rope_theta), (128, 1e6));
        assert_eq!(qwen3.n_parameters(), 596_049_920);
        // Llama-3.2-1B.
        let llama = read(json!({
            "attention_bias": false, "eos_token_id": [128001, 128008, 128009], "head_dim": 64,
            "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 8192,
            "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "llama",
            "num_attention_heads": 32, "num_hidden_layers": 16, "num_key_value_heads": 8,
            "pretraining_tp": 1, "rms_norm_eps": 1e-05,
            "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                             "original_max_position_embeddings": 8192, "rope_type": "llama3"},
            "rope_theta": 500000.0, "tie_word_embeddings": true, "vocab_size": 128256
        }));
        assert_eq!(llama.n_parameters(), 1_235_814_400);
        assert_eq!(llama.end_ids, [128001, 128008, 128009]);
    }

    #[test]
    fn what_the_weights_are_stored_in_is_written() {
        for (numbers, expected) in [(Numbers::F32, "float32"), (Numbers::Bf16, "bfloat16")] {
            let written: Value = serde_json::from_str(&small().to_json_for(numbers)).unwrap();
            assert_eq!(written["torch_dtype"], expected);
        }
    }

    #[test]
    fn parameters_are_counted_by_hand() {
        // Per layer 8*6*(8+4) attention, 2*6 head norms, 3*8*12 feed-forward, 16 norms.
        assert_eq!(
            small().n_parameters(),
            2 * (576 + 12 + 288 + 16) + 8 + 2 * 88
        );
        let tied = ModelConfig {
            tie_embeddings: true,
            family: Family::Qwen2,
            ..small()
        };
        assert_eq!(tied.n_parameters(), 2 * (576 + 48 + 288 + 16) + 8 + 88);
    }
}
