//! Reads documents with any generator: chat prompts, streamed notes, notes to go on from.
//!
//! 1. [`Library`] reads files and joins them, each with its title, into one sequence of ids.
//! 2. [`Prompting`] gives a reader's prompts the form that the model was trained with: [`in_chat`] puts
//!    them into its chat template, once and not at every turn.
//! 3. [`default_limits`] and [`default_chunks`] share a model's window among chunk, question and notes.
//! 4. [`Reading`] asks turn by turn, shows the text of a reply as it is sampled, says how far it is, and
//!    keeps a [`NotesFile`] from which it goes on after an interruption.
//! 5. [`JsonReport`] writes the turns as one JSON document.
//!
//! Knows nothing of models and tokenizers: a [`longhand_rollout::Generate`] samples, and functions from
//! text to ids and back are given. Fixed text of templates is encoded with special tokens recognised;
//! documents and questions are not, so that a document which says `<|im_end|>` is text.

mod circles;
mod detokenizer;
mod in_chat;
mod joined;
mod json_report;
mod notes;
mod progress;
mod prompting;
mod reading;
mod sizes;

pub use detokenizer::{Decode, DecodeError, Detokenizer, text_of};
pub use in_chat::{ChatOptions, InChatError, in_chat, rendered};
pub use joined::{Joined, JoinedDocument, Library};
pub use json_report::JsonReport;
pub use notes::{Answer, NotesError, NotesFile, Place, ReadingId};
pub use progress::Progress;
pub use prompting::{ChatChoice, Prompting, PromptingError};
pub use reading::{Ended, Event, ReadError, Reading, Turn};
pub use sizes::{default_chunks, default_limits};
