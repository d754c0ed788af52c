//! The tables of a run's steps: reinforcement learning, warm start, measurements.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use longhand_run::{RunDir, TranscriptFile};
use serde_json::Value;

use crate::attempts::write_left_out;
use crate::error::{InspectError, names};
use crate::measures::{number, or_dash, stops};
use crate::paint::{Ink, Style};
use crate::query::Query;
use crate::table::{Line, write_table};
use crate::{Damaged, Seen};

/// The stage that is shown where none is named.
const RL: &str = "rl";
const WARM_START: &str = "warm-start";
const EVAL: &str = "eval";

const RL_HEADER: [&str; 10] = [
    "step",
    "reward",
    "live",
    "entropy",
    "kl",
    "ref kl",
    "attempts",
    "no reward",
    "left out",
    "stop reasons",
];
const WARM_START_HEADER: [&str; 5] = ["step", "read loss", "answer loss", "lr", "gradient norm"];
const EVAL_HEADER: [&str; 4] = ["step", "when", "temperature", "accuracy by tokens"];

/// Writes the last steps of the query's stage.
pub(crate) fn write(
    run: &RunDir,
    query: &Query,
    style: &Style,
    out: &mut impl Write,
) -> Result<Seen, InspectError> {
    let (metrics, torn) = run.read_metrics_so_far()?;
    let files = run.transcript_files()?;
    let stage = query.stage.as_deref().unwrap_or(RL);
    let n_of = |stage: &str| metrics.iter().filter(|line| line["stage"] == stage).count();
    if query.stage.is_some() && n_of(stage) == 0 && files.iter().all(|file| file.stage != stage) {
        let of_metrics = metrics
            .iter()
            .filter_map(|line| Some(line["stage"].as_str()?.to_owned()));
        let all: BTreeSet<String> = of_metrics
            .chain(files.into_iter().map(|file| file.stage))
            .collect();
        return Err(InspectError::NoStage {
            stage: stage.to_owned(),
            there: names(all),
        });
    }
    let mut seen = Seen {
        torn,
        ..Seen::default()
    };
    if query.json {
        write_json(&metrics, stage, query, out, &mut seen)?;
        return Ok(seen);
    }
    match stage {
        WARM_START => {
            let rows = of_stage(&metrics, stage).map(warm_start_row).collect();
            write_last(out, style, &WARM_START_HEADER, rows, query, &mut seen)?;
        }
        EVAL => {
            let rows = of_stage(&metrics, stage).map(eval_row).collect();
            write_last(out, style, &EVAL_HEADER, rows, query, &mut seen)?;
        }
        _ => {
            let rows = rl_rows(run, &metrics, files, stage, query, &mut seen);
            write_rows(out, style, &RL_HEADER, &rows, &mut seen)?;
        }
    }
    if query.stage.is_none() {
        let others: Vec<String> = [WARM_START, EVAL]
            .into_iter()
            .filter_map(|stage| match n_of(stage) {
                0 => None,
                1 => Some(format!("1 line of --stage {stage}")),
                n => Some(format!("{n} lines of --stage {stage}")),
            })
            .collect();
        if !others.is_empty() {
            writeln!(out, "\nBesides: {}", others.join(", "))?;
        }
    }
    Ok(seen)
}

fn of_stage<'a>(metrics: &'a [Value], stage: &str) -> impl Iterator<Item = &'a Value> {
    metrics.iter().filter(move |line| line["stage"] == stage)
}

/// The lines of a stage as they are stored; a limit takes the last ones, as in the table.
fn write_json(
    metrics: &[Value],
    stage: &str,
    query: &Query,
    out: &mut impl Write,
    seen: &mut Seen,
) -> Result<(), InspectError> {
    let lines: Vec<&Value> = of_stage(metrics, stage).collect();
    let n = lines.len();
    seen.shown = query
        .limit
        .filter(|limit| *limit != 0)
        .map_or(n, |limit| limit.min(n));
    seen.left_out = n - seen.shown;
    for line in &lines[seen.left_out..] {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// The last steps of reinforcement learning that the query's limit allows.
fn rl_rows(
    run: &RunDir,
    metrics: &[Value],
    files: Vec<TranscriptFile>,
    stage: &str,
    query: &Query,
    seen: &mut Seen,
) -> Vec<Line> {
    let mut steps: BTreeMap<u64, (Option<&Value>, Option<TranscriptFile>)> = BTreeMap::new();
    for line in of_stage(metrics, stage) {
        if let Some(step) = line["step"].as_u64() {
            steps.entry(step).or_default().0 = Some(line);
        }
    }
    for file in files.into_iter().filter(|file| file.stage == stage) {
        let step = file.step;
        steps.entry(step).or_default().1 = Some(file);
    }
    seen.left_out = steps.len().saturating_sub(query.rows());
    steps
        .into_iter()
        .skip(seen.left_out)
        .map(|(step, (line, file))| rl_row(run, step, line, file.as_ref(), seen))
        .collect()
}

/// The last rows that the query's limit allows.
fn write_last(
    out: &mut impl Write,
    style: &Style,
    header: &[&str],
    mut rows: Vec<Line>,
    query: &Query,
    seen: &mut Seen,
) -> Result<(), InspectError> {
    seen.left_out = rows.len().saturating_sub(query.rows());
    let rows = rows.split_off(seen.left_out);
    write_rows(out, style, header, &rows, seen)
}

fn write_rows(
    out: &mut impl Write,
    style: &Style,
    header: &[&str],
    rows: &[Line],
    seen: &mut Seen,
) -> Result<(), InspectError> {
    seen.shown = rows.len();
    if rows.is_empty() {
        writeln!(out, "The run has no such steps yet.")?;
        return Ok(());
    }
    write_table(out, style, header, rows)?;
    write_left_out(
        out,
        seen.left_out,
        "step before these",
        "steps before these",
    )?;
    Ok(())
}

fn cell(line: &Value, key: &str) -> String {
    or_dash(line[key].as_f64().map(number))
}

fn whole(line: &Value, key: &str) -> String {
    or_dash(line[key].as_u64().map(|n| n.to_string()))
}

/// A step from its line of the metrics and, where it can be read, its transcripts.
fn rl_row(
    run: &RunDir,
    step: u64,
    line: Option<&Value>,
    file: Option<&TranscriptFile>,
    seen: &mut Seen,
) -> Line {
    let line = line.unwrap_or(&Value::Null);
    let mut attempts = whole(line, "n_attempts");
    let mut no_reward = whole(line, "n_masked_attempts");
    let (mut left_out, mut stopped) = ("-".to_owned(), "-".to_owned());
    match file.map(|file| (file, run.read_transcripts(&file.stage, file.step))) {
        Some((_, Ok(transcripts))) => {
            let count = |is: fn(&longhand_run::Transcript) -> bool| {
                transcripts.iter().filter(|t| is(t)).count().to_string()
            };
            attempts = count(|_| true);
            no_reward = count(|attempt| attempt.outcome.is_none());
            left_out = count(|attempt| attempt.dropped.is_some());
            stopped = stops(&transcripts);
        }
        Some((file, Err(error))) => {
            seen.damaged.push(Damaged::new(file, &error));
            stopped = "transcripts damaged".to_owned();
        }
        None => {}
    }
    Line::Row(
        Ink::Plain,
        vec![
            step.to_string(),
            cell(line, "reward"),
            cell(line, "live_groups"),
            cell(line, "entropy"),
            cell(line, "approx_kl"),
            cell(line, "ref_kl"),
            attempts,
            no_reward,
            left_out,
            stopped,
        ],
    )
}

fn warm_start_row(line: &Value) -> Line {
    let cells = ["read_loss", "answer_loss", "lr", "grad_norm"].map(|key| cell(line, key));
    let mut row = vec![whole(line, "step")];
    row.extend(cells);
    Line::Row(Ink::Plain, row)
}

fn eval_row(line: &Value) -> Line {
    let accuracies: Vec<String> = line["lengths"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|length| {
            let tokens = whole(length, "target_tokens");
            format!("{tokens}: {}", cell(length, "accuracy"))
        })
        .collect();
    Line::Row(
        Ink::Plain,
        vec![
            whole(line, "step"),
            line["label"].as_str().unwrap_or("-").to_owned(),
            cell(line, "temperature"),
            accuracies.join(", "),
        ],
    )
}
