//! Tags of the numbers in a line of `metrics.jsonl` or `timings.jsonl`.
//!
//! | line | tag |
//! |---|---|
//! | metrics of an RL step | `rl/reward` |
//! | metrics of a warm start | `warm-start/read_loss`; `warm-start-2/read_loss` where it is not the first stage |
//! | greedy accuracy | `eval/after/accuracy/192`, the length in tokens last |
//! | accuracy of sampled answers | `eval/after/temperature-1/accuracy/192` |
//! | accuracy by facts | `eval/after/accuracy_by_facts/192/2`, the number of facts last |
//! | timings | `timings/` and then the same: `timings/rl/seconds_generate`, `timings/eval/after/seconds` |
//!
//! TensorBoard makes one group of charts of what is before the first `/`.

use serde_json::{Map, Value};

/// Says where and when a line belongs, so it is no measurement.
const PLACES: [&str; 6] = [
    "stage",
    "stage_idx",
    "step",
    "label",
    "temperature",
    "unix_seconds",
];

/// The numbers of one line with their tags, in the order of the line. What is neither a number nor a list
/// of measurements by length is left out; so is a line without a stage. A line with `unix_seconds` is one
/// of timings.
#[must_use]
pub fn scalars_of(record: &Value) -> Vec<(String, f64)> {
    let Some(line) = record.as_object() else {
        return Vec::new();
    };
    let Some(prefix) = prefix(line) else {
        return Vec::new();
    };
    let mut scalars = Vec::new();
    for (name, value) in line {
        if PLACES.contains(&name.as_str()) {
            continue;
        }
        match value {
            Value::Number(number) => {
                scalars.extend(number.as_f64().map(|n| (format!("{prefix}/{name}"), n)));
            }
            Value::Array(items) => {
                for item in items {
                    by_length(&prefix, item, &mut scalars);
                }
            }
            _ => {}
        }
    }
    scalars
}

fn prefix(line: &Map<String, Value>) -> Option<String> {
    let mut prefix = String::new();
    if line.contains_key("unix_seconds") {
        prefix.push_str("timings/");
    }
    let stage = line.get("stage")?.as_str()?;
    prefix.push_str(stage);
    // Steps of RL and of measurements are numbered through the run; those of each warm start begin at 0.
    let stage_idx = line.get("stage_idx").and_then(Value::as_u64).unwrap_or(0);
    if stage == "warm-start" && stage_idx != 0 {
        prefix.push_str(&format!("-{stage_idx}"));
    }
    if let Some(label) = line.get("label").and_then(Value::as_str) {
        prefix.push_str(&format!("/{label}"));
    }
    let temperature = line.get("temperature").and_then(Value::as_f64);
    if let Some(temperature) = temperature.filter(|temperature| *temperature != 0.0) {
        prefix.push_str(&format!("/temperature-{temperature}"));
    }
    Some(prefix)
}

/// What was measured at one length.
fn by_length(prefix: &str, item: &Value, scalars: &mut Vec<(String, f64)>) {
    let Some(length) = item.get("target_tokens").and_then(Value::as_u64) else {
        return;
    };
    for (name, value) in item.as_object().into_iter().flatten() {
        if name == "target_tokens" {
            continue;
        }
        match value {
            Value::Number(number) => scalars.extend(
                number
                    .as_f64()
                    .map(|n| (format!("{prefix}/{name}/{length}"), n)),
            ),
            Value::Array(parts) if name == "by_facts" => {
                scalars.extend(parts.iter().filter_map(|part| {
                    let n_facts = part.get("n_facts")?.as_u64()?;
                    let accuracy = part.get("accuracy")?.as_f64()?;
                    let tag = format!("{prefix}/accuracy_by_facts/{length}/{n_facts}");
                    Some((tag, accuracy))
                }));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(line: Value, expected: &[(&str, f64)]) {
        let read = scalars_of(&line);
        let read: Vec<(&str, f64)> = read.iter().map(|(tag, n)| (tag.as_str(), *n)).collect();
        assert_eq!(read, expected, "{line}");
    }

    #[test]
    fn lines_of_steps_are_named_by_their_stage() {
        check(
            json!({"stage": "rl", "step": 3, "reward": 0.5, "n_groups": 12, "teacher_gap": null,
                   "weights_digest": "00ff"}),
            &[("rl/reward", 0.5), ("rl/n_groups", 12.0)],
        );
        check(
            json!({"stage": "warm-start", "stage_idx": 0, "step": 0, "read_loss": 5.5}),
            &[("warm-start/read_loss", 5.5)],
        );
        check(
            json!({"stage": "warm-start", "stage_idx": 2, "step": 0, "read_loss": 5.5}),
            &[("warm-start-2/read_loss", 5.5)],
        );
    }

    #[test]
    fn measurements_are_named_by_label_temperature_and_length() {
        let lengths = json!([
            {"target_tokens": 192, "accuracy": 0.9, "low": 0.8,
             "by_facts": [{"n_facts": 1, "n_documents": 5, "accuracy": 1.0}, {"n_facts": 2, "accuracy": 0.75}]},
            {"target_tokens": 768, "accuracy": 0.5},
        ]);
        check(
            json!({"stage": "eval", "label": "after", "stage_idx": 1, "step": 100, "temperature": 0.0,
                   "lengths": lengths}),
            &[
                ("eval/after/accuracy/192", 0.9),
                ("eval/after/low/192", 0.8),
                ("eval/after/accuracy_by_facts/192/1", 1.0),
                ("eval/after/accuracy_by_facts/192/2", 0.75),
                ("eval/after/accuracy/768", 0.5),
            ],
        );
        check(
            json!({"stage": "eval", "label": "before", "stage_idx": 1, "step": 0, "temperature": 1.0,
                   "lengths": [{"target_tokens": 192, "accuracy": 0.25}]}),
            &[("eval/before/temperature-1/accuracy/192", 0.25)],
        );
    }

    #[test]
    fn timings_have_tags_of_their_own_and_no_clock_among_them() {
        check(
            json!({"stage": "rl", "step": 12, "unix_seconds": 1.7e9, "seconds": 1.25, "seconds_generate": 0.5,
                   "resident_bytes": 1024}),
            &[
                ("timings/rl/seconds", 1.25),
                ("timings/rl/seconds_generate", 0.5),
                ("timings/rl/resident_bytes", 1024.0),
            ],
        );
        check(
            json!({"stage": "eval", "label": "after", "step": 12, "unix_seconds": 1.7e9, "seconds": 1.25}),
            &[("timings/eval/after/seconds", 1.25)],
        );
    }

    #[test]
    fn other_lines_have_no_tags() {
        for line in [
            json!(null),
            json!([1.0]),
            json!({"reward": 1.0}),
            json!({"stage": 3, "reward": 1.0}),
            json!({"stage": "rl", "list": [1.0, {"accuracy": 1.0}], "nested": {"reward": 1.0}}),
        ] {
            check(line, &[]);
        }
    }
}
