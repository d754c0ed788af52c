//! Runs with known numbers, written as a real run writes them.

use longhand_run::{RunDir, Transcript, TranscriptKind, TranscriptStop, TranscriptTurn};
use serde_json::{Value, json};
use tempfile::TempDir;

/// An experiment of 60 steps.
pub(crate) const CONFIG: &str = "name = \"planted\"\ndescription = \"a run with everything\"\nseed = 1\n\n\
    [[stage]]\nkind = \"rl\"\nsteps = 60\n\n[stage.optimizer]\nlr = 0.0005\n";

/// A run in a folder that goes with it.
pub(crate) struct Plant {
    _root: TempDir,
    pub(crate) run: RunDir,
}

impl Plant {
    /// A run of so many steps, with a warm start and measurements.
    pub(crate) fn new(n_steps: u64) -> Self {
        let plant = Self::with_config(n_steps, CONFIG);
        let mut lines = plant.run.lines().expect("opened");
        lines.metrics(&eval("during", 0.6, 0.0)).expect("written");
        lines
            .timings(&clock("eval", n_steps, 1.0))
            .expect("written");
        plant
    }

    pub(crate) fn with_config(n_steps: u64, config: &str) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let run = RunDir::create(&root.path().join(format!("planted-{n_steps}"))).expect("made");
        run.write_config(config).expect("written");
        if n_steps != 0 {
            write_lines(&run, n_steps);
        }
        Self { _root: root, run }
    }

    /// Adds the measurement and the checkpoint at the end.
    pub(crate) fn finished(self) -> Self {
        let mut lines = self.run.lines().expect("opened");
        lines.metrics(&eval("after", 0.9, 0.0)).expect("written");
        lines.timings(&clock("eval", 60, 1.0)).expect("written");
        std::fs::create_dir(self.run.checkpoints_folder().join("final")).expect("made");
        self
    }
}

fn write_lines(run: &RunDir, n_steps: u64) {
    // Written at once: a line at a time is handed to the system one by one.
    let (mut metrics, mut timings) = (String::new(), String::new());
    let mut say = |line: Value, clock: Value| {
        metrics.push_str(&format!("{line}\n"));
        timings.push_str(&format!("{clock}\n"));
    };
    for step in 0..3 {
        let loss = 5.0 - step as f64;
        say(
            json!({"stage": "warm-start", "stage_idx": 0, "step": step, "read_loss": loss, "answer_loss": loss / 2.0,
                "grad_norm": 1.0, "lr": 0.001, "n_run_tokens": 500}),
            clock("warm-start", step, 1.0),
        );
    }
    for temperature in [0.0, 1.0] {
        say(eval("before", 0.3, temperature), clock("eval", 0, 1.0));
    }
    for step in 0..n_steps {
        let share = step as f64 / n_steps as f64;
        say(
            json!({"stage": "rl", "step": step, "policy_version": step, "reward": share, "live_groups": 0.75,
                "live_rows": 0.5 + share / 4.0, "n_groups": 4, "n_attempts": 16, "approx_kl": 0.001 * share,
                "entropy": 1.0 - share / 2.0, "grad_norm": 1.0 + share, "lr": 0.0005, "loss": -0.01 * share,
                "clip_low": 0.0, "clip_high": 0.01 * share, "max_logprob_difference": 0.0,
                "memory_tokens": 10.0 + share, "answer_tokens": 3.0, "teacher_lowest": 0.1, "teacher_highest": 0.9,
                "teacher_gap": share, "penalty_overlong": -share, "n_judge_timeouts": 1, "n_sampled": 1000,
                "n_run_tokens": 4000, "n_trained_tokens": 900, "some_new_number": step % 7}),
            clock("rl", step, 1.5),
        );
    }
    std::fs::write(run.metrics_path(), metrics).expect("written");
    std::fs::write(run.timings_path(), timings).expect("written");
}

fn eval(label: &str, accuracy: f64, temperature: f64) -> Value {
    let score = |n_tokens: u64, accuracy: f64| {
        let (low, high) = if accuracy == 0.9 {
            (0.8, 0.95)
        } else {
            (accuracy - 0.1, accuracy + 0.1)
        };
        json!({"target_tokens": n_tokens, "mean_tokens": n_tokens, "n_documents": 100, "accuracy": accuracy,
            "low": low, "high": high, "by_facts": [], "n_hit_cap": 0})
    };
    json!({"stage": "eval", "label": label, "stage_idx": 1, "step": 0, "temperature": temperature,
        "lengths": [score(512, accuracy), score(2048, accuracy - 0.1)]})
}

fn clock(stage: &str, step: u64, seconds: f64) -> Value {
    let mut line = json!({"stage": stage, "step": step, "unix_seconds": 1_700_000_000 + step, "seconds": seconds});
    if stage == "rl" {
        line["seconds_generate"] = json!(0.5);
        line["seconds_score"] = json!(0.25);
        line["seconds_train"] = json!(0.5);
        line["resident_bytes"] = json!(100 * 1024 * 1024 + step);
        line["peak_resident_bytes"] = json!(200 * 1024 * 1024);
    }
    line
}

/// An attempt with one turn that reads.
pub(crate) fn transcript(
    step: u64,
    problem_idx: u64,
    outcome: Option<f64>,
    advantage: f64,
) -> Transcript {
    Transcript {
        stage: "rl".to_owned(),
        step,
        problem_idx,
        problem_id: format!("problem-{problem_idx}"),
        attempt: 0,
        question: "Who keeps the key?".to_owned(),
        expected: vec!["Ida".to_owned()],
        answer: "Ida".to_owned(),
        seed: 1,
        policy_version: step,
        weights_digest: None,
        outcome,
        rewards: Default::default(),
        reward_error: None,
        dropped: None,
        unparsed: false,
        dropped_tokens: 0,
        turns: vec![turn("Ida keeps the key.", "Ida: key", Some(advantage))],
    }
}

/// A turn that reads.
pub(crate) fn turn(prompt: &str, completion: &str, advantage: Option<f64>) -> TranscriptTurn {
    TranscriptTurn {
        kind: TranscriptKind::Read,
        chunk_idx: Some(0),
        prompt: prompt.to_owned(),
        completion: completion.to_owned(),
        completion_ids: vec![7, 1],
        rollout_logprobs: vec![-0.5, -0.25],
        stop_reason: TranscriptStop::EndToken,
        reward: None,
        advantage,
        teacher_score: None,
    }
}
