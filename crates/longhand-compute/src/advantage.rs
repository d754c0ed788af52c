//! The estimators on the wire.

use longhand_advantage::{
    DEFAULT_EPS, OutcomeEstimator, Scale, TokenAdvantages, gae, reinforce_plus_plus, turn_pool,
    whiten,
};
use longhand_reward_teacher::{AnswerTurn, Combine, MinMax, TeacherAligned};

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
];

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
