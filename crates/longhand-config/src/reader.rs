//! `[reader]`: templates, chunks and token budgets of the chunk reader.

use longhand_memory::{ChunkOptions, ReaderLimits, TemplatesText};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::chat::{ChatMode, ChatSettings};
use crate::checks::Checks;
use crate::schema::{COUNT, COUNT_OR_ZERO, Key, Kind, defaults_to, optional, required};

pub(crate) static READER: &[Key] = &[
    defaults_to(
        "template",
        Kind::TextOrTable {
            shorthand: "preset",
            keys: TEMPLATE,
        },
        "\"longhand\"",
        "the prompts: the name of a preset, or a table with `read` and `answer`",
    ),
    required("chunk_size", COUNT, "tokens per chunk"),
    defaults_to(
        "overlap",
        COUNT_OR_ZERO,
        "0",
        "tokens a chunk repeats from the one before it; below `chunk_size`",
    ),
    optional(
        "max_chunks",
        COUNT,
        "the whole document is read",
        "most chunks read in training; a longer document is cut in its centre. Evaluation reads everything",
    ),
    required(
        "max_question_tokens",
        COUNT,
        "longest question; a longer one is an error",
    ),
    required(
        "max_memory_tokens",
        COUNT,
        "most tokens sampled for a memory, its end token included",
    ),
    required(
        "max_answer_tokens",
        COUNT,
        "most tokens sampled for the answer, its end token included",
    ),
    optional(
        "window",
        COUNT,
        "no limit but the policy's own",
        "most tokens of a prompt and its reply together",
    ),
    defaults_to(
        "chat",
        Kind::Choice(&["auto", "always", "never"]),
        "\"auto\"",
        "whether prompts are wrapped as one user message of the model's chat template; auto: where its folder has one",
    ),
    optional(
        "system",
        Kind::Text,
        "what the chat template does by itself",
        "a system message before the user's",
    ),
    optional(
        "chat_variables",
        Kind::FreeTable,
        "none",
        "values that the chat template may look at, such as enable_thinking = false",
    ),
];

static TEMPLATE: &[Key] = &[
    optional(
        "preset",
        Kind::Choice(&longhand_memory::PRESETS),
        "`read` and `answer` are given",
        "a named pair of templates, or the one of an agent without documents",
    ),
    optional(
        "read",
        Kind::Text,
        "the preset's; with `answer` alone nothing is read",
        "prompt that reads a chunk; names {question}, {chunk} and {memory}",
    ),
    optional(
        "answer",
        Kind::Text,
        "the preset's",
        "prompt that gives the answer; names {question} and {memory}, without `read` the question alone",
    ),
    optional(
        "empty_memory",
        Kind::Text,
        "empty, or the preset's",
        "stands for the memory before anything was read",
    ),
];

/// What `[reader]` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReaderFile {
    pub(crate) chunk_size: usize,
    overlap: usize,
    max_chunks: Option<usize>,
    max_question_tokens: usize,
    max_memory_tokens: usize,
    max_answer_tokens: usize,
    window: Option<usize>,
    chat: ChatMode,
    system: Option<String>,
    chat_variables: Option<Map<String, Value>>,
    template: TemplateFile,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TemplateFile {
    preset: Option<String>,
    read: Option<String>,
    answer: Option<String>,
    empty_memory: Option<String>,
}

/// Templates, chunks and token budgets of the chunk reader.
#[derive(Clone, Debug, PartialEq)]
pub struct ReaderSettings {
    /// The two prompts and the first memory, as text.
    pub templates: TemplatesText,
    /// How documents are cut in training; [`ReaderSettings::evaluation_chunks`] otherwise.
    pub chunks: ChunkOptions,
    /// Token budgets.
    pub limits: ReaderLimits,
}

impl ReaderSettings {
    /// How documents are cut outside training: `max_chunks` bounds what a training step costs, and
    /// nobody wants to measure on documents with a hole.
    pub fn evaluation_chunks(&self) -> ChunkOptions {
        ChunkOptions {
            max_chunks: None,
            ..self.chunks
        }
    }

    /// Tokens of the longest prompt and its reply with chunks of `chunk_size`, the templates' own
    /// text not counted.
    pub fn longest_turn(&self, chunk_size: usize) -> usize {
        let ReaderLimits {
            max_question_tokens,
            max_memory_tokens,
            max_answer_tokens,
            ..
        } = self.limits;
        if self.templates.is_direct() {
            return max_question_tokens + max_answer_tokens;
        }
        let read = chunk_size + max_memory_tokens;
        max_question_tokens + max_memory_tokens + read.max(max_answer_tokens)
    }
}

impl ReaderFile {
    /// How prompts are wrapped.
    pub(crate) fn chat(&self) -> ChatSettings {
        ChatSettings {
            mode: self.chat,
            variables: self.chat_variables.clone().unwrap_or_default(),
            system: self.system.clone(),
        }
    }

    pub(crate) fn build(&self, checks: &mut Checks<'_>) -> Option<ReaderSettings> {
        let templates = self.template.build(checks);
        let (chunk_size, overlap) = (self.chunk_size, self.overlap);
        checks.require(overlap < chunk_size, "reader.overlap", || {
            format!(
                "{overlap} is not below chunk_size = {chunk_size}; a chunk would hold nothing new"
            )
        });
        let settings = ReaderSettings {
            templates: templates?,
            chunks: ChunkOptions {
                chunk_size,
                overlap,
                max_chunks: self.max_chunks,
            },
            limits: ReaderLimits {
                max_question_tokens: self.max_question_tokens,
                max_memory_tokens: self.max_memory_tokens,
                max_answer_tokens: self.max_answer_tokens,
                window: self.window,
            },
        };
        if let Some(window) = self.window {
            let longest = settings.longest_turn(chunk_size);
            checks.require(longest <= window, "reader.window", || {
                format!(
                    "{window} is below the {longest} tokens of a longest turn (question, chunk, memory \
                     and reply, the template not counted); use a larger window or smaller budgets"
                )
            });
        }
        Some(settings)
    }
}

impl TemplateFile {
    fn build(&self, checks: &mut Checks<'_>) -> Option<TemplatesText> {
        let templates = match (&self.preset, &self.read, &self.answer, &self.empty_memory) {
            (Some(preset), None, None, None) => TemplatesText::preset(preset),
            (None, Some(read), Some(answer), empty_memory) => {
                TemplatesText::parse(read, answer, empty_memory.as_deref().unwrap_or_default())
            }
            (None, None, Some(answer), None) => TemplatesText::direct(answer),
            (Some(_), ..) => {
                let message =
                    "`preset` stands alone; remove it to write `read` and `answer` yourself";
                checks.fail("reader.template", message);
                return None;
            }
            (None, ..) => {
                let message =
                    "`answer` is needed, and `read` beside all others (or a preset's name alone)";
                checks.fail("reader.template", message);
                return None;
            }
        };
        match templates {
            Ok(templates) => Some(templates),
            Err(error) => {
                checks.fail("reader.template", error.to_string());
                None
            }
        }
    }
}
