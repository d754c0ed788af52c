//! One running process of a judge's program.
//!
//! Three threads do what may block: one writes requests, one reads replies, one reads standard error.
//! They end when the process's pipes close. Nobody waits for them, because a process that left the
//! group may hold a pipe open.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{ProgramState, beginning, on_one_line};
use crate::lines::{Lines, MAX_REPLY_BYTES};
use crate::process_group::{kill_group, lead_group};
use crate::reply::parse_reply;

/// So much of the end of standard error is kept.
const MAX_STDERR_BYTES: usize = 2048;
/// So many characters of a line are shown in errors.
const N_SHOWN_CHARS: usize = 200;
/// Pieces of output that may wait to be looked at; a program that writes more has to wait itself.
const N_WAITING_PIECES: usize = 8;
/// A program that has closed its output gets so long to end by itself, so that its exit status is known.
const TIME_TO_END: Duration = Duration::from_secs(1);
/// A killed process is gone at once, unless the system holds it; then a thread waits for it.
const TIME_TO_DIE: Duration = Duration::from_secs(2);
/// What an ended process wrote to standard error arrives at once, unless another process holds it open.
const TIME_FOR_STDERR: Duration = Duration::from_millis(300);

pub(crate) struct Process {
    /// `None` when it has been waited for.
    child: Option<Child>,
    /// `None` when standard input is closed.
    requests: Option<Sender<Vec<u8>>>,
    output: Receiver<Vec<u8>>,
    lines: Lines,
    stderr: Arc<Tail>,
    command: String,
}

/// What came of one request.
pub(crate) enum Outcome {
    Reward(f64),
    /// The program's own reason for having no reward.
    Refused(String),
    /// No reply in time; `seen` is the unfinished line.
    Late {
        seen: String,
    },
    /// A line that is no reply to this request.
    Bad {
        problem: String,
        seen: String,
        /// The line bears the request's id, so the next line is not a late reply to it.
        is_in_step: bool,
    },
    /// The output ended; `torn` is the unfinished line, if there is one.
    Ended {
        torn: Option<String>,
    },
}

impl Process {
    pub(crate) fn start(command: &[String]) -> io::Result<Process> {
        let (program, arguments) = command
            .split_first()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program is named"))?;
        let mut builder = Command::new(program);
        builder
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        lead_group(&mut builder);
        let mut child = builder.spawn()?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (requests, to_write) = channel::<Vec<u8>>();
        let (pieces, output) = sync_channel(N_WAITING_PIECES);
        // From here on the child ends with the value, also when a thread cannot be started.
        let process = Process {
            child: Some(child),
            requests: Some(requests),
            output,
            lines: Lines::default(),
            stderr: Arc::new(Tail::default()),
            command: shown_command(command),
        };
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(io::Error::other("the program has no pipes"));
        };
        spawn("judge-stdin", move || write_requests(stdin, &to_write))?;
        spawn("judge-stdout", move || read_pieces(stdout, &pieces))?;
        let tail = Arc::clone(&process.stderr);
        spawn("judge-stderr", move || tail.fill(stderr))?;
        Ok(process)
    }

    pub(crate) fn is_running(&mut self) -> bool {
        match &mut self.child {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => false,
        }
    }

    /// Sends a request (one line with its line break) and waits for what comes of it.
    pub(crate) fn ask(&mut self, id: u64, request: Vec<u8>, timeout: Duration) -> Outcome {
        let started = Instant::now();
        // A failure to write shows as the end of the output, or as a reply that does not come.
        if let Some(requests) = &self.requests {
            let _ = requests.send(request);
        }
        loop {
            match self.lines.take() {
                Ok(Some(line)) if line.trim_ascii().is_empty() => continue,
                Ok(Some(line)) => return read(id, &line),
                Ok(None) => {}
                Err(_) => {
                    return Outcome::Bad {
                        problem: format!("is longer than the bound of {MAX_REPLY_BYTES} bytes"),
                        seen: beginning(self.lines.rest(), N_SHOWN_CHARS),
                        is_in_step: false,
                    };
                }
            }
            // Looked at in each round: a program that floods its output does not hold up the clock.
            let left = timeout.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Outcome::Late {
                    seen: beginning(self.lines.rest(), N_SHOWN_CHARS),
                };
            }
            match self.output.recv_timeout(left) {
                Ok(piece) => self.lines.push(&piece),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let torn = self.lines.rest();
                    return Outcome::Ended {
                        torn: (!torn.trim_ascii().is_empty())
                            .then(|| beginning(torn, N_SHOWN_CHARS)),
                    };
                }
            }
        }
    }

    /// How it stands while it goes on.
    pub(crate) fn state(&self) -> ProgramState {
        ProgramState {
            command: self.command.clone(),
            exit: None,
            stderr: self.stderr.text(Duration::ZERO),
        }
    }

    /// Kills it and its group.
    pub(crate) fn kill(mut self) -> ProgramState {
        self.end(Duration::ZERO)
    }

    /// Lets it end by itself, since its output has ended, and kills what is left of its group.
    pub(crate) fn bury(mut self) -> ProgramState {
        self.end(TIME_TO_END)
    }

    /// Closes its standard input, which asks it to end.
    pub(crate) fn close_input(&mut self) {
        self.requests = None;
    }

    /// Gives it `grace` to end by itself, then kills it; kills its group in any case.
    pub(crate) fn end(&mut self, grace: Duration) -> ProgramState {
        self.close_input();
        let exit = self.child.take().map(|child| end_child(child, grace));
        ProgramState {
            command: self.command.clone(),
            exit,
            stderr: self.stderr.text(TIME_FOR_STDERR),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            end_child(child, Duration::ZERO);
        }
    }
}

/// The program and its arguments as errors show them.
pub(crate) fn shown_command(command: &[String]) -> String {
    beginning(command.join(" ").as_bytes(), N_SHOWN_CHARS)
}

fn read(id: u64, line: &[u8]) -> Outcome {
    let bad = |problem, is_in_step| Outcome::Bad {
        problem,
        seen: beginning(line, N_SHOWN_CHARS),
        is_in_step,
    };
    match parse_reply(line) {
        Ok(reply) if reply.id != id => {
            bad(format!("has the id {} of no open request", reply.id), false)
        }
        Ok(reply) => match reply.reward {
            Ok(reward) => Outcome::Reward(reward),
            Err(why) => Outcome::Refused(beginning(why.as_bytes(), N_SHOWN_CHARS)),
        },
        Err(error) => {
            let is_in_step = error.id() == Some(id);
            bad(error.to_string(), is_in_step)
        }
    }
}

/// Gives a process `grace` to end by itself, then kills it; kills its group in any case. Says how it ended.
fn end_child(mut child: Child, grace: Duration) -> String {
    let ended = wait(&mut child, grace);
    kill_group(child.id());
    match ended {
        Some(status) => status.to_string(),
        None => {
            reap(child, Duration::ZERO);
            "killed while it was running".to_owned()
        }
    }
}

/// Waits for a process, kills it after `grace`, and leaves no zombie even when it does not go.
pub(crate) fn reap(mut child: Child, grace: Duration) {
    if wait(&mut child, grace).is_some() {
        return;
    }
    // It may have ended just now, and then there is nothing to kill.
    let _ = child.kill();
    if wait(&mut child, TIME_TO_DIE).is_none() {
        // Without this thread the zombie stays until this process ends, which is all that can be done.
        let _ = spawn("judge-reaper", move || {
            let _ = child.wait();
        });
    }
}

/// The exit status, when the process ends within `limit`.
fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let started = Instant::now();
    let mut pause = Duration::from_micros(200);
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        let left = limit.saturating_sub(started.elapsed());
        if left.is_zero() {
            return None;
        }
        thread::sleep(pause.min(left));
        pause = (2 * pause).min(Duration::from_millis(20));
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map(drop)
}

/// Ends when the other side is dropped, or the program no longer reads.
fn write_requests(mut stdin: impl Write, requests: &Receiver<Vec<u8>>) {
    for request in requests {
        if stdin
            .write_all(&request)
            .and_then(|()| stdin.flush())
            .is_err()
        {
            return;
        }
    }
}

/// Ends when the output ends or nobody takes the pieces any more.
fn read_pieces(mut stdout: impl Read, pieces: &SyncSender<Vec<u8>>) {
    let mut buffer = [0; 8192];
    while let Some(n_bytes) = read_some(&mut stdout, &mut buffer) {
        if pieces.send(buffer[..n_bytes].to_vec()).is_err() {
            return;
        }
    }
}

/// `None` at the end; an error ends the output as well.
fn read_some(source: &mut impl Read, buffer: &mut [u8]) -> Option<usize> {
    loop {
        match source.read(buffer) {
            Ok(0) => return None,
            Ok(n_bytes) => return Some(n_bytes),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

/// The last [`MAX_STDERR_BYTES`] of standard error.
#[derive(Default)]
struct Tail {
    kept: Mutex<Kept>,
    ended: Condvar,
}

#[derive(Default)]
struct Kept {
    bytes: VecDeque<u8>,
    has_ended: bool,
}

impl Tail {
    fn fill(&self, mut stderr: impl Read) {
        let mut buffer = [0; 1024];
        while let Some(n_bytes) = read_some(&mut stderr, &mut buffer) {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.bytes.extend(&buffer[..n_bytes]);
            let n_surplus = kept.bytes.len().saturating_sub(MAX_STDERR_BYTES);
            kept.bytes.drain(..n_surplus);
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.has_ended = true;
        self.ended.notify_all();
    }

    /// What is kept, on one line, once standard error has ended or `limit` is over.
    fn text(&self, limit: Duration) -> String {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut kept, _) = self
            .ended
            .wait_timeout_while(kept, limit, |kept| !kept.has_ended)
            .unwrap_or_else(PoisonError::into_inner);
        on_one_line(&String::from_utf8_lossy(kept.bytes.make_contiguous()))
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_STDERR_BYTES, Tail};
    use std::time::Duration;

    #[test]
    fn the_end_of_standard_error_is_kept() {
        let text: String = (0..2000).map(|line| format!("line {line}\n")).collect();
        let tail = Tail::default();
        tail.fill(text.as_bytes());
        let kept = tail.text(Duration::ZERO);
        assert!(kept.ends_with("line 1998 | line 1999"), "{kept}");
        assert_eq!(tail.kept.lock().unwrap().bytes.len(), MAX_STDERR_BYTES);
    }
}
