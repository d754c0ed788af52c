//! `longhand train`.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::ArgGroup;
use longhand_config::{Experiment, PolicySource};
use longhand_run::Transcript;
use longhand_trainer::{Ended, EvalReport, Outcome, Stop, TrainOptions, resume, train};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::{
    bad_usage, config,
    load::model_folder,
    table::{Table, percent},
};

/// Arguments of `longhand train`.
#[derive(clap::Args)]
#[command(
    group(ArgGroup::new("run").required(true).args(["config", "resume"])),
    after_help = "Ctrl-C (SIGINT) and SIGTERM end the run after the step under way, with a checkpoint; a second \
                  one ends it at once. Either way it can be resumed.\n\n\
                  Exit codes: 0 done, 1 failed, 2 bad usage or a bad configuration, 130 stopped by SIGINT, \
                  143 by SIGTERM."
)]
pub(crate) struct Args {
    /// Experiment file (TOML)
    config: Option<PathBuf>,
    /// Replace a value of the file, such as `seed=3` or `stage.0.steps=10`; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", conflicts_with = "resume")]
    overrides: Vec<String>,
    /// Folder for the run; must be new or empty [default: the next free runs/NAME-001]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// Go on with a run from its last complete checkpoint, as if it had never been stopped
    #[arg(long, value_name = "RUN", conflicts_with = "config")]
    resume: Option<PathBuf>,
    /// Print the resolved file, derived numbers, the differences from the paper and estimates, and stop
    #[arg(long, conflicts_with = "resume")]
    dry_run: bool,
    /// What memory is estimated for [default: what the program was built for]
    #[arg(long, value_enum, value_name = "DEVICE", requires = "dry_run")]
    plan_for: Option<config::PlanFor>,
    /// A model's config.json to estimate for, in place of the one in `policy.path`
    #[arg(long, value_name = "FILE", requires = "dry_run")]
    model_config: Option<PathBuf>,
    /// Say nothing while the run goes on
    #[arg(long)]
    quiet: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if let Some(folder) = &args.resume {
        let options = options(args)?;
        let ended = resume(folder, &options, |damage| {
            // Where nobody listens, the next checkpoint does without being told.
            let _ = writeln!(
                io::stderr(),
                "warning: {damage}; going on from the checkpoint before it"
            );
        })?;
        return tell(&ended, &mut io::stdout().lock());
    }
    let Some(path) = &args.config else {
        return Err(bad_usage("name an experiment file, or a run with --resume"));
    };
    let mut experiment = Experiment::load(path, &args.overrides)?;
    if let PolicySource::Folder(folder) = &mut experiment.policy {
        *folder = model_folder(folder)?;
    }
    if args.dry_run {
        let of = config::PlanOptions {
            plan_for: args.plan_for,
            model_config: args.model_config.as_deref(),
        };
        config::write_plan(&experiment, &of, &mut io::stdout().lock())?;
        return Ok(ExitCode::SUCCESS);
    }
    let ended = train(&experiment, &options(args)?)?;
    tell(&ended, &mut io::stdout().lock())
}

fn options(args: &Args) -> Result<TrainOptions> {
    Ok(TrainOptions {
        out: args.out.clone(),
        progress: !args.quiet,
        stop: stop_on_signals()?,
    })
}

/// A flag that the first SIGINT or SIGTERM sets; the second ends the process.
fn stop_on_signals() -> Result<Stop> {
    let stop = Stop::default();
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let code = exit_code(signal as usize);
        // The order matters: the end at once is armed by the signal before.
        signal_hook::flag::register_conditional_shutdown(signal, code.into(), asked.clone())
            .and_then(|_| signal_hook::flag::register(signal, asked.clone()))
            .and_then(|_| {
                signal_hook::flag::register_usize(signal, stop.0.clone(), signal as usize)
            })
            .context("cannot listen for signals")?;
    }
    Ok(stop)
}

/// What shells expect of a process that a signal ended.
fn exit_code(signal: usize) -> u8 {
    128 + signal as u8
}

fn tell(ended: &Ended, out: &mut impl Write) -> Result<ExitCode> {
    match ended {
        Ended::Finished(outcome) => {
            write_outcome(outcome, out)?;
            Ok(ExitCode::SUCCESS)
        }
        Ended::NothingLeft { folder, checkpoint } => {
            writeln!(
                out,
                "{} is finished: nothing is left to do",
                folder.display()
            )?;
            writeln!(out, "Final policy: {}", checkpoint.display())?;
            Ok(ExitCode::SUCCESS)
        }
        Ended::Stopped {
            signal,
            folder,
            checkpoint,
        } => {
            let place = checkpoint.as_deref().and_then(Path::file_name);
            let place = place.map_or("its start".into(), |name| name.to_string_lossy());
            writeln!(out, "Stopped by signal {signal}, at the checkpoint {place}")?;
            writeln!(
                out,
                "Go on with: longhand train --resume {}",
                folder.display()
            )?;
            Ok(ExitCode::from(exit_code(*signal)))
        }
    }
}

fn write_outcome(outcome: &Outcome, out: &mut impl Write) -> io::Result<()> {
    if let Some(transcript) = &outcome.transcript {
        writeln!(out, "One attempt of the last step:\n")?;
        write_transcript(transcript, out)?;
    }
    writeln!(out, "Held-out accuracy by document length, greedy:\n")?;
    write_before_after(&outcome.before, &outcome.after, out)?;
    if let Some((before, after)) = &outcome.sampled {
        writeln!(
            out,
            "\nThe same, sampled at temperature {}:\n",
            after.temperature
        )?;
        write_before_after(before, after, out)?;
    }
    writeln!(out, "\nRun folder: {}", outcome.folder.display())?;
    writeln!(out, "Final policy: {}", outcome.checkpoint.display())?;
    writeln!(
        out,
        "Look at it with: longhand inspect, longhand report, longhand doctor, or tensorboard --logdir"
    )
}

fn write_before_after(
    before: &EvalReport,
    after: &EvalReport,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut table = Table::new([
        "tokens",
        "chunks",
        "documents",
        "before RL",
        "after RL",
        "gain",
        "after, by facts needed",
    ]);
    for (before, after) in before.lengths.iter().zip(&after.lengths) {
        let by_facts: Vec<String> = after
            .by_facts
            .iter()
            .map(|score| format!("{}: {}", score.n_facts, percent(score.accuracy)))
            .collect();
        table.row([
            format!("{:.0}", after.mean_tokens),
            format!("{:.0}", after.mean_chunks),
            after.n_documents.to_string(),
            format!(
                "{} ({}-{})",
                percent(before.accuracy),
                percent(before.low),
                percent(before.high)
            ),
            format!(
                "{} ({}-{})",
                percent(after.accuracy),
                percent(after.low),
                percent(after.high)
            ),
            format!("{:+.1}", (after.accuracy - before.accuracy) * 100.0),
            by_facts.join(", "),
        ]);
    }
    write!(out, "{table}")
}

fn write_transcript(transcript: &Transcript, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "  question: {}", transcript.question)?;
    for turn in &transcript.turns {
        let credit = match (turn.reward, turn.advantage) {
            (Some(reward), Some(advantage)) => {
                format!("  [reward {reward:.2}, advantage {advantage:+.2}]")
            }
            (None, Some(advantage)) => format!("  [advantage {advantage:+.2}]"),
            _ => String::new(),
        };
        let name = turn.chunk_idx.map_or("answer".to_string(), |chunk_idx| {
            format!("notes after chunk {}", chunk_idx + 1)
        });
        writeln!(out, "  {name}: {}{credit}", turn.completion)?;
    }
    writeln!(
        out,
        "  expected: {}  outcome: {}\n",
        transcript.expected.join(" | "),
        transcript
            .outcome
            .map_or("none".into(), |outcome| outcome.to_string())
    )
}
