//! Rules about what was counted: rewards that failed, turns and documents that were cut, answers
//! without an answer's form.

use crate::Severity;
use crate::Severity::{Fault, Note, Warning};
use crate::series::{Judged, Point, Series, Sign, WINDOW, steps, values};
use crate::text::number;

/// Share of a run's attempts whose reward may fail.
pub(crate) const FAILED: f64 = 0.01;
/// Share over [`WINDOW`] steps with which the reward is out of order.
pub(crate) const FAILED_FAULT: f64 = 0.1;
/// Share of the last turns that may hit the cap.
pub(crate) const CAPPED: f64 = 0.1;
/// Share of the turns that the window may end.
pub(crate) const WINDOWED: f64 = 0.01;
/// Share of the documents that may be cut.
pub(crate) const CUT: f64 = 0.01;
/// Share from which the cut is more than a few long documents.
pub(crate) const CUT_WARNING: f64 = 0.5;
/// Share of the last answers that may lack the checker's form.
pub(crate) const UNPARSED: f64 = 0.1;

/// Why rewards fail, and how it is called.
const REASONS: [(&str, &str); 3] = [
    ("n_judge_timeouts", "timeouts of the judge"),
    ("n_judge_bad_replies", "replies that it did not understand"),
    ("n_judge_failures", "deaths of the judge"),
];

pub(crate) fn reward_failures(series: &Series<'_>) -> Judged {
    let [failed, attempts] = series.all(&["n_masked_attempts", "n_attempts"], 1)?;
    let share = ratio(&failed, &attempts);
    let width = WINDOW.min(failed.len());
    let highest = failed
        .windows(width)
        .zip(attempts.windows(width))
        .map(|(failed, attempts)| ratio(failed, attempts))
        .fold(0.0, f64::max);
    if share <= FAILED && highest <= FAILED_FAULT {
        return Ok(Vec::new());
    }
    let touched: Vec<Point> = failed.iter().filter(|p| 0.0 < p.value).copied().collect();
    let reasons: Vec<String> = REASONS
        .iter()
        .map(|(key, name)| (sum(&series.optional(key)), name))
        .filter(|(n, _)| 0.0 < *n)
        .map(|(n, name)| format!(", {n} {name}"))
        .collect();
    Ok(vec![Sign {
        severity: if FAILED_FAULT < highest {
            Fault
        } else {
            Warning
        },
        steps: steps(&touched),
        evidence: format!(
            "{} of {} attempts have no reward ({} %, at most {} % over {width} steps){}",
            sum(&failed),
            sum(&attempts),
            number(100.0 * share),
            number(100.0 * highest),
            reasons.concat()
        ),
    }])
}

pub(crate) fn turns_cut_at_cap(series: &Series<'_>) -> Judged {
    let [hit, turns, groups, attempts, trained] = series.all(
        &[
            "n_hit_cap",
            "turns",
            "n_groups",
            "n_attempts",
            "n_trained_groups",
        ],
        WINDOW,
    )?;
    let of = trained_turns(&turns, &trained_attempts(&groups, &attempts, &trained));
    let from = hit.len() - WINDOW;
    let told = "turns hit their cap of tokens and were cut";
    Ok(share_above(
        &hit[from..],
        &of[from..],
        CAPPED,
        Warning,
        told,
    ))
}

pub(crate) fn turns_cut_by_window(series: &Series<'_>) -> Judged {
    let [full, turns, groups, attempts, trained] = series.all(
        &[
            "n_window_full",
            "turns",
            "n_groups",
            "n_attempts",
            "n_trained_groups",
        ],
        1,
    )?;
    let of = trained_turns(&turns, &trained_attempts(&groups, &attempts, &trained));
    let told = "turns were ended by the model's window";
    Ok(share_above(&full, &of, WINDOWED, Warning, told))
}

pub(crate) fn cut_documents(series: &Series<'_>) -> Judged {
    let [cut, groups, attempts, trained] = series.all(
        &[
            "n_truncated_documents",
            "n_groups",
            "n_attempts",
            "n_trained_groups",
        ],
        1,
    )?;
    let of = trained_attempts(&groups, &attempts, &trained);
    let severity = if CUT_WARNING < ratio(&cut, &of) {
        Warning
    } else {
        Note
    };
    let told = "attempts read a document with its centre cut out";
    Ok(share_above(&cut, &of, CUT, severity, told))
}

pub(crate) fn unparsed_answers(series: &Series<'_>) -> Judged {
    let [unparsed, attempts] = series.all(&["n_unparsed_answers", "n_attempts"], WINDOW)?;
    let from = unparsed.len() - WINDOW;
    let told = "answers hold nothing of the form that the checker looks for";
    Ok(share_above(
        &unparsed[from..],
        &attempts[from..],
        UNPARSED,
        Warning,
        told,
    ))
}

/// Attempts of the groups that each step trained on.
fn trained_attempts(groups: &[Point], attempts: &[Point], trained: &[Point]) -> Vec<Point> {
    let of_group = |attempts: f64, groups: f64| {
        if groups == 0.0 {
            0.0
        } else {
            attempts / groups
        }
    };
    groups
        .iter()
        .zip(attempts)
        .zip(trained)
        .map(|((groups, attempts), trained)| Point {
            step: trained.step,
            value: trained.value * of_group(attempts.value, groups.value),
        })
        .collect()
}

fn trained_turns(turns: &[Point], attempts: &[Point]) -> Vec<Point> {
    turns
        .iter()
        .zip(attempts)
        .map(|(turns, attempts)| Point {
            step: turns.step,
            value: turns.value * attempts.value,
        })
        .collect()
}

/// One sign where the counts are more than a share of the others; its steps are those with any.
fn share_above(
    counts: &[Point],
    of: &[Point],
    level: f64,
    severity: Severity,
    told: &str,
) -> Vec<Sign> {
    let share = ratio(counts, of);
    if share <= level {
        return Vec::new();
    }
    let touched: Vec<Point> = counts.iter().filter(|p| 0.0 < p.value).copied().collect();
    vec![Sign {
        severity,
        steps: steps(&touched),
        evidence: format!(
            "{} of {:.0} {told}: {} %",
            sum(counts),
            sum(of),
            number(100.0 * share)
        ),
    }]
}

fn sum(points: &[Point]) -> f64 {
    values(points).iter().sum()
}

fn ratio(counts: &[Point], of: &[Point]) -> f64 {
    let all = sum(of);
    if all == 0.0 { 0.0 } else { sum(counts) / all }
}
