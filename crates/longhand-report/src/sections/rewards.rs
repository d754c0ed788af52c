//! What rewards are made of, and what went wrong on the way to them, by reason.

use std::collections::BTreeSet;

use crate::chart::{Across, Chart, Ink, Line, Span};
use crate::html::Html;
use crate::load::{Loaded, Stage};
use crate::numbers::{number, percent};
use crate::sections::Pair;
use crate::sections::curves::{Curve, Grid};

const TEACHER: [Curve; 2] = [
    Curve {
        title: "Teacher scores",
        unit: "lowest and highest of the step",
        keys: &[("teacher_lowest", "lowest"), ("teacher_highest", "highest")],
        span: Span::Measured,
    },
    Curve {
        title: "Teacher gap",
        unit: "mean score of solved minus unsolved attempts",
        keys: &[("teacher_gap", "gap")],
        span: Span::Measured,
    },
];
/// Rewards that are shares, so that one chart holds them.
const SHARES: Curve = Curve {
    title: "Rewards by name",
    unit: "mean over the attempts that have it",
    keys: &[
        ("reward_columns/outcome", "outcome"),
        ("reward_columns/cluster-vote", "cluster-vote"),
        ("reward_columns/majority-vote", "majority-vote"),
    ],
    span: Span::Share,
};
/// Where the other rewards are, each on a scale of its own.
const COLUMN: &str = "reward_columns/";
/// Beginnings of the keys of components, known and to come.
const COMPONENTS: [&str; 3] = ["teacher_", "reward_", "penalty"];
/// Key, what it counts, and the key of what it is a share of.
const FAILURES: &[(&str, &str, &str)] = &[
    (
        "n_masked_attempts",
        "attempts left out: their reward failed",
        "n_attempts",
    ),
    (
        "n_unparsed_answers",
        "answers in which the checker found nothing of its form",
        "n_attempts",
    ),
    (
        "n_judge_timeouts",
        "judge did not answer in time",
        "n_attempts",
    ),
    (
        "n_judge_bad_replies",
        "judge answered something else",
        "n_attempts",
    ),
    (
        "n_judge_failures",
        "judge died or could not start",
        "n_attempts",
    ),
    (
        "n_truncated_documents",
        "documents cut in their centre",
        "n_attempts",
    ),
    ("n_hit_cap", "turns that hit their token cap", ""),
    ("n_window_full", "turns stopped by the window", ""),
    (
        "n_dropped_equal_groups",
        "groups left out: all rewards equal",
        "n_groups",
    ),
    (
        "n_dropped_error_groups",
        "groups left out: no reward at all",
        "n_groups",
    ),
    (
        "n_surplus_groups",
        "live groups beyond what the step needed",
        "n_groups",
    ),
];

/// Charts of components and a table of failures; nothing where there is neither.
pub(crate) fn section(pair: Pair<'_>) -> Html {
    let mut grid = Grid::new(pair);
    for curve in &TEACHER {
        grid.curve(Stage::Rl, curve);
    }
    grid.curve(Stage::Rl, &SHARES);
    for key in other_components(pair) {
        let (title, unit) = match key.strip_prefix(COLUMN) {
            Some(name) => (format!("Reward: {name}"), SHARES.unit),
            None => (key.to_owned(), "as in metrics.jsonl"),
        };
        let keys = [(key, key)];
        grid.line(Stage::Rl, &title, unit, &keys, Span::Measured);
    }
    grid.chart(&failures_over_steps(pair.run));
    let charts = grid.finish();
    let mut table = Html::new();
    failures(pair, &mut table);
    let mut html = Html::new();
    if charts.is_empty() && table.is_empty() {
        return html;
    }
    html.raw("<section id=\"rewards\"><h2>Rewards and failures</h2>")
        .add(&charts)
        .add(&table)
        .raw("</section>");
    html
}

fn other_components(pair: Pair<'_>) -> BTreeSet<&str> {
    let is_component = |key: &&str| {
        let is_known = |curve: &Curve| curve.keys.iter().any(|(known, _)| known == key);
        let mut known = TEACHER.iter().chain(std::iter::once(&SHARES));
        COMPONENTS.iter().any(|start| key.starts_with(start)) && !known.any(is_known)
    };
    let keys = pair
        .runs()
        .flat_map(|(run, _)| run.numbers(Stage::Rl).keys());
    keys.filter(is_component).collect()
}

/// The reasons that happened at all, as lines; of the run alone.
fn failures_over_steps(run: &Loaded) -> Chart {
    let mut lines: Vec<(f64, Line)> = Vec::new();
    for (key, what, _) in FAILURES {
        let points = run.numbers(Stage::Rl).points(key);
        let total: f64 = points.iter().map(|(_, n)| n).sum();
        if 0.0 < total {
            lines.push((
                total,
                Line {
                    name: (*what).to_owned(),
                    points: points.to_vec(),
                    bounds: Vec::new(),
                    ink: Ink::Run(0),
                },
            ));
        }
    }
    // Four lines can be told apart: the most frequent ones.
    lines.sort_by(|a, b| b.0.total_cmp(&a.0));
    lines.truncate(4);
    let unit = match lines.as_slice() {
        [(_, line)] => format!("number in a step: {}", line.name),
        _ => "number in a step, the most frequent reasons".to_owned(),
    };
    let lines = lines.into_iter().enumerate().map(|(idx, (_, line))| Line {
        ink: Ink::Run(idx),
        ..line
    });
    Chart {
        title: "Failures by reason".to_owned(),
        unit,
        x_label: "step".to_owned(),
        across: Across::Counted,
        span: Span::Measured,
        is_smoothed: true,
        lines: lines.collect(),
    }
}

fn failures(pair: Pair<'_>, html: &mut Html) {
    let counted = |run: &Loaded, key: &str| {
        let points = run.numbers(Stage::Rl).points(key);
        (!points.is_empty()).then(|| points.iter().map(|(_, n)| n).sum::<f64>())
    };
    let is_known = |key: &str| pair.runs().any(|(run, _)| counted(run, key).is_some());
    let rows: Vec<_> = FAILURES.iter().filter(|(key, ..)| is_known(key)).collect();
    if rows.is_empty() {
        return;
    }
    html.raw("<div class=\"scroll\"><table><thead><tr><th scope=\"col\">What was counted</th>");
    for (run, _) in pair.runs() {
        for what in ["total", "share", "steps with any"] {
            html.wrap("<th scope=\"col\">", pair.name(what, run), "</th>");
        }
    }
    html.raw("</tr></thead><tbody>");
    for (key, what, of) in rows {
        html.raw("<tr><th scope=\"row\">").text(what).raw("</th>");
        for (run, _) in pair.runs() {
            let Some(total) = counted(run, key) else {
                html.raw("<td>–</td><td>–</td><td>–</td>");
                continue;
            };
            let points = run.numbers(Stage::Rl).points(key);
            let n_steps = points.iter().filter(|(_, n)| 0.0 < *n).count();
            let share = counted(run, of)
                .filter(|whole| 0.0 < *whole)
                .map_or("–".to_owned(), |whole| percent(total / whole));
            html.wrap("<td>", number(total), "</td>")
                .wrap("<td>", share, "</td>");
            html.raw("<td>")
                .text(n_steps)
                .raw(" of ")
                .text(number(points.len() as f64))
                .raw("</td>");
        }
        html.raw("</tr>");
    }
    html.raw("</tbody></table></div>");
}
