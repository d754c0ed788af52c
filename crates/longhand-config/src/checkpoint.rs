//! `[checkpoint]`: what is kept of a run, and which of its checkpoints is called the best.

use longhand_objective::Kl;
use serde::{Deserialize, Serialize};

use crate::checks::Checks;
use crate::experiment::Stage;
use crate::schema::{COUNT, Key, Kind, defaults_to, optional};

pub(crate) static CHECKPOINT: &[Key] = &[
    defaults_to(
        "every",
        COUNT,
        "20",
        "steps of a stage, of either kind, between two checkpoints; the end of a stage always has one",
    ),
    defaults_to(
        "keep_last",
        COUNT,
        "2",
        "newest checkpoints on the way that are kept; the best one and the ends of stages are kept beside them",
    ),
    optional(
        "best_metric",
        Kind::Choice(&METRIC_KEYS),
        "no checkpoint is called the best",
        "key of an rl line in metrics.jsonl, or `accuracy` for held-out accuracy at the first length; the \
         checkpoint where it was best is kept and named by checkpoints/best",
    ),
    defaults_to(
        "best_is",
        Kind::Choice(&["highest", "lowest"]),
        "\"highest\"",
        "which value of `best_metric` is the best",
    ),
];

/// What `checkpoint.best_metric` can name: the numbers of an rl line in metrics.jsonl, in its order,
/// and last [`ACCURACY`].
pub const METRIC_KEYS: [&str; 44] = [
    "step",
    "policy_version",
    "reward",
    "live_groups",
    "n_groups",
    "n_trained_groups",
    "n_attempts",
    "n_masked_attempts",
    "n_unparsed_answers",
    "n_judge_timeouts",
    "n_judge_bad_replies",
    "n_judge_failures",
    "n_dropped_equal_groups",
    "n_dropped_error_groups",
    "n_surplus_groups",
    "approx_kl",
    "ref_kl",
    "entropy",
    "grad_norm",
    "lr",
    "loss",
    "clip_low",
    "clip_high",
    "first_ratio_deviation",
    "max_logprob_difference",
    "importance",
    "importance_capped",
    "memory_tokens",
    "answer_tokens",
    "turns",
    "n_hit_cap",
    "n_window_full",
    "n_truncated_documents",
    "teacher_lowest",
    "teacher_highest",
    "teacher_gap",
    "live_rows",
    "n_trained_tokens",
    "n_rows",
    "n_updates",
    "n_sampled",
    "n_run_tokens",
    "n_unshared_tokens",
    ACCURACY,
];

/// The metric that is not of an rl line: held-out accuracy at the first length of `[eval]`.
pub const ACCURACY: &str = "accuracy";

/// What is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Steps of a stage, of either kind, between two checkpoints.
    pub every: usize,
    /// Newest checkpoints on the way that are kept; at least 1.
    pub keep_last: usize,
    /// One of [`METRIC_KEYS`]; the checkpoint where it was best is kept. `None` for no best one.
    pub best_metric: Option<String>,
    /// Which value of it is the best.
    pub best_is: BestIs,
}

/// Which end of a metric is the good one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BestIs {
    /// The more the better.
    Highest,
    /// The less the better.
    Lowest,
}

impl Checkpoint {
    /// Complains about a metric that no line of these stages will have.
    pub(crate) fn check(&self, stages: &[Stage], checks: &mut Checks<'_>) {
        let Some(metric) = &self.best_metric else {
            return;
        };
        let mut rl = stages.iter().filter_map(|stage| match stage {
            Stage::Rl(rl) => Some(rl),
            Stage::WarmStart(_) => None,
        });
        let (is_there, needed) = match metric.as_str() {
            ACCURACY => return,
            "ref_kl" => (
                rl.any(|rl| rl.objective.objective.kl.estimator != Kl::None),
                "an rl stage with objective.kl",
            ),
            "teacher_lowest" | "teacher_highest" | "teacher_gap" => (
                rl.any(|rl| rl.credit.teacher().is_some()),
                "an rl stage with credit \"tamtrl\" or a reward \"teacher\"",
            ),
            _ => (rl.next().is_some(), "an rl stage"),
        };
        checks.require(is_there, "checkpoint.best_metric", || {
            format!("no line of this run will have \"{metric}\": it needs {needed}; use \"{ACCURACY}\" or another metric")
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_metric_is_listed_twice() {
        for (idx, name) in METRIC_KEYS.iter().enumerate() {
            assert!(!METRIC_KEYS[..idx].contains(name), "{name}");
        }
    }
}
