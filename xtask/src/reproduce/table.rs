//! The table of a comparison: one row for each method, means over seeds with their range.

use super::summary::Summary;

const HEADER: &str = "\
| method | greedy: start | peak | end | retention | collapse step | sampled: start | end | entropy | tokens | vote right |
|---|---|---|---|---|---|---|---|---|---|---|
";

/// Accuracies in percent, entropies in nats a token; what varies from step to step over the last steps.
pub(crate) fn markdown(rows: &[(&str, Vec<Summary>)]) -> String {
    let mut text = HEADER.to_owned();
    for (method, summaries) in rows {
        let percent = |of: fn(&Summary) -> f64| range(summaries, 100.0, 1, of);
        let cells = [
            (*method).to_owned(),
            percent(|one| one.start),
            percent(|one| one.peak),
            percent(|one| one.end),
            percent(|one| one.retention),
            collapses(summaries),
            percent(|one| one.sampled[0]),
            percent(|one| one.sampled[1]),
            range(summaries, 1.0, 3, |one| one.entropy),
            range(summaries, 1.0, 1, |one| one.response_tokens),
            percent(|one| one.label_accuracy),
        ];
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    text
}

/// `0.98 (0.97-0.99)`; the mean alone where all are the same.
fn range(summaries: &[Summary], scale: f64, digits: usize, of: fn(&Summary) -> f64) -> String {
    let values = || summaries.iter().map(|one| scale * of(one));
    let mean = values().sum::<f64>() / summaries.len() as f64;
    let low = format!("{:.digits$}", values().fold(f64::INFINITY, f64::min));
    let high = format!("{:.digits$}", values().fold(f64::NEG_INFINITY, f64::max));
    if low == high {
        return low;
    }
    format!("{mean:.digits$} ({low}-{high})")
}

/// The steps of those that collapsed, in the order of the seeds.
fn collapses(summaries: &[Summary]) -> String {
    let step = |one: &Summary| {
        one.collapse_step
            .map_or("-".to_owned(), |step| step.to_string())
    };
    if summaries.iter().all(|one| one.collapse_step.is_none()) {
        return "-".to_owned();
    }
    summaries.iter().map(step).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_stand_with_their_ranges() {
        let one = Summary {
            start: 0.9,
            peak: 0.95,
            end: 0.8,
            retention: 0.8421,
            collapse_step: None,
            sampled: [0.3, 0.7],
            entropy: 0.5,
            response_tokens: 20.0,
            label_accuracy: 1.0,
        };
        let other = Summary {
            end: 0.1,
            retention: 0.1053,
            collapse_step: Some(120),
            entropy: 0.3,
            ..one
        };
        let text = markdown(&[("circa", vec![one, other]), ("grpo", vec![one])]);
        let rows: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| circa | 90.0 | 95.0 | 45.0 (10.0-80.0) | 47.4 (10.5-84.2) | -, 120 | 30.0 | 70.0 | \
                 0.400 (0.300-0.500) | 20.0 | 100.0 |",
                "| grpo | 90.0 | 95.0 | 80.0 | 84.2 | - | 30.0 | 70.0 | 0.500 | 20.0 | 100.0 |",
            ]
        );
    }
}
