//! One attempt at one problem under way, and what it demands of a completion.

use longhand_memory::{Ask, Reader, TeacherScope};

use crate::{Completion, Request, RolloutError, StreamBase, Trajectory, Turn};

/// One attempt under way.
pub(crate) struct Attempt {
    /// Its problem's place in the list that was given.
    pub(crate) problem_place: usize,
    /// Its problem's index in the source.
    pub(crate) problem_idx: u64,
    pub(crate) attempt: u32,
    pub(crate) reader: Reader,
    pub(crate) turns: Vec<Turn>,
}

impl Attempt {
    /// What to ask for the turn that is due; `None` when the answer has been given.
    pub(crate) fn request(&self, streams: &StreamBase) -> Option<Request> {
        let ask = self.reader.ask()?;
        Some(Request {
            prompt: ask.prompt,
            max_tokens: ask.max_tokens,
            group: self.problem_place,
            key: streams.key(self.problem_idx, self.attempt, self.turns.len() as u32),
        })
    }

    /// Takes the completion of the turn that is due, and puts the turn on record.
    ///
    /// # Panics
    /// When the answer has been given.
    pub(crate) fn reply(
        &mut self,
        completion: Completion,
        teacher: Option<TeacherScope>,
    ) -> Result<(), RolloutError> {
        // The reader was asked before, for the request; asked again, it says the same.
        let ask = self.reader.ask();
        let Ask {
            kind,
            prompt,
            max_tokens,
        } = ask.expect("an attempt that is replied to has a turn that is due");
        self.check(max_tokens, &completion)?;
        let teacher_prompt = teacher.and_then(|scope| self.reader.teacher_prompt(scope));
        let Completion {
            ids,
            logprobs,
            stop_reason,
        } = completion;
        let stop_reason = self.reader.reply(&ids, stop_reason);
        self.turns.push(Turn {
            kind,
            prompt,
            completion: ids,
            rollout_logprobs: logprobs,
            stop_reason,
            teacher_prompt,
        });
        Ok(())
    }

    /// What is on record once the answer has been given.
    pub(crate) fn into_trajectory(self) -> Trajectory {
        Trajectory {
            answer: self.reader.answer().unwrap_or_default().to_vec(),
            dropped_tokens: self.reader.dropped_tokens(),
            turns: self.turns,
        }
    }

    /// Whether a completion is what [`crate::Generate`] promises for the turn that is due.
    fn check(&self, max_tokens: usize, completion: &Completion) -> Result<(), RolloutError> {
        let Completion {
            ids,
            logprobs,
            stop_reason: _,
        } = completion;
        let is_end = |id: &u32| self.reader.end_ids().contains(id);
        let problem = if ids.len() != logprobs.len() {
            format!(
                "has {} ids but {} log-probabilities",
                ids.len(),
                logprobs.len()
            )
        } else if max_tokens < ids.len() {
            format!("has {} tokens, {max_tokens} were asked for", ids.len())
        } else if let Some(token) = logprobs.iter().position(|logprob| !logprob.is_finite()) {
            return Err(RolloutError::NotFinite {
                problem_idx: self.problem_idx,
                attempt: self.attempt,
                turn: self.turns.len() as u32,
                token,
                value: logprobs[token],
            });
        } else if let Some(at) = ids.iter().position(is_end).filter(|at| at + 1 < ids.len()) {
            format!("goes on after its end token {} at token {at}", ids[at])
        } else {
            return Ok(());
        };
        Err(RolloutError::Completion {
            problem_idx: self.problem_idx,
            attempt: self.attempt,
            turn: self.turns.len() as u32,
            problem,
        })
    }
}
