//! `longhand compute`.

use std::{
    io::{self, BufWriter},
    process::ExitCode,
};

use anyhow::Result;
use clap::ValueEnum;

/// Arguments of `longhand compute`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What the lines ask for
    #[arg(required_unless_present = "schema")]
    kind: Option<Kind>,
    /// Print every name, field, option and default as one JSON document, and stop
    #[arg(long)]
    schema: bool,
}

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
            println!("{:#}", longhand_compute::schema());
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
