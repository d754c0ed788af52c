//! `longhand compute`.

use std::{
    io::{self, BufWriter, Write as _},
    process::ExitCode,
};

use anyhow::Result;
use clap::ValueEnum;

/// Arguments of `longhand compute`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    /// What the lines ask for
    #[arg(required_unless_present = "schema")]
    kind: Option<Kind>,
    /// Print every name, field, option and default as one JSON document, and stop
    #[arg(long)]
    schema: bool,
}

const EXAMPLE: &str = "\
Example:
  echo '{\"estimator\": \"rloo\", \"rewards\": [[1, 0, 0]]}' | longhand compute advantage

A line that cannot be used gives {\"error\": \"...\"}, the others go on, and the exit code is 1.";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Advantage,
    Objective,
    Reward,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let kind = match args.kind {
        Some(kind) if !args.schema => kind,
        _ => {
            writeln!(io::stdout(), "{:#}", longhand_compute::schema())?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    let kind = match kind {
        Kind::Advantage => longhand_compute::Kind::Advantage,
        Kind::Objective => longhand_compute::Kind::Objective,
        Kind::Reward => longhand_compute::Kind::Reward,
    };
    let summary = longhand_compute::run(
        io::stdin().lock(),
        BufWriter::new(io::stdout().lock()),
        kind,
    )?;
    Ok(if summary.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
