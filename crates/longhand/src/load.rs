//! A run's folder or a model's folder, and the reader that goes with it.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use longhand_chat::ChatError;
use longhand_config::{ChatSettings, Experiment, ReaderSettings};
use longhand_hub::{Event, HubError, ModelArg};
use longhand_memory::{ReaderError, Templates, TemplatesText};
use longhand_policy::{Compute, Policy};
use longhand_reading::{
    ChatChoice, ChatOptions, Prompting, PromptingError, default_chunks, default_limits,
};
use longhand_run::RunDir;
use longhand_trainer::{chat_options, policy_encode};

use crate::{bad_usage, count};

/// A policy, and the experiment it came from when it came from a run.
pub(crate) struct Loaded {
    pub(crate) policy: Policy,
    pub(crate) experiment: Option<Experiment>,
    /// Where the weights were read.
    pub(crate) folder: PathBuf,
}

/// A reader's settings, and its prompts as the model is asked them.
pub(crate) struct LoadedReader {
    pub(crate) settings: ReaderSettings,
    pub(crate) templates: Templates,
    /// Whether the prompts stand in the model's chat template.
    pub(crate) is_chat: bool,
}

/// Reader settings that the command line may change.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct ReaderArgs {
    /// Tokens per chunk [default: the run's, else what the window leaves, at most 4096]
    #[arg(long, value_name = "TOKENS", value_parser = count())]
    chunk_size: Option<usize>,
    /// Most tokens of a memory [default: the run's, else an eighth of the window, at most 1024]
    #[arg(long, value_name = "TOKENS", value_parser = count())]
    memory_size: Option<usize>,
    /// Most tokens of an answer [default: the run's, else an eighth of the window, at most 512]
    #[arg(long, value_name = "TOKENS", value_parser = count())]
    answer_size: Option<usize>,
    /// Most tokens of a question [default: the run's, else an eighth of the window, at most 1024]
    #[arg(long, value_name = "TOKENS", value_parser = count())]
    question_size: Option<usize>,
    /// Most chunks to read; a longer document is cut in its centre [default: all]
    #[arg(long, value_name = "N", value_parser = count())]
    max_chunks: Option<usize>,
    /// Most tokens of a prompt and its reply together [default: the run's, at most the model's]
    #[arg(long, value_name = "TOKENS", value_parser = count())]
    window: Option<usize>,
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
    load_with(path, &Compute::default())
}

/// The same, to compute in another way.
pub(crate) fn load_with(path: &Path, compute: &Compute) -> Result<Loaded> {
    let path = &*model_folder(path)?;
    if path.join("config.toml").is_file() {
        let run = RunDir::open(path)?;
        let folder = run.latest_checkpoint()?.with_context(|| {
            format!(
                "the run {} has no checkpoint yet: it ended before its first one",
                path.display()
            )
        })?;
        let experiment = Experiment::load(&path.join("config.toml"), &[])?;
        let policy = Policy::load(&folder, compute)?;
        return Ok(Loaded {
            policy,
            experiment: Some(experiment),
            folder,
        });
    }
    let is_model = |name: &str| path.join(name).is_file();
    if !is_model("config.json") && !is_model("adapter_config.json") {
        return Err(bad_usage(format!(
            "{} is neither a run (config.toml) nor a model (config.json, or adapter_config.json): give the \
             folder of one of them",
            path.display()
        )));
    }
    Ok(Loaded {
        policy: Policy::load(path, compute)?,
        experiment: None,
        folder: path.to_owned(),
    })
}

impl Loaded {
    /// Whether and how the run puts its prompts into the model's chat template; for a model alone, where
    /// it has one.
    pub(crate) fn chat(&self) -> (ChatChoice, ChatOptions) {
        match &self.experiment {
            Some(experiment) => chat_options(&experiment.chat),
            None => chat_options(&ChatSettings::default()),
        }
    }

    /// The reader's settings with the chat of [`Loaded::chat`].
    pub(crate) fn reader(&self, args: &ReaderArgs) -> Result<ReaderSettings> {
        let (choice, options) = self.chat();
        Ok(self.reader_in(args, choice, &options)?.settings)
    }

    /// The run's reader, or one sized for the model's window, with the command line's changes.
    ///
    /// The whole document is read unless the command line says otherwise: a run's `max_chunks` bounds
    /// what training costs.
    pub(crate) fn reader_in(
        &self,
        args: &ReaderArgs,
        choice: ChatChoice,
        options: &ChatOptions,
    ) -> Result<LoadedReader> {
        let preset = |name: &str| {
            TemplatesText::preset(name).map_err(|e| bad_usage(format!("--template: {e}")))
        };
        let of_run = self
            .experiment
            .as_ref()
            .map(|experiment| &experiment.reader);
        let text = match (&args.template, of_run) {
            (Some(name), _) => preset(name)?,
            (None, Some(reader)) => reader.templates.clone(),
            (None, None) => preset("longhand")?,
        };
        let folder = self.policy.folder().unwrap_or(&self.folder);
        let prompting =
            Prompting::of_folder(folder, &text, choice, options).map_err(|error| match error {
                PromptingError::Chat(ChatError::NoTemplate { .. }) => bad_usage(error.to_string()),
                _ => error.into(),
            })?;
        let tokenizer = self.policy.tokenizer();
        let templates = policy_encode(tokenizer, |encode| {
            prompting.compile(encode, |token| tokenizer.id(token))
        })?;

        let asked = args.window.or(of_run.and_then(|run| run.limits.window));
        let most = self.policy.config().max_positions;
        let window = asked.unwrap_or(most).min(most);
        if args.window.is_some_and(|asked| most < asked) {
            // Where standard error is closed there is nobody to tell.
            let _ = writeln!(
                io::stderr(),
                "the window is {most} tokens: the model has no more"
            );
        }
        let mut limits = of_run.map_or_else(|| default_limits(window), |run| run.limits);
        limits.window = Some(window);
        let replace = |value: &mut usize, by: Option<usize>| *value = by.unwrap_or(*value);
        replace(&mut limits.max_memory_tokens, args.memory_size);
        replace(&mut limits.max_answer_tokens, args.answer_size);
        replace(&mut limits.max_question_tokens, args.question_size);
        let mut chunks = match of_run {
            Some(run) => run.evaluation_chunks(),
            None => default_chunks(window, &templates, &limits),
        };
        replace(&mut chunks.chunk_size, args.chunk_size);
        chunks.max_chunks = args.max_chunks;
        let wrong = |e: ReaderError| bad_usage(e.to_string());
        chunks.check().map_err(wrong)?;
        limits.check().map_err(wrong)?;
        Ok(LoadedReader {
            settings: ReaderSettings {
                templates: text,
                chunks,
                limits,
            },
            templates,
            is_chat: prompting.is_chat,
        })
    }
}
