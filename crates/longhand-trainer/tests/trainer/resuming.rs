//! A run that was stopped anywhere and resumed is the run that was never stopped, bit for bit.

use std::{
    fs,
    path::Path,
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use longhand_config::Experiment;
use longhand_run::RunDir;
use longhand_trainer::{
    Ended, Stop, TrainError, TrainOptions, replay_failure, replay_rollout, resume, train,
};

use crate::{fixture::experiment, repeatability::files};

/// A warm start and two stages of RL, the first with a KL term, several updates a step, measurements between
/// steps and a best checkpoint.
fn eventful(overrides: &[&str]) -> Experiment {
    let all = [
        &[
            "checkpoint.every=2",
            "checkpoint.best_metric=\"accuracy\"",
            "eval.every=2",
            "stage.0.steps=5",
            "stage.0.check_every=2",
            "stage.0.stop_at=1.0",
            "stage.1.steps=3",
            "stage.1.objective.kl={ estimator = \"k3\", coef = 0.01 }",
        ],
        overrides,
    ];
    experiment("objectives", &all.concat())
}

fn options(out: &Path) -> TrainOptions {
    TrainOptions {
        out: Some(out.to_owned()),
        ..TrainOptions::default()
    }
}

fn finish(folder: &Path) {
    let ended = resume(folder, &TrainOptions::default(), |damage| {
        panic!("{damage:?}");
    });
    assert!(matches!(ended.unwrap(), Ended::Finished(_)));
}

/// Lets a run go on for so many lines of metrics, then stops it where it stands, as a kill would: the
/// lock is dropped and whatever is in the folder stays there.
fn stop_after(folder: &Path, n_lines: usize, go: impl FnOnce(&TrainOptions) -> Ended) -> bool {
    let stop = Stop::default();
    let options = TrainOptions {
        stop: stop.clone(),
        ..options(folder)
    };
    let watcher = {
        let (stop, path) = (Arc::clone(&stop.0), folder.join("metrics.jsonl"));
        thread::spawn(move || {
            while stop.load(Ordering::Relaxed) == 0 {
                let n = fs::read(&path).map_or(0, |text| text.split(|b| *b == b'\n').count() - 1);
                if n_lines <= n {
                    stop.store(15, Ordering::Relaxed);
                }
                thread::sleep(Duration::from_millis(1));
            }
        })
    };
    let ended = go(&options);
    // Ends the watcher of a run that came to its end first.
    stop.0.store(15, Ordering::Relaxed);
    watcher.join().unwrap();
    match ended {
        Ended::Stopped { signal, .. } => {
            assert_eq!(signal, 15);
            true
        }
        Ended::Finished(_) | Ended::NothingLeft { .. } => false,
    }
}

fn assert_same(left: &Path, right: &Path, what: &str) {
    let (left, right) = (files(left), files(right));
    let names =
        |files: &std::collections::BTreeMap<_, _>| files.keys().cloned().collect::<Vec<_>>();
    // What a resume went back behind is there besides.
    for (path, bytes) in &left {
        assert!(
            right.get(path) == Some(bytes),
            "{what}: {} differs; {:?}",
            path.display(),
            names(&right)
        );
    }
}

#[test]
fn a_run_that_was_stopped_and_resumed_many_times_is_the_run_that_was_not() {
    let root = tempfile::tempdir().unwrap();
    let whole = root.path().join("whole");
    let experiment = eventful(&[]);
    train(&experiment, &options(&whole)).unwrap();
    let n_lines = RunDir::open(&whole).unwrap().read_metrics().unwrap().len();
    let stopped = root.path().join("stopped");
    let mut n_stops = 0;
    let mut is_on = stop_after(&stopped, 1, |options| train(&experiment, options).unwrap());
    for n in 2..n_lines {
        if !is_on {
            break;
        }
        n_stops += 1;
        is_on = stop_after(&stopped, n, |options| {
            resume(&stopped, options, |damage| panic!("{damage:?}")).unwrap()
        });
    }
    if is_on {
        finish(&stopped);
    }
    assert!(4 < n_stops, "{n_stops}");
    assert_same(&whole, &stopped, "after many stops");
}

#[test]
fn an_adapter_is_resumed_beside_its_model_and_compared_with_the_same_reference() {
    let base = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../configs/quickstart-policy"
    );
    let path = format!("policy.path=\"{base}\"");
    for dropout in ["policy.lora.dropout=0.0", "policy.lora.dropout=0.3"] {
        let more = ["stage.0.steps=5", "eval.n_documents=2"];
        let experiment = experiment("lora", &[&[path.as_str(), dropout], &more[..]].concat());
        let root = tempfile::tempdir().unwrap();
        let (whole, stopped) = (root.path().join("whole"), root.path().join("stopped"));
        train(&experiment, &options(&whole)).unwrap();
        let mut is_on = stop_after(&stopped, 2, |options| train(&experiment, options).unwrap());
        assert!(is_on);
        for n in 3..6 {
            if is_on {
                is_on = stop_after(&stopped, n, |options| {
                    resume(&stopped, options, |damage| panic!("{damage:?}")).unwrap()
                });
            }
        }
        if is_on {
            finish(&stopped);
        }
        assert_same(&whole, &stopped, dropout);
        let of_rl = RunDir::open(&whole).unwrap().read_metrics().unwrap();
        let moved = |line: &&serde_json::Value| line["ref_kl"].as_f64().is_some_and(|kl| 1e-6 < kl);
        assert!(
            3 < of_rl.iter().filter(moved).count(),
            "the reference stays"
        );
    }
}

#[test]
fn what_controls_entropy_is_resumed_too() {
    let experiment = experiment("rewards", &["checkpoint.every=1"]);
    let root = tempfile::tempdir().unwrap();
    let (whole, stopped) = (root.path().join("whole"), root.path().join("stopped"));
    train(&experiment, &options(&whole)).unwrap();
    let n_lines = RunDir::open(&whole).unwrap().read_metrics().unwrap().len();
    let mut is_on = stop_after(&stopped, 1, |options| train(&experiment, options).unwrap());
    for n in 2..n_lines {
        if is_on {
            is_on = stop_after(&stopped, n, |options| {
                resume(&stopped, options, |damage| panic!("{damage:?}")).unwrap()
            });
        }
    }
    if is_on {
        finish(&stopped);
    }
    assert_same(&whole, &stopped, "with a controller");
    let metrics = RunDir::open(&whole).unwrap().read_metrics().unwrap();
    let weights: Vec<f64> = metrics
        .iter()
        .filter_map(|line| line["control_weight"].as_f64())
        .collect();
    assert_eq!(weights.len(), 4);
    assert_ne!(weights[0], weights[3], "the controller moves");
}

#[test]
fn an_adapter_needs_weights_that_are_in_a_folder() {
    let experiment = experiment("objectives", &["policy.lora={ rank = 2 }"]);
    let root = tempfile::tempdir().unwrap();
    let error = train(&experiment, &options(&root.path().join("run"))).unwrap_err();
    assert!(matches!(error, TrainError::AdapterFromScratch), "{error}");
}

#[test]
fn any_checkpoint_leads_to_the_same_end() {
    let root = tempfile::tempdir().unwrap();
    let whole = root.path().join("whole");
    train(&eventful(&["checkpoint.keep_last=100"]), &options(&whole)).unwrap();
    let checkpoints = RunDir::open(&whole).unwrap().checkpoints().unwrap();
    assert_eq!(checkpoints.len(), 8, "{checkpoints:?}");
    // All but the last, behind which nothing is left to do.
    for (idx, path) in checkpoints.iter().enumerate().take(7) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let killed = root.path().join(format!("killed-at-{name}"));
        copy(&whole, &killed);
        // As after a kill: lines and transcripts behind the checkpoint, a torn one last.
        for later in &checkpoints[idx + 1..] {
            fs::remove_dir_all(killed.join("checkpoints").join(later.file_name().unwrap()))
                .unwrap();
        }
        for lines in ["metrics.jsonl", "timings.jsonl"] {
            let mut text = fs::read(killed.join(lines)).unwrap();
            text.truncate(text.len() - 3);
            fs::write(killed.join(lines), text).unwrap();
        }
        finish(&killed);
        assert_same(&whole, &killed, name);
        assert!(killed.join("superseded").is_dir(), "{name}");
    }
}

#[test]
fn a_run_without_a_checkpoint_begins_again_and_a_finished_one_has_nothing_left() {
    let root = tempfile::tempdir().unwrap();
    let (whole, killed) = (root.path().join("whole"), root.path().join("killed"));
    let experiment = eventful(&[]);
    train(&experiment, &options(&whole)).unwrap();
    copy(&whole, &killed);
    fs::remove_dir_all(killed.join("checkpoints")).unwrap();
    fs::create_dir(killed.join("checkpoints")).unwrap();
    finish(&killed);
    assert_same(&whole, &killed, "begun again");

    let before = files(&whole);
    let ended = resume(&whole, &TrainOptions::default(), |_| ()).unwrap();
    let Ended::NothingLeft { folder, checkpoint } = ended else {
        panic!("{ended:?}");
    };
    assert_eq!(folder, whole);
    assert_eq!(checkpoint, whole.join("checkpoints/final"));
    assert_eq!(files(&whole), before);
}

#[test]
fn a_damaged_checkpoint_is_told_and_the_one_before_it_leads_to_the_same_end() {
    let root = tempfile::tempdir().unwrap();
    let (whole, broken) = (root.path().join("whole"), root.path().join("broken"));
    train(&eventful(&[]), &options(&whole)).unwrap();
    copy(&whole, &broken);
    for name in ["final", "stage-2"] {
        let path = broken
            .join("checkpoints")
            .join(name)
            .join("model.safetensors");
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        fs::write(path, bytes).unwrap();
    }
    let mut told = Vec::new();
    let ended = resume(&broken, &TrainOptions::default(), |damage| {
        told.push(damage.to_string());
    });
    assert!(matches!(ended.unwrap(), Ended::Finished(_)));
    assert_eq!(told.len(), 2);
    assert!(
        told.iter().all(|text| text.contains("model.safetensors")),
        "{told:?}"
    );
    assert_same(&whole, &broken, "over damage");
}

#[test]
fn what_cannot_be_resumed_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("run");
    let experiment = eventful(&["stage.0.steps=2"]);
    stop_after(&out, 1, |options| train(&experiment, options).unwrap());
    let refusal = || {
        let error = resume(&out, &TrainOptions::default(), |_| ()).expect_err("refused");
        error.to_string()
    };
    let held = RunDir::open_to_write(&out).unwrap();
    let message = refusal();
    assert!(
        message.contains(&std::process::id().to_string()),
        "{message}"
    );
    drop(held);

    let config = out.join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("seed = ", "seed = 1")).unwrap();
    let message = refusal();
    assert!(message.contains("config.toml"), "{message}");
    fs::write(&config, text).unwrap();
    finish(&out);
}

#[test]
fn a_rollout_is_made_again_from_its_keys() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("run");
    train(&eventful(&[]), &options(&out)).unwrap();
    let run = RunDir::open(&out).unwrap();
    for file in run.transcript_files().unwrap() {
        let stored = run.read_transcripts("rl", file.step).unwrap();
        let one = &stored[(file.step as usize * 5 + 3) % stored.len()];
        let problem = if file.step % 2 == 0 {
            one.problem_idx.to_string()
        } else {
            one.problem_id.clone()
        };
        let replayed =
            replay_rollout(&out, file.step as usize, &problem, one.attempt, |_, _| ()).unwrap();
        assert_eq!(
            replayed.differences,
            Vec::<String>::new(),
            "step {}",
            file.step
        );
        assert_eq!(replayed.stored, *one);
    }
    let refusal = |step, problem, attempt| {
        let error = replay_rollout(&out, step, problem, attempt, |_, _| ());
        error.expect_err("there is none").to_string()
    };
    assert!(refusal(99, "0", 0).contains("there are steps 0 to 4"));
    assert!(refusal(0, "gone", 0).contains("there are problems 0, 1, 2, 3"));
    assert!(refusal(0, "0", 9).contains("there are attempts 0, 1, 2, 3"));
}

#[test]
fn a_stored_rollout_that_was_tampered_with_is_not_confirmed() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("run");
    train(&eventful(&["stage.2.steps=1"]), &options(&out)).unwrap();
    let run = RunDir::open_to_write(&out).unwrap();
    let mut stored = run.read_transcripts("rl", 0).unwrap();
    stored[0].turns[0].rollout_logprobs[0] -= 1e-6;
    stored[1].turns[1].completion_ids[0] ^= 1;
    run.write_transcripts("rl", 0, &stored).unwrap();
    drop(run);
    for (idx, what) in [(0, "log-probabilities"), (1, "sampled ids")] {
        let problem = stored[idx].problem_idx.to_string();
        let replayed = replay_rollout(&out, 0, &problem, stored[idx].attempt, |_, _| ()).unwrap();
        assert_eq!(replayed.differences.len(), 1, "{:?}", replayed.differences);
        assert!(
            replayed.differences[0].contains(what),
            "{:?}",
            replayed.differences
        );
    }
}

#[test]
fn a_number_that_breaks_leaves_a_file_that_breaks_it_again() {
    let root = tempfile::tempdir().unwrap();
    for (name, overrides) in [
        ("in-rl", ["stage.1.optimizer.lr=1e30", "stage.1.steps=3"]),
        (
            "in-warm-start",
            [
                "stage.0.optimizer.lr=1e38",
                "stage.0.optimizer.warmup_steps=0",
            ],
        ),
    ] {
        let out = root.path().join(name);
        let error = train(&experiment("tamtrl", &overrides), &options(&out)).unwrap_err();
        let TrainError::Step { source, kept, .. } = error else {
            panic!("{error}");
        };
        let TrainError::NotFinite(found) = *source else {
            panic!("{source}");
        };
        let is_failure = |path: &&std::path::PathBuf| path.parent().unwrap().ends_with("failures");
        let file = kept.iter().find(is_failure).unwrap();
        let replayed = replay_failure(file, |_, _| ()).unwrap();
        assert_eq!(replayed.stored, *found);
        assert_eq!(replayed.again, Some(*found), "{name}");

        // A resume meets it again: nothing else could follow.
        let again = resume(&out, &TrainOptions::default(), |_| ()).unwrap_err();
        assert!(matches!(again, TrainError::Step { .. }), "{again}");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, target).unwrap();
        }
    }
}

#[test]
fn other_data_make_another_run() {
    let root = tempfile::tempdir().unwrap();
    let (data, out) = (root.path().join("data.jsonl"), root.path().join("run"));
    let line = |idx: usize| {
        format!(
            r#"{{"id":"p{idx}","question":"which tree","answer":"oak","document":"the farmer saw an oak . "}}"#
        )
    };
    let lines: Vec<String> = (0..30).map(line).collect();
    fs::write(&data, lines.join("\n")).unwrap();
    let task = format!("task={{ kind = \"jsonl\", path = {data:?}, test_fraction = 0.5 }}");
    let experiment = experiment(
        "memagent",
        &[
            &task,
            "eval.n_documents=2",
            "eval.lengths=[36]",
            "stage=[{ kind = \"rl\", steps = 3, problems_per_step = 2, group_size = 2, optimizer = { lr = 1e-3 } }]",
        ],
    );
    stop_after(&out, 2, |options| train(&experiment, options).unwrap());
    fs::write(&data, lines[1..].join("\n")).unwrap();
    let error = resume(&out, &TrainOptions::default(), |_| ()).unwrap_err();
    assert!(
        error.to_string().contains("data.jsonl is not the file"),
        "{error}"
    );
    fs::write(&data, lines.join("\n")).unwrap();
    resume(&out, &TrainOptions::default(), |_| ()).unwrap();
}
