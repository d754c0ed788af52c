//! The one thing a task must do: give the problem with a given number.

use crate::{Problem, Split, TaskError};

/// Gives problems by number.
pub trait Source {
    /// The problem number `idx` of `split`.
    ///
    /// The document grows until the next paragraph would exceed `target_tokens`, as counted by
    /// `count_tokens` over [`rendered`](crate::Paragraph::rendered) paragraphs. The same arguments
    /// always give the same problem; question and answer do not depend on `target_tokens`, so one
    /// `idx` can be followed over document lengths.
    ///
    /// # Errors
    /// If even the needed paragraphs exceed `target_tokens`, or the split has no problems.
    fn problem(
        &self,
        split: Split,
        seed: u64,
        idx: u64,
        target_tokens: usize,
        count_tokens: &dyn Fn(&str) -> usize,
    ) -> Result<Problem, TaskError>;

    /// How many different problems `split` has; `None` for a generator, which never ends.
    fn n_problems(&self, _split: Split) -> Option<usize> {
        None
    }

    /// Every word the task can ever write, for a word-level tokenizer; `None` if that set is open.
    fn closed_vocabulary(&self) -> Option<Vec<String>> {
        None
    }
}
