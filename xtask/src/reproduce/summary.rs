//! What one finished run comes to.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Steps at the end over which what varies from step to step is averaged.
const LAST_STEPS: usize = 50;

/// The numbers of one run that the table shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    /// Held-out accuracy before the first step, decoded greedily.
    pub(crate) start: f64,
    /// The highest one.
    pub(crate) peak: f64,
    /// The last one.
    pub(crate) end: f64,
    /// The last over the highest.
    pub(crate) retention: f64,
    /// The first measurement below half of the highest before it.
    pub(crate) collapse_step: Option<u64>,
    /// Held-out accuracy at temperature 1, before and after.
    pub(crate) sampled: [f64; 2],
    /// Mean entropy of a token in nats over the last steps.
    pub(crate) entropy: f64,
    /// Mean tokens of an attempt over the last steps.
    pub(crate) response_tokens: f64,
    /// How often the most frequent answer was right over the last steps.
    pub(crate) label_accuracy: f64,
}

impl Summary {
    /// Of a run's folder; `program` says what it kept of its peak.
    pub(crate) fn of(program: &Path, folder: &Path) -> Result<Self, String> {
        let output = Command::new(program)
            .args(["doctor", "--json"])
            .arg(folder)
            .output()
            .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        let examination = serde_json::from_slice(&output.stdout).map_err(|error| {
            let said = String::from_utf8_lossy(&output.stderr);
            format!(
                "doctor says of {} no JSON ({error}): {said}",
                folder.display()
            )
        })?;
        let file = folder.join("metrics.jsonl");
        let text = fs::read_to_string(&file)
            .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        Self::from(&examination, &text).map_err(|lack| format!("{}: {lack}", folder.display()))
    }

    fn from(examination: &Value, metrics: &str) -> Result<Self, String> {
        let lines = metrics
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<Vec<Value>, _>>()
            .map_err(|error| format!("metrics.jsonl: {error}"))?;
        let held_out = |label: &str, temperature: f64| {
            let line = lines.iter().find(|line| {
                line["stage"] == "eval"
                    && line["label"] == label
                    && line["temperature"] == temperature
            });
            let accuracy = line.and_then(|line| line["lengths"][0]["accuracy"].as_f64());
            accuracy.ok_or(format!(
                "no measurement `{label}` at temperature {temperature}"
            ))
        };
        let steps: Vec<&Value> = lines.iter().filter(|line| line["stage"] == "rl").collect();
        let last = &steps[steps.len().saturating_sub(LAST_STEPS)..];
        // A step in which no group was trained has no tokens to speak of.
        let mean = |key: &str| {
            let values: Vec<f64> = last.iter().filter_map(|line| line[key].as_f64()).collect();
            match values.len() {
                0 => Err(format!("the last {LAST_STEPS} steps have no `{key}`")),
                n => Ok(values.iter().sum::<f64>() / n as f64),
            }
        };
        let kept = &examination["retention"][0];
        let of_kept = |key: &str| kept[key].as_f64().ok_or(format!("doctor has no `{key}`"));
        Ok(Self {
            start: held_out("before", 0.0)?,
            peak: of_kept("peak")?,
            end: of_kept("end")?,
            retention: of_kept("retention")?,
            collapse_step: kept["collapse_step"].as_u64(),
            sampled: [held_out("before", 1.0)?, held_out("after", 1.0)?],
            entropy: mean("token_entropy")?,
            response_tokens: mean("response_tokens")?,
            label_accuracy: mean("label_accuracy")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_is_summed_up_from_its_lines() {
        let eval = |label, temperature: f64, accuracy: f64| {
            json!({"stage": "eval", "label": label, "temperature": temperature,
                "lengths": [{"accuracy": accuracy}]})
        };
        let mut lines = vec![eval("before", 0.0, 0.9), eval("before", 1.0, 0.3)];
        for step in 0..60 {
            // The first ten are not counted, and one of the others says nothing of entropy.
            let value = if step < 10 { 99.0 } else { 0.5 };
            let entropy = if step == 20 {
                Value::Null
            } else {
                json!(value)
            };
            lines.push(json!({"stage": "rl", "token_entropy": entropy,
                "response_tokens": value, "label_accuracy": value}));
        }
        lines.push(eval("after", 0.0, 0.8));
        lines.push(eval("after", 1.0, 0.7));
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let examination = json!({"retention": [{"length": 1, "peak": 0.95, "peak_step": 20,
            "collapse_step": null, "end": 0.8, "retention": 0.842}]});
        let summary = Summary::from(&examination, &text).unwrap();
        let expected = Summary {
            start: 0.9,
            peak: 0.95,
            end: 0.8,
            retention: 0.842,
            collapse_step: None,
            sampled: [0.3, 0.7],
            entropy: 0.5,
            response_tokens: 0.5,
            label_accuracy: 0.5,
        };
        assert_eq!(summary, expected);
        let lack = Summary::from(&examination, "").unwrap_err();
        assert!(lack.contains("before"), "{lack}");
    }
}
