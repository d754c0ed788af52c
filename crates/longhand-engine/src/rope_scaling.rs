//! How rotary frequencies are stretched for windows longer than those of pre-training.

use std::f64::consts::PI;

use serde_json::{Map, Value, json};

use crate::model_config::{ModelConfigError, unsupported, wrong};

/// A change of the rotary frequencies, as `rope_scaling` (or `rope_parameters`) of `config.json` says it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum RopeScaling {
    /// None.
    #[default]
    Unscaled,
    /// Positions are divided by a factor.
    Linear {
        /// The factor; above 0.
        factor: f64,
    },
    /// Llama 3.1 and later: slow frequencies are divided by a factor, fast ones stay, and those between
    /// are blended.
    Llama3 {
        /// What slow frequencies are divided by; above 0.
        factor: f64,
        /// Turns over the original window below which a frequency is slow.
        low_freq_factor: f64,
        /// Turns over the original window above which a frequency is fast.
        high_freq_factor: f64,
        /// The window of pre-training, in tokens.
        original_max_positions: usize,
    },
}

impl RopeScaling {
    /// An unscaled frequency `f`, in radians a token, as it is scaled.
    ///
    /// For Llama 3, with `t = original window · f / 2π` turns over the original window: `f / factor` below
    /// `low`, `f` above `high`, and `((1 − s) / factor + s) f` with `s = (t − low) / (high − low)` between.
    pub(crate) fn scaled(&self, frequency: f64) -> f64 {
        match *self {
            RopeScaling::Unscaled => frequency,
            RopeScaling::Linear { factor } => frequency / factor,
            RopeScaling::Llama3 {
                factor,
                low_freq_factor: low,
                high_freq_factor: high,
                original_max_positions,
            } => {
                let turns = original_max_positions as f64 * frequency / (2.0 * PI);
                if turns < low {
                    frequency / factor
                } else if high < turns {
                    frequency
                } else {
                    let smooth = (turns - low) / (high - low);
                    (1.0 - smooth) * frequency / factor + smooth * frequency
                }
            }
        }
    }

    pub(crate) fn from_json(scaling: &Map<String, Value>) -> Result<Self, ModelConfigError> {
        let kind = scaling.get("rope_type").or_else(|| scaling.get("type"));
        let kind = kind.and_then(Value::as_str).unwrap_or("default");
        let number = |key: &'static str| {
            let value = scaling.get(key).unwrap_or(&Value::Null);
            let number = value.as_f64().filter(|n| n.is_finite() && 0.0 < *n);
            number.ok_or_else(|| wrong(key, "a number above 0", value))
        };
        match kind {
            "default" => Ok(RopeScaling::Unscaled),
            "linear" => Ok(RopeScaling::Linear {
                factor: number("factor")?,
            }),
            "llama3" => {
                let (low, high) = (number("low_freq_factor")?, number("high_freq_factor")?);
                if high <= low {
                    let hint = format!("it must be above low_freq_factor = {low}");
                    return Err(unsupported("high_freq_factor", high, hint));
                }
                let key = "original_max_position_embeddings";
                let value = scaling.get(key).unwrap_or(&Value::Null);
                let original = value.as_u64().filter(|n| (1..=1 << 32).contains(n));
                Ok(RopeScaling::Llama3 {
                    factor: number("factor")?,
                    low_freq_factor: low,
                    high_freq_factor: high,
                    original_max_positions: original
                        .and_then(|n| usize::try_from(n).ok())
                        .ok_or_else(|| wrong(key, "a whole number above 0", value))?,
                })
            }
            other => Err(unsupported(
                "rope_scaling",
                other,
                "supported are default, linear and llama3",
            )),
        }
    }

    /// What `rope_scaling` says; nothing for none.
    pub(crate) fn to_json(self) -> Option<Value> {
        match self {
            RopeScaling::Unscaled => None,
            RopeScaling::Linear { factor } => {
                Some(json!({"rope_type": "linear", "factor": factor}))
            }
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_positions,
            } => Some(json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low_freq_factor,
                "high_freq_factor": high_freq_factor,
                "original_max_position_embeddings": original_max_positions,
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama3_keeps_fast_turns_slows_slow_ones_and_blends_between() {
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_positions: 8192,
        };
        // Llama 3.1: theta 500000, heads of 128. In Python:
        //   f = 500000.0 ** (-2 * i / 128); t = 8192 * f / (2 * math.pi)
        //   f / 8 if t < 1 else f if 4 < t else ((1 - (t - 1) / 3) / 8 + (t - 1) / 3) * f
        for (i, expected) in [
            (0, 1.0),
            (20, 0.016_560_440_080_994_446),
            (29, 0.002_166_570_763_503_359),
            (32, 0.000_524_846_160_993_295_5),
            (40, 3.428_102_195_952_591e-5),
            (63, 3.068_925_988_914_511e-7),
        ] {
            let frequency = 500_000_f64.powf(-2.0 * f64::from(i) / 128.0);
            let found = scaling.scaled(frequency);
            assert!(
                (found / expected - 1.0).abs() < 1e-12,
                "{i}: {found}, {expected}"
            );
        }
        assert_eq!(RopeScaling::Linear { factor: 4.0 }.scaled(0.5), 0.125);
        assert_eq!(RopeScaling::Unscaled.scaled(0.5), 0.5);
    }

    #[test]
    fn what_is_written_is_read_and_what_is_not_ours_is_named() {
        let read = |value: Value| {
            let object = value.as_object().cloned().unwrap_or_default();
            RopeScaling::from_json(&object).map_err(|error| error.to_string())
        };
        let llama3 = RopeScaling::Llama3 {
            factor: 32.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_positions: 8192,
        };
        for scaling in [llama3, RopeScaling::Linear { factor: 2.5 }] {
            assert_eq!(read(scaling.to_json().unwrap()), Ok(scaling));
        }
        assert_eq!(read(json!({})), Ok(RopeScaling::Unscaled));
        assert_eq!(RopeScaling::Unscaled.to_json(), None);
        assert_eq!(
            read(json!({"type": "linear", "factor": 2})),
            Ok(RopeScaling::Linear { factor: 2.0 })
        );
        let refused = |value: Value, text: &str| {
            let message = read(value).unwrap_err();
            assert!(message.contains(text), "{message}");
        };
        refused(json!({"rope_type": "yarn", "factor": 4.0}), "yarn");
        refused(
            json!({"rope_type": "linear", "factor": 0}),
            "`factor` must be a number above 0",
        );
        let mut wrong = llama3.to_json().unwrap();
        wrong["high_freq_factor"] = json!(0.5);
        refused(wrong, "it must be above low_freq_factor = 1");
        let mut wrong = llama3.to_json().unwrap();
        wrong["original_max_position_embeddings"] = json!(0);
        refused(wrong, "original_max_position_embeddings");
    }
}
