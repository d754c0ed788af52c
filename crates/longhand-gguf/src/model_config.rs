//! The architecture and sizes that a file's keys give, and the `config.json` that says the same.

use serde_json::{Map, Value as Json, json};

use crate::{Gguf, GgufError, Metadata, metadata::Value};

/// The architectures that we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Architecture {
    Llama,
    Qwen2,
    Qwen3,
}

impl Architecture {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Llama => "LlamaForCausalLM",
            Self::Qwen2 => "Qwen2ForCausalLM",
            Self::Qwen3 => "Qwen3ForCausalLM",
        }
    }
}

/// How positions are stretched.
#[derive(Clone, Copy, Debug, PartialEq)]
enum RopeScaling {
    None,
    Linear {
        factor: f64,
    },
    Yarn {
        factor: f64,
        original_window: usize,
    },
    /// The file says nothing but the factors of the frequencies; see [`LLAMA3`].
    Llama3 {
        factor: f64,
    },
}

/// The scaling of Llama 3.1 to 3.3: (low_freq_factor, high_freq_factor, original window). A GGUF file
/// carries only the factors that follow from it, so we compute them again and compare.
const LLAMA3: (f64, f64, usize) = (1.0, 4.0, 8192);

/// The tensor with those factors.
pub(crate) const ROPE_FACTORS: &str = "rope_freqs.weight";

/// What a file's keys say about its model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModelConfig {
    pub(crate) architecture: Architecture,
    pub(crate) vocab_size: usize,
    pub(crate) hidden_size: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) n_layers: usize,
    pub(crate) n_heads: usize,
    pub(crate) n_kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) tied: bool,
    pub(crate) window: usize,
    rope_theta: f64,
    norm_eps: f64,
    rope_scaling: RopeScaling,
    begin_id: Option<u64>,
    /// The id that ends a text first, then the one that ends a turn where it is another.
    end_ids: Vec<u64>,
    pad_id: Option<u64>,
}

impl ModelConfig {
    /// Reads the keys; the factors of Llama 3's scaling come from a tensor.
    pub(crate) fn read(gguf: &mut Gguf) -> Result<Self, GgufError> {
        let rope_factors = read_rope_factors(gguf)?;
        let keys = gguf.metadata();
        let architecture = architecture(keys)?;
        let key = |name: &str| format!("{}.{name}", architecture.name());
        refuse_unread(keys, architecture)?;

        let hidden_size = keys.required_size(&key("embedding_length"))?;
        let n_heads = keys.required_size(&key("attention.head_count"))?;
        let n_kv_heads = keys
            .size(&key("attention.head_count_kv"))?
            .unwrap_or(n_heads);
        let head_dim = keys
            .size(&key("attention.key_length"))?
            .unwrap_or(hidden_size / n_heads);
        for name in ["attention.value_length", "rope.dimension_count"] {
            if let Some(size) = keys.size(&key(name))?
                && size != head_dim
            {
                let hint = format!("it must be the width of a head, {head_dim}");
                return Err(keys.unsupported(&key(name), size, hint));
            }
        }
        if !n_heads.is_multiple_of(n_kv_heads) {
            let reason = format!("{n_kv_heads} does not divide the {n_heads} heads");
            return Err(keys.damaged(&key("attention.head_count_kv"), reason));
        }
        if head_dim == 0 || !head_dim.is_multiple_of(2) {
            let reason = format!("{n_heads} heads of width {head_dim}; the width must be even");
            return Err(keys.damaged(&key("attention.head_count"), reason));
        }
        let window = keys.required_size(&key("context_length"))?;
        let rope_theta = keys.number(&key("rope.freq_base"))?.unwrap_or(10_000.0);
        let rope_scaling = match rope_factors {
            Some(factors) => llama3_scaling(keys, &factors, rope_theta)?,
            None => named_scaling(keys, architecture, window)?,
        };
        let vocab_size = match keys.size(&key("vocab_size"))? {
            Some(size) => size,
            None => keys.texts("tokenizer.ggml.tokens")?.len(),
        };
        let mut end_ids: Vec<u64> = token_id(keys, "eos", vocab_size)?.into_iter().collect();
        for name in ["eot", "eom"] {
            end_ids.extend(token_id(keys, name, vocab_size)?.filter(|id| !end_ids.contains(id)));
        }
        Ok(Self {
            architecture,
            vocab_size,
            hidden_size,
            intermediate_size: keys.required_size(&key("feed_forward_length"))?,
            n_layers: keys.required_size(&key("block_count"))?,
            n_heads,
            n_kv_heads,
            head_dim,
            tied: !gguf.tensors().contains_key("output.weight"),
            window,
            rope_theta,
            norm_eps: keys
                .number(&key("attention.layer_norm_rms_epsilon"))?
                .unwrap_or(1e-5),
            rope_scaling,
            begin_id: token_id(keys, "bos", vocab_size)?,
            end_ids,
            pad_id: token_id(keys, "padding", vocab_size)?,
        })
    }

    /// `config.json`.
    pub(crate) fn to_json(&self, dtype: &str) -> Json {
        let mut object = json!({
            "architectures": [self.architecture.class()],
            "model_type": self.architecture.name(),
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
            "tie_word_embeddings": self.tied,
            "max_position_embeddings": self.window,
            "torch_dtype": dtype,
        });
        match self.architecture {
            Architecture::Llama => {
                object["attention_bias"] = json!(false);
                object["mlp_bias"] = json!(false);
            }
            Architecture::Qwen2 => object["use_sliding_window"] = json!(false),
            Architecture::Qwen3 => {
                object["attention_bias"] = json!(false);
                object["use_sliding_window"] = json!(false);
            }
        }
        let (low, high, llama3_window) = LLAMA3;
        match self.rope_scaling {
            RopeScaling::None => {}
            RopeScaling::Linear { factor } => {
                object["rope_scaling"] = json!({"rope_type": "linear", "factor": factor});
            }
            RopeScaling::Yarn {
                factor,
                original_window,
            } => {
                object["rope_scaling"] = json!({
                    "rope_type": "yarn",
                    "factor": factor,
                    "original_max_position_embeddings": original_window,
                });
            }
            RopeScaling::Llama3 { factor } => {
                object["rope_scaling"] = json!({
                    "rope_type": "llama3",
                    "factor": factor,
                    "low_freq_factor": low,
                    "high_freq_factor": high,
                    "original_max_position_embeddings": llama3_window,
                });
            }
        }
        // `config.json` names one end; a list stands in `generation_config.json`.
        if let Some(first) = self.end_ids.first() {
            object["eos_token_id"] = json!(first);
        }
        self.add_begin_and_pad(&mut object);
        object
    }

    /// `generation_config.json`.
    pub(crate) fn generation_json(&self) -> Json {
        let mut object = Json::Object(Map::new());
        match self.end_ids.as_slice() {
            [] => {}
            [one] => object["eos_token_id"] = json!(one),
            several => object["eos_token_id"] = json!(several),
        }
        self.add_begin_and_pad(&mut object);
        object
    }

    fn add_begin_and_pad(&self, object: &mut Json) {
        for (name, id) in [
            ("bos_token_id", self.begin_id),
            ("pad_token_id", self.pad_id),
        ] {
            if let Some(id) = id {
                object[name] = json!(id);
            }
        }
    }
}

fn architecture(keys: &Metadata) -> Result<Architecture, GgufError> {
    let key = "general.architecture";
    match keys.required_text(key)? {
        "llama" => Ok(Architecture::Llama),
        "qwen2" => Ok(Architecture::Qwen2),
        "qwen3" => Ok(Architecture::Qwen3),
        other => Err(keys.unsupported(key, other, "supported are llama, qwen2 and qwen3")),
    }
}

/// Models whose arithmetic is another, although the architecture's name is ours.
fn refuse_unread(keys: &Metadata, architecture: Architecture) -> Result<(), GgufError> {
    let refused = [
        ("expert_count", "models with experts are not read"),
        (
            "attention.sliding_window",
            "attention over the whole window is read",
        ),
    ];
    for (name, hint) in refused {
        let key = format!("{}.{name}", architecture.name());
        let count = keys.count(&key)?;
        if count != 0 {
            return Err(keys.unsupported(&key, count, hint));
        }
    }
    Ok(())
}

/// The id that a role has, below the size of the vocabulary.
fn token_id(keys: &Metadata, role: &str, vocab_size: usize) -> Result<Option<u64>, GgufError> {
    let key = format!("tokenizer.ggml.{role}_token_id");
    match keys.get(&key) {
        None => Ok(None),
        // Older writers say "none" as the largest 32-bit number.
        Some(Value::Integer(id)) if *id == i128::from(u32::MAX) || *id == -1 => Ok(None),
        Some(_) => {
            let id = keys.count(&key)?;
            if vocab_size as u64 <= id {
                let reason = format!("{id} is no id of a vocabulary of {vocab_size}");
                return Err(keys.damaged(&key, reason));
            }
            Ok(Some(id))
        }
    }
}

/// The numbers of [`ROPE_FACTORS`], where the file has the tensor.
fn read_rope_factors(gguf: &mut Gguf) -> Result<Option<Vec<f32>>, GgufError> {
    let Some(tensor) = gguf.tensors().get(ROPE_FACTORS).cloned() else {
        return Ok(None);
    };
    // One factor for every pair of a head: the widest heads have some hundred.
    if tensor.shape.len() != 1 || 1 << 16 < tensor.row_length() {
        return Err(GgufError::Damaged {
            path: gguf.path().to_owned(),
            place: format!("tensor `{ROPE_FACTORS}`"),
            reason: format!("its shape is {:?}; a short list is needed", tensor.shape),
        });
    }
    let mut bytes = Vec::new();
    gguf.read_rows(&tensor, 0, 1, &mut bytes)?;
    let mut factors = vec![0.0; tensor.row_length()];
    crate::dequantise(tensor.tensor_type, &bytes, &mut factors);
    Ok(Some(factors))
}

/// Llama 3's scaling, when the factors are the ones that follow from it.
fn llama3_scaling(
    keys: &Metadata,
    factors: &[f32],
    rope_theta: f64,
) -> Result<RopeScaling, GgufError> {
    // The slowest frequency is divided by the whole factor.
    let factor = f64::from(factors.iter().copied().fold(1.0, f32::max));
    let same = factors.iter().enumerate().all(|(idx, found)| {
        let expected = llama3_factor(idx, 2 * factors.len(), rope_theta, factor);
        (expected - f64::from(*found)).abs() <= 1e-3 * expected
    });
    if same {
        return Ok(RopeScaling::Llama3 { factor });
    }
    let (low, high, window) = LLAMA3;
    Err(GgufError::Unsupported {
        path: keys.path().to_owned(),
        place: format!("tensor `{ROPE_FACTORS}`"),
        reason: format!(
            "its factors are not those of the llama3 scaling with low_freq_factor {low}, high_freq_factor \
             {high} and a window of {window}"
        ),
    })
}

/// By what the frequency of a pair is divided under [`LLAMA3`].
fn llama3_factor(pair_idx: usize, head_dim: usize, rope_theta: f64, factor: f64) -> f64 {
    let (low, high, window) = LLAMA3;
    let frequency = rope_theta.powf(-2.0 * pair_idx as f64 / head_dim as f64);
    let turns = window as f64 * frequency / std::f64::consts::TAU;
    if high < turns {
        1.0
    } else if turns < low {
        factor
    } else {
        let smooth = (turns - low) / (high - low);
        1.0 / ((1.0 - smooth) / factor + smooth)
    }
}

/// The scaling that the keys name.
fn named_scaling(
    keys: &Metadata,
    architecture: Architecture,
    window: usize,
) -> Result<RopeScaling, GgufError> {
    let key = |name: &str| format!("{}.rope.{name}", architecture.name());
    let factor = keys.number(&key("scaling.factor"))?;
    match keys.text(&key("scaling.type"))? {
        None => {
            // The key of old files.
            let factor = keys.number(&key("scale_linear"))?.unwrap_or(1.0);
            Ok(linear(factor))
        }
        Some("none") => Ok(RopeScaling::None),
        Some("linear") => Ok(linear(factor.unwrap_or(1.0))),
        Some("yarn") => Ok(RopeScaling::Yarn {
            factor: factor.unwrap_or(1.0),
            original_window: keys
                .size(&key("scaling.original_context_length"))?
                .unwrap_or(window),
        }),
        Some(other) => {
            Err(keys.unsupported(&key("scaling.type"), other, "none, linear and yarn are"))
        }
    }
}

fn linear(factor: f64) -> RopeScaling {
    if factor == 1.0 {
        RopeScaling::None
    } else {
        RopeScaling::Linear { factor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama3_factors_follow_the_published_formula() {
        // Llama 3.1 8B (head_dim 128, theta 5e5, factor 8, low 1, high 4, window 8192). In Python:
        //   f = 5e5 ** (-2*i/128); w = 2*math.pi/f; s = (8192/w - 1)/3
        //   1 if w < 2048 else 8 if 8192 < w else 1/((1-s)/8 + s)
        let expected = [
            (28, 1.0),
            (29, 1.207_483_871_283_662),
            (31, 2.026_313_205_905_056),
            (34, 5.257_326_588_708_467),
            (35, 8.0),
        ];
        for (pair_idx, expected) in expected {
            let found = llama3_factor(pair_idx, 128, 5e5, 8.0);
            assert!(
                (found - expected).abs() < 1e-9,
                "{pair_idx}: {found}, {expected}"
            );
        }
    }
}
