//! The sizes of a model that decide what it costs to run.

use crate::policy::{Family, FromScratch};

/// Sizes of a decoder-only transformer, from a `from_scratch` table or a folder's `config.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelShape {
    /// Architecture.
    pub family: Family,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the gated feed-forward.
    pub intermediate_size: usize,
    /// Number of layers.
    pub n_layers: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads.
    pub n_kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Whether the head reuses the embedding.
    pub tie_embeddings: bool,
}

impl ModelShape {
    /// Number of parameters.
    pub fn n_parameters(&self) -> u128 {
        let wide = |n: usize| n as u128;
        let (hidden, head_dim) = (wide(self.hidden_size), wide(self.head_dim));
        let (n_heads, n_kv_heads) = (wide(self.n_heads), wide(self.n_kv_heads));
        let attention = hidden * head_dim * (2 * n_heads + 2 * n_kv_heads);
        let extra = match self.family {
            Family::Qwen3 => 2 * head_dim,
            Family::Qwen2 => head_dim * (n_heads + 2 * n_kv_heads),
            Family::Llama => 0,
        };
        let feed_forward = 3 * hidden * wide(self.intermediate_size);
        let layers = wide(self.n_layers) * (attention + extra + feed_forward + 2 * hidden);
        let tables = if self.tie_embeddings { 1 } else { 2 };
        layers + hidden + tables * wide(self.vocab_size) * hidden
    }

    /// Width of a row's queries.
    pub(crate) fn q(&self) -> f64 {
        self.n_heads as f64 * self.head_dim as f64
    }

    /// Width of a row's keys, and of its values.
    pub(crate) fn kv(&self) -> f64 {
        self.n_kv_heads as f64 * self.head_dim as f64
    }

    /// Width of a row's queries, keys and values side by side.
    pub(crate) fn qkv(&self) -> f64 {
        self.q() + 2.0 * self.kv()
    }

    /// Weights of a layer's matrices: the multiply-adds of one token in its products.
    pub(crate) fn layer_matrices(&self) -> f64 {
        let (hidden, inner) = (self.hidden_size as f64, self.intermediate_size as f64);
        hidden * (self.qkv() + self.q() + 3.0 * inner)
    }

    /// Width of what goes into a matrix of a layer and of what comes out, by its Hugging Face name; 0 for a
    /// name that is not one of [`crate::LORA_TARGETS`].
    pub(crate) fn matrix(&self, name: &str) -> [f64; 2] {
        let (hidden, inner) = (self.hidden_size as f64, self.intermediate_size as f64);
        match name {
            "q_proj" => [hidden, self.q()],
            "k_proj" | "v_proj" => [hidden, self.kv()],
            "o_proj" => [self.q(), hidden],
            "gate_proj" | "up_proj" => [hidden, inner],
            "down_proj" => [inner, hidden],
            _ => [0.0, 0.0],
        }
    }

    /// Weights of the head: the multiply-adds of one token's logits.
    pub(crate) fn head(&self) -> f64 {
        self.hidden_size as f64 * self.vocab_size as f64
    }

    /// Bytes of one token's keys and values in all layers, in f32.
    pub(crate) fn kv_bytes(&self) -> f64 {
        2.0 * self.kv() * 4.0 * self.n_layers as f64
    }
}

impl FromScratch {
    /// Its sizes, with as many tokens as its tokenizer may have.
    pub fn shape(&self) -> ModelShape {
        ModelShape {
            family: self.family,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            n_layers: self.n_layers,
            n_heads: self.n_heads,
            n_kv_heads: self.n_kv_heads,
            head_dim: self.head_dim,
            vocab_size: self.tokenizer.vocab_size,
            tie_embeddings: self.tie_embeddings,
        }
    }

    /// Number of parameters with a vocabulary of `vocab_size`.
    pub fn n_parameters(&self, vocab_size: usize) -> u128 {
        let shape = ModelShape {
            vocab_size,
            ..self.shape()
        };
        shape.n_parameters()
    }
}
