//! TAMTRL's teacher input: the same turn, shown without what is known to be irrelevant.
//!
//! `teacher prompt = read template (question, relevant parts of the chunk, memory)`
//!
//! Source: TAMTRL (arXiv:2603.21663, section 4.3), known to us through a secondary source. The
//! teacher is the policy itself; question, memory and template are those of the student's turn.
//!
//! Assumptions: the source does not describe the filter. Here relevance is a set of token spans
//! (a task marks whole paragraphs, headers included); the parts of the chunk inside them are
//! joined in order, a span that straddles two chunks gives its part to each, and a chunk without
//! any leaves the block empty, so that the teacher expects the memory to be carried over.
//!
//! Differs from the paper: none known. [`TeacherScope::Document`] is its ablation.

use crate::{Reader, ReaderError, TurnKind};

/// How much relevant text the teacher sees at a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum TeacherScope {
    /// The relevant parts of the turn's own chunk: the method.
    Chunk,
    /// The relevant parts of the whole document as it is read, at every turn: the ablation.
    Document,
}

impl Reader {
    /// The teacher's prompt for the turn that [`Reader::ask`] asks now; `None` at the answer turn,
    /// which has no chunk, and after it.
    pub fn teacher_prompt(&self, scope: TeacherScope) -> Option<Vec<u32>> {
        let Some(TurnKind::Read { chunk_idx }) = self.turn_kind() else {
            return None;
        };
        let plan = &*self.plan;
        let document = &plan.document;
        let spans = match scope {
            TeacherScope::Chunk => crate::relevant_in(&document.relevant, &plan.spans[chunk_idx]),
            TeacherScope::Document => document.relevant.clone(),
        };
        let relevant: Vec<u32> = spans
            .into_iter()
            .flat_map(|span| &document.ids[span])
            .copied()
            .collect();
        Some(
            plan.templates
                .read
                .fill(&plan.question, &relevant, self.memory()),
        )
    }

    /// Whether every teacher prompt of this scope fits the window together with a memory written
    /// after it. Within a chunk it always does, for it is no longer than the student's prompt.
    ///
    /// # Errors
    /// [`ReaderError::OverWindow`].
    pub fn check_teacher(&self, scope: TeacherScope) -> Result<(), ReaderError> {
        let plan = &*self.plan;
        if scope == TeacherScope::Chunk {
            return Ok(());
        }
        let n_relevant = plan.document.n_relevant();
        for chunk_idx in 0..self.n_chunks() {
            let n_memory = plan.longest_memory(chunk_idx);
            plan.check_turn(
                &format!("the whole-document teacher at chunk {chunk_idx}"),
                plan.templates
                    .read
                    .filled_length(plan.question.len(), n_relevant, n_memory),
                plan.limits.max_memory_tokens,
                "max_memory_tokens or the relevant text, or use the chunk teacher",
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::sync::Arc;

    use super::*;
    use crate::{ChunkOptions, Document, ReaderLimits, StopReason, Templates, TemplatesText};

    /// Templates without text, so that a prompt is question, chunk and memory side by side.
    fn bare() -> Arc<Templates> {
        let text = TemplatesText::parse("{question}{chunk}{memory}", "{question}{memory}", "");
        Arc::new(
            text.unwrap()
                .compile(|_| unreachable!("there is no text to encode")),
        )
    }

    /// Tokens 10 to 18 in chunks of three; the question is 1, memories are below 10.
    fn reader(relevant: &[Range<usize>], overlap: usize, window: Option<usize>) -> Reader {
        let document = Document::new((10..19).collect(), relevant.to_vec()).unwrap();
        let chunks = ChunkOptions::new(3, overlap, None).unwrap();
        let limits = ReaderLimits {
            max_question_tokens: 1,
            max_memory_tokens: 2,
            max_answer_tokens: 1,
            window,
        };
        Reader::new(&[1], Arc::new(document), &chunks, bare(), limits, &[]).unwrap()
    }

    fn walk(mut reader: Reader, scope: TeacherScope) -> Vec<Option<Vec<u32>>> {
        let mut prompts = Vec::new();
        while reader.ask().is_some() {
            prompts.push(reader.teacher_prompt(scope));
            reader.reply(&[5], StopReason::MaxTokens);
        }
        assert_eq!(reader.teacher_prompt(scope), None);
        prompts
    }

    #[test]
    fn the_chunk_is_cut_to_its_relevant_parts_and_question_and_memory_stay() {
        // The span 2..5 straddles the chunks 0..3 and 3..6; the chunk 6..9 has nothing relevant.
        let prompts = walk(reader(&[0..1, 2..5], 0, None), TeacherScope::Chunk);
        let expect = [
            Some(vec![1, 10, 12]),
            Some(vec![1, 13, 14, 5]),
            Some(vec![1, 5]),
            None,
        ];
        assert_eq!(prompts, expect);
    }

    #[test]
    fn the_document_teacher_sees_every_relevant_part_once_at_every_turn() {
        let prompts = walk(reader(&[0..1, 2..5], 1, None), TeacherScope::Document);
        let parts = [1, 10, 12, 13, 14];
        let later = Some([&parts[..], &[5]].concat());
        let expect = [
            Some(parts.to_vec()),
            later.clone(),
            later.clone(),
            later,
            None,
        ];
        assert_eq!(prompts, expect);
    }

    #[test]
    fn overlapping_chunks_repeat_the_relevant_tokens_they_share() {
        // Chunks 0..3, 2..5, 4..7, 6..9.
        let prompts = walk(
            reader(std::slice::from_ref(&(2..3)), 1, None),
            TeacherScope::Chunk,
        );
        let expect = [
            Some(vec![1, 12]),
            Some(vec![1, 12, 5]),
            Some(vec![1, 5]),
            Some(vec![1, 5]),
        ];
        assert_eq!(prompts[..4], expect);
    }

    #[test]
    fn a_document_teacher_over_the_window_is_refused_before_sampling() {
        // The student needs 1 + 3 + 2 + 2 = 8 tokens, the document teacher 1 + 6 + 2 + 2 = 11.
        let fits = reader(&[0..1, 2..7], 0, Some(11));
        assert_eq!(fits.check_teacher(TeacherScope::Document), Ok(()));
        let tight = reader(&[0..1, 2..7], 0, Some(8));
        assert_eq!(tight.check_teacher(TeacherScope::Chunk), Ok(()));
        assert_eq!(
            tight
                .check_teacher(TeacherScope::Document)
                .unwrap_err()
                .to_string(),
            "the whole-document teacher at chunk 0 may need 7 prompt tokens and 2 new ones, 9 in \
             all, over the window of 8; lower max_memory_tokens or the relevant text, or use the \
             chunk teacher, or use a larger window"
        );
    }
}
