//! Why a query cannot be answered.

use std::collections::BTreeSet;
use std::io;

use longhand_run::RunError;

/// Why a query cannot be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// A folder or file cannot be read.
    #[error(transparent)]
    Run(#[from] RunError),
    /// What was found cannot be written.
    #[error("cannot write what was found: {0}")]
    Write(#[from] io::Error),
    /// The run has no transcripts.
    #[error("the run has no transcripts: no step of reinforcement learning was finished")]
    NoTranscripts,
    /// No step of the stage.
    #[error("the run has no stage `{stage}`; there are {there}")]
    NoStage {
        /// The stage that was asked for.
        stage: String,
        /// The stages there are.
        there: String,
    },
    /// No such step.
    #[error("the run has no transcripts of step {step}; there are those of steps {there}")]
    NoStep {
        /// The step that was asked for.
        step: u64,
        /// The steps there are, as ranges.
        there: String,
    },
    /// No such problem in the step.
    #[error("step {step} has no problem `{problem}`; there are {there}")]
    NoProblem {
        /// The problem that was asked for.
        problem: String,
        /// The step.
        step: u64,
        /// The problems there are, as ranges of their indices.
        there: String,
    },
    /// No such attempt at the problem.
    #[error("problem `{problem}` of step {step} has no attempt {attempt}; there are {there}")]
    NoAttempt {
        /// The attempt that was asked for.
        attempt: u32,
        /// The problem.
        problem: String,
        /// The step.
        step: u64,
        /// The attempts there are, as ranges.
        there: String,
    },
}

/// Numbers as ranges: `0-3, 7, 9-12`.
pub(crate) fn ranges(numbers: impl IntoIterator<Item = u64>) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for number in numbers.into_iter().collect::<BTreeSet<u64>>() {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let texts: Vec<String> = ranges
        .iter()
        .map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        })
        .collect();
    texts.join(", ")
}

/// Each name once, quoted.
pub(crate) fn names(names: impl IntoIterator<Item = String>) -> String {
    let names: BTreeSet<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_ranges() {
        assert_eq!(ranges([9, 0, 1, 3, 2, 7, 10, 9]), "0-3, 7, 9-10");
        assert_eq!(ranges([u64::MAX, u64::MAX - 1]).len(), 41);
        assert_eq!(ranges([]), "");
    }
}
