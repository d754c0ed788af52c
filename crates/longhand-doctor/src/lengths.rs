//! Rules about the length of what is written: rewards that pay for length, and texts that shrivel.

use crate::Severity::{Note, Warning};
use crate::learning::RISE;
use crate::series::{Judged, Lack, Point, Series, Sign, WINDOW, ends, most_telling, steps, values};
use crate::statistics::{correlation, mean};
use crate::text::number;

/// Times the start's length from which it has grown.
pub(crate) const GROWN_TIMES: f64 = 1.5;
/// Times the start's length below which it has collapsed.
pub(crate) const SHRUNK_TIMES: f64 = 0.5;
/// Correlation of length and reward over the steps from which the two go together.
pub(crate) const CORRELATED: f64 = 0.5;
/// Held-out accuracy that, gained, excuses both.
pub(crate) const HELD_OUT_RISE: f64 = 0.02;

/// What is measured, and how it is called.
const LENGTHS: [(&[&str; 2], &str); 3] = [
    (&["memory_tokens", "reward"], "notes"),
    (&["answer_tokens", "reward"], "answers"),
    (&["response_tokens", "reward"], "attempts"),
];

pub(crate) fn length_growth(series: &Series<'_>) -> Judged {
    of_each(series, |name, lengths, rewards| {
        let (start, end) = means_of_ends(lengths);
        let together = correlation(&values(lengths), &values(rewards)).unwrap_or(0.0);
        if end <= GROWN_TIMES * start || together < CORRELATED {
            return None;
        }
        let (held_out, severity) = match series.held_out_change() {
            Some(change) if HELD_OUT_RISE <= change.after - change.before => return None,
            Some(change) => (
                format!(
                    "held-out accuracy went from {} to {}",
                    number(change.before),
                    number(change.after)
                ),
                Warning,
            ),
            None => (
                "nothing was measured on held-out documents".to_owned(),
                Note,
            ),
        };
        Some(Sign {
            severity,
            steps: steps(lengths),
            evidence: format!(
                "{name} grew from {} to {} tokens, in step with the reward (correlation {}), and {held_out}",
                number(start),
                number(end),
                number(together)
            ),
        })
    })
}

pub(crate) fn length_collapse(series: &Series<'_>) -> Judged {
    of_each(series, |name, lengths, rewards| {
        let (start, end) = means_of_ends(lengths);
        let (before, after, what, rise) = match series.held_out_change() {
            Some(change) => (
                change.before,
                change.after,
                "held-out accuracy",
                HELD_OUT_RISE,
            ),
            None => {
                let (before, after) = means_of_ends(rewards);
                (before, after, "the reward", RISE)
            }
        };
        if SHRUNK_TIMES * start <= end || rise <= after - before {
            return None;
        }
        Some(Sign {
            severity: Warning,
            steps: steps(lengths),
            evidence: format!(
                "{name} shrank from {} to {} tokens while {what} went from {} to {}",
                number(start),
                number(end),
                number(before),
                number(after)
            ),
        })
    })
}

fn means_of_ends(points: &[Point]) -> (f64, f64) {
    let (first, last) = ends(points);
    (mean(&first), mean(&last))
}

/// Judges notes and answers, and whole attempts where neither of them shows anything; lacks something
/// only where all do.
fn of_each(
    series: &Series<'_>,
    judge: impl Fn(&str, &[Point], &[Point]) -> Option<Sign>,
) -> Judged {
    let mut signs = Vec::new();
    let mut lacks: Vec<Lack> = Vec::new();
    for (keys, name) in LENGTHS {
        match series.all(keys, 2 * WINDOW) {
            Ok(_) if name == "attempts" && !signs.is_empty() => {}
            Ok([lengths, rewards]) => signs.extend(judge(name, &lengths, &rewards)),
            Err(lack) => lacks.push(lack),
        }
    }
    if lacks.len() == LENGTHS.len() {
        return Err(most_telling(lacks));
    }
    Ok(signs)
}
