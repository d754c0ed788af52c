//! Whole readings with a scripted generator, and prompts in chat templates.

mod chat;
mod fixture;
mod notes_file;
mod report;
mod turns;
