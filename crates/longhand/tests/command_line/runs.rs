//! What can be asked of a run: inspect, doctor, report, replay, config.

use std::fs;

use serde_json::Value;

use crate::fixture::{Place, smoke};

#[test]
fn a_run_is_looked_at_from_its_steps_down_to_its_turns() {
    let place = Place::with_run();
    let steps = place.longhand("inspect run").succeeds();
    assert!(
        steps.contains("reward") && steps.contains("stop reasons"),
        "{steps}"
    );
    let attempts = place.longhand("inspect run --step 0 --json").succeeds();
    let first: Value = serde_json::from_str(attempts.lines().next().unwrap()).unwrap();
    assert_eq!(attempts.lines().count(), 16);
    assert_eq!(
        first["policy_version"], 40,
        "one update each step of the warm start"
    );
    let problem = first["problem_id"].as_str().unwrap();
    let turns = place
        .longhand(&format!(
            "inspect run --step 0 --problem {problem} --attempt 0 --color always"
        ))
        .succeeds();
    assert!(turns.contains("\u{1b}["), "no colour in {turns}");
    assert!(
        turns.contains(first["question"].as_str().unwrap()),
        "{turns}"
    );
    place.longhand("inspect run --step 7").fails(1, &["step 7"]);
}

#[test]
fn a_run_is_examined() {
    let place = Place::with_run();
    let call = place.longhand("doctor run --json");
    assert!(call.code < 2, "{call:?}");
    let found: Value = serde_json::from_str(&call.out).unwrap();
    assert!(found["findings"].is_array() && !found["not_judged"].as_array().unwrap().is_empty());
    let rules = place.longhand("doctor --rules").succeeds();
    for rule in ["entropy-collapse", "memory-growth", "dead-groups"] {
        assert!(rules.contains(rule), "no {rule} in {rules}");
    }
    // A planted fault: what is sampled and what is trained are no longer the same.
    let metrics = place.path("run/metrics.jsonl");
    let text = fs::read_to_string(&metrics).unwrap();
    let text = text.replace(
        "\"max_logprob_difference\":0.0",
        "\"max_logprob_difference\":0.5",
    );
    fs::write(metrics, text).unwrap();
    let call = place.longhand("doctor run");
    assert_eq!(call.code, 1, "{call:?}");
    assert!(call.out.contains("logprob"), "{}", call.out);
}

#[test]
fn a_report_is_one_file_that_needs_nothing_else() {
    let place = Place::with_run();
    let out = place.longhand("report run --against run").succeeds();
    assert!(out.contains("run/report.html"), "{out}");
    let page = fs::read_to_string(place.path("run/report.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("smoke-tamtrl"));
    for outside in ["http://", "https://", " src=", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn a_rollout_is_replayed_and_every_wish_that_cannot_be_met_is_refused() {
    let place = Place::with_run();
    let out = place
        .longhand("replay run --step 0 --problem 2 --attempt 3")
        .succeeds();
    assert!(out.contains("The same to the bit"), "{out}");
    let json = place
        .longhand("replay run --step 0 --problem 1 --json")
        .json();
    assert_eq!(json["same"], true);
    assert_eq!(
        json["stored"]["weights_digest"],
        json["again"]["weights_digest"]
    );
    place
        .longhand("replay run")
        .fails(2, &["--step and --problem"]);
    place
        .longhand("replay run --step 5 --problem 0")
        .fails(1, &["there are steps 0 to 0"]);
    place
        .longhand("replay nowhere --step 0 --problem 0")
        .fails(1, &["nowhere"]);
}

#[test]
fn experiment_files_are_listed_shown_copied_and_compared() {
    let place = Place::new();
    let list = place.longhand("config list").succeeds();
    for name in ["quickstart", "paper-tamtrl", "smoke-memagent"] {
        assert!(list.contains(name), "no {name} in {list}");
    }
    place
        .longhand("config copy quickstart mine.toml")
        .succeeds();
    place
        .longhand("config copy quickstart mine.toml")
        .fails(2, &["mine.toml is there already"]);
    let shown = place.longhand("config show mine.toml").succeeds();
    assert_eq!(shown, fs::read_to_string(place.path("mine.toml")).unwrap());
    let text = shown.replace("group_size = 8", "group_size = 4");
    place.write("mine.toml", text);
    let diff = place
        .longhand("config diff quickstart mine.toml --json")
        .json();
    assert_eq!(diff["differences"].as_array().unwrap().len(), 1, "{diff}");
    assert_eq!(diff["differences"][0]["key"], "stage.0.group_size");
    let schema = place.longhand("config schema").json();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    place.longhand("config show nothing").fails(2, &["nothing"]);
}

#[test]
fn a_finished_run_has_nothing_left_and_a_resume_takes_nothing_else() {
    let place = Place::with_run();
    let out = place.longhand("train --resume run").succeeds();
    assert!(out.contains("nothing is left to do"), "{out}");
    let config = smoke("tamtrl");
    for wrong in [
        format!("train {config} --resume run"),
        "train --resume run --set seed=1".into(),
        "train --resume run --out other".into(),
        "train".into(),
    ] {
        place.longhand(&wrong).fails(2, &["Usage"]);
    }
    place.longhand("train --resume gone").fails(1, &["gone"]);
}
