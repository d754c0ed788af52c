//! The table of what each evaluated set kept of its best accuracy.

use longhand_doctor::Retention;

use crate::html::Html;
use crate::load::Loaded;
use crate::numbers::{number, percent};
use crate::sections::Pair;
use crate::sections::lengths::{WARM_START, at_length, sampling};

const COLUMNS: [&str; 5] = ["peak", "step of peak", "collapse step", "end", "retention"];

/// A row for each temperature and length that a run measured at least twice; nothing without any.
pub(crate) fn table(pair: Pair<'_>, temperatures: &[f64], html: &mut Html) {
    let mut rows: Vec<(f64, f64)> = Vec::new();
    for temperature in temperatures {
        let mut lengths: Vec<f64> = pair
            .runs()
            .flat_map(|(run, _)| &run.evals)
            .filter(|eval| eval.temperature == *temperature)
            .flat_map(|eval| &eval.lengths)
            .map(|score| score.n_tokens)
            .collect();
        lengths.sort_by(f64::total_cmp);
        lengths.dedup();
        let is_followed = |length: &f64| {
            pair.runs()
                .any(|(run, _)| 2 <= evaluations(run, *temperature, *length).len())
        };
        lengths.retain(is_followed);
        rows.extend(lengths.into_iter().map(|length| (*temperature, length)));
    }
    if rows.is_empty() {
        return;
    }
    html.raw("<p class=\"how\">The collapse step is the first measurement below half of the highest one before it; retention is the end as a share of the peak.</p>");
    html.raw("<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Sampling</th><th scope=\"col\">tokens</th>");
    for (run, _) in pair.runs() {
        for what in COLUMNS {
            html.wrap("<th scope=\"col\">", pair.name(what, run), "</th>");
        }
    }
    html.raw("</tr></thead><tbody>");
    for (temperature, length) in rows {
        html.raw("<tr><th scope=\"row\">")
            .text(sampling(temperature))
            .raw("</th>");
        html.wrap("<td>", number(length), "</td>");
        for (run, _) in pair.runs() {
            let kept = Retention::of(&evaluations(run, temperature, length));
            for cell in cells(kept) {
                html.wrap("<td>", cell, "</td>");
            }
        }
        html.raw("</tr>");
    }
    html.raw("</tbody></table></div>");
}

fn cells(kept: Option<Retention>) -> [String; COLUMNS.len()] {
    let none = || "–".to_owned();
    let Some(kept) = kept else {
        return std::array::from_fn(|_| none());
    };
    let step = |step: u64| number(step as f64);
    [
        percent(kept.peak),
        step(kept.peak_step),
        kept.collapse_step.map_or_else(none, step),
        percent(kept.end),
        percent(kept.retention),
    ]
}

/// `(steps done before it, accuracy)` of the measurements, outside the warm start.
fn evaluations(run: &Loaded, temperature: f64, n_tokens: f64) -> Vec<(u64, f64)> {
    let evals = run.evals.iter();
    let of_set = evals.filter(|eval| eval.temperature == temperature && eval.label != WARM_START);
    of_set
        .filter_map(|eval| Some((eval.n_steps as u64, at_length(eval, n_tokens)?.accuracy)))
        .collect()
}
