//! Rules about accuracy on held-out documents alone: collapse, and what was kept of the best.

use crate::Severity::{Fault, Warning};
use crate::retention::{COLLAPSED_BELOW, Retention};
use crate::series::{HeldOutPoint, Judged, Lack, Series, Sign};
use crate::statistics::share_error;
use crate::text::number;
use crate::{HeldOutRetention, Severity, StepRange};

/// Share of the peak that healthy runs keep.
pub(crate) const KEPT: f64 = 0.85;
/// Standard errors that a fall must have: 95 % of a normal distribution.
pub(crate) const ERRORS: f64 = 1.96;

/// The worst length: a collapse before a loss, and the one that kept least.
pub(crate) fn held_out_collapse(series: &Series<'_>) -> Judged {
    let by_length = series.held_out_by_length();
    let measured: Vec<_> = by_length
        .iter()
        .filter(|(_, points)| 2 <= points.len())
        .collect();
    if measured.is_empty() {
        return Err(Lack::HeldOut);
    }
    let mut worst: Option<(f64, Sign)> = None;
    for (n_tokens, points) in measured {
        let Some((kept, sign)) = collapse(*n_tokens, points).or_else(|| loss(*n_tokens, points))
        else {
            continue;
        };
        let is_worse =
            |(other, than): &(f64, Sign)| (than.severity, -other) < (sign.severity, -kept);
        if worst.as_ref().is_none_or(is_worse) {
            worst = Some((kept, sign));
        }
    }
    Ok(worst.into_iter().map(|(_, sign)| sign).collect())
}

/// What was kept of the best at every length.
pub(crate) fn retention(series: &Series<'_>) -> Vec<HeldOutRetention> {
    let by_length = series.held_out_by_length().into_iter();
    by_length
        .filter_map(|(length, points)| {
            let retention = of(&points)?;
            Some(HeldOutRetention { length, retention })
        })
        .collect()
}

/// The first measurement below half of the peak before it, were it not for noise.
fn collapse(n_tokens: u64, points: &[HeldOutPoint]) -> Option<(f64, Sign)> {
    let n_until = (2..=points.len()).find(|n_until| {
        of(&points[..*n_until]).is_some_and(|so_far| {
            so_far.retention < COLLAPSED_BELOW && is_beyond_noise(&points[..*n_until], so_far)
        })
    })?;
    let (whole, until) = (of(points)?, of(&points[..n_until])?);
    let told = format!(
        "fell from {} at step {} to {} at step {}",
        number(until.peak),
        until.peak_step,
        number(until.end),
        points[n_until - 1].step
    );
    Some(sign(Fault, n_tokens, points, until.peak_step, whole, told))
}

/// What the end lacks of the peak, were it not for noise.
fn loss(n_tokens: u64, points: &[HeldOutPoint]) -> Option<(f64, Sign)> {
    let whole = of(points)?;
    if KEPT <= whole.retention || !is_beyond_noise(points, whole) {
        return None;
    }
    let told = format!(
        "went from {} at step {} to {}",
        number(whole.peak),
        whole.peak_step,
        number(whole.end)
    );
    let first = whole.peak_step;
    Some(sign(Warning, n_tokens, points, first, whole, told))
}

fn of(points: &[HeldOutPoint]) -> Option<Retention> {
    let evaluations: Vec<(u64, f64)> = points
        .iter()
        .map(|point| (point.step, point.accuracy))
        .collect();
    Retention::of(&evaluations)
}

/// Whether the last point lies further below the peak than drawing the documents anew explains.
fn is_beyond_noise(points: &[HeldOutPoint], retention: Retention) -> bool {
    let at_peak = points.iter().find(|point| point.accuracy == retention.peak);
    let squares: f64 = at_peak
        .into_iter()
        .chain(points.last())
        .map(|point| share_error(point.accuracy, point.n_documents).powi(2))
        .sum();
    ERRORS * squares.sqrt() < retention.peak - retention.end
}

fn sign(
    severity: Severity,
    n_tokens: u64,
    points: &[HeldOutPoint],
    first: u64,
    whole: Retention,
    told: String,
) -> (f64, Sign) {
    let last = points.last().map_or(first, |point| point.step);
    let sign = Sign {
        severity,
        steps: StepRange { first, last },
        evidence: format!(
            "held-out accuracy at {n_tokens} tokens {told}; the end has {} % of its peak {} (retention)",
            number(100.0 * whole.retention),
            number(whole.peak)
        ),
    };
    (whole.retention, sign)
}
