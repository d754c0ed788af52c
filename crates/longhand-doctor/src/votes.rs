//! Rules about rewards that attempts give each other: votes that agree on nothing, and against truth.

use crate::Severity::{Fault, Note};
use crate::StepRange;
use crate::learning::{NEAR_FULL, RISE, peak_window, start_and_within};
use crate::series::{
    Judged, Lack, Point, Series, Sign, WINDOW, at, ends, longest_stretch, most_telling, steps,
    values,
};
use crate::statistics::{mean, standard_error};
use crate::text::number;

/// Share of the read answers in the largest cluster from which a group is of one opinion.
pub(crate) const ONE_CLUSTER: f64 = 0.95;
/// Different answers of a group up to which it is.
pub(crate) const ONE_ANSWER: f64 = 1.2;
/// Share of right labels below which one opinion is no knowledge.
pub(crate) const SELDOM_RIGHT: f64 = 0.5;
/// Times the start's entropy or length from which it has risen meanwhile.
pub(crate) const RISEN_TIMES: f64 = 1.2;

/// Standard errors that a fall against truth must have.
pub(crate) const ERRORS: f64 = 3.0;

/// The rewards by vote, and how they are called.
const VOTES: [(&[&str; 2], &str); 2] = [
    (&["reward_columns/cluster-vote", "reward"], "cluster-vote"),
    (&["reward_columns/majority-vote", "reward"], "majority-vote"),
];

pub(crate) fn answer_collapse(series: &Series<'_>) -> Judged {
    let [shares, distinct] = series.all(&["cluster_share", "distinct_answers"], WINDOW)?;
    let is_one = |point: &Point| {
        ONE_CLUSTER <= point.value
            && at(&distinct, point.step).is_some_and(|distinct| distinct <= ONE_ANSWER)
    };
    let Some(stretch) = longest_stretch(&shares, WINDOW, is_one) else {
        return Ok(Vec::new());
    };
    let range = steps(&shares[stretch.clone()]);
    let (truth, severity) = match truth(series, range) {
        Some(truth) if truth.excuses() => return Ok(Vec::new()),
        Some(truth) => (
            format!(
                "{} is {} against {} at the start",
                truth.name,
                number(truth.during),
                number(truth.before)
            ),
            Fault,
        ),
        None => ("nothing was held against truth".to_owned(), Note),
    };
    let entropy = series.entropy_key()[0];
    let meanwhile: Vec<String> = [
        (entropy, "entropy"),
        ("response_tokens", "the length of attempts"),
    ]
    .iter()
    .filter_map(|(key, name)| {
        let (before, during) = start_and_within(&series.optional(key), range)?;
        (RISEN_TIMES * before < during).then(|| {
            format!(
                "; meanwhile {name} rose from {} to {}",
                number(before),
                number(during)
            )
        })
    })
    .collect();
    Ok(vec![Sign {
        severity,
        steps: range,
        evidence: format!(
            "{} % of a group's answers are one answer, and a group has {} different ones, over {} steps in a \
             row; {truth}{}",
            number(100.0 * mean(&values(&shares[stretch.clone()]))),
            number(mean(&values(&distinct[stretch.clone()]))),
            stretch.len(),
            meanwhile.concat()
        ),
    }])
}

/// What is right, at the start and while answers are one.
struct Truth {
    name: &'static str,
    before: f64,
    during: f64,
}

impl Truth {
    /// Whether the agreement is on what is right: seldom wrong, or neither fallen nor mostly wrong.
    fn excuses(&self) -> bool {
        let has_fallen = self.during < self.before - RISE;
        let has_risen = self.before + RISE < self.during;
        NEAR_FULL <= self.during || has_risen || (!has_fallen && SELDOM_RIGHT <= self.during)
    }
}

/// How often labels are right, or else how accurate held-out documents are answered.
fn truth(series: &Series<'_>, range: StepRange) -> Option<Truth> {
    let labels = series.optional("label_accuracy");
    if let Some((before, during)) = start_and_within(&labels, range) {
        return Some(Truth {
            name: "label accuracy",
            before,
            during,
        });
    }
    let change = series.held_out_change()?;
    Some(Truth {
        name: "held-out accuracy at the end",
        before: change.before,
        during: change.after,
    })
}

pub(crate) fn vote_against_truth(series: &Series<'_>) -> Judged {
    let mut signs = Vec::new();
    let mut lacks: Vec<Lack> = Vec::new();
    for (keys, name) in VOTES {
        match series.all(keys, 2 * WINDOW) {
            Ok([votes, rewards]) => signs.extend(against_truth(name, &votes, &rewards)),
            Err(lack) => lacks.push(lack),
        }
    }
    if lacks.len() == VOTES.len() {
        return Err(most_telling(lacks));
    }
    Ok(signs)
}

/// From the highest mean reward on: did the vote go up where truth went down?
fn against_truth(name: &str, votes: &[Point], rewards: &[Point]) -> Option<Sign> {
    let (peak_idx, peak) = peak_window(rewards);
    let window = peak_idx..peak_idx + WINDOW;
    let (_, last) = ends(rewards);
    let lost = peak - mean(&last);
    let error = standard_error(&values(&rewards[window.clone()]), &last);
    let vote = mean(&values(&votes[window.clone()]));
    let (_, last_votes) = ends(votes);
    let last_vote = mean(&last_votes);
    if lost <= RISE || lost <= ERRORS * error || last_vote <= vote + RISE {
        return None;
    }
    Some(Sign {
        severity: Fault,
        steps: StepRange {
            first: rewards[window.end - 1].step,
            last: rewards[rewards.len() - 1].step,
        },
        evidence: format!(
            "the reward `{name}` rose from {} to {} while the outcome against truth fell from {} to {}",
            number(vote),
            number(last_vote),
            number(peak),
            number(peak - lost)
        ),
    })
}
