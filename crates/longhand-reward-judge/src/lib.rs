//! Asks a program for rewards, and says why when it gives none.
//!
//! A [`Judge`] keeps a few child processes of one program and asks them through their standard input
//! and output, one JSON object a line.
//!
//! A request, always with these fields:
//!
//! ```json
//! {"id": 17, "problem_id": "train-3", "question": "Who ...?", "expected": ["Ada"], "answer": "It was Ada."}
//! ```
//!
//! A reply carries the request's `id`, and either a reward from 0 to 1 or the reason for there being none
//! (a field that is `null` counts as absent, other fields are passed over):
//!
//! ```json
//! {"id": 17, "reward": 0.5}
//! {"id": 17, "error": "the model behind me is overloaded"}
//! ```
//!
//! A whole judge in Python (`examples/word_judge.rs` is one in Rust):
//!
//! ```python
//! import json, sys
//!
//! for line in sys.stdin:
//!     request = json.loads(line)
//!     found = any(answer.lower() in request["answer"].lower() for answer in request["expected"])
//!     print(json.dumps({"id": request["id"], "reward": 1.0 if found else 0.0}), flush=True)
//! ```
//!
//! What a program must keep to:
//!
//! - Each reply is one line of at most [`MAX_REPLY_BYTES`] bytes, ended by a line break and flushed at once.
//!   Blank lines are passed over. Everything else on standard output is a bad reply, so notes and
//!   progress go to standard error, whose end is shown in errors.
//! - It goes on until its standard input ends, and then ends too: that is how it is told to stop. What
//!   still runs two seconds later is killed.
//! - The reward depends on the request alone. Then it does not matter which process is asked, and a run
//!   can be repeated.
//!
//! What is promised in return. A process has one request open at a time; more at once take more
//! processes. A missing reward is an error and never a 0:
//!
//! | what happens | the error | the process |
//! |---|---|---|
//! | no reply in time (the program's start counts) | [`JudgeError::Timeout`] | killed; the next request starts a fresh one |
//! | an `error` reply | [`JudgeError::Failure`] | goes on |
//! | the right `id`, but no reward from 0 to 1 | [`JudgeError::BadReply`] | goes on |
//! | any other line, or too long a line | [`JudgeError::BadReply`] of the open request | killed, since its next line may be the late reply |
//! | the program ends, or closes its output | tried again on a fresh process, then [`JudgeError::Failure`] | started afresh |
//! | it ends within a line | tried again, then [`JudgeError::BadReply`] | started afresh |
//! | it cannot be started | tried again, then [`JudgeError::Failure`] | |
//!
//! A request starts at most `retries + 1` processes, and every wait has a limit. On Unix each process leads a
//! process group of its own, which is killed with it: what a shell started dies too (unless it left
//! the group), and Ctrl-C in a terminal does not reach the program. Elsewhere only the process itself is killed.
//!
//! Knows nothing of tokens, steps or groups: texts go out, numbers come back.

mod error;
mod judge;
mod lines;
mod process;
mod process_group;
mod reply;

pub use error::{JudgeError, ProgramState};
pub use judge::{Judge, JudgeSettings, Question};
pub use lines::MAX_REPLY_BYTES;
pub use reply::{Reply, ReplyError, parse_reply};
