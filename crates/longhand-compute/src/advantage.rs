//! The estimators on the wire.

use longhand_advantage::{
    BatchStep, Condition, DEFAULT_EPS, Gdpo, OutcomeEstimator, RewardColumn, Scale,
    TokenAdvantages, gae, reinforce_plus_plus, turn_pool, whiten,
};
use longhand_reward_teacher::{AnswerTurn, Combine, MinMax, TeacherAligned};

use serde_json::Value;

use crate::error::LineError;
use crate::inputs::{Inputs, check_same_shape};
use crate::method::{Accepts, Field, Method, OptionEntry, Preset, optional, required};
use crate::outputs::Outputs;

pub(crate) static METHODS: &[Method] = &[
    Method {
        name: "grpo",
        about: "(R - group mean) / (standard deviation + eps), n - 1",
        fields: GROUP_REWARDS,
        options: &[&[
            OptionEntry {
                name: "eps",
                about: "added to the standard deviation",
                accepts: Accepts::AtLeast(0.0),
                preset: Preset::Number(DEFAULT_EPS),
            },
            OptionEntry {
                name: "scale",
                about: "whose standard deviation divides",
                accepts: Accepts::Names(&["group", "batch", "none"]),
                preset: Preset::Name("group"),
            },
        ]],
        gives: GROUP_ADVANTAGES,
        evaluate: |inputs| {
            let scale = match inputs.name_option("scale")? {
                "group" => Scale::Group,
                "batch" => Scale::Batch,
                _ => Scale::None,
            };
            let eps = inputs.number_option("eps")?;
            outcome(inputs, OutcomeEstimator::Grpo { scale, eps }, None)
        },
    },
    Method {
        name: "dr-grpo",
        about: "R - group mean",
        fields: GROUP_REWARDS,
        options: &[],
        gives: GROUP_ADVANTAGES,
        evaluate: |inputs| outcome(inputs, OutcomeEstimator::DrGrpo, None),
    },
    Method {
        name: "memagent",
        about: "R - group mean",
        fields: GROUP_REWARDS,
        options: &[],
        gives: GROUP_ADVANTAGES,
        evaluate: |inputs| outcome(inputs, OutcomeEstimator::Memagent, None),
    },
    Method {
        name: "rloo",
        about: "R - mean of the other attempts",
        fields: GROUP_REWARDS,
        options: &[],
        gives: GROUP_ADVANTAGES,
        evaluate: |inputs| outcome(inputs, OutcomeEstimator::Rloo, None),
    },
    Method {
        name: "reinforce-plus-plus",
        about: "discounted reward-to-go, whitened over the trained tokens of the line",
        fields: &[TOKEN_REWARDS, LOSS_MASK],
        options: &[&[GAMMA]],
        gives: TOKEN_ADVANTAGES,
        evaluate: |inputs| {
            let rewards = inputs.rows("rewards")?;
            let loss_mask = inputs.mask_rows("loss_mask")?;
            check_same_shape("loss_mask", &loss_mask, "rewards", &rewards)?;
            let gamma = inputs.number_option("gamma")?;
            token_outputs(reinforce_plus_plus(&rewards, &loss_mask, gamma))
        },
    },
    Method {
        name: "reinforce-plus-plus-baseline",
        about: "R - group mean, whitened over tokens",
        fields: &[
            required("rewards", "[problem][attempt] numbers"),
            optional(
                "lengths",
                "[problem][attempt] counts of trained tokens; without it, one each",
            ),
        ],
        options: &[],
        gives: GROUP_ADVANTAGES,
        evaluate: |inputs| {
            let lengths = inputs.if_given("lengths", Inputs::count_rows)?;
            outcome(inputs, OutcomeEstimator::ReinforcePlusPlusBaseline, lengths)
        },
    },
    Method {
        name: "opo",
        about: "R - length-weighted group mean",
        fields: &[
            required("rewards", "[problem][attempt] numbers"),
            required("lengths", "[problem][attempt] counts of trained tokens"),
        ],
        options: &[],
        gives: GROUP_ADVANTAGES,
        evaluate: |inputs| {
            let lengths = inputs.count_rows("lengths")?;
            outcome(inputs, OutcomeEstimator::Opo, Some(lengths))
        },
    },
    Method {
        name: "gae",
        about: "exponentially weighted sums of value errors; untrained tokens are stepped over",
        fields: &[
            TOKEN_REWARDS,
            required("values", "[sequence][token] numbers"),
            LOSS_MASK,
        ],
        options: &[&[
            GAMMA,
            OptionEntry {
                name: "lambda",
                about: "decay of the value errors",
                accepts: Accepts::Between(0.0, 1.0),
                preset: Preset::Number(0.95),
            },
            OptionEntry {
                name: "whiten",
                about: "whether the advantages are whitened over the trained tokens of the line",
                accepts: Accepts::Flag,
                preset: Preset::Flag(false),
            },
        ]],
        gives: TOKEN_ADVANTAGES,
        evaluate: |inputs| {
            let rewards = inputs.rows("rewards")?;
            let values = inputs.rows("values")?;
            check_same_shape("values", &values, "rewards", &rewards)?;
            let loss_mask = inputs.mask_rows("loss_mask")?;
            check_same_shape("loss_mask", &loss_mask, "rewards", &rewards)?;
            let gamma = inputs.number_option("gamma")?;
            let lambda = inputs.number_option("lambda")?;
            let mut found = gae(&rewards, &values, &loss_mask, gamma, lambda);
            if inputs.flag_option("whiten")? {
                found.advantages = whiten(&found.advantages, &loss_mask);
            }
            token_outputs(found)
        },
    },
    Method {
        name: "tamtrl",
        about: "teacher scores scaled, gated by the outcome, standardised over all turns of a problem",
        fields: &[
            required("turn_scores", "[problem][attempt][turn] numbers"),
            required("outcomes", "[problem][attempt] numbers"),
        ],
        options: &[&[
            OptionEntry {
                name: "minmax",
                about: "over which scores the smallest and the largest are taken",
                accepts: Accepts::Names(&["batch", "problem", "turn", "none"]),
                preset: Preset::Name("batch"),
            },
            OptionEntry {
                name: "combine",
                about: "scaled score times outcome, or plus outcome",
                accepts: Accepts::Names(&["gate", "add"]),
                preset: Preset::Name("gate"),
            },
            OptionEntry {
                name: "answer_turn",
                about: "whether the outcome is appended as the answer's reward",
                accepts: Accepts::Names(&["outcome", "none"]),
                preset: Preset::Name("outcome"),
            },
            OptionEntry {
                name: "std_eps",
                about: "added to the standard deviation",
                accepts: Accepts::AtLeast(0.0),
                preset: Preset::Number(DEFAULT_EPS),
            },
        ]],
        gives: &[
            required("rewards", "[problem][attempt][turn] numbers"),
            required("advantages", "[problem][attempt][turn] numbers"),
        ],
        evaluate: tamtrl,
    },
    Method {
        name: "gdpo",
        about: "every reward standardised within its group by itself, then weighed, added and scaled",
        fields: COLUMN_REWARDS,
        options: &[
            &[
                OptionEntry {
                    name: "weights",
                    about: "of the standardised rewards; null: 1 each",
                    accepts: Accepts::Weights,
                    preset: Preset::Null,
                },
                batch_step("samples"),
            ],
            COLUMNS,
        ],
        gives: COLUMN_ADVANTAGES,
        evaluate: |inputs| gdpo(inputs, 1.0),
    },
    Method {
        name: "circa",
        about: "GDPO with half a weight each and no batch step: a cluster vote and a certainty",
        fields: COLUMN_REWARDS,
        options: &[
            &[
                OptionEntry {
                    name: "weights",
                    about: "of the standardised rewards; null: 0.5 each",
                    accepts: Accepts::Weights,
                    preset: Preset::Null,
                },
                batch_step("none"),
            ],
            COLUMNS,
        ],
        gives: COLUMN_ADVANTAGES,
        evaluate: |inputs| gdpo(inputs, 0.5),
    },
];

const COLUMN_REWARDS: &[Field] = &[
    required(
        "rewards",
        "[problem][attempt][reward] numbers, null where one is missing",
    ),
    optional(
        "lengths",
        "[problem][attempt] counts of trained tokens; needed for `batch_step` = `tokens`",
    ),
];
const COLUMN_ADVANTAGES: &[Field] = &[
    required("advantages", "[problem][attempt] numbers"),
    required(
        "columns",
        "[problem][attempt][reward] numbers, null where one is missing",
    ),
];
const COLUMNS: &[OptionEntry] = &[
    OptionEntry {
        name: "eps",
        about: "added to each standard deviation; whitening over tokens has its own, 1e-8",
        accepts: Accepts::AtLeast(0.0),
        preset: Preset::Number(Gdpo::DEFAULT_EPS),
    },
    OptionEntry {
        name: "conditions",
        about: "a reward is 0 where the one it depends on is below a bound; null: none is",
        accepts: Accepts::Conditions,
        preset: Preset::Null,
    },
];

const fn batch_step(default: &'static str) -> OptionEntry {
    OptionEntry {
        name: "batch_step",
        about: "what the weighted sums are scaled by: nothing, their spread over the attempts of the \
                line, or whitened over its tokens",
        accepts: Accepts::Names(&["none", "samples", "tokens"]),
        preset: Preset::Name(default),
    }
}

const GROUP_REWARDS: &[Field] = &[required("rewards", "[problem][attempt] numbers")];
const GROUP_ADVANTAGES: &[Field] = &[required("advantages", "[problem][attempt] numbers")];
const TOKEN_REWARDS: Field = required("rewards", "[sequence][token] numbers");
const LOSS_MASK: Field = required("loss_mask", "[sequence][token] true, false, 1 or 0");
const TOKEN_ADVANTAGES: &[Field] = &[
    required("advantages", "[sequence][token] numbers"),
    required("returns", "[sequence][token] numbers"),
];
const GAMMA: OptionEntry = OptionEntry {
    name: "gamma",
    about: "discount per token",
    accepts: Accepts::Between(0.0, 1.0),
    preset: Preset::Number(1.0),
};

fn outcome(
    inputs: &Inputs,
    estimator: OutcomeEstimator,
    lengths: Option<Vec<Vec<usize>>>,
) -> Result<Outputs, LineError> {
    let rewards = inputs.rows("rewards")?;
    let one_each = || rewards.iter().map(|group| vec![1; group.len()]).collect();
    let lengths = lengths.unwrap_or_else(one_each);
    check_same_shape("lengths", &lengths, "rewards", &rewards)?;
    Outputs::default().rows("advantages", &estimator.advantages(&rewards, &lengths))
}

fn token_outputs(found: TokenAdvantages) -> Result<Outputs, LineError> {
    Outputs::default()
        .rows("advantages", &found.advantages)?
        .rows("returns", &found.returns)
}

fn tamtrl(inputs: &Inputs) -> Result<Outputs, LineError> {
    let turn_scores = inputs.problems("turn_scores")?;
    let outcomes = inputs.rows("outcomes")?;
    check_same_shape("outcomes", &outcomes, "turn_scores", &turn_scores)?;
    let teacher = TeacherAligned {
        minmax: match inputs.name_option("minmax")? {
            "batch" => MinMax::Batch,
            "problem" => MinMax::Problem,
            "turn" => MinMax::Turn,
            _ => MinMax::None,
        },
        combine: match inputs.name_option("combine")? {
            "gate" => Combine::Gate,
            _ => Combine::Add,
        },
        answer_turn: match inputs.name_option("answer_turn")? {
            "outcome" => AnswerTurn::Outcome,
            _ => AnswerTurn::None,
        },
        ..TeacherAligned::default()
    };
    let std_eps = inputs.number_option("std_eps")?;
    let rewards = teacher.rewards(&turn_scores, &outcomes).rewards;
    let advantages: Vec<Vec<Vec<f64>>> = rewards
        .iter()
        .map(|attempts| turn_pool(attempts, std_eps))
        .collect();
    Outputs::default()
        .problems("rewards", &rewards)?
        .problems("advantages", &advantages)
}

fn gdpo(inputs: &Inputs, usual_weight: f64) -> Result<Outputs, LineError> {
    let rewards = inputs.optional_problems("rewards")?;
    let n_columns = rewards.iter().flatten().next().map_or(0, Vec::len);
    for (problem, attempts) in rewards.iter().enumerate() {
        if let Some(attempt) = attempts.iter().position(|row| row.len() != n_columns) {
            return Err(LineError::Shape {
                place: format!("rewards[{problem}][{attempt}]"),
                found: attempts[attempt].len(),
                other_place: "the first attempt".to_owned(),
                other: n_columns,
            });
        }
    }
    let batch_step = match inputs.name_option("batch_step")? {
        "none" => BatchStep::None,
        "samples" => BatchStep::Samples,
        _ => BatchStep::Tokens,
    };
    let lengths = inputs.if_given("lengths", Inputs::count_rows)?;
    if let Some(lengths) = &lengths {
        check_same_shape("lengths", lengths, "rewards", &rewards)?;
    } else if batch_step == BatchStep::Tokens {
        return Err(Inputs::needed_by("lengths", "batch_step", "tokens"));
    }
    let weights = inputs.option("weights", numbers_or_null)?;
    let weights = weights.unwrap_or(vec![usual_weight; n_columns]);
    let conditions = inputs.option("conditions", conditions_or_null)?;
    let conditions = conditions.unwrap_or(vec![None; n_columns]);
    let is_known = |(own, condition): (usize, &Option<(usize, f64)>)| {
        condition.is_none_or(|(on, _)| on < n_columns && on != own)
    };
    if weights.len() != n_columns {
        return Err(inputs.wrong_option("weights", &format!("a list of {n_columns} numbers")));
    }
    if conditions.len() != n_columns || !conditions.iter().enumerate().all(is_known) {
        let expected =
            format!("a list of {n_columns}, each null or on another reward by its index");
        return Err(inputs.wrong_option("conditions", &expected));
    }
    let columns = weights.into_iter().zip(conditions).enumerate();
    let columns = columns.map(|(idx, (weight, condition))| RewardColumn {
        only_where: condition.map(|(on, at_least)| Condition {
            column: on.to_string(),
            at_least,
        }),
        ..RewardColumn::new(idx.to_string(), weight)
    });
    let gdpo = Gdpo {
        columns: columns.collect(),
        eps: inputs.number_option("eps")?,
        batch_step,
    };
    let found = gdpo.advantages(&rewards, &lengths.unwrap_or_default());
    Outputs::default()
        .rows("advantages", &found.advantages)?
        .optional_problems("columns", &found.columns)
}

fn numbers_or_null(value: &Value) -> Option<Option<Vec<f64>>> {
    match value {
        Value::Null => Some(None),
        Value::Array(entries) => {
            let numbers: Option<Vec<f64>> = entries.iter().map(Value::as_f64).collect();
            numbers.map(Some)
        }
        _ => None,
    }
}

/// Per reward, the index of the one it depends on and its bound.
type Conditions = Vec<Option<(usize, f64)>>;

fn conditions_or_null(value: &Value) -> Option<Option<Conditions>> {
    let condition = |value: &Value| match value {
        Value::Null => Some(None),
        Value::Object(object) if object.len() == 2 => {
            let on = object.get("reward")?.as_u64()?;
            let at_least = object.get("at_least")?.as_f64()?;
            Some(Some((usize::try_from(on).ok()?, at_least)))
        }
        _ => None,
    };
    match value {
        Value::Null => Some(None),
        Value::Array(entries) => {
            let conditions: Option<Conditions> = entries.iter().map(condition).collect();
            conditions.map(Some)
        }
        _ => None,
    }
}
