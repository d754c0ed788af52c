//! Which tensors a model must have, by llama.cpp's names and by Hugging Face's.

use std::collections::BTreeSet;

use crate::{
    Gguf, GgufError, TensorPlace,
    model_config::{Architecture, ModelConfig, ROPE_FACTORS},
};

/// The order of a tensor's rows in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowOrder {
    /// As Hugging Face has them.
    Same,
    /// Within each head of so many rows, the two halves take turns: llama.cpp rotates neighbours where
    /// Hugging Face rotates halves, so its converter rewrote the projections of Llama models.
    HalvesTakeTurns {
        /// Rows of one head.
        head_dim: usize,
    },
}

/// One tensor to write.
#[derive(Clone, Debug)]
pub(crate) struct PlannedTensor {
    /// Hugging Face's name.
    pub(crate) name: String,
    /// Where its numbers come from.
    pub(crate) source: TensorPlace,
    pub(crate) row_order: RowOrder,
}

/// A tensor of the model: both names, the shape, and how many rows a head has if the order is changed.
struct Expected {
    source: String,
    name: String,
    shape: Vec<usize>,
    row_order: RowOrder,
}

/// All tensors in the order in which they are written.
///
/// # Errors
/// [`GgufError::Damaged`] for a tensor that is missing or has another shape, [`GgufError::Unsupported`]
/// for one that the architecture does not have.
pub(crate) fn plan(gguf: &Gguf, config: &ModelConfig) -> Result<Vec<PlannedTensor>, GgufError> {
    let damaged = |source: &str, reason: String| GgufError::Damaged {
        path: gguf.path().to_owned(),
        place: format!("tensor `{source}`"),
        reason,
    };
    // Every layer has at least nine: a hostile number of layers ends here.
    if gguf.tensors().len() / 9 < config.n_layers {
        let reason = format!(
            "{} layers are announced, but there are only {} tensors",
            config.n_layers,
            gguf.tensors().len()
        );
        return Err(damaged(
            &format!("blk.{}.attn_norm.weight", config.n_layers - 1),
            reason,
        ));
    }
    let mut planned = Vec::new();
    let mut known = BTreeSet::from([ROPE_FACTORS.to_owned()]);
    for expected in expected_tensors(config) {
        let Expected {
            source,
            name,
            shape,
            row_order,
        } = expected;
        let place = gguf.tensors().get(&source);
        let place = place.ok_or_else(|| {
            let reason = format!(
                "it is missing; a {} model has it",
                config.architecture.name()
            );
            damaged(&source, reason)
        })?;
        if place.shape != shape {
            let reason = format!(
                "its shape is {:?}, but the keys ask for {shape:?}",
                place.shape
            );
            return Err(damaged(&source, reason));
        }
        known.insert(source);
        planned.push(PlannedTensor {
            name,
            source: place.clone(),
            row_order,
        });
    }
    match gguf.tensors().keys().find(|name| !known.contains(*name)) {
        None => Ok(planned),
        Some(extra) => Err(GgufError::Unsupported {
            path: gguf.path().to_owned(),
            place: format!("tensor `{extra}`"),
            reason: format!(
                "a {} model of {} layers has no such tensor",
                config.architecture.name(),
                config.n_layers
            ),
        }),
    }
}

fn expected_tensors(config: &ModelConfig) -> Vec<Expected> {
    let hidden = config.hidden_size;
    let top = |source: &str, name: &str, shape: Vec<usize>| Expected {
        source: source.to_owned(),
        name: name.to_owned(),
        shape,
        row_order: RowOrder::Same,
    };
    let mut all = vec![top(
        "token_embd.weight",
        "model.embed_tokens.weight",
        vec![config.vocab_size, hidden],
    )];
    for layer_idx in 0..config.n_layers {
        all.extend(layer_tensors(config, layer_idx));
    }
    all.push(top("output_norm.weight", "model.norm.weight", vec![hidden]));
    if !config.tied {
        all.push(top(
            "output.weight",
            "lm_head.weight",
            vec![config.vocab_size, hidden],
        ));
    }
    all
}

fn layer_tensors(config: &ModelConfig, layer_idx: usize) -> Vec<Expected> {
    let (hidden, wide, head_dim) = (
        config.hidden_size,
        config.intermediate_size,
        config.head_dim,
    );
    let (query, key) = (config.n_heads * head_dim, config.n_kv_heads * head_dim);
    let turns = match config.architecture {
        Architecture::Llama => RowOrder::HalvesTakeTurns { head_dim },
        Architecture::Qwen2 | Architecture::Qwen3 => RowOrder::Same,
    };
    let same = RowOrder::Same;
    let mut parts = vec![
        (
            "attn_norm.weight",
            "input_layernorm.weight",
            vec![hidden],
            same,
        ),
        (
            "attn_q.weight",
            "self_attn.q_proj.weight",
            vec![query, hidden],
            turns,
        ),
        (
            "attn_k.weight",
            "self_attn.k_proj.weight",
            vec![key, hidden],
            turns,
        ),
        (
            "attn_v.weight",
            "self_attn.v_proj.weight",
            vec![key, hidden],
            same,
        ),
        (
            "attn_output.weight",
            "self_attn.o_proj.weight",
            vec![hidden, query],
            same,
        ),
        (
            "ffn_norm.weight",
            "post_attention_layernorm.weight",
            vec![hidden],
            same,
        ),
        (
            "ffn_gate.weight",
            "mlp.gate_proj.weight",
            vec![wide, hidden],
            same,
        ),
        (
            "ffn_up.weight",
            "mlp.up_proj.weight",
            vec![wide, hidden],
            same,
        ),
        (
            "ffn_down.weight",
            "mlp.down_proj.weight",
            vec![hidden, wide],
            same,
        ),
    ];
    match config.architecture {
        Architecture::Llama => {}
        Architecture::Qwen2 => parts.extend([
            ("attn_q.bias", "self_attn.q_proj.bias", vec![query], same),
            ("attn_k.bias", "self_attn.k_proj.bias", vec![key], same),
            ("attn_v.bias", "self_attn.v_proj.bias", vec![key], same),
        ]),
        Architecture::Qwen3 => parts.extend([
            (
                "attn_q_norm.weight",
                "self_attn.q_norm.weight",
                vec![head_dim],
                same,
            ),
            (
                "attn_k_norm.weight",
                "self_attn.k_norm.weight",
                vec![head_dim],
                same,
            ),
        ]),
    }
    let parts = parts
        .into_iter()
        .map(|(source, name, shape, row_order)| Expected {
            source: format!("blk.{layer_idx}.{source}"),
            name: format!("model.layers.{layer_idx}.{name}"),
            shape,
            row_order,
        });
    parts.collect()
}
