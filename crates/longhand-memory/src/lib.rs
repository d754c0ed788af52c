//! Chunk spans and the chunk reader's context state machine.
//!
//! A long document is read one chunk at a time: every turn sees the question, one chunk and the
//! memory the reader wrote before, and writes the memory anew; after the last chunk the answer is
//! given from the question and the memory alone (MemAgent, arXiv:2507.02259, section 2.3).
//!
//! 1. [`Document`] holds token ids and the spans that are relevant, and can be cut in its centre.
//! 2. [`ChunkOptions`] and [`chunk_spans`] say which windows of it are read.
//! 3. [`Templates`] turn a question, a chunk and a memory into a prompt.
//! 4. [`Reader`] is the state machine for one document: it says what to ask and is told the reply.
//! 5. [`Reader::teacher_prompt`] is the better informed prompt of the same turn (TAMTRL).
//!
//! Ask and reply take turns until there is nothing left to ask:
//!
//! ```
//! use std::sync::Arc;
//! use longhand_memory::{ChunkOptions, Document, Reader, ReaderLimits, StopReason, TemplatesText};
//!
//! let templates = TemplatesText::preset("longhand")?.compile(|text| {
//!     text.bytes().map(u32::from).collect()
//! });
//! let limits = ReaderLimits {
//!     max_question_tokens: 64,
//!     max_memory_tokens: 100,
//!     max_answer_tokens: 10,
//!     window: None,
//! };
//! let document = Document::new(vec![7; 250], vec![])?;
//! let chunks = ChunkOptions::new(100, 0, None)?;
//! let mut reader =
//!     Reader::new(&[1, 2], Arc::new(document), &chunks, Arc::new(templates), limits, &[0])?;
//!
//! let mut n_turns = 0;
//! while let Some(_ask) = reader.ask() {
//!     // A model would continue `_ask.prompt` by at most `_ask.max_tokens` tokens; 0 ends it.
//!     reader.reply(&[42, 0], StopReason::EndToken);
//!     n_turns += 1;
//! }
//! assert_eq!(n_turns, 4);
//! assert_eq!(reader.answer(), Some(&[42][..]));
//! # Ok::<(), longhand_memory::ReaderError>(())
//! ```
//!
//! A question without a document is answered at once, by the same machine in one turn: its templates
//! are [`TemplatesText::direct`].
//!
//! Everything is token ids; text appears only in templates, before they are compiled.
//!
//! Knows nothing of models, tokenizers, sampling, batches or rewards: whoever drives a reader
//! brings them.

mod chunks;
mod document;
mod error;
mod limits;
mod presets;
mod reader;
mod teacher;
mod template;
mod turn;

pub use crate::chunks::{ChunkOptions, chunk_spans};
pub use crate::document::{Document, centre_cut, relevant_in};
pub use crate::error::ReaderError;
pub use crate::limits::ReaderLimits;
pub use crate::presets::PRESETS;
pub use crate::reader::Reader;
pub use crate::teacher::TeacherScope;
pub use crate::template::{Part, Slot, Template, TemplateText, Templates, TemplatesText, TurnRole};
pub use crate::turn::{Ask, StopReason, TurnKind};
