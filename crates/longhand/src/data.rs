//! `longhand data`: make problems, check files, train tokenizers.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Result;
use longhand_config::{Experiment, PolicySource};
use longhand_policy::TextTokenizer;
use longhand_tasks::{
    DEFAULT_MAX_LINE_BYTES, FileFormat, Split, TaskSpec, check_file, write_jsonl,
};
use longhand_trainer::{policy_encode, task_tokenizer};
use serde_json::json;

use crate::{bad_usage, count};

/// What to do with data.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Write problems of a task as JSON lines
    Make(Make),
    /// Check a data file: counts, and every line that cannot be used with the reason
    Check(Check),
    /// Train the tokenizer of an experiment's from-scratch policy on its task's texts
    Tokenizer(Tokenizer),
}

/// Arguments of `longhand data make`.
#[derive(clap::Args)]
pub(crate) struct Make {
    /// Task: class-notes, lookup, needle, multi-needle, variable-tracking, multi-hop, counting, hotpotqa or jsonl
    #[arg(long, value_name = "KIND")]
    task: String,
    /// Option of the task, such as `n_hops=3` or `path=FILE`; may be repeated. A wrong one lists all
    #[arg(long = "task-option", value_name = "KEY=VALUE")]
    task_options: Vec<String>,
    /// Problems to write
    #[arg(long, default_value_t = 100, value_parser = count())]
    n: usize,
    /// Document length in tokens (words, unless --tokenizer is given)
    #[arg(long, default_value_t = 1000, value_parser = count())]
    tokens: usize,
    /// A tokenizer.json to count tokens with
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// Seed of the problems
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Write problems of the test split
    #[arg(long)]
    test: bool,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Arguments of `longhand data check`.
#[derive(clap::Args)]
pub(crate) struct Check {
    /// File to check
    file: PathBuf,
    /// Its format: hotpotqa or jsonl [default: by its fields]
    #[arg(long)]
    format: Option<String>,
    /// Longest line that is read
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_MAX_LINE_BYTES, value_parser = count())]
    max_line_bytes: usize,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Arguments of `longhand data tokenizer`.
#[derive(clap::Args)]
pub(crate) struct Tokenizer {
    /// Experiment file with a [policy.from_scratch] table
    config: PathBuf,
    /// File to write
    #[arg(long, value_name = "FILE", default_value = "tokenizer.json")]
    out: PathBuf,
}

pub(crate) fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Make(args) => make(args),
        Command::Check(args) => check(args),
        Command::Tokenizer(args) => tokenizer(args),
    }
}

/// A task from its kind and `key=value` options, each value read as TOML, else as a string.
pub(crate) fn task_spec(kind: &str, options: &[String]) -> Result<TaskSpec> {
    let mut table = toml::Table::new();
    table.insert("kind".into(), kind.into());
    for option in options {
        let (key, value) = option
            .split_once('=')
            .ok_or_else(|| bad_usage(format!("--task-option {option}: write it as KEY=VALUE")))?;
        let value = toml::from_str::<toml::Table>(&format!("value = {value}"))
            .ok()
            .and_then(|mut table| table.remove("value"))
            .unwrap_or_else(|| value.into());
        table.insert(key.into(), value);
    }
    if !TaskSpec::KINDS.contains(&kind) {
        return Err(bad_usage(format!(
            "--task: unknown task `{kind}`; there are {}",
            TaskSpec::KINDS.join(", ")
        )));
    }
    table.try_into().map_err(|error: toml::de::Error| {
        let problem = error.message();
        bad_usage(format!(
            "--task {kind}: {problem} (options are given as --task-option KEY=VALUE)"
        ))
    })
}

fn make(args: &Make) -> Result<ExitCode> {
    let source = task_spec(&args.task, &args.task_options)?.open()?;
    let split = if args.test { Split::Test } else { Split::Train };
    if let Some(available) = source
        .n_problems(split)
        .filter(|available| *available < args.n)
    {
        return Err(bad_usage(format!(
            "--n {}: the {split} split has {available} problems",
            args.n
        )));
    }
    let tokenizer = args
        .tokenizer
        .as_deref()
        .map(TextTokenizer::load)
        .transpose()?;
    let problem = |idx: u64, count: &dyn Fn(&str) -> usize| {
        source.problem(split, args.seed, idx, args.tokens, count)
    };
    let written = match &tokenizer {
        None => write_jsonl(
            &args.out,
            (0..args.n as u64).map(|idx| problem(idx, &|text| text.split_whitespace().count())),
        )?,
        Some(tokenizer) => policy_encode(tokenizer, |encode| {
            write_jsonl(
                &args.out,
                (0..args.n as u64).map(|idx| problem(idx, &|text| encode(text).len())),
            )
        })??,
    };
    writeln!(
        io::stdout(),
        "{} written to {}",
        counted(written, "problem"),
        args.out.display()
    )?;
    Ok(ExitCode::SUCCESS)
}

fn check(args: &Check) -> Result<ExitCode> {
    let format = match args.format.as_deref() {
        None => FileFormat::of(&args.file)?,
        Some("hotpotqa") => FileFormat::Hotpotqa,
        Some("jsonl") => FileFormat::Jsonl,
        Some(other) => {
            return Err(bad_usage(format!(
                "--format: unknown format `{other}`; there are hotpotqa, jsonl"
            )));
        }
    };
    let report = check_file(&args.file, format, args.max_line_bytes)?;
    let bad: Vec<String> = report.bad_records.iter().map(ToString::to_string).collect();
    let mut out = io::stdout().lock();
    if args.json {
        let value = json!({
            "file": args.file.display().to_string(),
            "format": format,
            "n_problems": report.n_problems,
            "n_paragraphs": report.n_paragraphs,
            "n_relevant": report.n_relevant,
            "n_bytes": report.n_bytes,
            "n_blank_lines": report.n_blank_lines,
            "ignored_fields": report.ignored_fields,
            "bad_records": bad,
        });
        writeln!(out, "{value:#}")?;
    } else {
        writeln!(
            out,
            "{}, {} ({} relevant), {} bytes",
            counted(report.n_problems, "problem"),
            counted(report.n_paragraphs, "paragraph"),
            report.n_relevant,
            report.n_bytes
        )?;
        for (field, n) in &report.ignored_fields {
            writeln!(
                out,
                "field `{field}` is not used ({})",
                counted(*n, "record")
            )?;
        }
        for bad in &bad {
            writeln!(out, "{bad}")?;
        }
        writeln!(out, "{} cannot be used", counted(bad.len(), "record"))?;
    }
    Ok(if bad.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn tokenizer(args: &Tokenizer) -> Result<ExitCode> {
    let experiment = Experiment::load(&args.config, &[])?;
    let PolicySource::FromScratch(settings) = &experiment.policy else {
        return Err(bad_usage(format!(
            "{}: the policy comes from a folder, so its tokenizer is there",
            args.config.display()
        )));
    };
    let tokenizer = task_tokenizer(&experiment, settings)?;
    tokenizer.save(&args.out)?;
    writeln!(
        io::stdout(),
        "{} ids written to {}",
        tokenizer.n_ids(),
        args.out.display()
    )?;
    Ok(ExitCode::SUCCESS)
}

/// `1 problem`, `2 problems`.
fn counted(n: usize, what: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {what}{plural}")
}
