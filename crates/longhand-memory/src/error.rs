//! What can be wrong with a document, its chunking, a template or a reader's limits.

use crate::TurnRole;

/// Why a document cannot be read as asked. Every variant is found before anything is sampled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReaderError {
    /// Chunks of no tokens.
    #[error("chunk_size is 0: a chunk needs at least one token")]
    ChunkSizeZero,
    /// Chunks that repeat all of the chunk before them.
    #[error(
        "overlap is {overlap} but chunk_size is {chunk_size}: a chunk would hold nothing new; \
         use an overlap below chunk_size"
    )]
    Overlap {
        /// The overlap asked for.
        overlap: usize,
        /// The chunk size asked for.
        chunk_size: usize,
    },
    /// A document of which nothing may be read.
    #[error("max_chunks is 0: leave it out to read the whole document, or use at least 1")]
    MaxChunksZero,
    /// Relevant spans that are not sorted, disjoint, filled and inside the document.
    #[error(
        "relevant span {idx} is {start}..{end}, but spans are sorted, disjoint and not empty: it \
         must lie in {free_from}..{n_tokens} of this document of {n_tokens} tokens"
    )]
    RelevantSpan {
        /// Index of the span.
        idx: usize,
        /// Its first token position.
        start: usize,
        /// One past its last token position.
        end: usize,
        /// First position not covered by the spans before it.
        free_from: usize,
        /// Tokens in the document.
        n_tokens: usize,
    },
    /// A preset name that does not exist.
    #[error("unknown template preset `{name}`; the presets are {known}")]
    UnknownPreset {
        /// The name asked for.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// A placeholder that the template needs and lacks.
    #[error("the {role} template lacks the placeholder {{{name}}}; it needs {needed}")]
    MissingPlaceholder {
        /// Which template.
        role: TurnRole,
        /// The placeholder it lacks.
        name: &'static str,
        /// All placeholders it needs.
        needed: String,
    },
    /// A chunk or memory placed twice.
    #[error(
        "the {role} template names the placeholder {{{name}}} {n_times} times; only {{question}} \
         may stand more than once"
    )]
    RepeatedPlaceholder {
        /// Which template.
        role: TurnRole,
        /// The placeholder it repeats.
        name: &'static str,
        /// How often it stands there.
        n_times: usize,
    },
    /// A placeholder that means nothing in this template.
    #[error(
        "the {role} template names the unknown placeholder {{{name}}}; it may name {known}, and a \
         plain brace is written {{{{ or }}}}"
    )]
    UnknownPlaceholder {
        /// Which template.
        role: TurnRole,
        /// The name between the braces.
        name: String,
        /// The names that this template knows.
        known: String,
    },
    /// A brace without its partner.
    #[error(
        "the {role} template has a single `{brace}` at byte {at}; a plain brace is written {{{{ \
         or }}}}"
    )]
    SingleBrace {
        /// Which template.
        role: TurnRole,
        /// The brace.
        brace: char,
        /// Its byte position in the template's text.
        at: usize,
    },
    /// A template and a question that together may make a prompt of no tokens.
    #[error(
        "the {role} template has no text of its own and the question has no tokens: its prompt \
         could be empty; give the template some text or ask a question"
    )]
    EmptyPrompt {
        /// Which template.
        role: TurnRole,
    },
    /// A limit that leaves nothing to sample.
    #[error("{name} is 0: a turn needs room for at least one sampled token")]
    LimitZero {
        /// Name of the limit.
        name: &'static str,
    },
    /// A question over its budget.
    #[error(
        "the question has {n_tokens} tokens, over max_question_tokens = {max_question_tokens}; \
         shorten it or raise the limit"
    )]
    QuestionTooLong {
        /// Tokens in the question.
        n_tokens: usize,
        /// The limit.
        max_question_tokens: usize,
    },
    /// A turn that may not fit into the window.
    #[error(
        "{turn} may need {prompt_tokens} prompt tokens and {max_tokens} new ones, {total} in all, \
         over the window of {window}; lower {lower}, or use a larger window"
    )]
    OverWindow {
        /// Which turn.
        turn: String,
        /// Longest prompt that the turn can have.
        prompt_tokens: usize,
        /// Tokens that may be sampled after it.
        max_tokens: usize,
        /// Sum of the two.
        total: usize,
        /// The window.
        window: usize,
        /// Settings that make the turn smaller.
        lower: &'static str,
    },
    /// A document for templates that show none.
    #[error(
        "there is a document of {n_tokens} tokens, but the direct template shows only the question; \
         use a template that reads, or a task without documents"
    )]
    DocumentUnread {
        /// Tokens in the document.
        n_tokens: usize,
    },
    /// A place to go on from that this reader never reaches.
    #[error("cannot go on after {n_turns} turns: {problem}")]
    GoOn {
        /// Turns that are said to be done.
        n_turns: usize,
        /// Why that cannot be.
        problem: String,
    },
}
