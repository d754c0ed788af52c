//! `rewards` of a credit: several rewards of an attempt, with or without labels.

use longhand_advantage::{Condition, Gdpo, OutcomeEstimator, RewardColumn};
use longhand_memory::TeacherScope;
use longhand_reward_certainty::{Alignment, Unread};
use longhand_reward_outcome::AnswerRelation;
use longhand_reward_teacher::{AnswerTurn, Combine, MinMax, ScoredTokens, TeacherAligned};
use serde::{Deserialize, Serialize};

use crate::checks::Checks;
use crate::credit::{LENGTH_NORM, MINMAX, SCORED_TOKENS, STD_EPS, TEACHER};
use crate::schema::{
    Bound, COUNT, Interval, Key, Kind, POSITIVE, Variant, defaults_to, optional, required,
};
use crate::shape::join;

/// Any finite number.
const ANY_NUMBER: Interval = Interval {
    low: Bound::None,
    high: Bound::None,
};

/// Names of rewards that attempts have as a whole, in the order of the documentation.
static NAMES: &[&str] = &[
    "outcome",
    "cluster-vote",
    "majority-vote",
    "self-certainty",
    "negative-entropy",
    "format",
    "integer",
    "length",
];

pub(crate) static REWARD: &[Variant] = &[
    Variant {
        name: "outcome",
        meaning: "the checker's or the judge's score, with the overlong penalty where one is set",
        keys: OUTCOME,
    },
    Variant {
        name: "cluster-vote",
        meaning: "share of the group's answers that are the attempt's own (CIRCA, arXiv:2605.22620)",
        keys: CLUSTER_VOTE,
    },
    Variant {
        name: "majority-vote",
        meaning: "1 for the group's most frequent answer, else 0 (TTRL, arXiv:2504.16084)",
        keys: MAJORITY_VOTE,
    },
    Variant {
        name: "self-certainty",
        meaning: "mean KL(uniform || policy) over the attempt's tokens (Intuitor, arXiv:2505.19590)",
        keys: SELF_CERTAINTY,
    },
    Variant {
        name: "negative-entropy",
        meaning: "minus the mean entropy over the attempt's tokens (RENT, arXiv:2505.22660)",
        keys: NEGATIVE_ENTROPY,
    },
    Variant {
        name: "format",
        meaning: "1 where an answer of the checker's form was found, else 0",
        keys: OUTCOME,
    },
    Variant {
        name: "integer",
        meaning: "1 where the answer that was found is a whole number in digits, else 0",
        keys: OUTCOME,
    },
    Variant {
        name: "length",
        meaning: "1 where the attempt has at most so many tokens, else 0; conditioned on the outcome as in GDPO \
                  (arXiv:2601.05242) by `only_where`",
        keys: LENGTH,
    },
    Variant {
        name: "teacher",
        meaning: "a better-informed prompt's score of each memory, compared among the turns of a problem \
                  (TAMTRL, arXiv:2603.21663); the other rewards gate it or not, as their weights say",
        keys: TEACHER_KEYS,
    },
];

const WEIGHT: Key = defaults_to(
    "weight",
    Kind::Number(ANY_NUMBER),
    "1.0",
    "what the reward is multiplied by; with gdpo after it was standardised",
);

const ONLY_WHERE: Key = optional(
    "only_where",
    Kind::Table(CONDITION),
    "it counts everywhere",
    "the reward is 0 unless another one is high enough (GDPO's conditioned reward)",
);

static CONDITION: &[Key] = &[
    required(
        "reward",
        Kind::Choice(NAMES),
        "the other reward, which has to be in the list",
    ),
    required(
        "at_least",
        Kind::Number(ANY_NUMBER),
        "the least value with which this one counts",
    ),
];

const RELATION: Key = defaults_to(
    "relation",
    Kind::Choice(&["equivalence", "numeric", "string"]),
    "\"equivalence\"",
    "which answers are the same: by exact algebra, as numbers, or as strings",
);

const UNREAD: Key = defaults_to(
    "unread",
    Kind::Choice(&["zero", "missing"]),
    "\"zero\"",
    "what an attempt gets in which no answer was found: 0, or no reward",
);

const TEMPERATURE: Key = defaults_to(
    "temperature",
    POSITIVE,
    "1.0",
    "divides the logits that are looked at; 1 as of the papers",
);

static OUTCOME: &[Key] = &[WEIGHT, ONLY_WHERE];
static LENGTH: &[Key] = &[
    required("at_most", COUNT, "sampled tokens of an attempt"),
    WEIGHT,
    ONLY_WHERE,
];
static CLUSTER_VOTE: &[Key] = &[WEIGHT, RELATION, UNREAD, ONLY_WHERE];
static MAJORITY_VOTE: &[Key] = &[
    WEIGHT,
    RELATION,
    UNREAD,
    defaults_to(
        "vote",
        Kind::Choice(&["clusters", "strings"]),
        "\"clusters\"",
        "what is counted: clusters of the relation, or equal strings as the paper's code does",
    ),
    ONLY_WHERE,
];
static SELF_CERTAINTY: &[Key] = &[
    WEIGHT,
    defaults_to(
        "alignment",
        Kind::Choice(&["aligned", "shifted"]),
        "\"aligned\"",
        "the predictions of the tokens, or those one position later as in the published TRL variant",
    ),
    TEMPERATURE,
    ONLY_WHERE,
];
static NEGATIVE_ENTROPY: &[Key] = &[
    WEIGHT,
    TEMPERATURE,
    defaults_to(
        "without_answer",
        Kind::NumberOrNone(ANY_NUMBER),
        "\"none\"",
        "given instead where no answer was found (the paper's format option: -7), or none",
    ),
    ONLY_WHERE,
];
static TEACHER_KEYS: &[Key] = &[WEIGHT, MINMAX, LENGTH_NORM, SCORED_TOKENS, STD_EPS, TEACHER];

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "kebab-case")]
pub(crate) enum RewardFile {
    Outcome {
        weight: f64,
        only_where: Option<ConditionFile>,
    },
    ClusterVote {
        weight: f64,
        relation: AnswerRelation,
        unread: Unread,
        only_where: Option<ConditionFile>,
    },
    MajorityVote {
        weight: f64,
        relation: AnswerRelation,
        unread: Unread,
        vote: Vote,
        only_where: Option<ConditionFile>,
    },
    SelfCertainty {
        weight: f64,
        alignment: Alignment,
        temperature: f64,
        only_where: Option<ConditionFile>,
    },
    NegativeEntropy {
        weight: f64,
        temperature: f64,
        #[serde(with = "crate::number_or_none")]
        without_answer: Option<f64>,
        only_where: Option<ConditionFile>,
    },
    Format {
        weight: f64,
        only_where: Option<ConditionFile>,
    },
    Integer {
        weight: f64,
        only_where: Option<ConditionFile>,
    },
    Length {
        at_most: usize,
        weight: f64,
        only_where: Option<ConditionFile>,
    },
    Teacher {
        weight: f64,
        minmax: MinMax,
        length_norm: bool,
        scored_tokens: ScoredTokens,
        std_eps: f64,
        teacher: TeacherScope,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConditionFile {
    reward: Name,
    at_least: f64,
}

/// [`NAMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Name {
    Outcome,
    ClusterVote,
    MajorityVote,
    SelfCertainty,
    NegativeEntropy,
    Format,
    Integer,
    Length,
}

impl Name {
    fn text(self) -> &'static str {
        NAMES[self as usize]
    }
}

/// What a majority is counted over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vote {
    /// Clusters of answers that are the same.
    Clusters,
    /// Equal strings; answers that are the same as the label are rewarded all the same.
    Strings,
}

/// Rewards of attempts, and how they become advantages.
#[derive(Clone, Debug, PartialEq)]
pub struct RewardsCredit {
    /// What each attempt gets as a whole, in the order of the columns.
    pub rewards: Vec<AttemptReward>,
    /// What each memory gets from a teacher, beside them.
    pub teacher: Option<TeacherReward>,
    /// From rewards to advantages.
    pub combination: Combination,
}

/// How several rewards become one advantage.
#[derive(Clone, Debug, PartialEq)]
pub enum Combination {
    /// Each standardised by itself, then weighed and added (arXiv:2601.05242). Columns are the rewards.
    Gdpo(Gdpo),
    /// Weighed and added as they are, then an estimator.
    Sum {
        /// `[column]`
        weights: Vec<f64>,
        /// Of the sums.
        estimator: OutcomeEstimator,
    },
}

/// One reward of an attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AttemptReward {
    /// The checker's or the judge's.
    Outcome,
    /// The share of read answers that are the attempt's own.
    ClusterVote {
        /// Which answers are the same.
        relation: AnswerRelation,
        /// For attempts without an answer.
        unread: Unread,
    },
    /// 1 for the majority's answer.
    MajorityVote {
        /// Which answers are the same.
        relation: AnswerRelation,
        /// For attempts without an answer.
        unread: Unread,
        /// What is counted.
        vote: Vote,
    },
    /// Mean `KL(uniform || policy)`.
    SelfCertainty {
        /// Which predictions are looked at.
        alignment: Alignment,
        /// Divides the logits.
        temperature: f64,
    },
    /// Minus the mean entropy.
    NegativeEntropy {
        /// Divides the logits.
        temperature: f64,
        /// Given instead where no answer was found.
        without_answer: Option<f64>,
    },
    /// 1 where an answer of the checker's form was found.
    Format,
    /// 1 where the answer is a whole number in digits.
    Integer,
    /// 1 where the attempt is no longer than this.
    Length {
        /// Sampled tokens.
        at_most: usize,
    },
}

/// A teacher's scores beside the rewards of attempts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TeacherReward {
    /// What the advantages of turns are multiplied by before they are added.
    pub weight: f64,
    /// From scores to rewards of turns; nothing gates them and the answer's turn has none.
    pub rewards: TeacherAligned,
    /// Which sampled tokens the teacher scores.
    pub scored_tokens: ScoredTokens,
    /// Added to the standard deviation of a problem's turn rewards.
    pub std_eps: f64,
    /// What the teacher sees.
    pub teacher: TeacherScope,
}

impl AttemptReward {
    /// The name in files, metrics and transcripts.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Outcome => NAMES[0],
            Self::ClusterVote { .. } => NAMES[1],
            Self::MajorityVote { .. } => NAMES[2],
            Self::SelfCertainty { .. } => NAMES[3],
            Self::NegativeEntropy { .. } => NAMES[4],
            Self::Format => NAMES[5],
            Self::Integer => NAMES[6],
            Self::Length { .. } => NAMES[7],
        }
    }

    /// Whether it says how often an answer was given.
    pub fn is_vote(&self) -> bool {
        matches!(self, Self::ClusterVote { .. } | Self::MajorityVote { .. })
    }
}

impl RewardsCredit {
    /// Whether the truth has a say.
    pub fn uses_truth(&self) -> bool {
        self.rewards.contains(&AttemptReward::Outcome)
    }
}

/// How the list's rewards are put together, as the file says it.
pub(crate) enum CombinationFile {
    Gdpo {
        eps: f64,
        batch_step: longhand_advantage::BatchStep,
    },
    Sum(OutcomeEstimator),
}

/// Builds the credit from its list; `path` is the credit's own.
pub(crate) fn build(
    list: &[RewardFile],
    combination: CombinationFile,
    path: &str,
    checks: &mut Checks<'_>,
) -> RewardsCredit {
    let path_of = |idx: usize| join(&join(path, "rewards"), &idx.to_string());
    let (mut rewards, mut columns, mut teacher) = (Vec::new(), Vec::new(), None);
    for (idx, entry) in list.iter().enumerate() {
        let (reward, weight, only_where) = match entry {
            RewardFile::Teacher { .. } => {
                if teacher.is_some() {
                    checks.fail(
                        &path_of(idx),
                        "\"teacher\" stands in the list twice; leave one",
                    );
                }
                teacher = Some(teacher_of(entry));
                continue;
            }
            RewardFile::Outcome { weight, only_where } => {
                (AttemptReward::Outcome, weight, only_where)
            }
            RewardFile::Format { weight, only_where } => {
                (AttemptReward::Format, weight, only_where)
            }
            RewardFile::Integer { weight, only_where } => {
                (AttemptReward::Integer, weight, only_where)
            }
            RewardFile::Length {
                at_most,
                weight,
                only_where,
            } => {
                let at_most = *at_most;
                (AttemptReward::Length { at_most }, weight, only_where)
            }
            RewardFile::ClusterVote {
                weight,
                relation,
                unread,
                only_where,
            } => {
                let (relation, unread) = (*relation, *unread);
                let reward = AttemptReward::ClusterVote { relation, unread };
                (reward, weight, only_where)
            }
            RewardFile::MajorityVote {
                weight,
                relation,
                unread,
                vote,
                only_where,
            } => {
                let reward = AttemptReward::MajorityVote {
                    relation: *relation,
                    unread: *unread,
                    vote: *vote,
                };
                (reward, weight, only_where)
            }
            RewardFile::SelfCertainty {
                weight,
                alignment,
                temperature,
                only_where,
            } => {
                let reward = AttemptReward::SelfCertainty {
                    alignment: *alignment,
                    temperature: *temperature,
                };
                (reward, weight, only_where)
            }
            RewardFile::NegativeEntropy {
                weight,
                temperature,
                without_answer,
                only_where,
            } => {
                let reward = AttemptReward::NegativeEntropy {
                    temperature: *temperature,
                    without_answer: *without_answer,
                };
                (reward, weight, only_where)
            }
        };
        let name = reward.name();
        if rewards
            .iter()
            .any(|other: &AttemptReward| other.name() == name)
        {
            checks.fail(
                &path_of(idx),
                format!("\"{name}\" stands in the list twice; leave one"),
            );
        }
        rewards.push(reward);
        let condition = only_where.as_ref().map(|condition| Condition {
            column: condition.reward.text().to_string(),
            at_least: condition.at_least,
        });
        columns.push(RewardColumn {
            only_where: condition,
            ..RewardColumn::new(name, *weight)
        });
    }
    let is_sum = matches!(combination, CombinationFile::Sum(_));
    check_conditions(list, &rewards, &columns, is_sum, &path_of, checks);
    let combination = match combination {
        CombinationFile::Gdpo { eps, batch_step } => Combination::Gdpo(Gdpo {
            columns,
            eps,
            batch_step,
        }),
        CombinationFile::Sum(estimator) => Combination::Sum {
            weights: columns.iter().map(|column| column.weight).collect(),
            estimator,
        },
    };
    let credit = RewardsCredit {
        rewards,
        teacher,
        combination,
    };
    check_teacher(&credit, path, checks);
    credit
}

fn teacher_of(entry: &RewardFile) -> TeacherReward {
    let RewardFile::Teacher {
        weight,
        minmax,
        length_norm,
        scored_tokens,
        std_eps,
        teacher,
    } = entry
    else {
        unreachable!("only asked for a teacher's entry");
    };
    TeacherReward {
        weight: *weight,
        rewards: TeacherAligned {
            minmax: *minmax,
            // With outcomes of 1 the gate is open: scores are what they are.
            combine: Combine::Gate,
            answer_turn: AnswerTurn::None,
            length_norm: *length_norm,
        },
        scored_tokens: *scored_tokens,
        std_eps: *std_eps,
        teacher: *teacher,
    }
}

/// Conditions look at other rewards of the list.
fn check_conditions(
    list: &[RewardFile],
    rewards: &[AttemptReward],
    columns: &[RewardColumn],
    is_sum: bool,
    path_of: &impl Fn(usize) -> String,
    checks: &mut Checks<'_>,
) {
    let places = (0..list.len()).filter(|idx| !matches!(list[*idx], RewardFile::Teacher { .. }));
    for (idx, column) in places.zip(columns) {
        let Some(condition) = &column.only_where else {
            continue;
        };
        checks.require(!is_sum, &join(&path_of(idx), "only_where"), || {
            "conditions belong to kind = \"gdpo\"; a sum adds its rewards as they are".to_string()
        });
        let exists = rewards.iter().any(|other| other.name() == condition.column);
        checks.require(
            exists && condition.column != column.name,
            &join(&path_of(idx), "only_where.reward"),
            || {
                format!(
                    "\"{}\" is not another reward of this list; add it (with weight 0 it says nothing itself)",
                    condition.column
                )
            },
        );
    }
}

/// A teacher's advantages are those of turns: they can be added, not scaled with those of attempts.
fn check_teacher(credit: &RewardsCredit, path: &str, checks: &mut Checks<'_>) {
    if credit.teacher.is_none() {
        return;
    }
    match &credit.combination {
        Combination::Gdpo(gdpo) => checks.require(
            gdpo.batch_step == longhand_advantage::BatchStep::None,
            &join(path, "batch_step"),
            || {
                "the batch step scales one advantage per attempt, and the teacher gives one per turn; \
                 use \"none\""
                    .to_string()
            },
        ),
        Combination::Sum { .. } => checks.fail(
            &join(path, "rewards"),
            "\"teacher\" rewards turns, which have nothing that could be added to rewards of attempts; \
             use kind = \"gdpo\"",
        ),
    }
}
