//! `longhand train`.

use std::{path::PathBuf, process::ExitCode};

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
    /// No progress bar
    #[arg(long)]
    quiet: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let experiment = Experiment::load(&args.config, &args.overrides)?;
    if args.dry_run {
        println!("{}", experiment.resolved_toml());
        let mut table = Table::new(["derived number", "value"]);
        for (name, value) in experiment.derived() {
            table.row([name, value]);
        }
        print!("{table}");
        return Ok(ExitCode::SUCCESS);
    }
    let outcome = train(
        &experiment,
        &TrainOptions {
            out: args.out.clone(),
            progress: !args.quiet,
        },
    )?;
    print_outcome(&outcome);
    Ok(ExitCode::SUCCESS)
}

fn print_outcome(outcome: &Outcome) {
    if let Some(transcript) = &outcome.transcript {
        println!("One attempt of the last step:\n");
        print_transcript(transcript);
    }
    println!("Held-out accuracy by document length, greedy:\n");
    print_before_after(&outcome.before, &outcome.after);
    if let Some((before, after)) = &outcome.sampled {
        println!(
            "\nThe same, sampled at temperature {}:\n",
            after.temperature
        );
        print_before_after(before, after);
    }
    println!("\nRun folder: {}", outcome.folder.display());
    println!("Final policy: {}", outcome.checkpoint.display());
    println!("Also there: config.toml, metrics.jsonl, transcripts/, plots/");
}

fn print_before_after(before: &EvalReport, after: &EvalReport) {
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
    print!("{table}");
}

fn print_transcript(transcript: &Transcript) {
    println!("  question: {}", transcript.question);
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
        println!("  {name}: {}{credit}", turn.completion);
    }
    println!(
        "  expected: {}  outcome: {}\n",
        transcript.expected.join(" | "),
        transcript.outcome
    );
}
