//! `[reward]`: how the final answer is scored, by a rule or by a program.

use longhand_reward_outcome::Checker;
use serde::{Deserialize, Serialize};

use crate::checks::Checks;
use crate::schema::{
    Bound, COUNT_OR_ZERO, Interval, Key, Kind, SHARE, defaults_to, optional, required,
};

pub(crate) static REWARD: &[Key] = &[
    defaults_to(
        "checker",
        Kind::Choice(&CHECKERS),
        "\"exact-match\"",
        "rule that scores the final answer",
    ),
    optional(
        "judge",
        Kind::Table(JUDGE),
        "the checker scores",
        "a program that scores the final answers instead of `checker`, in training and measurements",
    ),
];

static JUDGE: &[Key] = &[
    required(
        "command",
        Kind::List(&Kind::Text),
        "the program and its arguments, one text each",
    ),
    defaults_to(
        "timeout_seconds",
        // A day and more; what is far longer could not be added to a clock.
        Kind::Number(Interval {
            low: Bound::Open(0.0),
            high: Bound::Closed(1e6),
        }),
        "30.0",
        "seconds that the program may take for one reward",
    ),
    defaults_to(
        "processes",
        // Far above any machine, as for threads.
        Kind::Integer { low: 1, high: 4096 },
        "2",
        "copies of the program that are asked side by side",
    ),
    defaults_to(
        "retries",
        COUNT_OR_ZERO,
        "1",
        "how often a program that ended, or cannot be started, is tried again for one reward",
    ),
    defaults_to(
        "max_failed_share",
        SHARE,
        "0.5",
        "a step in which a greater share of rewards failed stops the run",
    ),
];

/// The checkers' names, in the order of [`Checker::ALL`].
const CHECKERS: [&str; Checker::ALL.len()] = [
    "exact-match",
    "token-f1",
    "contains",
    "sub-em",
    "boxed",
    "memagent-box",
    "numeric",
];

/// What `[reward]` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RewardFile {
    pub(crate) checker: Checker,
    pub(crate) judge: Option<JudgeSettings>,
}

/// A program that is asked for rewards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgeSettings {
    /// The program and its arguments; at least the program.
    pub command: Vec<String>,
    /// Seconds that the program may take for one reward; at most a million.
    pub timeout_seconds: f64,
    /// Copies of the program that are asked side by side; at least 1.
    pub processes: usize,
    /// How often a program that ended, or cannot be started, is tried again for one reward.
    pub retries: usize,
    /// A step in which a greater share of rewards failed stops the run; in `[0, 1]`.
    pub max_failed_share: f64,
}

impl RewardFile {
    pub(crate) fn check(&self, checks: &mut Checks<'_>) {
        if let Some(judge) = &self.judge {
            let is_named = judge
                .command
                .first()
                .is_some_and(|name| !name.trim().is_empty());
            checks.require(is_named, "reward.judge.command", || {
                "the program's name is empty; write it first, then its arguments".into()
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkers_are_those_of_their_crate() {
        assert_eq!(Checker::ALL.map(Checker::name), CHECKERS);
    }
}
