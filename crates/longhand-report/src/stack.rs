//! Parts of a whole by step, stacked: where each step's time went.

use serde_json::json;

use crate::chart::{Ink, frame, legend, path, range_for_script};
use crate::html::Html;
use crate::numbers::count;
use crate::ticks::Axis;

/// Most bars side by side; more steps share bars.
const MOST_BARS: usize = 120;

/// One part of the whole.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) name: &'static str,
    /// `[steps]`
    pub(crate) values: Vec<f64>,
}

/// A stacked chart of parts over steps; nothing without steps.
///
/// # Panics
///
/// If a part has another number of values than there are steps.
pub(crate) fn stacked(title: &str, unit: &'static str, steps: &[f64], parts: &[Part]) -> Html {
    let mut html = Html::new();
    let (Some(first), Some(last)) = (steps.first(), steps.last()) else {
        return html;
    };
    for part in parts {
        assert_eq!(part.values.len(), steps.len(), "values of {}", part.name);
    }
    let n_bars = steps.len().min(MOST_BARS);
    let bars: Vec<Vec<f64>> = parts
        .iter()
        .map(|part| means(&part.values, n_bars))
        .collect();
    let total = |bar: usize| bars.iter().map(|part| part[bar]).sum::<f64>();
    let highest = (0..n_bars).map(total).fold(0.0, f64::max);
    // A bar is as wide as its steps: the axis ends after the last one.
    let x = Axis::linear(*first, last + 1.0, 5, true);
    let y = Axis::roomy(0.0, highest, 5);
    html.raw("<figure class=\"chart\">")
        .wrap("<h3>", title, "</h3>");
    html.wrap("<p class=\"unit\">", unit, "</p>");
    let inks = || {
        parts
            .iter()
            .enumerate()
            .map(|(idx, part)| (part.name, Ink::Run(idx)))
    };
    html.add(&legend(inks()));
    html.raw("<div class=\"plot\"><svg role=\"img\" aria-label=\"")
        .text(title)
        .raw(" by step: ");
    for (part, values) in parts.iter().zip(&bars) {
        let mean = values.iter().sum::<f64>() / n_bars as f64;
        html.text(part.name)
            .raw(" ")
            .text(crate::numbers::duration(mean))
            .raw(" a step on average; ");
    }
    html.raw("\" data-x=\"step\" data-range=\"")
        .text(range_for_script(&x));
    html.raw("\" data-lines=\"")
        .text(for_script(steps, parts, &bars, n_bars))
        .raw("\">");
    html.add(&frame(&x, &y, "step"));
    html.raw("<svg class=\"curves\" viewBox=\"0 0 4000 1500\" preserveAspectRatio=\"none\" width=\"100%\" height=\"100%\">");
    let edge = |bar: usize| first + (last + 1.0 - first) * bar as f64 / n_bars as f64;
    let mut floor = vec![0.0; n_bars];
    for (values, (_, ink)) in bars.iter().zip(inks()) {
        let top: Vec<f64> = floor
            .iter()
            .zip(values)
            .map(|(floor, value)| floor + value)
            .collect();
        let outline = |heights: &[f64]| -> Vec<(f64, f64)> {
            let sides =
                |(bar, height): (usize, &f64)| [(edge(bar), *height), (edge(bar + 1), *height)];
            heights.iter().enumerate().flat_map(sides).collect()
        };
        let mut area = outline(&top);
        area.extend(outline(&floor).into_iter().rev());
        html.raw("<path class=\"area ")
            .raw(ink.class())
            .raw("\" d=\"");
        path(&area, &x, &y, &mut html);
        html.raw("Z\"/>");
        floor = top;
    }
    html.raw("</svg></svg></div><figcaption>");
    if n_bars < steps.len() {
        let per_bar = steps.len().div_ceil(n_bars);
        html.raw("<span class=\"how\">Each bar is the mean of up to ")
            .text(count(per_bar, "step", "steps"))
            .raw(".</span>");
    } else {
        html.raw("<span class=\"how\">One bar per step.</span>");
    }
    html.raw("</figcaption></figure>");
    html
}

/// Means of `n_bars` stretches of equal length.
fn means(values: &[f64], n_bars: usize) -> Vec<f64> {
    let stretches = (0..n_bars).map(|bar| {
        let stretch = &values[bar * values.len() / n_bars..(bar + 1) * values.len() / n_bars];
        stretch.iter().sum::<f64>() / stretch.len() as f64
    });
    stretches.collect()
}

fn for_script(steps: &[f64], parts: &[Part], bars: &[Vec<f64>], n_bars: usize) -> String {
    let xs: Vec<f64> = (0..n_bars)
        .map(|bar| steps[bar * steps.len() / n_bars])
        .collect();
    let lines = parts
        .iter()
        .zip(bars)
        .enumerate()
        .map(|(idx, (part, values))| {
            let ys: Vec<f64> = values
                .iter()
                .map(|value| (value * 1e5).round() / 1e5)
                .collect();
            json!({"n": part.name, "c": Ink::Run(idx).class(), "x": xs, "y": ys})
        });
    json!(lines.collect::<Vec<_>>()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stand_on_each_other() {
        let part = |name, values: &[f64]| Part {
            name,
            values: values.to_vec(),
        };
        let parts = [part("low", &[1.0, 2.0]), part("high", &[1.0, 0.0])];
        let markup = stacked("Time", "seconds", &[4.0, 5.0], &parts).into_string();
        // The axis goes up to 2.12; the lower part is 1 high in the first step and 2 in the second.
        let places = [
            "class=\"area run-0\" d=\"M0 792 2000 792 2000 85 4000 85 4000 1500 2000 1500 2000 1500 0 1500Z\"",
            "class=\"area run-1\" d=\"M0 85 2000 85 2000 85 4000 85 4000 85 2000 85 2000 792 0 792Z\"",
            "One bar per step.",
            "low 1.50 s a step on average",
        ];
        for place in places {
            assert!(markup.contains(place), "no `{place}` in {markup}");
        }
        assert!(stacked("Time", "seconds", &[], &[]).is_empty());
    }

    #[test]
    fn many_steps_share_bars() {
        assert_eq!(means(&[1.0, 3.0, 5.0, 7.0], 2), [2.0, 6.0]);
        assert_eq!(means(&[1.0, 3.0, 5.0], 2), [1.0, 4.0]);
    }
}
