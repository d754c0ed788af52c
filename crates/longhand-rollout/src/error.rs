//! What can keep problems from being encoded, read, collected or packed.

use std::error::Error;

use longhand_memory::ReaderError;

use crate::ServeError;

/// Why a rollout, an expert walk or a packing could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RolloutError {
    /// A temperature that no token can be drawn at.
    #[error("temperature is {temperature}: it must be at least 0")]
    Temperature {
        /// The value.
        temperature: f32,
    },
    /// A share that is not one.
    #[error("top_p is {top_p}: it must be above 0 and at most 1")]
    TopP {
        /// The value.
        top_p: f32,
    },
    /// A paragraph format that cannot be used.
    #[error(
        "the paragraph format `{format}` {problem}; it may name {{n}}, {{title}} and {{text}}, \
         and a plain brace is written {{{{ or }}}}"
    )]
    ParagraphFormat {
        /// The format.
        format: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A problem that cannot be read with these settings.
    #[error("problem {id} cannot be read: {source}")]
    Reader {
        /// The problem's name.
        id: String,
        /// Why.
        source: ReaderError,
    },
    /// Groups that would be empty or larger than a stream key can count.
    #[error("group_size is {group_size}: it must be from 1 to {}", u32::MAX)]
    GroupSize {
        /// The value.
        group_size: usize,
    },
    /// An attempt that a group does not have.
    #[error("there is no attempt {attempt}: groups have {group_size} attempts, from 0")]
    NoAttempt {
        /// The attempt asked for.
        attempt: u32,
        /// Attempts of a group.
        group_size: usize,
    },
    /// A log-probability that is NaN or infinite: the weights that sampled it cannot be trusted.
    #[error(
        "the log-probability of token {token} of problem {problem_idx}, attempt {attempt}, turn {turn} is {value}"
    )]
    NotFinite {
        /// The problem's index in its source.
        problem_idx: u64,
        /// Which attempt.
        attempt: u32,
        /// Which turn.
        turn: u32,
        /// Which sampled token of the turn, from 0.
        token: usize,
        /// The log-probability.
        value: f32,
    },
    /// A collection that may ask for nothing.
    #[error("max_batch is 0: at least one request must be open at a time")]
    MaxBatchZero,
    /// A problem that was asked for twice, which would give the same rollouts twice.
    #[error(
        "problem {problem_idx} is in the list twice: both would draw from the same random streams"
    )]
    RepeatedProblem {
        /// The problem's index in its source.
        problem_idx: u64,
    },
    /// The generator failed.
    #[error("cannot generate: {source}")]
    Generate {
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The generator gave back another number of completions.
    #[error(
        "the generator was given {n_requests} requests and returned {n_completions} completions"
    )]
    CompletionCount {
        /// Requests it was given: in one call, or so far when it stopped with some still open.
        n_requests: usize,
        /// Completions it returned for them.
        n_completions: usize,
    },
    /// The generator answered what it was not asked, or answered twice.
    #[error("the generator finished request {request_idx}, which is not open")]
    NotOpen {
        /// The request's number.
        request_idx: usize,
    },
    /// A completion that breaks the generator's promise.
    #[error("the completion of problem {problem_idx}, attempt {attempt}, turn {turn} {problem}")]
    Completion {
        /// The problem's index in its source.
        problem_idx: u64,
        /// Which attempt.
        attempt: u32,
        /// Which turn.
        turn: u32,
        /// What is wrong with it.
        problem: String,
    },
    /// A probability of forgetting that is none.
    #[error("forget is {forget}: the probability of forgetting a note must be from 0 to 1")]
    Forget {
        /// The value.
        forget: f64,
    },
    /// An expert has nothing to end its completions with.
    #[error("the expert needs an end token: give at least one in end_ids")]
    NoEndToken,
    /// An expert has no answer to give.
    #[error("problem {id} has no answer for an expert to give")]
    NoAnswer {
        /// The problem's name.
        id: String,
    },
    /// A noted paragraph that is not in the document as it is read.
    #[error(
        "problem {id}: the cut of {dropped_tokens} tokens from the document's centre hits the \
         noted paragraph at tokens {start}..{end}; raise max_chunks or make the document shorter"
    )]
    NoteCut {
        /// The problem's name.
        id: String,
        /// Tokens dropped.
        dropped_tokens: usize,
        /// First token of the paragraph in the whole document.
        start: usize,
        /// One past its last token.
        end: usize,
    },
    /// An expert's completion that does not fit.
    #[error(
        "problem {id}: the expert needs {n_tokens} tokens for {what}, its end token included, over \
         {limit_name} = {limit}; raise it"
    )]
    ExpertOverLimit {
        /// The problem's name.
        id: String,
        /// What it wants to write.
        what: String,
        /// Tokens it needs.
        n_tokens: usize,
        /// Which limit.
        limit_name: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A context that fits no micro-batch.
    #[error(
        "context {context_idx} needs {n_tokens} tokens, over token_budget = {token_budget}; raise \
         it, or use smaller chunks"
    )]
    OverBudget {
        /// Index of the context.
        context_idx: usize,
        /// Tokens that are run for it.
        n_tokens: usize,
        /// The budget.
        token_budget: usize,
    },
}

impl<E: Error + Send + Sync + 'static> From<ServeError<E>> for RolloutError {
    fn from(error: ServeError<E>) -> Self {
        match error {
            ServeError::Generate(source) => RolloutError::Generate {
                source: Box::new(source),
            },
            ServeError::CompletionCount {
                n_requests,
                n_completions,
            } => RolloutError::CompletionCount {
                n_requests,
                n_completions,
            },
        }
    }
}
