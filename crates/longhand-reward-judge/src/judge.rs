//! The processes of one judge, and the questions spread over them.

use std::fmt::{self, Debug, Formatter};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::{JudgeError, ProgramState};
use crate::process::{Outcome, Process, shown_command};

/// Processes that are told to stop get so long, all together, before they are killed.
const TIME_TO_STOP: Duration = Duration::from_secs(2);

/// How to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgeSettings {
    /// The program and its arguments; no shell in between. A name without a slash is looked up in
    /// `PATH`, a relative path starts at the working directory.
    pub command: Vec<String>,
    /// How long one try of one request may take, the program's start included where there is one.
    pub timeout: Duration,
    /// So many requests are open at once, each with a process of its own; at least 1.
    pub processes: usize,
    /// How often a request is tried again when the program ends instead of replying, or cannot be started.
    pub retries: usize,
}

/// What the program is told about one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// Names the problem, the same in each run.
    pub problem_id: &'a str,
    /// The question that was asked.
    pub question: &'a str,
    /// The accepted answers.
    pub expected: &'a [String],
    /// The answer that wants a reward.
    pub answer: &'a str,
}

/// One line to the program.
#[derive(Serialize)]
struct Request<'a> {
    id: u64,
    problem_id: &'a str,
    question: &'a str,
    expected: &'a [String],
    answer: &'a str,
}

/// A program that gives rewards, running. Dropping it ends the program's processes.
pub struct Judge {
    settings: JudgeSettings,
    /// `None` where the next request starts a fresh one.
    processes: Vec<Option<Process>>,
    /// The id of the next request.
    next_id: u64,
}

impl Judge {
    /// Starts the processes, so that whatever they have to load is loaded before the first request.
    ///
    /// # Errors
    /// [`JudgeError::Failure`] when the program cannot be started or the settings make no sense.
    pub fn start(settings: JudgeSettings) -> Result<Judge, JudgeError> {
        let senseless = |problem: &str, mend| JudgeError::Failure {
            problem: problem.to_owned(),
            mend,
            program: Box::new(ProgramState {
                command: shown_command(&settings.command),
                ..ProgramState::default()
            }),
        };
        if settings.command.is_empty() {
            let mend = "set the command to the program and its arguments";
            return Err(senseless("no program is named", mend));
        }
        if settings.processes == 0 {
            return Err(senseless("0 processes answer nothing", "set at least 1"));
        }
        if settings.timeout.is_zero() {
            return Err(senseless(
                "no program answers within no time",
                "set a timeout",
            ));
        }
        let processes = (0..settings.processes)
            .map(|_| start(&settings.command).map(Some))
            .collect::<Result<_, _>>()?;
        Ok(Judge {
            settings,
            processes,
            next_id: 0,
        })
    }

    /// Numbers the next requests from `id` on. Records of failures name the request: whoever goes on with
    /// what another judge began gets the same ones. No id should come twice.
    pub fn count_from(&mut self, id: u64) {
        self.next_id = id;
    }

    /// Asks for the reward of each answer: one result for each question, in their order, whichever
    /// process gave it. A reward is within `[0, 1]`.
    ///
    /// Takes at most `timeout * (retries + 1)` for each question of the busiest process, and a few
    /// seconds for each process that has to be killed.
    pub fn rewards(&mut self, questions: &[Question<'_>]) -> Vec<Result<f64, JudgeError>> {
        let first_id = self.next_id;
        self.next_id += questions.len() as u64;
        let next_idx = AtomicUsize::new(0);
        let (settings, next_idx) = (&self.settings, &next_idx);
        let work = |slot: &mut Option<Process>| {
            let mut results = Vec::new();
            loop {
                let idx = next_idx.fetch_add(1, Ordering::Relaxed);
                let Some(question) = questions.get(idx) else {
                    return results;
                };
                let id = first_id + idx as u64;
                results.push((idx, reward(slot, settings, id, question)));
            }
        };
        let mut slots = self.processes.iter_mut().take(questions.len());
        let Some(own_slot) = slots.next() else {
            return Vec::new();
        };
        let mut results = thread::scope(|scope| {
            // Where the system has no thread left, the others do its work.
            let workers: Vec<_> = slots
                .map_while(|slot| {
                    let builder = thread::Builder::new().name("judge".to_owned());
                    builder.spawn_scoped(scope, || work(slot)).ok()
                })
                .collect();
            let mut results = work(own_slot);
            for worker in workers {
                results.extend(worker.join().expect("a judge's worker does not panic"));
            }
            results
        });
        results.sort_unstable_by_key(|(idx, _)| *idx);
        results.into_iter().map(|(_, result)| result).collect()
    }
}

impl Debug for Judge {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge")
            .field("settings", &self.settings)
            .field("next_id", &self.next_id)
            .finish_non_exhaustive()
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().flatten() {
            process.close_input();
        }
        let started = Instant::now();
        for process in self.processes.iter_mut().flatten() {
            process.end(TIME_TO_STOP.saturating_sub(started.elapsed()));
        }
    }
}

/// A try that gave no reward.
struct Miss {
    error: JudgeError,
    /// The program ended or did not start: a fresh process may do better.
    is_retried: bool,
}

fn reward(
    slot: &mut Option<Process>,
    settings: &JudgeSettings,
    id: u64,
    question: &Question<'_>,
) -> Result<f64, JudgeError> {
    let request = Request {
        id,
        problem_id: question.problem_id,
        question: question.question,
        expected: question.expected,
        answer: question.answer,
    };
    let mut line = serde_json::to_vec(&request).expect("texts and a number can be written as JSON");
    line.push(b'\n');
    let mut n_tries = 0;
    loop {
        n_tries += 1;
        match try_once(slot, settings, id, line.clone(), n_tries) {
            Ok(reward) => return Ok(reward),
            Err(miss) if miss.is_retried && n_tries <= settings.retries => {}
            Err(miss) => return Err(miss.error),
        }
    }
}

/// Asks the slot's process, or a fresh one, which stays in the slot when it can be asked again.
fn try_once(
    slot: &mut Option<Process>,
    settings: &JudgeSettings,
    id: u64,
    line: Vec<u8>,
    n_tries: usize,
) -> Result<f64, Miss> {
    // One that ended with nothing open has failed nobody.
    let idle = slot
        .take()
        .and_then(|mut process| process.is_running().then_some(process));
    let mut process = match idle {
        Some(process) => process,
        None => start(&settings.command).map_err(|error| Miss {
            error,
            is_retried: true,
        })?,
    };
    let (error, is_retried) = match process.ask(id, line, settings.timeout) {
        Outcome::Reward(reward) => {
            *slot = Some(process);
            return Ok(reward);
        }
        Outcome::Refused(why) => {
            let program = Box::new(process.state());
            *slot = Some(process);
            let error = JudgeError::Failure {
                problem: format!("the program has no reward for request {id}: {why}"),
                mend: "see what the program says",
                program,
            };
            (error, false)
        }
        Outcome::Late { seen } => {
            let error = JudgeError::Timeout {
                id,
                timeout: settings.timeout,
                seen,
                program: Box::new(process.kill()),
            };
            (error, false)
        }
        Outcome::Bad {
            problem,
            seen,
            is_in_step,
        } => {
            let program = if is_in_step {
                let program = process.state();
                *slot = Some(process);
                program
            } else {
                process.kill()
            };
            let error = JudgeError::BadReply {
                id,
                problem,
                seen,
                program: Box::new(program),
            };
            (error, false)
        }
        Outcome::Ended { torn: Some(seen) } => {
            let error = JudgeError::BadReply {
                id,
                problem: format!("is torn: the output ended within the line, in try {n_tries}"),
                seen,
                program: Box::new(process.bury()),
            };
            (error, true)
        }
        Outcome::Ended { torn: None } => {
            let program = process.bury();
            let exit = program.exit.as_deref().unwrap_or("unknown");
            let error = JudgeError::Failure {
                problem: format!(
                    "the program ended ({exit}) before it replied to request {id}, in try {n_tries}"
                ),
                mend: "run it by hand with one request line, and let it go on until its input ends",
                program: Box::new(program),
            };
            (error, true)
        }
    };
    Err(Miss { error, is_retried })
}

fn start(command: &[String]) -> Result<Process, JudgeError> {
    Process::start(command).map_err(|error| JudgeError::Failure {
        problem: format!("the program cannot be started: {error}"),
        mend: "check the command's first word, and that the file may be executed",
        program: Box::new(ProgramState {
            command: shown_command(command),
            ..ProgramState::default()
        }),
    })
}
