//! A problem as token ids: question, document with exact relevant spans, and an expert's notes.

use std::ops::Range;
use std::sync::Arc;

use longhand_memory::Document;
use longhand_tasks::{Paragraph, Problem};

use crate::RolloutError;

/// How paragraphs become the text of a document, and notes the text of a memory.
///
/// Written as text with the placeholders `{n}` (the paragraph's number from 1), `{title}` and
/// `{text}`, such as `Document {n}:\n{title}\n{text}\n\n`. A plain brace is written `{{` or `}}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentFormat {
    parts: Vec<FormatPart>,
    after_note: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum FormatPart {
    Plain(String),
    Number,
    Title,
    Text,
}

impl DocumentFormat {
    /// Reads a paragraph format. `after_note` is put behind each note of an expert before it is
    /// encoded, such as a line break.
    ///
    /// # Errors
    /// [`RolloutError::ParagraphFormat`] when `{text}` is missing, a placeholder is unknown or a
    /// brace has no partner.
    pub fn parse(paragraph: &str, after_note: &str) -> Result<Self, RolloutError> {
        let wrong = |problem: String| RolloutError::ParagraphFormat {
            format: paragraph.to_owned(),
            problem,
        };
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = paragraph;
        while let Some(next) = rest.chars().next() {
            if rest.starts_with("{{") || rest.starts_with("}}") {
                plain.push(next);
                rest = &rest[2..];
            } else if next == '{' || next == '}' {
                let name = rest
                    .strip_prefix('{')
                    .and_then(|inner| inner.split_once('}'));
                let Some((name, behind)) = name else {
                    return Err(wrong(format!("has a single `{next}`")));
                };
                parts.push(FormatPart::Plain(std::mem::take(&mut plain)));
                parts.push(match name {
                    "n" => FormatPart::Number,
                    "title" => FormatPart::Title,
                    "text" => FormatPart::Text,
                    _ => return Err(wrong(format!("names the unknown placeholder {{{name}}}"))),
                });
                rest = behind;
            } else {
                plain.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
        parts.push(FormatPart::Plain(plain));
        if !parts.contains(&FormatPart::Text) {
            return Err(wrong("lacks the placeholder {text}".to_owned()));
        }
        Ok(DocumentFormat {
            parts,
            after_note: after_note.to_owned(),
        })
    }

    /// A paragraph as it stands in the document; `n` counts from 1.
    pub fn render(&self, n: usize, paragraph: &Paragraph) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                FormatPart::Plain(plain) => text.push_str(plain),
                FormatPart::Number => text.push_str(&n.to_string()),
                FormatPart::Title => text.push_str(&paragraph.title),
                FormatPart::Text => text.push_str(&paragraph.text),
            }
        }
        text
    }
}

/// What an expert writes down once it has read a paragraph to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpertNote {
    /// The paragraph's tokens in the document; never empty.
    pub paragraph: Range<usize>,
    /// The note as token ids.
    pub ids: Vec<u32>,
}

/// A problem ready to be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EncodedProblem {
    /// The problem's name in its source.
    pub id: String,
    /// The question as text.
    pub question_text: String,
    /// The question as token ids.
    pub question: Vec<u32>,
    /// The document with the spans of its relevant paragraphs, headers included.
    pub document: Arc<Document>,
    /// Notes of the paragraphs that have one and at least one token, in reading order.
    pub notes: Vec<ExpertNote>,
    /// The accepted answers.
    pub answers: Vec<String>,
    /// What an expert answers, as token ids: the written-out solution where the problem has one, else the
    /// first answer; empty when there is neither.
    pub answer: Vec<u32>,
    /// How many facts or steps the answer needs; 0 where that is not known.
    pub n_facts: usize,
}

impl EncodedProblem {
    /// Encodes a problem.
    ///
    /// Each paragraph is encoded on its own and the ids are joined, so that the relevant spans are
    /// exact: no token belongs to two paragraphs.
    pub fn new(
        problem: &Problem,
        format: &DocumentFormat,
        encode: &dyn Fn(&str) -> Vec<u32>,
    ) -> EncodedProblem {
        let mut document = Document::default();
        let mut notes = Vec::new();
        for (paragraph_idx, paragraph) in problem.paragraphs.iter().enumerate() {
            let start = document.ids.len();
            document
                .ids
                .extend(encode(&format.render(paragraph_idx + 1, paragraph)));
            let span = start..document.ids.len();
            if span.is_empty() {
                continue;
            }
            if paragraph.relevant {
                document.relevant.push(span.clone());
            }
            if let Some(note) = &paragraph.note {
                let ids = encode(&format!("{note}{}", format.after_note));
                notes.push(ExpertNote {
                    paragraph: span,
                    ids,
                });
            }
        }
        EncodedProblem {
            id: problem.id.clone(),
            question_text: problem.question.clone(),
            question: encode(&problem.question),
            document: Arc::new(document),
            notes,
            answer: problem
                .solution
                .as_ref()
                .or(problem.answers.first())
                .map(|answer| encode(answer))
                .unwrap_or_default(),
            answers: problem.answers.clone(),
            n_facts: problem.n_facts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Vec<u32> {
        text.bytes().map(u32::from).collect()
    }

    fn paragraph(text: &str, relevant: bool, note: Option<&str>) -> Paragraph {
        Paragraph {
            title: "T".to_owned(),
            text: text.to_owned(),
            relevant,
            note: note.map(str::to_owned),
        }
    }

    fn problem(paragraphs: Vec<Paragraph>) -> Problem {
        Problem {
            id: "p".to_owned(),
            question: "q?".to_owned(),
            paragraphs,
            answers: vec!["no".to_owned(), "nope".to_owned()],
            solution: None,
            classes: Vec::new(),
            n_facts: 1,
        }
    }

    #[test]
    fn relevant_spans_cover_whole_paragraphs_with_their_headers() {
        let problem = problem(vec![
            paragraph("ab", false, None),
            paragraph("c", true, Some("x")),
            paragraph("d", true, None),
        ]);
        let format = DocumentFormat::parse("{n}:{title}{text}.", "|").unwrap();
        let encoded = EncodedProblem::new(&problem, &format, &bytes);
        assert_eq!(encoded.document.ids, bytes("1:Tab.2:Tc.3:Td."));
        assert_eq!(encoded.document.relevant, [6..11, 11..16]);
        assert_eq!(
            encoded.notes,
            [ExpertNote {
                paragraph: 6..11,
                ids: bytes("x|")
            }]
        );
        assert_eq!(encoded.question, bytes("q?"));
        assert_eq!(encoded.answer, bytes("no"));
        assert_eq!(encoded.answers, ["no", "nope"]);
    }

    #[test]
    fn paragraphs_without_a_token_and_problems_without_answers_are_encoded_as_nothing() {
        let mut problem = problem(vec![paragraph("", true, Some("x"))]);
        problem.answers.clear();
        let format = DocumentFormat::parse("{text}", "").unwrap();
        let encoded = EncodedProblem::new(&problem, &format, &bytes);
        assert_eq!(*encoded.document, Document::default());
        assert_eq!((encoded.notes, encoded.answer), (vec![], vec![]));
    }

    #[test]
    fn an_expert_answers_with_the_solution_where_there_is_one() {
        let problem = Problem {
            solution: Some("so: no".to_owned()),
            ..problem(vec![])
        };
        let format = DocumentFormat::parse("{text}", "").unwrap();
        let encoded = EncodedProblem::new(&problem, &format, &bytes);
        assert_eq!(encoded.answer, bytes("so: no"));
        assert_eq!(encoded.answers, ["no", "nope"]);
    }

    #[test]
    fn each_paragraph_is_encoded_on_its_own() {
        // An encoder that would merge across paragraphs if it were given both at once.
        let merging = |text: &str| vec![text.matches('a').count() as u32];
        let problem = problem(vec![
            paragraph("a", false, None),
            paragraph("aa", true, None),
        ]);
        let format = DocumentFormat::parse("{text} ", "").unwrap();
        let encoded = EncodedProblem::new(&problem, &format, &merging);
        assert_eq!(encoded.document.ids, [1, 2]);
        assert_eq!(encoded.document.relevant.first(), Some(&(1..2)));
        assert_eq!(encoded.document.relevant.len(), 1);
    }

    #[test]
    fn formats_that_cannot_be_used_are_refused_with_the_placeholder() {
        let text = |format| DocumentFormat::parse(format, "").unwrap_err().to_string();
        assert_eq!(
            text("{title}"),
            "the paragraph format `{title}` lacks the placeholder {text}; it may name {n}, \
             {title} and {text}, and a plain brace is written {{ or }}"
        );
        assert!(text("{text}{body}").contains("names the unknown placeholder {body}"));
        assert!(text("{text").contains("has a single `{`"));
        assert!(text("{text}}").contains("has a single `}`"));
    }

    #[test]
    fn doubled_braces_are_plain() {
        let format = DocumentFormat::parse("{{{n}}} {text}é", "").unwrap();
        assert_eq!(format.render(3, &paragraph("x", false, None)), "{3} xé");
    }
}
