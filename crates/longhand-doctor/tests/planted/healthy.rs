//! A run in which all is well, and how its lines are changed.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// Steps of every run here.
pub(crate) const N_STEPS: u64 = 200;
/// The last of them.
pub(crate) const LAST: u64 = N_STEPS - 1;
/// Where most faults are planted.
pub(crate) const MIDDLE: std::ops::Range<u64> = 80..95;

/// The lines of a run.
#[derive(Clone)]
pub(crate) struct Lines {
    pub(crate) metrics: Vec<Value>,
    pub(crate) timings: Vec<Value>,
}

impl Lines {
    /// Sets a value of some steps.
    pub(crate) fn set(
        &mut self,
        key: &str,
        steps: impl IntoIterator<Item = u64>,
        value: impl Into<Value>,
    ) {
        let value = value.into();
        self.map(key, steps, |_step, _old| value.clone());
    }

    /// Changes a value of some steps.
    pub(crate) fn map(
        &mut self,
        key: &str,
        steps: impl IntoIterator<Item = u64>,
        f: impl Fn(u64, f64) -> Value,
    ) {
        let steps: BTreeSet<u64> = steps.into_iter().collect();
        let mut n_changed = 0;
        for line in self.metrics.iter_mut().chain(&mut self.timings) {
            let step = line["step"].as_u64().expect("a step");
            if line["stage"] == "rl" && steps.contains(&step) && line.get(key).is_some() {
                line[key] = f(step, line[key].as_f64().unwrap_or(0.0));
                n_changed += 1;
            }
        }
        assert_eq!(n_changed, steps.len(), "`{key}` is there in each step");
    }

    /// Sets the held-out accuracy by the steps taken.
    pub(crate) fn held_out(&mut self, accuracy: impl Fn(u64) -> f64) {
        for line in self
            .metrics
            .iter_mut()
            .filter(|line| line["stage"] == "eval")
        {
            let step = line["step"].as_u64().expect("a step");
            line["lengths"][0]["accuracy"] = accuracy(step).into();
        }
    }

    pub(crate) fn remove(&mut self, key: &str) {
        for line in self.metrics.iter_mut().chain(&mut self.timings) {
            line.as_object_mut().expect("an object").remove(key);
        }
    }
}

/// A wave within -1..1 that no two keys share: the noise of a healthy run, the same every time.
pub(crate) fn noise(step: u64, key: f64) -> f64 {
    ((step as f64) * (1.7 + key) + key).sin()
}

/// A run in which all is well: the reward rises, the entropy falls with it, nothing else moves much.
pub(crate) fn healthy() -> Lines {
    let progress = |step: u64| 1.0 - (-(step as f64) / 60.0).exp();
    let vote = |step: u64| 0.5 + 0.3 * progress(step) + 0.02 * noise(step, 2.1);
    let mut metrics = Vec::new();
    let mut timings = Vec::new();
    for step in 0..N_STEPS {
        if step % 50 == 0 {
            metrics.push(eval(step, 0.3 + 0.5 * progress(step)));
        }
        metrics.push(json!({
            "stage": "rl", "step": step,
            "reward": 0.3 + 0.5 * progress(step) + 0.04 * noise(step, 0.1),
            "live_groups": 0.8 + 0.1 * noise(step, 0.2),
            "n_groups": 12, "n_trained_groups": 12, "n_attempts": 96,
            "approx_kl": 0.004 + 0.002 * noise(step, 0.3),
            "ref_kl": 0.01 + 0.1 * progress(step) + 0.005 * noise(step, 0.4),
            "entropy": 0.4 - 0.25 * progress(step) + 0.03 * noise(step, 0.5),
            "grad_norm": 0.4 + 0.2 * noise(step, 0.6),
            "lr": 1e-4, "loss": 0.01 * noise(step, 0.7),
            "clip_low": 0.03 + 0.01 * noise(step, 0.8), "clip_high": 0.05 + 0.01 * noise(step, 0.9),
            "first_ratio_deviation": 3e-6, "max_logprob_difference": 3e-6, "importance": 1.0,
            "memory_tokens": 40.0 + 8.0 * progress(step) + 3.0 * noise(step, 1.1),
            "answer_tokens": 8.0 + noise(step, 1.2),
            "turns": 5.0, "n_hit_cap": 2 + step % 3, "n_window_full": 0,
            "n_truncated_documents": 0, "n_updates": 2, "policy_version": 2 * step,
            "weights_digest": format!("{step:032x}"), "n_masked_attempts": 0,
            "n_unparsed_answers": 1 + step % 2, "n_judge_timeouts": 0, "n_judge_bad_replies": 0,
            "n_judge_failures": 0,
        }));
        merge(
            &mut metrics,
            json!({
                "reward_columns": {"outcome": 0.3 + 0.5 * progress(step), "cluster-vote": vote(step)},
                "response_tokens": 170.0 + 30.0 * progress(step) + 10.0 * noise(step, 1.5),
                "distinct_answers": 4.0 - 2.0 * progress(step) + 0.2 * noise(step, 1.6),
                "cluster_share": vote(step), "label_accuracy": 0.4 + 0.45 * progress(step),
                "repetition": 0.06 + 0.02 * noise(step, 1.7),
                "token_entropy": 0.4 - 0.25 * progress(step) + 0.03 * noise(step, 1.8),
                "self_certainty": 9.0 + 2.0 * progress(step) + 0.2 * noise(step, 1.9),
                "selected_tokens": 0.02, "abs_log_ratio": 0.003, "entropy_target": 0.25,
                "entropy_gate": step % 3 == 0, "entropy_coef": 0.005,
            }),
        );
        timings.push(json!({
            "stage": "rl", "step": step, "seconds": 1.0 + 0.3 * noise(step, 1.3),
            "seconds_generate": 0.6, "seconds_score": 0.1, "seconds_train": 0.3,
            "resident_bytes": 200_000_000.0 * (1.0 + 0.02 * noise(step, 1.4)),
        }));
    }
    metrics.push(eval(N_STEPS, 0.3 + 0.5 * progress(N_STEPS)));
    Lines { metrics, timings }
}

/// Adds values to the last line.
fn merge(lines: &mut [Value], more: Value) {
    let line = lines.last_mut().and_then(Value::as_object_mut);
    let more = more.as_object().expect("an object").clone();
    line.expect("a line").extend(more);
}

pub(crate) fn eval(step: u64, accuracy: f64) -> Value {
    json!({
        "stage": "eval", "label": "during", "stage_idx": 0, "step": step, "temperature": 0.0,
        "lengths": [{"target_tokens": 192, "n_documents": 400, "accuracy": accuracy}],
    })
}
