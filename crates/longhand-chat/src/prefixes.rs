//! Whether a conversation's text begins with the text of its first turns.
//!
//! A run that hands on sampled ids from turn to turn needs it: where the template writes an earlier turn
//! in another way once a later one has come (Qwen3 leaves out what was thought), the prompt of the next
//! turn is not what the model has read and written so far.

use serde::Serialize;
use serde_json::{Value, json};

use crate::error::ChatError;
use crate::message::Message;
use crate::render::{ChatTemplate, RenderOptions};

/// What became of each conversation that was tried.
#[derive(Clone, Debug, Serialize)]
pub struct PrefixReport {
    /// One for each kind of conversation.
    pub cases: Vec<PrefixCase>,
}

/// A growing conversation.
#[derive(Clone, Debug, Serialize)]
pub struct PrefixCase {
    /// What is in it.
    pub name: &'static str,
    /// What came out.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came of one conversation.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Each text begins with the one before.
    Kept {
        /// Texts that were compared.
        n_texts: usize,
    },
    /// Some text does not begin with the one before.
    Broken(Difference),
    /// The template does not take such a conversation.
    Refused {
        /// Its words.
        reason: String,
    },
}

/// The first place where two texts part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Messages of the earlier text.
    pub n_messages: usize,
    /// Whether the earlier text ends with a generation prompt.
    pub is_prompt: bool,
    /// Messages of the later text.
    pub n_messages_later: usize,
    /// Bytes that the two have in common.
    pub n_common_bytes: usize,
    /// The end of what they have in common.
    pub common: String,
    /// What comes next in the earlier text.
    pub earlier: String,
    /// What comes next in the later text; empty if it ends there.
    pub later: String,
}

/// Characters shown on either side of a difference.
const N_SHOWN: usize = 60;

impl PrefixReport {
    /// Whether no conversation broke and at least one was kept.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        let outcomes = || self.cases.iter().map(|case| &case.outcome);
        outcomes().any(|outcome| matches!(outcome, Outcome::Kept { .. }))
            && !outcomes().any(|outcome| matches!(outcome, Outcome::Broken(_)))
    }
}

impl ChatTemplate {
    /// Renders growing conversations: plain ones, with thinking, with tools. Wherever the assistant speaks,
    /// the text with the generation prompt is compared with the text that has the assistant's message, and
    /// that with the next one. Prompts, tools and documents of `options` are not used.
    ///
    /// # Errors
    ///
    /// A template that is not there or that exceeds its limits; a conversation that the template refuses
    /// or fails on is part of the report.
    pub fn keeps_prefixes(&self, options: &RenderOptions) -> Result<PrefixReport, ChatError> {
        let cases = conversations().into_iter().map(|conversation| {
            let options = RenderOptions {
                tools: conversation.has_tools.then(|| vec![tool()]),
                documents: None,
                continue_final_message: false,
                ..options.clone()
            };
            let outcome = match self.grow(&conversation.messages, &options) {
                Ok(outcome) => outcome,
                Err(
                    error @ (ChatError::Refused { .. }
                    | ChatError::Render { .. }
                    | ChatError::Options(_)),
                ) => Outcome::Refused {
                    reason: error.to_string(),
                },
                Err(error) => return Err(error),
            };
            Ok(PrefixCase {
                name: conversation.name,
                outcome,
            })
        });
        Ok(PrefixReport {
            cases: cases.collect::<Result<_, _>>()?,
        })
    }

    /// Compares each text with the next one.
    fn grow(&self, messages: &[Message], options: &RenderOptions) -> Result<Outcome, ChatError> {
        let mut previous: Option<(usize, bool, String)> = None;
        let mut n_texts = 0;
        for n_messages in 1..messages.len() {
            if messages[n_messages].role() != "assistant" {
                continue;
            }
            for (n_messages, is_prompt) in [(n_messages, true), (n_messages + 1, false)] {
                let options = RenderOptions {
                    add_generation_prompt: is_prompt,
                    ..options.clone()
                };
                let text = self.render(&messages[..n_messages], &options)?;
                if let Some((n_messages_before, is_prompt, earlier)) = &previous
                    && !text.starts_with(earlier.as_str())
                {
                    let parted = (*n_messages_before, *is_prompt, n_messages);
                    return Ok(Outcome::Broken(difference(earlier, &text, parted)));
                }
                n_texts += 1;
                previous = Some((n_messages, is_prompt, text));
            }
        }
        Ok(Outcome::Kept { n_texts })
    }
}

fn difference(earlier: &str, later: &str, parted: (usize, bool, usize)) -> Difference {
    let common = earlier.chars().zip(later.chars());
    let n_common_bytes = common
        .take_while(|(one, other)| one == other)
        .map(|(letter, _)| letter.len_utf8())
        .sum();
    let (common, rest) = earlier.split_at(n_common_bytes);
    let n_skipped = common.chars().count().saturating_sub(N_SHOWN);
    Difference {
        n_messages: parted.0,
        is_prompt: parted.1,
        n_messages_later: parted.2,
        n_common_bytes,
        common: common.chars().skip(n_skipped).collect(),
        earlier: rest.chars().take(N_SHOWN).collect(),
        later: later[n_common_bytes..].chars().take(N_SHOWN).collect(),
    }
}

struct Conversation {
    name: &'static str,
    messages: Vec<Message>,
    has_tools: bool,
}

fn tool() -> Value {
    json!({
        "type": "function",
        "function": {
            "name": "look_up",
            "description": "Looks a word up.",
            "parameters": {
                "type": "object",
                "properties": {"word": {"type": "string", "description": "The word."}},
                "required": ["word"],
            },
        },
    })
}

fn conversations() -> Vec<Conversation> {
    let system = || Message::new("system", "Answer in one word.");
    let user = |text| Message::new("user", text);
    let assistant = |text| Message::new("assistant", text);
    let thinking = |text, thought| assistant(text).with_reasoning(thought);
    let plain = |name, messages| Conversation {
        name,
        messages,
        has_tools: false,
    };
    let call = || assistant("").with_tool_call("look_up", &json!({"word": "colour"}));
    let result = || Message::new("tool", "colour: what light does");
    vec![
        plain(
            "system, user, assistant",
            vec![
                system(),
                user("Colour of the sky?"),
                assistant("Blue."),
                user("Of grass?"),
                assistant("Green."),
                user("Of snow?"),
                assistant("White."),
            ],
        ),
        plain(
            "user, assistant, without system",
            vec![
                user("Colour of the sky?"),
                assistant("Blue."),
                user("Of grass?"),
                assistant("Green."),
            ],
        ),
        plain(
            "assistant that thinks",
            vec![
                system(),
                user("Colour of the sky?"),
                thinking("Blue.", "Light scatters."),
                user("Of grass?"),
                thinking("Green.", "Chlorophyll."),
                user("Of snow?"),
                assistant("White."),
            ],
        ),
        plain(
            "thinking inside the content",
            vec![
                user("Colour of the sky?"),
                assistant("<think>\nLight scatters.\n</think>\n\nBlue."),
                user("Of grass?"),
                assistant("<think>\nChlorophyll.\n</think>\n\nGreen."),
            ],
        ),
        Conversation {
            name: "tool call and result",
            messages: vec![
                system(),
                user("What is colour?"),
                call(),
                result(),
                assistant("Light."),
                user("And sound?"),
                assistant("Waves."),
            ],
            has_tools: true,
        },
        Conversation {
            name: "thinking before a tool call",
            messages: vec![
                user("What is colour?"),
                call().with_reasoning("I look it up."),
                result(),
                thinking("Light.", "It says so."),
                user("And sound?"),
                assistant("Waves."),
            ],
            has_tools: true,
        },
    ]
}
