//! Documented rules that find what is wrong with a run from its metrics.
//!
//! ```text
//! lines of metrics.jsonl and timings.jsonl → series → rules → findings
//! ```
//!
//! 1. [`RULES`] is the table: each rule's name, what it means, its threshold, why, and what to do.
//! 2. [`Examination::of`] holds a run against all of them; [`examine`] returns the findings alone.
//! 3. [`Retention::of`] has a run's peak, collapse step and retention, for whoever tells of them.
//! 4. [`write_findings`], [`write_not_judged`] and [`write_rules`] say it as text.
//!
//! A rule whose metrics are absent, or whose run is too short, finds nothing and is listed as not
//! judged. A rule reports its worst or longest stretch, not every step.
//!
//! Knows nothing of files, experiments, models or transcripts: whoever calls brings the lines.

mod counts;
mod entropy_control;
mod groups;
mod held_out;
mod learning;
mod lengths;
mod machine;
mod repetition;
mod retention;
mod rules;
mod series;
mod statistics;
mod text;
mod update;
mod votes;

use std::fmt;

use serde::Serialize;
use serde_json::Value;

pub use crate::retention::{COLLAPSED_BELOW, Retention};
pub use crate::rules::{RULES, Rule};
pub use crate::text::{write_findings, write_not_judged, write_rules};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Time is being wasted, or will be.
    Warning,
    /// The run is broken, or its numbers cannot be trusted.
    Fault,
}

/// Steps of reinforcement learning, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct StepRange {
    /// The first step.
    pub first: u64,
    /// The last step.
    pub last: u64,
}

impl fmt::Display for StepRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "step {}", self.first)
        } else {
            write!(f, "steps {}-{}", self.first, self.last)
        }
    }
}

/// Something that a rule found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule's name.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The steps that show it.
    pub steps: StepRange,
    /// The numbers that show it.
    pub evidence: String,
    /// What to do.
    pub advice: String,
}

/// A rule that could not be judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotJudged {
    /// The rule's name.
    pub rule: &'static str,
    /// What it lacks.
    pub why: String,
}

/// What a run kept of its best accuracy on held-out documents of one length, decoded greedily.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct HeldOutRetention {
    /// Tokens of the documents as asked for.
    pub length: u64,
    /// Peak, collapse and end.
    #[serde(flatten)]
    pub retention: Retention,
}

/// What all rules say about a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Examination {
    /// The worst first, then in the rules' order.
    pub findings: Vec<Finding>,
    /// In the rules' order.
    pub not_judged: Vec<NotJudged>,
    /// By length, the shortest first.
    pub retention: Vec<HeldOutRetention>,
}

impl Examination {
    /// Holds a run against [`RULES`].
    ///
    /// `metrics` and `timings` are the lines of `metrics.jsonl` and `timings.jsonl`; times and memory
    /// are also found in `metrics`, where older runs have them. Lines of other stages and unknown keys
    /// are passed over, and of a step that is there twice the later line counts.
    #[must_use]
    pub fn of(metrics: &[Value], timings: &[Value]) -> Self {
        let series = series::Series::new(metrics, timings);
        let mut examination = Self {
            retention: held_out::retention(&series),
            ..Self::default()
        };
        for rule in RULES {
            match (rule.judge)(&series) {
                Ok(signs) => examination
                    .findings
                    .extend(signs.into_iter().map(|sign| Finding {
                        rule: rule.name,
                        severity: sign.severity,
                        steps: sign.steps,
                        evidence: sign.evidence,
                        advice: rule.advice.to_owned(),
                    })),
                Err(lack) => examination.not_judged.push(NotJudged {
                    rule: rule.name,
                    why: lack.to_string(),
                }),
            }
        }
        examination
            .findings
            .sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        examination
    }

    /// Whether anything is broken.
    #[must_use]
    pub fn has_fault(&self) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.severity == Severity::Fault)
    }
}

/// What the rules find, the worst first.
#[must_use]
pub fn examine(metrics: &[Value], timings: &[Value]) -> Vec<Finding> {
    Examination::of(metrics, timings).findings
}
