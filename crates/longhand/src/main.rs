//! The command line.
//!
//! Exit codes: 0 done, 1 failed, 2 bad usage or a bad configuration; 130 and 143 stopped by a signal.

// Both panic where nobody listens; `writeln!` says so instead.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod bench;
mod compute;
mod config;
mod data;
mod doctor;
mod eval;
mod export;
mod failure;
mod import;
mod inspect;
mod load;
mod logprobs;
mod read;
mod replay;
mod report;
mod table;
mod template;
mod train;

use std::{io::IsTerminal as _, process::ExitCode};

use clap::{Parser, Subcommand, builder::RangedU64ValueParser};

use failure::{bad_usage, tell};

#[global_allocator]
static ALLOCATOR: longhand_kernels::Allocator = longhand_kernels::Allocator {};

/// Train language models to read past their context window.
#[derive(Parser)]
#[command(
    name = "longhand",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 done, 1 failed, 2 bad usage or a bad configuration."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run an experiment file: warm start, reinforcement learning, measurements
    Train(train::Args),
    /// Make a rollout of a run again from its keys, or the step that broke, and compare
    Replay(replay::Args),
    /// Look at the steps, attempts and turns of a run
    Inspect(inspect::Args),
    /// Find what is wrong with a run, with advice
    Doctor(doctor::Args),
    /// Write one self-contained HTML page about a run
    Report(report::Args),
    /// List, show, copy and compare experiment files
    #[command(subcommand)]
    Config(config::Command),
    /// Measure accuracy against document length
    Eval(eval::Args),
    /// Answer a question about a document, showing the notes of every turn
    Read(read::Args),
    /// Turn a GGUF file into a model's folder in Hugging Face layout
    Import(import::Args),
    /// Write a run's policy, or a model, in Hugging Face layout
    Export(export::Args),
    /// Say how probable given tokens are: one JSON object per line in, one out
    Logprobs(logprobs::Args),
    /// Check or show a model's chat template
    #[command(subcommand)]
    Template(template::Command),
    /// Make problems, check data files, train tokenizers
    #[command(subcommand)]
    Data(data::Command),
    /// Time group steps of a model: generate, score, train
    Bench(bench::Args),
    /// Evaluate rewards, advantages and objectives: one JSON object per line in, one out
    Compute(compute::Args),
}

fn main() -> ExitCode {
    longhand_kernels::keep_freed_memory();
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let result = match Cli::parse().command {
        Command::Train(args) => train::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Config(command) => config::run(&command),
        Command::Import(args) => import::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Logprobs(args) => logprobs::run(&args),
        Command::Template(command) => template::run(&command),
        Command::Eval(args) => eval::run(&args),
        Command::Read(args) => read::run(&args),
        Command::Data(command) => data::run(&command),
        Command::Bench(args) => bench::run(&args),
        Command::Compute(args) => compute::run(&args),
    };
    result.unwrap_or_else(|error| tell(&error))
}

/// A number of things, of which there is at least one; the upper end is that of experiment files.
fn count() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=1_000_000_000)
}
