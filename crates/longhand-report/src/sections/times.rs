//! Where the time went, and how much memory was held.

use crate::chart::{Across, Chart, Ink, Line, Span};
use crate::html::Html;
use crate::load::{Loaded, Stage};
use crate::numbers::{duration, number, percent};
use crate::sections::Pair;
use crate::sections::curves::Grid;
use crate::stack::{Part, stacked};

const PHASES: [(&str, &str); 3] = [
    ("generate", "seconds_generate"),
    ("score", "seconds_score"),
    ("train", "seconds_train"),
];
const MIB: f64 = 1024.0 * 1024.0;

/// Charts and a table of times; the chart of memory.
pub(crate) fn section(pair: Pair<'_>) -> Html {
    let mut html = Html::new();
    let mut grid = Grid::new(pair);
    for (run, _) in pair.runs() {
        let (steps, parts) = parts(run);
        let title = match pair.against {
            Some(_) => format!("Time of a step, {}", run.label),
            None => "Time of a step".to_owned(),
        };
        grid.figure(&stacked(&title, "seconds by phase", &steps, &parts));
    }
    grid.chart(&memory(pair, Stage::Rl));
    grid.chart(&memory(pair, Stage::WarmStart));
    let charts = grid.finish();
    let rows: Vec<Vec<Row>> = pair.runs().map(|(run, _)| rows(run)).collect();
    if charts.is_empty() && rows.iter().all(Vec::is_empty) {
        return html;
    }
    html.raw("<section id=\"times\"><h2>Time and memory</h2>")
        .add(&charts);
    for ((run, _), rows) in pair.runs().zip(&rows) {
        if pair.against.is_some() {
            html.wrap("<h3>", format!("Phases of {}", run.label), "</h3>");
        }
        table(rows, &mut html);
        throughput(run, &mut html);
    }
    html.raw("</section>");
    html
}

/// Steps, and the seconds of each phase in each of them; what no phase counts is `other`.
fn parts(run: &Loaded) -> (Vec<f64>, Vec<Part>) {
    let clock = run.clock(Stage::Rl);
    let (steps, whole): (Vec<f64>, Vec<f64>) = clock.points("seconds").iter().copied().unzip();
    let mut rest = whole;
    let mut parts = Vec::new();
    for (name, key) in PHASES {
        let values = clock.at(&steps, key);
        for (rest, value) in rest.iter_mut().zip(&values) {
            *rest -= value;
        }
        parts.push(Part { name, values });
    }
    // Rounding may leave less than nothing.
    let values = rest.into_iter().map(|rest| rest.max(0.0)).collect();
    parts.push(Part {
        name: "other",
        values,
    });
    (steps, parts)
}

struct Row {
    what: &'static str,
    total: f64,
    n: usize,
    longest: f64,
    /// The step of the longest, where steps have numbers.
    longest_at: Option<f64>,
}

fn rows(run: &Loaded) -> Vec<Row> {
    let (steps, parts) = parts(run);
    let mut rows: Vec<Row> = Vec::new();
    for part in &parts {
        rows.extend(row(part.name, &part.values, &steps));
    }
    for (what, stage) in [
        ("warm start", Stage::WarmStart),
        ("measurements", Stage::Eval),
    ] {
        let seconds = run.clock(stage).points("seconds").iter();
        let seconds: Vec<f64> = seconds.map(|(_, seconds)| *seconds).collect();
        rows.extend(row(what, &seconds, &[]));
    }
    rows
}

/// One row; none without values, or of a phase that took no time.
fn row(what: &'static str, values: &[f64], steps: &[f64]) -> Option<Row> {
    let longest_idx = (0..values.len()).max_by(|a, b| values[*a].total_cmp(&values[*b]))?;
    let total: f64 = values.iter().sum();
    (0.0 < total).then(|| Row {
        what,
        total,
        n: values.len(),
        longest: values[longest_idx],
        longest_at: steps.get(longest_idx).copied(),
    })
}

fn table(rows: &[Row], html: &mut Html) {
    let whole: f64 = rows.iter().map(|row| row.total).sum();
    if rows.is_empty() {
        return;
    }
    html.raw("<div class=\"scroll\"><table><thead><tr>");
    for head in ["Phase", "total", "share", "times", "mean", "longest"] {
        html.wrap("<th scope=\"col\">", head, "</th>");
    }
    html.raw("</tr></thead><tbody>");
    for row in rows {
        html.raw("<tr>")
            .wrap("<th scope=\"row\">", row.what, "</th>");
        html.wrap("<td>", duration(row.total), "</td>");
        html.wrap("<td>", percent(row.total / whole), "</td>");
        html.wrap("<td>", number(row.n as f64), "</td>");
        html.wrap("<td>", duration(row.total / row.n as f64), "</td>");
        html.raw("<td>").text(duration(row.longest));
        if let Some(step) = row.longest_at {
            html.raw(" <small>step ").text(number(step)).raw("</small>");
        }
        html.raw("</td></tr>");
    }
    html.raw("<tr class=\"sum\"><th scope=\"row\">sum</th>")
        .wrap("<td>", duration(whole), "</td>");
    html.raw("<td>100.0 %</td><td></td><td></td><td></td></tr></tbody></table></div>");
}

/// Tokens per second of each phase.
fn throughput(run: &Loaded, html: &mut Html) {
    let tokens = |key| run.numbers(Stage::Rl).sum(key);
    let seconds = |key| run.clock(Stage::Rl).sum(key);
    let mut said = Vec::new();
    for (what, n_tokens, seconds) in [
        (
            "sampled tokens per second of generation",
            tokens("n_sampled"),
            seconds("seconds_generate"),
        ),
        (
            "tokens run per second of training",
            tokens("n_run_tokens"),
            seconds("seconds_train"),
        ),
    ] {
        if 0.0 < n_tokens && 0.0 < seconds {
            said.push(format!("{} {what}", number((n_tokens / seconds).round())));
        }
    }
    if !said.is_empty() {
        html.wrap(
            "<p class=\"after\">",
            format!("{}.", said.join("; ")),
            "</p>",
        );
    }
}

/// Resident memory over steps of a stage.
fn memory(pair: Pair<'_>, stage: Stage) -> Chart {
    let mut lines = Vec::new();
    for (run, is_other) in pair.runs() {
        let keys = [
            ("resident_bytes", "after the step"),
            ("peak_resident_bytes", "peak so far"),
        ];
        for (idx, (key, name)) in keys.into_iter().enumerate() {
            lines.push(Line {
                name: pair.name(name, run),
                points: mebibytes(run.clock(stage).points(key)),
                bounds: Vec::new(),
                ink: if is_other {
                    Ink::Against(idx)
                } else {
                    Ink::Run(idx)
                },
            });
        }
    }
    lines.retain(|line| !line.points.is_empty());
    let title = match stage {
        Stage::WarmStart => "Resident memory in the warm start",
        Stage::Rl | Stage::Eval => "Resident memory",
    };
    Chart {
        title: title.to_owned(),
        unit: "MiB".to_owned(),
        x_label: stage.axis().to_owned(),
        across: Across::Counted,
        span: Span::Measured,
        is_smoothed: true,
        lines,
    }
}

fn mebibytes(sizes: &[(f64, f64)]) -> Vec<(f64, f64)> {
    sizes.iter().map(|(at, size)| (*at, size / MIB)).collect()
}
