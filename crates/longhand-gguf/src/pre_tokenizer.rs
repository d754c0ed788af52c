//! How text is cut before merges, by the name that llama.cpp gives it in `tokenizer.ggml.pre`.
//!
//! Where a family's own `tokenizer.json` is known, ours has its steps; `default` has the expressions that
//! llama.cpp falls back on.

use serde_json::{Value as Json, json};

/// The steps of one name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PreTokenizer {
    name: &'static str,
    steps: Steps,
    /// Whether text is brought into Unicode's composed form first.
    composes: bool,
    /// Whether a piece that is a token as a whole is taken before any merge.
    pub(crate) takes_whole_pieces: bool,
    /// Whether a start token stands before every text unless the file says otherwise.
    pub(crate) adds_begin: bool,
}

#[derive(Clone, Copy, Debug)]
enum Steps {
    /// GPT-2's expression, which the byte-level step has built in.
    Gpt2,
    /// Every digit for itself, then GPT-2's expression.
    DigitsGpt2,
    /// One expression after another, each cutting the pieces of the one before.
    Expressions(&'static [&'static str]),
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const DEFAULT: &[&str] = &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"];

const fn plain(name: &'static str, steps: Steps) -> PreTokenizer {
    PreTokenizer {
        name,
        steps,
        composes: false,
        takes_whole_pieces: false,
        adds_begin: false,
    }
}

const fn llama3(name: &'static str) -> PreTokenizer {
    PreTokenizer {
        name,
        steps: Steps::Expressions(&[LLAMA3]),
        composes: false,
        takes_whole_pieces: true,
        adds_begin: true,
    }
}

/// All names that we know.
const KNOWN: &[PreTokenizer] = &[
    plain("default", Steps::Expressions(DEFAULT)),
    plain("gpt-2", Steps::Gpt2),
    llama3("llama-bpe"),
    llama3("llama-v3"),
    llama3("llama3"),
    PreTokenizer {
        name: "qwen2",
        steps: Steps::Expressions(&[QWEN2]),
        composes: true,
        takes_whole_pieces: false,
        adds_begin: false,
    },
    plain("refact", Steps::DigitsGpt2),
    plain("smollm", Steps::DigitsGpt2),
    plain("starcoder", Steps::DigitsGpt2),
];

impl PreTokenizer {
    pub(crate) fn find(name: &str) -> Option<Self> {
        KNOWN.iter().find(|known| known.name == name).copied()
    }

    /// All names, as an error lists them.
    pub(crate) fn names() -> String {
        let names: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
        names.join(", ")
    }

    /// `normalizer` of `tokenizer.json`.
    pub(crate) fn normalizer_json(self) -> Json {
        if self.composes {
            json!({"type": "NFC"})
        } else {
            Json::Null
        }
    }

    /// `pre_tokenizer` of `tokenizer.json`.
    pub(crate) fn to_json(self) -> Json {
        let bytes = |use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex});
        let steps = match self.steps {
            Steps::Gpt2 => return bytes(true),
            Steps::DigitsGpt2 => vec![
                json!({"type": "Digits", "individual_digits": true}),
                bytes(true),
            ],
            Steps::Expressions(expressions) => {
                let cuts = expressions.iter().map(|expression| {
                    json!({
                        "type": "Split",
                        "pattern": {"Regex": expression},
                        "behavior": "Isolated",
                        "invert": false,
                    })
                });
                cuts.chain([bytes(false)]).collect()
            }
        };
        json!({"type": "Sequence", "pretokenizers": steps})
    }
}
