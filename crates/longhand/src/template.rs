//! `longhand template`.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::Subcommand;
use longhand_chat::{ChatTemplate, Message, Outcome, PrefixReport, RenderOptions};

use crate::load::model_folder;

/// Commands of `longhand template`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Say whether prompts keep their beginnings when turns are added, or where they first differ
    #[command(after_help = "Exit codes: 0 they do, 1 they do not, 2 bad usage.")]
    Check {
        /// Folder of a model, or hf:owner/name[@rev]
        model: PathBuf,
        /// Print the report as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print a chat template, or what it makes of conversations
    Show {
        /// Folder of a model, or hf:owner/name[@rev]
        model: PathBuf,
        /// JSON lines, each a list of messages: print what the template makes of them
        #[arg(long, value_name = "FILE.jsonl")]
        messages: Option<PathBuf>,
    },
}

pub(crate) fn run(command: &Command) -> Result<ExitCode> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let code = match command {
        Command::Check { model, json } => {
            let report = ChatTemplate::load(&model_folder(model)?)?
                .keeps_prefixes(&RenderOptions::default())?;
            if *json {
                serde_json::to_writer(&mut out, &report)?;
                writeln!(out)?;
            } else {
                write_report(&mut out, &report)?;
            }
            if report.is_kept() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Command::Show { model, messages } => {
            let template = ChatTemplate::load(&model_folder(model)?)?;
            match messages {
                Some(file) => write_renderings(&mut out, &template, file)?,
                None => {
                    for (name, file, text) in template.sources() {
                        writeln!(out, "{name}, {file}:\n{text}")?;
                    }
                }
            }
            ExitCode::SUCCESS
        }
    };
    out.flush()?;
    Ok(code)
}

fn write_report(out: &mut impl io::Write, report: &PrefixReport) -> io::Result<()> {
    for case in &report.cases {
        match &case.outcome {
            Outcome::Kept { n_texts } => writeln!(out, "kept     {} ({n_texts} texts)", case.name)?,
            Outcome::Refused { reason } => writeln!(out, "refused  {}: {reason}", case.name)?,
            Outcome::Broken(difference) => {
                let prompt = if difference.is_prompt {
                    " and the generation prompt"
                } else {
                    ""
                };
                writeln!(out, "broken   {}", case.name)?;
                writeln!(
                    out,
                    "         the text of {} messages{prompt} is not how the text of {} begins; after {} \
                     bytes in common:",
                    difference.n_messages, difference.n_messages_later, difference.n_common_bytes
                )?;
                writeln!(out, "         both     {:?}", difference.common)?;
                writeln!(out, "         earlier  {:?}", difference.earlier)?;
                writeln!(out, "         later    {:?}", difference.later)?;
            }
        }
    }
    Ok(())
}

/// One rendering after another, each with a generation prompt unless the assistant spoke last.
fn write_renderings(out: &mut impl io::Write, template: &ChatTemplate, file: &Path) -> Result<()> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    for (idx, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let place = || format!("{}:{}", file.display(), idx + 1);
        let messages: Vec<Message> = serde_json::from_str(line).with_context(place)?;
        let options = RenderOptions {
            add_generation_prompt: messages
                .last()
                .is_none_or(|last| last.role() != "assistant"),
            ..RenderOptions::default()
        };
        writeln!(
            out,
            "{}",
            template.render(&messages, &options).with_context(place)?
        )?;
    }
    Ok(())
}
