//! Every rule finds the fault that it is about in a run that is healthy otherwise, at its steps, and
//! finds nothing just below its threshold.

mod healthy;
mod plants;

use std::collections::BTreeSet;

use longhand_doctor::Severity::{Fault, Note, Warning};
use longhand_doctor::{Examination, RULES, examine};
use serde_json::{Value, json};

use crate::healthy::{LAST, Lines, MIDDLE, N_STEPS, healthy, noise};
use crate::plants::{Expected, PLANTS, ramp, vote};

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
    check(
        |lines| {
            lines.remove("entropy_target");
            lines.set("token_entropy", 150..N_STEPS, 0.01);
        },
        &[],
    );
    // A task that was solved from the beginning has nothing to explore.
    check(
        |lines| {
            lines.set("reward", 0..N_STEPS, 0.91);
            lines.set("token_entropy", MIDDLE, 0.01);
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
    // Votes that agree because the answers are right.
    check(
        |lines| {
            lines.set("cluster_share", 150..N_STEPS, 1.0);
            lines.set("distinct_answers", 150..N_STEPS, 1.0);
        },
        &[],
    );
    // Votes that rise while the truth does not move.
    check(
        |lines| {
            lines.set("reward", 0..N_STEPS, 0.5);
            vote(lines, 0..100, "cluster-vote", 0.5);
            vote(lines, 100..N_STEPS, "cluster-vote", 1.0);
        },
        &[],
    );
    // STARE acts on what was just sampled.
    check(
        |lines| {
            lines.set("abs_log_ratio", 0..N_STEPS, 0.0);
            for line in &mut lines.metrics {
                line["control_weight"] = json!(1.1);
            }
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

fn evidence(examination: &Examination) -> Vec<&str> {
    let findings = examination.findings.iter();
    findings.map(|finding| finding.evidence.as_str()).collect()
}

/// Answers that became one while entropy and length rose.
#[test]
fn a_collapse_of_answers_is_told_by_its_numbers() {
    let examination = check(
        |lines| {
            lines.set("cluster_share", 120..N_STEPS, 1.0);
            lines.set("distinct_answers", 120..N_STEPS, 1.0);
            lines.set("reward", 0..N_STEPS, 0.5);
            lines.set("label_accuracy", 0..10, 0.6);
            lines.set("label_accuracy", 120..N_STEPS, 0.0);
            lines.set("response_tokens", 0..10, 200.0);
            lines.set("response_tokens", 120..N_STEPS, 400.0);
            lines.set("token_entropy", 0..10, 0.4);
            lines.set("token_entropy", 120..N_STEPS, 0.5);
            lines.held_out(|step| if step < 150 { 0.75 } else { 0.0 });
        },
        &[
            ("held-out-collapse", Fault, 0, 200),
            ("answer-collapse", Fault, 120, LAST),
        ],
    );
    assert_eq!(
        evidence(&examination),
        [
            "held-out accuracy at 192 tokens fell from 0.75 at step 0 to 0 at step 150; the end has 0 % of its \
             peak 0.75 (retention)",
            "100 % of a group's answers are one answer, and a group has 1 different ones, over 80 steps in a \
             row; label accuracy is 0 against 0.6 at the start; meanwhile entropy rose from 0.4 to 0.5; \
             meanwhile the length of attempts rose from 200 to 400",
        ]
    );
}

/// Entropy, length and certainty of a run that found a template.
#[test]
fn a_collapse_of_texts_is_told_by_its_numbers() {
    let examination = check(
        |lines| {
            lines.set("reward", 0..N_STEPS, 0.3);
            lines.remove("entropy_target");
            lines.set("token_entropy", 0..10, 2.4);
            lines.set("token_entropy", 10..120, 1.2);
            lines.set("token_entropy", 120..N_STEPS, 0.08);
            lines.set("response_tokens", 0..10, 190.0);
            lines.set("response_tokens", 120..N_STEPS, 100.0);
            lines.set("self_certainty", 0..10, 9.0);
            lines.set("self_certainty", 120..N_STEPS, 14.0);
        },
        &[("entropy-collapse", Fault, 120, LAST)],
    );
    assert_eq!(
        evidence(&examination),
        [
            "entropy 0.08 nats a token against 2.4 in the first 10 steps; reward 0.3 against 0.3; attempts have \
             100 tokens against 190; self-certainty is 14 nats against 9"
        ]
    );
}

#[test]
fn one_opinion_without_any_truth_is_worth_a_note() {
    check(
        |lines| {
            lines.set("cluster_share", MIDDLE, 1.0);
            lines.set("distinct_answers", MIDDLE, 1.0);
            lines.remove("label_accuracy");
            lines.metrics.retain(|line| line["stage"] == "rl");
        },
        &[("answer-collapse", Note, 80, 94)],
    );
}

#[test]
fn the_length_that_kept_least_is_told() {
    let plant = |lines: &mut Lines| {
        lines.set("reward", 0..N_STEPS, 0.5);
        let evals = lines.metrics.iter_mut();
        for line in evals.filter(|line| line["stage"] == "eval") {
            let is_late = 150 <= line["step"].as_u64().expect("a step");
            let one = |tokens: u64, late: f64| {
                let accuracy = if is_late { late } else { 0.8 };
                json!({"target_tokens": tokens, "n_documents": 400, "accuracy": accuracy})
            };
            line["lengths"] = json!([one(100, 0.3), one(200, 0.2), one(400, 0.6)]);
        }
    };
    let examination = check(plant, &[("held-out-collapse", Fault, 0, 200)]);
    let evidence = evidence(&examination)[0];
    assert!(evidence.contains("at 200 tokens"), "{evidence}");
    assert!(evidence.contains("25 % of its peak"), "{evidence}");
}

#[test]
fn a_missed_target_says_what_control_did() {
    let examination = check(
        |lines| {
            lines.set("token_entropy", 50..N_STEPS, 0.1);
            lines.set("entropy_gate", 190..N_STEPS, true);
        },
        &[("entropy-off-target", Warning, 190, LAST)],
    );
    assert_eq!(
        evidence(&examination),
        [
            "entropy 0.1 nats a token in the last 10 steps, 0.1 in the middle of the run, with a target of \
             0.25; the gate is open in 100 % of them; coefficient 0.005"
        ]
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
            (
                "held-out-collapse",
                "needs two measurements on held-out documents of one length",
            ),
            ("vote-against-truth", twenty),
            ("length-growth", twenty),
            ("length-collapse", twenty),
            ("repetition", twenty),
            ("entropy-off-target", "needs 50 steps, there are 12"),
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
