//! What the metrics say, over steps.

use std::collections::BTreeSet;

use crate::chart::{Across, Chart, Ink, Line, Span};
use crate::html::Html;
use crate::load::Stage;
use crate::numbers::number;
use crate::sections::{Pair, collapse, lengths};
use crate::thin::{is_thinned, reach};

/// A chart of one or more keys.
pub(crate) struct Curve {
    pub(crate) title: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) keys: &'static [(&'static str, &'static str)],
    pub(crate) span: Span,
}

const fn curve(
    title: &'static str,
    unit: &'static str,
    keys: &'static [(&'static str, &'static str)],
    span: Span,
) -> Curve {
    Curve {
        title,
        unit,
        keys,
        span,
    }
}

const REWARD: Curve = curve(
    "Reward",
    "mean outcome of all attempts",
    &[("reward", "reward")],
    Span::Share,
);

const RL: &[Curve] = &[
    curve(
        "Entropy",
        "nats per sampled token",
        &[("entropy", "entropy")],
        Span::Measured,
    ),
    curve(
        "KL to the old policy",
        "k3 estimate, last update of the step",
        &[("approx_kl", "KL")],
        Span::Measured,
    ),
    curve(
        "KL to the reference",
        "k3 estimate",
        &[("ref_kl", "KL")],
        Span::Measured,
    ),
    curve(
        "Gradient norm",
        "before the clip, mean over updates",
        &[("grad_norm", "norm")],
        Span::Measured,
    ),
    curve(
        "Live groups",
        "share whose rewards differ; share of rows with an advantage",
        &[("live_groups", "groups"), ("live_rows", "rows")],
        Span::Share,
    ),
    curve(
        "Lengths",
        "mean sampled tokens of a turn",
        &[("memory_tokens", "notes"), ("answer_tokens", "answer")],
        Span::Measured,
    ),
    curve(
        "Turns",
        "mean per attempt",
        &[("turns", "turns")],
        Span::Measured,
    ),
    curve(
        "Clipped share",
        "trained tokens that a bound acted on",
        &[("clip_low", "lower bound"), ("clip_high", "upper bound")],
        Span::Measured,
    ),
    curve(
        "Log-probability difference",
        "largest between sampling and training, first update",
        &[("max_logprob_difference", "difference")],
        Span::Measured,
    ),
    curve(
        "First ratio",
        "largest |ratio − 1| on the first update",
        &[("first_ratio_deviation", "deviation")],
        Span::Measured,
    ),
    curve(
        "Importance weight",
        "mean over trained tokens, truncated",
        &[("importance", "weight")],
        Span::Measured,
    ),
    curve(
        "Truncated weights",
        "share of trained tokens",
        &[("importance_capped", "share")],
        Span::Measured,
    ),
    curve(
        "Learning rate",
        "last update of the step",
        &[("lr", "rate")],
        Span::Linear,
    ),
    curve(
        "Objective",
        "mean over updates; no measure of progress",
        &[("loss", "objective")],
        Span::Measured,
    ),
];

const WARM_START: &[Curve] = &[
    curve(
        "Warm-start losses",
        "nats per token of the expert's text",
        &[("read_loss", "notes"), ("answer_loss", "answer")],
        Span::Measured,
    ),
    curve(
        "Warm-start gradient norm",
        "before the clip",
        &[("grad_norm", "norm")],
        Span::Measured,
    ),
    curve(
        "Warm-start learning rate",
        "of the update",
        &[("lr", "rate")],
        Span::Linear,
    ),
];

/// Beginnings of keys that other sections show, or that are no measurements.
const SHOWN_ELSEWHERE: &[&str] = &[
    "stage",
    "step",
    "policy_version",
    "seconds",
    "resident_",
    "peak_",
    "teacher_",
    "reward",
    "penalty",
    "unix_",
];

/// All curves.
pub(crate) fn section(pair: Pair<'_>) -> Html {
    let mut html = Html::new();
    html.raw("<section id=\"curves\"><h2>Curves</h2>");
    let mut grid = Grid::new(pair);
    grid.curve(Stage::Rl, &REWARD);
    for curve in RL {
        grid.curve(Stage::Rl, curve);
    }
    for curve in WARM_START {
        grid.curve(Stage::WarmStart, curve);
    }
    grid.chart(&lengths::over_warm_start(pair));
    let main = grid.finish();
    if main.is_empty() {
        html.raw("<p>No step has been recorded yet.</p>");
    }
    html.add(&main);
    let mut grid = Grid::new(pair);
    for key in other_keys(pair) {
        grid.line(
            Stage::Rl,
            key,
            "as in metrics.jsonl",
            &[(key, key)],
            Span::Measured,
        );
    }
    let other = grid.finish();
    if !other.is_empty() {
        html.raw("<details><summary>Other numbers of the steps</summary>")
            .add(&other)
            .raw("</details>");
    }
    html.raw("</section>");
    html
}

/// Numeric keys of RL lines that no other chart or table shows.
fn other_keys(pair: Pair<'_>) -> BTreeSet<&str> {
    let shown = |key: &str| {
        let mut curves = RL.iter().chain(std::iter::once(&REWARD));
        curves.any(|curve| curve.keys.iter().any(|(shown, _)| *shown == key))
            || collapse::shows(key)
            || SHOWN_ELSEWHERE.iter().any(|start| key.starts_with(start))
    };
    let keys = pair
        .runs()
        .flat_map(|(run, _)| run.numbers(Stage::Rl).keys());
    keys.filter(|key| !shown(key)).collect()
}

/// Charts side by side, and in a line of text what never changed.
pub(crate) struct Grid<'a> {
    pair: Pair<'a>,
    charts: Html,
    constants: Vec<String>,
    /// Points of the longest curve that is shown smoothed.
    n_smoothed: usize,
    /// Points of the longest curve.
    n_points: usize,
}

impl<'a> Grid<'a> {
    pub(crate) fn new(pair: Pair<'a>) -> Self {
        Self {
            pair,
            charts: Html::new(),
            constants: Vec::new(),
            n_smoothed: 0,
            n_points: 0,
        }
    }

    /// Adds a chart of keys.
    pub(crate) fn curve(&mut self, stage: Stage, curve: &Curve) {
        self.line(stage, curve.title, curve.unit, curve.keys, curve.span);
    }

    /// As [`Grid::curve`], of keys that came from a run.
    pub(crate) fn line(
        &mut self,
        stage: Stage,
        title: &str,
        unit: &str,
        keys: &[(&str, &str)],
        span: Span,
    ) {
        let mut lines = Vec::new();
        for (run, is_other) in self.pair.runs() {
            for (idx, (key, name)) in keys.iter().enumerate() {
                let what = if keys.len() == 1 && self.pair.against.is_some() {
                    ""
                } else {
                    name
                };
                lines.push(Line {
                    name: self.pair.name(what, run),
                    points: run.numbers(stage).points(key).to_vec(),
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
        if let Some(constants) = constants(&lines) {
            self.constants.push(format!("{title} {constants}"));
            return;
        }
        self.chart(&Chart {
            title: title.to_owned(),
            unit: unit.to_owned(),
            x_label: stage.axis().to_owned(),
            across: Across::Counted,
            span,
            is_smoothed: true,
            lines,
        });
    }

    /// Adds a chart.
    pub(crate) fn chart(&mut self, chart: &Chart) {
        self.charts.add(&chart.figure());
        self.n_points = self.n_points.max(chart.n_points());
        if chart.is_smoothed {
            self.n_smoothed = self.n_smoothed.max(chart.n_points());
        }
    }

    /// Adds a finished figure.
    pub(crate) fn figure(&mut self, figure: &Html) {
        self.charts.add(figure);
    }

    /// The charts and the line of what never changed; nothing where there is neither.
    pub(crate) fn finish(self) -> Html {
        let mut html = Html::new();
        let reach = reach(self.n_smoothed);
        if reach != 0 {
            html.raw(
                "<p class=\"how\">Thin lines are as measured, thick ones smoothed over up to ",
            );
            html.text(number((2 * reach + 1) as f64))
                .raw(" neighbouring points.</p>");
        }
        if is_thinned(self.n_points) {
            html.raw("<p class=\"how\">Of up to ")
                .text(number(self.n_points as f64));
            html.raw(
                " points a line, the lowest and the highest of each pixel column are drawn.</p>",
            );
        }
        if !self.charts.is_empty() {
            html.raw("<div class=\"charts\">")
                .add(&self.charts)
                .raw("</div>");
        }
        if !self.constants.is_empty() {
            html.raw("<p class=\"constants\">The same at every step: ")
                .text(self.constants.join("; "))
                .raw(".</p>");
        }
        html
    }
}

/// What to say of lines that never change, if none does; `None` where one does or none has a point.
fn constants(lines: &[Line]) -> Option<String> {
    let mut said: Vec<String> = Vec::new();
    let only_value = |line: &Line| {
        let first = line.points.first()?.1;
        line.points
            .iter()
            .all(|(_, value)| *value == first)
            .then_some(first)
    };
    let values: Vec<f64> = lines.iter().map(only_value).collect::<Option<_>>()?;
    let first = *values.first()?;
    if values.iter().all(|value| *value == first) {
        return Some(number(first));
    }
    for (line, value) in lines.iter().zip(values) {
        said.push(format!("{} ({})", number(value), line.name));
    }
    Some(said.join(", "))
}
