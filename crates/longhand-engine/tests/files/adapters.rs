//! Adapters in PEFT's layout.

use std::{collections::HashMap, fs, path::Path};

use longhand_engine::{
    Adapter, AdapterConfig, AdapterNote, Family, LoraConfig, ModelConfig, Target, load_adapter,
    read_adapter_config, save_adapter,
};
use proptest::{prelude::*, sample::subsequence};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixture::{FAMILIES, config, contents};

fn lora(rank: usize, targets: &[Target]) -> LoraConfig {
    LoraConfig {
        rank,
        alpha: 16.0,
        dropout: 0.25,
        targets: targets.to_vec(),
    }
}

/// An adapter of which no two numbers are alike.
fn adapter(config: &ModelConfig, lora: LoraConfig) -> Adapter {
    let mut adapter = Adapter::fresh(config, lora, &mut ChaCha8Rng::seed_from_u64(5));
    for values in adapter.weights.values_mut() {
        for (i, value) in values.iter_mut().enumerate() {
            *value += i as f32 / 128.0;
        }
    }
    adapter
}

fn note() -> AdapterNote {
    AdapterNote {
        base_model: "models/one".into(),
        base_digest: Some(7 << 100 | 0xab),
    }
}

fn saved(config: &ModelConfig, adapter: &Adapter) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    save_adapter(config, adapter, &note(), folder.path()).unwrap();
    folder
}

fn refusal(folder: &Path, config: &ModelConfig) -> String {
    load_adapter(folder, config).unwrap_err().to_string()
}

#[test]
fn what_is_written_is_read_to_the_bit() {
    for family in FAMILIES {
        let config = config(family, true);
        for targets in [&Target::ALL[..], &[Target::V, Target::Q], &[Target::Down]] {
            let adapter = adapter(&config, lora(3, targets));
            let folder = saved(&config, &adapter);
            assert_eq!(load_adapter(folder.path(), &config).unwrap(), adapter);
            let file = read_adapter_config(folder.path()).unwrap();
            assert_eq!(file.lora, adapter.config);
            assert_eq!(file.base_model, note().base_model);
            assert_eq!(file.base_digest, note().base_digest);
            let again = saved(&config, &adapter);
            assert_eq!(contents(again.path()), contents(folder.path()));
        }
    }
}

#[test]
fn the_files_are_laid_out_as_pefts() {
    let config = config(Family::Llama, true);
    let adapter = adapter(&config, lora(3, &[Target::Q, Target::Down]));
    let folder = saved(&config, &adapter);
    let bytes = fs::read(folder.path().join("adapter_model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut shapes: Vec<(&str, Vec<usize>)> = file
        .iter()
        .map(|(name, tensor)| (name, tensor.shape().to_vec()))
        .filter(|(name, _)| name.contains("layers.0"))
        .collect();
    shapes.sort();
    // peft 0.21: LoraConfig(r=3, target_modules=["q_proj", "down_proj"]).
    let prefix = "base_model.model.model.layers.0";
    assert_eq!(
        shapes,
        [
            (
                &*format!("{prefix}.mlp.down_proj.lora_A.weight"),
                vec![3, 20]
            ),
            (
                &*format!("{prefix}.mlp.down_proj.lora_B.weight"),
                vec![12, 3]
            ),
            (
                &*format!("{prefix}.self_attn.q_proj.lora_A.weight"),
                vec![3, 12]
            ),
            (
                &*format!("{prefix}.self_attn.q_proj.lora_B.weight"),
                vec![24, 3]
            ),
        ]
    );
    assert_eq!(file.len(), 8);
    // Ours is `[12, 3]`: its second column is their second row.
    let tensor = file
        .tensor(&format!("{prefix}.self_attn.q_proj.lora_A.weight"))
        .unwrap();
    let row = tensor.data().as_chunks().0[12..24].iter();
    let row: Vec<f32> = row.map(|b| f32::from_le_bytes(*b)).collect();
    let column = adapter.weights.values()[0].iter().skip(1).step_by(3);
    assert_eq!(row, column.copied().collect::<Vec<f32>>());

    let text = fs::read_to_string(folder.path().join("adapter_config.json")).unwrap();
    let written: Value = serde_json::from_str(&text).unwrap();
    for (key, expected) in [
        ("peft_type", json!("LORA")),
        ("task_type", json!("CAUSAL_LM")),
        ("r", json!(3)),
        ("lora_alpha", json!(16)),
        ("lora_dropout", json!(0.25)),
        ("target_modules", json!(["q_proj", "down_proj"])),
        ("bias", json!("none")),
        ("base_model_name_or_path", json!("models/one")),
        ("inference_mode", json!(true)),
        ("use_rslora", json!(false)),
    ] {
        assert_eq!(written[key], expected, "{key}");
    }
}

/// What `LoraConfig(...).to_dict()` of peft 0.21 gives for a causal language model.
fn theirs() -> Value {
    json!({
        "task_type": "CAUSAL_LM", "peft_type": "LORA", "auto_mapping": null, "peft_version": "0.21.2",
        "base_model_name_or_path": "x", "revision": null, "inference_mode": true, "r": 8,
        "target_modules": ["q_proj", "v_proj"], "exclude_modules": null, "lora_alpha": 16,
        "lora_dropout": 0.0, "fan_in_fan_out": false, "bias": "none", "use_rslora": false,
        "modules_to_save": null, "init_lora_weights": true, "layers_to_transform": null,
        "layers_pattern": null, "rank_pattern": {}, "alpha_pattern": {}, "megatron_config": null,
        "megatron_core": "megatron.core", "trainable_token_indices": null, "loftq_config": {},
        "eva_config": null, "corda_config": null, "lora_ga_config": null, "use_dora": false,
        "velora_config": null, "alora_invocation_tokens": null, "use_qalora": false,
        "qalora_group_size": 16, "monteclora_config": null, "layer_replication": null,
        "lora_bias": false, "target_parameters": null, "use_bdlora": null, "arrow_config": null,
        "kasa_config": null, "ensure_weight_tying": false
    })
}

fn read(change: impl FnOnce(&mut Value)) -> Result<AdapterConfig, String> {
    let mut value = theirs();
    change(&mut value);
    AdapterConfig::from_json(&value.to_string()).map_err(|error| error.to_string())
}

#[test]
fn what_peft_writes_is_read() {
    let found = read(|_| ()).unwrap();
    assert_eq!(found.base_model, "x");
    assert_eq!(found.lora.targets, [Target::Q, Target::V]);
    assert_eq!((found.lora.rank, found.lora.scale()), (8, 2.0));
    let all = read(|v| v["target_modules"] = json!("all-linear")).unwrap();
    assert_eq!(all.lora.targets, Target::ALL);
    // What all-linear becomes in a small model.
    let places = json!([
        "model.layers.1.mlp.up_proj",
        "model.layers.0.mlp.up_proj",
        "self_attn.k_proj",
        "k_proj"
    ]);
    let places = read(|v| v["target_modules"] = places).unwrap();
    assert_eq!(places.lora.targets, [Target::Up, Target::K]);
    // alpha / sqrt(16)
    let root = read(|v| {
        v["use_rslora"] = json!(true);
        v["r"] = json!(16);
    });
    assert_eq!(root.unwrap().lora.scale(), 4.0);
    for way in [json!("gaussian"), json!(false), json!(null)] {
        assert!(read(|v| v["init_lora_weights"] = way).is_ok());
    }
    // An older file, with fewer keys.
    let old =
        json!({"peft_type": "LORA", "r": 4, "lora_alpha": 2.5, "target_modules": ["up_proj"]});
    let old = AdapterConfig::from_json(&old.to_string()).unwrap();
    assert_eq!((old.lora.alpha, old.lora.dropout), (2.5, 0.0));
    assert_eq!(old.base_model, "");
}

#[test]
fn features_we_lack_are_refused_by_name() {
    for (key, value, expected) in [
        (
            "peft_type",
            json!("IA3"),
            "`peft_type` = IA3 is not supported",
        ),
        ("peft_type", json!(null), "`peft_type`"),
        ("task_type", json!("SEQ_CLS"), "`task_type` = SEQ_CLS"),
        ("bias", json!("all"), "`bias` = all"),
        ("use_dora", json!(true), "`use_dora` = true"),
        ("use_dora", json!(1), "`use_dora` = 1"),
        ("lora_bias", json!(true), "`lora_bias`"),
        (
            "rank_pattern",
            json!({"q_proj": 4}),
            "`rank_pattern` = {\"q_proj\":4}",
        ),
        ("alpha_pattern", json!({"q_proj": 4}), "`alpha_pattern`"),
        (
            "modules_to_save",
            json!(["lm_head"]),
            "`modules_to_save` = [\"lm_head\"]",
        ),
        ("layers_to_transform", json!([0]), "`layers_to_transform`"),
        ("layers_to_transform", json!(0), "`layers_to_transform` = 0"),
        ("exclude_modules", json!(["k_proj"]), "`exclude_modules`"),
        ("exclude_modules", json!("k.*"), "`exclude_modules` = k.*"),
        ("fan_in_fan_out", json!(true), "`fan_in_fan_out`"),
        (
            "init_lora_weights",
            json!("pissa_niter_4"),
            "`init_lora_weights` = pissa_niter_4",
        ),
        ("layer_replication", json!([[0, 4]]), "`layer_replication`"),
        (
            "of_tomorrow",
            json!({"a": 1}),
            "`of_tomorrow` = {\"a\":1} is not supported",
        ),
        (
            "target_modules",
            json!(["q_proj", "lm_head"]),
            "unknown target module `lm_head`",
        ),
        (
            "target_modules",
            json!(".*_proj"),
            "`target_modules` = .*_proj",
        ),
        (
            "target_modules",
            json!([1]),
            "key `target_modules` must be a list of names",
        ),
        ("target_modules", json!([]), "no target module"),
        (
            "target_modules",
            json!(["vision.layers.0.self_attn.q_proj"]),
            "unknown target module `vision.layers.0.self_attn.q_proj`",
        ),
        (
            "target_modules",
            json!(["model.layers.x.self_attn.q_proj"]),
            "unknown target module `model.layers.x.self_attn.q_proj`",
        ),
        ("target_modules", json!(null), "key `target_modules`"),
        ("r", json!(0), "the rank is 0"),
        (
            "r",
            json!(-8),
            "key `r` must be a whole number up to 65536, found -8",
        ),
        ("r", json!(1_u64 << 40), "key `r`"),
        ("r", json!(8.5), "key `r`"),
        (
            "lora_alpha",
            json!("16"),
            "key `lora_alpha` must be a number, found \"16\"",
        ),
        ("lora_alpha", json!(-1), "alpha is -1"),
        ("lora_alpha", json!(null), "key `lora_alpha`"),
        ("lora_dropout", json!(1), "dropout is 1"),
        ("use_rslora", json!("yes"), "key `use_rslora`"),
        (
            "base_model_name_or_path",
            json!(7),
            "key `base_model_name_or_path`",
        ),
    ] {
        let message = read(|v| v[key] = value).unwrap_err();
        let expected = expected.replace("found \"16\"", "found 16");
        assert!(message.contains(&expected), "{key}: {message}");
    }
    for text in ["", "[]", "{", "nul", "{\"a\": 1e999}", &"[".repeat(100_000)] {
        let message = AdapterConfig::from_json(text).unwrap_err().to_string();
        assert!(message.starts_with("not a JSON object"), "{message}");
    }
}

#[test]
fn adapters_of_another_model_or_with_other_tensors_are_refused() {
    let config = config(Family::Qwen3, true);
    let adapter = adapter(&config, lora(3, &[Target::K, Target::Up]));
    let folder = saved(&config, &adapter);
    let with = |change: fn(&mut ModelConfig)| {
        let mut config = config.clone();
        change(&mut config);
        refusal(folder.path(), &config)
    };
    let message = with(|c| c.hidden_size = 10);
    assert!(
        message.contains("has shape [3, 12]") && message.contains("ask for [3, 10]"),
        "{message}"
    );
    assert!(with(|c| c.n_layers = 3).contains("has no tensor `base_model.model.model.layers.2."));
    assert!(
        with(|c| c.n_layers = 1).contains("does not ask for: base_model.model.model.layers.1.")
    );

    let path = folder.path().join("adapter_config.json");
    let text = fs::read_to_string(&path).unwrap();
    let other = |from: &str, to: &str| {
        assert!(text.contains(from), "{text}");
        fs::write(&path, text.replace(from, to)).unwrap();
        refusal(folder.path(), &config)
    };
    assert!(other("\"r\": 3", "\"r\": 4").contains("ask for [4, 12]"));
    assert!(other("\"r\": 3", "\"r\": 65536").contains("ask for [65536, 12]"));
    assert!(other("up_proj", "down_proj").contains("mlp.down_proj.lora_A"));
    assert!(other("\"k_proj\",", "").contains("self_attn.k_proj"));
    let message = other("LORA", "LOHA");
    assert!(
        message.contains("adapter_config.json: `peft_type` = LOHA"),
        "{message}"
    );
    fs::write(&path, b"{\"peft_type\": \"\xff\"}").unwrap();
    assert!(refusal(folder.path(), &config).contains("cannot access"));
    fs::write(&path, vec![b' '; 2 << 20]).unwrap();
    assert!(refusal(folder.path(), &config).contains("more than 1048576 are not read"));
    fs::write(&path, &text).unwrap();

    let path = folder.path().join("adapter_model.safetensors");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    assert!(refusal(folder.path(), &config).contains("cut off"));
    fs::remove_file(&path).unwrap();
    assert!(refusal(folder.path(), &config).contains("adapter_model.safetensors"));
}

#[test]
fn adapters_in_half_precision_are_read_and_broken_numbers_are_not() {
    let config = config(Family::Llama, true);
    let adapter = adapter(&config, lora(2, &[Target::O]));
    let folder = saved(&config, &adapter);
    let path = folder.path().join("adapter_model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let rewrite = |last: u16| {
        // One and a half, and one number of its own at the end of the last tensor.
        let halves: HashMap<String, Vec<u8>> = file
            .iter()
            .map(|(name, tensor)| {
                let n_values = tensor.data().len() / 4;
                let mut halves = 0x3fc0_u16.to_le_bytes().repeat(n_values);
                halves[2 * n_values - 2..].copy_from_slice(&last.to_le_bytes());
                (name.to_owned(), halves)
            })
            .collect();
        let views = file.iter().map(|(name, tensor)| {
            let view = TensorView::new(Dtype::BF16, tensor.shape().to_vec(), &halves[name]);
            (name, view.unwrap())
        });
        safetensors::serialize_to_file(views, None, &path).unwrap();
    };
    rewrite(0x3fc0);
    let loaded = load_adapter(folder.path(), &config).unwrap();
    let mut numbers = loaded.weights.values().iter().flatten();
    assert!(numbers.all(|value| *value == 1.5));
    assert_eq!(
        read_adapter_config(folder.path()).unwrap().base_digest,
        None
    );
    rewrite(0x7f80);
    let message = refusal(folder.path(), &config);
    assert!(message.contains("holds inf at index 47"), "{message}");
}

proptest! {
    #[test]
    fn any_settings_come_back(
        rank in 1_usize..65537,
        // Thousandths: what people write. Others may come back one unit in the last place away.
        alpha in (1_u32..1_000_000).prop_map(|n| f64::from(n) / 1000.0),
        dropout in (0_u32..1000).prop_map(|n| f64::from(n) / 1000.0),
        targets in subsequence(Target::ALL.to_vec(), 1..=7).prop_shuffle(),
        base_model in any::<String>(),
    ) {
        let config = AdapterConfig {
            lora: LoraConfig { rank, alpha, dropout, targets },
            base_model,
        };
        prop_assert_eq!(AdapterConfig::from_json(&config.to_json()), Ok(config));
    }
}
