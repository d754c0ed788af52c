//! How many turns and tokens reading one document takes.

use longhand_memory::ChunkOptions;

use crate::experiment::Experiment;

/// The turns of one attempt at a document, in tokens. The template's own text is not counted, because its
/// length depends on the tokenizer.
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
    is_chunk_shared: bool,
}

impl Experiment {
    /// Reading a document of this length when replies fill this share of their budgets (but have a token
    /// at least) and questions are as long as they may be.
    pub(crate) fn turns(&self, n_tokens: usize, chunks: &ChunkOptions, reply_share: f64) -> Turns {
        // Counted, not listed: a plan for a document of a billion tokens should cost nothing.
        let read = chunks
            .max_tokens()
            .map_or(n_tokens, |most| most.min(n_tokens));
        let further = read.saturating_sub(chunks.chunk_size);
        let n_chunks = 1 + further.div_ceil(chunks.chunk_size - chunks.overlap);
        let limits = &self.reader.limits;
        let share = |budget: usize| ((budget as f64 * reply_share).ceil() as u128).max(1);
        Turns {
            chunks: n_chunks,
            chunk_tokens: read as u128 + (n_chunks as u128 - 1) * chunks.overlap as u128,
            first_chunk: read.min(chunks.chunk_size) as u128,
            question: limits.max_question_tokens as u128,
            memory: share(limits.max_memory_tokens),
            answer: share(limits.max_answer_tokens),
            is_chunk_shared: self.has_chunk_before_memory(),
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
        self.turns() as u128 * self.question + chunks
    }

    /// Tokens of prompts that an attempt has for itself: the memory before each turn but the first, and
    /// chunks behind it.
    pub(crate) fn own(&self) -> u128 {
        let chunks = if self.is_chunk_shared {
            0
        } else {
            self.chunk_tokens - self.first_chunk
        };
        self.chunks as u128 * self.memory + chunks
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
