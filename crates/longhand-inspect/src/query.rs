//! What is asked for.

use longhand_run::{Transcript, TranscriptStop};

/// Rows of a list where nothing else is said.
const LIMIT: usize = 20;

/// What to show. The default asks for the table of steps.
///
/// A `step` asks for its attempts, a `step` and a `problem` for their turns, and everything from
/// `problem` to `question` selects attempts, of all steps or of the given one. Only attempts that
/// satisfy all of it are shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// Steps or attempts of this stage; alone it asks for the stage's table.
    pub stage: Option<String>,
    /// Attempts of this step.
    pub step: Option<u64>,
    /// Attempts at this problem, named by its index or its name.
    pub problem: Option<String>,
    /// The attempt with this number.
    pub attempt: Option<u32>,
    /// Attempts with at least this reward; those without any are passed over.
    pub min_reward: Option<f64>,
    /// Attempts with at most this reward, likewise.
    pub max_reward: Option<f64>,
    /// Attempts with a turn that ended so.
    pub stop_reason: Option<TranscriptStop>,
    /// Attempts whose group was left out of the training.
    pub dropped: bool,
    /// Attempts whose reward failed.
    pub errors: bool,
    /// Attempts at a question that holds this text, in whatever case.
    pub question: Option<String>,
    /// Whole prompts instead of their two ends.
    pub full: bool,
    /// The sampled tokens of every turn with their log-probabilities.
    pub tokens: bool,
    /// JSON lines instead of text.
    pub json: bool,
    /// Rows of a list; 0 for all, none for 20 rows of text and all lines of JSON.
    pub limit: Option<usize>,
}

impl Query {
    /// Whether attempts are asked for, and not the table of steps.
    pub(crate) fn selects_attempts(&self) -> bool {
        self.step.is_some()
            || self.problem.is_some()
            || self.attempt.is_some()
            || self.min_reward.is_some()
            || self.max_reward.is_some()
            || self.stop_reason.is_some()
            || self.dropped
            || self.errors
            || self.question.is_some()
    }

    /// Whether an attempt of the right stage and step is asked for.
    pub(crate) fn selects(&self, attempt: &Transcript) -> bool {
        let rewarded = |bound: Option<f64>, passes: fn(f64, f64) -> bool| {
            bound.is_none_or(|bound| attempt.outcome.is_some_and(|reward| passes(reward, bound)))
        };
        let stops = |reason| attempt.turns.iter().any(|turn| turn.stop_reason == reason);
        let asks = |text: &String| {
            let question = attempt.question.to_lowercase();
            question.contains(&text.to_lowercase())
        };
        self.problem.as_ref().is_none_or(|p| is_problem(attempt, p))
            && self.attempt.is_none_or(|number| number == attempt.attempt)
            && rewarded(self.min_reward, |reward, bound| bound <= reward)
            && rewarded(self.max_reward, |reward, bound| reward <= bound)
            && self.stop_reason.is_none_or(stops)
            && (!self.dropped || attempt.dropped.is_some())
            && (!self.errors || attempt.reward_error.is_some())
            && self.question.as_ref().is_none_or(asks)
    }

    /// Rows of a list of text.
    pub(crate) fn rows(&self) -> usize {
        match self.limit {
            None => LIMIT,
            Some(0) => usize::MAX,
            Some(limit) => limit,
        }
    }
}

/// Whether a problem is called by its index or its name.
pub(crate) fn is_problem(attempt: &Transcript, problem: &str) -> bool {
    attempt.problem_id == problem || problem.parse() == Ok(attempt.problem_idx)
}
