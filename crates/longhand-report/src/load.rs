//! A run as its report needs it: lines sorted by what they tell, and how far it came.

use std::path::Path;

use longhand_run::{RunDir, RunError, wilson_interval};
use serde_json::Value;

use crate::columns::Columns;

/// Name of the checkpoint that a run writes when it has done everything.
const FINAL_CHECKPOINT: &str = "checkpoints/final";
/// Standard errors of a 95 % interval.
const Z: f64 = 1.96;

/// Everything of a run but its transcripts.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// What the run is called beside another: its folder's name.
    pub(crate) label: String,
    /// The experiment's name.
    pub(crate) name: String,
    /// What the experiment is for.
    pub(crate) description: String,
    /// The resolved experiment file.
    pub(crate) config: String,
    /// Lines of `metrics.jsonl`.
    pub(crate) metrics: Vec<Value>,
    /// Lines of `timings.jsonl`, or of metrics that hold seconds themselves, as older runs' do.
    pub(crate) timings: Vec<Value>,
    /// Whether the last line of the metrics has no end.
    pub(crate) is_metrics_torn: bool,
    /// Whether the last line of the timings has no end.
    pub(crate) is_timings_torn: bool,
    /// Whether everything that was asked for is done.
    pub(crate) is_finished: bool,
    /// Times the run went back to a checkpoint and on from there.
    pub(crate) n_resumes: usize,
    /// Names of the records of steps that stopped the run.
    pub(crate) failures: Vec<String>,
    /// Steps of reinforcement learning that the experiment file asks for.
    pub(crate) n_planned_steps: Option<usize>,
    /// Measurements in their order.
    pub(crate) evals: Vec<Eval>,
    /// Numbers of the metrics, by stage.
    by_stage: [Columns; 3],
    /// Numbers of the timings, by stage.
    clocks_by_stage: [Columns; 3],
}

/// One measurement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Eval {
    /// When: `before`, `during`, `after`, `warm-start`.
    pub(crate) label: String,
    /// Steps of reinforcement learning done before it.
    pub(crate) n_steps: usize,
    /// Steps of warm start done before it.
    pub(crate) n_warm_start_steps: usize,
    pub(crate) temperature: f64,
    pub(crate) lengths: Vec<LengthScore>,
}

/// Accuracy at one length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LengthScore {
    /// Tokens of a document.
    pub(crate) n_tokens: f64,
    pub(crate) n_documents: usize,
    pub(crate) accuracy: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A step of reinforcement learning; lines stand at their step.
    Rl,
    /// A step of warm start; lines stand in their order.
    WarmStart,
    /// A measurement; lines stand in their order.
    Eval,
}

impl Stage {
    /// What its lines stand along.
    pub(crate) fn axis(self) -> &'static str {
        match self {
            Stage::Rl => "step",
            Stage::WarmStart => "warm-start step",
            Stage::Eval => "measurement",
        }
    }
}

const STAGES: [(Stage, &str); 3] = [
    (Stage::Rl, "rl"),
    (Stage::WarmStart, "warm-start"),
    (Stage::Eval, "eval"),
];

impl Loaded {
    /// Reads a run's files.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or a whole line that is not JSON.
    pub(crate) fn open(run: &RunDir) -> Result<Self, RunError> {
        let config = run.experiment_text()?;
        let (metrics, is_metrics_torn) = run.read_metrics_so_far()?;
        let (mut timings, is_timings_torn) = run.read_timings_so_far()?;
        if timings.is_empty() {
            let holds_seconds = |line: &&Value| line.get("seconds").is_some();
            timings = metrics.iter().filter(holds_seconds).cloned().collect();
        }
        let table: toml::Table = config.parse().unwrap_or_default();
        let said = |key: &str| {
            let value = table.get(key).and_then(toml::Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let (name, description) = (said("name"), said("description"));
        let label = label(run.path());
        let mut loaded = Self {
            name: if name.is_empty() { label.clone() } else { name },
            label,
            description,
            is_finished: run.path().join(FINAL_CHECKPOINT).is_dir(),
            n_resumes: file_names(&run.superseded_folder(), "metrics-").len(),
            failures: file_names(&run.failures_folder(), ""),
            n_planned_steps: n_planned_steps(&table),
            config,
            is_metrics_torn,
            is_timings_torn,
            by_stage: by_stage(&metrics),
            clocks_by_stage: by_stage(&timings),
            evals: evals(&metrics),
            metrics,
            timings,
        };
        loaded.is_finished |= loaded.has_done_all();
        Ok(loaded)
    }

    /// Whether the last planned step and the measurement after it are there.
    fn has_done_all(&self) -> bool {
        let n_done = self.last_step().map_or(0, |step| step as usize + 1);
        let last = self.metrics.last().and_then(|line| line.get("label"));
        let is_after = last.and_then(Value::as_str) == Some("after");
        is_after
            && self
                .n_planned_steps
                .is_some_and(|n_planned| n_planned <= n_done)
    }

    /// Numbers of the metrics.
    pub(crate) fn numbers(&self, stage: Stage) -> &Columns {
        &self.by_stage[stage as usize]
    }

    /// Numbers of the timings.
    pub(crate) fn clock(&self, stage: Stage) -> &Columns {
        &self.clocks_by_stage[stage as usize]
    }

    /// Numbers of a key of the timings, of all stages.
    pub(crate) fn clocked(&self, key: &str) -> impl Iterator<Item = f64> {
        let points = STAGES
            .iter()
            .flat_map(move |(stage, _)| self.clock(*stage).points(key));
        points.map(|(_, value)| *value)
    }

    /// The last step of reinforcement learning.
    pub(crate) fn last_step(&self) -> Option<u64> {
        let (last, _) = self.numbers(Stage::Rl).points("step").last()?;
        Some(*last as u64)
    }
}

fn stage_of(line: &Value) -> Option<&str> {
    line.get("stage").and_then(Value::as_str)
}

fn by_stage(lines: &[Value]) -> [Columns; 3] {
    STAGES.map(|(stage, name)| {
        let lines = lines.iter().filter(|line| stage_of(line) == Some(name));
        match stage {
            Stage::Rl => Columns::by_step(lines),
            Stage::WarmStart | Stage::Eval => Columns::by_order(lines),
        }
    })
}

/// Measurements, each with how many steps were done before it.
fn evals(lines: &[Value]) -> Vec<Eval> {
    let (mut n_steps, mut n_warm_start_steps) = (0, 0);
    let mut evals = Vec::new();
    for line in lines {
        match stage_of(line) {
            Some("rl") => {
                let step = line.get("step").and_then(Value::as_u64);
                n_steps = n_steps.max(step.map_or(0, |step| step as usize + 1));
            }
            Some("warm-start") => n_warm_start_steps += 1,
            Some("eval") => evals.push(eval(line, n_steps, n_warm_start_steps)),
            _ => {}
        }
    }
    evals
}

/// A finite number of a line.
fn number_at(line: &Value, key: &str) -> Option<f64> {
    line.get(key)?.as_f64().filter(|value| value.is_finite())
}

/// Names of a folder's files that begin so, sorted; none where there is no such folder.
fn file_names(folder: &Path, start: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(start)).collect();
    names.sort();
    names
}

fn label(path: &Path) -> String {
    // `.` has no name of its own.
    let whole = path.canonicalize();
    let path = whole.as_deref().unwrap_or(path);
    match path.file_name() {
        Some(name) => name.to_string_lossy().into_owned(),
        None => path.display().to_string(),
    }
}

fn n_planned_steps(config: &toml::Table) -> Option<usize> {
    let stages = config.get("stage")?.as_array()?;
    let rl = stages
        .iter()
        .filter(|stage| stage.get("kind").and_then(toml::Value::as_str) == Some("rl"));
    rl.map(|stage| usize::try_from(stage.get("steps")?.as_integer()?).ok())
        .sum()
}

fn eval(line: &Value, n_steps: usize, n_warm_start_steps: usize) -> Eval {
    let scores = line.get("lengths").and_then(Value::as_array);
    let label = line.get("label").and_then(Value::as_str);
    Eval {
        label: label.unwrap_or_default().to_owned(),
        n_steps,
        n_warm_start_steps,
        temperature: number_at(line, "temperature").unwrap_or(0.0),
        lengths: scores.into_iter().flatten().filter_map(score).collect(),
    }
}

fn score(score: &Value) -> Option<LengthScore> {
    let accuracy = number_at(score, "accuracy")?.clamp(0.0, 1.0);
    let n_documents = number_at(score, "n_documents").unwrap_or(0.0).max(0.0) as usize;
    let n_right = (accuracy * n_documents as f64).round() as usize;
    let interval = wilson_interval(n_right.min(n_documents), n_documents, Z);
    let tokens = number_at(score, "target_tokens").or_else(|| number_at(score, "mean_tokens"))?;
    Some(LengthScore {
        n_tokens: tokens.max(1.0),
        n_documents,
        accuracy,
        low: number_at(score, "low")
            .unwrap_or(interval.0)
            .clamp(0.0, accuracy),
        high: number_at(score, "high")
            .unwrap_or(interval.1)
            .clamp(accuracy, 1.0),
    })
}
