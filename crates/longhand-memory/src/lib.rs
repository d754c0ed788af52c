//! Chunk spans and the chunk reader's context state machine.
//!
//! A long document is read one chunk at a time: every turn sees the question, one chunk and the
//! memory the reader wrote before, and writes the memory anew; after the last chunk the answer is
//! given from the question and the memory alone (MemAgent, arXiv:2507.02259, sections 2.1 to 2.3).
//!
//! 1. [`Document`] holds token ids and the spans that are relevant, and can be cut in its centre.
//! 2. [`ChunkOptions`] and [`chunk_spans`] say which windows of it are read.
//! 3. [`Templates`] turn a question, a chunk and a memory into a prompt.
//! 4. [`Reader`] is the state machine for one document: it says what to ask and is told the reply.
//! 5. [`Reader::teacher_prompt`] is the better informed prompt of the same turn (TAMTRL).
//!
//! Everything is token ids; text appears only in templates, before they are compiled.
//!
//! Knows nothing of models, tokenizers, sampling, batches or rewards: whoever drives a reader
//! brings them.

mod chunks;
mod document;
mod error;
mod presets;
mod reader;
mod teacher;
mod template;

pub use crate::chunks::{ChunkOptions, chunk_spans};
pub use crate::document::{Document, centre_cut, relevant_in};
pub use crate::error::ReaderError;
pub use crate::presets::PRESETS;
pub use crate::reader::{Ask, Reader, ReaderLimits, StopReason, TurnKind};
pub use crate::teacher::TeacherScope;
pub use crate::template::{Part, Slot, Template, TemplateText, Templates, TemplatesText, TurnRole};
