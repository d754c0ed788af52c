//! Why there is no reward.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

/// Why a request has no reward. Each says what was seen, how the program stands, and what to do.
#[derive(Clone, Debug, PartialEq)]
pub enum JudgeError {
    /// No reply in time; the process was killed.
    Timeout {
        /// The request.
        id: u64,
        /// How long was waited.
        timeout: Duration,
        /// The unfinished line that had come by then.
        seen: String,
        /// The process that was asked.
        program: Box<ProgramState>,
    },
    /// A line that is no reply to the open request.
    BadReply {
        /// The request.
        id: u64,
        /// What is wrong with the line.
        problem: String,
        /// The beginning of the line.
        seen: String,
        /// The process that was asked.
        program: Box<ProgramState>,
    },
    /// The program could not be started, ended without a reply, or replied that it has no reward.
    Failure {
        /// What happened.
        problem: String,
        /// What to do about it.
        mend: &'static str,
        /// The process that was asked.
        program: Box<ProgramState>,
    },
}

/// How a process stood when it failed to give a reward.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProgramState {
    /// The program and its arguments.
    pub command: String,
    /// How it ended (`exit status: 3`, `killed while it was running`); `None`: it goes on, or never was.
    pub exit: Option<String>,
    /// The end of what it wrote to standard error, at most 2 KiB.
    pub stderr: String,
}

impl JudgeError {
    /// The name under which metrics count it: `judge-timeout`, `judge-bad-reply`, `judge-failure`.
    pub fn reason(&self) -> &'static str {
        match self {
            JudgeError::Timeout { .. } => "judge-timeout",
            JudgeError::BadReply { .. } => "judge-bad-reply",
            JudgeError::Failure { .. } => "judge-failure",
        }
    }

    /// One line for the record: the reason, a colon, and what happened, without what is a matter of
    /// timing (standard error, an unfinished line), so that a repeated run writes the same.
    pub fn record(&self) -> String {
        format!("{}: {}", self.reason(), What(self))
    }

    /// The process that was asked.
    pub fn program(&self) -> &ProgramState {
        match self {
            JudgeError::Timeout { program, .. }
            | JudgeError::BadReply { program, .. }
            | JudgeError::Failure { program, .. } => program,
        }
    }
}

impl std::error::Error for JudgeError {}

impl Display for JudgeError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let program = self.program();
        write!(f, "judge `{}`: {}", program.command, What(self))?;
        if let JudgeError::Timeout { seen, .. } = self
            && !seen.is_empty()
        {
            write!(f, ", only the unfinished line `{seen}`")?;
        }
        if let Some(exit) = &program.exit {
            write!(f, "; the process: {exit}")?;
        }
        if !program.stderr.is_empty() {
            write!(f, "; its standard error ends: {}", program.stderr)?;
        }
        let mend = match self {
            JudgeError::Timeout { .. } => {
                "give it more time (its start counts too), let it answer sooner, and flush each reply"
            }
            JudgeError::BadReply { .. } => {
                "write one line for each request, `{\"id\": N, \"reward\": R}` with R from 0 to 1, and \
                 everything else to standard error"
            }
            JudgeError::Failure { mend, .. } => mend,
        };
        write!(f, "; {mend}")
    }
}

/// What happened, without what is a matter of timing.
struct What<'a>(&'a JudgeError);

impl Display for What<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            JudgeError::Timeout { id, timeout, .. } => {
                write!(f, "no reply to request {id} within {timeout:?}")
            }
            JudgeError::BadReply {
                id, problem, seen, ..
            } => write!(f, "the reply to request {id} {problem}: `{seen}`"),
            JudgeError::Failure { problem, .. } => f.write_str(problem),
        }
    }
}

/// The first `n_chars` characters of what a program wrote, on one line.
pub(crate) fn beginning(bytes: &[u8], n_chars: usize) -> String {
    // A character has at most 4 bytes: no need to look at a long text whole.
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * n_chars + 4)]);
    let mut chars = text.chars();
    let mut shown = on_one_line(&chars.by_ref().take(n_chars).collect::<String>());
    if chars.next().is_some() {
        shown.push_str("...");
    }
    shown
}

/// A text with its line breaks and control characters made visible.
pub(crate) fn on_one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.trim().chars() {
        match c {
            '\n' => line.push_str(" | "),
            c if c.is_control() => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::{JudgeError, ProgramState, beginning, on_one_line};
    use std::time::Duration;

    fn state() -> Box<ProgramState> {
        Box::new(ProgramState {
            command: "judge.py --fast".to_owned(),
            exit: Some("exit status: 3".to_owned()),
            stderr: "KeyError: 'answer'".to_owned(),
        })
    }

    #[test]
    fn a_message_says_what_was_seen_how_the_program_stands_and_what_to_do() {
        let error = JudgeError::Timeout {
            id: 4,
            timeout: Duration::from_millis(1500),
            seen: "{\"id".to_owned(),
            program: state(),
        };
        assert_eq!(
            error.to_string(),
            "judge `judge.py --fast`: no reply to request 4 within 1.5s, only the unfinished line \
             `{\"id`; the process: exit status: 3; its standard error ends: KeyError: 'answer'; give \
             it more time (its start counts too), let it answer sooner, and flush each reply"
        );
        assert_eq!(
            error.record(),
            "judge-timeout: no reply to request 4 within 1.5s"
        );
    }

    #[test]
    fn what_a_program_wrote_is_shown_on_one_line_and_cut() {
        assert_eq!(beginning("aé\nb".as_bytes(), 4), "aé | b");
        assert_eq!(beginning("aébc".as_bytes(), 2), "aé...");
        assert_eq!(beginning(b"a\xff", 9), "a\u{fffd}");
        assert_eq!(on_one_line("  a\t\x1b[1m\n"), "a\\t\\u{1b}[1m");
    }
}
