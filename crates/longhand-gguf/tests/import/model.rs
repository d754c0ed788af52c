//! What an import writes, and what it says about files that it refuses.

use std::{fs, path::Path};

use longhand_gguf::{ImportOptions, Imported, Storage, import};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use tokenizers::Tokenizer;

use super::writer::{File, Key, Tensor, counted, small_model};

/// Imports a file and calls `look` with the folder.
fn imported(file: &File, storage: Storage, look: impl FnOnce(&Path, Imported)) {
    let folder = tempfile::tempdir().unwrap();
    let (path, out_dir) = (folder.path().join("m.gguf"), folder.path().join("m"));
    fs::write(&path, file.bytes()).unwrap();
    let imported = import(&path, &out_dir, &ImportOptions { storage }).unwrap();
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "only the file and the folder: {left:?}");
    look(&out_dir, imported);
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn numbers(weights: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let bytes = weights.tensor(name).unwrap().data();
    let numbers = bytes
        .chunks_exact(4)
        .map(|x| f32::from_le_bytes(x.try_into().unwrap()));
    numbers.collect()
}

#[test]
fn a_llama_model_becomes_a_folder() {
    let check = |version: u32| {
        let mut file = small_model("llama");
        file.version = version;
        imported(&file, Storage::F32, |folder, imported| {
            assert_eq!(
                (imported.n_tensors, imported.n_parameters),
                (11, 9 * 8 + 3 * 8 + 192 + 288)
            );
            let config = json_of(&folder.join("config.json"));
            for (key, expected) in [
                ("model_type", json!("llama")),
                ("architectures", json!(["LlamaForCausalLM"])),
                ("vocab_size", json!(9)),
                ("head_dim", json!(4)),
                ("num_key_value_heads", json!(1)),
                ("rms_norm_eps", json!(1e-5)),
                ("rope_theta", json!(10_000.0)),
                ("tie_word_embeddings", json!(true)),
                ("max_position_embeddings", json!(64)),
                ("eos_token_id", json!(0)),
                ("bos_token_id", Value::Null),
                ("rope_scaling", Value::Null),
            ] {
                assert_eq!(config[key], expected, "{key}");
            }
            let tokenizer = json_of(&folder.join("tokenizer_config.json"));
            assert_eq!(tokenizer["chat_template"], "{{ messages }}");
            assert_eq!(tokenizer["eos_token"], "<|end|>");

            let bytes = fs::read(folder.join("model.safetensors")).unwrap();
            let weights = SafeTensors::deserialize(&bytes).unwrap();
            assert_eq!(weights.len(), 11);
            let down = weights
                .tensor("model.layers.0.mlp.down_proj.weight")
                .unwrap();
            assert_eq!((down.shape(), down.dtype()), (&[8, 12][..], Dtype::F32));
            // Tensor 3 is the queries', two heads of four rows of eight numbers: in the file rows 0 and 2
            // of a head are its first half.
            let query = numbers(&weights, "model.layers.0.self_attn.q_proj.weight");
            let rows: Vec<f32> = query.chunks(8).map(|row| (row[0] - 3000.0) / 8.0).collect();
            assert_eq!(rows, [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
            let value = numbers(&weights, "model.layers.0.self_attn.v_proj.weight");
            let rows: Vec<f32> = value.chunks(8).map(|row| (row[0] - 5000.0) / 8.0).collect();
            assert_eq!(rows, [0.0, 1.0, 2.0, 3.0]);
        });
    };
    check(2);
    check(3);
}

#[test]
fn qwen_models_keep_their_rows_and_have_their_own_tensors() {
    let check = |architecture: &str, extra: &str| {
        imported(&small_model(architecture), Storage::F32, |folder, _| {
            let config = json_of(&folder.join("config.json"));
            assert_eq!(config["model_type"], architecture);
            let bytes = fs::read(folder.join("model.safetensors")).unwrap();
            let weights = SafeTensors::deserialize(&bytes).unwrap();
            let query = numbers(&weights, "model.layers.0.self_attn.q_proj.weight");
            assert!((0..64).all(|i| query[i] == 3000.0 + i as f32));
            let extra = weights.tensor(extra).unwrap();
            assert_eq!(extra.shape(), [4]);
        });
    };
    check("qwen2", "model.layers.0.self_attn.k_proj.bias");
    check("qwen3", "model.layers.0.self_attn.k_norm.weight");
}

#[test]
fn bf16_halves_the_weights() {
    let mut file = small_model("llama");
    file.tensors
        .insert("output.weight".to_owned(), counted(1, &[9, 8]));
    imported(&file, Storage::Bf16, |folder, _| {
        assert_eq!(
            json_of(&folder.join("config.json"))["torch_dtype"],
            "bfloat16"
        );
        assert_eq!(
            json_of(&folder.join("config.json"))["tie_word_embeddings"],
            false
        );
        let bytes = fs::read(folder.join("model.safetensors")).unwrap();
        let weights = SafeTensors::deserialize(&bytes).unwrap();
        let head = weights.tensor("lm_head.weight").unwrap();
        assert_eq!(head.dtype(), Dtype::BF16);
        // 1001 lies between 1000 and 1004; 1002 halfway between them, and 1000 is the even one.
        assert_eq!(head.data()[..6], [0x7a, 0x44, 0x7a, 0x44, 0x7a, 0x44]);
    });
}

#[test]
fn the_tokenizer_encodes_and_decodes() {
    let check = |pre: &str, text: &str, expected: &[u32]| {
        let mut file = small_model("llama");
        file.set("tokenizer.ggml.pre", Key::Text(pre.to_owned()));
        imported(&file, Storage::F32, |folder, _| {
            let tokenizer = Tokenizer::from_file(folder.join("tokenizer.json")).unwrap();
            let ids = tokenizer.encode(text, false).unwrap().get_ids().to_vec();
            assert_eq!(ids, expected, "{pre}: {text:?}");
            assert_eq!(tokenizer.decode(&ids, false).unwrap(), text, "{pre}");
        });
    };
    for pre in [
        "smollm",
        "gpt-2",
        "qwen2",
        "default",
        "starcoder",
        "llama-bpe",
    ] {
        check(pre, "ab ab<|end|>a<tool>", &[5, 6, 0, 1, 7]);
    }
    // The digit takes no blank with it, so the blank is a token; a byte without a token has none.
    check("smollm", "a 11b", &[1, 4, 3, 3, 2]);
}

#[test]
fn a_start_token_is_added_where_the_file_says_so() {
    let mut file = small_model("llama");
    file.set("tokenizer.ggml.add_bos_token", Key::Bool(true));
    file.set("tokenizer.ggml.bos_token_id", Key::U32(0));
    imported(&file, Storage::F32, |folder, _| {
        let tokenizer = Tokenizer::from_file(folder.join("tokenizer.json")).unwrap();
        let ids = |special| tokenizer.encode("ab", special).unwrap().get_ids().to_vec();
        assert_eq!((ids(false), ids(true)), (vec![5], vec![0, 5]));
    });
}

#[test]
fn scaled_positions_are_kept() {
    let check = |edit: &dyn Fn(&mut File), expected: Value| {
        let mut file = small_model("llama");
        edit(&mut file);
        imported(&file, Storage::F32, |folder, _| {
            let config = json_of(&folder.join("config.json"));
            assert_eq!(config["rope_scaling"], expected);
        });
    };
    let factors = |numbers: [f32; 2]| Tensor {
        shape: vec![2],
        kind: 0,
        bytes: numbers.iter().flat_map(|x| x.to_le_bytes()).collect(),
    };
    // Two pairs: the first turns once in 2 pi tokens, the second once in 62832.
    check(
        &|file| {
            file.set("llama.rope.freq_base", Key::F32(1e8));
            file.tensors
                .insert("rope_freqs.weight".to_owned(), factors([1.0, 32.0]));
        },
        json!({
            "rope_type": "llama3",
            "factor": 32.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        }),
    );
    check(
        &|file| {
            file.set("llama.rope.scaling.type", Key::Text("linear".to_owned()));
            file.set("llama.rope.scaling.factor", Key::F32(4.0));
        },
        json!({"rope_type": "linear", "factor": 4.0}),
    );
    check(
        &|file| {
            file.set("llama.rope.scaling.type", Key::Text("yarn".to_owned()));
            file.set("llama.rope.scaling.factor", Key::F32(4.0));
            file.set("llama.rope.scaling.original_context_length", Key::U32(16));
        },
        json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}),
    );
}

/// The refusal names the file and holds `expected`, and nothing is left behind.
fn refused(edit: impl FnOnce(&mut File), expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    let mut file = small_model("llama");
    edit(&mut file);
    fs::write(&path, file.bytes()).unwrap();
    let error = import(&path, &folder.path().join("m"), &ImportOptions::default());
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains(expected) && error.contains("m.gguf"),
        "{error}"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_is_refused_is_named() {
    let text = |text: &str| Key::Text(text.to_owned());
    refused(|file| file.version = 1, "version 1 is not supported");
    refused(
        |file| file.version = 3_u32.swap_bytes(),
        "big-endian order is not supported",
    );
    refused(
        |file| file.set("general.architecture", text("gemma")),
        "`general.architecture` = gemma is not supported: supported are llama, qwen2 and qwen3",
    );
    refused(
        |file| file.set("tokenizer.ggml.pre", text("tekken")),
        "`tokenizer.ggml.pre` = tekken is not supported: supported are default, gpt-2, llama-bpe",
    );
    refused(
        |file| file.set("tokenizer.ggml.model", text("llama")),
        "`tokenizer.ggml.model` = llama is not supported: gpt2",
    );
    refused(
        |file| file.set("tokenizer.ggml.merges", Key::Texts(vec!["a 1".to_owned()])),
        "merge 0 (\"a 1\") needs the token \"a1\"",
    );
    refused(
        |file| file.set("tokenizer.ggml.token_type", Key::I32s(vec![1])),
        "1 entries for 9 tokens",
    );
    refused(
        |file| file.set("tokenizer.ggml.eos_token_id", Key::U32(9)),
        "9 is no id of a vocabulary of 9",
    );
    refused(
        |file| file.set("llama.embedding_length", text("8")),
        "key `llama.embedding_length`: a whole number from 1 to 2147483647 is needed, but it is a text",
    );
    refused(
        |file| file.set("llama.embedding_length", Key::U32(16)),
        "tensor `token_embd.weight`: its shape is [9, 8], but the keys ask for [9, 16]",
    );
    refused(
        |file| file.set("llama.block_count", Key::U32(i32::MAX as u32)),
        "2147483647 layers are announced, but there are only 11 tensors",
    );
    refused(
        |file| file.set("llama.expert_count", Key::U32(8)),
        "models with experts",
    );
    refused(
        |file| {
            file.tensors.remove("blk.0.attn_v.weight");
        },
        "tensor `blk.0.attn_v.weight`: it is missing",
    );
    refused(
        |file| {
            file.tensors
                .insert("blk.0.attn_q.bias".to_owned(), counted(0, &[8]));
        },
        "tensor `blk.0.attn_q.bias` is not supported: a llama model of 1 layers has no such tensor",
    );
    refused(
        |file| file.tensors.get_mut("token_embd.weight").unwrap().kind = 10,
        "tensor `token_embd.weight` of type Q2_K is not supported: supported types are F32",
    );
    refused(
        |file| file.tensors.get_mut("token_embd.weight").unwrap().kind = 8,
        "rows of 8 numbers are no whole number of blocks of 32",
    );
    refused(
        |file| {
            let factors = counted(1, &[2]);
            file.tensors.insert("rope_freqs.weight".to_owned(), factors);
        },
        "its factors are not those of the llama3 scaling",
    );
}

#[test]
fn a_folder_with_something_in_it_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    fs::write(&path, small_model("llama").bytes()).unwrap();
    let out_dir = folder.path().join("m");
    fs::create_dir(&out_dir).unwrap();
    // An empty folder may be filled.
    import(&path, &out_dir, &ImportOptions::default()).unwrap();
    fs::write(out_dir.join("config.json"), "mine").unwrap();
    let error = import(&path, &out_dir, &ImportOptions::default()).unwrap_err();
    assert!(
        error.to_string().contains("the folder is not empty"),
        "{error}"
    );
    assert_eq!(fs::read(out_dir.join("config.json")).unwrap(), b"mine");
    let error = import(&path, &path, &ImportOptions::default()).unwrap_err();
    assert!(
        error.to_string().contains("this is not a folder"),
        "{error}"
    );
}
