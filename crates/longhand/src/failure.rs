//! How a failure is told, and its exit code.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use longhand_config::ConfigError;
use longhand_tasks::TaskError;
use longhand_trainer::TrainError;

/// A mistake in how the program was called.
#[derive(Debug)]
pub(crate) struct BadUsage(String);

impl std::fmt::Display for BadUsage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadUsage {}

/// A [`BadUsage`] as an error.
pub(crate) fn bad_usage(message: impl Into<String>) -> anyhow::Error {
    BadUsage(message.into()).into()
}

/// Says on standard error what went wrong and returns the exit code.
///
/// 2: the command line or the experiment file makes no sense. 1: it does, and could not be carried
/// out. 0 when nobody reads standard output any more, as in `longhand ... | head`.
pub(crate) fn tell(error: &anyhow::Error) -> ExitCode {
    let is_closed = |cause: &(dyn std::error::Error + 'static)| {
        let cause = cause.downcast_ref::<io::Error>();
        cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
    };
    if error.chain().any(is_closed) {
        return ExitCode::SUCCESS;
    }
    // Where standard error is closed too there is nobody to tell.
    // A bare system error can only come from the two streams; all other errors name their file.
    let place = if error.is::<io::Error>() {
        "standard input or output: "
    } else {
        ""
    };
    let _ = writeln!(io::stderr(), "error: {place}{}", text(error));
    ExitCode::from(if is_usage(error) { 2 } else { 1 })
}

/// The error and its causes, each once: many errors say their cause themselves.
fn text(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            let separator = if text.is_empty() { "" } else { ": " };
            text = format!("{text}{separator}{cause}");
        }
    }
    text
}

fn is_usage(error: &anyhow::Error) -> bool {
    let is_option = |error: &TaskError| matches!(error, TaskError::BadOption { .. });
    let of_training = |error: &TrainError| match error {
        TrainError::Task(error) => is_option(error),
        TrainError::Window { .. } | TrainError::MicroBatch { .. } => true,
        _ => false,
    };
    error.is::<BadUsage>()
        || error.is::<ConfigError>()
        || error.downcast_ref().is_some_and(is_option)
        || error.downcast_ref().is_some_and(of_training)
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_cause_is_told_once_whoever_says_it() {
        let cause = || io::Error::new(io::ErrorKind::NotFound, "gone");
        let says_it: anyhow::Error = TaskError::Unreadable {
            path: "a".into(),
            source: cause(),
        }
        .into();
        assert_eq!(text(&says_it), "cannot read a: gone");
        let leaves_it = Err::<(), _>(cause()).context("cannot read b").unwrap_err();
        assert_eq!(text(&leaves_it), "cannot read b: gone");
    }

    #[test]
    fn what_makes_no_sense_is_told_from_what_went_wrong() {
        let option = TaskError::BadOption {
            kind: "needle",
            option: "value",
            value: "7".into(),
            mend: "give 1".into(),
        };
        assert!(is_usage(&bad_usage("no")));
        assert!(is_usage(&option.into()));
        assert!(is_usage(
            &TrainError::Window {
                needed: 2,
                window: 1
            }
            .into()
        ));
        assert!(!is_usage(&TaskError::EmptyFile { path: "a".into() }.into()));
        assert!(!is_usage(&anyhow::anyhow!("no")));
    }
}
