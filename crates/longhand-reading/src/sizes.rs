//! Sizes of a reader for a model whose window is all that is known.

use longhand_memory::{ChunkOptions, ReaderLimits, Templates};

/// Most tokens of a question, of a memory and of an answer, however large the window.
const MOST_QUESTION_TOKENS: usize = 1024;
const MOST_MEMORY_TOKENS: usize = 512;
const MOST_ANSWER_TOKENS: usize = 256;
/// Most tokens of a chunk. A longer prompt costs a small model more than it is worth: the time that
/// attention takes grows with its square, and small models find less in the middle of long texts.
const MOST_CHUNK_TOKENS: usize = 2048;

/// Budgets for a window of `window` tokens: an eighth of it each for question, memory and answer, as
/// MemAgent shares a window of 8192 (arXiv:2507.02259), but at most 1024, 512 and 256.
pub fn default_limits(window: usize) -> ReaderLimits {
    let eighth = (window / 8).max(1);
    ReaderLimits {
        max_question_tokens: eighth.min(MOST_QUESTION_TOKENS),
        max_memory_tokens: eighth.min(MOST_MEMORY_TOKENS),
        max_answer_tokens: eighth.min(MOST_ANSWER_TOKENS),
        window: Some(window),
    }
}

/// Chunks of what these prompts and budgets leave of a turn, at most 2048 tokens.
///
/// Then no turn that reads exceeds the window. Budgets that leave nothing get chunks of one token, which
/// [`longhand_memory::Reader::new`] refuses.
pub fn default_chunks(window: usize, templates: &Templates, limits: &ReaderLimits) -> ChunkOptions {
    let (question, memory) = (limits.max_question_tokens, limits.max_memory_tokens);
    // The first turn shows what stands for an empty memory.
    let shown = memory.max(templates.empty_memory.len());
    let others = templates.read.filled_length(question, 0, shown);
    let left = window.saturating_sub(others.saturating_add(memory));
    ChunkOptions {
        chunk_size: left.clamp(1, MOST_CHUNK_TOKENS),
        overlap: 0,
        max_chunks: None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use longhand_memory::{Document, Reader, TemplatesText};
    use proptest::prelude::*;

    use super::*;

    fn default_sizes(window: usize, templates: &Templates) -> (ReaderLimits, ChunkOptions) {
        let limits = default_limits(window);
        (limits, default_chunks(window, templates, &limits))
    }

    fn templates() -> Templates {
        let words = |text: &str| text.split_whitespace().map(|_| 1).collect();
        TemplatesText::preset("longhand").unwrap().compile(words)
    }

    #[test]
    fn a_window_of_8192_leaves_chunks_of_2048() {
        let (limits, chunks) = default_sizes(8192, &templates());
        assert_eq!(limits.max_question_tokens, 1024);
        assert_eq!(limits.max_memory_tokens, 512);
        assert_eq!(limits.max_answer_tokens, 256);
        assert_eq!(chunks.chunk_size, 2048);
        assert_eq!(default_sizes(131_072, &templates()).1.chunk_size, 2048);
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
