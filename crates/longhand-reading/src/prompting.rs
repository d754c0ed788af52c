//! Which form a model's prompts have: its chat template, or plain text with its start token.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use longhand_chat::{ChatError, ChatTemplate};
use longhand_memory::{Templates, TemplatesText};
use serde_json::{Map, Value};

use crate::in_chat::{ChatOptions, InChatError, in_chat};

/// Whether prompts are put into the model's chat template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChatChoice {
    /// Where the model's folder has one.
    #[default]
    Auto,
    /// Always: a folder without one is an error.
    Always,
    /// Never.
    Never,
}

impl ChatChoice {
    const NAMES: [(&'static str, ChatChoice); 3] = [
        ("auto", ChatChoice::Auto),
        ("always", ChatChoice::Always),
        ("never", ChatChoice::Never),
    ];
}

impl fmt::Display for ChatChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::NAMES.iter().find(|(_, choice)| choice == self);
        f.write_str(named.map_or("", |(name, _)| name))
    }
}

impl FromStr for ChatChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::NAMES.iter().find(|(name, _)| *name == text);
        named.map(|(_, choice)| *choice).ok_or_else(|| {
            format!("`{text}` says nothing about chat templates; say auto, always or never")
        })
    }
}

/// Why a model's prompts have no form.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PromptingError {
    /// The folder's chat template cannot be read, or there is none and one is wanted.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// The chat template cannot carry the prompts.
    #[error("{0}; without the chat template prompts are plain text (chat: never)")]
    InChat(#[source] InChatError),
    /// The settings of the tokenizer cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The settings of the tokenizer are not what they should be.
    #[error("{path}: {reason}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// A reader's prompts in the form that a model was trained with.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompting {
    /// The prompts as text.
    pub templates: TemplatesText,
    /// The text of the token that every prompt starts with; none inside a chat template, which writes
    /// its own.
    pub start_token: Option<String>,
    /// Whether the prompts stand in a chat template.
    pub is_chat: bool,
}

impl Prompting {
    /// The form for the model of this folder.
    ///
    /// Plain prompts start with `bos_token` where `tokenizer_config.json` says `add_bos_token: true`.
    ///
    /// # Errors
    /// [`PromptingError`].
    pub fn of_folder(
        folder: &Path,
        templates: &TemplatesText,
        choice: ChatChoice,
        options: &ChatOptions,
    ) -> Result<Self, PromptingError> {
        let chat = match choice {
            ChatChoice::Never => None,
            _ => match ChatTemplate::load(folder) {
                Ok(chat) => Some(chat),
                Err(ChatError::NoTemplate { .. }) if choice == ChatChoice::Auto => None,
                Err(error) => return Err(error.into()),
            },
        };
        Ok(match chat {
            Some(chat) => Self {
                templates: in_chat(templates, &chat, options).map_err(PromptingError::InChat)?,
                start_token: None,
                is_chat: true,
            },
            None => Self {
                templates: templates.clone(),
                start_token: start_token(folder)?,
                is_chat: false,
            },
        })
    }

    /// The prompts as ids. `encode` makes ids of fixed text and must recognise the special tokens that
    /// are written in it; `id_of` gives the id of one token. A start token that the tokenizer lacks is
    /// left out.
    pub fn compile(
        &self,
        encode: impl FnMut(&str) -> Vec<u32>,
        id_of: impl Fn(&str) -> Option<u32>,
    ) -> Templates {
        let templates = self.templates.compile(encode);
        match self.start_token.as_deref().and_then(id_of) {
            Some(id) => templates.starting_with(&[id]),
            None => templates,
        }
    }
}

/// Longest file of a tokenizer's settings.
const MAX_BYTES: u64 = 64 << 20;

fn start_token(folder: &Path) -> Result<Option<String>, PromptingError> {
    let path = folder.join("tokenizer_config.json");
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(PromptingError::Read { path, source }),
    };
    let mut text = String::new();
    if let Err(source) = file.take(MAX_BYTES).read_to_string(&mut text) {
        return Err(PromptingError::Read { path, source });
    }
    let malformed = |reason: String| PromptingError::Malformed {
        path: path.clone(),
        reason,
    };
    let config: Map<String, Value> =
        serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
    match config.get("add_bos_token") {
        None | Some(Value::Null | Value::Bool(false)) => return Ok(None),
        Some(Value::Bool(true)) => {}
        Some(_) => {
            return Err(malformed(
                "`add_bos_token` must be true or false".to_owned(),
            ));
        }
    }
    let token = match config.get("bos_token") {
        Some(Value::Object(token)) => token.get("content"),
        other => other,
    };
    match token {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(token)) => Ok(Some(token.clone())),
        Some(_) => Err(malformed(
            "`bos_token` must be a string, or an object with `content`".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use longhand_memory::TemplatesText;
    use serde_json::json;

    use super::*;

    const CHAT: &str = "{{ bos_token }}{% for m in messages %}[{{ m.content }}]{% endfor %}>";

    fn ids(text: &str) -> Vec<u32> {
        text.bytes().map(u32::from).collect()
    }

    /// The read prompt of a folder with these settings, for the question `Q`, the chunk `C` and the
    /// memory `M`, or the error's text. `~` is the tokenizer's start token.
    fn check(config: Option<Value>, choice: ChatChoice, expected: Result<&str, &str>) {
        let folder = tempfile::tempdir().unwrap();
        if let Some(config) = config {
            let path = folder.path().join("tokenizer_config.json");
            fs::write(path, config.to_string()).unwrap();
        }
        let plain = TemplatesText::parse("a{question}b{chunk}c{memory}d", "{question}{memory}", "");
        let options = ChatOptions::default();
        let made = Prompting::of_folder(folder.path(), &plain.unwrap(), choice, &options);
        match (made, expected) {
            (Ok(prompting), Ok(expected)) => {
                let id_of = |token: &str| (token == "~").then_some(u32::from(b'~'));
                let templates = prompting.compile(ids, id_of);
                let prompt = templates.read.fill(&ids("Q"), &ids("C"), &ids("M"));
                assert_eq!(prompt, ids(expected), "{choice}");
                assert_eq!(prompting.is_chat, expected.contains('['));
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (other, expected) => panic!("{other:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn a_chat_template_is_used_where_there_is_one() {
        let chat = || Some(json!({"chat_template": CHAT, "bos_token": "~", "add_bos_token": true}));
        check(chat(), ChatChoice::Auto, Ok("~[aQbCcMd]>"));
        check(chat(), ChatChoice::Always, Ok("~[aQbCcMd]>"));
        check(chat(), ChatChoice::Never, Ok("~aQbCcMd"));
        check(None, ChatChoice::Auto, Ok("aQbCcMd"));
        check(None, ChatChoice::Always, Err("has no chat template"));
        let broken = Some(json!({"chat_template": "{% if"}));
        check(broken, ChatChoice::Auto, Err("chat_template"));
        let deaf = Some(json!({"chat_template": "hello"}));
        check(deaf, ChatChoice::Auto, Err("leaves out the question"));
    }

    #[test]
    fn the_start_token_is_put_first_where_the_settings_say_so() {
        let config = |bos: Value, add: Value| Some(json!({"bos_token": bos, "add_bos_token": add}));
        let auto = ChatChoice::Auto;
        check(config("~".into(), true.into()), auto, Ok("~aQbCcMd"));
        let object = json!({"content": "~", "special": true});
        check(config(object, true.into()), auto, Ok("~aQbCcMd"));
        check(config("~".into(), false.into()), auto, Ok("aQbCcMd"));
        check(config("~".into(), Value::Null), auto, Ok("aQbCcMd"));
        check(config(Value::Null, true.into()), auto, Ok("aQbCcMd"));
        check(config("other".into(), true.into()), auto, Ok("aQbCcMd"));
        check(config(7.into(), true.into()), auto, Err("`bos_token` must"));
        check(
            config("~".into(), 1.into()),
            auto,
            Err("`add_bos_token` must"),
        );
        check(
            Some(json!([])),
            ChatChoice::Never,
            Err("tokenizer_config.json"),
        );
    }

    #[test]
    fn choices_are_read_as_they_are_written() {
        for choice in [ChatChoice::Auto, ChatChoice::Always, ChatChoice::Never] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        assert!(
            "maybe"
                .parse::<ChatChoice>()
                .unwrap_err()
                .contains("auto, always or never")
        );
    }
}
