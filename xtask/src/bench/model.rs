//! The model that is measured: SmolLM2-135M's shape with random weights, in the Hugging Face layout.
//!
//! Timing needs the shape and no meaning, so nothing is fetched and no other program is needed: the same bytes come
//! out on every machine. The tokenizer is a byte-level BPE whose merges are pairs of bytes, so that each of the
//! 49152 ids has a text of its own and a space with a letter after it is one token.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

/// The model's folder, from the repository's root.
pub const PATH: &str = "target/peers-model";

const N_IDS: usize = 49_152;
const HIDDEN: usize = 576;
const INTERMEDIATE: usize = 1_536;
const N_LAYERS: usize = 30;
const N_HEADS: usize = 9;
const N_KEY_VALUE_HEADS: usize = 3;
const HEAD_DIM: usize = 64;
/// Small enough that nothing overflows in any precision, large enough that no two tokens are alike.
const STANDARD_DEVIATION: f32 = 0.04;
const SPECIAL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];

/// Writes the model unless it is there, and gives its folder.
///
/// # Errors
///
/// A file or folder that cannot be written.
pub fn prepare(root: &Path) -> Result<PathBuf, String> {
    let folder = root.join(PATH);
    // The last file to be written: a model that was interrupted is written again.
    let last = folder.join("config.json");
    if !last.is_file() {
        eprintln!("writing the model to measure into {PATH}");
        write(&folder).map_err(|error| format!("cannot write {PATH}: {error}"))?;
    }
    Ok(folder)
}

fn write(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    write_weights(&folder.join("model.safetensors"), &tensors())?;
    fs::write(folder.join("tokenizer.json"), tokenizer().to_string())?;
    let names = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": SPECIAL[0],
        "bos_token": SPECIAL[1],
        "eos_token": SPECIAL[2],
        "model_max_length": 8192,
    });
    fs::write(folder.join("tokenizer_config.json"), names.to_string())?;
    fs::write(folder.join("config.json"), config().to_string())
}

fn config() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": N_LAYERS,
        "num_attention_heads": N_HEADS,
        "num_key_value_heads": N_KEY_VALUE_HEADS,
        "head_dim": HEAD_DIM,
        "vocab_size": N_IDS,
        "tie_word_embeddings": true,
        "rope_theta": 100_000.0,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 8192,
        "hidden_act": "silu",
        "attention_bias": false,
        "mlp_bias": false,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "initializer_range": STANDARD_DEVIATION,
        "torch_dtype": "float32",
    })
}

/// Name and shape of every tensor, in the file's order.
fn tensors() -> Vec<(String, Vec<usize>)> {
    let mut tensors = vec![("model.embed_tokens.weight".to_owned(), vec![N_IDS, HIDDEN])];
    let (queries, keys) = (N_HEADS * HEAD_DIM, N_KEY_VALUE_HEADS * HEAD_DIM);
    for layer in 0..N_LAYERS {
        for (name, shape) in [
            ("input_layernorm", vec![HIDDEN]),
            ("self_attn.q_proj", vec![queries, HIDDEN]),
            ("self_attn.k_proj", vec![keys, HIDDEN]),
            ("self_attn.v_proj", vec![keys, HIDDEN]),
            ("self_attn.o_proj", vec![HIDDEN, queries]),
            ("post_attention_layernorm", vec![HIDDEN]),
            ("mlp.gate_proj", vec![INTERMEDIATE, HIDDEN]),
            ("mlp.up_proj", vec![INTERMEDIATE, HIDDEN]),
            ("mlp.down_proj", vec![HIDDEN, INTERMEDIATE]),
        ] {
            tensors.push((format!("model.layers.{layer}.{name}.weight"), shape));
        }
    }
    tensors.push(("model.norm.weight".to_owned(), vec![HIDDEN]));
    tensors
}

/// A safetensors file: the header's length, the header, then the numbers. Norms are 1, all else is drawn.
fn write_weights(path: &Path, tensors: &[(String, Vec<usize>)]) -> std::io::Result<()> {
    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), json!({ "format": "pt" }));
    let mut offset = 0;
    for (name, shape) in tensors {
        let end = offset + 4 * shape.iter().product::<usize>();
        let entry = json!({ "dtype": "F32", "shape": shape, "data_offsets": [offset, end] });
        header.insert(name.clone(), entry);
        offset = end;
    }
    let mut header = Value::Object(header).to_string();
    // Readers map the file into memory: numbers have to start at a multiple of their size.
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));

    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    let mut state = 20_250_101;
    for (_, shape) in tensors {
        for _ in 0..shape.iter().product() {
            let number: f32 = if shape.len() == 1 {
                1.0
            } else {
                draw(&mut state)
            };
            file.write_all(&number.to_le_bytes())?;
        }
    }
    file.flush()
}

/// The next number of a uniform distribution with mean 0 and [`STANDARD_DEVIATION`], by the generator splitmix64.
fn draw(state: &mut u64) -> f32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bits = *state;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    // 24 bits are what an f32 holds; a uniform number in [-1, 1) has a deviation of 1/√3.
    let unit = (bits >> 40) as f32 / (1 << 23) as f32 - 1.0;
    unit * STANDARD_DEVIATION * 3.0_f32.sqrt()
}

/// The letter that stands for each byte in a byte-level vocabulary: a printable byte stands for itself, the others
/// take letters from 256 on. The space and the small letters come first, so that their pairs are in the vocabulary.
fn byte_letters() -> Vec<char> {
    let is_printable = |byte: u8| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..);
    let mut n_hidden = 0;
    let letters: Vec<char> = (0..=u8::MAX)
        .map(|byte| {
            if is_printable(byte) {
                return char::from(byte);
            }
            n_hidden += 1;
            char::from_u32(255 + n_hidden).expect("letters from 256 on exist")
        })
        .collect();
    let is_first = |byte: &usize| *byte == 0x20 || (0x61..=0x7a).contains(byte);
    let (first, rest): (Vec<usize>, Vec<usize>) = (0..256).partition(is_first);
    first
        .into_iter()
        .chain(rest)
        .map(|byte| letters[byte])
        .collect()
}

fn tokenizer() -> Value {
    let letters = byte_letters();
    let n_pairs = N_IDS - SPECIAL.len() - letters.len();
    let pairs: Vec<[String; 2]> = letters
        .iter()
        .flat_map(|first| {
            letters
                .iter()
                .map(|second| [first.to_string(), second.to_string()])
        })
        .take(n_pairs)
        .collect();
    let mut vocabulary = Map::new();
    let words = SPECIAL
        .iter()
        .map(|word| (*word).to_owned())
        .chain(letters.iter().map(char::to_string))
        .chain(pairs.iter().map(|pair| pair.concat()));
    for (id, word) in words.enumerate() {
        vocabulary.insert(word, json!(id));
    }
    let special: Vec<Value> = SPECIAL
        .iter()
        .enumerate()
        .map(|(id, content)| {
            json!({
                "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true,
            })
        })
        .collect();
    let byte_level = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
    });
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": special,
        "normalizer": null,
        "pre_tokenizer": byte_level,
        "post_processor": null,
        "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocabulary, "merges": pairs,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_has_as_many_weights_as_its_name_says() {
        let n_weights: usize = tensors()
            .iter()
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum();
        // sum(p.numel() for p in LlamaForCausalLM(config).parameters())
        assert_eq!(n_weights, 134_515_008);
    }

    #[test]
    fn every_id_has_a_text_of_its_own() {
        let tokenizer = tokenizer();
        let vocabulary = tokenizer["model"]["vocab"].as_object().expect("an object");
        assert_eq!(vocabulary.len(), N_IDS);
        // A space and a letter are one token, which the prompts of the peers rely on.
        assert!(('a'..='z').all(|letter| vocabulary.contains_key(&format!("Ġ{letter}"))));
    }

    #[test]
    fn drawn_numbers_have_the_deviation_they_claim() {
        let mut state = 1;
        let numbers: Vec<f32> = (0..100_000).map(|_| draw(&mut state)).collect();
        let mean = numbers.iter().sum::<f32>() / numbers.len() as f32;
        let square =
            numbers.iter().map(|number| number * number).sum::<f32>() / numbers.len() as f32;
        assert!(mean.abs() < 1e-3, "{mean}");
        assert!(
            (square.sqrt() - STANDARD_DEVIATION).abs() < 1e-3,
            "{square}"
        );
    }

    #[test]
    fn a_weight_file_is_its_header_and_then_its_numbers() {
        let path = std::env::temp_dir().join(format!("longhand-bench-{}.st", std::process::id()));
        let tensors = [("norm".to_owned(), vec![2]), ("w".to_owned(), vec![3, 2])];
        write_weights(&path, &tensors).expect("written");
        let bytes = fs::read(&path).expect("read");
        fs::remove_file(&path).expect("removed");
        let n_header = u64::from_le_bytes(bytes[..8].try_into().expect("eight")) as usize;
        let header: Value = serde_json::from_slice(&bytes[8..8 + n_header]).expect("JSON");
        assert_eq!(header["w"]["data_offsets"], json!([8, 32]));
        let numbers = &bytes[8 + n_header..];
        assert_eq!((n_header % 8, numbers.len()), (0, 32));
        assert_eq!(numbers[..4], 1.0_f32.to_le_bytes());
        assert_ne!(numbers[8..12], numbers[12..16]);
    }
}
