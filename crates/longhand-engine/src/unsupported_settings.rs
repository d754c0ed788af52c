//! Settings of `config.json` that change what a model computes and that we do not have.
//!
//! Each is refused by name where it is active, and passed over where it is not: files carry the settings of
//! features that are switched off.

use serde_json::{Map, Value};

use crate::model_config::{Family, ModelConfigError, unsupported, wrong};

type Object = Map<String, Value>;

/// Refuses the first active one.
pub(crate) fn refuse(object: &Object, family: Family) -> Result<(), ModelConfigError> {
    refuse_quantised(object)?;
    match object.get("hidden_act") {
        None | Some(Value::Null) => {}
        Some(Value::String(activation)) if activation == "silu" => {}
        Some(Value::String(other)) => {
            return Err(unsupported("hidden_act", other, "supported is silu"));
        }
        Some(other) => return Err(wrong("hidden_act", "a name", other)),
    }
    for key in ["attention_bias", "mlp_bias", "use_sliding_window"] {
        if flag(object, key)? == Some(true) {
            return Err(unsupported(key, true, "supported is false"));
        }
    }
    refuse_sliding(object, family)?;
    refuse_partly_rotary(object)?;
    let rope = object.get("rope_parameters").and_then(Value::as_object);
    rope.map_or(Ok(()), refuse_partly_rotary)
}

/// Weights that are not stored as the numbers they stand for.
fn refuse_quantised(object: &Object) -> Result<(), ModelConfigError> {
    let key = "quantization_config";
    match object.get(key) {
        None | Some(Value::Null) => Ok(()),
        Some(settings) => {
            let method = settings.get("quant_method").and_then(Value::as_str);
            let hint = "supported are weights in F32, F16 and BF16";
            Err(unsupported(key, method.unwrap_or("(active)"), hint))
        }
    }
}

/// Layers that do not see the whole sequence.
fn refuse_sliding(object: &Object, family: Family) -> Result<(), ModelConfigError> {
    let hint = "every layer attends to the whole sequence";
    match object.get("layer_types") {
        None | Some(Value::Null) => {}
        Some(Value::Array(types)) => {
            let other = types.iter().find(|kind| **kind != "full_attention");
            if let Some(other) = other {
                let other = other.as_str().map_or(other.to_string(), str::to_owned);
                return Err(unsupported("layer_types", other, hint));
            }
        }
        Some(other) => return Err(wrong("layer_types", "a list of names", other)),
    }
    // Qwen's models have a switch that is off unless it says otherwise; where there is none, as in the
    // models of Mistral, a window that is there is used.
    let is_off = match family {
        Family::Llama => flag(object, "use_sliding_window")? == Some(false),
        Family::Qwen2 | Family::Qwen3 => true,
    };
    let key = "sliding_window";
    let window = match object.get(key) {
        None | Some(Value::Null) => return Ok(()),
        Some(window) => window
            .as_u64()
            .ok_or_else(|| wrong(key, "a whole number", window))?,
    };
    let positions = object.get("max_position_embeddings");
    let reaches_all = positions
        .and_then(Value::as_u64)
        .is_some_and(|n| n <= window);
    if is_off || reaches_all {
        Ok(())
    } else {
        Err(unsupported(key, window, hint))
    }
}

/// Heads of which only a part is turned.
fn refuse_partly_rotary(object: &Object) -> Result<(), ModelConfigError> {
    let key = "partial_rotary_factor";
    match object.get(key) {
        None | Some(Value::Null) => Ok(()),
        Some(value) => match value.as_f64() {
            Some(1.0) => Ok(()),
            Some(part) => Err(unsupported(key, part, "supported is 1")),
            None => Err(wrong(key, "a number", value)),
        },
    }
}

/// A switch; none where the file does not say.
fn flag(object: &Object, key: &'static str) -> Result<Option<bool>, ModelConfigError> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(other) => Err(wrong(key, "true or false", other)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(family: Family, object: &Value) -> Option<String> {
        let error = refuse(object.as_object().unwrap(), family).err()?;
        Some(error.to_string())
    }

    const ALL: [Family; 3] = [Family::Llama, Family::Qwen2, Family::Qwen3];

    #[test]
    fn what_is_active_is_refused_by_name() {
        for (object, expected) in [
            (
                json!({"quantization_config": {"quant_method": "gptq", "bits": 4}}),
                "`quantization_config` = gptq",
            ),
            (json!({"quantization_config": {}}), "`quantization_config`"),
            (json!({"hidden_act": "gelu"}), "`hidden_act` = gelu"),
            (json!({"hidden_act": 1}), "key `hidden_act` must be a name"),
            (json!({"attention_bias": true}), "`attention_bias` = true"),
            (json!({"attention_bias": 1}), "key `attention_bias`"),
            (json!({"mlp_bias": true}), "`mlp_bias` = true"),
            (
                json!({"use_sliding_window": true, "sliding_window": 4096}),
                "`use_sliding_window` = true",
            ),
            (
                json!({"layer_types": ["full_attention", "sliding_attention"]}),
                "`layer_types` = sliding_attention",
            ),
            (json!({"layer_types": [3]}), "`layer_types` = 3"),
            (json!({"layer_types": "all"}), "key `layer_types`"),
            (
                json!({"partial_rotary_factor": 0.5}),
                "`partial_rotary_factor` = 0.5",
            ),
            (
                json!({"rope_parameters": {"partial_rotary_factor": 0.25}}),
                "`partial_rotary_factor` = 0.25",
            ),
            (json!({"sliding_window": "wide"}), "key `sliding_window`"),
        ] {
            for family in ALL {
                let message = refused(family, &object).unwrap_or_default();
                assert!(message.contains(expected), "{object}: {message}");
            }
        }
        let window = json!({"sliding_window": 4096, "max_position_embeddings": 32768});
        let message = refused(Family::Llama, &window).unwrap();
        assert!(message.contains("`sliding_window` = 4096"), "{message}");
    }

    #[test]
    fn what_is_switched_off_is_passed_over() {
        for object in [
            json!({}),
            // Qwen2.5-7B.
            json!({"sliding_window": 32768, "use_sliding_window": false, "max_window_layers": 28,
                   "max_position_embeddings": 131072, "hidden_act": "silu"}),
            // Qwen3 of newer versions.
            json!({"sliding_window": null, "use_sliding_window": false, "attention_bias": false,
                   "layer_types": ["full_attention", "full_attention"]}),
            json!({"mlp_bias": null, "quantization_config": null, "layer_types": null}),
            json!({"partial_rotary_factor": 1, "rope_parameters": {"partial_rotary_factor": 1.0}}),
            // It reaches everything.
            json!({"sliding_window": 4096, "max_position_embeddings": 4096}),
        ] {
            for family in ALL {
                assert_eq!(refused(family, &object), None, "{object}");
            }
        }
        let window = json!({"sliding_window": 4096, "max_position_embeddings": 32768});
        assert_eq!(refused(Family::Qwen2, &window), None);
    }
}
