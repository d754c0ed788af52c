//! `longhand export`, of runs that trained weights and of runs that trained an adapter.

use std::fs;

use serde_json::Value;

use crate::fixture::{Place, smoke};

fn scores(place: &Place, model: &str) -> Vec<f64> {
    let line = r#"{"prompt_ids": [7, 8, 9], "completion_ids": [10, 11, 12, 13]}"#;
    let value = place.call(&["logprobs", model], line).json();
    let list = value["logprobs"].as_array().expect("log-probabilities");
    list.iter().map(|lp| lp.as_f64().unwrap()).collect()
}

fn apart(left: &[f64], right: &[f64]) -> f64 {
    let pairs = left.iter().zip(right);
    pairs.fold(0.0, |most: f64, (l, r)| most.max((l - r).abs()))
}

#[test]
fn a_run_becomes_a_model_that_says_the_same() {
    let place = Place::with_run();
    let out = place.longhand("export run model").succeeds();
    assert!(out.contains("qwen3") && out.contains("f32"), "{out}");
    let before = scores(&place, "run/checkpoints/final");
    assert_eq!(scores(&place, "model"), before);
    place.longhand("export model rounded --bf16").succeeds();
    let rounded = apart(&scores(&place, "rounded"), &before);
    assert!(0.0 < rounded && rounded < 0.1, "{rounded}");
    let size = |model: &str| fs::metadata(place.path(model).join("model.safetensors")).unwrap();
    assert!(size("rounded").len() < size("model").len() * 6 / 10);

    place
        .longhand("export run model")
        .fails(2, &["model is not an empty folder"]);
    place
        .longhand("export run other --merge")
        .fails(2, &["no adapter to merge"]);
    place.longhand("export absent other").fails(2, &["absent"]);
    assert!(!place.path("other").exists(), "what failed leaves nothing");
}

#[test]
fn an_adapter_is_exported_alone_or_merged() {
    let place = Place::new();
    let config = smoke("lora");
    let base = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../configs/quickstart-policy"
    );
    let path = format!("policy.path=\"{base}\"");
    place
        .call(
            &["train", &config, "--out", "run", "--quiet", "--set", &path],
            "",
        )
        .succeeds();
    let checkpoint = place.path("run/checkpoints/final");
    assert!(!checkpoint.join("model.safetensors").exists());
    let trained = scores(&place, "run/checkpoints/final");

    place.longhand("export run adapter").succeeds();
    let text = fs::read_to_string(place.path("adapter/adapter_config.json")).unwrap();
    let settings: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(settings["peft_type"], "LORA");
    let base = settings["base_model_name_or_path"].as_str().unwrap();
    assert!(base.ends_with("quickstart-policy"), "{base}");
    assert_eq!(scores(&place, "adapter"), trained);

    place.longhand("export run merged --merge").succeeds();
    assert!(apart(&scores(&place, "merged"), &trained) < 1e-4);
    assert!(
        1e-3 < apart(&scores(&place, base), &trained),
        "it has learned"
    );
    place
        .longhand("export run other --bf16")
        .fails(2, &["go with --merge"]);
}
