//! How many turns and tokens reading one document takes.

use longhand_memory::ChunkOptions;

use crate::experiment::Experiment;
use crate::policy::{FromScratch, PolicySource, TokenizerKind, TokenizerSettings};

/// The turns of one attempt at a document, in tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Turns {
    pub(crate) chunks: usize,
    /// Over all chunks, overlaps counted each time.
    pub(crate) chunk_tokens: u128,
    /// Of the first chunk, which no memory stands before.
    first_chunk: u128,
    pub(crate) question: u128,
    pub(crate) memory: u128,
    pub(crate) answer: u128,
    /// Whether the read template has the chunk before the memory.
    pub(crate) is_chunk_shared: bool,
    /// The template's own text; nothing unless it is asked for.
    pub(crate) text: TemplateTokens,
}

/// Tokens of the template's own text, before and behind the memory.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct TemplateTokens {
    pub(crate) read: [u128; 2],
    pub(crate) answer: [u128; 2],
}

/// Tokens for a word of plain text, punctuation included, in a tokenizer that was not made for the text.
const TOKENS_PER_WORD: f64 = 1.3;

impl Experiment {
    /// Reading a document of this length when replies fill this share of their budgets (but have a token
    /// at least) and questions are as long as they may be, with the templates' own text counted roughly.
    pub(crate) fn planned_turns(
        &self,
        n_tokens: usize,
        chunks: &ChunkOptions,
        reply_share: f64,
    ) -> Turns {
        Turns {
            text: self.template_tokens(),
            ..self.turns(n_tokens, chunks, reply_share)
        }
    }

    /// The same without the templates' text, whose length depends on the tokenizer.
    pub(crate) fn turns(&self, n_tokens: usize, chunks: &ChunkOptions, reply_share: f64) -> Turns {
        // Counted, not listed: a plan for a document of a billion tokens should cost nothing.
        let read = chunks
            .max_tokens()
            .map_or(n_tokens, |most| most.min(n_tokens));
        let further = read.saturating_sub(chunks.chunk_size);
        let (read, n_chunks) = if self.reader.templates.is_direct() {
            (0, 0)
        } else {
            (
                read,
                1 + further.div_ceil(chunks.chunk_size - chunks.overlap),
            )
        };
        let limits = &self.reader.limits;
        let share = |budget: usize| ((budget as f64 * reply_share).ceil() as u128).max(1);
        Turns {
            chunks: n_chunks,
            chunk_tokens: read as u128
                + (n_chunks as u128).saturating_sub(1) * chunks.overlap as u128,
            first_chunk: read.min(chunks.chunk_size) as u128,
            question: limits.max_question_tokens as u128,
            memory: share(limits.max_memory_tokens),
            answer: share(limits.max_answer_tokens),
            is_chunk_shared: self.has_chunk_before_memory(),
            text: TemplateTokens::default(),
        }
    }

    /// Roughly how many tokens the templates' own text has.
    pub(crate) fn template_tokens(&self) -> TemplateTokens {
        let of_word = match &self.policy {
            PolicySource::FromScratch(FromScratch {
                tokenizer:
                    TokenizerSettings {
                        kind: TokenizerKind::Word,
                        ..
                    },
                ..
            }) => 1.0,
            PolicySource::FromScratch(_) | PolicySource::Folder(_) => TOKENS_PER_WORD,
        };
        let (text, memory, other) = (0, 1, 2);
        let compiled = self.reader.templates.compile(|words| {
            let n_words = words.split_whitespace().count();
            vec![text; (n_words as f64 * of_word).ceil() as usize]
        });
        let around_memory = |prompt: Vec<u32>| {
            let at = prompt.iter().position(|id| *id == memory);
            let (before, behind) = prompt.split_at(at.unwrap_or(prompt.len()));
            [before, behind].map(|ids| ids.iter().filter(|id| **id == text).count() as u128)
        };
        TemplateTokens {
            read: around_memory(compiled.read.fill(&[other], &[other], &[memory])),
            answer: around_memory(compiled.answer.fill(&[other], &[], &[memory])),
        }
    }

    /// Whether all attempts of a group begin a turn with the same chunk: only what stands before their own
    /// memory is the same.
    fn has_chunk_before_memory(&self) -> bool {
        let (question, chunk, memory) = (1, 2, 3);
        let bare = self.reader.templates.compile(|_text| Vec::new());
        let prompt = bare.read.fill(&[question], &[chunk], &[memory]);
        let place = |id: u32| prompt.iter().position(|found| *found == id);
        place(chunk) < place(memory)
    }
}

impl Turns {
    pub(crate) fn turns(&self) -> usize {
        self.chunks + 1
    }

    /// Tokens that every attempt of a group shares: question, and the chunk where it stands before the
    /// memory. At the first turn there is no memory yet.
    pub(crate) fn shared(&self) -> u128 {
        let chunks = if self.is_chunk_shared {
            self.chunk_tokens
        } else {
            self.first_chunk
        };
        let TemplateTokens { read, answer } = self.text;
        let text = self.chunks as u128 * read[0] + read[1] + answer[0];
        self.turns() as u128 * self.question + chunks + text
    }

    /// Tokens of prompts that an attempt has for itself: the memory before each turn but the first, and
    /// chunks behind it.
    pub(crate) fn own(&self) -> u128 {
        let chunks = if self.is_chunk_shared {
            0
        } else {
            self.chunk_tokens - self.first_chunk
        };
        let text =
            (self.chunks as u128).saturating_sub(1) * self.text.read[1] + self.text.answer[1];
        self.chunks as u128 * self.memory + chunks + text
    }

    pub(crate) fn sampled(&self) -> u128 {
        self.chunks as u128 * self.memory + self.answer
    }

    /// Tokens of a prompt and its reply, mean over the turns.
    pub(crate) fn mean_turn(&self) -> f64 {
        (self.shared() + self.own() + self.sampled()) as f64 / self.turns() as f64
    }

    /// Tokens of a turn that every attempt of a group shares, mean over the turns.
    pub(crate) fn mean_shared(&self) -> f64 {
        self.shared() as f64 / self.turns() as f64
    }
}
