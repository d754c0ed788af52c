//! `[policy]`: the model to start from, a folder or a from-scratch architecture.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::checks::Checks;
use crate::lora::{LORA, Lora, LoraFile};
use crate::schema::{COUNT, Key, Kind, NOT_NEGATIVE, POSITIVE, defaults_to, optional, required};

pub(crate) static POLICY: &[Key] = &[
    optional(
        "path",
        Kind::Text,
        "the policy is made from scratch",
        "folder in Hugging Face layout (config.json, model.safetensors, tokenizer.json), relative to the working directory",
    ),
    optional(
        "from_scratch",
        Kind::Table(FROM_SCRATCH),
        "the policy is read from `path`",
        "architecture of a policy that starts from random weights",
    ),
    optional(
        "lora",
        Kind::Table(LORA),
        "all weights are trained",
        "trains low-rank adapters and leaves the weights as they are (LoRA, arXiv:2106.09685)",
    ),
];

static FROM_SCRATCH: &[Key] = &[
    defaults_to(
        "family",
        Kind::Choice(&["qwen3", "qwen2", "llama"]),
        "\"qwen3\"",
        "architecture: qwen3 normalises queries and keys, qwen2 has biases on them, llama has neither",
    ),
    required("hidden_size", COUNT, "width of the residual stream"),
    required(
        "intermediate_size",
        COUNT,
        "width inside the gated feed-forward",
    ),
    required("n_layers", COUNT, "number of layers"),
    required("n_heads", COUNT, "query heads"),
    optional(
        "n_kv_heads",
        COUNT,
        "`n_heads`",
        "key and value heads; divides `n_heads`",
    ),
    optional(
        "head_dim",
        COUNT,
        "`hidden_size / n_heads`",
        "width of one head; even",
    ),
    defaults_to(
        "rope_theta",
        POSITIVE,
        "10000.0",
        "base of the rotary frequencies",
    ),
    defaults_to(
        "norm_eps",
        POSITIVE,
        "1e-5",
        "added to the mean square in every norm",
    ),
    defaults_to(
        "tie_embeddings",
        Kind::Flag,
        "false",
        "whether the head reuses the embedding",
    ),
    required(
        "max_positions",
        COUNT,
        "longest prompt and reply together, in tokens",
    ),
    optional(
        "embedding_std",
        NOT_NEGATIVE,
        "1 untied, `hidden_size`^-0.5 tied",
        "standard deviation of the first embedding",
    ),
    optional(
        "q_norm_init",
        POSITIVE,
        "1.5 for qwen3",
        "first gain of the query norm (qwen3 only); above 1 sharpens attention from the start",
    ),
    defaults_to(
        "tokenizer",
        Kind::TextOrTable {
            shorthand: "kind",
            keys: TOKENIZER,
        },
        "\"word\"",
        "tokenizer trained on texts of the experiment's own task",
    ),
];

static TOKENIZER: &[Key] = &[
    defaults_to(
        "kind",
        Kind::Choice(&["word", "bpe"]),
        "\"word\"",
        "whole words, or byte-pair pieces that can spell any text",
    ),
    defaults_to(
        "vocab_size",
        COUNT,
        "4096",
        "most tokens, special ones included",
    ),
    defaults_to(
        "n_samples",
        COUNT,
        "1000",
        "training problems whose texts the tokenizer is trained on",
    ),
];

/// What `[policy]` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyFile {
    path: Option<String>,
    from_scratch: Option<FromScratchFile>,
    lora: Option<LoraFile>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FromScratchFile {
    family: Family,
    hidden_size: usize,
    intermediate_size: usize,
    n_layers: usize,
    n_heads: usize,
    n_kv_heads: Option<usize>,
    head_dim: Option<usize>,
    rope_theta: f64,
    norm_eps: f64,
    tie_embeddings: bool,
    max_positions: usize,
    embedding_std: Option<f64>,
    q_norm_init: Option<f64>,
    tokenizer: TokenizerSettings,
}

/// Where the policy comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum PolicySource {
    /// A folder in Hugging Face layout; nothing is known about it before training starts.
    Folder(PathBuf),
    /// Random weights.
    FromScratch(FromScratch),
}

/// A decoder-only transformer to be made from random weights.
#[derive(Clone, Debug, PartialEq)]
pub struct FromScratch {
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
    /// Key and value heads; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Width of one head; even.
    pub head_dim: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Added to the mean square in every norm.
    pub norm_eps: f64,
    /// Whether the head reuses the embedding.
    pub tie_embeddings: bool,
    /// Longest prompt and reply together, in tokens.
    pub max_positions: usize,
    /// Standard deviation of the first embedding.
    pub embedding_std: f64,
    /// First gain of the query norm; `None` for families without one.
    pub q_norm_init: Option<f64>,
    /// The tokenizer to train.
    pub tokenizer: TokenizerSettings,
}

/// The architectures that can be made from scratch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Queries and keys are normalised per head.
    Qwen3,
    /// Biases on queries, keys and values.
    Qwen2,
    /// Neither.
    Llama,
}

/// A tokenizer trained on texts of the experiment's own task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerSettings {
    /// How text is cut.
    pub kind: TokenizerKind,
    /// Most tokens, special ones included.
    pub vocab_size: usize,
    /// Training problems whose texts the tokenizer is trained on.
    pub n_samples: usize,
}

/// How a tokenizer cuts text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenizerKind {
    /// One token per word.
    Word,
    /// Byte-level byte-pair merges.
    Bpe,
}

impl PolicyFile {
    /// Writes in the values that follow from others.
    pub(crate) fn resolve(&mut self) {
        if let Some(lora) = &mut self.lora {
            lora.resolve();
        }
        let Some(scratch) = &mut self.from_scratch else {
            return;
        };
        scratch.n_kv_heads.get_or_insert(scratch.n_heads);
        if scratch.hidden_size.is_multiple_of(scratch.n_heads) {
            scratch
                .head_dim
                .get_or_insert(scratch.hidden_size / scratch.n_heads);
        }
        scratch.embedding_std.get_or_insert_with(|| {
            // A tied head reads the same table: unit rows would make its logits far too large.
            if scratch.tie_embeddings {
                (scratch.hidden_size as f64).powf(-0.5)
            } else {
                1.0
            }
        });
        if scratch.family == Family::Qwen3 {
            scratch.q_norm_init.get_or_insert(1.5);
        }
    }

    /// The adapters to train; `None` where all weights are trained.
    pub(crate) fn lora(&self) -> Option<Lora> {
        self.lora.as_ref().map(LoraFile::build)
    }

    pub(crate) fn build(&self, checks: &mut Checks<'_>) -> Option<PolicySource> {
        match (&self.path, &self.from_scratch) {
            (Some(path), None) if path.is_empty() => {
                checks.fail(
                    "policy.path",
                    "the path is empty; name a folder that holds config.json",
                );
                None
            }
            (Some(path), None) => Some(PolicySource::Folder(path.into())),
            (None, Some(scratch)) => scratch.build(checks).map(PolicySource::FromScratch),
            (None, None) => {
                checks.fail(
                    "policy",
                    "no policy; give either `path` or `[policy.from_scratch]`",
                );
                None
            }
            (Some(_), Some(_)) => {
                checks.fail(
                    "policy",
                    "both `path` and `from_scratch` are given; keep one (on the command line, \
                     --set 'policy={ path = \"...\" }' replaces the whole table)",
                );
                None
            }
        }
    }
}

impl FromScratchFile {
    fn build(&self, checks: &mut Checks<'_>) -> Option<FromScratch> {
        let key = |name: &str| format!("policy.from_scratch.{name}");
        let n_heads = self.n_heads;
        let n_kv_heads = self.n_kv_heads?;
        checks.require(
            n_heads.is_multiple_of(n_kv_heads),
            &key("n_kv_heads"),
            || {
                let divisors = divisors(n_heads);
                format!("{n_kv_heads} does not divide n_heads = {n_heads}; allowed are {divisors}")
            },
        );
        match self.head_dim {
            None => checks.fail(
                &key("head_dim"),
                format!(
                    "missing, and hidden_size = {} is not divisible by n_heads = {n_heads}; give head_dim, \
                     an even number",
                    self.hidden_size
                ),
            ),
            Some(head_dim) => checks.require(head_dim.is_multiple_of(2), &key("head_dim"), || {
                format!("{head_dim} is odd; the rotary embedding turns pairs, so it must be even")
            }),
        }
        if self.family != Family::Qwen3 && self.q_norm_init.is_some() {
            checks.fail(
                &key("q_norm_init"),
                "only family \"qwen3\" has a query norm; remove the key",
            );
        }
        let vocab_size = self.tokenizer.vocab_size;
        if self.tokenizer.kind == TokenizerKind::Bpe {
            checks.require(BPE_LEAST <= vocab_size, &key("tokenizer.vocab_size"), || {
                format!("{vocab_size} cannot hold 256 bytes and the special tokens; use {BPE_LEAST} or more")
            });
        }
        Some(FromScratch {
            family: self.family,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            n_layers: self.n_layers,
            n_heads,
            n_kv_heads,
            head_dim: self.head_dim?,
            rope_theta: self.rope_theta,
            norm_eps: self.norm_eps,
            tie_embeddings: self.tie_embeddings,
            max_positions: self.max_positions,
            embedding_std: self.embedding_std?,
            q_norm_init: self.q_norm_init,
            tokenizer: self.tokenizer,
        })
    }
}

/// 256 bytes and room for a few special tokens.
const BPE_LEAST: usize = 272;

/// The divisors of `n` in a message; counts are at most 10^9, so this is at most 31623 divisions.
pub(crate) fn divisors(n: usize) -> String {
    let small: Vec<usize> = (1..=n.isqrt()).filter(|d| n.is_multiple_of(*d)).collect();
    let large = small.iter().rev().map(|d| n / d).filter(|d| n.isqrt() < *d);
    let all: Vec<String> = small
        .iter()
        .copied()
        .chain(large)
        .map(|d| d.to_string())
        .collect();
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divisors_are_listed_once_in_order() {
        assert_eq!(divisors(1), "1");
        assert_eq!(divisors(12), "1, 2, 3, 4, 6, 12");
        assert_eq!(divisors(16), "1, 2, 4, 8, 16");
    }

    #[test]
    fn parameters_agree_with_the_trial_that_counted_them() {
        // A PyTorch trial of this model (2 layers, tied head) printed 101,376 parameters for 105
        // words and 104,704 for 157.
        let trial = FromScratch {
            family: Family::Qwen3,
            hidden_size: 64,
            intermediate_size: 160,
            n_layers: 2,
            n_heads: 2,
            n_kv_heads: 2,
            head_dim: 32,
            rope_theta: 10_000.0,
            norm_eps: 1e-5,
            tie_embeddings: true,
            max_positions: 128,
            embedding_std: 0.125,
            q_norm_init: Some(1.5),
            tokenizer: TokenizerSettings {
                kind: TokenizerKind::Word,
                vocab_size: 157,
                n_samples: 1,
            },
        };
        assert_eq!(trial.n_parameters(105), 101_376);
        assert_eq!(trial.n_parameters(157), 104_704);
        // By hand: no norms per head, and per layer 3 * 64 biases; a second table of 105 * 64.
        let untied = FromScratch {
            tie_embeddings: false,
            family: Family::Qwen2,
            ..trial
        };
        assert_eq!(
            untied.n_parameters(105),
            101_376 - 2 * 64 + 2 * 192 + 105 * 64
        );
    }
}
