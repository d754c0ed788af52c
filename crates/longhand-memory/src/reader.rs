//! The chunk reader: one document, one question, a memory that is written anew at every chunk.
//!
//! ```text
//! memory = empty memory
//! for each chunk: memory = reply to read prompt (question, chunk, memory)
//! answer = reply to answer prompt (question, memory)
//! ```
//!
//! Source: MemAgent (arXiv:2507.02259, section 2.3 and its official code). Every prompt stands
//! alone: there is no history besides the memory.
//!
//! Differs from it: chunks may overlap, and the order of the blocks is the template's. As there,
//! the memory goes on as ids without its end token, and one that was cut by the cap goes on as it
//! is, with [`StopReason::MaxTokens`] on record.

use std::ops::Range;
use std::sync::Arc;

use crate::{
    Ask, ChunkOptions, Document, ReaderError, ReaderLimits, StopReason, Templates, TurnKind,
    TurnRole, chunk_spans,
};

/// What stays the same for all attempts at one document.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) question: Vec<u32>,
    pub(crate) document: Arc<Document>,
    pub(crate) spans: Vec<Range<usize>>,
    pub(crate) templates: Arc<Templates>,
    pub(crate) limits: ReaderLimits,
    end_ids: Vec<u32>,
    dropped_tokens: usize,
}

/// The state machine for one document. Cloning is cheap: one reader per attempt shares everything
/// but its memory.
///
/// Ask and reply take turns until [`Reader::ask`] returns `None`.
#[derive(Debug, Clone)]
pub struct Reader {
    pub(crate) plan: Arc<Plan>,
    pub(crate) turn_idx: usize,
    memory: Vec<u32>,
    answer: Option<Vec<u32>>,
}

impl Reader {
    /// A reader at its first turn. An empty document goes straight to the answer turn; direct templates
    /// ([`crate::TemplatesText::direct`]) take no other.
    ///
    /// A document over [`ChunkOptions::max_tokens`] is cut in its centre;
    /// [`Reader::dropped_tokens`] says by how much. `end_ids` are the ids that end a reply; they
    /// are never carried into a memory or an answer.
    ///
    /// # Errors
    /// Anything that would go wrong at a later turn is found here, before anything is sampled:
    /// options, spans, limits or templates that cannot be used, a document for direct templates, a
    /// question over its budget, and a turn whose prompt and new tokens could exceed the window
    /// (counted with a memory that fills its cap).
    ///
    /// # Panics
    /// When the two templates have changed places.
    pub fn new(
        question: &[u32],
        document: Arc<Document>,
        chunks: &ChunkOptions,
        templates: Arc<Templates>,
        limits: ReaderLimits,
        end_ids: &[u32],
    ) -> Result<Reader, ReaderError> {
        chunks.check()?;
        limits.check()?;
        document.check()?;
        check_templates(&templates, question.len())?;
        if templates.is_direct() && !document.ids.is_empty() {
            return Err(ReaderError::DocumentUnread {
                n_tokens: document.ids.len(),
            });
        }
        if limits.max_question_tokens < question.len() {
            return Err(ReaderError::QuestionTooLong {
                n_tokens: question.len(),
                max_question_tokens: limits.max_question_tokens,
            });
        }
        let (document, dropped_tokens) = match chunks.max_tokens() {
            Some(max_tokens) if max_tokens < document.ids.len() => {
                let (cut, dropped_tokens) = document.truncate_centre(max_tokens);
                (Arc::new(cut), dropped_tokens)
            }
            _ => (document, 0),
        };
        let plan = Plan {
            question: question.to_vec(),
            spans: chunk_spans(document.ids.len(), chunks),
            document,
            templates,
            limits,
            end_ids: end_ids.to_vec(),
            dropped_tokens,
        };
        plan.check_window()?;
        let memory = plan.templates.empty_memory.clone();
        Ok(Reader {
            plan: Arc::new(plan),
            turn_idx: 0,
            memory,
            answer: None,
        })
    }

    /// What to ask now; `None` when the answer has been given. Asking twice changes nothing.
    pub fn ask(&self) -> Option<Ask> {
        let plan = &*self.plan;
        let kind = self.turn_kind()?;
        let (prompt, max_tokens) = match kind {
            TurnKind::Read { chunk_idx } => {
                let chunk = &plan.document.ids[plan.spans[chunk_idx].clone()];
                let prompt = plan
                    .templates
                    .read
                    .fill(&plan.question, chunk, &self.memory);
                (prompt, plan.limits.max_memory_tokens)
            }
            TurnKind::Answer => {
                let prompt = plan
                    .templates
                    .answer
                    .fill(&plan.question, &[], &self.memory);
                (prompt, plan.limits.max_answer_tokens)
            }
        };
        Some(Ask {
            kind,
            prompt,
            max_tokens,
        })
    }

    /// Takes what was sampled for the turn just asked, the end token included if there is one, and
    /// moves on to the next turn.
    ///
    /// The memory (or the answer) is what stands before the first end token, at most as many
    /// tokens as were asked for. Returns the stop reason to put on record: `stop`, or
    /// [`StopReason::MaxTokens`] when the completion was longer than asked for and had to be cut.
    ///
    /// # Panics
    /// When the answer has been given already.
    pub fn reply(&mut self, completion: &[u32], stop: StopReason) -> StopReason {
        let Some(kind) = self.turn_kind() else {
            panic!("a reader that has given its answer takes no further reply");
        };
        let limits = &self.plan.limits;
        let max_tokens = match kind {
            TurnKind::Read { .. } => limits.max_memory_tokens,
            TurnKind::Answer => limits.max_answer_tokens,
        };
        let is_end = |id: &u32| self.plan.end_ids.contains(id);
        let before_end = completion
            .iter()
            .position(is_end)
            .unwrap_or(completion.len());
        let kept = completion[..before_end.min(max_tokens)].to_vec();
        let stop = if max_tokens < before_end {
            StopReason::MaxTokens
        } else {
            stop
        };
        match kind {
            TurnKind::Read { .. } => self.memory = kept,
            TurnKind::Answer => self.answer = Some(kept),
        }
        self.turn_idx += 1;
        stop
    }

    /// Takes the place of a reader of the same document that has `n_turns` turns behind it: its memory,
    /// and its answer once it has given it. As long as no chunk was read, the memory is the template's,
    /// whatever is given.
    ///
    /// # Errors
    /// [`ReaderError::GoOn`] for more turns than there are, a memory or an answer over its cap, an
    /// answer before the last turn or none after it.
    pub fn go_on(
        &mut self,
        n_turns: usize,
        memory: &[u32],
        answer: Option<&[u32]>,
    ) -> Result<(), ReaderError> {
        let wrong = |problem| Err(ReaderError::GoOn { n_turns, problem });
        let (limits, total) = (&self.plan.limits, self.n_turns());
        if total < n_turns {
            return wrong(format!("there are {total}"));
        }
        if answer.is_some() != (n_turns == total) {
            return wrong("the last of them, and no other, gives the answer".to_owned());
        }
        let over = |name: &str, n_tokens: usize, cap: usize| {
            wrong(format!(
                "the {name} has {n_tokens} tokens, over its cap of {cap}"
            ))
        };
        let memory = match self.n_chunks().min(n_turns) {
            0 => &self.plan.templates.empty_memory,
            _ if limits.max_memory_tokens < memory.len() => {
                return over("memory", memory.len(), limits.max_memory_tokens);
            }
            _ => memory,
        };
        let n_answer = answer.map_or(0, <[u32]>::len);
        if limits.max_answer_tokens < n_answer {
            return over("answer", n_answer, limits.max_answer_tokens);
        }
        self.memory = memory.to_vec();
        self.turn_idx = n_turns;
        self.answer = answer.map(<[u32]>::to_vec);
        Ok(())
    }

    /// Turns that have had their reply.
    pub fn n_turns_done(&self) -> usize {
        self.turn_idx
    }

    /// The memory as it stands, without end tokens; the template's empty memory before the first
    /// reply.
    pub fn memory(&self) -> &[u32] {
        &self.memory
    }

    /// The answer without end tokens, once given.
    pub fn answer(&self) -> Option<&[u32]> {
        self.answer.as_deref()
    }

    /// Turns from the first chunk to the answer: `n_chunks + 1`.
    pub fn n_turns(&self) -> usize {
        self.plan.spans.len() + 1
    }

    /// Chunks of the document.
    pub fn n_chunks(&self) -> usize {
        self.plan.spans.len()
    }

    /// Token spans of the chunks in [`Reader::document`].
    pub fn chunk_spans(&self) -> &[Range<usize>] {
        &self.plan.spans
    }

    /// The document as it is read, after any cut.
    pub fn document(&self) -> &Document {
        &self.plan.document
    }

    /// The question's ids.
    pub fn question(&self) -> &[u32] {
        &self.plan.question
    }

    /// The prompts.
    pub fn templates(&self) -> &Templates {
        &self.plan.templates
    }

    /// The ids that end a reply.
    pub fn end_ids(&self) -> &[u32] {
        &self.plan.end_ids
    }

    /// The token budgets.
    pub fn limits(&self) -> &ReaderLimits {
        &self.plan.limits
    }

    /// Tokens dropped from the document's centre to respect `max_chunks`.
    pub fn dropped_tokens(&self) -> usize {
        self.plan.dropped_tokens
    }

    /// What the turn that is due is for; `None` when the answer has been given.
    pub fn turn_kind(&self) -> Option<TurnKind> {
        let n_chunks = self.n_chunks();
        if self.turn_idx < n_chunks {
            Some(TurnKind::Read {
                chunk_idx: self.turn_idx,
            })
        } else if self.turn_idx == n_chunks {
            Some(TurnKind::Answer)
        } else {
            None
        }
    }
}

impl Plan {
    /// Longest memory that the prompt of turn `turn_idx` can show.
    pub(crate) fn longest_memory(&self, turn_idx: usize) -> usize {
        if turn_idx == 0 {
            self.templates.empty_memory.len()
        } else {
            self.limits.max_memory_tokens
        }
    }

    fn check_window(&self) -> Result<(), ReaderError> {
        let (n_question, n_chunks) = (self.question.len(), self.spans.len());
        for (chunk_idx, span) in self.spans.iter().enumerate() {
            let n_memory = self.longest_memory(chunk_idx);
            self.check_turn(
                &format!("the turn that reads chunk {chunk_idx}"),
                self.templates
                    .read
                    .filled_length(n_question, span.len(), n_memory),
                self.limits.max_memory_tokens,
                "chunk_size or max_memory_tokens",
            )?;
        }
        let n_memory = self.longest_memory(n_chunks);
        self.check_turn(
            "the answer turn",
            self.templates.answer.filled_length(n_question, 0, n_memory),
            self.limits.max_answer_tokens,
            "max_memory_tokens or max_answer_tokens",
        )
    }

    pub(crate) fn check_turn(
        &self,
        turn: &str,
        prompt_tokens: usize,
        max_tokens: usize,
        lower: &'static str,
    ) -> Result<(), ReaderError> {
        let total = prompt_tokens.saturating_add(max_tokens);
        match self.limits.window {
            Some(window) if window < total => Err(ReaderError::OverWindow {
                turn: turn.to_owned(),
                prompt_tokens,
                max_tokens,
                total,
                window,
                lower,
            }),
            _ => Ok(()),
        }
    }
}

/// A prompt needs one token at least to predict from, even with an empty memory and, for a
/// teacher, an empty chunk.
fn check_templates(templates: &Templates, n_question: usize) -> Result<(), ReaderError> {
    for (template, role) in [
        (&templates.read, TurnRole::Read),
        (&templates.answer, TurnRole::Answer),
    ] {
        let found = template.role();
        assert!(
            found == role || (role, found) == (TurnRole::Answer, TurnRole::Direct),
            "the read and answer templates have changed places"
        );
        // Direct templates read nothing, so that their read prompt is never made.
        let is_used = role != TurnRole::Read || !templates.is_direct();
        if is_used && template.filled_length(n_question, 0, 0) == 0 {
            return Err(ReaderError::EmptyPrompt { role: found });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TemplatesText;
    use proptest::prelude::*;

    const END: u32 = 0;
    const EMPTY: u32 = 9;
    const LIMITS: ReaderLimits = ReaderLimits {
        max_question_tokens: 2,
        max_memory_tokens: 3,
        max_answer_tokens: 2,
        window: None,
    };

    /// `Q question C chunk M memory W` and `Q question M memory A`, with bytes as ids.
    fn templates() -> Arc<Templates> {
        let text = TemplatesText::parse(
            "Q{question}C{chunk}M{memory}W",
            "Q{question}M{memory}A",
            "-",
        );
        let mut templates = text
            .unwrap()
            .compile(|text| text.bytes().map(u32::from).collect());
        templates.empty_memory = vec![EMPTY];
        Arc::new(templates)
    }

    fn reader_with(
        n_tokens: u32,
        max_chunks: Option<usize>,
        limits: ReaderLimits,
    ) -> Result<Reader, ReaderError> {
        let document = Document::new((100..100 + n_tokens).collect(), vec![]).unwrap();
        let chunks = ChunkOptions::new(2, 0, max_chunks).unwrap();
        Reader::new(
            &[7, 8],
            Arc::new(document),
            &chunks,
            templates(),
            limits,
            &[END],
        )
    }

    fn reader(n_tokens: u32) -> Reader {
        reader_with(n_tokens, None, LIMITS).unwrap()
    }

    fn prompt(reader: &Reader) -> Vec<u32> {
        reader.ask().unwrap().prompt
    }

    fn read_prompt(chunk: &[u32], memory: &[u32]) -> Vec<u32> {
        let [q, c, m, w] = [b'Q', b'C', b'M', b'W'].map(u32::from);
        [&[q, 7, 8, c], chunk, &[m], memory, &[w]].concat()
    }

    fn answer_prompt(memory: &[u32]) -> Vec<u32> {
        let [q, m, a] = [b'Q', b'M', b'A'].map(u32::from);
        [&[q, 7, 8, m], memory, &[a]].concat()
    }

    #[test]
    fn an_empty_document_goes_straight_to_the_answer() {
        let mut reader = reader(0);
        assert_eq!((reader.n_chunks(), reader.n_turns()), (0, 1));
        let ask = reader.ask().unwrap();
        assert_eq!(ask.kind, TurnKind::Answer);
        assert_eq!(ask.prompt, answer_prompt(&[EMPTY]));
        assert_eq!(ask.max_tokens, 2);
        reader.reply(&[42, END], StopReason::EndToken);
        assert_eq!(reader.answer(), Some(&[42][..]));
        assert_eq!(reader.ask(), None);
    }

    #[test]
    fn a_document_is_read_chunk_by_chunk_and_then_answered() {
        let mut reader = reader(3);
        assert_eq!((reader.n_chunks(), reader.n_turns()), (2, 3));
        let ask = reader.ask().unwrap();
        assert_eq!(ask.kind, TurnKind::Read { chunk_idx: 0 });
        assert_eq!(ask.prompt, read_prompt(&[100, 101], &[EMPTY]));
        assert_eq!(ask.max_tokens, 3);
        assert_eq!(reader.ask(), Some(ask), "asking twice changes nothing");

        reader.reply(&[51, 52, END], StopReason::EndToken);
        assert_eq!(reader.memory(), [51, 52]);
        assert_eq!(reader.ask().unwrap().kind, TurnKind::Read { chunk_idx: 1 });
        assert_eq!(prompt(&reader), read_prompt(&[102], &[51, 52]));

        reader.reply(&[53, END], StopReason::EndToken);
        assert_eq!(reader.ask().unwrap().kind, TurnKind::Answer);
        assert_eq!(
            prompt(&reader),
            answer_prompt(&[53]),
            "the memory is written anew"
        );
        assert_eq!(reader.answer(), None);
        reader.reply(&[END], StopReason::EndToken);
        assert_eq!(reader.answer(), Some(&[][..]));
    }

    #[test]
    fn documents_shorter_than_a_chunk_or_ending_on_a_boundary() {
        assert_eq!(prompt(&reader(1)), read_prompt(&[100], &[EMPTY]));
        assert_eq!(reader(1).n_chunks(), 1);
        assert_eq!(reader(2).n_chunks(), 1);
        assert_eq!(reader(4).n_chunks(), 2);
    }

    #[test]
    fn a_memory_that_was_erased_stays_empty() {
        let mut reader = reader(2);
        reader.reply(&[END], StopReason::EndToken);
        assert_eq!(
            prompt(&reader),
            answer_prompt(&[]),
            "not the memory of the first turn"
        );
    }

    #[test]
    fn a_memory_at_its_cap_goes_on_whole_with_the_cap_on_record() {
        let mut reader = reader(2);
        let stop = reader.reply(&[51, 52, 53], StopReason::MaxTokens);
        assert_eq!(stop, StopReason::MaxTokens);
        assert_eq!(reader.memory(), [51, 52, 53]);
    }

    #[test]
    fn a_completion_longer_than_asked_for_is_cut_and_the_record_says_so() {
        let mut reader = reader(2);
        let stop = reader.reply(&[51, 52, 53, 54, END], StopReason::EndToken);
        assert_eq!(stop, StopReason::MaxTokens);
        assert_eq!(reader.memory(), [51, 52, 53]);
        let stop = reader.reply(&[61, 62, END], StopReason::EndToken);
        assert_eq!(
            stop,
            StopReason::EndToken,
            "two tokens and an end fit a cap of two carried"
        );
        assert_eq!(reader.answer(), Some(&[61, 62][..]));
    }

    #[test]
    fn nothing_after_an_end_token_is_carried() {
        let mut reader = reader(2);
        reader.reply(&[51, END, 52], StopReason::EndToken);
        assert_eq!(reader.memory(), [51]);
    }

    #[test]
    fn a_document_over_max_chunks_is_cut_in_the_centre_and_counted() {
        let reader = reader_with(9, Some(2), LIMITS).unwrap();
        assert_eq!(reader.document().ids, [100, 101, 107, 108]);
        assert_eq!((reader.n_chunks(), reader.dropped_tokens()), (2, 5));
        assert_eq!(reader_with(4, Some(2), LIMITS).unwrap().dropped_tokens(), 0);
    }

    #[test]
    fn attempts_share_the_document_but_not_the_memory() {
        let mut first = reader(4);
        let mut second = first.clone();
        assert!(Arc::ptr_eq(&first.plan, &second.plan));
        first.reply(&[1], StopReason::MaxTokens);
        second.reply(&[2], StopReason::MaxTokens);
        assert_eq!((first.memory(), second.memory()), (&[1][..], &[2][..]));
    }

    #[test]
    fn a_question_over_its_budget_is_refused_with_the_numbers() {
        let limits = ReaderLimits {
            max_question_tokens: 1,
            ..LIMITS
        };
        assert_eq!(
            reader_with(4, None, limits).unwrap_err().to_string(),
            "the question has 2 tokens, over max_question_tokens = 1; shorten it or raise the limit"
        );
    }

    #[test]
    fn a_turn_that_could_exceed_the_window_is_refused_with_the_numbers() {
        let refused = |n_tokens, window, limits| {
            let limits = ReaderLimits {
                window: Some(window),
                ..limits
            };
            reader_with(n_tokens, None, limits)
                .map(|_| ())
                .map_err(|error| error.to_string())
        };
        // First chunk: 4 marks, 2 question, 2 chunk, 1 memory = 9, and 3 new. Second: 11 and 3.
        assert_eq!(refused(2, 12, LIMITS), Ok(()));
        assert_eq!(refused(4, 14, LIMITS), Ok(()));
        assert_eq!(
            refused(4, 13, LIMITS).unwrap_err(),
            "the turn that reads chunk 1 may need 11 prompt tokens and 3 new ones, 14 in all, over \
             the window of 13; lower chunk_size or max_memory_tokens, or use a larger window"
        );
        assert!(
            refused(2, 11, LIMITS)
                .unwrap_err()
                .contains("chunk 0 may need 9 prompt tokens")
        );
        // Answer: 3 marks, 2 question, 3 memory = 8, and 20 new.
        let long_answer = ReaderLimits {
            max_answer_tokens: 20,
            ..LIMITS
        };
        assert_eq!(refused(2, 28, long_answer), Ok(()));
        assert!(
            refused(2, 27, long_answer)
                .unwrap_err()
                .starts_with("the answer turn may need 8 prompt tokens and 20 new ones, 28 in all")
        );
    }

    #[test]
    fn limits_that_leave_nothing_to_sample_are_refused() {
        let memory = ReaderLimits {
            max_memory_tokens: 0,
            ..LIMITS
        };
        let answer = ReaderLimits {
            max_answer_tokens: 0,
            ..LIMITS
        };
        let text = |limits| reader_with(2, None, limits).unwrap_err().to_string();
        assert!(text(memory).starts_with("max_memory_tokens is 0"));
        assert!(text(answer).starts_with("max_answer_tokens is 0"));
    }

    #[test]
    fn a_prompt_that_could_be_empty_is_refused() {
        let bare = TemplatesText::parse("{question}{chunk}{memory}w", "{question}{memory}", "");
        let bare = Arc::new(bare.unwrap().compile(|_| vec![1]));
        let make = |question: &[u32]| {
            let chunks = ChunkOptions::new(2, 0, None).unwrap();
            let document = Arc::new(Document::default());
            Reader::new(
                question,
                document,
                &chunks,
                Arc::clone(&bare),
                LIMITS,
                &[END],
            )
        };
        assert_eq!(
            make(&[]).unwrap_err(),
            ReaderError::EmptyPrompt {
                role: TurnRole::Answer
            }
        );
        assert!(make(&[5]).is_ok());
    }

    #[test]
    fn direct_templates_answer_at_once_and_take_no_document() {
        let text = TemplatesText::direct("Q{question}A").unwrap();
        let templates = Arc::new(text.compile(|text| text.bytes().map(u32::from).collect()));
        let make = |n_tokens: u32, limits| {
            let document = Document::new((100..100 + n_tokens).collect(), vec![]).unwrap();
            let chunks = ChunkOptions::new(2, 0, None).unwrap();
            let templates = Arc::clone(&templates);
            Reader::new(
                &[7, 8],
                Arc::new(document),
                &chunks,
                templates,
                limits,
                &[END],
            )
        };
        let mut reader = make(0, LIMITS).unwrap();
        let ask = reader.ask().unwrap();
        assert_eq!((ask.kind, ask.max_tokens), (TurnKind::Answer, 2));
        assert_eq!(ask.prompt, [u32::from(b'Q'), 7, 8, u32::from(b'A')]);
        assert_eq!((reader.n_turns(), reader.memory()), (1, &[][..]));
        reader.reply(&[42, END], StopReason::EndToken);
        assert_eq!((reader.ask(), reader.answer()), (None, Some(&[42][..])));

        assert_eq!(
            make(3, LIMITS).unwrap_err().to_string(),
            "there is a document of 3 tokens, but the direct template shows only the question; use \
             a template that reads, or a task without documents"
        );
        // 2 marks, 2 of the question and 2 new ones; no memory counts.
        let within = |window| ReaderLimits {
            window: Some(window),
            ..LIMITS
        };
        assert!(make(0, within(6)).is_ok());
        assert!(
            make(0, within(5))
                .unwrap_err()
                .to_string()
                .contains("4 prompt tokens")
        );
    }

    #[test]
    fn a_place_that_a_reader_never_reaches_is_refused() {
        let refused = |n_tokens, n_turns, memory: &[u32], answer: Option<&[u32]>| {
            let mut reader = reader(n_tokens);
            let error = reader.go_on(n_turns, memory, answer).unwrap_err();
            assert_eq!((reader.n_turns_done(), reader.memory()), (0, &[EMPTY][..]));
            error.to_string()
        };
        assert_eq!(
            refused(3, 4, &[], None),
            "cannot go on after 4 turns: there are 3"
        );
        assert!(refused(3, 2, &[], Some(&[])).contains("gives the answer"));
        assert!(refused(3, 3, &[], None).contains("gives the answer"));
        assert!(
            refused(3, 1, &[1; 4], None).contains("the memory has 4 tokens, over its cap of 3")
        );
        assert!(refused(3, 3, &[], Some(&[1; 3])).contains("the answer has 3 tokens"));
    }

    proptest! {
        /// A reader that takes another's place asks what the other one asks, at any turn.
        #[test]
        fn a_place_that_was_taken_is_the_place_that_was_left(
            n_tokens in 0_u32..9,
            n_turns in 0_usize..7,
            replies in proptest::collection::vec(proptest::collection::vec(0_u32..4, 0..6), 7),
        ) {
            let mut left = reader(n_tokens);
            for reply in replies.iter().take(n_turns.min(left.n_turns())) {
                left.reply(reply, StopReason::EndToken);
            }
            let mut taken = reader(n_tokens);
            let memory: &[u32] = if left.n_turns_done() == 0 { &[7; 9] } else { left.memory() };
            taken.go_on(left.n_turns_done(), memory, left.answer()).unwrap();
            prop_assert_eq!(taken.memory(), left.memory());
            prop_assert_eq!((taken.ask(), taken.answer()), (left.ask(), left.answer()));
        }

        /// Whatever is replied, no prompt outgrows the window that the reader accepted.
        #[test]
        fn no_prompt_exceeds_the_window_that_was_accepted(
            n_tokens in 0_u32..12,
            window in 6_usize..30,
            replies in proptest::collection::vec(proptest::collection::vec(0_u32..4, 0..6), 13),
        ) {
            let limits = ReaderLimits { window: Some(window), ..LIMITS };
            let Ok(mut reader) = reader_with(n_tokens, None, limits) else { return Ok(()) };
            let mut n_turns = 0;
            while let Some(ask) = reader.ask() {
                prop_assert!(ask.prompt.len() + ask.max_tokens <= window);
                reader.reply(&replies[n_turns], StopReason::EndToken);
                prop_assert!(!reader.memory().contains(&END));
                n_turns += 1;
            }
            prop_assert_eq!(n_turns, reader.n_turns());
            prop_assert!(reader.answer().is_some());
        }
    }
}
