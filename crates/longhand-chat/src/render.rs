//! A template of a model's folder, and the text it makes of messages.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use serde_json::{Map, Value};

use crate::budget::{Budget, Limits};
use crate::clock::Clock;
use crate::environment::{environment, syntax};
use crate::error::ChatError;
use crate::folder::{Source, chat_files};
use crate::guard::guarded;
use crate::message::Message;
use crate::python::is_space;

/// The chat templates of a model.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    sources: BTreeMap<String, Source>,
    /// The same templates as the engine runs them.
    guarded: BTreeMap<String, String>,
    tokens: Map<String, Value>,
}

/// How to render.
#[derive(Clone, Debug, Default)]
pub struct RenderOptions {
    /// End with the beginning of the assistant's next message.
    pub add_generation_prompt: bool,
    /// End inside the last message, so that the model continues it.
    pub continue_final_message: bool,
    /// Tools, each a JSON schema of a function; none and an empty list are two things to a template.
    pub tools: Option<Vec<Value>>,
    /// Documents, objects with `title` and `text`.
    pub documents: Option<Vec<Value>>,
    /// Name of the template to use; without it `tool_use` with tools where there is one, else `default`.
    pub template: Option<String>,
    /// Other values that the template may look at, as `enable_thinking`.
    pub extra: Map<String, Value>,
    /// The time that the template sees.
    pub clock: Clock,
    /// What the rendering may use.
    pub limits: Limits,
}

/// Marks the end of the message to continue. The space at its end shows whether the template trims.
const CONTINUE: &str = "CONTINUE_FINAL_MESSAGE_TAG ";

impl ChatTemplate {
    /// Reads the templates and special tokens of a model's folder: `chat_template.jinja`, else
    /// `chat_template` in `tokenizer_config.json`.
    ///
    /// # Errors
    ///
    /// No template, a file that cannot be read, a template that cannot be parsed.
    pub fn load(folder: &Path) -> Result<Self, ChatError> {
        let files = chat_files(folder)?;
        Self::build(files.sources, files.tokens)
    }

    /// A template from its text; `file` is what errors name, `tokens` are values such as `bos_token`.
    ///
    /// # Errors
    ///
    /// A template that cannot be parsed.
    pub fn from_source(
        text: &str,
        file: &str,
        tokens: Map<String, Value>,
    ) -> Result<Self, ChatError> {
        let source = Source {
            file: file.to_owned(),
            text: text.to_owned(),
        };
        Self::build([("default".to_owned(), source)].into(), tokens)
    }

    fn build(
        sources: BTreeMap<String, Source>,
        tokens: Map<String, Value>,
    ) -> Result<Self, ChatError> {
        let mut ready = BTreeMap::new();
        for (name, source) in &sources {
            let text = deep(|| guarded(&source.text, &syntax()?))
                .map_err(|error| ChatError::from_engine(&error, &source.file))?;
            ready.insert(name.clone(), text);
        }
        Ok(Self {
            sources,
            guarded: ready,
            tokens,
        })
    }

    /// Special tokens by their names, as `bos_token`.
    #[must_use]
    pub fn tokens(&self) -> &Map<String, Value> {
        &self.tokens
    }

    /// Names of the templates, each with the file it stands in and its text.
    pub fn sources(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.sources
            .iter()
            .map(|(name, source)| (name.as_str(), source.file.as_str(), source.text.as_str()))
    }

    /// The text of a conversation.
    ///
    /// # Errors
    ///
    /// Messages or options that make no sense, a template that refuses or fails.
    pub fn render(
        &self,
        messages: &[Message],
        options: &RenderOptions,
    ) -> Result<String, ChatError> {
        if messages.is_empty() {
            return Err(ChatError::Options(
                "a conversation has at least one message",
            ));
        }
        if options.continue_final_message && options.add_generation_prompt {
            return Err(ChatError::Options(
                "continue_final_message and add_generation_prompt exclude each other",
            ));
        }
        let mut chat = Vec::with_capacity(messages.len());
        for (message_idx, message) in messages.iter().enumerate() {
            message.check().map_err(|reason| ChatError::Message {
                message_idx,
                reason,
            })?;
            chat.push(message.normalised());
        }
        let (name, source) = self.source(options)?;
        let continued = if options.continue_final_message {
            Some(mark_end(&mut chat)?)
        } else {
            None
        };
        let text = self.run(name, source, chat, options)?;
        match continued {
            Some(content) => cut(&text, &content),
            None => Ok(text),
        }
    }

    /// The template that the options ask for.
    fn source(&self, options: &RenderOptions) -> Result<(&str, &Source), ChatError> {
        let name = match &options.template {
            Some(name) => name.as_str(),
            None if options.tools.is_some() && self.sources.contains_key("tool_use") => "tool_use",
            None => "default",
        };
        match self.sources.get_key_value(name) {
            Some((name, source)) => Ok((name.as_str(), source)),
            None => Err(ChatError::NoSuchTemplate {
                name: name.to_owned(),
                names: self.sources.keys().cloned().collect(),
            }),
        }
    }

    fn run(
        &self,
        name: &str,
        source: &Source,
        chat: Vec<Map<String, Value>>,
        options: &RenderOptions,
    ) -> Result<String, ChatError> {
        let list = |values: &Option<Vec<Value>>| values.clone().map_or(Value::Null, Value::Array);
        let mut context = self.tokens.clone();
        context.extend(options.extra.clone());
        let chat = chat.into_iter().map(Value::Object).collect();
        context.insert("messages".to_owned(), Value::Array(chat));
        context.insert("tools".to_owned(), list(&options.tools));
        context.insert("documents".to_owned(), list(&options.documents));
        let prompt = Value::from(options.add_generation_prompt);
        context.insert("add_generation_prompt".to_owned(), prompt);
        let context = Value::Object(context);
        let budget = Arc::new(Budget::new(&options.limits, n_bytes(&context)));
        let render = || {
            let env = environment(&budget, options.clock, options.limits.n_instructions)?;
            let template = env.template_from_named_str(&source.file, &self.guarded[name])?;
            template.render(engine_value(context))
        };
        deep(render).map_err(|error| ChatError::from_engine(&error, &source.file))
    }
}

/// Of the thread that parses and runs a template: nested values and expressions take a frame a level.
/// Only what is touched takes memory.
const STACK_BYTES: usize = 256 << 20;

/// Runs something that nests deeply on a stack of its own.
fn deep<T: Send>(
    work: impl FnOnce() -> Result<T, minijinja::Error> + Send,
) -> Result<T, minijinja::Error> {
    let failed = |reason: &'static str| {
        minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, reason)
    };
    thread::scope(|scope| {
        let spawned = thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work);
        let running = spawned.map_err(|_| failed("no thread can be started"))?;
        running
            .join()
            .map_err(|_| failed("the template engine panicked"))?
    })
}

/// Bytes of the texts inside a value.
fn n_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(n_bytes).sum::<usize>() + 32 * items.len(),
        Value::Object(fields) => {
            let texts = fields
                .iter()
                .map(|(name, value)| name.len() + n_bytes(value));
            texts.sum::<usize>() + 32 * fields.len()
        }
        _ => 8,
    }
}

fn engine_value(value: Value) -> minijinja::Value {
    match value {
        Value::Null => minijinja::Value::from(()),
        Value::Bool(flag) => minijinja::Value::from(flag),
        Value::Number(number) => {
            if let Some(number) = number.as_i64() {
                minijinja::Value::from(number)
            } else if let Some(number) = number.as_u64() {
                minijinja::Value::from(number)
            } else {
                minijinja::Value::from(number.as_f64().unwrap_or(f64::NAN))
            }
        }
        Value::String(text) => minijinja::Value::from(text),
        Value::Array(items) => {
            let items: Vec<minijinja::Value> = items.into_iter().map(engine_value).collect();
            minijinja::Value::from(items)
        }
        Value::Object(fields) => {
            let fields = fields.into_iter();
            minijinja::Value::from_pairs(fields.map(|(name, value)| (name, engine_value(value))))
        }
    }
}

/// Puts the mark behind the last message's text, which is returned without it.
fn mark_end(chat: &mut [Map<String, Value>]) -> Result<String, ChatError> {
    const NOTHING: ChatError = ChatError::Options("the final message has no text to continue");
    let content = chat
        .last_mut()
        .and_then(|message| message.get_mut("content"));
    let text = match content {
        Some(Value::Array(parts)) => parts.iter_mut().rev().find_map(|part| part.get_mut("text")),
        other => other,
    };
    match text {
        Some(Value::String(text)) => {
            let content = text.clone();
            text.push_str(CONTINUE);
            Ok(content)
        }
        _ => Err(NOTHING),
    }
}

/// The rendering up to the mark.
fn cut(text: &str, content: &str) -> Result<String, ChatError> {
    let content = content.trim_matches(is_space);
    let end = text
        .rfind(CONTINUE.trim_end())
        .filter(|_| text.contains(content));
    let end = end.ok_or(ChatError::Options(
        "the template does not write out the final message, so it cannot be continued",
    ))?;
    Ok(if text[end..].starts_with(CONTINUE) {
        text[..end].to_owned()
    } else {
        text[..end].trim_end_matches(is_space).to_owned()
    })
}
