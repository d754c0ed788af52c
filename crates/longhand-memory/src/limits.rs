//! Token budgets of a reader.

use crate::ReaderError;

/// Token budgets of a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct ReaderLimits {
    /// Longest question; a longer one is an error, never cut.
    pub max_question_tokens: usize,
    /// Most tokens sampled when a memory is written, its end token included, and so the most that
    /// a memory can carry. At least 1.
    pub max_memory_tokens: usize,
    /// Most tokens sampled for the answer, its end token included. At least 1.
    pub max_answer_tokens: usize,
    /// Most tokens of a prompt and what is sampled after it together; `None` for no limit.
    #[cfg_attr(feature = "serde", serde(default))]
    pub window: Option<usize>,
}

impl ReaderLimits {
    /// Whether every turn has room to sample something.
    ///
    /// # Errors
    /// [`ReaderError::LimitZero`].
    pub fn check(&self) -> Result<(), ReaderError> {
        if self.max_memory_tokens == 0 {
            return Err(ReaderError::LimitZero {
                name: "max_memory_tokens",
            });
        }
        if self.max_answer_tokens == 0 {
            return Err(ReaderError::LimitZero {
                name: "max_answer_tokens",
            });
        }
        Ok(())
    }
}
