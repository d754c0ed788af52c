//! What an experiment does differently from the paper that it names.
//!
//! Compared are the resolved keys that say how the method works, with the shipped settings of the paper.
//! Left out are:
//!
//! - what names an experiment and what it is repeated with: `name`, `description`, `paper`, seeds;
//! - where files lie: `policy.path` and the paths of a task, except that another model is a difference,
//!   told by the last part of its path;
//! - the options of another task: a task of another kind is one difference, not one for each option;
//! - the architecture of a policy from scratch, for the same reason; but whether adapters are trained
//!   (`[policy.lora]`) is compared;
//! - what changes no result: `micro_batch_tokens`, `generation_batch`, `eval.batch`, threads and the like in
//!   `[compute]`, of which only `rollout_weights` is compared, and how a judge is waited for;
//! - when there are measurements and checkpoints: `eval.every`, `[checkpoint]`.
//!
//! RL stages are compared with the paper's in order; a warm start before them, which no paper has, is one
//! difference.

use std::path::Path;

use crate::differences::{Difference, compare};
use crate::experiment::{Experiment, Stage};
use crate::policy::PolicySource;

/// Keys that are left out wherever they stand: the last part of their path.
const LEFT_OUT: [&str; 12] = [
    "name",
    "description",
    "paper",
    "seed",
    "path",
    "test_path",
    "micro_batch_tokens",
    "generation_batch",
    "max_line_bytes",
    "timeout_seconds",
    "processes",
    "retries",
];

/// Tables of which nothing or only some keys are compared.
const NOT_THE_METHOD: [&str; 3] = ["checkpoint.", "eval.every", "eval.batch"];

impl Experiment {
    /// Keys that differ from the settings of the paper that the experiment names, `left` being here and
    /// `right` the paper's; empty where it names none.
    pub fn paper_differences(&self) -> Vec<Difference> {
        let Some(paper) = self.paper else {
            return Vec::new();
        };
        // The tests load the settings of every paper.
        let Ok(published) = paper.shipped().experiment(&[]) else {
            return Vec::new();
        };
        let same_task = self.task.kind() == published.task.kind();
        let mut found = compare(self.of_method(same_task), published.of_method(same_task));
        for difference in &mut found {
            difference.key = self.renamed(&difference.key);
        }
        found
    }

    /// What is compared, the k-th RL stage under `rl.k`.
    fn of_method(&self, same_task: bool) -> Vec<(String, toml::Value)> {
        let mut list = vec![("policy".to_string(), self.model_name().into())];
        list.extend(self.flat().into_iter().filter_map(|(key, value)| {
            let last = key.rsplit('.').next().unwrap_or_default();
            let is_left_out = LEFT_OUT.contains(&last)
                || NOT_THE_METHOD.iter().any(|start| key.starts_with(start))
                || key.starts_with("policy.") && !key.starts_with("policy.lora.")
                || key.starts_with("compute.") && last != "rollout_weights"
                || !same_task && key.starts_with("task.") && key != "task.kind";
            if is_left_out {
                return None;
            }
            let Some(of_stage) = key.strip_prefix("stage.") else {
                return Some((key, value));
            };
            let (idx, rest) = of_stage.split_once('.')?;
            let idx: usize = idx.parse().ok()?;
            match self.stages.get(idx)? {
                Stage::Rl(_) => {
                    let nth = self.rl_before(idx);
                    Some((format!("rl.{nth}.{rest}"), value))
                }
                Stage::WarmStart(_) => (rest == "kind").then_some((key, value)),
            }
        }));
        list
    }

    /// RL stages before this one.
    fn rl_before(&self, stage_idx: usize) -> usize {
        let before = self.stages.iter().take(stage_idx);
        before.filter(|stage| matches!(stage, Stage::Rl(_))).count()
    }

    /// `rl.k` under its index in this file.
    fn renamed(&self, key: &str) -> String {
        let Some((nth, rest)) = key
            .strip_prefix("rl.")
            .and_then(|of_stage| of_stage.split_once('.'))
        else {
            return key.into();
        };
        let mut of_rl =
            (0..self.stages.len()).filter(|idx| matches!(self.stages[*idx], Stage::Rl(_)));
        let nth: usize = nth.parse().unwrap_or_default();
        match of_rl.nth(nth) {
            Some(idx) => format!("stage.{idx}.{rest}"),
            // A stage that only the paper has.
            None => format!("stage.{}.{rest}", self.stages.len() + nth),
        }
    }

    /// The model by its folder's name.
    fn model_name(&self) -> String {
        match &self.policy {
            PolicySource::FromScratch(_) => "from scratch".into(),
            PolicySource::Folder(path) => Path::new(path).file_name().map_or_else(
                || path.display().to_string(),
                |name| name.to_string_lossy().into_owned(),
            ),
        }
    }
}
