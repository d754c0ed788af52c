//! `[stage.credit]`: from rewards to advantages, by outcome, by TAMTRL's teacher, or by several rewards.

use longhand_advantage::{BatchStep, OutcomeEstimator};
use longhand_memory::TeacherScope;
use longhand_reward_teacher::{AnswerTurn, Combine, LiveBy, MinMax, ScoredTokens, TeacherAligned};
use serde::{Deserialize, Serialize};

use crate::checks::Checks;
use crate::rewards::{self, AttemptReward, CombinationFile, REWARD, RewardFile, RewardsCredit};
use crate::schema::{Key, Kind, NOT_NEGATIVE, Variant, defaults_to, required};

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
    Variant {
        name: "gdpo",
        meaning: "several rewards, each standardised in its group before it is weighed and added (GDPO, \
                  arXiv:2601.05242; CIRCA, arXiv:2605.22620)",
        keys: GDPO,
    },
    Variant {
        name: "sum",
        meaning: "several rewards, weighed and added as they are, then an estimator",
        keys: SUM,
    },
];

static ONE_REWARD: Kind = Kind::Tagged(REWARD);

const REWARDS: Key = required(
    "rewards",
    Kind::List(&ONE_REWARD),
    "what attempts are rewarded for; each kind once",
);

static GDPO: &[Key] = &[
    REWARDS,
    defaults_to(
        "eps",
        NOT_NEGATIVE,
        "1e-4",
        "added to each standard deviation",
    ),
    defaults_to(
        "batch_step",
        Kind::Choice(&["none", "samples", "tokens"]),
        "\"samples\"",
        "what the weighted sums are divided by: nothing (CIRCA), their spread over the batch's attempts (the \
         paper), or over its tokens (its verl code)",
    ),
];

static SUM: &[Key] = &[
    REWARDS,
    defaults_to(
        "estimator",
        Kind::Tagged(ESTIMATOR),
        "\"grpo\"",
        "how the sums of a group become advantages",
    ),
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

// How a teacher scores: of TAMTRL's credit and of the reward `teacher`.

pub(crate) const MINMAX: Key = defaults_to(
    "minmax",
    Kind::Choice(&["batch", "problem", "turn", "none"]),
    "\"batch\"",
    "pool over which teacher scores are spread to 0..1",
);

pub(crate) const LENGTH_NORM: Key = defaults_to(
    "length_norm",
    Kind::Flag,
    "true",
    "whether a teacher score is the mean of token probabilities or their sum",
);

pub(crate) const SCORED_TOKENS: Key = defaults_to(
    "scored_tokens",
    Kind::Choice(&["memory", "memory-and-end"]),
    "\"memory\"",
    "tokens the teacher scores: the memory passed on, or with its end token",
);

pub(crate) const STD_EPS: Key = defaults_to(
    "std_eps",
    NOT_NEGATIVE,
    "1e-6",
    "added to the standard deviation of a problem's turn rewards",
);

pub(crate) const TEACHER: Key = defaults_to(
    "teacher",
    Kind::Choice(&["chunk", "document"]),
    "\"chunk\"",
    "the teacher sees the relevant parts of the turn's chunk, or of the whole document",
);

static TAMTRL: &[Key] = &[
    MINMAX,
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
    LENGTH_NORM,
    SCORED_TOKENS,
    STD_EPS,
    TEACHER,
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
    Gdpo {
        rewards: Vec<RewardFile>,
        eps: f64,
        batch_step: BatchStep,
    },
    Sum {
        rewards: Vec<RewardFile>,
        estimator: OutcomeEstimator,
    },
}

/// How rewards become advantages.
#[derive(Clone, Debug, PartialEq)]
pub enum Credit {
    /// One advantage per attempt, the same at every turn.
    Outcome(OutcomeEstimator),
    /// One advantage per turn.
    Tamtrl(TamtrlCredit),
    /// One advantage per attempt from several rewards, and one per memory from a teacher beside them.
    Rewards(Box<RewardsCredit>),
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

impl Credit {
    /// What a teacher sees, where there is one.
    pub fn teacher(&self) -> Option<TeacherScope> {
        match self {
            Self::Outcome(_) => None,
            Self::Tamtrl(tamtrl) => Some(tamtrl.teacher),
            Self::Rewards(rewards) => rewards.teacher.map(|teacher| teacher.teacher),
        }
    }

    /// Names of the rewards of attempts, where there are several; in the order of their columns.
    pub fn columns(&self) -> Vec<&'static str> {
        match self {
            Self::Outcome(_) | Self::Tamtrl(_) => Vec::new(),
            Self::Rewards(credit) => credit.rewards.iter().map(AttemptReward::name).collect(),
        }
    }

    /// Whether attempts vote.
    pub fn has_votes(&self) -> bool {
        match self {
            Self::Outcome(_) | Self::Tamtrl(_) => false,
            Self::Rewards(credit) => credit.rewards.iter().any(AttemptReward::is_vote),
        }
    }

    /// Whether outcomes are among what is rewarded; if not, they are measured and nothing more.
    pub fn uses_truth(&self) -> bool {
        match self {
            Self::Outcome(_) | Self::Tamtrl(_) => true,
            Self::Rewards(rewards) => rewards.uses_truth(),
        }
    }
}

impl CreditFile {
    /// `path` is the credit's own.
    pub(crate) fn build(&self, path: &str, checks: &mut Checks<'_>) -> Credit {
        match *self {
            Self::Gdpo {
                ref rewards,
                eps,
                batch_step,
            } => {
                let gdpo = CombinationFile::Gdpo { eps, batch_step };
                Credit::Rewards(Box::new(rewards::build(rewards, gdpo, path, checks)))
            }
            Self::Sum {
                ref rewards,
                estimator,
            } => {
                let sum = CombinationFile::Sum(estimator);
                Credit::Rewards(Box::new(rewards::build(rewards, sum, path, checks)))
            }
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
