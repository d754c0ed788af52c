//! `[data]`: how the problems of a task become documents.

use longhand_rollout::DocumentFormat;
use serde::{Deserialize, Serialize};

use crate::checks::Checks;
use crate::schema::{COUNT, Key, Kind, defaults_to, required};

pub(crate) static DATA: &[Key] = &[
    required(
        "train_tokens",
        COUNT,
        "target length of training documents, in tokens",
    ),
    defaults_to(
        "paragraph",
        Kind::Text,
        r#""{text} ""#,
        "how a paragraph is written; {n} is its number from 1, {title} its title, {text} its text",
    ),
];

/// What `[data]` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DataFile {
    pub(crate) train_tokens: usize,
    paragraph: String,
}

/// How problems become documents.
#[derive(Clone, Debug, PartialEq)]
pub struct Data {
    /// Target length of training documents, in tokens.
    pub train_tokens: usize,
    /// How a paragraph is written: the text of a [`longhand_rollout::DocumentFormat`].
    pub paragraph: String,
}

impl DataFile {
    pub(crate) fn build(&self, checks: &mut Checks<'_>) -> Option<Data> {
        match DocumentFormat::parse(&self.paragraph, "") {
            Ok(_) => Some(Data {
                train_tokens: self.train_tokens,
                paragraph: self.paragraph.clone(),
            }),
            Err(error) => {
                checks.fail("data.paragraph", error.to_string());
                None
            }
        }
    }
}
