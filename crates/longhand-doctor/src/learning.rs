//! Rules about what is learned: entropy, reward, and accuracy on held-out documents.

use crate::Severity::{Fault, Warning};
use crate::StepRange;
use crate::series::{
    Judged, Point, Series, Sign, WINDOW, at, ends, longest_stretch, steps, values,
};
use crate::statistics::{mean, standard_error};
use crate::text::number;

/// A mean outcome that gained less has not risen.
pub(crate) const RISE: f64 = 0.05;
/// Rewards of 0 to 1 that are higher have no room to rise.
pub(crate) const NEAR_FULL: f64 = 0.9;

/// Entropy in nats a token below which nothing new is tried.
pub(crate) const COLLAPSED_NATS: f64 = 0.05;
/// Share of the start's entropy, likewise.
pub(crate) const COLLAPSED_SHARE: f64 = 0.1;
/// Share of the start's entropy below which it has, where the texts have shrivelled as well.
pub(crate) const SPARSE_SHARE: f64 = 0.25;
/// Share of the start's tokens below which they have.
pub(crate) const SHRIVELLED_SHARE: f64 = 0.5;
/// Times the start's entropy from which it has grown.
pub(crate) const GROWN_TIMES: f64 = 2.0;
/// Nats a token that it must have gained as well.
pub(crate) const GROWN_NATS: f64 = 0.5;

/// Share of the peak that may be lost.
pub(crate) const FALLEN: f64 = 0.3;
/// Share whose loss is a collapse.
pub(crate) const COLLAPSED: f64 = 0.5;
/// Standard errors that a fall must have, so that noise is none.
pub(crate) const ERRORS: f64 = 3.0;

/// Accuracy that held-out documents may lose from their best measurement.
pub(crate) const HELD_OUT_FALL: f64 = 0.05;
/// Standard errors that the loss must have as well: 95 % of a normal distribution.
pub(crate) const HELD_OUT_ERRORS: f64 = 1.96;
/// Reward gained meanwhile that makes it overfitting.
pub(crate) const OVERFIT_RISE: f64 = 0.02;

pub(crate) fn entropy_collapse(series: &Series<'_>) -> Judged {
    let level = |start: f64| {
        // A policy that starts below the level in nats has not fallen there.
        let nats = if start < COLLAPSED_NATS {
            0.0
        } else {
            COLLAPSED_NATS
        };
        nats.max(COLLAPSED_SHARE * start)
    };
    let tokens = series.optional("response_tokens");
    let start_tokens = mean(&values(&tokens[..WINDOW.min(tokens.len())]));
    let is_shrivelled =
        |step| at(&tokens, step).is_some_and(|n| n < SHRIVELLED_SHARE * start_tokens);
    entropy(series, |start, point| {
        point.value < level(start)
            || (point.value < SPARSE_SHARE * start && is_shrivelled(point.step))
    })
}

pub(crate) fn entropy_growth(series: &Series<'_>) -> Judged {
    entropy(series, |start, point| {
        (GROWN_TIMES * start).max(start + GROWN_NATS) < point.value
    })
}

/// The longest stretch of steps whose entropy is out of bounds while the reward has not risen.
fn entropy(series: &Series<'_>, is_out: impl Fn(f64, &Point) -> bool) -> Judged {
    let [entropies, rewards] = series.all(series.entropy_key(), 2 * WINDOW)?;
    let start = mean(&values(&entropies[..WINDOW]));
    let Some(stretch) = longest_stretch(&entropies, WINDOW, |point| is_out(start, point)) else {
        return Ok(Vec::new());
    };
    let before = mean(&values(&rewards[..WINDOW]));
    let during = mean(&values(&rewards[stretch.clone()]));
    if NEAR_FULL <= during || before + RISE < during {
        return Ok(Vec::new());
    }
    let stretch = &entropies[stretch];
    let range = steps(stretch);
    Ok(vec![Sign {
        severity: Fault,
        steps: range,
        evidence: format!(
            "entropy {} nats a token against {} in the first {WINDOW} steps; reward {} against {}{}{}",
            number(mean(&values(stretch))),
            number(start),
            number(during),
            number(before),
            beside(series, "response_tokens", "attempts have", "tokens", range),
            beside(series, "self_certainty", "self-certainty is", "nats", range)
        ),
    }])
}

/// What another key says of the same steps, where it was recorded.
fn beside(
    series: &Series<'_>,
    key: &'static str,
    what: &str,
    unit: &str,
    range: StepRange,
) -> String {
    let Some((start, within)) = start_and_within(&series.optional(key), range) else {
        return String::new();
    };
    let (within, start) = (number(within), number(start));
    format!("; {what} {within} {unit} against {start}")
}

/// Means over the first [`WINDOW`] points and over those within a range; `None` without such.
pub(crate) fn start_and_within(points: &[Point], range: StepRange) -> Option<(f64, f64)> {
    let within: Vec<f64> = points
        .iter()
        .filter(|point| (range.first..=range.last).contains(&point.step))
        .map(|point| point.value)
        .collect();
    (WINDOW <= points.len() && !within.is_empty())
        .then(|| (mean(&values(&points[..WINDOW])), mean(&within)))
}

pub(crate) fn reward_fall(series: &Series<'_>) -> Judged {
    let [rewards] = series.all(&["reward"], 2 * WINDOW)?;
    let (_, last) = ends(&rewards);
    let end = mean(&last);
    let (peak_idx, peak) = peak_window(&rewards);
    let at_peak = values(&rewards[peak_idx..peak_idx + WINDOW]);
    let lost = peak - end;
    if lost <= FALLEN * peak || lost <= ERRORS * standard_error(&at_peak, &last) {
        return Ok(Vec::new());
    }
    Ok(vec![Sign {
        severity: if COLLAPSED * peak < lost {
            Fault
        } else {
            Warning
        },
        steps: StepRange {
            first: rewards[peak_idx + WINDOW - 1].step,
            last: rewards[rewards.len() - 1].step,
        },
        evidence: format!(
            "the mean reward of {WINDOW} steps fell from {} to {}, {} % of its peak",
            number(peak),
            number(end),
            number(100.0 * end / peak)
        ),
    }])
}

/// Where the [`WINDOW`] points of the highest mean begin, and that mean; the first of equal ones.
pub(crate) fn peak_window(points: &[Point]) -> (usize, f64) {
    let (mut peak_idx, mut peak) = (0, f64::MIN);
    for (idx, window) in points.windows(WINDOW).enumerate() {
        let level = mean(&values(window));
        if peak < level {
            (peak_idx, peak) = (idx, level);
        }
    }
    (peak_idx, peak)
}

pub(crate) fn overfit(series: &Series<'_>) -> Judged {
    let [rewards] = series.all(&["reward"], 2 * WINDOW)?;
    let (range, change) = series.held_out_from_best()?;
    let fall = change.before - change.after;
    let (then, now) = (
        reward_before(&rewards, range.first),
        reward_before(&rewards, range.last),
    );
    if fall <= HELD_OUT_FALL || fall <= HELD_OUT_ERRORS * change.error || now <= then + OVERFIT_RISE
    {
        return Ok(Vec::new());
    }
    Ok(vec![Sign {
        severity: Warning,
        steps: range,
        evidence: format!(
            "held-out accuracy fell from {} to {} while the training reward rose from {} to {}",
            number(change.before),
            number(change.after),
            number(then),
            number(now)
        ),
    }])
}

/// Mean reward of the last [`WINDOW`] steps before `step`, or of the first ones of the run.
fn reward_before(rewards: &[Point], step: u64) -> f64 {
    let end = rewards
        .partition_point(|point| point.step < step)
        .max(WINDOW);
    mean(&values(&rewards[end - WINDOW..end]))
}
