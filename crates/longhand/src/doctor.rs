//! `longhand doctor`.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Result;
use longhand_doctor::{Examination, write_findings, write_not_judged, write_rules};
use longhand_run::RunDir;

use crate::bad_usage;

/// Arguments of `longhand doctor`.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 no fault found (notes and warnings are told all the same), 1 a fault found, 2 bad usage."
)]
pub(crate) struct Args {
    /// Folder of a run, finished or not
    #[arg(required_unless_present = "rules")]
    run: Option<PathBuf>,
    /// Print one JSON document instead of text
    #[arg(long, conflicts_with = "rules")]
    json: bool,
    /// Print what the rules mean, their thresholds and why, instead of examining a run
    #[arg(long, conflicts_with = "run")]
    rules: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let stdout = io::stdout();
    let colour = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let mut out = stdout.lock();
    if args.rules {
        write_rules(&mut out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(folder) = &args.run else {
        return Err(bad_usage("name the folder of a run"));
    };
    let run = RunDir::open(folder)?;
    let (metrics, metrics_torn) = run.read_metrics_so_far()?;
    let (timings, timings_torn) = run.read_timings_so_far()?;
    for (torn, name) in [
        (metrics_torn, "metrics.jsonl"),
        (timings_torn, "timings.jsonl"),
    ] {
        if torn {
            writeln!(
                io::stderr(),
                "warning: the last line of {name} is torn and was left out"
            )?;
        }
    }
    let examination = Examination::of(&metrics, &timings);
    if args.json {
        serde_json::to_writer_pretty(&mut out, &examination).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        write_findings(&examination.findings, &mut out, colour)?;
        write_not_judged(&examination.not_judged, &mut out)?;
    }
    Ok(if examination.has_fault() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
