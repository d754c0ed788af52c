//! The command line.
//!
//! Exit codes: 0 done, 1 failed, 2 bad usage or a bad configuration.

mod compute;
mod data;
mod eval;
mod load;
mod read;
mod table;
mod train;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use longhand_config::ConfigError;

#[global_allocator]
static ALLOCATOR: longhand_kernels::Allocator = longhand_kernels::Allocator {};

/// Train language models to read past their context window.
#[derive(Parser)]
#[command(name = "longhand", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run an experiment file: warm start, reinforcement, measurements
    Train(train::Args),
    /// Measure accuracy against document length
    Eval(eval::Args),
    /// Answer a question about a document, showing the notes of every turn
    Read(read::Args),
    /// Make problems, check data files, train tokenizers
    #[command(subcommand)]
    Data(data::Command),
    /// Evaluate rewards, advantages and objectives: one JSON object per line in, one out
    Compute(compute::Args),
}

fn main() -> ExitCode {
    longhand_kernels::keep_freed_memory();
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let result = match Cli::parse().command {
        Command::Train(args) => train::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Read(args) => read::run(&args),
        Command::Data(command) => data::run(&command),
        Command::Compute(args) => compute::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            let is_usage = error.is::<BadUsage>() || error.is::<ConfigError>();
            ExitCode::from(if is_usage { 2 } else { 1 })
        }
    }
}

/// A mistake in how the program was called.
#[derive(Debug)]
struct BadUsage(String);

impl std::fmt::Display for BadUsage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadUsage {}

/// A [`BadUsage`] as an error.
fn bad_usage(message: impl Into<String>) -> anyhow::Error {
    BadUsage(message.into()).into()
}
