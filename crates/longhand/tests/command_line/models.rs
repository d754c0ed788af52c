//! Folders that hold no usable model: a clear error with the file's name, whatever is wrong with it.

use std::fs;

use crate::fixture::{Call, Place};

const FILES: [&str; 3] = ["config.json", "model.safetensors", "tokenizer.json"];

/// A run, and a copy of its model in which one file is changed, or taken away.
struct Broken {
    place: Place,
}

impl Broken {
    fn new() -> Self {
        let place = Place::with_run();
        fs::create_dir(place.path("model")).unwrap();
        Self { place }
    }

    fn with(&self, name: &str, change: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>) -> Call {
        for file in FILES {
            fs::copy(
                self.place.path("run/checkpoints/final").join(file),
                self.place.path("model").join(file),
            )
            .unwrap();
        }
        let path = self.place.path("model").join(name);
        match change(fs::read(&path).unwrap()) {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        self.place
            .longhand("eval model --task class-notes --lengths 36 --documents 1 --template marks")
    }

    fn with_text(&self, name: &str, from: &str, to: &str) -> Call {
        self.with(name, |bytes| {
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.contains(from), "no {from} in {text}");
            Some(text.replacen(from, to, 1).into_bytes())
        })
    }
}

#[test]
fn a_whole_copy_works() {
    Broken::new().with("config.json", Some).succeeds();
}

#[test]
fn a_broken_config_is_named() {
    let broken = Broken::new();
    let named = "model/config.json";
    broken
        .with("config.json", |_| Some(b"{".to_vec()))
        .fails(1, &[named, "not a JSON object"]);
    broken
        .with("config.json", |_| Some(b"[1]".to_vec()))
        .fails(1, &[named]);
    broken
        .with("config.json", |_| Some(b"{}".to_vec()))
        .fails(1, &[named, "model_type"]);
    broken
        .with("config.json", |_| Some(vec![0xff, 0xfe]))
        .fails(1, &[named, "UTF-8"]);
    broken
        .with_text("config.json", "\"qwen3\"", "\"gpt2\"")
        .fails(1, &[named, "gpt2", "llama, qwen2, qwen3"]);
    broken
        .with_text("config.json", "\"hidden_size\"", "\"hiden_size\"")
        .fails(1, &[named, "hidden_size"]);
    broken
        .with_text(
            "config.json",
            "\"hidden_size\": 24",
            "\"hidden_size\": \"x\"",
        )
        .fails(1, &[named, "hidden_size"]);
    broken
        .with_text("config.json", "\"hidden_size\": 24", "\"hidden_size\": -1")
        .fails(1, &[named, "hidden_size"]);
    broken
        .with_text(
            "config.json",
            "\"num_attention_heads\": 2",
            "\"num_attention_heads\": 0",
        )
        .fails(1, &[named]);
    broken
        .with_text("config.json", "\"eos_token_id\"", "\"eos\"")
        .fails(1, &["eos_token_id"]);
    // Without its config the folder is no model at all.
    broken.with("config.json", |_| None).fails(
        2,
        &["neither a run (config.toml) nor a model (config.json, or adapter_config.json)"],
    );
}

#[test]
fn weights_that_do_not_fit_are_named() {
    let broken = Broken::new();
    let named = "model/model.safetensors";
    broken
        .with("model.safetensors", |_| None)
        .fails(1, &[named]);
    broken
        .with("model.safetensors", |_| Some(Vec::new()))
        .fails(1, &[named]);
    broken
        .with("model.safetensors", |bytes| {
            Some(bytes[..bytes.len() / 2].to_vec())
        })
        .fails(1, &[named]);
    broken
        .with("model.safetensors", |_| Some(vec![0xff; 64]))
        .fails(1, &[named]);
    broken
        .with_text("config.json", "\"hidden_size\": 24", "\"hidden_size\": 32")
        .fails(1, &[named, "model.embed_tokens.weight", "24", "32"]);
    broken
        .with_text(
            "config.json",
            "\"num_hidden_layers\": 1",
            "\"num_hidden_layers\": 2",
        )
        .fails(1, &[named, "layers.1"]);
}

#[test]
fn weights_that_are_not_finite_are_found_when_they_are_read() {
    let call = Broken::new().with("model.safetensors", |mut bytes| {
        let n_header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        for value in bytes[8 + n_header..].chunks_exact_mut(4) {
            value.copy_from_slice(&f32::NAN.to_le_bytes());
        }
        Some(bytes)
    });
    call.fails(
        1,
        &[
            "model.embed_tokens.weight",
            "model/model.safetensors",
            "holds NaN at index 0",
        ],
    );
}

#[test]
fn a_tokenizer_that_cannot_be_used_is_named() {
    let broken = Broken::new();
    let named = "model/tokenizer.json";
    broken.with("tokenizer.json", |_| None).fails(1, &[named]);
    broken
        .with("tokenizer.json", |_| Some(b"{}".to_vec()))
        .fails(1, &[named]);
    broken
        .with("tokenizer.json", |_| Some(vec![0xff; 9]))
        .fails(1, &[named]);
}
