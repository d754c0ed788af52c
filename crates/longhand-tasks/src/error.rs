//! Everything that can go wrong between a task's description and its problems.

/// Why a task cannot be opened or a problem cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// An option is outside its range.
    #[error("{kind}: option `{option}` is {value}, {mend}")]
    BadOption {
        /// The task's `kind`.
        kind: &'static str,
        /// The option's name.
        option: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        mend: String,
    },
}
