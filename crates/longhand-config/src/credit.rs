//! `[stage.credit]`: from rewards to advantages, by outcome or by TAMTRL's teacher.

use longhand_advantage::OutcomeEstimator;
use longhand_memory::TeacherScope;
use longhand_reward_teacher::{AnswerTurn, Combine, LiveBy, MinMax, ScoredTokens, TeacherAligned};
use serde::{Deserialize, Serialize};

use crate::schema::{Key, Kind, NOT_NEGATIVE, Variant, defaults_to};

pub(crate) static CREDIT: &[Variant] = &[
    Variant {
        name: "outcome",
        meaning: "one advantage per attempt from its outcome, the same at every turn",
        keys: OUTCOME,
    },
    Variant {
        name: "tamtrl",
        meaning: "one advantage per turn from a better-informed teacher prompt (TAMTRL, arXiv:2603.21663)",
        keys: TAMTRL,
    },
];

static OUTCOME: &[Key] = &[defaults_to(
    "estimator",
    Kind::Tagged(ESTIMATOR),
    "\"memagent\"",
    "how the outcomes of a group become advantages",
)];

static ESTIMATOR: &[Variant] = &[
    Variant {
        name: "grpo",
        meaning: "distance from the group's mean, scaled",
        keys: GRPO,
    },
    Variant {
        name: "dr-grpo",
        meaning: "distance from the group's mean, for use with a constant token weight",
        keys: &[],
    },
    Variant {
        name: "memagent",
        meaning: "distance from the group's mean (MemAgent, arXiv:2507.02259)",
        keys: &[],
    },
    Variant {
        name: "rloo",
        meaning: "distance from the mean of the other attempts",
        keys: &[],
    },
    Variant {
        name: "reinforce-plus-plus-baseline",
        meaning: "distance from the group's mean, whitened over the batch's tokens",
        keys: &[],
    },
    Variant {
        name: "opo",
        meaning: "distance from the length-weighted mean",
        keys: &[],
    },
];

static GRPO: &[Key] = &[
    defaults_to(
        "scale",
        Kind::Choice(&["group", "batch", "none"]),
        "\"group\"",
        "standard deviation that divides the distance",
    ),
    defaults_to(
        "eps",
        NOT_NEGATIVE,
        "1e-6",
        "added to that standard deviation",
    ),
];

static TAMTRL: &[Key] = &[
    defaults_to(
        "minmax",
        Kind::Choice(&["batch", "problem", "turn", "none"]),
        "\"batch\"",
        "pool over which teacher scores are spread to 0..1",
    ),
    defaults_to(
        "combine",
        Kind::Choice(&["gate", "add"]),
        "\"gate\"",
        "teacher score times outcome, or plus",
    ),
    defaults_to(
        "answer_turn",
        Kind::Choice(&["outcome", "none"]),
        "\"outcome\"",
        "reward of the answer's turn: the outcome, or the turn is left out",
    ),
    defaults_to(
        "length_norm",
        Kind::Flag,
        "true",
        "whether a teacher score is the mean of token probabilities or their sum",
    ),
    defaults_to(
        "scored_tokens",
        Kind::Choice(&["memory", "memory-and-end"]),
        "\"memory\"",
        "tokens the teacher scores: the memory passed on, or with its end token",
    ),
    defaults_to(
        "std_eps",
        NOT_NEGATIVE,
        "1e-6",
        "added to the standard deviation of a problem's turn rewards",
    ),
    defaults_to(
        "teacher",
        Kind::Choice(&["chunk", "document"]),
        "\"chunk\"",
        "the teacher sees the relevant parts of the turn's chunk, or of the whole document",
    ),
    defaults_to(
        "live_by",
        Kind::Choice(&["turn-rewards", "outcomes"]),
        "\"turn-rewards\"",
        "what must differ within a group for dynamic sampling to keep it",
    ),
];

/// What `[stage.credit]` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "kebab-case")]
pub(crate) enum CreditFile {
    Outcome {
        estimator: OutcomeEstimator,
    },
    Tamtrl {
        minmax: MinMax,
        combine: Combine,
        answer_turn: AnswerTurn,
        length_norm: bool,
        scored_tokens: ScoredTokens,
        std_eps: f64,
        teacher: TeacherScope,
        live_by: LiveBy,
    },
}

/// How rewards become advantages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Credit {
    /// One advantage per attempt, the same at every turn.
    Outcome(OutcomeEstimator),
    /// One advantage per turn.
    Tamtrl(TamtrlCredit),
}

/// TAMTRL: teacher-aligned rewards of every turn, normalised over all turns of a problem.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TamtrlCredit {
    /// From teacher scores and outcomes to rewards of turns.
    pub rewards: TeacherAligned,
    /// Which sampled tokens the teacher scores.
    pub scored_tokens: ScoredTokens,
    /// Added to the standard deviation of a problem's turn rewards.
    pub std_eps: f64,
    /// What the teacher sees.
    pub teacher: TeacherScope,
    /// What must differ within a group for dynamic sampling to keep it.
    pub live_by: LiveBy,
}

impl CreditFile {
    pub(crate) fn build(&self) -> Credit {
        match *self {
            Self::Outcome { estimator } => Credit::Outcome(estimator),
            Self::Tamtrl {
                minmax,
                combine,
                answer_turn,
                length_norm,
                scored_tokens,
                std_eps,
                teacher,
                live_by,
            } => Credit::Tamtrl(TamtrlCredit {
                rewards: TeacherAligned {
                    minmax,
                    combine,
                    answer_turn,
                    length_norm,
                },
                scored_tokens,
                std_eps,
                teacher,
                live_by,
            }),
        }
    }
}
