//! Numbers that break: planted in the weights, and made by a learning rate.

use std::fs;

use longhand_run::RunDir;
use serde_json::Value;

use crate::fixture::{Place, n_rl_lines, text};

#[test]
fn a_learning_rate_that_breaks_the_weights_is_told_kept_and_shown_again() {
    let place = Place::new();
    let run = place.path("broken");
    let call = place.train(&run, &["stage.1.optimizer.lr=1e30"]).wait();
    call.fails(
        1,
        &[
            "the run stops here",
            "rl step ",
            "when the cause is gone: longhand train --resume",
        ],
    );
    let failures: Vec<_> = fs::read_dir(run.join("failures"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(failures.len(), 1, "{failures:?}");
    let file = &failures[0];
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("rl-") && name.ends_with(".json"), "{name}");
    assert!(call.err.contains(text(file)), "{}", call.err);
    let failure: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let message = failure["message"].as_str().unwrap();
    assert!(call.err.contains(message), "{message} in {}", call.err);
    let found = &failure["found"];
    // Which number: a tensor's, or a token's of an attempt at a problem.
    if let Some(tensor) = found["tensor"].as_str() {
        assert!(
            message.contains(&format!("`{tensor}`, value {}", found["tensor_idx"])),
            "{message}"
        );
    } else {
        let token = &found["token"];
        let place = format!(
            "(problem {} `{}`), attempt {}, turn {}",
            token["problem_idx"],
            token["problem_id"].as_str().unwrap(),
            token["attempt"],
            token["turn"]
        );
        assert!(message.contains(&place.replace("`),", "`,")), "{message}");
    }
    let step = found["step"].as_u64().unwrap();
    assert_eq!(
        n_rl_lines(&run) as u64,
        step,
        "steps before it have their lines"
    );
    let rollouts = RunDir::open(&run)
        .unwrap()
        .read_transcripts("rl", step)
        .unwrap();
    assert!(!rollouts.is_empty());

    let replayed = place
        .longhand(&format!("replay {}", file.display()))
        .succeeds();
    assert!(
        replayed.contains(&format!("Stored: {message}")),
        "{replayed}"
    );
    assert!(
        replayed.contains(&format!("Again:  {message}")),
        "{replayed}"
    );
}

#[test]
fn a_policy_with_a_nan_in_it_is_refused_before_anything_is_made() {
    let place = Place::new();
    let whole = place.whole(&[]);
    let policy = whole.join("checkpoints/final");
    let path = policy.join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let header_len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + header_len]).unwrap();
    let name = "model.layers.0.mlp.down_proj.weight";
    assert_eq!(header[name]["dtype"], "F32", "{header}");
    let start = 8 + header_len + header[name]["data_offsets"][0].as_u64().unwrap() as usize;
    bytes[start + 4 * 17..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, bytes).unwrap();

    let out = place.path("new");
    let source = format!("policy={{ path = \"{}\" }}", policy.display());
    let call = place.train(&out, &[&source]).wait();
    call.fails(1, &[text(&path), name, "17", "NaN"]);
    assert!(!out.exists());
}
