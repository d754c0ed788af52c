//! The text and title of documents in files: plain text, Markdown and HTML.
//!
//! [`read_document`] tells what a file is from its contents and its extension, and gives its text as
//! UTF-8 with line feeds at line ends. [`read_documents`] reads several, each with a title of its own.
//!
//! | format | text | title |
//! |---|---|---|
//! | plain text | as it is; UTF-8, or UTF-16 with a byte order mark | the file's name |
//! | Markdown | as it is, or without its markup | the first heading |
//! | HTML | what a page shows: no scripts and styles, entities decoded, blocks as lines | `<title>`, else the first `<h1>` |
//!
//! PDF is refused with the command that converts it: its readers go too wrong on hostile files, in
//! ways that a program cannot survive, to be let near them in the same process. So are archives and
//! office files.
//!
//! A file of `n` bytes takes up to about `2 n` bytes of memory while it is read; a page of HTML twice
//! its longest run of text without a tag more.
//!
//! Knows nothing of questions, tokens or models.

mod document;
mod format;

mod encoding;
mod html;
mod markdown;

mod error;

pub use document::{Document, ReadOptions, read_document, read_document_with, read_documents};
pub use error::DocumentError;
pub use format::{DocumentFormat, Markup};
