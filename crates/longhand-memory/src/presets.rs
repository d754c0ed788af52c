//! The templates that come with the crate, by name.

use crate::{ReaderError, TemplatesText};

/// Names that [`TemplatesText::preset`] knows.
///
/// - `longhand`: plain English; the chunk stands before the memory, so that all attempts at a
///   problem share everything up to the memory.
/// - `memagent`: MemAgent's order of blocks (problem, memory, section) and its boxed answer, in
///   our own words (arXiv:2507.02259, official code).
/// - `marks`: one-word marks for small policies with a word-level vocabulary of their own; the
///   first memory is empty.
/// - `direct`: plain English for questions without a document; asks for written-out steps and a
///   boxed answer.
/// - `direct-marks`: the same for small policies with a word-level vocabulary, two marks around the
///   question.
pub const PRESETS: [&str; 5] = ["longhand", "memagent", "marks", "direct", "direct-marks"];

const LONGHAND_READ: &str = "\
A long document is shown to you section by section, and you keep notes to answer a question about \
it. You will not see a section again, and from one section to the next only the notes remain.

Question:
{question}

Section:
{chunk}

Notes so far:
{memory}

Write the notes anew: everything from the notes so far that may help with the question, and what \
this section adds to it. Leave out what has nothing to do with the question.

Notes:
";

const LONGHAND_ANSWER: &str = "\
You have read a long document and kept notes. Answer the question from the notes, with the answer \
alone.

Question:
{question}

Notes:
{memory}

Answer:
";

const MEMAGENT_READ: &str = "\
Here are a problem, what you remember of an article up to now, and the next section of the \
article. Bring your memory up to date: carry over what it holds that matters for the problem, and \
add what the section tells you that helps to solve it.

<problem>
{question}
</problem>

<memory>
{memory}
</memory>

<section>
{chunk}
</section>

Memory after this section:
";

const MEMAGENT_ANSWER: &str = "\
Here are a problem and what you remember of an article that you have read to its end. Solve the \
problem from that memory and write the final answer inside \\boxed{{}}.

<problem>
{question}
</problem>

<memory>
{memory}
</memory>

Your answer:
";

const DIRECT: &str = "\
Solve the problem below. Work it out step by step, one step a line, and end with the final answer \
inside \\boxed{{}}.

Problem:
{question}

Solution:
";

impl TemplatesText {
    /// The preset of this name; [`PRESETS`] lists them.
    ///
    /// # Errors
    /// [`ReaderError::UnknownPreset`].
    pub fn preset(name: &str) -> Result<Self, ReaderError> {
        match name {
            "longhand" => TemplatesText::parse(LONGHAND_READ, LONGHAND_ANSWER, "(none yet)"),
            "memagent" => TemplatesText::parse(MEMAGENT_READ, MEMAGENT_ANSWER, "(nothing so far)"),
            "marks" => TemplatesText::parse(
                "<q> {question} <c> {chunk} <m> {memory} <w>",
                "<q> {question} <m> {memory} <a>",
                "",
            ),
            "direct" => TemplatesText::direct(DIRECT),
            "direct-marks" => TemplatesText::direct("<q> {question} <a>"),
            _ => Err(ReaderError::UnknownPreset {
                name: name.to_owned(),
                known: PRESETS.join(", "),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<u32> {
        let hash = |hash: u32, byte: u8| hash.wrapping_mul(31).wrapping_add(u32::from(byte));
        text.split_whitespace()
            .map(|word| word.bytes().fold(7, hash))
            .collect()
    }

    #[test]
    fn every_preset_compiles_and_only_memagent_puts_the_memory_first() {
        for name in PRESETS {
            let templates = TemplatesText::preset(name).unwrap().compile(words);
            assert_eq!(
                templates.chunk_before_memory(),
                name != "memagent",
                "{name}"
            );
        }
    }

    #[test]
    fn direct_presets_show_the_question_and_ask_for_a_box() {
        for name in PRESETS {
            let text = TemplatesText::preset(name).unwrap();
            assert_eq!(text.is_direct(), name.starts_with("direct"), "{name}");
            assert_eq!(text.compile(words).is_direct(), text.is_direct(), "{name}");
        }
        let fill = |name| {
            TemplatesText::preset(name)
                .unwrap()
                .answer
                .fill("1 + 1", "", "")
        };
        assert_eq!(fill("direct-marks"), "<q> 1 + 1 <a>");
        assert_eq!(
            fill("direct"),
            "Solve the problem below. Work it out step by step, one step a line, and end with the \
             final answer inside \\boxed{}.\n\nProblem:\n1 + 1\n\nSolution:\n"
        );
    }

    #[test]
    fn an_unknown_preset_is_refused_with_the_names_that_exist() {
        assert_eq!(
            TemplatesText::preset("mark").unwrap_err().to_string(),
            "unknown template preset `mark`; the presets are longhand, memagent, \
             marks, direct, direct-marks"
        );
    }

    #[test]
    fn marks_make_a_shared_part_of_57_tokens_for_a_question_of_7_and_a_chunk_of_48() {
        // One mark, 7 question tokens, one mark, 48 chunk tokens stand before `<m>`.
        let marks = TemplatesText::preset("marks").unwrap().compile(words);
        let (question, chunk) = ([1; 7], [2; 48]);
        let prompt = marks.read.fill(&question, &chunk, &[3]);
        assert_eq!(prompt[57], words("<m>")[0]);
        assert_eq!(prompt.len(), 57 + 3);
        assert_eq!(marks.empty_memory, Vec::<u32>::new());
    }
}
