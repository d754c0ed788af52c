//! `adapter_config.json` as PEFT writes it.
//!
//! It has a key for every feature of PEFT. Those that only say where an adapter comes from are passed
//! over; of all others, known here or not, only values that switch them off are read, because an adapter
//! with a feature we lack would be computed wrongly.

use serde_json::{Map, Value, json};

use super::{adapter_error::AdapterConfigError, error::shown};
use crate::adapter::{LoraConfig, LoraError, Target};

/// The largest rank that is read: wider than any model.
const MAX_RANK: u64 = 1 << 16;

/// Keys that change nothing of what an adapter computes, or do so only before its first update.
const PASSED_OVER: [&str; 12] = [
    "auto_mapping",
    "corda_config",
    "eva_config",
    "inference_mode",
    "layers_pattern",
    "loftq_config",
    "lora_ga_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
];

/// Keys that are read below.
const READ: [&str; 10] = [
    "base_model_name_or_path",
    "bias",
    "init_lora_weights",
    "lora_alpha",
    "lora_dropout",
    "peft_type",
    "r",
    "target_modules",
    "task_type",
    "use_rslora",
];

/// Ways of drawing a first adapter that leave the base as it is.
const PLAIN_DRAWS: [&str; 3] = ["gaussian", "eva", "orthogonal"];

/// What a file says an adapter is.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterConfig {
    /// Its settings. An adapter of PEFT whose `use_rslora` divides by the root of the rank has its alpha
    /// multiplied by that root, which is the same.
    pub lora: LoraConfig,
    /// What it was trained beside: a folder or a repository; empty where the file does not say.
    pub base_model: String,
}

impl AdapterConfig {
    /// Reads `adapter_config.json`.
    ///
    /// # Errors
    /// When it is not the JSON of such a file, or asks for what we do not have.
    pub fn from_json(text: &str) -> Result<Self, AdapterConfigError> {
        let value: Value =
            serde_json::from_str(text).map_err(|e| AdapterConfigError::NotJson(e.to_string()))?;
        let Value::Object(object) = value else {
            let reason = "the outermost value is no object";
            return Err(AdapterConfigError::NotJson(reason.into()));
        };
        check_features(&object)?;
        let get = |key: &'static str| object.get(key).unwrap_or(&Value::Null);
        let rank = get("r").as_u64().filter(|rank| *rank <= MAX_RANK);
        let rank = rank.ok_or_else(|| wrong("r", "a whole number up to 65536", get("r")))?;
        let number = |key: &'static str| match get(key) {
            Value::Number(number) => Ok(number.as_f64().unwrap_or(f64::NAN)),
            other => Err(wrong(key, "a number", other)),
        };
        let alpha = number("lora_alpha")?;
        let has_root = match get("use_rslora") {
            Value::Null | Value::Bool(false) => false,
            Value::Bool(true) => true,
            other => return Err(wrong("use_rslora", "true or false", other)),
        };
        let lora = LoraConfig {
            rank: rank as usize,
            alpha: if has_root {
                alpha * (rank as f64).sqrt()
            } else {
                alpha
            },
            dropout: match get("lora_dropout") {
                Value::Null => 0.0,
                _ => number("lora_dropout")?,
            },
            targets: targets(get("target_modules"))?,
        };
        lora.check()?;
        let base_model = match get("base_model_name_or_path") {
            Value::Null => String::new(),
            Value::String(base_model) => base_model.clone(),
            other => return Err(wrong("base_model_name_or_path", "a text", other)),
        };
        Ok(Self { lora, base_model })
    }

    /// Writes `adapter_config.json`; reading it back gives the same.
    pub fn to_json(&self) -> String {
        let Self { lora, base_model } = self;
        let targets: Vec<&str> = lora.targets.iter().map(|target| target.name()).collect();
        let is_whole = lora.alpha.fract() == 0.0 && lora.alpha.abs() < 1e15;
        let value = json!({
            "alpha_pattern": {},
            "auto_mapping": null,
            "base_model_name_or_path": base_model,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "layers_pattern": null,
            "layers_to_transform": null,
            // Elsewhere it is a whole number by its type.
            "lora_alpha": if is_whole { json!(lora.alpha as i64) } else { json!(lora.alpha) },
            "lora_dropout": lora.dropout,
            "modules_to_save": null,
            "peft_type": "LORA",
            "r": lora.rank,
            "rank_pattern": {},
            "revision": null,
            "target_modules": targets,
            "task_type": "CAUSAL_LM",
            "use_dora": false,
            "use_rslora": false,
        });
        format!("{value:#}\n")
    }
}

/// Refuses every feature that is switched on and is not ours.
fn check_features(object: &Map<String, Value>) -> Result<(), AdapterConfigError> {
    if object.get("peft_type").and_then(Value::as_str) != Some("LORA") {
        let found = object.get("peft_type").unwrap_or(&Value::Null);
        return Err(unsupported("peft_type", found, "supported is LORA"));
    }
    for (key, value) in object {
        let is_off = match (key.as_str(), value) {
            (_, Value::Null | Value::Bool(false)) => true,
            ("bias", Value::String(bias)) => bias == "none",
            ("task_type", Value::String(task)) => task == "CAUSAL_LM",
            ("init_lora_weights", Value::Bool(_)) => true,
            ("init_lora_weights", Value::String(way)) => PLAIN_DRAWS.contains(&way.as_str()),
            ("bias" | "task_type" | "init_lora_weights", _) => false,
            (key, _) if READ.contains(&key) || PASSED_OVER.contains(&key) => true,
            (_, Value::Array(values)) => values.is_empty(),
            (_, Value::Object(values)) => values.is_empty(),
            (_, Value::String(text)) => text.is_empty(),
            _ => false,
        };
        if !is_off {
            let hint = match key.as_str() {
                "bias" => "supported is none",
                "task_type" => "supported is CAUSAL_LM",
                "init_lora_weights" => "it changes the weights beside which the adapter stands",
                _ => "the adapter uses a feature that we do not have",
            };
            return Err(unsupported(key, value, hint));
        }
    }
    Ok(())
}

fn targets(value: &Value) -> Result<Vec<Target>, AdapterConfigError> {
    let names = match value {
        Value::String(all) if all == "all-linear" => return Ok(Target::ALL.to_vec()),
        Value::String(_) => {
            let hint = "supported are a list of names and all-linear, not a pattern";
            return Err(unsupported("target_modules", value, hint));
        }
        Value::Array(names) => names,
        other => return Err(wrong("target_modules", "a list of names", other)),
    };
    let mut targets = Vec::new();
    for name in names {
        let name = name.as_str();
        let name = name.ok_or_else(|| wrong("target_modules", "a list of names", value))?;
        let target = Target::parse(module(name)).map_err(|_| LoraError::UnknownTarget {
            name: shown(name),
            known: Target::ALL.map(Target::name).join(", "),
        })?;
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    Ok(targets)
}

/// The module that a name ends with: PEFT writes `q_proj`, or each place of it by itself,
/// `model.layers.0.self_attn.q_proj`. That no place is lacking is seen from the tensors.
fn module(name: &str) -> &str {
    let Some((places, module)) = name.rsplit_once('.') else {
        return name;
    };
    let in_layer = match places.strip_prefix("model.layers.") {
        Some(rest) => match rest.split_once('.') {
            Some((layer_idx, block)) if layer_idx.parse::<u32>().is_ok() => block,
            _ => return name,
        },
        None => places,
    };
    if matches!(in_layer, "self_attn" | "mlp") {
        module
    } else {
        name
    }
}

fn wrong(key: &'static str, expected: &'static str, found: &Value) -> AdapterConfigError {
    AdapterConfigError::Key {
        key,
        expected,
        found: match found {
            Value::Null => "nothing".into(),
            found => shown_value(found),
        },
    }
}

fn unsupported(key: &str, value: &Value, hint: &'static str) -> AdapterConfigError {
    AdapterConfigError::Unsupported {
        key: shown(key),
        value: shown_value(value),
        hint,
    }
}

fn shown_value(value: &Value) -> String {
    match value {
        Value::String(text) => shown(text),
        // Printed, it has no control characters.
        other => other.to_string().chars().take(200).collect(),
    }
}
