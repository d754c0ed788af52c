//! One message of a conversation.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A message as templates see it: a JSON object with a `role`, in the order in which it was written.
///
/// `content` is a string or a list of parts (objects); `reasoning_content` is a string; `tool_calls` is a
/// list of objects, whose arguments are an object or a string of JSON. Other fields are handed on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Message {
    fields: Map<String, Value>,
}

/// The names of a message's reasoning; templates read the first one, some the second.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

impl Message {
    /// A message of text.
    #[must_use]
    pub fn new(role: &str, content: &str) -> Self {
        Self {
            fields: [("role", role), ("content", content)]
                .map(|(name, text)| (name.to_owned(), Value::from(text)))
                .into_iter()
                .collect(),
        }
    }

    /// A message with these fields.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as text.
    pub fn from_fields(fields: Map<String, Value>) -> Result<Self, String> {
        let message = Self { fields };
        message.check()?;
        Ok(message)
    }

    /// The message with one more field, or another value of one that it has.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.fields.insert(name.to_owned(), value);
        self
    }

    /// The message with what was thought before it was written.
    #[must_use]
    pub fn with_reasoning(self, reasoning: &str) -> Self {
        self.with(REASONING[0], Value::from(reasoning))
    }

    /// The message with a call of a tool; arguments are an object or a string.
    #[must_use]
    pub fn with_tool_call(mut self, name: &str, arguments: &Value) -> Self {
        let call = json!({
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        });
        match self.fields.get_mut("tool_calls") {
            Some(Value::Array(calls)) => calls.push(call),
            _ => {
                self.fields
                    .insert("tool_calls".to_owned(), Value::Array(vec![call]));
            }
        }
        self
    }

    /// Who speaks; empty if the message has no role.
    #[must_use]
    pub fn role(&self) -> &str {
        self.fields
            .get("role")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// All fields.
    #[must_use]
    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// What is wrong with it.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !matches!(self.fields.get("role"), Some(Value::String(_))) {
            return Err("`role` must be a string".to_owned());
        }
        let are_objects = |items: &[Value]| items.iter().all(Value::is_object);
        match self.fields.get("content") {
            None | Some(Value::Null | Value::String(_)) => {}
            Some(Value::Array(parts)) if are_objects(parts) => {}
            Some(_) => return Err("`content` must be a string or a list of objects".to_owned()),
        }
        for name in REASONING {
            if !matches!(
                self.fields.get(name),
                None | Some(Value::Null | Value::String(_))
            ) {
                return Err(format!("`{name}` must be a string"));
            }
        }
        let calls = match self.fields.get("tool_calls") {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::Array(calls)) if are_objects(calls) => calls,
            Some(_) => return Err("`tool_calls` must be a list of objects".to_owned()),
        };
        for call in calls {
            let arguments = call.get("function").unwrap_or(call).get("arguments");
            if !matches!(
                arguments,
                None | Some(Value::Null | Value::String(_) | Value::Object(_))
            ) {
                return Err("`arguments` of a tool call must be an object or a string".to_owned());
            }
        }
        Ok(())
    }

    /// As Hugging Face hands it to a template: without fields that are null, and with the reasoning under
    /// both names that templates read.
    pub(crate) fn normalised(&self) -> Map<String, Value> {
        let present = self.fields.iter().filter(|(_, value)| !value.is_null());
        let present = present.map(|(name, value)| (name.clone(), value.clone()));
        let reasoning = REASONING
            .iter()
            .find_map(|name| self.fields.get(*name).filter(|value| !value.is_null()));
        let Some(reasoning) = reasoning else {
            return present.collect();
        };
        let mut fields = Map::new();
        fields.insert("thinking".to_owned(), reasoning.clone());
        fields.extend(present);
        fields.insert("reasoning_content".to_owned(), reasoning.clone());
        fields
    }
}
