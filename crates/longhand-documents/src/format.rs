//! Which format a file has, by its first bytes and its extension.

use std::path::Path;

/// The formats of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DocumentFormat {
    /// Text without markup.
    Plain,
    /// Markdown.
    Markdown,
    /// A page of HTML.
    Html,
}

/// What happens to the markup of Markdown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Markup {
    /// The text is what the file says.
    #[default]
    Kept,
    /// Only what a reader would see: headings, paragraphs, items, cells and code.
    Stripped,
}

/// How many first bytes of a file tell its format.
pub(crate) const N_TELLING_BYTES: usize = 1024;

/// What a file is that is not read, and how to get text out of it.
pub(crate) type Refusal = (&'static str, &'static str);

/// First bytes of files that hold documents but are not text.
const NOT_READ: [(&[u8], Refusal); 5] = [
    (
        b"%PDF-",
        (
            "a PDF file",
            "convert it first: `pdftotext FILE.pdf FILE.txt` (of poppler-utils)",
        ),
    ),
    (
        b"PK\x03\x04",
        (
            "a zip archive, as office files and e-books are",
            "convert it first: `pandoc FILE -t plain -o FILE.txt`, or unpack it",
        ),
    ),
    (
        b"\xd0\xcf\x11\xe0",
        (
            "an old office file",
            "convert it first: `libreoffice --convert-to txt FILE`",
        ),
    ),
    (
        b"{\\rtf",
        (
            "a rich text file",
            "convert it first: `pandoc FILE -t plain -o FILE.txt`",
        ),
    ),
    (
        b"\x1f\x8b",
        ("compressed with gzip", "unpack it first: `gunzip FILE`"),
    ),
];

/// The format of a file that begins with `start`; what cannot be text is told by its bytes, the rest
/// by its extension, and a file without a known extension by its first tag.
pub(crate) fn told(path: &Path, start: &[u8]) -> Result<DocumentFormat, Refusal> {
    if let Some((_, refusal)) = NOT_READ.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Err(*refusal);
    }
    let extension = path
        .extension()
        .and_then(|extension| extension.to_str())
        .map(str::to_ascii_lowercase);
    Ok(match extension.as_deref() {
        Some("txt" | "text") => DocumentFormat::Plain,
        Some("md" | "markdown" | "mdown" | "mkd") => DocumentFormat::Markdown,
        Some("html" | "htm" | "xhtml") => DocumentFormat::Html,
        _ if begins_like_html(start) => DocumentFormat::Html,
        _ => DocumentFormat::Plain,
    })
}

fn begins_like_html(start: &[u8]) -> bool {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    let start = start.trim_ascii_start();
    [&b"<!doctype html"[..], b"<html"].iter().any(|tag| {
        start
            .get(..tag.len())
            .is_some_and(|first| first.eq_ignore_ascii_case(tag))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_before_extensions_and_extensions_before_tags() {
        use DocumentFormat::{Html, Markdown, Plain};
        for (name, start, expected) in [
            ("a.txt", &b"<html>"[..], Some(Plain)),
            ("a.MD", b"# x", Some(Markdown)),
            ("a.htm", b"x", Some(Html)),
            ("a", b"\xef\xbb\xbf \n<!DOCTYPE HTML>", Some(Html)),
            ("a.page", b"<HTML lang=en>", Some(Html)),
            ("a.log", b"html", Some(Plain)),
            ("a.rs", b"", Some(Plain)),
            ("a.txt", b"%PDF-1.7", None),
            ("a.docx", b"PK\x03\x04", None),
            ("a.md", b"\x1f\x8b\x08", None),
        ] {
            assert_eq!(told(Path::new(name), start).ok(), expected, "{name}");
        }
    }
}
