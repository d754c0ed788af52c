//! Rewards from a program: a failure is counted and left out, and never a 0.
#![cfg(unix)]

use std::path::Path;

use longhand_config::JudgeSettings;
use longhand_run::RunDir;
use longhand_trainer::{TrainError, TrainOptions, Workbench, train};

use crate::fixture::{Trial, experiment, taught};

/// A judge as a line of shell that sees each request as `$line`, its number as `$id` and how many came
/// before it as `$n`.
fn shell(body: &str) -> Vec<String> {
    let script = format!(
        r#"n=0; while read -r line; do id=${{line#*:}}; id=${{id%%,*}}; {body}; n=$((n+1)); done"#
    );
    ["sh", "-c", &script].map(String::from).to_vec()
}

const GOOD: &str = r#"echo "{\"id\": $id, \"reward\": 0.$((n % 4))}""#;

fn settings(command: Vec<String>) -> JudgeSettings {
    JudgeSettings {
        command,
        timeout_seconds: 20.0,
        processes: 1,
        retries: 0,
        max_failed_share: 0.7,
    }
}

fn judged(command: Vec<String>) -> Trial {
    let mut trial = taught("memagent", &[]);
    trial.rl.dynamic_sampling = None;
    trial.rl.overlong = None;
    let Trial {
        experiment, policy, ..
    } = &trial;
    let bench = Workbench::new(experiment, policy).unwrap();
    trial.bench = bench.with_judge(&settings(command)).unwrap();
    trial
}

#[test]
fn the_judges_numbers_are_the_rewards() {
    let trial = judged(shell(GOOD));
    let (output, _) = trial.first_step(&trial.rl);
    let outcomes: Vec<f64> = output
        .scored
        .iter()
        .flat_map(|scored| scored.outcomes.clone())
        .collect();
    let expected: Vec<f64> = (0..outcomes.len()).map(|n| (n % 4) as f64 / 10.0).collect();
    assert_eq!(outcomes, expected);
    assert_eq!(output.report.n_masked_attempts, 0);
}

#[test]
fn attempts_without_a_reward_are_counted_and_no_baseline_sees_them() {
    // Every third has none; the first group has none at all.
    let body = format!(
        r#"if [ $n -lt 4 ] || [ $((n % 3)) = 0 ]; then echo "{{\"id\": $id, \"error\": \"busy\"}}"; else {GOOD}; fi"#
    );
    let trial = judged(shell(&body));
    let group_size = trial.rl.group_size;
    let (output, _) = trial.first_step(&trial.rl);
    let report = &output.report;
    let n = report.n_attempts;
    let failed = (0..n).filter(|n| *n < 4 || n % 3 == 0).count();
    assert_eq!(
        (report.n_masked_attempts, report.n_judge_failures),
        (failed, failed)
    );
    assert_eq!(
        (report.n_judge_timeouts, report.n_judge_bad_replies),
        (0, 0)
    );
    let expected = |keep: fn(usize) -> bool| (0..n).filter(move |n| keep(*n));
    let kept = expected(|n| 4 <= n && n % 3 != 0);
    let rewards: Vec<f64> = kept.map(|n| (n % 4) as f64 / 10.0).collect();
    let mean = rewards.iter().sum::<f64>() / rewards.len() as f64;
    assert!((report.reward - mean).abs() < 1e-12, "{report:?}");
    assert_eq!(report.n_dropped_error_groups, 4 / group_size);
    for scored in &output.scored {
        assert_eq!(scored.attempts.len() + scored.failed.len(), group_size);
        let numbers = scored
            .attempts
            .iter()
            .chain(scored.failed.iter().map(|f| &f.attempt));
        let mut numbers: Vec<u32> = numbers.copied().collect();
        numbers.sort_unstable();
        assert!(numbers.iter().copied().eq(0..group_size as u32));
        assert!(
            scored
                .failed
                .iter()
                .all(|failed| failed.failure.record.contains("busy"))
        );
    }
    // Advantages are centred over the attempts that have a reward.
    for (scored, credits) in output.scored.iter().zip(&output.credited.turns) {
        assert_eq!(credits.len(), scored.attempts.len());
        let sum: f64 = credits
            .iter()
            .map(|turns| turns[0].advantage.unwrap())
            .sum();
        assert!(sum.abs() < 1e-9, "{sum}");
    }
}

#[test]
fn a_dead_judge_stops_the_run_and_says_why() {
    let dead = |command: Vec<String>, timeout_seconds| {
        let mut trial = judged(shell(GOOD));
        let settings = JudgeSettings {
            timeout_seconds,
            ..settings(command)
        };
        let bench = Workbench::new(&trial.experiment, &trial.policy).unwrap();
        trial.bench = bench.with_judge(&settings).unwrap();
        let mut policy = trial.policy.clone();
        let mut learner = trial.learner(&trial.rl);
        let error = learner.step(&mut policy, 0).expect_err("no reward at all");
        let rollouts = learner.take_rollouts_of_failed_step().unwrap();
        assert!(rollouts.kept.is_empty() && !rollouts.left_out.is_empty());
        assert!(matches!(error, TrainError::RewardsFailed { .. }), "{error}");
        error.to_string()
    };
    let message = dead(shell("echo $line >&2; exit 3"), 20.0);
    assert!(
        message.contains("12 of 12 attempts have no reward (judge-failure: 12)"),
        "{message}"
    );
    let message = dead(shell("echo nonsense"), 20.0);
    assert!(message.contains("judge-bad-reply: 12"), "{message}");
    let message = dead(shell("sleep 60"), 0.05);
    assert!(message.contains("judge-timeout: 12"), "{message}");
}

#[test]
fn a_dead_judge_leaves_the_rollouts_and_the_run_can_be_resumed() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("run");
    let flag = root.path().join("alive");
    let body = format!("if [ -e {} ]; then {GOOD}; else exit 1; fi", flag.display());
    let quoted: Vec<String> = shell(&body)
        .iter()
        .map(|part| format!("{part:?}"))
        .collect();
    let judge = format!(
        "reward.judge={{ command = [{}], retries = 0 }}",
        quoted.join(", ")
    );
    let experiment = experiment(
        "memagent",
        &[&judge, "stage.0.steps=1", "eval.n_documents=2"],
    );
    std::fs::write(&flag, "").unwrap();
    let kill = {
        let (flag, metrics) = (flag.clone(), out.join("metrics.jsonl"));
        std::thread::spawn(move || {
            let is_measured = |path: &Path| {
                std::fs::read_to_string(path).is_ok_and(|text| text.contains("\"before\""))
            };
            while !is_measured(&metrics) {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            std::fs::remove_file(flag).unwrap();
        })
    };
    let options = TrainOptions {
        out: Some(out.clone()),
        ..TrainOptions::default()
    };
    let ended = train(&experiment, &options);
    kill.join().unwrap();
    // It may have died before a step or in the last measurement.
    let error = ended.expect_err("the judge died").to_string();
    assert!(error.contains("judge-failure"), "{error}");
    let run = RunDir::open(&out).unwrap();
    for file in run.transcript_files().unwrap() {
        for record in run.read_transcripts("rl", file.step).unwrap() {
            assert_eq!(record.outcome.is_some(), record.reward_error.is_none());
        }
    }
    std::fs::write(&flag, "").unwrap();
    longhand_trainer::resume(&out, &TrainOptions::default(), |_| ()).unwrap();
}
