//! Rules about what is learned: entropy, reward, and accuracy on held-out documents.

use crate::Severity::{Fault, Warning};
use crate::StepRange;
use crate::series::{Judged, Point, Series, Sign, WINDOW, ends, longest_stretch, steps, values};
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
    entropy(series, |start, entropy| entropy < level(start))
}

pub(crate) fn entropy_growth(series: &Series<'_>) -> Judged {
    entropy(series, |start, entropy| {
        (GROWN_TIMES * start).max(start + GROWN_NATS) < entropy
    })
}

/// The longest stretch of steps whose entropy is out of bounds while the reward has not risen.
fn entropy(series: &Series<'_>, is_out: impl Fn(f64, f64) -> bool) -> Judged {
    let [entropies, rewards] = series.all(&["entropy", "reward"], 2 * WINDOW)?;
    let start = mean(&values(&entropies[..WINDOW]));
    let Some(stretch) = longest_stretch(&entropies, WINDOW, |point| is_out(start, point.value))
    else {
        return Ok(Vec::new());
    };
    let before = mean(&values(&rewards[..WINDOW]));
    let during = mean(&values(&rewards[stretch.clone()]));
    if NEAR_FULL <= during || before + RISE < during {
        return Ok(Vec::new());
    }
    let stretch = &entropies[stretch];
    Ok(vec![Sign {
        severity: Fault,
        steps: steps(stretch),
        evidence: format!(
            "entropy {} nats a token against {} in the first {WINDOW} steps; reward {} against {}",
            number(mean(&values(stretch))),
            number(start),
            number(during),
            number(before)
        ),
    }])
}

pub(crate) fn reward_fall(series: &Series<'_>) -> Judged {
    let [rewards] = series.all(&["reward"], 2 * WINDOW)?;
    let all = values(&rewards);
    let windows: Vec<&[f64]> = all.windows(WINDOW).collect();
    let (_, last) = ends(&rewards);
    let end = mean(&last);
    let (mut peak_idx, mut peak) = (0, f64::MIN);
    for (idx, window) in windows.iter().enumerate() {
        if peak < mean(window) {
            (peak_idx, peak) = (idx, mean(window));
        }
    }
    let lost = peak - end;
    if lost <= FALLEN * peak || lost <= ERRORS * standard_error(windows[peak_idx], &last) {
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
