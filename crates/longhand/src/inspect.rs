//! `longhand inspect`.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Result;
use clap::ValueEnum;
use longhand_inspect::{InspectError, Query, Style, inspect, terminal_width};
use longhand_run::{RunDir, TranscriptStop};

use crate::bad_usage;

/// Columns where there is no terminal to ask.
const WIDTH: usize = 100;

/// Arguments of `longhand inspect`.
#[derive(clap::Args)]
#[command(
    after_help = "Without options: the last steps. With --step: its attempts. With --step and --problem: \
                  every turn, what was trained in green (made more probable) or red (less probable). Other \
                  options select attempts of all steps.\n\n\
                  Exit codes: 0 done, 1 something is damaged or absent, 2 bad usage."
)]
pub(crate) struct Args {
    /// Folder of a run, finished or not
    run: PathBuf,
    /// Stage: alone it shows the stage's steps (rl, warm-start, eval)
    #[arg(long, value_name = "NAME")]
    stage: Option<String>,
    /// Step of reinforcement learning
    #[arg(long, value_name = "N")]
    step: Option<u64>,
    /// Problem: its number or its name
    #[arg(long, value_name = "PROBLEM")]
    problem: Option<String>,
    /// Attempt of the problem, from 0
    #[arg(long, value_name = "N", requires = "problem")]
    attempt: Option<u32>,
    /// Attempts with at least this reward
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    min_reward: Option<f64>,
    /// Attempts with at most this reward
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    max_reward: Option<f64>,
    /// Attempts with a turn that ended so
    #[arg(long, value_name = "REASON")]
    stop_reason: Option<StopReason>,
    /// Attempts whose group was left out of the training
    #[arg(long)]
    dropped: bool,
    /// Attempts whose reward failed
    #[arg(long)]
    errors: bool,
    /// Attempts at a question that holds this text, in whatever case
    #[arg(long, value_name = "TEXT")]
    question: Option<String>,
    /// Show whole prompts instead of their two ends
    #[arg(long)]
    full: bool,
    /// Show the ids and log-probabilities of the sampled tokens
    #[arg(long)]
    tokens: bool,
    /// Print JSON lines: transcripts as they are stored, or the metrics of the steps
    #[arg(long)]
    json: bool,
    /// Rows of a list, 0 for all [default: 20, with --json all]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// When to colour; `auto` colours in a terminal where NO_COLOR is not set
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    color: Color,
}

/// As transcripts write it.
#[derive(Clone, Copy, ValueEnum)]
enum StopReason {
    EndToken,
    MaxTokens,
    WindowFull,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    for (name, bound) in [
        ("--min-reward", args.min_reward),
        ("--max-reward", args.max_reward),
    ] {
        if bound.is_some_and(f64::is_nan) {
            return Err(bad_usage(format!("{name}: it must be a number")));
        }
    }
    let run = RunDir::open(&args.run)?;
    let stdout = io::stdout();
    let style = Style {
        width: terminal_width().unwrap_or(WIDTH),
        colour: match args.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                stdout.is_terminal() && !unwanted
            }
        },
    };
    let mut out = io::BufWriter::new(stdout.lock());
    let seen = inspect(&run, &query(args), &style, &mut out)?;
    out.flush().map_err(InspectError::Write)?;
    for damaged in &seen.damaged {
        writeln!(io::stderr(), "error: skipped: {}", damaged.reason)?;
    }
    if seen.torn {
        let warning = "warning: the last line of metrics.jsonl is torn and was left out";
        writeln!(io::stderr(), "{warning}")?;
    }
    Ok(if seen.damaged.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn query(args: &Args) -> Query {
    Query {
        stage: args.stage.clone(),
        step: args.step,
        problem: args.problem.clone(),
        attempt: args.attempt,
        min_reward: args.min_reward,
        max_reward: args.max_reward,
        stop_reason: args.stop_reason.map(|reason| match reason {
            StopReason::EndToken => TranscriptStop::EndToken,
            StopReason::MaxTokens => TranscriptStop::MaxTokens,
            StopReason::WindowFull => TranscriptStop::WindowFull,
        }),
        dropped: args.dropped,
        errors: args.errors,
        question: args.question.clone(),
        full: args.full,
        tokens: args.tokens,
        json: args.json,
        limit: args.limit,
    }
}
