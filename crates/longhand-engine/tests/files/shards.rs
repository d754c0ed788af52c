//! Models in several files.

use std::{collections::BTreeSet, fs};

use longhand_engine::{
    Family, Numbers, SaveOptions, Weights, load_weights, parameters, save_weights,
};
use safetensors::SafeTensors;
use serde_json::Value;

use crate::fixture::{FAMILIES, Saved, config, contents};

const INDEX: &str = "model.safetensors.index.json";

fn at_most(max_file_bytes: u64) -> SaveOptions {
    SaveOptions {
        numbers: Numbers::F32,
        max_file_bytes: Some(max_file_bytes),
    }
}

/// The list as it is written by `json.dumps(..., indent=2, sort_keys=True) + "\n"`: a letter for the file
/// of each tensor, sorted by name.
fn index(names: &BTreeSet<String>, files: &str, n_files: u8, n_parameters: usize) -> String {
    let entries = names.iter().zip(files.bytes()).map(|(name, letter)| {
        let file_idx = letter - b'a' + 1;
        format!("    \"{name}\": \"model-{file_idx:05}-of-{n_files:05}.safetensors\"")
    });
    let entries: Vec<String> = entries.collect();
    format!(
        "{{\n  \"metadata\": {{\n    \"total_parameters\": {n_parameters},\n    \"total_size\": {}\n  \
         }},\n  \"weight_map\": {{\n{}\n  }}\n}}\n",
        4 * n_parameters,
        entries.join(",\n")
    )
}

#[test]
fn files_are_cut_and_listed_as_elsewhere() {
    // transformers 5.23: AutoModelForCausalLM.from_config(Qwen3Config(vocab_size=31, hidden_size=12,
    // intermediate_size=20, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=6,
    // tie_word_embeddings=False)).save_pretrained(folder, max_shard_size="4KB"), and so on.
    for (family, tie, max_bytes, n_files, n_parameters, files) in [
        (
            Family::Qwen3,
            false,
            4000,
            5,
            3996,
            "eaccbbcbabbaaeeddedcddcce",
        ),
        (
            Family::Qwen3,
            false,
            1000,
            17,
            3996,
            "pajhfgjecdebeqomnqljklilq",
        ),
        (
            Family::Qwen2,
            true,
            4000,
            5,
            3696,
            "accbbcaabaaaaeeddeccdcccce",
        ),
        (
            Family::Qwen2,
            true,
            1000,
            16,
            3696,
            "ajhfgjccdcbeepomnpjjkjillp",
        ),
        (Family::Llama, false, 4000, 5, 3972, "eaccbbcabaaeeddecdcce"),
        (
            Family::Llama,
            false,
            1000,
            17,
            3972,
            "pajhfgjcdbeqomnqjkilq",
        ),
    ] {
        let saved = Saved::new(config(family, tie), &at_most(max_bytes));
        let names: BTreeSet<String> = saved.named().map(|(name, _)| name).collect();
        assert_eq!(names.len(), files.len());
        let written = fs::read_to_string(saved.path().join(INDEX)).unwrap();
        assert_eq!(written, index(&names, files, n_files, n_parameters));
        let index: Value = serde_json::from_str(&written).unwrap();
        for file_idx in 1..=n_files {
            let file = format!("model-{file_idx:05}-of-{n_files:05}.safetensors");
            let bytes = fs::read(saved.path().join(&file)).unwrap();
            let tensors = SafeTensors::deserialize(&bytes).unwrap();
            let listed = index["weight_map"].as_object().unwrap().iter();
            let listed = listed.filter(|(_, of)| *of == file.as_str());
            let listed: BTreeSet<&str> = listed.map(|(name, _)| name.as_str()).collect();
            assert_eq!(tensors.names().into_iter().collect::<BTreeSet<_>>(), listed);
        }
        assert_eq!(contents(saved.path()).len(), usize::from(n_files) + 1);
    }
}

#[test]
fn a_model_in_several_files_is_the_model_in_one() {
    for family in FAMILIES {
        for tie in [false, true] {
            for numbers in [Numbers::F32, Numbers::Bf16] {
                let whole = SaveOptions {
                    numbers,
                    max_file_bytes: None,
                };
                let cut = SaveOptions {
                    max_file_bytes: Some(2500),
                    ..whole
                };
                let load = |options: &SaveOptions| {
                    let saved = Saved::new(config(family, tie), options);
                    load_weights(saved.path(), &saved.config).unwrap()
                };
                assert_eq!(load(&cut), load(&whole));
            }
        }
    }
    let [one, other] = [(); 2].map(|()| Saved::new(config(Family::Qwen3, true), &at_most(2500)));
    assert_eq!(contents(one.path()), contents(other.path()));
}

#[test]
fn a_limit_that_is_not_reached_makes_one_file() {
    let saved = Saved::new(config(Family::Qwen3, false), &at_most(4 * 3996));
    assert_eq!(contents(saved.path()).len(), 1);
    assert!(saved.single().exists());
}

#[test]
fn what_was_there_before_is_not_read_in_its_place() {
    let saved = Saved::new(config(Family::Llama, true), &SaveOptions::default());
    let mut newer = saved.weights.clone();
    let save = |weights: &Weights, options: &SaveOptions| {
        save_weights(&saved.config, weights, saved.path(), options).unwrap();
        let loaded = load_weights(saved.path(), &saved.config).unwrap();
        assert_eq!(loaded, *weights);
    };
    newer.values_mut()[0][0] += 1.0;
    save(&newer, &at_most(2500));
    newer.values_mut()[0][0] += 1.0;
    save(&newer, &SaveOptions::default());
    // The next reader may look for the list first.
    assert!(!saved.path().join(INDEX).exists());
}

#[test]
fn lists_that_do_not_fit_are_refused() {
    let saved = Saved::new(config(Family::Qwen2, true), &at_most(8000));
    let path = saved.path().join(INDEX);
    let text = fs::read_to_string(&path).unwrap();
    let refused = |from: &str, to: &str, expected: &str| {
        assert!(text.contains(from), "{text}");
        fs::write(&path, text.replace(from, to)).unwrap();
        let message = saved.refusal();
        assert!(message.contains(expected), "{message}");
    };
    refused(
        "model-00002-of-00002",
        "model-00009-of-00002",
        "model-00009-of-00002.safetensors",
    );
    refused(
        "\"model.norm.weight\"",
        "\"model.norm.wait\"",
        "it does not say that `model.norm.weight`",
    );
    refused(
        "\"model.norm.weight\"",
        "\"another\": \"model-00001-of-00002.safetensors\", \"model.norm.weight\"",
        "`another` is not in model-00001-of-00002.safetensors",
    );
    let names = parameters(&saved.config).into_iter().map(|p| p.name);
    assert!(names.into_iter().all(|name| text.contains(&name)));
    for outside in [
        "../elsewhere.safetensors",
        "/etc/passwd",
        "..",
        ".",
        "",
        "sub/model.safetensors",
        "./model.safetensors",
        "model.safetensors/",
    ] {
        refused(
            "model-00001-of-00002.safetensors",
            outside,
            &format!("`{outside}` is no name of a file beside it"),
        );
    }
    for no_index in [
        "",
        "[]",
        "{}",
        "{\"weight_map\": []}",
        "\u{1}",
        "{\"weight_map\": {\"a\": 1}}",
    ] {
        fs::write(&path, no_index).unwrap();
        let message = saved.refusal();
        assert!(
            message.contains("does not fit the files beside it"),
            "{message}"
        );
    }
    fs::write(&path, b"{\"weight_map\": {\"\xff\": \"a\"}}").unwrap();
    assert!(saved.refusal().contains("does not fit"));
    fs::remove_file(&path).unwrap();
    assert!(saved.refusal().contains("model.safetensors"));
}
