//! Prompt templates as data: text with placeholders, compiled once to token ids.
//!
//! Each stretch of text between placeholders is encoded on its own, and question, chunk and memory
//! are spliced in as ids. So a prompt is the same ids whatever stands around a splice, memory is
//! never re-tokenised, and braces inside a question or a document mean nothing.

use std::fmt;

use crate::ReaderError;

/// Which prompt a template makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnRole {
    /// Reads one chunk: needs question, chunk and memory.
    Read,
    /// Gives the answer: needs question and memory, and there is no chunk.
    Answer,
    /// Gives the answer to a question without a document: needs the question alone.
    Direct,
}

impl TurnRole {
    /// The placeholders that this template needs, which are also the only ones it may name.
    fn slots(self) -> &'static [Slot] {
        match self {
            TurnRole::Read => &[Slot::Question, Slot::Chunk, Slot::Memory],
            TurnRole::Answer => &[Slot::Question, Slot::Memory],
            TurnRole::Direct => &[Slot::Question],
        }
    }

    fn slot_names(self) -> String {
        let names: Vec<String> = self
            .slots()
            .iter()
            .map(|slot| format!("{{{slot}}}"))
            .collect();
        names.join(", ")
    }
}

impl fmt::Display for TurnRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TurnRole::Read => "read",
            TurnRole::Answer => "answer",
            TurnRole::Direct => "direct",
        })
    }
}

/// A place in a template that is filled at each turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// `{question}`: may stand more than once.
    Question,
    /// `{chunk}`: stands once, in the read template.
    Chunk,
    /// `{memory}`: stands once, in the read and the answer template.
    Memory,
}

impl Slot {
    fn name(self) -> &'static str {
        match self {
            Slot::Question => "question",
            Slot::Chunk => "chunk",
            Slot::Memory => "memory",
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One stretch of a template; `T` is `String` before compiling and `Vec<u32>` after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part<T> {
    /// Fixed text.
    Text(T),
    /// A placeholder.
    Slot(Slot),
}

/// A template as a person writes it: `Question: {question} ... {chunk} ... {memory} ...`.
///
/// A plain brace is written `{{` or `}}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateText {
    role: TurnRole,
    parts: Vec<Part<String>>,
}

impl TemplateText {
    /// Reads a template's text.
    ///
    /// # Errors
    /// A placeholder that is missing, unknown in this role, or repeated although it may stand only
    /// once, or a brace without its partner. The text names the placeholder.
    pub fn parse(role: TurnRole, text: &str) -> Result<Self, ReaderError> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut at = 0;
        while let Some(next) = text[at..].chars().next() {
            let rest = &text[at..];
            if rest.starts_with("{{") || rest.starts_with("}}") {
                plain.push(next);
                at += 2;
            } else if next == '}' {
                return Err(ReaderError::SingleBrace {
                    role,
                    brace: '}',
                    at,
                });
            } else if next == '{' {
                let Some(end) = rest.find('}') else {
                    return Err(ReaderError::SingleBrace {
                        role,
                        brace: '{',
                        at,
                    });
                };
                let slot = parse_slot(role, &rest[1..end])?;
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.push(Part::Slot(slot));
                at += end + 1;
            } else {
                plain.push(next);
                at += next.len_utf8();
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        check_slots(role, &parts)?;
        Ok(TemplateText { role, parts })
    }

    /// A template of parts that are cut already.
    ///
    /// # Errors
    /// As for [`TemplateText::parse`], braces aside: in these texts they mean nothing.
    pub fn new(role: TurnRole, parts: Vec<Part<String>>) -> Result<Self, ReaderError> {
        check_slots(role, &parts)?;
        Ok(TemplateText { role, parts })
    }

    /// Which prompt this template makes.
    pub fn role(&self) -> TurnRole {
        self.role
    }

    /// The parts in order.
    pub fn parts(&self) -> &[Part<String>] {
        &self.parts
    }

    /// The prompt for these texts; what the template does not name is not used.
    pub fn fill(&self, question: &str, chunk: &str, memory: &str) -> String {
        let texts = self.parts.iter().map(|part| match part {
            Part::Text(text) => text,
            Part::Slot(Slot::Question) => question,
            Part::Slot(Slot::Chunk) => chunk,
            Part::Slot(Slot::Memory) => memory,
        });
        texts.collect()
    }

    /// Encodes each stretch of text on its own.
    pub fn compile(&self, mut encode: impl FnMut(&str) -> Vec<u32>) -> Template {
        let parts = self.parts.iter().map(|part| match part {
            Part::Text(text) => Part::Text(encode(text)),
            Part::Slot(slot) => Part::Slot(*slot),
        });
        Template {
            role: self.role,
            parts: parts.collect(),
        }
    }
}

fn parse_slot(role: TurnRole, name: &str) -> Result<Slot, ReaderError> {
    let found = role.slots().iter().find(|slot| slot.name() == name);
    found
        .copied()
        .ok_or_else(|| ReaderError::UnknownPlaceholder {
            role,
            name: name.to_owned(),
            known: role.slot_names(),
        })
}

fn check_slots<T>(role: TurnRole, parts: &[Part<T>]) -> Result<(), ReaderError> {
    let n_times = |wanted: Slot| {
        parts
            .iter()
            .filter(|part| matches!(part, Part::Slot(slot) if *slot == wanted))
            .count()
    };
    for &slot in role.slots() {
        match n_times(slot) {
            0 => {
                return Err(ReaderError::MissingPlaceholder {
                    role,
                    name: slot.name(),
                    needed: role.slot_names(),
                });
            }
            // A long chunk between the question and the reply may need the question again.
            n_times if 1 < n_times && slot != Slot::Question => {
                return Err(ReaderError::RepeatedPlaceholder {
                    role,
                    name: slot.name(),
                    n_times,
                });
            }
            _ => {}
        }
    }
    let is_unknown = |slot: &Slot| !role.slots().contains(slot) && 0 < n_times(*slot);
    match [Slot::Chunk, Slot::Memory].into_iter().find(is_unknown) {
        Some(slot) => Err(ReaderError::UnknownPlaceholder {
            role,
            name: slot.name().to_owned(),
            known: role.slot_names(),
        }),
        None => Ok(()),
    }
}

/// A template as token ids, ready to be filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    role: TurnRole,
    parts: Vec<Part<Vec<u32>>>,
}

impl Template {
    /// A template of parts that are token ids already.
    ///
    /// # Errors
    /// As for [`TemplateText::parse`].
    pub fn new(role: TurnRole, parts: Vec<Part<Vec<u32>>>) -> Result<Self, ReaderError> {
        check_slots(role, &parts)?;
        Ok(Template { role, parts })
    }

    /// Which prompt this template makes.
    pub fn role(&self) -> TurnRole {
        self.role
    }

    /// The parts in order.
    pub fn parts(&self) -> &[Part<Vec<u32>>] {
        &self.parts
    }

    /// The same template with `ids` in front of every prompt, as models want that were trained with a
    /// start token.
    #[must_use]
    pub fn starting_with(mut self, ids: &[u32]) -> Self {
        match self.parts.first_mut() {
            Some(Part::Text(text)) => {
                text.splice(0..0, ids.iter().copied());
            }
            _ => self.parts.insert(0, Part::Text(ids.to_vec())),
        }
        self
    }

    /// The prompt for these ids; what the template does not name is not used.
    pub fn fill(&self, question: &[u32], chunk: &[u32], memory: &[u32]) -> Vec<u32> {
        let length = self.filled_length(question.len(), chunk.len(), memory.len());
        let mut prompt = Vec::with_capacity(length);
        for part in &self.parts {
            prompt.extend_from_slice(match part {
                Part::Text(ids) => ids,
                Part::Slot(Slot::Question) => question,
                Part::Slot(Slot::Chunk) => chunk,
                Part::Slot(Slot::Memory) => memory,
            });
        }
        prompt
    }

    /// Tokens in the prompt that [`Template::fill`] would make from this many.
    pub fn filled_length(&self, n_question: usize, n_chunk: usize, n_memory: usize) -> usize {
        let lengths = self.parts.iter().map(|part| match part {
            Part::Text(ids) => ids.len(),
            Part::Slot(Slot::Question) => n_question,
            Part::Slot(Slot::Chunk) => n_chunk,
            Part::Slot(Slot::Memory) => n_memory,
        });
        lengths.fold(0, usize::saturating_add)
    }

    fn position(&self, wanted: Slot) -> Option<usize> {
        self.parts
            .iter()
            .position(|part| matches!(part, Part::Slot(slot) if *slot == wanted))
    }
}

/// The two templates of a reader and the memory that it starts with, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplatesText {
    /// Makes the prompt of a turn that reads a chunk; without text of its own, and never filled, where
    /// [`TemplatesText::is_direct`].
    pub read: TemplateText,
    /// Makes the prompt of the turn that gives the answer.
    pub answer: TemplateText,
    /// Stands in place of the memory before anything was read; may be empty.
    pub empty_memory: String,
}

impl TemplatesText {
    /// Reads both templates.
    ///
    /// # Errors
    /// As for [`TemplateText::parse`].
    pub fn parse(read: &str, answer: &str, empty_memory: &str) -> Result<Self, ReaderError> {
        Ok(TemplatesText {
            read: TemplateText::parse(TurnRole::Read, read)?,
            answer: TemplateText::parse(TurnRole::Answer, answer)?,
            empty_memory: empty_memory.to_owned(),
        })
    }

    /// Reads the one template of an agent that answers at once, `... {question} ...`: there is neither
    /// document nor memory, and a [`crate::Reader`] with these templates refuses any document.
    ///
    /// # Errors
    /// As for [`TemplateText::parse`].
    pub fn direct(answer: &str) -> Result<Self, ReaderError> {
        let bare = [Slot::Question, Slot::Chunk, Slot::Memory].map(Part::Slot);
        Ok(TemplatesText {
            read: TemplateText::new(TurnRole::Read, bare.into())?,
            answer: TemplateText::parse(TurnRole::Direct, answer)?,
            empty_memory: String::new(),
        })
    }

    /// Whether the answer is given at once, to a question without a document.
    pub fn is_direct(&self) -> bool {
        self.answer.role == TurnRole::Direct
    }

    /// Encodes every stretch of text; an empty first memory stays empty without asking `encode`.
    pub fn compile(&self, mut encode: impl FnMut(&str) -> Vec<u32>) -> Templates {
        let read = self.read.compile(&mut encode);
        let answer = self.answer.compile(&mut encode);
        let empty_memory = match self.empty_memory.as_str() {
            "" => Vec::new(),
            text => encode(text),
        };
        Templates {
            read,
            answer,
            empty_memory,
        }
    }
}

/// The two templates of a reader and the memory that it starts with, as token ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Templates {
    /// Makes the prompt of a turn that reads a chunk.
    pub read: Template,
    /// Makes the prompt of the turn that gives the answer.
    pub answer: Template,
    /// Stands in place of the memory before anything was read, `[n]`; may be empty.
    pub empty_memory: Vec<u32>,
}

impl Templates {
    /// Whether the answer is given at once, to a question without a document.
    pub fn is_direct(&self) -> bool {
        self.answer.role == TurnRole::Direct
    }

    /// Whether the read prompt shows the chunk before the memory, so that all attempts at a
    /// problem share the long part of their prompts at every turn.
    pub fn chunk_before_memory(&self) -> bool {
        self.read.position(Slot::Chunk) < self.read.position(Slot::Memory)
    }

    /// The same templates with `ids` in front of every prompt.
    #[must_use]
    pub fn starting_with(self, ids: &[u32]) -> Self {
        Templates {
            read: self.read.starting_with(ids),
            answer: self.answer.starting_with(ids),
            empty_memory: self.empty_memory,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One id per byte, so that prompts can be read back.
    fn bytes(text: &str) -> Vec<u32> {
        text.bytes().map(u32::from).collect()
    }

    fn fill(role: TurnRole, text: &str) -> String {
        let template = TemplateText::parse(role, text).unwrap().compile(bytes);
        let prompt = template.fill(&bytes("Q"), &bytes("C"), &bytes("M"));
        assert_eq!(prompt.len(), template.filled_length(1, 1, 1));
        String::from_utf8(prompt.iter().map(|&id| u8::try_from(id).unwrap()).collect()).unwrap()
    }

    fn refused(role: TurnRole, text: &str) -> String {
        TemplateText::parse(role, text).unwrap_err().to_string()
    }

    #[test]
    fn placeholders_are_filled_where_they_stand() {
        assert_eq!(
            fill(TurnRole::Read, "a{question}b{chunk}c{memory}d"),
            "aQbCcMd"
        );
        assert_eq!(fill(TurnRole::Read, "{memory}{chunk}{question}"), "MCQ");
        assert_eq!(fill(TurnRole::Answer, "{memory} {question}"), "M Q");
        assert_eq!(fill(TurnRole::Direct, "a{question}b{question}"), "aQbQ");
    }

    #[test]
    fn filled_with_text_or_with_ids_a_template_makes_the_same_prompt() {
        let text = TemplateText::parse(TurnRole::Read, "{{a{question}b{chunk}c{memory}{question}");
        let text = text.unwrap();
        assert_eq!(text.fill("Q", "{C}", "M"), "{aQb{C}cMQ");
        let ids = text.compile(bytes);
        let filled = ids.fill(&bytes("Q"), &bytes("{C}"), &bytes("M"));
        assert_eq!(filled, bytes("{aQb{C}cMQ"));
    }

    #[test]
    fn a_start_comes_before_every_prompt() {
        for (read, prompt) in [
            ("a{question}{chunk}{memory}", "<aQCM"),
            ("{memory}{question}{chunk}", "<MQC"),
        ] {
            let templates = TemplatesText::parse(read, "{question}{memory}b", "-").unwrap();
            let templates = templates.compile(bytes).starting_with(&bytes("<"));
            let [q, c, m] = ["Q", "C", "M"].map(bytes);
            assert_eq!(templates.read.fill(&q, &c, &m), bytes(prompt));
            assert_eq!(templates.answer.fill(&q, &[], &m), bytes("<QMb"));
            assert_eq!(templates.empty_memory, bytes("-"));
        }
    }

    #[test]
    fn only_the_question_may_stand_twice() {
        assert_eq!(
            fill(TurnRole::Read, "{question}{chunk}{memory}{question}"),
            "QCMQ"
        );
        assert_eq!(
            refused(TurnRole::Read, "{question}{chunk}{memory}{chunk}"),
            "the read template names the placeholder {chunk} 2 times; only {question} may stand \
             more than once"
        );
        assert!(refused(TurnRole::Answer, "{question}{memory}{memory}").contains("{memory} 2"));
    }

    #[test]
    fn a_missing_placeholder_is_named() {
        assert_eq!(
            refused(TurnRole::Read, "{question} {memory}"),
            "the read template lacks the placeholder {chunk}; it needs {question}, {chunk}, \
             {memory}"
        );
        assert!(refused(TurnRole::Answer, "{question}").contains("lacks the placeholder {memory}"));
        assert!(refused(TurnRole::Answer, "").contains("lacks the placeholder {question}"));
    }

    #[test]
    fn an_unknown_placeholder_is_named() {
        assert_eq!(
            refused(TurnRole::Read, "{question}{chunk}{notes}{memory}"),
            "the read template names the unknown placeholder {notes}; it may name {question}, \
             {chunk}, {memory}, and a plain brace is written {{ or }}"
        );
        assert!(refused(TurnRole::Read, "\\boxed{}").contains("unknown placeholder {}"));
        assert!(refused(TurnRole::Read, "{ chunk }").contains("unknown placeholder { chunk }"));
        // There is no chunk left to show when the answer is due.
        let text = refused(TurnRole::Answer, "{question}{chunk}{memory}");
        assert!(text.contains("the answer template names the unknown placeholder {chunk}"));
        assert_eq!(
            refused(TurnRole::Direct, "{question}{memory}"),
            "the direct template names the unknown placeholder {memory}; it may name {question}, \
             and a plain brace is written {{ or }}"
        );
    }

    #[test]
    fn plain_braces_are_doubled_and_single_ones_refused() {
        assert_eq!(
            fill(TurnRole::Answer, "{{{question}}}{memory}\\boxed{{}}"),
            "{Q}M\\boxed{}"
        );
        assert_eq!(
            refused(TurnRole::Answer, "é}"),
            "the answer template has a single `}` at byte 2; a plain brace is written {{ or }}"
        );
        assert!(refused(TurnRole::Answer, "ab{question").contains("single `{` at byte 2"));
    }

    #[test]
    fn ids_can_be_given_directly_and_are_held_to_the_same_rules() {
        let parts = |slots: &[Slot]| slots.iter().map(|&slot| Part::Slot(slot)).collect();
        let read = Template::new(TurnRole::Read, parts(&[Slot::Question, Slot::Chunk]));
        assert!(matches!(
            read,
            Err(ReaderError::MissingPlaceholder { name: "memory", .. })
        ));
        let text = Part::Text("a".to_owned());
        assert_eq!(
            TemplateText::new(TurnRole::Answer, vec![text, Part::Slot(Slot::Memory)]),
            TemplateText::parse(TurnRole::Answer, "a{memory}"),
            "both lack the question"
        );
        let three = parts(&[Slot::Question, Slot::Chunk, Slot::Memory]);
        let answer = Template::new(TurnRole::Answer, three);
        assert!(matches!(
            answer,
            Err(ReaderError::UnknownPlaceholder { .. })
        ));
    }

    #[test]
    fn each_stretch_of_text_is_encoded_on_its_own() {
        let mut asked = Vec::new();
        let text = TemplatesText::parse("a{question}b{chunk}{memory}", "{question}{memory}c", "");
        let templates = text.unwrap().compile(|stretch| {
            asked.push(stretch.to_owned());
            vec![1, 2]
        });
        assert_eq!(asked, ["a", "b", "c"]);
        assert_eq!(templates.empty_memory, Vec::<u32>::new());
    }
}
