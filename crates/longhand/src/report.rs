//! `longhand report`.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Result;
use longhand_report::write_report;
use longhand_run::RunDir;

/// Arguments of `longhand report`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of a run, finished or not
    run: PathBuf,
    /// Folder of another run to hold it against
    #[arg(long, value_name = "RUN2")]
    against: Option<PathBuf>,
    /// The page; one that is there is replaced [default: report.html in the run's folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let run = RunDir::open(&args.run)?;
    let against = args.against.as_deref().map(RunDir::open).transpose()?;
    let in_run = || args.run.join("report.html");
    let out = args.out.clone().unwrap_or_else(in_run);
    write_report(&run, against.as_ref(), &out)?;
    writeln!(io::stdout(), "Report: {}", out.display())?;
    Ok(ExitCode::SUCCESS)
}
