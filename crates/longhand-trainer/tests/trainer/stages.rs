//! A whole experiment: its stages follow each other, and its folder tells all of it.

use std::collections::BTreeSet;

use longhand_config::Experiment;
use longhand_policy::{Compute, Policy};
use longhand_run::RunDir;
use longhand_trainer::{TrainOptions, train};
use serde_json::Value;

use crate::fixture::{experiment, weights};

#[test]
fn steps_problems_and_files_go_on_over_the_stages() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let experiment = experiment("objectives", &[]);
    let outcome = train(
        &experiment,
        &TrainOptions {
            out: Some(out.clone()),
            ..TrainOptions::default()
        },
    )
    .unwrap()
    .outcome()
    .unwrap();
    assert_eq!(outcome.folder, out);

    let run = RunDir::open(&out).unwrap();
    let lines = run.read_metrics().unwrap();
    let of_stage = |stage: &str| -> Vec<&Value> {
        lines.iter().filter(|line| line["stage"] == stage).collect()
    };
    let steps: Vec<u64> = of_stage("rl")
        .iter()
        .map(|line| line["step"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, [0, 1, 2, 3]);
    assert!(
        of_stage("rl")
            .iter()
            .all(|line| 0.0 < line["grad_norm"].as_f64().unwrap())
    );
    assert_eq!(of_stage("warm-start").len(), 40);
    let labels: Vec<&str> = of_stage("eval")
        .iter()
        .map(|line| line["label"].as_str().unwrap())
        .collect();
    assert_eq!(labels, ["before", "after"]);
    let eval_steps: Vec<u64> = of_stage("eval")
        .iter()
        .map(|line| line["step"].as_u64().unwrap())
        .collect();
    assert_eq!(eval_steps, [0, 4]);

    // Four problems a step, four attempts at each, none of them twice.
    let mut problems = BTreeSet::new();
    let files = run.transcript_files().unwrap();
    assert_eq!(files.len(), 4);
    for file in &files {
        let records = run.read_transcripts(&file.stage, file.step).unwrap();
        assert_eq!(records.len(), 16);
        problems.extend(records.iter().map(|record| record.problem_idx));
        assert!(
            records
                .iter()
                .all(|record| record.step == file.step && record.turns.len() == 3)
        );
    }
    assert_eq!(problems, (0..16).collect());

    for name in ["start", "stage-0", "stage-1", "stage-2", "final"] {
        let checkpoint = out.join("checkpoints").join(name);
        Policy::load(&checkpoint, &Compute::default())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let load = |name: &str| {
        weights(&Policy::load(&out.join("checkpoints").join(name), &Compute::default()).unwrap())
    };
    assert_ne!(load("stage-0"), load("stage-1"));
    assert_ne!(load("stage-1"), load("stage-2"));
    assert_eq!(load("stage-2"), load("final"));
    assert_eq!(run.latest_checkpoint().unwrap(), Some(outcome.checkpoint));
    for plot in [
        "learning-curve.svg",
        "learning-curve.png",
        "accuracy-by-length.svg",
        "accuracy-by-length.png",
    ] {
        assert!(out.join("plots").join(plot).is_file(), "{plot}");
    }
    // The stored file is the whole experiment.
    assert_eq!(
        Experiment::load(&out.join("config.toml"), &[]).unwrap(),
        experiment
    );
}

#[test]
fn a_run_goes_on_from_another_ones_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("first");
    let outcome = train(
        &experiment("tamtrl", &["stage.1.steps=1"]),
        &TrainOptions {
            out: Some(first),
            ..TrainOptions::default()
        },
    )
    .unwrap()
    .outcome()
    .unwrap();
    let path = format!(
        "policy={{ path = {:?} }}",
        outcome.checkpoint.display().to_string()
    );
    let second = folder.path().join("second");
    let next = experiment("tamtrl", &[&path, "stage.0.steps=20", "stage.1.steps=1"]);
    let outcome = train(
        &next,
        &TrainOptions {
            out: Some(second),
            ..TrainOptions::default()
        },
    )
    .unwrap()
    .outcome()
    .unwrap();
    let transcript = outcome.transcript.unwrap();
    assert_eq!(transcript.turns.len(), 3);
    assert!(transcript.turns.iter().all(|turn| turn.advantage.is_some()));
}

#[test]
fn intermediate_checkpoints_are_pruned_and_measurements_are_taken_when_due() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let experiment = experiment("tamtrl", &["stage.1.steps=5", "checkpoint.keep_last=2"]);
    let outcome = train(
        &experiment,
        &TrainOptions {
            out: Some(out.clone()),
            ..TrainOptions::default()
        },
    )
    .unwrap()
    .outcome()
    .unwrap();
    let checkpoints: BTreeSet<String> = std::fs::read_dir(out.join("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("rl-"))
        .collect();
    assert_eq!(
        checkpoints,
        ["rl-000003", "rl-000004"].map(String::from).into()
    );
    let lines = RunDir::open(&out).unwrap().read_metrics().unwrap();
    let during = lines
        .iter()
        .filter(|line| line["label"] == "during")
        .map(|line| line["step"].as_u64().unwrap());
    assert_eq!(during.collect::<Vec<_>>(), [2, 4]);
    assert!(outcome.sampled.is_some());
    assert_eq!(outcome.before.lengths.len(), 2);
}

#[test]
fn what_was_finished_before_a_failure_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let experiment = experiment(
        "tamtrl",
        &["stage.1.optimizer.lr=1e30", "stage.1.problems_per_step=16"],
    );
    let error = train(
        &experiment,
        &TrainOptions {
            out: Some(out.clone()),
            ..TrainOptions::default()
        },
    );
    let error = error.expect_err("the loss is not finite").to_string();
    assert!(
        error.starts_with("the trained log-probability (problem "),
        "{error}"
    );
    assert!(error.contains("failures/rl-000000.json"), "{error}");
    assert!(error.contains("transcripts/rl-000000.jsonl.zst"), "{error}");
    let run = RunDir::open(&out).unwrap();
    assert_eq!(
        run.latest_checkpoint().unwrap(),
        Some(out.join("checkpoints/stage-0"))
    );
    Policy::load(&out.join("checkpoints/stage-0"), &Compute::default()).unwrap();
    assert!(!run.read_metrics().unwrap().is_empty());
}
