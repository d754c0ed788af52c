//! Policies in folders.

use std::{fs, path::Path};

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
    let check = |damage: fn(&Path), expected: &str| {
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
    fn edit_config(folder: &Path, key: &str, value: Value) {
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

/// Cuts a saved model into two files and a list of them.
fn cut_in_two(folder: &Path) {
    let whole = folder.join("model.safetensors");
    let bytes = fs::read(&whole).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut names = file.names();
    names.sort();
    let half = names.len() / 2;
    let mut weight_map = serde_json::Map::new();
    for (part, names) in [&names[..half], &names[half..]].iter().enumerate() {
        let name = format!("model-{:05}-of-00002.safetensors", part + 1);
        let views = names.iter().map(|name| (name, file.tensor(name).unwrap()));
        safetensors::serialize_to_file(views, None, &folder.join(&name)).unwrap();
        for tensor in *names {
            weight_map.insert(tensor.to_string(), json!(name));
        }
    }
    let index = json!({"metadata": {"total_size": 1}, "weight_map": weight_map});
    fs::write(
        folder.join("model.safetensors.index.json"),
        index.to_string(),
    )
    .unwrap();
    fs::remove_file(whole).unwrap();
}

#[test]
fn a_model_in_several_files_is_the_model_in_one() {
    let policy = fixture::policy(Family::Qwen2, true, Engine::Auto);
    let folder = tempfile::tempdir().unwrap();
    policy.save(folder.path()).unwrap();
    cut_in_two(folder.path());
    let loaded = Policy::load(folder.path(), &Compute::default()).unwrap();
    assert_eq!(loaded.named_weights(), policy.named_weights());

    let index = folder.path().join("model.safetensors.index.json");
    let text = fs::read_to_string(&index).unwrap();
    let refusal = |from: &str, to: &str| {
        assert!(text.contains(from), "{text}");
        fs::write(&index, text.replace(from, to)).unwrap();
        let error = Policy::load(folder.path(), &Compute::default()).unwrap_err();
        error.to_string()
    };
    let message = refusal("model-00002-of-00002", "model-00009-of-00002");
    assert!(
        message.contains("model-00009-of-00002.safetensors"),
        "{message}"
    );
    let message = refusal("\"model.norm.weight\"", "\"model.norm.wait\"");
    assert!(
        message.contains("it does not say that `model.norm.weight`"),
        "{message}"
    );
    let message = refusal(
        "model-00001-of-00002.safetensors",
        "../elsewhere.safetensors",
    );
    assert!(
        message.contains("is no name of a file beside it"),
        "{message}"
    );
}

#[test]
fn files_that_were_cut_off_or_lack_what_their_header_says_are_refused() {
    let policy = fixture::policy(Family::Llama, false, Engine::Auto);
    let folder = tempfile::tempdir().unwrap();
    policy.save(folder.path()).unwrap();
    let path = folder.path().join("model.safetensors");
    let whole = fs::read(&path).unwrap();
    let refusal = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let error = Policy::load(folder.path(), &Compute::default()).unwrap_err();
        error.to_string()
    };
    assert!(refusal(&whole[..5]).contains("it has 5 bytes"));
    assert!(refusal(&whole[..whole.len() - 4]).contains("the file has"));
    assert!(refusal(&[&whole[..], &[0; 4]].concat()).contains("it was cut off or added to"));
    let mut absurd = whole;
    absurd[..8].copy_from_slice(&(u64::MAX / 2).to_le_bytes());
    assert!(refusal(&absurd).contains("its header claims 9223372036854775807 bytes"));
}

#[test]
fn a_head_beside_tied_embeddings_and_stored_frequencies_are_passed_over() {
    let policy = fixture::policy(Family::Llama, true, Engine::Auto);
    let folder = tempfile::tempdir().unwrap();
    policy.save(folder.path()).unwrap();
    let path = folder.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut views = file.tensors();
    let embedding = file.tensor("model.embed_tokens.weight").unwrap();
    let norm = file.tensor("model.norm.weight").unwrap();
    views.push(("lm_head.weight".into(), embedding));
    views.push((
        "model.layers.0.self_attn.rotary_emb.inv_freq".into(),
        norm.clone(),
    ));
    safetensors::serialize_to_file(views.clone(), None, &path).unwrap();
    let loaded = Policy::load(folder.path(), &Compute::default()).unwrap();
    assert_eq!(loaded.named_weights(), policy.named_weights());
    views.push(("model.layers.0.adapter".into(), norm));
    safetensors::serialize_to_file(views, None, &path).unwrap();
    let error = Policy::load(folder.path(), &Compute::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("does not ask for: model.layers.0.adapter"),
        "{error}"
    );
}

#[test]
fn stretched_rotations_are_the_same_on_both_engines_and_are_kept_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    fixture::policy(Family::Llama, false, Engine::Auto)
        .save(folder.path())
        .unwrap();
    let path = folder.path().join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let owned = fixture::owned();
    let contexts = fixture::contexts(&owned);
    let load = |engine: Engine| {
        let compute = Compute {
            engine,
            ..Compute::default()
        };
        Policy::load(folder.path(), &compute).unwrap()
    };
    let plain = load(Engine::Auto).score(&contexts, 1.0).logprobs;
    for scaling in [
        json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
               "high_freq_factor": 4.0, "original_max_position_embeddings": 16}),
        json!({"type": "linear", "factor": 2.0}),
    ] {
        config["rope_scaling"] = scaling;
        fs::write(&path, config.to_string()).unwrap();
        let policy = load(Engine::Auto);
        let on_engine = policy.score(&contexts, 1.0).logprobs;
        let on_burn = load(Engine::Burn).score(&contexts, 1.0).logprobs;
        assert!(fixture::max_difference(&on_engine, &on_burn) < 1e-4);
        assert!(1e-3 < fixture::max_difference(&on_engine, &plain));
        let again = tempfile::tempdir().unwrap();
        policy.save(again.path()).unwrap();
        let again = Policy::load(again.path(), &Compute::default()).unwrap();
        assert_eq!(again.config(), policy.config());
    }
}
