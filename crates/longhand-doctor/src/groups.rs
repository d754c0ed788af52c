//! Rules about groups whose attempts are all paid the same, from which nothing is learned.

use crate::Severity;
use crate::Severity::{Fault, Note, Warning};
use crate::series::{Judged, Series, Sign, WINDOW, longest_stretch, steps, values};
use crate::statistics::mean;
use crate::text::number;

/// Share of live groups below which a step is wasted.
pub(crate) const LIVE: f64 = 0.1;
/// Mean rewards up to which all attempts fail, and from which all succeed.
pub(crate) const ALL_WRONG: f64 = 0.05;
pub(crate) const ALL_RIGHT: f64 = 0.95;

pub(crate) fn all_wrong(series: &Series<'_>) -> Judged {
    dead_groups(series, Fault, |reward| reward <= ALL_WRONG)
}

pub(crate) fn all_right(series: &Series<'_>) -> Judged {
    dead_groups(series, Note, |reward| ALL_RIGHT <= reward)
}

pub(crate) fn all_equal(series: &Series<'_>) -> Judged {
    dead_groups(series, Warning, |reward| {
        ALL_WRONG < reward && reward < ALL_RIGHT
    })
}

/// The longest stretch of dead steps, if its mean reward is one that the rule is about.
fn dead_groups(series: &Series<'_>, severity: Severity, is_about: impl Fn(f64) -> bool) -> Judged {
    let [live, rewards] = series.all(&["live_groups", "reward"], WINDOW)?;
    let Some(stretch) = longest_stretch(&live, WINDOW, |point| point.value < LIVE) else {
        return Ok(Vec::new());
    };
    let reward = mean(&values(&rewards[stretch.clone()]));
    let stretch = &live[stretch];
    if !is_about(reward) {
        return Ok(Vec::new());
    }
    Ok(vec![Sign {
        severity,
        steps: steps(stretch),
        evidence: format!(
            "{} % of the groups are live over {} steps in a row; mean reward {}",
            number(100.0 * mean(&values(stretch))),
            stretch.len(),
            number(reward)
        ),
    }])
}
