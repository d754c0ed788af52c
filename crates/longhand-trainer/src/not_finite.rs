//! The first number of a run that was NaN or infinite: which, where, and how to see it again.

use std::fmt;

use longhand_policy::BrokenTensor;
use longhand_rollout::RolloutError;
use serde::{Deserialize, Serialize};

use crate::credit::ScoredGroup;

/// A number that is NaN or infinite, and where it came from. Nothing after it can be trusted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NotFinite {
    /// Which number.
    pub what: String,
    /// `NaN`, `inf` or `-inf`; for a pair of numbers both.
    pub value: String,
    /// `warm-start` or `rl`.
    pub stage: String,
    /// Step of the stage.
    pub step: usize,
    /// Updates that the policy had seen.
    pub policy_version: u64,
    /// The tensor, where the number is one of a tensor's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tensor: Option<String>,
    /// Index into the tensor's values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tensor_idx: Option<usize>,
    /// The sampled token, where the number is a token's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenPlace>,
}

/// Which sampled token a number belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenPlace {
    /// The problem's index in its source.
    pub problem_idx: u64,
    /// The problem's own name, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem_id: Option<String>,
    /// Which attempt.
    pub attempt: u32,
    /// Which turn of the attempt, from 0.
    pub turn: usize,
    /// Which sampled token of the turn, from 0; none for a number of the whole turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<usize>,
}

impl NotFinite {
    /// A number without a closer place.
    pub(crate) fn new(what: &str, value: f64, at: Moment) -> Self {
        Self {
            what: what.into(),
            value: value.to_string(),
            stage: at.stage.into(),
            step: at.step,
            policy_version: at.policy_version,
            tensor: None,
            tensor_idx: None,
            token: None,
        }
    }

    pub(crate) fn of_tensor(what: &str, broken: BrokenTensor, at: Moment) -> Self {
        Self {
            tensor: Some(broken.name),
            tensor_idx: Some(broken.idx),
            ..Self::new(what, f64::from(broken.value), at)
        }
    }

    pub(crate) fn of_token(what: &str, value: f64, token: TokenPlace, at: Moment) -> Self {
        Self {
            token: Some(token),
            ..Self::new(what, value, at)
        }
    }

    /// What a collection found while sampling; none when it stopped for another reason.
    pub(crate) fn of_rollout(error: &RolloutError, at: Moment) -> Option<Self> {
        let RolloutError::NotFinite {
            problem_idx,
            attempt,
            turn,
            token,
            value,
        } = *error
        else {
            return None;
        };
        let place = TokenPlace {
            problem_idx,
            problem_id: None,
            attempt,
            turn: turn as usize,
            token: Some(token),
        };
        let what = "the log-probability of a sampled token";
        Some(Self::of_token(what, f64::from(value), place, at))
    }

    /// Names the problem, where only its index was known.
    pub(crate) fn with_problem_id(mut self, id: impl FnOnce(u64) -> Option<String>) -> Self {
        if let Some(token) = &mut self.token
            && token.problem_id.is_none()
        {
            token.problem_id = id(token.problem_idx);
        }
        self
    }
}

impl TokenPlace {
    pub(crate) fn of(
        scored: &ScoredGroup,
        trajectory: usize,
        turn: usize,
        token: Option<usize>,
    ) -> Self {
        Self {
            problem_idx: scored.group.problem_idx,
            problem_id: Some(scored.group.problem.id.clone()),
            attempt: scored.attempts[trajectory],
            turn,
            token,
        }
    }
}

impl fmt::Display for NotFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        if let (Some(tensor), Some(idx)) = (&self.tensor, self.tensor_idx) {
            write!(f, " `{tensor}`, value {idx},")?;
        }
        if let Some(place) = &self.token {
            write!(f, " (problem {}", place.problem_idx)?;
            if let Some(id) = &place.problem_id {
                write!(f, " `{id}`")?;
            }
            write!(f, ", attempt {}, turn {}", place.attempt, place.turn)?;
            if let Some(token) = place.token {
                write!(f, ", token {token}")?;
            }
            write!(f, ")")?;
        }
        write!(
            f,
            " is {} at {} step {}, with the policy after {} updates",
            self.value, self.stage, self.step, self.policy_version
        )
    }
}

/// When something was computed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) stage: &'static str,
    pub(crate) step: usize,
    pub(crate) policy_version: u64,
}
