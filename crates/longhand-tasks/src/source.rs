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

    /// A train problem of some natural length, for learning what the task's texts look like.
    ///
    /// # Errors
    /// If the split has no problems.
    fn sample_problem(&self, seed: u64, idx: u64) -> Result<Problem, TaskError> {
        let count_words = |text: &str| text.split_whitespace().count();
        match self.problem(Split::Train, seed, idx, 500, &count_words) {
            Err(TaskError::TooShort { needed_tokens, .. }) => {
                self.problem(Split::Train, seed, idx, needed_tokens, &count_words)
            }
            other => other,
        }
    }
}
