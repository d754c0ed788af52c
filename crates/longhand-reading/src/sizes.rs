//! Sizes of a reader for a model whose window is all that is known.

use longhand_memory::{ChunkOptions, ReaderLimits, Templates};

/// Most tokens of a question or a memory, and of an answer, however large the window.
const MOST_TOKENS: usize = 1024;
const MOST_ANSWER_TOKENS: usize = 512;
/// Most tokens of a chunk. A longer prompt costs a small model more than it is worth: the time that
/// attention takes grows with its square, and small models find less in the middle of long texts.
const MOST_CHUNK_TOKENS: usize = 4096;

/// Budgets and chunks for a window of `window` tokens and these prompts.
///
/// An eighth of the window each for question, memory and answer, as MemAgent shares a window of 8192
/// (arXiv:2507.02259), but at most 1024, and 512 for the answer; the chunk gets what a turn leaves, at
/// most 4096. Then no turn exceeds the window; one too small for any chunk gets chunks of one token, and
/// is refused by [`longhand_memory::Reader::new`].
pub fn default_sizes(window: usize, templates: &Templates) -> (ReaderLimits, ChunkOptions) {
    let eighth = (window / 8).max(1);
    let limits = ReaderLimits {
        max_question_tokens: eighth.min(MOST_TOKENS),
        max_memory_tokens: eighth.min(MOST_TOKENS),
        max_answer_tokens: eighth.min(MOST_ANSWER_TOKENS),
        window: Some(window),
    };
    let chunks = ChunkOptions {
        chunk_size: largest_chunk(window, templates, &limits).clamp(1, MOST_CHUNK_TOKENS),
        overlap: 0,
        max_chunks: None,
    };
    (limits, chunks)
}

/// Tokens that these budgets leave for a chunk; 0 if they fill the window.
pub fn largest_chunk(window: usize, templates: &Templates, limits: &ReaderLimits) -> usize {
    let (question, memory) = (limits.max_question_tokens, limits.max_memory_tokens);
    // The first turn shows what stands for an empty memory.
    let shown = memory.max(templates.empty_memory.len());
    let others = templates.read.filled_length(question, 0, shown);
    window.saturating_sub(others.saturating_add(memory))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use longhand_memory::{Document, Reader, TemplatesText};
    use proptest::prelude::*;

    use super::*;

    fn templates() -> Templates {
        let words = |text: &str| text.split_whitespace().map(|_| 1).collect();
        TemplatesText::preset("longhand").unwrap().compile(words)
    }

    #[test]
    fn a_window_of_8192_leaves_chunks_of_4096() {
        let (limits, chunks) = default_sizes(8192, &templates());
        assert_eq!(limits.max_question_tokens, 1024);
        assert_eq!(limits.max_memory_tokens, 1024);
        assert_eq!(limits.max_answer_tokens, 512);
        assert_eq!(chunks.chunk_size, 4096);
        assert_eq!(default_sizes(131_072, &templates()).1.chunk_size, 4096);
        let (limits, chunks) = default_sizes(2048, &templates());
        assert_eq!(limits.max_memory_tokens, 256);
        assert!((1000..1280).contains(&chunks.chunk_size), "{chunks:?}");
    }

    proptest! {
        #[test]
        fn the_sizes_fit_the_window(window in 400_usize..20_000, n_tokens in 0_usize..30_000) {
            let templates = Arc::new(templates());
            let (limits, chunks) = default_sizes(window, &templates);
            let question = vec![1; limits.max_question_tokens];
            let document = Arc::new(Document { ids: vec![1; n_tokens], relevant: vec![] });
            let reader = Reader::new(&question, document, &chunks, templates, limits, &[0]);
            prop_assert!(reader.is_ok(), "{:?}", reader.err());
        }
    }
}
