//! Conversations into prompts: chat templates of model folders, rendered as Hugging Face does.
//!
//! [`ChatTemplate::load`] reads a template from a model's folder, [`ChatTemplate::render`] turns messages
//! into the text that the model was trained to read, [`ChatTemplate::keeps_prefixes`] says whether the
//! text of a conversation begins with the text of its first turns, and [`stop_ids`] which tokens end a
//! turn.
//!
//! A template is a program from outside. Instructions, bytes and time of a rendering are bounded
//! ([`Limits`]), so a hostile one ends in an error.
//!
//! Knows nothing of tokenizers and models: messages go in, text comes out.

mod budget;
mod clock;
mod environment;
mod error;
mod folder;
mod guard;
mod json;
mod message;
mod prefixes;
mod python;
mod render;
mod tokens;

pub use budget::Limits;
pub use clock::{Clock, DateTime};
pub use error::ChatError;
pub use message::Message;
pub use prefixes::{Difference, Outcome, PrefixCase, PrefixReport};
pub use render::{ChatTemplate, RenderOptions};
pub use tokens::stop_ids;
