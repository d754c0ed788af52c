//! Reads documents with any generator: chat prompts, streamed notes, notes to go on from.
