//! `[reader] chat`, `system` and `[reader.chat_variables]`: whether prompts are wrapped as the model's chat.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::checks::Checks;
use crate::policy::PolicySource;

/// Whether and how prompts are wrapped as one user message of the model's chat template.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChatSettings {
    /// When they are.
    pub mode: ChatMode,
    /// Values that the template may look at, as `enable_thinking`; none of [`TEMPLATES_OWN`].
    pub variables: Map<String, Value>,
    /// A system message before the user's; `None` for what the template does by itself.
    pub system: Option<String>,
}

/// When prompts are wrapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChatMode {
    /// Where the model's folder has a chat template.
    #[default]
    Auto,
    /// Always; a folder without a chat template is an error.
    Always,
    /// Never: prompts are the reader's templates and nothing else.
    Never,
}

/// What every template is given; no variable can be called so.
pub(crate) const TEMPLATES_OWN: [&str; 5] = [
    "messages",
    "tools",
    "documents",
    "add_generation_prompt",
    "continue_final_message",
];

impl ChatSettings {
    /// Complains about settings without effect or sense.
    pub(crate) fn check(&self, policy: Option<&PolicySource>, checks: &mut Checks<'_>) {
        for name in TEMPLATES_OWN {
            let key = format!("reader.chat_variables.{name}");
            checks.require(!self.variables.contains_key(name), &key, || {
                format!("`{name}` is given by the program; remove it")
            });
        }
        let is_from_scratch = matches!(policy, Some(PolicySource::FromScratch(_)));
        let without = match (self.mode, is_from_scratch) {
            (ChatMode::Never, _) => "with reader.chat = \"never\"",
            (ChatMode::Auto | ChatMode::Always, true) => {
                "with a policy made from scratch, which has no chat template"
            }
            (ChatMode::Auto | ChatMode::Always, false) => return,
        };
        checks.require(self.mode != ChatMode::Always, "reader.chat", || {
            format!("\"always\" cannot be done {without}; use \"auto\" or \"never\"")
        });
        checks.require(self.system.is_none(), "reader.system", || {
            format!("has no effect {without}; remove it")
        });
        checks.require(self.variables.is_empty(), "reader.chat_variables", || {
            format!("has no effect {without}; remove it")
        });
    }
}
