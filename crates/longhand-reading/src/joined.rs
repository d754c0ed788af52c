//! Several documents as one sequence of token ids.
//!
//! One document is its text alone; several stand one after another, each with a number and its title, in
//! the form that readers are trained on (MemAgent's code, arXiv:2507.02259):
//!
//! ```text
//! Document 1:
//! Title
//! Text of the first document
//!
//! Document 2:
//! ...
//! ```
//!
//! One document gets its title in front only when the title says what the text's first lines do not: a
//! page's `<title>` usually does not stand on the page, while a file's name tells the model nothing, and
//! a Markdown heading is there already.
//!
//! Each document is encoded by itself, so that no token belongs to two.

use std::path::PathBuf;

use longhand_documents::{Document, DocumentError, ReadOptions, read_documents};

/// Documents as they are read from files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    documents: Vec<(PathBuf, Document)>,
}

/// Documents as token ids, one after another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// All ids, `[n_tokens]`.
    pub ids: Vec<u32>,
    /// The documents, in their order.
    pub documents: Vec<JoinedDocument>,
}

/// One document of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedDocument {
    /// Its file.
    pub path: PathBuf,
    /// Its title; the file's name where it has none.
    pub title: String,
    /// Its tokens in [`Joined::ids`], heading and all.
    pub n_tokens: usize,
}

impl Library {
    /// Reads files of text, Markdown or HTML.
    ///
    /// # Errors
    /// As [`read_documents`].
    pub fn read(paths: &[PathBuf]) -> Result<Self, DocumentError> {
        let documents = read_documents(paths, ReadOptions::default())?;
        let documents = paths.iter().cloned().zip(documents).collect();
        Ok(Self { documents })
    }

    /// The documents as token ids. `encode` must take special tokens that are written in a text for text:
    /// a document cannot end a turn.
    ///
    /// # Errors
    /// The first of `encode`.
    pub fn encode<E>(self, encode: impl Fn(&str) -> Result<Vec<u32>, E>) -> Result<Joined, E> {
        let is_alone = self.documents.len() == 1;
        let mut joined = Joined::default();
        for (idx, (path, Document { title, text })) in self.documents.into_iter().enumerate() {
            let text = if !is_alone {
                format!("Document {}:\n{title}\n{}\n\n", idx + 1, text.trim())
            } else if is_worth_giving(&title, &path, &text) {
                format!("{title}\n{text}")
            } else {
                text
            };
            let ids = encode(&text)?;
            joined.documents.push(JoinedDocument {
                path,
                title,
                n_tokens: ids.len(),
            });
            if is_alone {
                joined.ids = ids;
            } else {
                joined.ids.extend(ids);
            }
        }
        Ok(joined)
    }
}

/// Bytes of a text in which its title is looked for.
const N_FIRST_BYTES: usize = 600;

fn is_worth_giving(title: &str, path: &std::path::Path, text: &str) -> bool {
    let words = |text: &str| {
        let text = text.to_lowercase();
        let words = text.split(|letter: char| !letter.is_alphanumeric());
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        words.join(" ")
    };
    let title = words(title);
    let name = path.file_stem().map(|stem| words(&stem.to_string_lossy()));
    let end = text.floor_char_boundary(N_FIRST_BYTES);
    !title.is_empty()
        && name.is_none_or(|name| name != title)
        && !words(&text[..end]).contains(&title)
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, fs};

    use super::*;

    /// The text that files with these names and contents are read as.
    fn check(files: &[(&str, &str)], expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            paths.push(path);
        }
        let library = Library::read(&paths).unwrap();
        let encode = |text: &str| Ok::<_, Infallible>(text.chars().map(u32::from).collect());
        let Ok(Joined { ids, documents }) = library.encode(encode);
        let text: String = ids.iter().copied().filter_map(char::from_u32).collect();
        assert_eq!(text, expected);
        let n_tokens: usize = documents.iter().map(|document| document.n_tokens).sum();
        assert_eq!(n_tokens, ids.len());
        assert!(documents.iter().map(|document| &document.path).eq(&paths));
    }

    #[test]
    fn one_document_is_its_text_with_a_title_that_the_text_does_not_say() {
        check(&[("notes.txt", " a\n\nb \n")], " a\n\nb \n");
        check(
            &[("a.md", "Intro.\n# On Pears\nText")],
            "Intro.\n# On Pears\nText",
        );
        let page = "<title>On Pears</title><body><p>They are green.</body>";
        check(&[("a.html", page)], "On Pears\nThey are green.\n");
        check(&[("On-pears.html", page)], "They are green.\n");
        let said = "<title>On pears!</title><body><h1>On <i>Pears</i></h1>Green.</body>";
        check(&[("a.html", said)], "On Pears\n\nGreen.\n");
    }

    #[test]
    fn several_documents_have_numbers_and_titles() {
        check(
            &[
                ("a.txt", "\n one\n"),
                ("b.md", "# Two\n2\n"),
                ("c.html", "<title>T</title>x"),
            ],
            "Document 1:\na\none\n\nDocument 2:\nTwo\n# Two\n2\n\nDocument 3:\nT\nx\n\n",
        );
    }

    #[test]
    fn the_same_file_twice_is_two_documents() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        fs::write(&path, "one").unwrap();
        let library = Library::read(&[path.clone(), path]).unwrap();
        let Ok(joined) = library.encode(|text| Ok::<_, Infallible>(vec![0; text.len()]));
        let titles: Vec<&str> = joined
            .documents
            .iter()
            .map(|one| one.title.as_str())
            .collect();
        assert_eq!(titles, ["a", "a (2)"]);
    }

    #[test]
    fn what_cannot_be_encoded_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        fs::write(&path, "one").unwrap();
        let library = Library::read(&[path]).unwrap();
        assert_eq!(library.encode(|_| Err("no")), Err("no"));
    }
}
