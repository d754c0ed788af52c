//! Every rule finds the fault that it is about in a run that is healthy otherwise, at its steps, and
//! finds nothing just below its threshold.

mod healthy;
mod plants;

use std::collections::BTreeSet;

use longhand_doctor::Severity::{Fault, Note, Warning};
use longhand_doctor::{Examination, RULES, examine};
use serde_json::{Value, json};

use crate::healthy::{LAST, Lines, MIDDLE, N_STEPS, healthy, noise};
use crate::plants::{Expected, PLANTS, ramp};

fn check(plant: impl FnOnce(&mut Lines), expected: &[Expected]) -> Examination {
    let mut lines = healthy();
    plant(&mut lines);
    let examination = Examination::of(&lines.metrics, &lines.timings);
    let found: Vec<Expected> = examination
        .findings
        .iter()
        .map(|finding| {
            let steps = finding.steps;
            (finding.rule, finding.severity, steps.first, steps.last)
        })
        .collect();
    assert_eq!(found, expected, "{:#?}", examination.findings);
    examination
}

#[test]
fn a_healthy_run_gives_no_finding_and_leaves_no_rule_out() {
    let examination = check(|_| (), &[]);
    assert_eq!(examination.not_judged, []);
    assert!(!examination.has_fault());
}

#[test]
fn every_rule_finds_what_is_planted_and_nothing_below_its_threshold() {
    for one in PLANTS {
        check(|lines| (one.plant)(lines, one.above), &[one.expected]);
        check(|lines| (one.plant)(lines, one.below), &[]);
    }
}

#[test]
fn every_rule_has_a_plant() {
    let planted: BTreeSet<&str> = PLANTS.iter().map(|one| one.expected.0).collect();
    let rules: BTreeSet<&str> = RULES.iter().map(|rule| rule.name).collect();
    assert_eq!(planted, rules);
}

#[test]
fn loud_is_told_from_louder() {
    check(
        |lines| {
            lines.set("reward", 150..170, 0.8);
            lines.set("reward", 170..N_STEPS, 0.39);
        },
        &[("reward-fall", Fault, 159, LAST)],
    );
    check(
        |lines| lines.set("approx_kl", [80], 1.01),
        &[("update-kl", Fault, 80, 80)],
    );
    check(
        |lines| lines.set("ref_kl", [80], 10.1),
        &[("reference-kl", Fault, 80, 80)],
    );
    check(
        |lines| lines.set("n_truncated_documents", 0..N_STEPS, 49),
        &[("cut-documents", Warning, 0, LAST)],
    );
    check(
        |lines| lines.set("seconds", 80..84, 6.0),
        &[("slow-steps", Warning, 80, 83)],
    );
    check(
        |lines| {
            lines.map("memory_tokens", 0..N_STEPS, |step, _| ramp(step, 40.0, 2.0));
            lines.metrics.retain(|line| line["stage"] == "rl");
        },
        &[("length-growth", Note, 0, LAST)],
    );
}

#[test]
fn dead_groups_are_told_apart_by_their_reward() {
    for (reward, rule, severity) in [
        (0.049, "dead-groups-all-wrong", Fault),
        (0.051, "dead-groups", Warning),
        (0.949, "dead-groups", Warning),
        (0.951, "dead-groups-all-right", Note),
    ] {
        check(
            |lines| {
                lines.set("live_groups", 180..195, 0.0);
                lines.set("reward", 0..N_STEPS, reward);
            },
            &[(rule, severity, 180, 194)],
        );
    }
}

#[test]
fn what_looks_like_a_fault_and_is_none() {
    // Entropy that was spent on reward.
    check(|lines| lines.set("entropy", 150..N_STEPS, 0.01), &[]);
    // A task that was solved from the beginning has nothing to explore.
    check(
        |lines| {
            lines.set("reward", 0..N_STEPS, 0.91);
            lines.set("entropy", MIDDLE, 0.01);
        },
        &[],
    );
    // No token is clipped, with several updates.
    check(
        |lines| {
            lines.set("clip_low", 0..N_STEPS, 0.0);
            lines.set("clip_high", 0..N_STEPS, 0.0);
        },
        &[],
    );
    // Longer notes that pay on held-out documents.
    check(
        |lines| lines.map("memory_tokens", 0..N_STEPS, |step, _| ramp(step, 40.0, 3.0)),
        &[],
    );
    // Longer notes that have nothing to do with the reward.
    check(
        |lines| {
            lines.map("memory_tokens", 0..N_STEPS, |step, _| ramp(step, 40.0, 3.0));
            lines.map("reward", 0..N_STEPS, |step, _| {
                json!(0.5 + 0.1 * noise(step, 0.1))
            });
            lines.held_out(|_| 0.5);
        },
        &[],
    );
    // Memory that goes up and down.
    check(
        |lines| {
            lines.map("resident_bytes", 0..N_STEPS, |step, bytes| {
                let high = if step % 3 == 0 { 1.5 } else { 1.0 };
                json!(bytes * high * (1.0 + 0.04 * step as f64 / 100.0))
            });
        },
        &[],
    );
    // The first steps compile kernels.
    check(|lines| lines.set("seconds", 0..3, 60.0), &[]);
    // A gradient after steps of dead groups.
    check(
        |lines| lines.set("grad_norm", (0..N_STEPS).step_by(2), 0.0),
        &[],
    );
}

#[test]
fn a_dead_judge_is_told_by_its_reasons() {
    let examination = check(
        |lines| {
            lines.set("n_masked_attempts", 198..N_STEPS, 60);
            lines.set("n_judge_timeouts", [198], 60);
            lines.set("n_judge_failures", [199], 60);
        },
        &[("reward-failures", Fault, 198, LAST)],
    );
    assert!(examination.has_fault());
    assert_eq!(
        examination.findings[0].evidence,
        "120 of 19200 attempts have no reward (0.625 %, at most 12.5 % over 10 steps), 60 timeouts of the \
         judge, 60 deaths of the judge"
    );
}

#[test]
fn the_worst_come_first() {
    check(
        |lines| {
            lines.set("seconds", [20], 9.0);
            lines.set("clip_low", MIDDLE, 0.5);
            lines.set("lr", 100..105, 0.0);
        },
        &[
            ("learning-rate-zero", Fault, 100, 104),
            ("clipped-share", Warning, 80, 94),
            ("slow-steps", Note, 20, 20),
        ],
    );
}

#[test]
fn a_short_run_says_what_was_not_judged() {
    let mut lines = healthy();
    let short = |lines: &mut Vec<Value>| lines.retain(|line| line["step"].as_u64() < Some(12));
    short(&mut lines.metrics);
    short(&mut lines.timings);
    let examination = Examination::of(&lines.metrics, &lines.timings);
    assert_eq!(examination.findings, []);
    let found: Vec<(&str, &str)> = examination
        .not_judged
        .iter()
        .map(|not| (not.rule, not.why.as_str()))
        .collect();
    let twenty = "needs 20 steps, there are 12";
    assert_eq!(
        found,
        [
            ("entropy-collapse", twenty),
            ("entropy-growth", twenty),
            ("reward-fall", twenty),
            ("overfit", twenty),
            ("length-growth", twenty),
            ("length-collapse", twenty),
            ("memory-growth", "needs 150 steps, there are 12"),
            ("slow-steps", "needs 13 steps, there are 12"),
        ]
    );
}

#[test]
fn an_absent_key_silences_its_rule_and_no_other() {
    let mut lines = healthy();
    lines.set("lr", MIDDLE, 0.0);
    lines.remove("ref_kl");
    lines.remove("resident_bytes");
    let examination = Examination::of(&lines.metrics, &lines.timings);
    let rules: Vec<&str> = examination.findings.iter().map(|f| f.rule).collect();
    assert_eq!(rules, ["learning-rate-zero"]);
    let silent: Vec<&str> = examination.not_judged.iter().map(|not| not.rule).collect();
    assert_eq!(silent, ["reference-kl", "memory-growth"]);
    assert_eq!(examination.not_judged[0].why, "the run records no ref_kl");
}

#[test]
fn times_inside_the_metrics_are_found_as_well() {
    let mut lines = healthy();
    lines.set("seconds", [80], 9.0);
    let timings = std::mem::take(&mut lines.timings);
    for line in lines
        .metrics
        .iter_mut()
        .filter(|line| line["stage"] == "rl")
    {
        let step = line["step"].as_u64().expect("a step") as usize;
        line["seconds"] = timings[step]["seconds"].clone();
    }
    let rules: Vec<&str> = examine(&lines.metrics, &[])
        .iter()
        .map(|f| f.rule)
        .collect();
    assert_eq!(rules, ["slow-steps"]);
}

#[test]
fn nothing_at_all_is_no_finding() {
    let examination = Examination::of(&[], &[]);
    assert_eq!(examination.findings, []);
    assert_eq!(examination.not_judged.len(), RULES.len());
    let odd = [json!(null), json!([1]), json!({"stage": "rl", "step": -1})];
    assert_eq!(Examination::of(&odd, &odd), examination);
}

#[test]
fn a_finding_as_json() {
    let mut lines = healthy();
    lines.set("lr", MIDDLE, 0.0);
    let findings = serde_json::to_value(examine(&lines.metrics, &lines.timings)).expect("JSON");
    assert_eq!(findings[0]["rule"], "learning-rate-zero");
    assert_eq!(findings[0]["severity"], "fault");
    assert_eq!(findings[0]["steps"], json!({"first": 80, "last": 94}));
}
