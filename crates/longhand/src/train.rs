//! `longhand train`.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Result;
use longhand_config::Experiment;
use longhand_run::Transcript;
use longhand_trainer::{EvalReport, Outcome, TrainOptions, train};

use crate::table::{Table, percent};

/// Arguments of `longhand train`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Experiment file (TOML)
    config: PathBuf,
    /// Replace a value of the file, such as `seed=3` or `stage.0.steps=10`; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Folder for the run; must be new or empty [default: the next free runs/NAME-001]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the resolved file and derived numbers, and stop
    #[arg(long)]
    dry_run: bool,
    /// Say nothing while the run goes on
    #[arg(long)]
    quiet: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let experiment = Experiment::load(&args.config, &args.overrides)?;
    if args.dry_run {
        let mut out = io::stdout().lock();
        writeln!(out, "{}", experiment.resolved_toml())?;
        let mut table = Table::new(["derived number", "value"]);
        for (name, value) in experiment.derived() {
            table.row([name, value]);
        }
        write!(out, "{table}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let outcome = train(
        &experiment,
        &TrainOptions {
            out: args.out.clone(),
            progress: !args.quiet,
        },
    )?;
    write_outcome(&outcome, &mut io::stdout().lock())?;
    Ok(ExitCode::SUCCESS)
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
        "Also there: config.toml, metrics.jsonl, transcripts/, plots/"
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
        transcript.outcome
    )
}
