//! What differs from a paper's published settings.

use longhand_config::{Experiment, Shipped};

use crate::{BASE, load};

fn published(name: &str, overrides: &[&str]) -> Experiment {
    let overrides: Vec<String> = overrides.iter().map(|text| text.to_string()).collect();
    Shipped::find(name).unwrap().experiment(&overrides).unwrap()
}

/// `key: here / paper` of every difference.
fn differences(experiment: &Experiment) -> Vec<String> {
    let side = |value: &Option<String>| value.clone().unwrap_or("-".into());
    let found = experiment.paper_differences();
    found
        .iter()
        .map(|d| format!("{}: {} / {}", d.key, side(&d.left), side(&d.right)))
        .collect()
}

#[test]
fn a_papers_own_settings_do_not_differ() {
    for name in [
        "paper-tamtrl",
        "paper-memagent",
        "paper-circa-qwen2.5-3b",
        "paper-gdpo-qwen2.5-1.5b-gsm8k",
        "paper-intuitor-qwen2.5-3b",
        "paper-kl-cov-qwen2.5-7b",
        "paper-stare-o1-qwen2.5-math-7b",
        "paper-ttrl-qwen2.5-math-7b",
    ] {
        let experiment = published(name, &[]);
        let paper = experiment.paper.expect("a paper is named");
        assert_eq!(paper.shipped().name, name);
        assert_eq!(differences(&experiment), [""; 0]);
    }
}

/// Files of one paper are written one by one; here is all that they do not share.
#[test]
fn a_papers_other_models_and_variants_differ_in_what_is_listed() {
    let check = |name: &str, paper: &str, expected: &[&str]| {
        let paper = format!("paper={paper}");
        assert_eq!(differences(&published(name, &[&paper])), expected, "{name}");
    };
    check(
        "paper-circa-qwen2.5-1.5b",
        "circa",
        &["policy: \"Qwen2.5-1.5B\" / \"Qwen2.5-3B\""],
    );
    check(
        "paper-intuitor-qwen2.5-7b",
        "intuitor",
        &[
            "policy: \"Qwen2.5-7B\" / \"Qwen2.5-3B\"",
            "stage.0.group_size: 14 / 7",
            "stage.0.objective.kl.coef: 0.01 / 0.005",
            "stage.0.optimizer.lr: 0.000001 / 0.000003",
        ],
    );
    check(
        "paper-kl-cov-qwen2.5-32b",
        "kl-cov",
        &[
            "policy: \"Qwen2.5-32B\" / \"Qwen2.5-7B\"",
            "stage.0.entropy.rule.fraction: 0.0002 / 0.002",
        ],
    );
    check(
        "paper-clip-cov-qwen2.5-7b",
        "kl-cov",
        &[
            "stage.0.objective.policy_loss.clip_low: 1.0 / 0.2",
            "stage.0.objective.policy_loss.clip_high: 1.0 / 0.2",
            "stage.0.objective.policy_loss.dual_clip: \"none\" / 10.0",
            "stage.0.entropy.rule.kind: \"clip-cov\" / \"kl-cov\"",
            "stage.0.entropy.rule.fraction: 0.0002 / 0.002",
            "stage.0.entropy.rule.coef: - / 1.0",
            "stage.0.entropy.rule.single_update: - / \"refused\"",
            "stage.0.entropy.rule.low: 1.0 / -",
            "stage.0.entropy.rule.high: 5.0 / -",
        ],
    );
    check(
        "paper-stare-c2-qwen2.5-math-7b",
        "stare",
        &["stage.0.entropy.rule.variant: \"c2\" / \"o1\""],
    );
}

#[test]
fn an_experiment_without_a_paper_is_compared_with_none() {
    assert_eq!(differences(&load(BASE, &[]).unwrap()), [""; 0]);
}

#[test]
fn what_says_nothing_about_the_method_is_left_out() {
    let same = [
        "name=mine",
        "description=other",
        "seed=9",
        "eval.seed=9",
        "policy.path=/models/Qwen3-0.6B",
        "task.path=elsewhere.json",
        "task.max_line_bytes=5",
        "stage.0.micro_batch_tokens=99999",
        "stage.0.generation_batch=1",
        "eval.batch=1",
        "eval.every=7",
        "checkpoint={ every = 1, keep_last = 9, best_metric = \"reward\" }",
        "compute={ threads = 1, precision = \"bf16\", activation_checkpointing = true, engine = \"burn\" }",
    ];
    assert_eq!(differences(&published("paper-tamtrl", &same)), [""; 0]);
}

#[test]
fn what_says_something_is_listed_with_both_values() {
    let changed = [
        "policy.path=/models/Qwen3-1.7B",
        "stage.0.group_size=16",
        "stage.0.objective.kl.coef=0",
        "stage.0.objective.importance=token",
        "compute.rollout_weights=int8",
        "reader.max_chunks=4",
        "reward.judge.command=[\"a\"]",
        "task.pool=once",
    ];
    assert_eq!(
        differences(&published("paper-tamtrl", &changed)),
        [
            "policy: \"Qwen3-1.7B\" / \"Qwen3-0.6B\"",
            "task.pool: \"once\" / \"repeat\"",
            "reader.max_chunks: 4 / 8",
            "reward.judge.command: [\"a\"] / -",
            "reward.judge.max_failed_share: 0.5 / -",
            "stage.0.group_size: 16 / 8",
            "stage.0.objective.importance: \"token\" / \"none\"",
            "stage.0.objective.kl.coef: 0.0 / 0.001",
            "compute.rollout_weights: \"int8\" / \"same\"",
        ]
    );
}

#[test]
fn a_warm_start_another_task_and_a_policy_from_scratch_are_one_difference_each() {
    let found = differences(&load(BASE, &["paper=tamtrl"]).unwrap());
    for expected in [
        "policy: \"from scratch\" / \"Qwen3-0.6B\"",
        "task.kind: \"class-notes\" / \"hotpotqa\"",
        "stage.0.kind: \"warm-start\" / -",
        // The RL stage is the second here and the first of the paper.
        "stage.1.problems_per_step: 12 / 32",
    ] {
        assert!(found.contains(&expected.to_string()), "{found:#?}");
    }
    // The group's size is the paper's.
    for prefix in ["policy.", "task.n_", "stage.0.steps", "stage.1.group_size"] {
        assert!(
            !found.iter().any(|line| line.starts_with(prefix)),
            "{found:#?}"
        );
    }
}

#[test]
fn a_second_stage_has_nothing_to_be_compared_with() {
    let (_, rl) = BASE.split_once("optimizer = { lr = 4e-3 }\n").unwrap();
    let two = load(&format!("{BASE}{rl}"), &["paper=tamtrl"]).unwrap();
    let found = differences(&two);
    assert!(
        found.contains(&"stage.2.kind: \"rl\" / -".to_string()),
        "{found:#?}"
    );
    assert!(
        found.contains(&"stage.2.group_size: 8 / -".to_string()),
        "{found:#?}"
    );
    let (warm_start, _) = BASE.split_once("[[stage]]\nkind = \"rl\"").unwrap();
    let found = differences(&load(warm_start, &["paper=tamtrl"]).unwrap());
    assert!(
        found.contains(&"stage.1.kind: - / \"rl\"".to_string()),
        "{found:#?}"
    );
}
