//! Other seeds, sizes and moments: stopped and resumed runs, and settings that may change nothing.

use std::{collections::BTreeMap, fs, path::Path, thread, time::Instant};

use longhand_run::RunDir;

use crate::{
    chance::Chance,
    fixture::{Place, assert_same_end, assert_whole, files},
};

/// A run with `sets` is stopped by SIGTERM at random moments, and ends as if it had not been.
fn check_stops(seed: u64, sets: &[&str]) {
    let place = Place::new();
    let mut chance = Chance::of(seed);
    let start = Instant::now();
    let whole = place.whole(sets);
    let third = start.elapsed().as_millis() as u64 / 3;
    let run = place.path("stopped");
    let mut running = place.train(&run, sets);
    assert!(running.until("config.toml", || run.join("config.toml").is_file()));
    let mut n_stops = 0;
    for _ in 0..4 {
        thread::sleep(chance.delay(third));
        if running.is_over() {
            break;
        }
        running.signal("TERM");
        let call = running.wait();
        assert_whole(&run);
        match call.code {
            // Its last step was done already; the next resume has nothing left to do.
            Some(0) => {}
            // Before it listens, the signal ends it as any program.
            None => n_stops += 1,
            Some(143) => n_stops += 1,
            Some(_) => panic!("{call:?}"),
        }
        running = place.resume(&run);
    }
    println!("{n_stops} stops with {sets:?}");
    assert!(1 <= n_stops);
    running.wait().succeeds();
    assert_same_end(&whole, &run);
}

#[test]
fn runs_of_all_sizes_end_as_if_they_had_not_been_stopped() {
    check_stops(
        1,
        &[
            "seed=1",
            "stage.1.group_size=2",
            "stage.1.mini_batches=1",
            "compute.threads=1",
        ],
    );
    check_stops(
        2,
        &[
            "seed=2",
            "stage.1.group_size=5",
            "stage.1.mini_batches=2",
            "stage.1.generation_batch=3",
            "stage.1.optimizer={ lr = 3e-3, schedule = \"cosine\", warmup_steps = 2, weight_decay = 0.1 }",
            "compute.threads=2",
        ],
    );
    check_stops(
        3,
        &[
            "seed=3",
            "stage.1.problems_per_step=6",
            "stage.1.mini_batches=6",
            "stage.1.micro_batch_tokens=80",
            "stage.2.credit={ kind = \"tamtrl\" }",
            "stage.2.dynamic_sampling={ max_generation_batches = 3 }",
            "stage.2.optimizer={ lr = 1e-2, max_grad_norm = 0.1, beta2 = 0.99 }",
            "checkpoint.every=2",
            "eval.every=1",
            "eval.sampled_temperature=1.0",
        ],
    );
    check_stops(
        4,
        &[
            "seed=4",
            "stage.1.steps=1",
            "stage.2.steps=1",
            "stage.1.objective.policy_loss=\"ppo-clip\"",
            "stage.1.group_size=8",
            "checkpoint.every=1000",
            "eval.every=1000",
        ],
    );
}

/// The computed files that may not differ: configuration files say what is set, and states digest them.
fn computed(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = files(run);
    all.retain(|name, _| {
        name == "metrics.jsonl"
            || name.starts_with("transcripts/")
            || name.ends_with(".safetensors")
    });
    all
}

#[test]
fn threads_and_batches_of_generation_change_nothing() {
    let place = Place::new();
    let run_with = |name: &str, sets: &[&str]| {
        let out = place.path(name);
        place.train(&out, sets).wait().succeeds();
        computed(&out)
    };
    let one = run_with("one", &["compute.threads=1"]);
    assert!(one.contains_key("checkpoints/final/model.safetensors"));
    assert!(12 < one.len(), "{:?}", one.keys());
    for (name, sets) in [
        ("two", ["compute.threads=2", "stage.1.generation_batch=64"]),
        (
            "narrow",
            ["compute.threads=1", "stage.1.generation_batch=3"],
        ),
        (
            "narrow-two",
            ["compute.threads=2", "stage.2.generation_batch=3"],
        ),
    ] {
        let other = run_with(name, &sets);
        for (file, bytes) in &one {
            assert!(
                other.get(file) == Some(bytes),
                "{file} differs with {sets:?}"
            );
        }
    }
}

#[test]
fn the_size_of_micro_batches_changes_no_more_than_rounding() {
    let place = Place::new();
    let first_step = |tokens: &str| {
        let out = place.path(&format!("run-{tokens}"));
        let setting = format!("stage.1.micro_batch_tokens={tokens}");
        let sets = [setting.as_str(), "stage.1.mini_batches=1"];
        place.train(&out, &sets).wait().succeeds();
        let metrics = RunDir::open(&out).unwrap().read_metrics().unwrap();
        let line = metrics
            .into_iter()
            .find(|line| line["stage"] == "rl")
            .unwrap();
        let first_rollouts = fs::read(out.join("transcripts/rl-000000.jsonl.zst")).unwrap();
        (line, first_rollouts)
    };
    let (one, rollouts) = first_step("16384");
    let (many, same_rollouts) = first_step("40");
    assert!(rollouts == same_rollouts);
    assert_ne!(
        one["grad_norm"], many["grad_norm"],
        "sums in another order round differently"
    );
    for key in ["grad_norm", "loss", "entropy", "approx_kl"] {
        let value = |line: &serde_json::Value| line[key].as_f64().unwrap();
        let (one, many) = (value(&one), value(&many));
        assert!(
            (one - many).abs() <= 1e-5 * one.abs().max(1e-3),
            "{key}: {one} and {many}"
        );
    }
}
