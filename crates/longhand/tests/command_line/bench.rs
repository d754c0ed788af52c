//! `longhand bench`.

use serde_json::Value;

use crate::fixture::{Call, Place};

fn bench(place: &Place, more: &[&str]) -> Call {
    let model = place.path("run/checkpoints/final").display().to_string();
    place.call(
        &[&["bench", &model, "--json", "--steps", "2"], more].concat(),
        "",
    )
}

fn number(report: &Value, key: &str) -> f64 {
    let value = report[key].as_f64();
    value.unwrap_or_else(|| panic!("no number {key} in {report}"))
}

#[test]
fn group_steps_are_timed_and_their_parts_add_up() {
    let place = Place::with_run();
    let sizes = ["--group", "3", "--prompt", "9", "--completion", "4"];
    for more in [&[][..], &["--reference"], &["--rollout-weights", "int8"]] {
        let report = bench(&place, &[&sizes[..], more].concat()).json();
        let steps = report["steps"].as_array().expect("steps");
        assert_eq!(steps.len(), 2, "the first is not counted");
        for step in steps {
            let parts = ["generate_s", "score_s", "train_s"].map(|key| number(step, key));
            assert!((parts.iter().sum::<f64>() - number(step, "step_s")).abs() < 1e-9);
            assert!(0.0 < parts[0] && 0.0 < parts[2], "{step}");
        }
        let seconds: Vec<f64> = steps.iter().map(|step| number(step, "step_s")).collect();
        let median = (seconds[0] + seconds[1]) / 2.0;
        assert!((number(&report, "step_s") - median).abs() < 1e-9);
        for key in [
            "decode_tokens_per_s",
            "train_tokens_per_s",
            "mfu",
            "peak_rss_bytes",
        ] {
            assert!(0.0 < number(&report, key), "{key}");
        }
        assert_eq!(
            (&report["group"], &report["prompt"]),
            (&3.into(), &9.into())
        );
    }
}

#[test]
fn each_phase_fills_its_own_figure_and_no_other() {
    let place = Place::with_run();
    let sizes = ["--batch", "2", "--prompt", "9", "--completion", "4"];
    for phase in ["prefill", "score", "decode", "train"] {
        let report = bench(&place, &[&sizes[..], &["--phases", phase]].concat()).json();
        for other in ["prefill", "score", "decode", "train"] {
            let key = format!("{other}_tokens_per_s");
            assert_eq!(
                report[&key].is_number(),
                other == phase,
                "{phase}: {report}"
            );
        }
        assert!(report["step_s"].is_null());
    }
}

#[test]
fn documents_of_any_length_are_read() {
    let place = Place::with_run();
    let sizes = ["--prompt", "9", "--completion", "2", "--phases", "read"];
    let report = bench(&place, &[&sizes[..], &["--documents", "30,300"]].concat()).json();
    let lengths: Vec<f64> = report["read"]
        .as_array()
        .expect("documents")
        .iter()
        .map(|reading| number(reading, "tokens"))
        .collect();
    assert_eq!(lengths, [30.0, 300.0]);
}

#[test]
fn precision_instructions_and_threads_are_said() {
    let place = Place::with_run();
    let sizes = [
        "--group",
        "2",
        "--prompt",
        "9",
        "--completion",
        "3",
        "--threads",
        "1",
    ];
    for precision in ["f32", "bf16"] {
        let kept = ["--activation-checkpointing", "--precision", precision];
        let more = [&sizes[..], &kept, &["--instructions", "portable"]].concat();
        let report = bench(&place, &more).json();
        assert_eq!(report["precision"], precision);
        assert_eq!(
            (&report["isa"], &report["threads"]),
            (&"portable".into(), &1.into())
        );
    }
}

#[test]
fn sizes_that_make_no_sense_are_refused() {
    let place = Place::with_run();
    let refused = |more: &[&str], text: &str| bench(&place, more).fails(2, &[text]);
    refused(&["--prompt", "100000"], "the model's window holds");
    refused(
        &["--prompt", "9", "--completion", "0"],
        "a step needs --completion of at least 1",
    );
    let one = ["--prompt", "9", "--completion", "1", "--phases", "decode"];
    refused(&one, "decoding needs --completion of at least 2");
    refused(
        &["--instructions", "sse9"],
        "unknown instruction set `sse9`",
    );
    refused(&["--phases", "sleep"], "sleep");
    place
        .call(&["bench", "nowhere"], "")
        .fails(1, &["no policy at nowhere"]);
}
