//! `longhand eval`.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Result;
use longhand_reward_outcome::Checker;
use longhand_run::{LengthPoint, LengthSeries, plot_by_length};
use longhand_tasks::{Split, TaskSpec};
use longhand_trainer::{EvalOptions, EvalReport, Workbench, evaluate};
use serde_json::json;

use crate::{
    bad_usage, count,
    data::task_spec,
    load::{ReaderArgs, load},
    table::{Table, percent},
};

/// Arguments of `longhand eval`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of a run, or of a model in Hugging Face layout, or hf:owner/name[@rev]
    run_or_model: PathBuf,
    /// Task to measure on: class-notes, lookup, needle, multi-needle, variable-tracking, multi-hop,
    /// counting, hotpotqa or jsonl [default: the run's]
    #[arg(long, value_name = "KIND")]
    task: Option<String>,
    /// Option of the task, such as `path=FILE`; may be repeated. A wrong one lists all
    #[arg(long = "task-option", value_name = "KEY=VALUE", requires = "task")]
    task_options: Vec<String>,
    /// Document lengths in tokens [default: the run's]
    #[arg(long, value_delimiter = ',', value_name = "TOKENS,...", value_parser = count())]
    lengths: Vec<usize>,
    /// Documents per length [default: the run's, else 100]
    #[arg(long, value_name = "N", value_parser = count())]
    documents: Option<usize>,
    /// Seed of the documents and of sampling [default: the run's, else 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Sampling temperature; 0 takes the most probable token
    #[arg(
        long,
        default_value_t = 0.0,
        allow_negative_numbers = true,
        value_name = "NUMBER"
    )]
    temperature: f64,
    /// Documents read side by side [default: the run's, else 8]
    #[arg(long, value_name = "N", value_parser = count())]
    batch: Option<usize>,
    /// How answers are scored: exact-match, token-f1, contains, sub-em, boxed, memagent-box, numeric [default: the run's, else sub-em]
    #[arg(long, value_name = "NAME")]
    checker: Option<String>,
    /// Measure on the training split
    #[arg(long)]
    train_split: bool,
    #[command(flatten)]
    reader: ReaderArgs,
    /// Print one JSON document instead of a table
    #[arg(long)]
    json: bool,
    /// Write the plot of accuracy against length to PATH.svg and PATH.png [default: the run's plots folder]
    #[arg(long, value_name = "PATH")]
    plot: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let loaded = load(&args.run_or_model)?;
    let experiment = loaded.experiment.as_ref();
    let task: TaskSpec = match (&args.task, experiment) {
        (Some(kind), _) => task_spec(kind, &args.task_options)?,
        (None, Some(experiment)) => experiment.task.clone(),
        (None, None) => {
            return Err(bad_usage(
                "a model alone has no task: name one with --task KIND",
            ));
        }
    };
    let checker = match (&args.checker, experiment) {
        (Some(name), _) => checker(name)?,
        (None, Some(experiment)) => experiment.checker,
        (None, None) => Checker::SubEm,
    };
    let lengths = match experiment {
        _ if !args.lengths.is_empty() => args.lengths.clone(),
        Some(experiment) => experiment.eval.lengths.clone(),
        None => return Err(bad_usage("name document lengths with --lengths TOKENS,...")),
    };
    if !(args.temperature.is_finite() && 0.0 <= args.temperature) {
        return Err(bad_usage(format!(
            "--temperature {}: it must be at least 0",
            args.temperature
        )));
    }
    let reader = loaded.reader(&args.reader)?;
    let options = EvalOptions {
        n_documents: args
            .documents
            .or(experiment.map(|e| e.eval.n_documents))
            .unwrap_or(100),
        seed: args.seed.or(experiment.map(|e| e.eval.seed)).unwrap_or(0),
        temperature: args.temperature,
        batch: args.batch.or(experiment.map(|e| e.eval.batch)).unwrap_or(8),
        split: if args.train_split {
            Split::Train
        } else {
            Split::Test
        },
        chunks: reader.chunks,
    };
    let paragraph = experiment.map_or("Document {n}:\n{title}\n{text}\n\n", |e| {
        e.data.paragraph.as_str()
    });
    let mut bench =
        Workbench::from_parts(task.open()?, paragraph, &reader, checker, &loaded.policy)?;
    let chat = experiment.map(|e| e.chat.clone()).unwrap_or_default();
    bench = bench.with_chat(&chat, &reader, &loaded.policy)?;
    // The run's judge scores, unless a checker is asked for.
    if let (None, Some(judge)) = (&args.checker, experiment.and_then(|e| e.judge.as_ref())) {
        bench = bench.with_judge(judge)?;
    }
    let bar = if args.json {
        indicatif::ProgressBar::hidden()
    } else {
        indicatif::ProgressBar::new_spinner()
    };
    let report = evaluate(
        &loaded.policy,
        &bench,
        &lengths,
        &options,
        |length, done, n| {
            bar.set_message(format!("{length} tokens: document {done}/{n}"));
            bar.tick();
            Ok(())
        },
    )?;
    bar.finish_and_clear();

    let plot = match (&args.plot, experiment) {
        (Some(path), _) => Some(path.clone()),
        (None, Some(_)) => Some(
            args.run_or_model
                .join("plots")
                .join(format!("eval-{}", task.kind())),
        ),
        (None, None) => None,
    };
    // What was measured is told even where it cannot be drawn.
    let plotted = match &plot {
        Some(plot) => plot_by_length(plot, &[series(&report)]).map(|_files| ()),
        None => Ok(()),
    };
    let plot = plot.filter(|_| plotted.is_ok());
    let mut out = io::stdout().lock();
    if args.json {
        let value = json!({
            "policy": loaded.folder.display().to_string(),
            "task": task,
            "checker": checker.name(),
            "seed": options.seed,
            "split": options.split.to_string(),
            "temperature": report.temperature,
            "lengths": report.lengths,
            "plot": plot.map(|plot| plot.display().to_string()),
        });
        writeln!(out, "{value:#}")?;
    } else {
        write!(out, "{}", table(&report))?;
        if let Some(plot) = plot {
            writeln!(out, "\nPlot: {}.svg and .png", plot.display())?;
        }
    }
    plotted?;
    Ok(ExitCode::SUCCESS)
}

fn checker(name: &str) -> Result<Checker> {
    let all = Checker::ALL;
    let found = all.iter().find(|checker| checker.name() == name).copied();
    found.ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|checker| checker.name()).collect();
        bad_usage(format!(
            "--checker: unknown checker `{name}`; there are {}",
            names.join(", ")
        ))
    })
}

fn series(report: &EvalReport) -> LengthSeries {
    let points = report.lengths.iter().map(|score| LengthPoint {
        length: score.mean_tokens.round().max(1.0) as usize,
        accuracy: score.accuracy,
        low: score.low,
        high: score.high,
    });
    LengthSeries {
        name: "accuracy".into(),
        points: points.collect(),
    }
}

fn table(report: &EvalReport) -> Table<6> {
    let mut table = Table::new([
        "tokens",
        "chunks",
        "documents",
        "accuracy %",
        "95 % interval",
        "by facts needed",
    ]);
    for score in &report.lengths {
        let by_facts: Vec<String> = score
            .by_facts
            .iter()
            .map(|facts| {
                format!(
                    "{}: {} of {}",
                    facts.n_facts,
                    percent(facts.accuracy),
                    facts.n_documents
                )
            })
            .collect();
        table.row([
            format!("{:.0}", score.mean_tokens),
            format!("{:.1}", score.mean_chunks),
            score.n_documents.to_string(),
            percent(score.accuracy),
            format!("{}-{}", percent(score.low), percent(score.high)),
            by_facts.join(", "),
        ]);
    }
    table
}
