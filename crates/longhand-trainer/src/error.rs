//! What can stop a training run.

use std::path::PathBuf;

use longhand_memory::ReaderError;
use longhand_policy::{CpuError, PolicyError, TokenizerError};
use longhand_rollout::RolloutError;
use longhand_run::{CheckpointError, RunError};
use longhand_tasks::TaskError;
use thiserror::Error;

/// What can stop a training run.
#[derive(Debug, Error)]
pub enum TrainError {
    /// The policy folder cannot be read or written.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The machine is not as the experiment asks.
    #[error("compute.instructions: {0}")]
    Cpu(#[from] CpuError),
    /// Text cannot be turned into tokens or back.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The task's options or files are wrong.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// A problem cannot be read with these settings.
    #[error(transparent)]
    Rollout(#[from] RolloutError),
    /// The reader's settings are wrong.
    #[error(transparent)]
    Reader(#[from] ReaderError),
    /// The run's folder cannot be written.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A checkpoint cannot be written; the earlier ones are whole.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError<PolicyError>),
    /// The model's files name no end token, so no completion could end.
    #[error("the policy names no end token: set `eos_token_id` in {0}")]
    NoEndToken(PathBuf),
    /// The reader asks for more tokens than the model was made for.
    #[error(
        "a turn may take {needed} tokens, the model's window holds {window}: lower chunk_size, \
         max_question_tokens or max_memory_tokens under [reader]"
    )]
    Window {
        /// Tokens of the longest turn.
        needed: usize,
        /// `max_position_embeddings` of the model.
        window: usize,
    },
    /// One turn may be too long for a micro-batch.
    #[error(
        "a turn may take {needed} tokens, micro_batch_tokens = {micro_batch_tokens} of stage \
         {stage_idx} holds fewer: raise it, or lower chunk_size under [reader]"
    )]
    MicroBatch {
        /// Tokens of the longest turn.
        needed: usize,
        /// The budget.
        micro_batch_tokens: usize,
        /// Index of the stage.
        stage_idx: usize,
    },
    /// The source has fewer problems than are asked for.
    #[error(
        "the {split} split has {available} problems, {needed} are asked for at a time: lower \
         eval.n_documents (--documents) or problems_per_step, or give a larger file"
    )]
    TooFewProblems {
        /// Which split.
        split: String,
        /// How many there are.
        available: usize,
        /// How many are needed.
        needed: usize,
    },
    /// A number stopped being finite; nothing after it can be trusted.
    #[error(
        "{what} is not finite at {stage} step {step}: the run stops here, the last checkpoint is whole"
    )]
    NotFinite {
        /// Which number.
        what: String,
        /// Stage of the run.
        stage: &'static str,
        /// Step of the stage.
        step: usize,
    },
}
