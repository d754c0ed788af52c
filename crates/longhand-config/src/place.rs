//! Where a value was written, so that every complaint can point at it.

use std::fmt;

/// The origin of one value of an experiment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the file; line and column (in characters) count from 1.
    File {
        /// Line of the value.
        line: usize,
        /// Column of its first character.
        column: usize,
    },
    /// In a command-line override; the text as given after `--set`.
    Override(String),
    /// Not written anywhere: the default of the key.
    Default,
}

impl Place {
    /// The position of a byte offset in `text`.
    pub(crate) fn of_offset(text: &str, offset: usize) -> Self {
        // An error at the end of the file may point one past it, or inside a character.
        let mut end = offset.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &text[..end];
        let line = 1 + before.matches('\n').count();
        let column = 1 + before.rsplit('\n').next().unwrap_or("").chars().count();
        Self::File { line, column }
    }
}

/// One thing that is wrong with an experiment, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where the offending value was written.
    pub place: Place,
    /// Path of the key, as `--set` takes it: `stage.0.optimizer.lr`; empty for the whole file.
    pub key: String,
    /// What is wrong and what would be right: a lower-case fragment.
    pub message: String,
}

impl Problem {
    /// The problem as one line; `file` is named where the value comes from it.
    pub(crate) fn write(&self, file: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File { line, column } => write!(f, "{file}:{line}:{column}: ")?,
            Place::Override(text) => write!(f, "--set {text}: ")?,
            Place::Default => write!(f, "{file}: ")?,
        }
        if !self.key.is_empty() {
            write!(f, "`{}`: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_become_lines_and_columns_in_characters() {
        let text = "a = 1\né = 2\n";
        let check = |offset, line, column| {
            assert_eq!(Place::of_offset(text, offset), Place::File { line, column });
        };
        check(0, 1, 1);
        check(4, 1, 5);
        check(6, 2, 1);
        // Offset 7 lies inside the two bytes of `é`, offset 8 behind them.
        check(7, 2, 1);
        check(8, 2, 2);
        check(999, 3, 1);
    }
}
