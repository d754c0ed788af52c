//! Which windows of a document are read: size, overlap and the longest document allowed.

use std::ops::Range;

use crate::ReaderError;

/// How a document is cut into chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct ChunkOptions {
    /// Tokens per chunk; the last chunk may be shorter. At least 1.
    pub chunk_size: usize,
    /// Tokens that a chunk repeats from the end of the one before it. Less than `chunk_size`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub overlap: usize,
    /// Most chunks that are read. A longer document is cut in its centre before chunking
    /// ([`crate::Document::truncate_centre`]); `None` reads all of it.
    #[cfg_attr(feature = "serde", serde(default))]
    pub max_chunks: Option<usize>,
}

impl ChunkOptions {
    /// Options that have passed [`ChunkOptions::check`].
    ///
    /// # Errors
    /// As for [`ChunkOptions::check`].
    pub fn new(
        chunk_size: usize,
        overlap: usize,
        max_chunks: Option<usize>,
    ) -> Result<Self, ReaderError> {
        let options = ChunkOptions {
            chunk_size,
            overlap,
            max_chunks,
        };
        options.check()?;
        Ok(options)
    }

    /// Whether these options can cut a document.
    ///
    /// # Errors
    /// [`ReaderError::ChunkSizeZero`], [`ReaderError::Overlap`] when a chunk would hold nothing
    /// new, [`ReaderError::MaxChunksZero`].
    pub fn check(&self) -> Result<(), ReaderError> {
        let ChunkOptions {
            chunk_size,
            overlap,
            max_chunks,
        } = *self;
        if chunk_size == 0 {
            return Err(ReaderError::ChunkSizeZero);
        }
        if chunk_size <= overlap {
            return Err(ReaderError::Overlap {
                overlap,
                chunk_size,
            });
        }
        if max_chunks == Some(0) {
            return Err(ReaderError::MaxChunksZero);
        }
        Ok(())
    }

    /// Longest document, in tokens, that `max_chunks` chunks can hold:
    /// `chunk_size + (max_chunks - 1) * (chunk_size - overlap)`. `None` without `max_chunks`.
    ///
    /// # Panics
    /// When the options do not pass [`ChunkOptions::check`].
    pub fn max_tokens(&self) -> Option<usize> {
        let stride = self.stride();
        let n_further = self.max_chunks? - 1;
        Some(
            self.chunk_size
                .saturating_add(n_further.saturating_mul(stride)),
        )
    }

    /// New tokens per chunk after the first.
    fn stride(&self) -> usize {
        if let Err(error) = self.check() {
            panic!("chunk options must be checked before use: {error}");
        }
        self.chunk_size - self.overlap
    }
}

/// The chunks of a document of `n_tokens`, in reading order, as token spans.
///
/// Chunk `i` starts at `i * (chunk_size - overlap)`; the last one is the first that reaches the
/// end, so no chunk consists of repeated tokens only. A document that ends exactly on a boundary
/// has no empty chunk after it; an empty document has no chunk at all.
///
/// `max_chunks` plays no part here: it shortens the document, it never drops chunks. Pass the
/// length after [`crate::Document::truncate_centre`], as [`crate::Reader`] does.
///
/// # Panics
/// When the options do not pass [`ChunkOptions::check`].
pub fn chunk_spans(n_tokens: usize, options: &ChunkOptions) -> Vec<Range<usize>> {
    let stride = options.stride();
    let mut spans = Vec::new();
    let mut start = 0;
    while start < n_tokens {
        let end = n_tokens.min(start.saturating_add(options.chunk_size));
        spans.push(start..end);
        if end == n_tokens {
            break;
        }
        start += stride;
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(n_tokens: usize, chunk_size: usize, overlap: usize, expect: &[Range<usize>]) {
        let options = ChunkOptions::new(chunk_size, overlap, None).unwrap();
        assert_eq!(chunk_spans(n_tokens, &options), expect);
    }

    #[test]
    fn an_empty_document_has_no_chunk() {
        check(0, 4, 0, &[]);
        check(0, 4, 3, &[]);
    }

    #[test]
    fn a_document_shorter_than_a_chunk_is_one_chunk() {
        check(3, 4, 0, std::slice::from_ref(&(0..3)));
        check(3, 4, 2, std::slice::from_ref(&(0..3)));
    }

    #[test]
    fn a_document_ending_on_a_boundary_has_no_empty_last_chunk() {
        check(4, 4, 0, std::slice::from_ref(&(0..4)));
        check(8, 4, 0, &[0..4, 4..8]);
        check(6, 4, 2, &[0..4, 2..6]);
    }

    #[test]
    fn one_token_over_a_boundary_makes_one_more_chunk() {
        check(9, 4, 0, &[0..4, 4..8, 8..9]);
        check(7, 4, 2, &[0..4, 2..6, 4..7]);
    }

    #[test]
    fn options_that_cannot_advance_are_refused_with_their_numbers() {
        let refused = |size, overlap, max| {
            ChunkOptions::new(size, overlap, max)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            refused(4, 4, None),
            "overlap is 4 but chunk_size is 4: a chunk would hold nothing new; use an overlap \
             below chunk_size"
        );
        assert!(refused(4, 9, None).starts_with("overlap is 9 but chunk_size is 4"));
        assert!(refused(0, 0, None).contains("chunk_size"));
        assert!(refused(4, 0, Some(0)).contains("max_chunks"));
    }

    #[test]
    fn eight_chunks_of_five_thousand_hold_forty_thousand_tokens() {
        // MemAgent's training setting (arXiv:2507.02259, run script): 8 chunks, 40,000 tokens.
        let options = ChunkOptions::new(5000, 0, Some(8)).unwrap();
        assert_eq!(options.max_tokens(), Some(40_000));
        assert_eq!(chunk_spans(40_000, &options).len(), 8);
        assert_eq!(ChunkOptions::new(5000, 0, None).unwrap().max_tokens(), None);
    }

    #[test]
    fn a_huge_chunk_size_does_not_overflow() {
        let options = ChunkOptions::new(usize::MAX, 1, Some(usize::MAX)).unwrap();
        assert_eq!(options.max_tokens(), Some(usize::MAX));
        assert_eq!(chunk_spans(5, &options), std::slice::from_ref(&(0..5)));
    }

    proptest! {
        #[test]
        fn chunks_cover_every_token_and_repeat_only_the_overlap(
            n_tokens in 0_usize..200,
            chunk_size in 1_usize..40,
            overlap in 0_usize..40,
        ) {
            prop_assume!(overlap < chunk_size);
            let options = ChunkOptions::new(chunk_size, overlap, None).unwrap();
            let spans = chunk_spans(n_tokens, &options);
            let mut covered = 0;
            for (idx, span) in spans.iter().enumerate() {
                let repeated = if idx == 0 { 0 } else { overlap };
                prop_assert_eq!(span.start + repeated, covered);
                prop_assert!(covered < span.end, "every chunk brings something new");
                prop_assert!(span.len() <= chunk_size);
                prop_assert!(span.len() == chunk_size || idx + 1 == spans.len());
                covered = span.end;
            }
            prop_assert_eq!(covered, n_tokens);
        }

        #[test]
        fn a_document_of_max_tokens_needs_max_chunks_and_one_more_token_one_more(
            chunk_size in 1_usize..20,
            overlap in 0_usize..20,
            max_chunks in 1_usize..9,
        ) {
            prop_assume!(overlap < chunk_size);
            let options = ChunkOptions::new(chunk_size, overlap, Some(max_chunks)).unwrap();
            let max_tokens = options.max_tokens().unwrap();
            prop_assert_eq!(chunk_spans(max_tokens, &options).len(), max_chunks);
            prop_assert_eq!(chunk_spans(max_tokens + 1, &options).len(), max_chunks + 1);
        }
    }
}
