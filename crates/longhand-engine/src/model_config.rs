//! What a model is: the sizes and switches of `config.json` in Hugging Face layout.

use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::rope_scaling::RopeScaling;

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
        if let Some(activation) = object.get("hidden_act").and_then(Value::as_str)
            && activation != "silu"
        {
            return Err(unsupported("hidden_act", activation, "supported is silu"));
        }
        for key in ["attention_bias", "mlp_bias"] {
            if object.get(key) == Some(&Value::Bool(true)) {
                return Err(unsupported(key, "true", "supported is false"));
            }
        }
        if object.get("use_sliding_window") == Some(&Value::Bool(true)) {
            return Err(unsupported(
                "use_sliding_window",
                "true",
                "supported is false",
            ));
        }
        // Newer files nest the rotary settings, older ones keep them at the top.
        let rope = object.get("rope_parameters").and_then(Value::as_object);
        let scaling = rope.or_else(|| object.get("rope_scaling").and_then(Value::as_object));
        let rope_scaling = match scaling {
            Some(scaling) => RopeScaling::from_json(scaling)?,
            None => RopeScaling::Unscaled,
        };
        let theta_holder = if rope.is_some_and(|r| r.contains_key("rope_theta")) {
            rope.unwrap_or(&object)
        } else {
            &object
        };
        let hidden_size = size(&object, "hidden_size", None)?;
        let n_heads = size(&object, "num_attention_heads", None)?;
        let config = Self {
            family,
            vocab_size: size(&object, "vocab_size", None)?,
            hidden_size,
            intermediate_size: size(&object, "intermediate_size", None)?,
            n_layers: size(&object, "num_hidden_layers", None)?,
            n_heads,
            n_kv_heads: size(&object, "num_key_value_heads", Some(n_heads))?,
            head_dim: size(&object, "head_dim", Some(hidden_size / n_heads.max(1)))?,
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

    /// Writes `config.json`.
    pub fn to_json(&self) -> String {
        let end = match self.end_ids.as_slice() {
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
            "attention_bias": false,
            "eos_token_id": end,
            "torch_dtype": "float32",
        });
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
    let found = if found.is_null() {
        "nothing".to_string()
    } else {
        found.to_string()
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
        value: value.to_string(),
        hint: hint.into(),
    }
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
        for family in [Family::Llama, Family::Qwen2, Family::Qwen3] {
            let config = ModelConfig { family, ..small() };
            assert_eq!(ModelConfig::from_json(&config.to_json()), Ok(config));
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
