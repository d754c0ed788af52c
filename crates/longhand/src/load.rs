//! A run's folder or a model's folder, and the reader that goes with it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use longhand_config::{Experiment, ReaderSettings};
use longhand_memory::{ChunkOptions, ReaderLimits, TemplatesText};
use longhand_policy::{Device, Policy};
use longhand_run::RunDir;

use crate::bad_usage;

/// A policy, and the experiment it came from when it came from a run.
pub(crate) struct Loaded {
    pub(crate) policy: Policy,
    pub(crate) experiment: Option<Experiment>,
    /// Where the weights were read.
    pub(crate) folder: PathBuf,
}

/// Reader settings that the command line may change.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct ReaderArgs {
    /// Tokens per chunk
    #[arg(long)]
    chunk_size: Option<usize>,
    /// Most tokens of a memory
    #[arg(long)]
    memory_size: Option<usize>,
    /// Most tokens of an answer
    #[arg(long)]
    answer_size: Option<usize>,
    /// Most tokens of a question
    #[arg(long)]
    question_size: Option<usize>,
    /// Most chunks to read; a longer document is cut in its centre
    #[arg(long)]
    max_chunks: Option<usize>,
    /// Prompts: longhand, memagent or marks
    #[arg(long)]
    template: Option<String>,
}

/// Reads a run (its latest checkpoint) or a model in Hugging Face layout.
pub(crate) fn load(path: &Path) -> Result<Loaded> {
    let device = Device::default();
    if path.join("config.toml").is_file() {
        let run = RunDir::open(path)?;
        let folder = run.latest_checkpoint()?.with_context(|| {
            format!(
                "the run {} has no checkpoint yet: it ended before its first one",
                path.display()
            )
        })?;
        let experiment = Experiment::load(&path.join("config.toml"), &[])?;
        let policy = Policy::load(&folder, &device)?;
        return Ok(Loaded {
            policy,
            experiment: Some(experiment),
            folder,
        });
    }
    if !path.join("config.json").is_file() {
        return Err(bad_usage(format!(
            "{} is neither a run (config.toml) nor a model (config.json): give the folder of one of them",
            path.display()
        )));
    }
    Ok(Loaded {
        policy: Policy::load(path, &device)?,
        experiment: None,
        folder: path.to_owned(),
    })
}

impl Loaded {
    /// The run's reader, or one sized for the model's window, with the command line's changes.
    pub(crate) fn reader(&self, args: &ReaderArgs) -> Result<ReaderSettings> {
        let mut reader = match &self.experiment {
            Some(experiment) => experiment.reader.clone(),
            None => for_window(self.policy.config().max_positions)?,
        };
        if let Some(name) = &args.template {
            reader.templates =
                TemplatesText::preset(name).map_err(|e| bad_usage(format!("--template: {e}")))?;
        }
        let replace = |value: &mut usize, by: Option<usize>| *value = by.unwrap_or(*value);
        replace(&mut reader.limits.max_memory_tokens, args.memory_size);
        replace(&mut reader.limits.max_answer_tokens, args.answer_size);
        replace(&mut reader.limits.max_question_tokens, args.question_size);
        reader
            .limits
            .check()
            .map_err(|e| bad_usage(e.to_string()))?;
        let max_chunks = args.max_chunks.or(reader.chunks.max_chunks);
        let chunk_size = args.chunk_size.unwrap_or(reader.chunks.chunk_size);
        reader.chunks = ChunkOptions::new(chunk_size, reader.chunks.overlap, max_chunks)
            .map_err(|e| bad_usage(e.to_string()))?;
        Ok(reader)
    }
}

/// MemAgent's budgets (a question, a memory and an answer of an eighth of the window each, the chunk about
/// five eighths), with room left for the template.
fn for_window(window: usize) -> Result<ReaderSettings> {
    let eighth = (window / 8).max(1);
    let limits = ReaderLimits {
        max_question_tokens: eighth,
        max_memory_tokens: eighth,
        max_answer_tokens: eighth,
        window: Some(window),
    };
    let chunk_size = (window / 2).max(1);
    Ok(ReaderSettings {
        templates: TemplatesText::preset("longhand")?,
        chunks: ChunkOptions::new(chunk_size, 0, None)?,
        limits,
    })
}
