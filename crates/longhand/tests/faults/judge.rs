//! Programs that should give rewards and do not: a missing reward is never a reward of 0.

use std::fs;

use longhand_run::{RunDir, Transcript};
use serde_json::Value;

use crate::fixture::{Call, Place, assert_same_end, n_lines, n_rl_lines};

/// Calls an eventful run whose judge is the shell script `script`.
fn judged(place: &Place, name: &str, script: &str, sets: &[&str]) -> Call {
    let settings = judge(place, name, script);
    let sets = [&[settings.as_str()], sets].concat();
    place.train(&place.path(name), &sets).wait()
}

fn judge(place: &Place, name: &str, script: &str) -> String {
    let path = place.path(&format!("{name}.sh"));
    fs::write(&path, script).unwrap();
    format!(
        "reward={{ checker = \"token-f1\", judge = {{ command = [\"sh\", \"{}\"], timeout_seconds = 0.3, \
         processes = 2, retries = 0, max_failed_share = 0.6 }} }}",
        path.display()
    )
}

/// A shell's loop over requests, with the request's number in `$id`: does `body` for training problems, and
/// answers well in measurements.
fn answering(body: &str) -> String {
    let well = "echo \"{\\\"id\\\": $id, \\\"reward\\\": 1}\"";
    format!(
        "while read -r line; do id=${{line#*:}}; id=${{id%%,*}}; \
         case $line in *class-notes-train-*) {body};; *) {well};; esac; done\n"
    )
}

fn rollouts(place: &Place, name: &str, step: u64) -> Vec<Transcript> {
    RunDir::open(&place.path(name))
        .unwrap()
        .read_transcripts("rl", step)
        .unwrap()
}

#[test]
fn a_dead_judge_stops_the_run_and_is_no_reward() {
    let place = Place::new();
    let check = |name: &str, script: &str, reason: &str, texts: &[&str]| {
        let call = judged(&place, name, script, &[]);
        call.fails(
            1,
            &[
                &["attempts have no reward", reason, "max_failed_share = 0.6"],
                texts,
            ]
            .concat(),
        );
        assert_eq!(n_rl_lines(&place.path(name)), 0, "{name}");
        let metrics = fs::read_to_string(place.path(name).join("metrics.jsonl")).unwrap();
        assert!(!metrics.contains("\"reward\""), "{metrics}");
        let rollouts = rollouts(&place, name, 0);
        assert_eq!(rollouts.len(), 16, "{name}");
        for rollout in rollouts {
            assert_eq!(rollout.outcome, None, "{name}");
            let error = rollout.reward_error.unwrap();
            assert!(error.starts_with(&format!("{reason}: ")), "{name}: {error}");
            assert!(
                rollout
                    .turns
                    .iter()
                    .all(|turn| turn.reward.is_none() && turn.advantage.is_none()),
                "{name}"
            );
        }
    };
    let last_words = "echo 'the key has expired' >&2";
    check(
        "gone",
        &answering(&format!("{last_words}; exit 3")),
        "judge-failure",
        &[
            "judge-failure: 16",
            "16 of 16",
            "exit status: 3",
            "the key has expired",
        ],
    );
    check(
        "asleep",
        &answering(&format!("{last_words}; sleep 100")),
        "judge-timeout",
        &["judge-timeout: 16", "within 300ms", "the key has expired"],
    );
    check(
        "garbage",
        &answering("echo 'reward: 1'"),
        "judge-bad-reply",
        &["judge-bad-reply: 16", "reward: 1"],
    );
}

#[test]
fn a_judge_that_is_dead_from_the_start_stops_the_first_measurement() {
    let place = Place::new();
    let call = judged(&place, "dead", "echo 'no such model' >&2; exit 3\n", &[]);
    call.fails(
        1,
        &[
            "3 of 3 attempts have no reward (judge-failure: 3)",
            "no such model",
        ],
    );
    assert_eq!(
        n_lines(&place.path("dead")),
        5,
        "the warm start, and no measurement"
    );
}

#[test]
fn a_judge_that_fails_now_and_then_is_counted_and_masked() {
    let place = Place::new();
    let script = answering(
        "case $((id % 2)) in 0) echo \"{\\\"id\\\": $id, \\\"reward\\\": 0.$((id % 10))}\";; \
         *) echo \"{\\\"id\\\": $id, \\\"error\\\": \\\"busy\\\"}\";; esac",
    );
    judged(&place, "half", &script, &[]).succeeds();
    let run = RunDir::open(&place.path("half")).unwrap();
    let metrics = run.read_metrics().unwrap();
    let rl: Vec<&Value> = metrics
        .iter()
        .filter(|line| line["stage"] == "rl")
        .collect();
    assert_eq!(rl.len(), 6);
    for line in rl {
        let step = line["step"].as_u64().unwrap();
        let rollouts = rollouts(&place, "half", step);
        let failed: Vec<&Transcript> = rollouts
            .iter()
            .filter(|rollout| rollout.reward_error.is_some())
            .collect();
        assert_eq!(rollouts.len(), 16);
        assert_eq!(failed.len(), 8, "step {step}");
        assert_eq!(
            (
                &line["n_judge_failures"],
                &line["n_masked_attempts"],
                &line["n_judge_timeouts"],
                &line["n_judge_bad_replies"]
            ),
            (&8.into(), &8.into(), &0.into(), &0.into())
        );
        for rollout in failed {
            assert_eq!(rollout.outcome, None);
            assert!(
                rollout.reward_error.as_ref().unwrap().contains("busy"),
                "{rollout:?}"
            );
            assert!(rollout.turns.iter().all(|turn| turn.advantage.is_none()));
        }
        // The mean is over those that have one.
        let outcomes: Vec<f64> = rollouts
            .iter()
            .filter_map(|rollout| rollout.outcome)
            .collect();
        assert_eq!(outcomes.len(), 8);
        let mean = outcomes.iter().sum::<f64>() / 8.0;
        assert!(
            (line["reward"].as_f64().unwrap() - mean).abs() < 1e-9,
            "{} is not {mean}",
            line["reward"]
        );
    }
}

#[test]
fn a_judged_run_goes_on_after_a_stop_as_if_there_had_been_none() {
    let place = Place::new();
    // What fails depends on the answer alone, so that it can be made again.
    let script = answering(
        "case $line in *\\\"answer\\\":\\\"a*) echo \"{\\\"id\\\": $id, \\\"reward\\\": 0.25}\";; \
         *\\\"answer\\\":\\\"w*) echo \"{\\\"id\\\": $id, \\\"reward\\\": 7}\";; \
         *) echo \"{\\\"id\\\": $id, \\\"reward\\\": 1}\";; esac",
    );
    let settings = judge(&place, "healthy", &script);
    let whole = place.whole(&[&settings]);
    let errors: Vec<String> = (2..6)
        .flat_map(|step| rollouts(&place, "whole", step))
        .filter_map(|rollout| rollout.reward_error)
        .collect();
    assert!(
        !errors.is_empty(),
        "later steps have failures to tell alike"
    );
    assert!(
        errors
            .iter()
            .all(|error| error.contains("has the reward 7")),
        "{errors:?}"
    );
    let run = place.path("stopped");
    let mut running = place.train(&run, &[&settings]);
    assert!(running.until("a step of RL", || 2 <= n_rl_lines(&run)));
    running.signal("TERM");
    assert_eq!(running.wait().code, Some(143));
    place.resume(&run).wait().succeeds();
    assert_same_end(&whole, &run);
}
