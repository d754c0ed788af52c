//! `longhand replay`: makes again what a run has made.

use std::{
    io::{self, IsTerminal as _, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Result;
use longhand_trainer::{Replayed, ReplayedFailure, replay_failure, replay_rollout};
use serde_json::json;

use crate::bad_usage;

/// Arguments of `longhand replay`.
#[derive(clap::Args)]
#[command(
    after_help = "A rollout is sampled again from its stored keys (seed, step, problem, attempt), with the weights \
                  of its step: those of the nearest earlier checkpoint, trained on as the run was. Nothing is \
                  written.\n\n\
                  Exit codes: 0 the same to the bit, 1 not the same or failed, 2 bad usage."
)]
pub(crate) struct Args {
    /// Folder of a run; or a file in its folder `failures`, to run the step again that broke
    run: PathBuf,
    /// Step of reinforcement learning, from 0 as the metrics count
    #[arg(long, value_name = "N")]
    step: Option<usize>,
    /// Problem: its number or its name
    #[arg(long, value_name = "PROBLEM")]
    problem: Option<String>,
    /// Attempt at the problem, from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    attempt: u32,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut out = io::stdout().lock();
    if args.run.is_file() {
        if args.step.is_some() || args.problem.is_some() {
            return Err(bad_usage(
                "a file of a failure names its step itself: leave out --step and --problem",
            ));
        }
        let replayed = replay_failure(&args.run, on_step)?;
        return tell_failure(&replayed, args.json, &mut out);
    }
    let (Some(step), Some(problem)) = (args.step, &args.problem) else {
        return Err(bad_usage(
            "name the rollout with --step and --problem (`longhand inspect` lists them), or give a file \
             of the run's folder `failures`",
        ));
    };
    let replayed = replay_rollout(&args.run, step, problem, args.attempt, on_step)?;
    tell_rollout(&replayed, args.json, &mut out)
}

/// Trained again, a run may take its time; a person wants to see it go on.
fn on_step(done: usize, n_steps: usize) {
    if io::stderr().is_terminal() && 0 < n_steps {
        // Nobody may be listening any more.
        let _ = write!(io::stderr(), "\rtraining again: step {done} of {n_steps} ");
        if done == n_steps {
            let _ = writeln!(io::stderr());
        }
    }
}

fn began_at(checkpoint: &Path, n_steps: usize) -> String {
    let name = checkpoint.file_name().unwrap_or_default();
    let name = name.to_string_lossy();
    match n_steps {
        0 => format!("with the weights of checkpoint {name}"),
        1 => format!("from checkpoint {name}, one step trained again"),
        n => format!("from checkpoint {name}, {n} steps trained again"),
    }
}

fn code(is_same: bool) -> ExitCode {
    if is_same {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn tell_rollout(replayed: &Replayed, as_json: bool, out: &mut impl Write) -> Result<ExitCode> {
    let Replayed {
        stored,
        again,
        differences,
        checkpoint,
        n_steps,
    } = replayed;
    if as_json {
        let value = json!({
            "same": differences.is_empty(),
            "differences": differences,
            "checkpoint": checkpoint,
            "n_steps_trained_again": n_steps,
            "stored": stored,
            "again": again,
        });
        writeln!(out, "{value:#}")?;
        return Ok(code(differences.is_empty()));
    }
    let n_tokens: usize = again
        .turns
        .iter()
        .map(|turn| turn.completion_ids.len())
        .sum();
    writeln!(
        out,
        "Step {}, problem {} ({}), attempt {}: {} turns, {n_tokens} sampled tokens, {}",
        stored.step,
        stored.problem_idx,
        stored.problem_id,
        stored.attempt,
        again.turns.len(),
        began_at(checkpoint, *n_steps)
    )?;
    for turn in &again.turns {
        let name = turn.chunk_idx.map_or("answer".to_string(), |chunk_idx| {
            format!("notes after chunk {}", chunk_idx + 1)
        });
        writeln!(out, "  {name}: {}", turn.completion)?;
    }
    if differences.is_empty() {
        writeln!(
            out,
            "The same to the bit: prompts, sampled ids, log-probabilities, answer, outcome, digest of the weights"
        )?;
    } else {
        writeln!(out, "Not the same:")?;
        for difference in differences {
            writeln!(out, "  {difference}")?;
        }
    }
    Ok(code(differences.is_empty()))
}

fn tell_failure(
    replayed: &ReplayedFailure,
    as_json: bool,
    out: &mut impl Write,
) -> Result<ExitCode> {
    let ReplayedFailure {
        stored,
        again,
        checkpoint,
        n_steps,
    } = replayed;
    let is_same = again.as_ref() == Some(stored);
    if as_json {
        let value = json!({
            "same": is_same,
            "stored": stored,
            "again": again,
            "checkpoint": checkpoint,
            "n_steps_run_again": n_steps,
        });
        writeln!(out, "{value:#}")?;
        return Ok(code(is_same));
    }
    writeln!(out, "Stored: {stored}")?;
    match again {
        Some(again) if is_same => writeln!(out, "Again:  {again}")?,
        Some(again) => writeln!(out, "Now:    {again}")?,
        None => writeln!(out, "Now every number is finite: it does not come again")?,
    }
    writeln!(out, "({})", began_at(checkpoint, *n_steps))?;
    Ok(code(is_same))
}
