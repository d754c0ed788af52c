//! Held-out accuracy: by document length before and after, and over steps.

use crate::chart::{Across, Chart, Ink, Line, Span};
use crate::html::Html;
use crate::load::{Eval, LengthScore, Loaded};
use crate::numbers::{change, number, percent};
use crate::sections::{Pair, retention};

/// Most lengths that are followed over steps.
const MOST_LENGTHS: usize = 4;
pub(crate) const WARM_START: &str = "warm-start";

/// Charts and a table of accuracy by length; nothing where nothing was measured.
pub(crate) fn section(pair: Pair<'_>) -> Html {
    let mut html = Html::new();
    let temperatures = temperatures(pair);
    if temperatures.is_empty() {
        return html;
    }
    html.raw("<section id=\"lengths\"><h2>Held-out accuracy</h2>");
    let mut charts = Html::new();
    for temperature in &temperatures {
        charts.add(&by_length(pair, *temperature).figure());
    }
    charts.add(&over_steps(pair).figure());
    if !charts.is_empty() {
        html.raw("<div class=\"charts\">")
            .add(&charts)
            .raw("</div>");
    }
    html.raw("<p class=\"how\">Bands and brackets are 95 % Wilson intervals.</p>");
    table(pair, &temperatures, &mut html);
    retention::table(pair, &temperatures, &mut html);
    html.raw("</section>");
    html
}

/// The first and the last measurement of a run at a temperature, outside the warm start.
struct Ends<'a> {
    before: Option<&'a Eval>,
    after: Option<&'a Eval>,
}

impl Ends<'_> {
    /// What the later measurement is called.
    fn after_name(&self) -> String {
        match self.after {
            Some(eval) if eval.label == "after" => "after".to_owned(),
            Some(eval) => format!("at step {}", eval.n_steps),
            None => "after".to_owned(),
        }
    }
}

fn ends(run: &Loaded, temperature: f64) -> Ends<'_> {
    let evals = || {
        run.evals
            .iter()
            .filter(|eval| eval.temperature == temperature && eval.label != WARM_START)
    };
    let later = || evals().filter(|eval| eval.label != "before");
    Ends {
        before: evals().find(|eval| eval.label == "before"),
        after: later()
            .rfind(|eval| eval.label == "after")
            .or_else(|| later().next_back()),
    }
}

/// Name, value and note of the accuracy at the shortest and the longest length, where the most
/// probable tokens were taken if that was measured.
pub(crate) fn headlines(run: &Loaded) -> Vec<(String, String, String)> {
    let pair = Pair { run, against: None };
    let Some(temperature) = temperatures(pair).into_iter().next() else {
        return Vec::new();
    };
    let ends = ends(run, temperature);
    let Some(last) = ends.after.or(ends.before) else {
        return Vec::new();
    };
    let by_length = |a: &&LengthScore, b: &&LengthScore| a.n_tokens.total_cmp(&b.n_tokens);
    let shortest = last.lengths.iter().min_by(by_length);
    let longest =
        last.lengths.iter().max_by(by_length).filter(|longest| {
            shortest.is_some_and(|shortest| shortest.n_tokens < longest.n_tokens)
        });
    let headline = |score: &LengthScore| {
        let before = ends.before.filter(|_| ends.after.is_some());
        let before = before.and_then(|eval| at_length(eval, score.n_tokens));
        let value = match before {
            Some(before) => format!("{} → {}", percent(before.accuracy), percent(score.accuracy)),
            None => percent(score.accuracy),
        };
        let when = if ends.after.is_some() {
            ends.after_name()
        } else {
            "before training".to_owned()
        };
        let note = format!("{}; {when} {}", sampling(temperature), interval(*score));
        (
            format!("Accuracy, {} tokens", number(score.n_tokens)),
            value,
            note,
        )
    };
    shortest.into_iter().chain(longest).map(headline).collect()
}

/// A measurement's score at a length.
pub(crate) fn at_length(eval: &Eval, n_tokens: f64) -> Option<LengthScore> {
    eval.lengths
        .iter()
        .find(|score| score.n_tokens == n_tokens)
        .copied()
}

fn temperatures(pair: Pair<'_>) -> Vec<f64> {
    let evals = pair.runs().flat_map(|(run, _)| &run.evals);
    let mut all: Vec<f64> = evals
        .filter(|eval| eval.label != WARM_START)
        .map(|eval| eval.temperature)
        .collect();
    all.sort_by(f64::total_cmp);
    all.dedup();
    all
}

/// How tokens were chosen at a temperature.
pub(crate) fn sampling(temperature: f64) -> String {
    if temperature == 0.0 {
        "most probable tokens".to_owned()
    } else {
        format!("temperature {}", number(temperature))
    }
}

/// The chart of one temperature; without points where fewer than two lengths were measured.
fn by_length(pair: Pair<'_>, temperature: f64) -> Chart {
    let mut lines = Vec::new();
    let mut lengths: Vec<f64> = Vec::new();
    for (run, is_other) in pair.runs() {
        let ends = ends(run, temperature);
        let (before, after) = if is_other {
            (Ink::AgainstBefore, Ink::Against(0))
        } else {
            (Ink::Before, Ink::Run(0))
        };
        for (eval, name, ink) in [
            (ends.after, ends.after_name(), after),
            (ends.before, "before".to_owned(), before),
        ] {
            let Some(eval) = eval else { continue };
            let mut scores = eval.lengths.clone();
            scores.sort_by(|a, b| a.n_tokens.total_cmp(&b.n_tokens));
            lengths.extend(scores.iter().map(|score| score.n_tokens));
            lines.push(Line {
                name: pair.name(&name, run),
                points: scores
                    .iter()
                    .map(|score| (score.n_tokens, score.accuracy))
                    .collect(),
                bounds: scores.iter().map(|score| (score.low, score.high)).collect(),
                ink,
            });
        }
    }
    lengths.sort_by(f64::total_cmp);
    lengths.dedup();
    if lengths.len() < 2 {
        lines.clear();
    }
    Chart {
        title: "Accuracy by document length".to_owned(),
        unit: format!("share of documents, {}", sampling(temperature)),
        x_label: "document length in tokens".to_owned(),
        across: Across::Doublings(lengths),
        span: Span::Share,
        is_smoothed: false,
        lines,
    }
}

fn table(pair: Pair<'_>, temperatures: &[f64], html: &mut Html) {
    html.raw("<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Sampling</th><th scope=\"col\">tokens</th><th scope=\"col\">documents</th>");
    for (run, _) in pair.runs() {
        let mut names = temperatures
            .iter()
            .map(|t| ends(run, *t))
            .filter(|ends| ends.after.is_some());
        let after = names
            .next()
            .map_or("after".to_owned(), |ends| ends.after_name());
        for what in ["before", after.as_str(), "change"] {
            html.wrap("<th scope=\"col\">", pair.name(what, run), "</th>");
        }
    }
    html.raw("</tr></thead><tbody>");
    for temperature in temperatures {
        let ends: Vec<Ends<'_>> = pair
            .runs()
            .map(|(run, _)| ends(run, *temperature))
            .collect();
        let scores = ends
            .iter()
            .flat_map(|ends| [ends.before, ends.after])
            .flatten()
            .flat_map(|eval| &eval.lengths);
        let mut lengths: Vec<f64> = scores.map(|score| score.n_tokens).collect();
        lengths.sort_by(f64::total_cmp);
        lengths.dedup();
        for length in lengths {
            html.raw("<tr><th scope=\"row\">")
                .text(sampling(*temperature))
                .raw("</th>");
            html.wrap("<td>", number(length), "</td>");
            html.wrap("<td>", n_documents(&ends, length), "</td>");
            for ends in &ends {
                let at = |eval: Option<&Eval>| eval.and_then(|eval| at_length(eval, length));
                let (before, after) = (at(ends.before), at(ends.after));
                html.wrap("<td>", cell(before), "</td>")
                    .raw("<td>")
                    .text(cell(after));
                html.raw("</td><td>");
                match (before, after) {
                    (Some(before), Some(after)) => {
                        let points = ((after.accuracy - before.accuracy) * 1000.0).round() / 10.0;
                        html.text(change(points)).raw(" points")
                    }
                    _ => html.raw("–"),
                };
                html.raw("</td>");
            }
            html.raw("</tr>");
        }
    }
    html.raw("</tbody></table></div>");
}

/// Documents of that length; of two runs both numbers where they differ.
fn n_documents(ends: &[Ends<'_>], length: f64) -> String {
    let of_run = |ends: &Ends<'_>| {
        let scores = [ends.after, ends.before].into_iter().flatten();
        let mut scores = scores.filter_map(|eval| at_length(eval, length));
        scores.next().map(|score| number(score.n_documents as f64))
    };
    let mut said: Vec<String> = ends.iter().filter_map(of_run).collect();
    said.dedup();
    said.join(" and ")
}

fn cell(score: Option<LengthScore>) -> String {
    score.map_or("–".to_owned(), |score| {
        format!("{} {}", percent(score.accuracy), interval(score))
    })
}

fn interval(score: LengthScore) -> String {
    format!("[{:.1}, {:.1}]", score.low * 100.0, score.high * 100.0)
}

/// Accuracy over steps of reinforcement learning.
fn over_steps(pair: Pair<'_>) -> Chart {
    let evals = |run: &Loaded| -> Vec<(f64, Eval)> {
        let evals = run.evals.iter().filter(|eval| eval.label != WARM_START);
        evals
            .map(|eval| (eval.n_steps as f64, eval.clone()))
            .collect()
    };
    over("Accuracy over steps", "step", pair, evals)
}

/// Accuracy over steps of the warm start.
pub(crate) fn over_warm_start(pair: Pair<'_>) -> Chart {
    let evals = |run: &Loaded| -> Vec<(f64, Eval)> {
        let evals = run.evals.iter().filter(|eval| eval.label == WARM_START);
        evals
            .map(|eval| (eval.n_warm_start_steps as f64, eval.clone()))
            .collect()
    };
    over(
        "Held-out accuracy in the warm start",
        "warm-start step",
        pair,
        evals,
    )
}

/// Accuracy at the temperature that was measured most often, a line per length.
fn over(
    title: &str,
    x_label: &str,
    pair: Pair<'_>,
    evals: impl Fn(&Loaded) -> Vec<(f64, Eval)>,
) -> Chart {
    let mine = evals(pair.run);
    let n_of = |temperature: f64| {
        mine.iter()
            .filter(|(_, eval)| eval.temperature == temperature)
            .count()
    };
    let most = mine
        .iter()
        .map(|(_, eval)| eval.temperature)
        .max_by_key(|temperature| n_of(*temperature));
    let temperature = most.unwrap_or(0.0);
    let lengths = followed(&mine, temperature);
    let mut lines = Vec::new();
    for (run, is_other) in pair.runs() {
        for (idx, length) in lengths.iter().enumerate() {
            let mut points: Vec<(f64, LengthScore)> = Vec::new();
            for (at, eval) in evals(run)
                .into_iter()
                .filter(|(_, eval)| eval.temperature == temperature)
            {
                let Some(score) = at_length(&eval, *length) else {
                    continue;
                };
                // The measurement after training stands where the last one during it stood.
                if points.last().is_some_and(|(last, _)| *last == at) {
                    points.pop();
                }
                points.push((at, score));
            }
            let what = if lengths.len() == 1 && pair.against.is_some() {
                String::new()
            } else {
                format!("{} tokens", number(*length))
            };
            lines.push(Line {
                name: pair.name(&what, run),
                bounds: if lengths.len() == 1 {
                    points
                        .iter()
                        .map(|(_, score)| (score.low, score.high))
                        .collect()
                } else {
                    Vec::new()
                },
                points: points
                    .iter()
                    .map(|(at, score)| (*at, score.accuracy))
                    .collect(),
                ink: if is_other {
                    Ink::Against(idx)
                } else {
                    Ink::Run(idx)
                },
            });
        }
    }
    lines.retain(|line| !line.points.is_empty());
    let length = match lengths.as_slice() {
        [length] => format!("{} tokens, ", number(*length)),
        _ => String::new(),
    };
    Chart {
        title: title.to_owned(),
        unit: format!("share of documents, {length}{}", sampling(temperature)),
        x_label: x_label.to_owned(),
        across: Across::Counted,
        span: Span::Share,
        is_smoothed: false,
        lines,
    }
}

/// The lengths measured at least twice; of many, a few from the shortest to the longest.
fn followed(evals: &[(f64, Eval)], temperature: f64) -> Vec<f64> {
    let at = || {
        evals
            .iter()
            .filter(|(_, eval)| eval.temperature == temperature)
    };
    let mut lengths: Vec<f64> = at()
        .flat_map(|(_, eval)| &eval.lengths)
        .map(|score| score.n_tokens)
        .collect();
    lengths.sort_by(f64::total_cmp);
    lengths.dedup();
    let n_times = |length: f64| {
        at().filter(|(_, eval)| eval.lengths.iter().any(|score| score.n_tokens == length))
            .count()
    };
    lengths.retain(|length| 2 <= n_times(*length));
    if MOST_LENGTHS < lengths.len() {
        let last = lengths.len() - 1;
        lengths = (0..MOST_LENGTHS)
            .map(|idx| lengths[idx * last / (MOST_LENGTHS - 1)])
            .collect();
    }
    lengths
}
