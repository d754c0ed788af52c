//! A run's folder or a model's folder, and the reader that goes with it.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use longhand_config::{Experiment, ReaderSettings};
use longhand_hub::{Event, HubError, ModelArg};
use longhand_memory::{ChunkOptions, ReaderError, ReaderLimits, TemplatesText};
use longhand_policy::{Compute, Policy};
use longhand_run::RunDir;
use longhand_trainer::policy_encode;

use crate::{bad_usage, count};

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
    /// Tokens per chunk [default: the run's, else what the model's window leaves]
    #[arg(long, value_name = "TOKENS", value_parser = count())]
    chunk_size: Option<usize>,
    /// Most tokens of a memory [default: the run's, else an eighth of the window]
    #[arg(long, value_name = "TOKENS", value_parser = count())]
    memory_size: Option<usize>,
    /// Most tokens of an answer [default: the run's, else an eighth of the window]
    #[arg(long, value_name = "TOKENS", value_parser = count())]
    answer_size: Option<usize>,
    /// Most tokens of a question [default: the run's, else an eighth of the window]
    #[arg(long, value_name = "TOKENS", value_parser = count())]
    question_size: Option<usize>,
    /// Most chunks to read; a longer document is cut in its centre [default: all]
    #[arg(long, value_name = "N", value_parser = count())]
    max_chunks: Option<usize>,
    /// Prompts: longhand, memagent or marks [default: the run's, else longhand]
    #[arg(long, value_name = "NAME")]
    template: Option<String>,
}

/// The folder of a model argument: the folder itself, or that of `hf:owner/name[@rev]` once it is
/// downloaded, which standard error tells of.
pub(crate) fn model_folder(arg: &Path) -> Result<PathBuf> {
    let usage = |error: HubError| {
        if error.is_usage() {
            bad_usage(error.to_string())
        } else {
            error.into()
        }
    };
    let is_terminal = io::stderr().is_terminal();
    // Hidden where standard error is no terminal.
    let bar =
        indicatif::ProgressBar::no_length().with_style(indicatif::ProgressStyle::with_template(
            "{msg} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        )?);
    let say = |text: String| {
        // Where standard error is closed there is nobody to tell.
        bar.suspend(|| {
            let _ = writeln!(io::stderr(), "{text}");
        });
    };
    let mut current = String::new();
    let mut tell = |event: Event<'_>| match event {
        Event::File {
            name,
            n_done,
            n_bytes,
        } => {
            if current != name {
                name.clone_into(&mut current);
                bar.reset();
                bar.set_length(n_bytes);
                bar.set_message(current.clone());
                if !is_terminal {
                    say(format!("downloading {name} ({n_bytes} bytes)"));
                }
            }
            bar.set_position(n_done);
        }
        Event::Retry { name, reason } => say(format!("{name}: {reason}; trying again")),
        Event::Waiting { name } => {
            say(format!(
                "{name}: waiting for another process that downloads it"
            ));
        }
        Event::Offline {
            reason,
            commit,
            unconfirmed,
        } => {
            let lacks = if unconfirmed.is_empty() {
                String::new()
            } else {
                format!(", which may lack {}", unconfirmed.join(", "))
            };
            say(format!(
                "the hub was not reached ({reason}); using commit {commit} from the cache{lacks}"
            ));
        }
        _ => {}
    };
    let folder = ModelArg::of_path(arg).and_then(|arg| arg.folder(&mut tell));
    bar.finish_and_clear();
    folder.map_err(usage)
}

/// Reads a run (its latest checkpoint) or a model in Hugging Face layout.
pub(crate) fn load(path: &Path) -> Result<Loaded> {
    let path = &*model_folder(path)?;
    let compute = Compute::default();
    if path.join("config.toml").is_file() {
        let run = RunDir::open(path)?;
        let folder = run.latest_checkpoint()?.with_context(|| {
            format!(
                "the run {} has no checkpoint yet: it ended before its first one",
                path.display()
            )
        })?;
        let experiment = Experiment::load(&path.join("config.toml"), &[])?;
        let policy = Policy::load(&folder, &compute)?;
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
        policy: Policy::load(path, &compute)?,
        experiment: None,
        folder: path.to_owned(),
    })
}

impl Loaded {
    /// The run's reader, or one sized for the model's window, with the command line's changes.
    ///
    /// The whole document is read unless the command line says otherwise: a run's `max_chunks` bounds
    /// what training costs.
    pub(crate) fn reader(&self, args: &ReaderArgs) -> Result<ReaderSettings> {
        let preset = |name: &str| {
            TemplatesText::preset(name).map_err(|e| bad_usage(format!("--template: {e}")))
        };
        let window = self.policy.config().max_positions;
        let eighth = (window / 8).max(1);
        let of_run = self
            .experiment
            .as_ref()
            .map(|experiment| &experiment.reader);
        let templates = match (&args.template, of_run) {
            (Some(name), _) => preset(name)?,
            (None, Some(reader)) => reader.templates.clone(),
            (None, None) => preset("longhand")?,
        };
        // MemAgent's shares of a window of 8192: 1024 each for question, memory and new memory.
        let mut limits = of_run.map_or(
            ReaderLimits {
                max_question_tokens: eighth,
                max_memory_tokens: eighth,
                max_answer_tokens: eighth,
                window: Some(window),
            },
            |reader| reader.limits,
        );
        let replace = |value: &mut usize, by: Option<usize>| *value = by.unwrap_or(*value);
        replace(&mut limits.max_memory_tokens, args.memory_size);
        replace(&mut limits.max_answer_tokens, args.answer_size);
        replace(&mut limits.max_question_tokens, args.question_size);

        let mut chunks = match of_run {
            Some(reader) => reader.evaluation_chunks(),
            None => {
                let encode = |encode: &dyn Fn(&str) -> Vec<u32>| templates.compile(encode);
                let compiled = policy_encode(self.policy.tokenizer(), encode)?;
                let (question, memory) = (limits.max_question_tokens, limits.max_memory_tokens);
                // The first turn shows what stands for an empty memory.
                let shown = memory.max(compiled.empty_memory.len());
                let others = compiled.read.filled_length(question, 0, shown) + memory;
                ChunkOptions {
                    chunk_size: window.saturating_sub(others).max(1),
                    overlap: 0,
                    max_chunks: None,
                }
            }
        };
        replace(&mut chunks.chunk_size, args.chunk_size);
        chunks.max_chunks = args.max_chunks;
        let wrong = |e: ReaderError| bad_usage(e.to_string());
        chunks.check().map_err(wrong)?;
        limits.check().map_err(wrong)?;
        Ok(ReaderSettings {
            templates,
            chunks,
            limits,
        })
    }
}
