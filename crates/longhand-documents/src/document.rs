//! Reading of documents: from a path to a title and a text.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _},
    path::{Path, PathBuf},
};

use crate::{
    DocumentError, DocumentFormat, Markup,
    encoding::{DecodeError, decoded},
    format::{N_TELLING_BYTES, told},
    html, markdown,
};

/// One document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// What it calls itself, else the name of its file without the extension; one line.
    pub title: String,
    /// What it says, with line feeds at line ends.
    pub text: String,
}

/// How documents are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// The format, where neither contents nor extension are to be asked.
    pub format: Option<DocumentFormat>,
    /// What happens to the markup of Markdown.
    pub markup: Markup,
}

/// Reads one document, in the format that its contents and its extension tell.
///
/// # Errors
/// If it is no file, cannot be read, is in a format that is not read, is not text, or has no text.
pub fn read_document(path: &Path) -> Result<Document, DocumentError> {
    read_document_with(path, ReadOptions::default())
}

/// Reads one document in the way that `options` say.
///
/// # Errors
/// As [`read_document`].
pub fn read_document_with(path: &Path, options: ReadOptions) -> Result<Document, DocumentError> {
    let unreadable = |source| DocumentError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let not_a_file = |what| DocumentError::NotAFile {
        path: path.to_owned(),
        what,
    };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(not_a_file("a folder"));
    }
    if !metadata.is_file() {
        return Err(not_a_file("a device or a pipe"));
    }
    let mut file = File::open(path).map_err(unreadable)?;
    let mut start = Vec::new();
    (&mut file)
        .take(N_TELLING_BYTES as u64)
        .read_to_end(&mut start)
        .map_err(unreadable)?;
    file.rewind().map_err(unreadable)?;
    let refused = |(what, mend)| DocumentError::UnknownFormat {
        path: path.to_owned(),
        what,
        mend,
    };
    let format = match options.format {
        Some(format) => format,
        None => told(path, &start).map_err(refused)?,
    };

    let n_bytes = usize::try_from(metadata.len()).unwrap_or(0);
    let source = decoded(file, n_bytes).map_err(|error| match error {
        DecodeError::Io(source) => unreadable(source),
        DecodeError::NotText {
            offset,
            reason,
            mend,
        } => DocumentError::NotText {
            path: path.to_owned(),
            offset,
            reason,
            mend,
        },
    })?;
    let Document { title, text } = match (format, options.markup) {
        (DocumentFormat::Plain, _) => Document {
            title: String::new(),
            text: source,
        },
        (DocumentFormat::Markdown, Markup::Kept) => Document {
            title: markdown::title(&source),
            text: source,
        },
        (DocumentFormat::Markdown, Markup::Stripped) => Document {
            title: markdown::title(&source),
            text: markdown::stripped(&source),
        },
        (DocumentFormat::Html, _) => html::document(&source),
    };
    if text.trim().is_empty() {
        return Err(DocumentError::Empty {
            path: path.to_owned(),
        });
    }
    let title = if title.is_empty() {
        name_of(path)
    } else {
        title
    };
    Ok(Document { title, text })
}

/// Reads several documents. Where titles are the same, the second gets ` (2)`, and so on.
///
/// # Errors
/// As [`read_document`], for the first that cannot be read.
pub fn read_documents(
    paths: &[PathBuf],
    options: ReadOptions,
) -> Result<Vec<Document>, DocumentError> {
    let mut documents: Vec<Document> = Vec::with_capacity(paths.len());
    for path in paths {
        let mut document = read_document_with(path, options)?;
        let is_taken = |title: &str| documents.iter().any(|other| other.title == title);
        if is_taken(&document.title) {
            let numbered = (2..).map(|n| format!("{} ({n})", document.title));
            if let Some(title) = numbered.into_iter().find(|title| !is_taken(title)) {
                document.title = title;
            }
        }
        documents.push(document);
    }
    Ok(documents)
}

fn name_of(path: &Path) -> String {
    path.file_stem()
        .map(|stem| one_line(&stem.to_string_lossy()))
        .unwrap_or_default()
}

/// A text with single spaces between its words.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
