//! Where a run stands: what a checkpoint says besides the weights, so that another process can go on.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use longhand_config::{Experiment, Stage};
use longhand_objective::ControlState;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;

/// Where a run stands, after a whole step.
///
/// Random streams are not in it: they are named by seed, purpose, step, problem, attempt and turn.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The stage that is due; the number of stages when all are done.
    pub stage_idx: usize,
    /// Steps done in it.
    pub steps_done: usize,
    /// RL steps taken over all stages: they number the streams and files of RL.
    pub rl_steps: usize,
    /// Updates done of the stage's schedule.
    pub updates_done: usize,
    /// Updates that the policy has seen.
    pub policy_version: u64,
    /// What entropy control remembers of the stage's steps, where there is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_state: Option<ControlState>,
    /// The training problem that the next RL step begins with.
    pub next_problem: u64,
    /// The problem that the next step of this warm start begins with; none before its first.
    pub next_warm_start_problem: Option<u64>,
    /// Whether accuracy before the first RL stage has been measured.
    pub measured_before: bool,
    /// Whether the measurement that is due after the last step has been made.
    pub measured_step: bool,
    /// The best checkpoint so far, where the experiment looks for it.
    pub best: Option<Best>,
    /// Whether everything is done, the last measurement included.
    pub finished: bool,
}

/// The checkpoint at which a metric was best.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// Its name.
    pub name: String,
    /// The metric there.
    pub value: f64,
}

impl Position {
    /// The name of a checkpoint here.
    pub(crate) fn name(&self, experiment: &Experiment) -> String {
        if self.finished {
            return "final".into();
        }
        if self.steps_done == 0 {
            return Self::name_of_start(self.stage_idx);
        }
        match experiment.stages.get(self.stage_idx) {
            Some(Stage::WarmStart(_)) => {
                format!("warm-start-{}-{:06}", self.stage_idx, self.steps_done)
            }
            Some(Stage::Rl(_)) | None => format!("rl-{:06}", self.rl_steps),
        }
    }

    /// The checkpoint at which a stage begins: the end of the stage before.
    pub(crate) fn name_of_start(stage_idx: usize) -> String {
        match stage_idx.checked_sub(1) {
            None => "start".into(),
            Some(before) => format!("stage-{before}"),
        }
    }

    /// The position behind the stage that is due.
    pub(crate) fn after_stage(&self) -> Self {
        Self {
            stage_idx: self.stage_idx + 1,
            steps_done: 0,
            updates_done: 0,
            control_state: None,
            next_warm_start_problem: None,
            measured_step: false,
            ..self.clone()
        }
    }

    /// Refuses a position that the experiment does not have.
    pub(crate) fn check(&self, experiment: &Experiment, path: &Path) -> Result<(), TrainError> {
        let n_stages = experiment.stages.len();
        let n_steps = match experiment.stages.get(self.stage_idx) {
            Some(Stage::WarmStart(settings)) => settings.steps,
            Some(Stage::Rl(settings)) => settings.steps,
            None => 0,
        };
        if n_stages < self.stage_idx || n_steps < self.steps_done {
            return Err(TrainError::Position {
                path: PathBuf::from(path),
                stage_idx: self.stage_idx,
                step: self.steps_done,
            });
        }
        Ok(())
    }
}

/// A request from outside to stop: 0, or the number of the signal that asks.
#[derive(Clone, Debug, Default)]
pub struct Stop(pub Arc<AtomicUsize>);

impl Stop {
    /// The signal that asks to stop.
    pub fn signal(&self) -> Option<usize> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            signal => Some(signal),
        }
    }

    /// For use between two things that can be begun again.
    pub(crate) fn check(&self) -> Result<(), TrainError> {
        match self.signal() {
            None => Ok(()),
            Some(signal) => Err(TrainError::Stopped { signal }),
        }
    }
}
