//! Policies in folders.

use std::fs;

use longhand_policy::{Compute, Engine, Family, Policy};
use serde_json::{Value, json};

use crate::fixture;

#[test]
fn saved_and_loaded_is_the_same_to_the_bit() {
    for family in [Family::Llama, Family::Qwen2, Family::Qwen3] {
        let policy = fixture::policy(family, family == Family::Qwen2, Engine::Auto);
        let folder = tempfile::tempdir().unwrap();
        policy.save(folder.path()).unwrap();
        let loaded = Policy::load(folder.path(), &Compute::default()).unwrap();
        assert_eq!(loaded.config(), policy.config());
        assert_eq!(loaded.named_weights(), policy.named_weights());
        assert_eq!(
            loaded.tokenizer().encode("c a b").unwrap(),
            policy.tokenizer().encode("c a b").unwrap()
        );
        let owned = fixture::owned();
        let contexts = fixture::contexts(&owned);
        assert_eq!(loaded.score(&contexts, 1.0), policy.score(&contexts, 1.0));
    }
}

#[test]
fn projections_are_stored_as_others_expect_them() {
    let policy = fixture::policy(Family::Qwen3, false, Engine::Auto);
    let folder = tempfile::tempdir().unwrap();
    policy.save(folder.path()).unwrap();
    let bytes = fs::read(folder.path().join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let k = file
        .tensor("model.layers.1.self_attn.k_proj.weight")
        .unwrap();
    assert_eq!(k.shape(), [12, 12]);
    assert_eq!(
        file.tensor("model.layers.0.mlp.gate_proj.weight")
            .unwrap()
            .shape(),
        [20, 12]
    );
    let (_, ours) = policy
        .named_weights()
        .into_iter()
        .find(|(name, _)| name.contains("1.self_attn.k_proj"))
        .unwrap();
    let first_row: Vec<f32> = k
        .data()
        .chunks(4)
        .take(12)
        .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
        .collect();
    let first_column: Vec<f32> = ours.iter().step_by(12).copied().collect();
    assert_eq!(first_row, first_column);
}

#[test]
fn broken_folders_are_described() {
    let check = |damage: fn(&std::path::Path), expected: &str| {
        let folder = tempfile::tempdir().unwrap();
        fixture::policy(Family::Qwen3, false, Engine::Auto)
            .save(folder.path())
            .unwrap();
        damage(folder.path());
        let error = Policy::load(folder.path(), &Compute::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    };
    fn edit_config(folder: &std::path::Path, key: &str, value: Value) {
        let path = folder.join("config.json");
        let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        config[key] = value;
        fs::write(path, config.to_string()).unwrap();
    }
    check(|f| fs::remove_dir_all(f).unwrap(), "no policy at");
    check(
        |f| fs::remove_file(f.join("config.json")).unwrap(),
        "cannot access",
    );
    check(
        |f| fs::write(f.join("config.json"), "[1]").unwrap(),
        "not a JSON object",
    );
    check(
        |f| fs::remove_file(f.join("tokenizer.json")).unwrap(),
        "as a tokenizer",
    );
    check(
        |f| fs::write(f.join("model.safetensors"), "x").unwrap(),
        "is not a safetensors file",
    );
    check(
        |f| edit_config(f, "num_hidden_layers", json!(3)),
        "has no tensor `model.layers.2.",
    );
    check(
        |f| edit_config(f, "num_hidden_layers", json!(1)),
        "does not ask for: model.layers.1.",
    );
    check(
        |f| edit_config(f, "intermediate_size", json!(21)),
        "config.json asks for [21, 12]",
    );
    check(
        |f| edit_config(f, "model_type", json!("qwen2")),
        "has no tensor `model.layers.0.self_attn.q_proj.bias`",
    );
    check(
        |f| edit_config(f, "vocab_size", json!(20)),
        "asks for [20, 12]",
    );
}
