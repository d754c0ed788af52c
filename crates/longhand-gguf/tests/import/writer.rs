//! Writes small GGUF files as llama.cpp's converter would.

use std::collections::BTreeMap;

/// A key's value with the number of its type.
#[derive(Clone)]
pub(crate) enum Key {
    U32(u32),
    F32(f32),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    I32s(Vec<i32>),
    U8s(Vec<u8>),
}

impl Key {
    fn write(&self, out: &mut Vec<u8>) {
        let kind = |out: &mut Vec<u8>, kind: u32| out.extend(kind.to_le_bytes());
        match self {
            Self::U32(x) => {
                kind(out, 4);
                out.extend(x.to_le_bytes());
            }
            Self::F32(x) => {
                kind(out, 6);
                out.extend(x.to_le_bytes());
            }
            Self::Bool(x) => {
                kind(out, 7);
                out.push(u8::from(*x));
            }
            Self::Text(text) => {
                kind(out, 8);
                write_text(text, out);
            }
            Self::Texts(texts) => {
                kind(out, 9);
                kind(out, 8);
                out.extend((texts.len() as u64).to_le_bytes());
                texts.iter().for_each(|text| write_text(text, out));
            }
            Self::I32s(integers) => {
                kind(out, 9);
                kind(out, 5);
                out.extend((integers.len() as u64).to_le_bytes());
                integers.iter().for_each(|x| out.extend(x.to_le_bytes()));
            }
            Self::U8s(bytes) => {
                kind(out, 9);
                kind(out, 0);
                out.extend((bytes.len() as u64).to_le_bytes());
                out.extend(bytes);
            }
        }
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// A tensor: sizes as Hugging Face writes them, the number of its type, its bytes.
#[derive(Clone)]
pub(crate) struct Tensor {
    pub(crate) shape: Vec<u64>,
    pub(crate) kind: u32,
    pub(crate) bytes: Vec<u8>,
}

/// A file before it is written.
#[derive(Clone)]
pub(crate) struct File {
    pub(crate) version: u32,
    pub(crate) keys: BTreeMap<String, Key>,
    pub(crate) tensors: BTreeMap<String, Tensor>,
}

impl File {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.keys.len() as u64).to_le_bytes());
        for (name, key) in &self.keys {
            write_text(name, &mut out);
            key.write(&mut out);
        }
        let mut data = Vec::new();
        for (name, tensor) in &self.tensors {
            write_text(name, &mut out);
            out.extend((tensor.shape.len() as u32).to_le_bytes());
            let sizes = tensor.shape.iter().rev();
            sizes.for_each(|size| out.extend(size.to_le_bytes()));
            out.extend(tensor.kind.to_le_bytes());
            out.extend((data.len() as u64).to_le_bytes());
            data.extend(&tensor.bytes);
            data.resize(data.len().next_multiple_of(32), 0);
        }
        out.resize(out.len().next_multiple_of(32), 0);
        out.extend(data);
        out
    }

    pub(crate) fn set(&mut self, name: &str, key: Key) {
        self.keys.insert(name.to_owned(), key);
    }
}

/// Numbers that name their place: tensor `idx`, number 0, 1, 2, ...
pub(crate) fn counted(idx: usize, shape: &[u64]) -> Tensor {
    let n: u64 = shape.iter().product();
    let numbers = (0..n).map(|number| (idx * 1000) as f32 + number as f32);
    Tensor {
        shape: shape.to_vec(),
        kind: 0,
        bytes: numbers.flat_map(f32::to_le_bytes).collect(),
    }
}

/// A model of one layer: hidden 8, two query heads and one key head of width 4, nine tokens.
pub(crate) fn small_model(architecture: &str) -> File {
    let mut file = File {
        version: 3,
        keys: BTreeMap::new(),
        tensors: BTreeMap::new(),
    };
    let text = |text: &str| Key::Text(text.to_owned());
    file.set("general.architecture", text(architecture));
    for (name, size) in [
        ("block_count", 1),
        ("context_length", 64),
        ("embedding_length", 8),
        ("feed_forward_length", 12),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 1),
    ] {
        file.set(&format!("{architecture}.{name}"), Key::U32(size));
    }
    let epsilon = format!("{architecture}.attention.layer_norm_rms_epsilon");
    file.set(&epsilon, Key::F32(1e-5));
    file.set("tokenizer.ggml.model", text("gpt2"));
    file.set("tokenizer.ggml.pre", text("smollm"));
    let tokens = [
        "<|end|>", "a", "b", "1", "Ġ", "ab", "Ġab", "<tool>", "[PAD8]",
    ];
    let tokens = tokens.map(str::to_owned).to_vec();
    file.set("tokenizer.ggml.tokens", Key::Texts(tokens));
    let types = vec![3, 1, 1, 1, 1, 1, 1, 4, 5];
    file.set("tokenizer.ggml.token_type", Key::I32s(types));
    let merges = ["a b", "Ġ ab"].map(str::to_owned).to_vec();
    file.set("tokenizer.ggml.merges", Key::Texts(merges));
    file.set("tokenizer.ggml.eos_token_id", Key::U32(0));
    file.set("tokenizer.ggml.add_bos_token", Key::Bool(false));
    file.set("tokenizer.chat_template", text("{{ messages }}"));
    file.set("general.padding", Key::U8s(vec![1, 2, 3]));
    let mut tensors: Vec<(&str, &[u64])> = vec![
        ("token_embd.weight", &[9, 8]),
        ("output_norm.weight", &[8]),
        ("blk.0.attn_norm.weight", &[8]),
        ("blk.0.attn_q.weight", &[8, 8]),
        ("blk.0.attn_k.weight", &[4, 8]),
        ("blk.0.attn_v.weight", &[4, 8]),
        ("blk.0.attn_output.weight", &[8, 8]),
        ("blk.0.ffn_norm.weight", &[8]),
        ("blk.0.ffn_gate.weight", &[12, 8]),
        ("blk.0.ffn_up.weight", &[12, 8]),
        ("blk.0.ffn_down.weight", &[8, 12]),
    ];
    match architecture {
        "qwen2" => tensors.extend([
            ("blk.0.attn_q.bias", &[8_u64] as &[u64]),
            ("blk.0.attn_k.bias", &[4]),
            ("blk.0.attn_v.bias", &[4]),
        ]),
        "qwen3" => tensors.extend([
            ("blk.0.attn_q_norm.weight", &[4_u64] as &[u64]),
            ("blk.0.attn_k_norm.weight", &[4]),
        ]),
        _ => {}
    }
    for (idx, (name, shape)) in tensors.into_iter().enumerate() {
        file.tensors.insert(name.to_owned(), counted(idx, shape));
    }
    file
}
