//! The rule about texts that say again what they said before.

use crate::Severity::{Fault, Warning};
use crate::series::{Judged, Series, Sign, WINDOW, longest_stretch, steps, values};
use crate::statistics::mean;
use crate::text::number;

/// Share of repeated 4-grams above which texts repeat themselves.
pub(crate) const REPEATED: f64 = 0.3;
/// Share from which it is as if everything were said twice.
pub(crate) const TWICE: f64 = 0.5;
/// What it must lie above the first steps as well: some tasks ask for lists.
pub(crate) const RISE: f64 = 0.15;

pub(crate) fn repetition(series: &Series<'_>) -> Judged {
    let [shares] = series.all(&["repetition"], 2 * WINDOW)?;
    let start = mean(&values(&shares[..WINDOW]));
    let level = REPEATED.max(start + RISE);
    let Some(stretch) = longest_stretch(&shares, WINDOW, |point| level < point.value) else {
        return Ok(Vec::new());
    };
    let stretch = &shares[stretch];
    let share = mean(&values(stretch));
    Ok(vec![Sign {
        severity: if TWICE < share { Fault } else { Warning },
        steps: steps(stretch),
        evidence: format!(
            "{} % of the 4-grams that attempts write are repeated over {} steps in a row, {} % in the first \
             {WINDOW}",
            number(100.0 * share),
            stretch.len(),
            number(100.0 * start)
        ),
    }])
}
