//! What a task hands out: a question, a document in titled paragraphs, and the ground truth.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One paragraph of a document, with what a teacher knows about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paragraph {
    /// The heading; empty where the task has none.
    pub title: String,
    /// The paragraph itself, without its title.
    pub text: String,
    /// Whether the answer depends on this paragraph.
    pub relevant: bool,
    /// What a scripted expert writes down on reading it; `None` where there is nothing to note.
    pub note: Option<String>,
}

impl Paragraph {
    /// The paragraph as it stands in a document: title, text and the line breaks that end it.
    ///
    /// A document is the plain concatenation of its rendered paragraphs, so token counts of
    /// paragraphs add up to the length of the document if each is encoded on its own.
    pub fn rendered(&self) -> String {
        if self.title.is_empty() {
            format!("{}\n", self.text)
        } else {
            format!("{}\n{}\n\n", self.title, self.text)
        }
    }
}

/// One question over one document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A name for the problem that is unique within its source and split.
    pub id: String,
    /// The question, which can be answered from the relevant paragraphs alone.
    pub question: String,
    /// The document, in reading order; empty for a question that needs none.
    pub paragraphs: Vec<Paragraph>,
    /// The accepted answers; the first one is what an expert would write.
    pub answers: Vec<String>,
    /// What an expert writes in place of the bare answer: worked-out steps and the answer at the end;
    /// `None` where the answer stands alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub solution: Option<String>,
    /// The classes that the answer is one of, where the data names them; else empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// How many facts or steps the answer needs; 0 where the data does not say.
    pub n_facts: usize,
}

impl Problem {
    /// The whole document: its rendered paragraphs, one after the other.
    pub fn document(&self) -> String {
        self.paragraphs.iter().map(Paragraph::rendered).collect()
    }
}

/// Which of the two disjoint sets of problems is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// Problems to learn from.
    Train,
    /// Held-out problems.
    Test,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Split::Train => "train",
            Split::Test => "test",
        })
    }
}
