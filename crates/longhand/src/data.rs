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
    DEFAULT_MAX_LINE_BYTES, FileFormat, FileReport, Split, TaskSpec, check_file,
    check_file_counting, write_jsonl,
};
use longhand_trainer::{policy_encode, task_tokenizer};
use serde_json::json;

use crate::{bad_usage, count};

/// What to do with data.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Write problems of a task as JSON lines
    Make(Make),
    /// Check a data file: counts, lengths, duplicates, and the lines that cannot be used with the reason
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
    /// Its format: hotpotqa, jsonl (our own), longbench, gsm8k or verl [default: by its fields]
    #[arg(long)]
    format: Option<String>,
    /// A tokenizer.json, or the folder of a model with one, to count lengths with [default: words]
    #[arg(long, value_name = "FILE_OR_MODEL")]
    tokenizer: Option<PathBuf>,
    /// Faults, and duplicates, that are listed one by one
    #[arg(long, value_name = "N", default_value_t = 100)]
    max_listed: usize,
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
        Some("longhand") => FileFormat::Jsonl,
        Some(name) => match FileFormat::ALL.iter().find(|(known, _)| *known == name) {
            Some((_, format)) => *format,
            None => {
                let known = FileFormat::ALL.map(|(known, _)| known).join(", ");
                return Err(bad_usage(format!(
                    "--format: unknown format `{name}`; there are {known}"
                )));
            }
        },
    };
    let tokenizer = args
        .tokenizer
        .as_deref()
        .map(|path| {
            if path.is_dir() {
                TextTokenizer::load(&path.join("tokenizer.json"))
            } else {
                TextTokenizer::load(path)
            }
        })
        .transpose()?;
    let (report, unit) = match &tokenizer {
        None => (check_file(&args.file, format, args.max_line_bytes)?, "word"),
        Some(tokenizer) => {
            let report = policy_encode(tokenizer, |encode| {
                let count_tokens = |text: &str| encode(text).len();
                check_file_counting(&args.file, format, args.max_line_bytes, &count_tokens)
            })??;
            (report, "token")
        }
    };
    if args.json {
        writeln!(io::stdout(), "{:#}", report_json(args, &report, unit))?;
    } else {
        write_report(args, &report, unit)?;
    }
    Ok(if report.bad_records.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What `longhand data check --json` prints.
fn report_json(args: &Check, report: &FileReport, unit: &str) -> serde_json::Value {
    let bad = report.bad_records.iter().take(args.max_listed);
    let duplicates = report.duplicates.iter().take(args.max_listed);
    json!({
        "file": args.file.display().to_string(),
        "format": report.format,
        "n_problems": report.n_problems,
        "n_paragraphs": report.n_paragraphs,
        "n_relevant": report.n_relevant,
        "n_bytes": report.n_bytes,
        "n_blank_lines": report.n_blank_lines,
        "ignored_fields": report.ignored_fields,
        "lengths": {
            "unit": format!("{unit}s"),
            "min": report.lengths.first(),
            "median": median(&report.lengths),
            "max": report.lengths.last(),
            "total": report.lengths.iter().sum::<usize>(),
            "histogram": report.histogram().iter().map(|bin| json!({
                "at_least": bin.at_least,
                "below": bin.below,
                "n_documents": bin.n_documents,
            })).collect::<Vec<_>>(),
        },
        "n_duplicates": report.duplicates.len(),
        "duplicates": duplicates
            .map(|(place, first)| json!({"at": place.to_string(), "first": first.to_string()}))
            .collect::<Vec<_>>(),
        "n_bad_records": report.n_bad_records,
        "n_faults": report.bad_records.len(),
        "bad_records": bad.map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn write_report(args: &Check, report: &FileReport, unit: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{}, {} ({} relevant), {} bytes",
        counted(report.n_problems, "problem"),
        counted(report.n_paragraphs, "paragraph"),
        report.n_relevant,
        report.n_bytes
    )?;
    if let (Some(min), Some(median), Some(max)) = (
        report.lengths.first(),
        median(&report.lengths),
        report.lengths.last(),
    ) {
        writeln!(
            out,
            "documents have {min} to {}, in the middle {median}",
            counted(*max, unit)
        )?;
        write_histogram(&mut out, report)?;
    }
    for (field, n) in &report.ignored_fields {
        writeln!(
            out,
            "field `{field}` is not used ({})",
            counted(*n, "record")
        )?;
    }
    let n_more = |n_all: usize| n_all.saturating_sub(args.max_listed);
    for (place, first) in report.duplicates.iter().take(args.max_listed) {
        writeln!(out, "{place} asks what {first} asks of the same document")?;
    }
    if let more @ 1.. = n_more(report.duplicates.len()) {
        writeln!(
            out,
            "and {} (--max-listed)",
            counted(more, "more duplicate")
        )?;
    }
    for bad in report.bad_records.iter().take(args.max_listed) {
        writeln!(out, "{bad}")?;
    }
    if let more @ 1.. = n_more(report.bad_records.len()) {
        writeln!(out, "and {} (--max-listed)", counted(more, "more fault"))?;
    }
    writeln!(
        out,
        "{} cannot be used",
        counted(report.n_bad_records, "record")
    )
}

/// One line for each range of lengths, with a bar as long as its share of the largest.
fn write_histogram(out: &mut impl io::Write, report: &FileReport) -> io::Result<()> {
    const N_BAR_COLUMNS: usize = 40;
    let bins = report.histogram();
    let most = bins.iter().map(|bin| bin.n_documents).max().unwrap_or(0);
    let width = bins
        .last()
        .map_or(1, |bin| (bin.below - 1).to_string().len());
    for bin in &bins {
        let last = bin.below - 1;
        let n_columns = (bin.n_documents * N_BAR_COLUMNS).div_ceil(most.max(1));
        let line = format!(
            "{:>width$} to {last:>width$}  {:>8}  {}",
            bin.at_least,
            bin.n_documents,
            "#".repeat(n_columns)
        );
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// The length in the middle of an ascending list; of two, the shorter one.
fn median(lengths: &[usize]) -> Option<usize> {
    lengths.get(lengths.len().checked_sub(1)? / 2).copied()
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
