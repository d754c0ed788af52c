//! What can stop a training run.

use std::path::{Path, PathBuf};

use longhand_config::ConfigError;
use longhand_memory::ReaderError;
use longhand_policy::{CpuError, OptimizerError, PolicyError, TokenizerError};
use longhand_reading::PromptingError;
use longhand_reward_judge::JudgeError;
use longhand_rollout::{RolloutError, WeightsId};
use longhand_run::{CheckpointError, RunError};
use longhand_tasks::TaskError;
use thiserror::Error;

use crate::not_finite::NotFinite;

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
    /// The model's folder does not say how its prompts look, or says something that cannot be done.
    #[error(transparent)]
    Prompting(#[from] PromptingError),
    /// Drawn weights are in no folder that an adapter could be kept beside.
    #[error(
        "policy.lora adapts weights that are in a folder, and policy.from_scratch draws them: train them \
         first, then give the folder of a checkpoint as policy.path"
    )]
    AdapterFromScratch,
    /// The run's folder cannot be written.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A checkpoint cannot be written; the earlier ones are whole.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError<Box<TrainError>>),
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
    #[error("{0}; the run stops here")]
    NotFinite(Box<NotFinite>),
    /// Rollouts that other weights sampled than those that are to be trained.
    #[error(
        "the rollouts of problem {problem_idx} were sampled with {sampled}, but the policy is {policy}: \
         the sampler was not given the new weights"
    )]
    StaleRollouts {
        /// The problem's index in its source.
        problem_idx: u64,
        /// The weights that sampled.
        sampled: WeightsId,
        /// The weights that are to be trained.
        policy: WeightsId,
    },
    /// The judge cannot be started.
    #[error("reward.judge: {0}")]
    Judge(#[from] JudgeError),
    /// More rewards failed than the experiment lets pass.
    #[error(
        "{n_failed} of {n_attempts} attempts have no reward ({reasons}), over reward.judge.max_failed_share = \
         {max_failed_share}; the last reason was: {last}"
    )]
    RewardsFailed {
        /// Attempts without a reward.
        n_failed: usize,
        /// Attempts.
        n_attempts: usize,
        /// How many for which reason.
        reasons: String,
        /// The greatest share that is let pass.
        max_failed_share: f64,
        /// The last failure in full.
        last: String,
    },
    /// A run that had begun failed; what was known of its step was kept.
    #[error("{source}{}", told(kept, run))]
    Step {
        /// Why.
        source: Box<TrainError>,
        /// Files that were written about it.
        kept: Vec<PathBuf>,
        /// The run's folder.
        run: PathBuf,
    },
    /// A file that is no record of a failure.
    #[error("{path} is not the record of a failed step: {reason}")]
    BadFailure {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A stop was asked for while something was under way that can be begun again.
    #[error("stopped by signal {signal}")]
    Stopped {
        /// The signal's number.
        signal: usize,
    },
    /// The experiment file that a run keeps.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The optimiser's state cannot be written or read.
    #[error(transparent)]
    Optimizer(#[from] OptimizerError),
    /// A checkpoint that does not fit the run's configuration.
    #[error(
        "the checkpoint {path} stands at stage {stage_idx}, step {step}, which config.toml does not have"
    )]
    Position {
        /// The checkpoint.
        path: PathBuf,
        /// Index of the stage.
        stage_idx: usize,
        /// Steps done in it.
        step: usize,
    },
    /// No checkpoint to begin a replay from.
    #[error(
        "{run} has no whole checkpoint at or before {stage} step {step} to begin from; it has: {there}"
    )]
    NoCheckpoint {
        /// The run.
        run: PathBuf,
        /// `rl` or `warm-start`.
        stage: String,
        /// The step.
        step: usize,
        /// The checkpoints there are.
        there: String,
    },
    /// A rollout that was never made, or not kept.
    #[error("{run} has no rollout of {what}; there are {there}")]
    NoRollout {
        /// The run.
        run: PathBuf,
        /// What was asked for.
        what: String,
        /// What there is.
        there: String,
    },
}

/// Where to look, and how to go on.
fn told(kept: &[PathBuf], run: &Path) -> String {
    let mut text = String::new();
    for path in kept {
        let what = if path.is_dir() {
            "the run as it stood before the step is in"
        } else if path.extension().is_some_and(|end| end == "json") {
            "`longhand replay` shows it again from"
        } else {
            "the step's rollouts are in"
        };
        text.push_str(&format!("\n  {what} {}", path.display()));
    }
    format!(
        "{text}\n  when the cause is gone: longhand train --resume {}",
        run.display()
    )
}
