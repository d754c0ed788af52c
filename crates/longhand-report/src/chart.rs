//! Charts of lines as inline SVG that keeps its text readable at every width.
//!
//! The frame is laid out in percentages and pixels, so labels have one size on a phone and on a
//! desk; only the curves are stretched, with strokes that are not. Everything is there without
//! scripts; a script may show numbers under the pointer, from what `data-lines` holds.

use serde_json::json;

use crate::html::Html;
use crate::numbers::number;
use crate::thin::{reach, smooth, thin};
use crate::ticks::{Axis, Scale};

/// Curves of at most this many points have each of them marked.
const MOST_MARKED: usize = 40;
/// Ratio of largest to smallest from which positive values get an axis of powers of ten.
const LOG_FROM: f64 = 1e3;
/// Units of the curves' own coordinates, across and down.
const UNITS: (f64, f64) = (4000.0, 1500.0);
const MAX_X_TICKS: usize = 5;
const MAX_Y_TICKS: usize = 5;

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ink {
    /// The run, solid; the number tells its lines apart, from 0.
    Run(usize),
    /// The run it is held against, dashed.
    Against(usize),
    /// The run before training, dotted.
    Before,
    /// The other run before training, dotted.
    AgainstBefore,
}

impl Ink {
    /// Classes of the style sheet: colour and dash.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Ink::Run(idx) => ["run-0", "run-1", "run-2", "run-3"][idx % 4],
            Ink::Against(idx) => ["against-0", "against-1", "against-2", "against-3"][idx % 4],
            Ink::Before => "before",
            Ink::AgainstBefore => "against-before",
        }
    }
}

/// One line of a chart.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    /// `(x, y)`, in rising `x`.
    pub(crate) points: Vec<(f64, f64)>,
    /// Lower and upper bound of each point; empty without bounds.
    pub(crate) bounds: Vec<(f64, f64)>,
    pub(crate) ink: Ink,
}

/// What the vertical axis spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    /// What was measured, on powers of ten where that is of many sizes.
    Measured,
    /// What was measured, whatever its sizes.
    Linear,
    /// A share: from 0 to 1.
    Share,
}

/// What the horizontal axis is.
#[derive(Clone, Debug)]
pub(crate) enum Across {
    /// Whole numbers of something.
    Counted,
    /// Factors, with ticks at these values.
    Doublings(Vec<f64>),
}

/// A chart.
#[derive(Clone, Debug)]
pub(crate) struct Chart {
    pub(crate) title: String,
    /// What is measured and in which unit.
    pub(crate) unit: String,
    pub(crate) x_label: String,
    pub(crate) across: Across,
    pub(crate) span: Span,
    /// Whether long curves are shown smoothed over their raw line.
    pub(crate) is_smoothed: bool,
    pub(crate) lines: Vec<Line>,
}

impl Chart {
    /// The chart as a `<figure>`; nothing where there is no point.
    pub(crate) fn figure(&self) -> Html {
        let mut html = Html::new();
        if self.lines.iter().all(|line| line.points.is_empty()) {
            return html;
        }
        let (x, y) = (self.x_axis(), self.y_axis());
        html.raw("<figure class=\"chart\">");
        html.wrap("<h3>", &self.title, "</h3>");
        let scale = if y.scale == Scale::Log {
            ", powers of ten"
        } else {
            ""
        };
        html.raw("<p class=\"unit\">")
            .text(&self.unit)
            .raw(scale)
            .raw("</p>");
        if 1 < self.lines.len() {
            html.add(&legend(
                self.lines.iter().map(|line| (line.name.as_str(), line.ink)),
            ));
        }
        html.raw("<div class=\"plot\"><svg role=\"img\" aria-label=\"")
            .text(self.spoken());
        html.raw("\" data-x=\"").text(&self.x_label);
        html.raw("\" data-range=\"").text(range_for_script(&x));
        html.raw("\" data-lines=\"")
            .text(self.lines_for_script())
            .raw("\">");
        html.add(&frame(&x, &y, &self.x_label));
        html.raw("<svg class=\"curves\" viewBox=\"0 0 4000 1500\" preserveAspectRatio=\"none\" width=\"100%\" height=\"100%\">");
        for line in &self.lines {
            self.draw(line, &x, &y, &mut html);
        }
        html.raw("</svg>");
        for line in self
            .lines
            .iter()
            .filter(|line| line.points.len() <= MOST_MARKED)
        {
            mark(line, &x, &y, &mut html);
        }
        html.raw("</svg></div>");
        self.caption(&mut html);
        html.raw("</figure>");
        html
    }

    /// Points of the longest line.
    pub(crate) fn n_points(&self) -> usize {
        let lengths = self.lines.iter().map(|line| line.points.len());
        lengths.max().unwrap_or(0)
    }

    fn x_axis(&self) -> Axis {
        let points = self.lines.iter().flat_map(|line| &line.points);
        let (low, high) = ends(points.map(|(x, _)| *x));
        match &self.across {
            Across::Counted => Axis::linear(low, high, MAX_X_TICKS, true),
            Across::Doublings(ticks) => {
                // Room beside the first and the last length, so that their bounds are seen.
                let room = if low < high {
                    (high / low).powf(0.06)
                } else {
                    2.0
                };
                Axis {
                    low: low / room,
                    high: high * room,
                    scale: Scale::Log,
                    ticks: apart(ticks, low, high),
                }
            }
        }
    }

    fn y_axis(&self) -> Axis {
        let values = || {
            let points = self.lines.iter().flat_map(|line| &line.points);
            points.map(|(_, y)| *y)
        };
        let (low, high) = ends(values());
        match self.span {
            Span::Share if 0.0 <= low && high <= 1.0 => {
                let mut axis = Axis::linear(0.0, 1.0, MAX_Y_TICKS + 1, false);
                // A little room, so that markers at 0 and 1 are whole.
                (axis.low, axis.high) = (-0.02, 1.02);
                axis
            }
            Span::Measured if 0.0 < low && low * LOG_FROM <= high => {
                Axis::powers_of_ten(low, high, MAX_Y_TICKS)
            }
            _ => Axis::roomy(low, high, MAX_Y_TICKS),
        }
    }

    /// Draws bounds, raw line and smoothed line.
    fn draw(&self, line: &Line, x: &Axis, y: &Axis, html: &mut Html) {
        if line.bounds.len() == line.points.len() && line.points.len() <= 2 * MOST_MARKED {
            let lower = line
                .points
                .iter()
                .zip(&line.bounds)
                .map(|((x, _), (low, _))| (*x, *low));
            let upper = line
                .points
                .iter()
                .zip(&line.bounds)
                .map(|((x, _), (_, high))| (*x, *high));
            let outline: Vec<(f64, f64)> = upper.chain(lower.rev()).collect();
            html.raw("<path class=\"band ")
                .raw(line.ink.class())
                .raw("\" d=\"");
            path(&outline, x, y, html);
            html.raw("Z\"/>");
        }
        let reach = if self.is_smoothed {
            reach(line.points.len())
        } else {
            0
        };
        let raw_class = if reach == 0 { "line " } else { "line raw " };
        html.raw("<path class=\"")
            .raw(raw_class)
            .raw(line.ink.class())
            .raw("\" d=\"");
        path(&thin(&line.points), x, y, html);
        html.raw("\"/>");
        if reach != 0 {
            html.raw("<path class=\"line ")
                .raw(line.ink.class())
                .raw("\" d=\"");
            path(&smooth(&line.points, reach), x, y, html);
            html.raw("\"/>");
        }
    }

    /// The chart in a sentence, for those who cannot see it.
    fn spoken(&self) -> String {
        let lines: Vec<String> = self
            .lines
            .iter()
            .filter_map(|line| Some(format!("{}: {}", line.name, story(line)?)))
            .collect();
        format!(
            "{} ({}) by {}. {}",
            self.title,
            self.unit,
            self.x_label,
            lines.join("; ")
        )
    }

    fn caption(&self, html: &mut Html) {
        html.raw("<figcaption>");
        for line in &self.lines {
            let story = if self.lines.len() <= 2 {
                story(line)
            } else {
                short_story(line)
            };
            let Some(story) = story else { continue };
            html.raw("<span class=\"fact\">");
            if 1 < self.lines.len() {
                html.wrap("<b>", &line.name, "</b> ");
            }
            html.text(story).raw("</span> ");
        }
        html.raw("</figcaption>");
    }

    fn lines_for_script(&self) -> String {
        let lines = self.lines.iter().map(|line| {
            let points = thin(&line.points);
            let xs: Vec<f64> = points.iter().map(|(x, _)| *x).collect();
            let ys: Vec<f64> = points.iter().map(|(_, y)| shortened(*y)).collect();
            json!({"n": line.name, "c": line.ink.class(), "x": xs, "y": ys})
        });
        json!(lines.collect::<Vec<_>>()).to_string()
    }
}

/// Lowest and highest number as the script wants them, and whether equal factors are equally long.
pub(crate) fn range_for_script(x: &Axis) -> String {
    json!([x.low, x.high, u8::from(x.scale == Scale::Log)]).to_string()
}

/// Which line is which.
pub(crate) fn legend<'a>(entries: impl Iterator<Item = (&'a str, Ink)>) -> Html {
    let mut html = Html::new();
    html.raw("<ul class=\"legend\">");
    for (name, ink) in entries {
        html.raw("<li><svg class=\"key\" width=\"26\" height=\"10\" aria-hidden=\"true\"><line class=\"line ");
        html.raw(ink.class())
            .raw("\" x1=\"1\" x2=\"25\" y1=\"5\" y2=\"5\"/></svg>");
        html.text(name).raw("</li>");
    }
    html.raw("</ul>");
    html
}

/// Grid, ticks and labels; the axis across is named at its end.
pub(crate) fn frame(x: &Axis, y: &Axis, x_label: &str) -> Html {
    let mut html = Html::new();
    html.raw("<g class=\"frame\" aria-hidden=\"true\">");
    for (at, label) in &y.ticks {
        let down = 100.0 * (1.0 - y.place(*at));
        html.raw("<line x1=\"0\" x2=\"100%\" y1=\"")
            .coordinate(down)
            .raw("%\" y2=\"")
            .coordinate(down)
            .raw("%\"/>");
        html.raw("<text x=\"-8\" dy=\".32em\" text-anchor=\"end\" y=\"")
            .coordinate(down)
            .raw("%\">")
            .text(label)
            .raw("</text>");
    }
    html.raw("<line class=\"axis\" x1=\"0\" x2=\"100%\" y1=\"100%\" y2=\"100%\"/>");
    for (at, label) in &x.ticks {
        let right = 100.0 * x.place(*at);
        html.raw("<text y=\"100%\" dy=\"18\" text-anchor=\"middle\" x=\"")
            .coordinate(right)
            .raw("%\">")
            .text(label)
            .raw("</text>");
    }
    html.raw("<text class=\"of\" x=\"100%\" y=\"100%\" dy=\"33\" text-anchor=\"end\">")
        .text(x_label)
        .raw("</text></g>");
    html
}

/// Appends `M x y x y ...` in the curves' own units.
pub(crate) fn path(points: &[(f64, f64)], x: &Axis, y: &Axis, html: &mut Html) {
    for (idx, (at, value)) in points.iter().enumerate() {
        html.raw(if idx == 0 { "M" } else { " " });
        html.coordinate((x.place(*at) * UNITS.0).round());
        html.raw(" ")
            .coordinate(((1.0 - y.place(*value)) * UNITS.1).round());
    }
}

/// Draws the bounds as whiskers and every point as a dot.
fn mark(line: &Line, x: &Axis, y: &Axis, html: &mut Html) {
    html.raw("<g class=\"").raw(line.ink.class()).raw("\">");
    for (at, value) in &line.points {
        html.raw("<circle r=\"2.6\" cx=\"")
            .coordinate(100.0 * x.place(*at));
        html.raw("%\" cy=\"")
            .coordinate(100.0 * (1.0 - y.place(*value)))
            .raw("%\"/>");
    }
    html.raw("</g>");
}

/// First and last value of a line, for charts of many.
fn short_story(line: &Line) -> Option<String> {
    let (first, last) = (line.points.first()?, line.points.last()?);
    Some(if line.points.len() == 1 {
        number(first.1)
    } else {
        format!("{} → {}", number(first.1), number(last.1))
    })
}

/// First, last, lowest and highest value of a line.
fn story(line: &Line) -> Option<String> {
    let (first, last) = (line.points.first()?, line.points.last()?);
    let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
    let lowest = line.points.iter().min_by(by_value)?;
    let highest = line.points.iter().max_by(by_value)?;
    let at = |point: &(f64, f64)| format!("{} at {}", number(point.1), number(point.0));
    Some(match line.points.len() {
        1 => at(first),
        2 => format!("{}, {}", at(first), at(last)),
        _ => format!(
            "{} → {}, lowest {}, highest {}",
            number(first.1),
            number(last.1),
            at(lowest),
            at(highest)
        ),
    })
}

/// Lowest and highest value.
fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::MAX, f64::MIN), |(low, high), value| {
        (low.min(value), high.max(value))
    })
}

/// Five significant digits, which is more than anybody reads off a curve.
fn shortened(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

/// Ticks at the given values, leaving out those too close to the one before.
fn apart(values: &[f64], low: f64, high: f64) -> Vec<(f64, String)> {
    let least = (high / low).ln() / 7.0;
    let mut ticks: Vec<(f64, String)> = Vec::new();
    for value in values {
        if ticks
            .last()
            .is_none_or(|(last, _)| least <= (value / last).ln())
        {
            ticks.push((*value, number(*value)));
        }
    }
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, points: &[(f64, f64)], ink: Ink) -> Line {
        Line {
            name: name.to_owned(),
            points: points.to_vec(),
            bounds: Vec::new(),
            ink,
        }
    }

    fn drawn(span: Span, lines: Vec<Line>) -> String {
        let chart = Chart {
            title: "T".to_owned(),
            unit: "u".to_owned(),
            x_label: "step".to_owned(),
            across: Across::Counted,
            span,
            is_smoothed: true,
            lines,
        };
        chart.figure().into_string()
    }

    fn check(markup: &str, texts: &[&str]) {
        for text in texts {
            assert!(markup.contains(text), "no `{text}` in {markup}");
        }
    }

    #[test]
    fn points_stand_where_the_axes_say() {
        let markup = drawn(
            Span::Share,
            vec![line(
                "a",
                &[(0.0, 0.0), (5.0, 1.0), (10.0, 0.5)],
                Ink::Run(0),
            )],
        );
        check(
            &markup,
            &[
                // The axis goes from -0.02 to 1.02, and 1500 units down.
                "class=\"line run-0\" d=\"M0 1471 2000 29 4000 750\"",
                "cx=\"50%\" cy=\"1.92%\"",
                "<text x=\"-8\" dy=\".32em\" text-anchor=\"end\" y=\"1.92%\">1.0</text>",
                "text-anchor=\"middle\" x=\"50%\">5</text>",
                "0 → 0.5, lowest 0 at 0, highest 1 at 5",
                "data-range=\"[0.0,10.0,0]\"",
            ],
        );
        assert!(!markup.contains("legend"), "one line needs none");
    }

    #[test]
    fn positive_values_of_many_sizes_stand_on_powers_of_ten() {
        let markup = drawn(
            Span::Measured,
            vec![line(
                "kl",
                &[(0.0, 1e-6), (1.0, 1e-4), (2.0, 1.0)],
                Ink::Run(0),
            )],
        );
        check(
            &markup,
            &["u, powers of ten", "d=\"M0 1500 2000 1000 4000 0\""],
        );
    }

    #[test]
    fn two_runs_differ_in_class_and_have_a_legend() {
        let markup = drawn(
            Span::Measured,
            vec![
                line("mine", &[(0.0, 1.0), (1.0, 2.0)], Ink::Run(0)),
                line("theirs", &[(0.0, 2.0)], Ink::Against(0)),
            ],
        );
        check(
            &markup,
            &[
                "<ul class=\"legend\">",
                "class=\"line run-0\"",
                "class=\"line against-0\"",
                "<b>theirs</b> 2 at 0",
            ],
        );
    }

    #[test]
    fn long_lines_are_drawn_raw_and_smoothed() {
        let points: Vec<(f64, f64)> = (0..50).map(|x| (f64::from(x), f64::from(x % 2))).collect();
        let markup = drawn(Span::Share, vec![line("a", &points, Ink::Run(0))]);
        check(
            &markup,
            &["class=\"line raw run-0\"", "class=\"line run-0\""],
        );
        assert!(!markup.contains("<circle"), "too many to mark");
    }

    #[test]
    fn nothing_measured_is_no_chart() {
        assert_eq!(drawn(Span::Share, Vec::new()), "");
        assert_eq!(drawn(Span::Share, vec![line("a", &[], Ink::Run(0))]), "");
    }
}
