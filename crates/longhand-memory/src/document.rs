//! A document as token ids, with the spans that are known to be relevant.

use std::ops::Range;

use crate::ReaderError;

/// Token ids of one document and the spans of it that matter for the question.
///
/// The spans follow the text: every operation that shortens the ids moves or clips them too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// Token ids, `[n_tokens]`.
    pub ids: Vec<u32>,
    /// Relevant spans in token positions of `ids`: sorted, disjoint, none of them empty. Spans
    /// may touch. Empty when relevance is not known.
    pub relevant: Vec<Range<usize>>,
}

impl Document {
    /// A document of these ids and relevant spans.
    ///
    /// # Errors
    /// [`ReaderError::RelevantSpan`] when a span is empty, out of order, overlapping or past the
    /// end.
    pub fn new(ids: Vec<u32>, relevant: Vec<Range<usize>>) -> Result<Self, ReaderError> {
        let document = Document { ids, relevant };
        document.check()?;
        Ok(document)
    }

    /// Whether the spans are what [`Document::relevant`] promises.
    ///
    /// # Errors
    /// [`ReaderError::RelevantSpan`], as for [`Document::new`].
    pub fn check(&self) -> Result<(), ReaderError> {
        let mut free_from = 0;
        for (idx, span) in self.relevant.iter().enumerate() {
            let fits = free_from <= span.start && span.start < span.end;
            if !fits || self.ids.len() < span.end {
                return Err(ReaderError::RelevantSpan {
                    idx,
                    start: span.start,
                    end: span.end,
                    free_from,
                    n_tokens: self.ids.len(),
                });
            }
            free_from = span.end;
        }
        Ok(())
    }

    /// Keeps the first and the last half of a document that is longer than `max_tokens`, and says
    /// how many tokens were dropped from between them (0 when it fits).
    ///
    /// [`centre_cut`] says which tokens go. A relevant span that crosses the cut keeps what is left of it on each side.
    ///
    /// Source: MemAgent's official code (arXiv:2507.02259), which cuts contexts over
    /// `max_chunks * chunk_size` tokens in this way.
    pub fn truncate_centre(&self, max_tokens: usize) -> (Document, usize) {
        let cut = centre_cut(self.ids.len(), max_tokens);
        let ids = [&self.ids[..cut.start], &self.ids[cut.end..]].concat();
        let head = relevant_in(&self.relevant, &(0..cut.start));
        let tail = relevant_in(&self.relevant, &(cut.end..self.ids.len()));
        let moved = tail
            .into_iter()
            .map(|span| span.start - cut.len()..span.end - cut.len());
        let relevant = head.into_iter().chain(moved).collect();
        (Document { ids, relevant }, cut.len())
    }

    /// Number of tokens in relevant spans.
    pub fn n_relevant(&self) -> usize {
        self.relevant.iter().map(Range::len).sum()
    }
}

/// The span of a text of `n_tokens` that is left out of its centre so that at most `max_tokens`
/// remain; empty when it fits.
///
/// The first half that stays has `max_tokens / 2` tokens, the last one the rest, so an odd token
/// goes to the end.
pub fn centre_cut(n_tokens: usize, max_tokens: usize) -> Range<usize> {
    let n_head = n_tokens.min(max_tokens) / 2;
    n_head..n_head + n_tokens.saturating_sub(max_tokens)
}

/// The parts of `relevant` that lie inside `chunk`, in order, still in document positions.
///
/// A span that straddles the chunk's edge is clipped to it, so each of two neighbouring chunks
/// gets its own part. `relevant` must be sorted and disjoint, as [`Document::relevant`] is.
pub fn relevant_in(relevant: &[Range<usize>], chunk: &Range<usize>) -> Vec<Range<usize>> {
    let first = relevant.partition_point(|span| span.end <= chunk.start);
    relevant[first..]
        .iter()
        .take_while(|span| span.start < chunk.end)
        .map(|span| span.start.max(chunk.start)..span.end.min(chunk.end))
        .filter(|span| !span.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;
    use proptest::prelude::*;

    fn document(n_tokens: u32, relevant: &[Range<usize>]) -> Document {
        Document::new((0..n_tokens).collect(), relevant.to_vec()).unwrap()
    }

    #[test]
    fn an_empty_document_is_cut_to_itself() {
        let (cut, dropped) = document(0, &[]).truncate_centre(0);
        assert_eq!((cut, dropped), (Document::default(), 0));
    }

    #[test]
    fn a_document_of_exactly_the_limit_is_kept_whole() {
        let whole = document(6, &[1..2, 4..6]);
        let (cut, dropped) = whole.truncate_centre(6);
        assert_eq!(dropped, 0);
        assert_eq!(cut, whole);
    }

    #[test]
    fn the_first_and_last_halves_stay_and_the_odd_token_goes_to_the_end() {
        let (cut, dropped) = document(10, &[]).truncate_centre(5);
        assert_eq!(cut.ids, [0, 1, 7, 8, 9]);
        assert_eq!(dropped, 5);
    }

    #[test]
    fn a_limit_of_zero_drops_everything_and_says_so() {
        assert_eq!(
            document(4, slice::from_ref(&(0..4))).truncate_centre(0),
            (Document::default(), 4)
        );
    }

    #[test]
    fn relevant_spans_are_clipped_at_the_cut_and_moved_behind_it() {
        // Kept: 0 1 2 and 7 8 9. The span 2..8 leaves its token 2 and its token 7.
        let (cut, dropped) = document(10, &[0..1, 2..8, 9..10]).truncate_centre(6);
        assert_eq!(dropped, 4);
        assert_eq!(cut.ids, [0, 1, 2, 7, 8, 9]);
        assert_eq!(cut.relevant, [0..1, 2..3, 3..4, 5..6]);
    }

    #[test]
    fn a_span_inside_the_dropped_part_vanishes() {
        let (cut, _) = document(10, slice::from_ref(&(4..6))).truncate_centre(4);
        assert_eq!(cut.relevant, []);
    }

    #[test]
    fn relevant_parts_are_clipped_to_the_chunk() {
        let relevant = [0..3, 5..6, 8..12];
        assert_eq!(relevant_in(&relevant, &(2..9)), [2..3, 5..6, 8..9]);
        assert_eq!(relevant_in(&relevant, &(3..5)), []);
        assert_eq!(relevant_in(&relevant, &(12..20)), []);
        assert_eq!(relevant_in(&relevant, &(9..9)), []);
        assert_eq!(relevant_in(&[], &(0..9)), []);
    }

    #[test]
    fn a_broken_span_is_refused_with_its_numbers() {
        let bad = |relevant: &[Range<usize>]| {
            Document::new(vec![7; 4], relevant.to_vec())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            bad(&[0..1, 3..5]),
            "relevant span 1 is 3..5, but spans are sorted, disjoint and not empty: it must lie \
             in 1..4 of this document of 4 tokens"
        );
        assert!(bad(&[1..3, 2..4]).contains("relevant span 1 is 2..4"));
        assert!(bad(slice::from_ref(&(2..2))).contains("relevant span 0 is 2..2"));
    }

    proptest! {
        /// A token counts as relevant after the cut exactly when it did before.
        #[test]
        fn the_cut_moves_no_relevance_from_one_token_to_another(
            marks in proptest::collection::vec(any::<bool>(), 0..40),
            max_tokens in 0_usize..45,
        ) {
            // Token ids say whether the token is relevant; each marked token is its own span.
            let ids: Vec<u32> = marks.iter().map(|&marked| u32::from(marked)).collect();
            let relevant = (0..marks.len()).filter(|&at| marks[at]).map(|at| at..at + 1).collect();
            let whole = Document::new(ids, relevant).unwrap();
            let (cut, dropped) = whole.truncate_centre(max_tokens);
            prop_assert!(cut.check().is_ok());
            prop_assert_eq!(cut.ids.len() + dropped, whole.ids.len());
            prop_assert!(cut.ids.len() <= max_tokens);
            prop_assert!(dropped == 0 || cut.ids.len() == max_tokens);
            for (at, &id) in cut.ids.iter().enumerate() {
                let marked = cut.relevant.iter().any(|span| span.contains(&at));
                prop_assert_eq!(marked, id == 1);
            }
        }
    }
}
