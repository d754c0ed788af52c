//! Text to token ids and back, and small tokenizers trained on generated text.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use thiserror::Error;
use tokenizers::{
    AddedToken, Tokenizer,
    decoders::byte_level::ByteLevel as ByteLevelDecoder,
    models::{
        TrainerWrapper,
        bpe::{BPE, BpeTrainer},
        wordlevel::{WordLevel, WordLevelTrainer},
    },
    pre_tokenizers::{byte_level::ByteLevel, whitespace::WhitespaceSplit},
};

/// A tokenizer as the `tokenizers` crate stores it in `tokenizer.json`.
///
/// Nothing is added around the text: no start token, no template.
#[derive(Clone, Debug)]
pub struct TextTokenizer {
    inner: Arc<Tokenizer>,
    /// The same, to which special tokens are text like any other.
    plain: Arc<Tokenizer>,
    n_ids: usize,
}

/// A tokenizer that could not be read, written, trained or used.
#[derive(Debug, Error)]
pub enum TokenizerError {
    /// The file is missing or not a tokenizer.
    #[error("cannot read {path} as a tokenizer: {reason}")]
    Load {
        /// The file.
        path: PathBuf,
        /// What the `tokenizers` crate says.
        reason: String,
    },
    /// The file could not be written.
    #[error("cannot write the tokenizer to {path}: {reason}")]
    Save {
        /// The file.
        path: PathBuf,
        /// What the `tokenizers` crate says.
        reason: String,
    },
    /// Training failed.
    #[error("cannot train a tokenizer: {0}")]
    Train(String),
    /// A text has no encoding, for example because the vocabulary has no unknown token.
    #[error("cannot encode {text:?}: {reason}")]
    Encode {
        /// The start of the text.
        text: String,
        /// What the `tokenizers` crate says.
        reason: String,
    },
    /// Ids have no text.
    #[error("cannot decode token ids: {0}")]
    Decode(String),
}

/// How a small tokenizer cuts text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenizerKind {
    /// One token a white-space separated word; unseen words become `<unk>`.
    Word,
    /// Byte-level byte-pair merges; every text has an encoding.
    Bpe,
}

impl TextTokenizer {
    /// Reads `tokenizer.json`.
    pub fn load(path: &Path) -> Result<Self, TokenizerError> {
        let inner = Tokenizer::from_file(path).map_err(|e| TokenizerError::Load {
            path: path.to_owned(),
            reason: e.to_string(),
        })?;
        Ok(Self::new(inner))
    }

    /// Wraps a tokenizer that is already in memory.
    pub fn new(inner: Tokenizer) -> Self {
        let last = inner.get_vocab(true).into_values().max();
        let mut plain = inner.clone();
        plain.set_encode_special_tokens(true);
        Self {
            inner: Arc::new(inner),
            plain: Arc::new(plain),
            n_ids: last.map_or(0, |id| id as usize + 1),
        }
    }

    /// Writes `tokenizer.json`.
    pub fn save(&self, path: &Path) -> Result<(), TokenizerError> {
        self.inner
            .save(path, true)
            .map_err(|e| TokenizerError::Save {
                path: path.to_owned(),
                reason: e.to_string(),
            })
    }

    /// Number of ids: one more than the largest. Ids from here on are never sampled.
    pub fn n_ids(&self) -> usize {
        self.n_ids
    }

    /// The ids of a text; special tokens written in the text are recognised. For prompts and templates.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        encode(&self.inner, text)
    }

    /// The ids of a text to which special tokens are text like any other: a document cannot end a turn by
    /// quoting the token that does.
    pub fn encode_plain(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        encode(&self.plain, text)
    }

    /// The text of ids, without special tokens.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        self.inner
            .decode(ids, true)
            .map_err(|e| TokenizerError::Decode(e.to_string()))
    }

    /// The text of ids with special tokens shown, for a reader's eyes.
    pub fn decode_all(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        self.inner
            .decode(ids, false)
            .map_err(|e| TokenizerError::Decode(e.to_string()))
    }

    /// The id of one token, when the vocabulary has it.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }
}

fn encode(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, TokenizerError> {
    let encoding = tokenizer
        .encode_fast(text, false)
        .map_err(|e| TokenizerError::Encode {
            text: text.chars().take(60).collect(),
            reason: e.to_string(),
        })?;
    Ok(encoding.get_ids().to_vec())
}

/// Trains a tokenizer on texts. `special` come first, in order, so that their ids are fixed.
pub fn train_tokenizer(
    kind: TokenizerKind,
    texts: impl Iterator<Item = String> + Send,
    vocab_size: usize,
    special: &[&str],
) -> Result<TextTokenizer, TokenizerError> {
    let failed = |e: tokenizers::Error| TokenizerError::Train(e.to_string());
    // A special token that also stood in the texts would get a second id.
    let names: Vec<String> = special.iter().map(|token| token.to_string()).collect();
    let texts = texts.map(move |text| {
        names
            .iter()
            .fold(text, |text, name| text.replace(name, " "))
    });
    let special: Vec<AddedToken> = special
        .iter()
        .map(|token| AddedToken::from(*token, true))
        .collect();
    let mut tokenizer;
    let mut trainer: TrainerWrapper = match kind {
        TokenizerKind::Word => {
            let model = WordLevel::builder()
                .unk_token("<unk>".into())
                .build()
                .map_err(failed)?;
            tokenizer = Tokenizer::new(model);
            tokenizer.with_pre_tokenizer(Some(WhitespaceSplit));
            let trainer = WordLevelTrainer::builder()
                .vocab_size(vocab_size)
                .special_tokens(special)
                .show_progress(false)
                .build()
                .map_err(|e| TokenizerError::Train(e.to_string()))?;
            trainer.into()
        }
        TokenizerKind::Bpe => {
            tokenizer = Tokenizer::new(BPE::default());
            tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
            tokenizer.with_decoder(Some(ByteLevelDecoder::new(false, true, true)));
            let trainer = BpeTrainer::builder()
                .vocab_size(vocab_size)
                .special_tokens(special)
                .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
                .show_progress(false)
                .build();
            trainer.into()
        }
    };
    tokenizer.train(&mut trainer, texts).map_err(failed)?;
    Ok(TextTokenizer::new(tokenizer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> impl Iterator<Item = String> + Send {
        ["the baker noted a pear .", "which fruit was noted ?"]
            .into_iter()
            .map(String::from)
    }

    #[test]
    fn words_and_special_tokens_round_trip() {
        let tokenizer = train_tokenizer(
            TokenizerKind::Word,
            texts(),
            100,
            &["<pad>", "<eos>", "<unk>", "<q>"],
        )
        .unwrap();
        assert_eq!(tokenizer.id("<eos>"), Some(1));
        let ids = tokenizer.encode("<q> which pear").unwrap();
        assert_eq!(ids.len(), 3);
        assert_eq!(ids[0], 3);
        assert_eq!(tokenizer.decode(&ids).unwrap(), "which pear");
        assert_eq!(tokenizer.encode("zebra").unwrap(), vec![2]);
    }

    #[test]
    fn special_tokens_in_the_texts_keep_their_first_ids() {
        for kind in [TokenizerKind::Word, TokenizerKind::Bpe] {
            let texts = ["<q> which pear <eos>".to_string()].into_iter();
            let tokenizer = train_tokenizer(kind, texts, 300, &["<eos>", "<unk>", "<q>"]).unwrap();
            assert_eq!(
                (tokenizer.id("<eos>"), tokenizer.id("<q>")),
                (Some(0), Some(2))
            );
            assert_eq!(tokenizer.inner.get_vocab_size(true), tokenizer.n_ids());
        }
    }

    #[test]
    fn byte_pairs_encode_what_they_never_saw() {
        let tokenizer = train_tokenizer(TokenizerKind::Bpe, texts(), 300, &["<eos>"]).unwrap();
        let text = "Ünknown wörds, 漢字 <eos>";
        let ids = tokenizer.encode(text).unwrap();
        assert_eq!(tokenizer.decode_all(&ids).unwrap(), text);
        assert!(ids.iter().all(|id| (*id as usize) < tokenizer.n_ids()));
    }

    #[test]
    fn plain_text_cannot_spell_a_special_token() {
        let tokenizer = train_tokenizer(TokenizerKind::Bpe, texts(), 300, &["<eos>"]).unwrap();
        let eos = tokenizer.id("<eos>").unwrap();
        let text = "the baker <eos> noted<eos>";
        let count = |ids: &[u32]| ids.iter().filter(|id| **id == eos).count();
        assert_eq!(count(&tokenizer.encode(text).unwrap()), 2);
        let plain = tokenizer.encode_plain(text).unwrap();
        assert_eq!(count(&plain), 0);
        // It is text, which nobody skips when it is shown.
        assert_eq!(tokenizer.decode(&plain).unwrap(), text);
        let usual = "the baker noted";
        assert_eq!(
            tokenizer.encode_plain(usual).unwrap(),
            tokenizer.encode(usual).unwrap()
        );
    }

    #[test]
    fn training_twice_gives_the_same_ids() {
        let train = || train_tokenizer(TokenizerKind::Bpe, texts(), 280, &["<eos>"]).unwrap();
        let text = "the baker noted";
        assert_eq!(train().encode(text).unwrap(), train().encode(text).unwrap());
    }
}
