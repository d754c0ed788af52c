//! Documents from files: formats, titles, and what is said about files that cannot be read.

use std::{
    fs,
    path::{Path, PathBuf},
};

use longhand_documents::{
    DocumentError, DocumentFormat, Markup, ReadOptions, read_document, read_document_with,
    read_documents,
};
use proptest::prelude::*;
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn written(folder: &TempDir, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, contents).expect("a temporary file");
    path
}

fn check(name: &str, contents: &[u8], title: &str, text: &str) {
    let folder = folder();
    let document = read_document(&written(&folder, name, contents)).expect("a sound file");
    assert_eq!(
        (document.title.as_str(), document.text.as_str()),
        (title, text),
        "{name}"
    );
}

fn refused(path: &Path) -> String {
    let error = read_document(path).expect_err("not a document");
    error.to_string()
}

#[test]
fn each_format_gives_its_text_and_title() {
    check("The book.txt", b"\xef\xbb\xbfa\r\nb", "The book", "a\nb");
    check("wide.txt", b"\xff\xfe\xe9\0\n\0", "wide", "é\n");
    check(
        "a.md",
        b"text\n\n# Its *name*\n",
        "Its name",
        "text\n\n# Its *name*\n",
    );
    check("a.md", b"text", "a", "text");
    check("a.html", b"<title>T</title><p>x &amp; y", "T", "x & y\n");
    check("page", b"<!DOCTYPE html><p>x", "page", "x\n");
    check("notes", b"<p>x", "notes", "<p>x");
}

#[test]
fn options_choose_format_and_markup() {
    let folder = folder();
    let path = written(&folder, "a.txt", "# A\n\n*b*\n");
    let options = ReadOptions {
        format: Some(DocumentFormat::Markdown),
        markup: Markup::Stripped,
    };
    let document = read_document_with(&path, options).expect("a sound file");
    assert_eq!(
        (document.title.as_str(), document.text.as_str()),
        ("A", "A\n\nb\n")
    );
}

#[test]
fn several_documents_have_titles_of_their_own() {
    let folder = folder();
    let paths = ["a.md", "b.md", "a (2).txt", "a.txt"].map(|name| {
        let contents = if name.ends_with("md") {
            "# a\n"
        } else {
            "text"
        };
        written(&folder, name, contents)
    });
    let documents = read_documents(&paths, ReadOptions::default()).expect("sound files");
    let titles: Vec<&str> = documents.iter().map(|d| d.title.as_str()).collect();
    assert_eq!(titles, ["a", "a (2)", "a (2) (2)", "a (3)"]);

    let missing = [paths[0].clone(), folder.path().join("missing.txt")];
    let error = read_documents(&missing, ReadOptions::default()).unwrap_err();
    assert!(error.to_string().contains("missing.txt"), "{error}");
}

#[test]
fn files_without_text_are_refused_with_the_mend() {
    let folder = folder();
    for (name, contents, message) in [
        (
            "a.pdf",
            &b"%PDF-1.7\n"[..],
            "is a PDF file, which is not read; convert it first: `pdftotext",
        ),
        ("a.txt", b"%PDF-1.7\n", "is a PDF file"),
        (
            "a.docx",
            b"PK\x03\x04...",
            "is a zip archive, as office files",
        ),
        (
            "a.txt",
            b"caf\xe9",
            "bytes that are not UTF-8 at byte 3; save it in UTF-8, or convert it",
        ),
        (
            "a.md",
            b"a\0b\0",
            "in UTF-16 without a byte order mark, at byte 1; give a text file",
        ),
        ("a.txt", b"", "holds no text"),
        ("a.txt", b" \n", "holds no text"),
        ("a.html", b"<script>x</script>", "holds no text"),
    ] {
        let path = written(&folder, name, contents);
        let error = refused(&path);
        assert!(
            error.starts_with(&path.display().to_string()) && error.contains(message),
            "{error}"
        );
    }
    assert!(refused(folder.path()).contains("is a folder, not a file"));
    let missing = read_document(&folder.path().join("missing"));
    assert!(matches!(missing, Err(DocumentError::Unreadable { .. })));
}

proptest! {
    /// Whatever a file holds, reading it ends with a text or an error.
    #[test]
    fn no_file_panics(bytes in proptest::collection::vec(
        prop_oneof![Just(b'<'), Just(b'>'), Just(b'#'), Just(b'&'), Just(b'\n'), Just(b'`'), any::<u8>()], 0..80)) {
        let folder = folder();
        for name in ["a.txt", "a.md", "a.html", "a"] {
            let path = written(&folder, name, &bytes);
            let options = ReadOptions { markup: Markup::Stripped, format: None };
            if let Ok(document) = read_document_with(&path, options) {
                prop_assert!(!document.text.trim().is_empty());
                prop_assert!(!document.title.contains('\n'));
            }
        }
    }
}
