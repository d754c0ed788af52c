//! Small GGUF files, written here, through the whole import.

mod blocks;
mod hostile;
mod model;
mod writer;
