//! A reader's prompts as messages of a user, in the form that a model's chat template gives them.
//!
//! The template is rendered once for each prompt, with marks where question, chunk and memory will
//! stand, and the text is cut at the marks. So a turn's prompt is put together from ids as before, a
//! memory is never re-tokenised, and what a document says cannot reach the template.
//!
//! A mark holds what templates are known to touch (quotes, angle brackets, an ampersand, a backslash,
//! blanks, a line break, a letter that is not ASCII) between two letters that no trimming takes away. A
//! template that does anything to a slot's text but copy it once, in its place, is refused.

use longhand_chat::{ChatError, ChatTemplate, Clock, DateTime, Limits, Message, RenderOptions};
use longhand_memory::{Part, ReaderError, Slot, TemplateText, TemplatesText, TurnRole};
use serde_json::{Map, Value};

/// What a chat template is given besides the prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatOptions {
    /// A message of the system before the prompt; without it the template's own, if it has one.
    pub system: Option<String>,
    /// Other values that the template may look at.
    pub variables: Map<String, Value>,
    /// The time that the template sees.
    pub clock: Clock,
    /// What one rendering may use.
    pub limits: Limits,
}

/// A date that Llama 3 templates fall back to. A prompt is the same whenever it is made: a run that is
/// resumed tomorrow asks what it asked today.
const FIXED_DATE: DateTime = DateTime {
    year: 2024,
    month: 7,
    day: 26,
    hour: 0,
    minute: 0,
    second: 0,
};

impl Default for ChatOptions {
    /// No message of the system, 26 July 2024 on any day, and `enable_thinking = false`: whatever is
    /// sampled is carried on as notes, and thoughts would fill them.
    fn default() -> Self {
        let no_thoughts = ("enable_thinking".to_owned(), Value::from(false));
        Self {
            system: None,
            variables: [no_thoughts].into_iter().collect(),
            clock: Clock::Fixed(FIXED_DATE),
            limits: Limits::default(),
        }
    }
}

/// Why a chat template cannot carry a reader's prompts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InChatError {
    /// The template refuses the messages or fails.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// The template leaves a part of the message out.
    #[error(
        "the chat template leaves out the {slot} of the {role} prompt: it does not write whole messages"
    )]
    Drops {
        /// Which prompt.
        role: TurnRole,
        /// What is missing.
        slot: Slot,
    },
    /// The template writes a part of the message in other characters.
    #[error(
        "the chat template changes the text of the {slot} in the {role} prompt, as escaping or \
         replacing does: the prompt would not say what the document says"
    )]
    Changes {
        /// Which prompt.
        role: TurnRole,
        /// What is changed.
        slot: Slot,
    },
    /// The template writes a part of the message more than once.
    #[error(
        "the chat template writes the {slot} of the {role} prompt {n_times} times: a turn would not \
         have the length it was planned with"
    )]
    Repeats {
        /// Which prompt.
        role: TurnRole,
        /// What is repeated.
        slot: Slot,
        /// How often it stands there.
        n_times: usize,
    },
    /// The template writes the parts of the message in another order.
    #[error("the chat template puts the {slot} of the {role} prompt in another place")]
    Reorders {
        /// Which prompt.
        role: TurnRole,
        /// The first that does not stand behind the ones before it.
        slot: Slot,
    },
    /// What the template writes around a message depends on what it says.
    #[error(
        "the chat template writes other text around the {role} prompt when question, section and \
         notes say something else"
    )]
    DependsOnText {
        /// Which prompt.
        role: TurnRole,
    },
    /// The cut text is no template of a reader.
    #[error(transparent)]
    Reader(#[from] ReaderError),
}

/// The same prompts, each as the message of a user in this chat template, with the beginning of the
/// reply behind it.
///
/// Blanks at the very beginning and end of a prompt's fixed text go where the template trims them;
/// those of a slot that stands there stay.
///
/// # Errors
/// [`InChatError`]: a template that refuses the messages, or does not copy each slot once, as it is and
/// in its place.
pub fn in_chat(
    templates: &TemplatesText,
    chat: &ChatTemplate,
    options: &ChatOptions,
) -> Result<TemplatesText, InChatError> {
    let wrap = Wrap {
        chat,
        options,
        salt: salt(templates, chat, options),
    };
    Ok(TemplatesText {
        // It is never filled, and has no text to be wrapped.
        read: if templates.is_direct() {
            templates.read.clone()
        } else {
            wrap.wrapped(&templates.read)?
        },
        answer: wrap.wrapped(&templates.answer)?,
        empty_memory: templates.empty_memory.clone(),
    })
}

/// One prompt in the chat template, with text of the slots filled in beforehand: what [`in_chat`] spares
/// to do at every turn, and is held against.
///
/// # Errors
/// [`ChatError`], as for rendering.
pub fn rendered(
    prompt: &str,
    chat: &ChatTemplate,
    options: &ChatOptions,
) -> Result<String, ChatError> {
    let system = options
        .system
        .iter()
        .map(|text| Message::new("system", text));
    let messages: Vec<Message> = system.chain([Message::new("user", prompt)]).collect();
    let render = RenderOptions {
        add_generation_prompt: true,
        extra: options.variables.clone(),
        clock: options.clock,
        limits: options.limits,
        ..RenderOptions::default()
    };
    chat.render(&messages, &render)
}

struct Wrap<'a> {
    chat: &'a ChatTemplate,
    options: &'a ChatOptions,
    salt: usize,
}

impl Wrap<'_> {
    fn wrapped(&self, template: &TemplateText) -> Result<TemplateText, InChatError> {
        let role = template.role();
        let mut content = String::new();
        let mut slots = Vec::new();
        for part in template.parts() {
            match part {
                Part::Text(text) => content.push_str(text),
                Part::Slot(slot) => {
                    content.push_str(&mark(self.salt, slots.len()));
                    slots.push(*slot);
                }
            }
        }
        let text = rendered(&content, self.chat, self.options)?;
        let parts = self.cut(role, &text, &slots)?;
        let wrapped = TemplateText::new(role, parts)?;
        for [question, chunk, memory] in PROBES {
            let plain = template.fill(question, chunk, memory);
            let probe = rendered(&plain, self.chat, self.options)?;
            if wrapped.fill(question, chunk, memory) != probe {
                return Err(InChatError::DependsOnText { role });
            }
        }
        Ok(wrapped)
    }

    fn cut(
        &self,
        role: TurnRole,
        text: &str,
        slots: &[Slot],
    ) -> Result<Vec<Part<String>>, InChatError> {
        let mut parts = Vec::new();
        let mut from = 0;
        for (idx, &slot) in slots.iter().enumerate() {
            let mark = mark(self.salt, idx);
            let n_times = text.matches(&mark).count();
            if n_times == 0 {
                // Templates that change letters change the case of them.
                let name = name(self.salt, idx).to_lowercase();
                return Err(if text.to_lowercase().contains(&name) {
                    InChatError::Changes { role, slot }
                } else {
                    InChatError::Drops { role, slot }
                });
            }
            if 1 < n_times {
                return Err(InChatError::Repeats {
                    role,
                    slot,
                    n_times,
                });
            }
            let Some(at) = text[from..].find(&mark) else {
                return Err(InChatError::Reorders { role, slot });
            };
            if 0 < at {
                parts.push(Part::Text(text[from..from + at].to_owned()));
            }
            parts.push(Part::Slot(slot));
            from += at + mark.len();
        }
        if from < text.len() {
            parts.push(Part::Text(text[from..].to_owned()));
        }
        Ok(parts)
    }
}

/// Fillings that differ in what templates may ask about a text; without blanks at their ends, which
/// belong to a slot at the end of a prompt and would be trimmed there.
const PROBES: [[&str; 3]; 2] = [
    ["x", "x", "x"],
    [
        "Who said \"no\" & why?",
        "1 < 2.\n\n\u{201e}\u{c9}t\u{e9}\u{201c}, it's said \\ {{ a }} {% b %}  \u{1f600}",
        "- one\n- two",
    ],
];

fn name(salt: usize, slot_idx: usize) -> String {
    format!("LonghandSlot{salt}x{slot_idx}")
}

fn mark(salt: usize, slot_idx: usize) -> String {
    format!("M{} <&>\"'\\\n\n\t \u{e9}W", name(salt, slot_idx))
}

/// The first number whose marks occur in nothing that the rendering is made of.
fn salt(templates: &TemplatesText, chat: &ChatTemplate, options: &ChatOptions) -> usize {
    let mut texts: Vec<String> = Vec::new();
    for template in [&templates.read, &templates.answer] {
        for part in template.parts() {
            if let Part::Text(text) = part {
                texts.push(text.to_lowercase());
            }
        }
    }
    texts.extend(chat.sources().map(|(_, _, text)| text.to_lowercase()));
    texts.extend(options.system.as_ref().map(|text| text.to_lowercase()));
    for values in [&options.variables, chat.tokens()] {
        texts.push(Value::Object(values.clone()).to_string().to_lowercase());
    }
    let is_free = |salt: &usize| {
        let start = format!("longhandslot{salt}x");
        !texts.iter().any(|text| text.contains(&start))
    };
    (0..).find(is_free).unwrap_or(0)
}
