//! One attempt at one problem under way, and what it demands of a completion.

use longhand_memory::Reader;

use crate::{Completion, Request, RolloutError, StreamBase, StreamKey, Turn};

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
    /// The random stream of the turn that is due.
    pub(crate) fn key(&self, streams: &StreamBase) -> StreamKey {
        streams.key(self.problem_idx, self.attempt, self.turns.len() as u32)
    }

    /// Whether a completion is what [`crate::Generate`] promises for the turn that is due.
    pub(crate) fn check(
        &self,
        request: &Request,
        completion: &Completion,
    ) -> Result<(), RolloutError> {
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
        } else if request.max_tokens < ids.len() {
            format!(
                "has {} tokens, {} were asked for",
                ids.len(),
                request.max_tokens
            )
        } else if let Some(at) = logprobs.iter().position(|logprob| !logprob.is_finite()) {
            format!("has the log-probability {} at token {at}", logprobs[at])
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
