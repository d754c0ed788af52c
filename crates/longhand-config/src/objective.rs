//! `[stage.objective]`: the policy loss, its KL penalty and how tokens are weighed.

use longhand_objective::{Aggregation, Importance, Kl, KlPenalty, Objective, PolicyLoss};
use serde::{Deserialize, Serialize};

use crate::checks::Checks;
use crate::schema::{
    Bound, Interval, Key, Kind, NOT_NEGATIVE, POSITIVE, SHARE, Variant, defaults_to, optional,
    section,
};
use crate::shape::join;

const ABOVE_ONE: Interval = Interval {
    low: Bound::Open(1.0),
    high: Bound::None,
};
const ABOVE_ZERO: Interval = Interval {
    low: Bound::Open(0.0),
    high: Bound::None,
};

pub(crate) static OBJECTIVE: &[Key] = &[
    defaults_to(
        "policy_loss",
        Kind::Tagged(POLICY_LOSS),
        "\"ppo-clip\"",
        "loss of a token as a function of its ratio and advantage",
    ),
    section(
        "kl",
        KL,
        "penalty on the distance from the policy at the stage's start; with `policy.lora`, from the policy without \
         its adapter",
    ),
    defaults_to(
        "importance",
        Kind::Choice(&["none", "token", "sequence"]),
        "\"none\"",
        "truncated importance weight old/rollout on the policy loss",
    ),
    defaults_to("importance_cap", POSITIVE, "2.0", "largest such weight"),
    defaults_to(
        "log_ratio_clamp",
        Kind::NumberOrNone(ABOVE_ZERO),
        "20.0",
        "log-ratios are kept within plus or minus this",
    ),
    optional(
        "aggregation",
        Kind::Choice(&[
            "token-mean",
            "seq-mean-token-mean",
            "seq-mean-token-sum",
            "seq-mean-token-sum-norm",
        ]),
        "token-mean; seq-mean-token-mean with gspo",
        "how the losses of tokens become one number",
    ),
    defaults_to(
        "unit",
        Kind::Choice(&["trajectory", "context"]),
        "\"trajectory\"",
        "what counts as a sequence there: all turns of an attempt, or each turn",
    ),
    optional(
        "norm_length",
        POSITIVE,
        "no constant length",
        "the constant that seq-mean-token-sum-norm divides by; needed there",
    ),
];

static POLICY_LOSS: &[Variant] = &[
    Variant {
        name: "ppo-clip",
        meaning: "clipped ratio per token (PPO, GRPO, DAPO)",
        keys: PPO_CLIP,
    },
    Variant {
        name: "gspo",
        meaning: "clipped ratio per sequence",
        keys: GSPO,
    },
    Variant {
        name: "cispo",
        meaning: "clipped ratio as a weight on the log-probability",
        keys: CISPO,
    },
];

static PPO_CLIP: &[Key] = &[
    defaults_to(
        "clip_low",
        SHARE,
        "0.2",
        "the ratio is kept above 1 minus this",
    ),
    defaults_to(
        "clip_high",
        NOT_NEGATIVE,
        "0.2",
        "the ratio is kept below 1 plus this",
    ),
    defaults_to(
        "dual_clip",
        Kind::NumberOrNone(ABOVE_ONE),
        "3.0",
        "bounds the loss of a token with negative advantage at this many advantages",
    ),
];

static GSPO: &[Key] = &[
    defaults_to(
        "clip_low",
        SHARE,
        "3e-4",
        "the ratio is kept above 1 minus this",
    ),
    defaults_to(
        "clip_high",
        NOT_NEGATIVE,
        "4e-4",
        "the ratio is kept below 1 plus this",
    ),
];

static CISPO: &[Key] = &[
    defaults_to(
        "clip_low",
        SHARE,
        "1.0",
        "the weight is kept above 1 minus this",
    ),
    defaults_to(
        "clip_high",
        NOT_NEGATIVE,
        "0.2",
        "the weight is kept below 1 plus this",
    ),
];

static KL: &[Key] = &[
    defaults_to(
        "estimator",
        Kind::Choice(&["none", "k1", "k2", "k3"]),
        "\"none\"",
        "estimate of KL(policy || reference) per token; needs a frozen copy of the policy, but none with `policy.lora`",
    ),
    optional(
        "coef",
        NOT_NEGATIVE,
        "0.001 with an estimator, else 0",
        "its weight; 0 with an estimator only reports it",
    ),
    defaults_to(
        "clamp",
        Kind::Flag,
        "false",
        "whether k3 is clamped as verl does: log-ratio to 20, value to 10",
    ),
];

/// What `[stage.objective]` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ObjectiveFile {
    importance: Importance,
    importance_cap: f64,
    #[serde(with = "crate::number_or_none")]
    log_ratio_clamp: Option<f64>,
    aggregation: Option<Aggregation>,
    unit: Unit,
    norm_length: Option<f64>,
    policy_loss: PolicyLoss,
    kl: KlFile,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KlFile {
    estimator: Kl,
    coef: Option<f64>,
    clamp: bool,
}

/// The loss of a batch: the objective per token and the weights of tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectiveSettings {
    /// Loss and gradient of a token.
    pub objective: Objective,
    /// How the losses of tokens become one number.
    pub aggregation: Aggregation,
    /// What counts as a sequence in the aggregation.
    pub unit: Unit,
    /// The constant that `seq-mean-token-sum-norm` divides by; given there and only there.
    pub norm_length: Option<f64>,
}

/// What counts as a sequence when losses are aggregated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// All turns of one attempt: splitting it into more turns changes no weight.
    Trajectory,
    /// Each turn by itself.
    Context,
}

impl ObjectiveFile {
    /// Writes in the values that follow from others.
    pub(crate) fn resolve(&mut self) {
        self.aggregation
            .get_or_insert(self.policy_loss.usual_aggregation());
        let coef = if self.kl.estimator == Kl::None {
            0.0
        } else {
            KlPenalty::default().coef
        };
        self.kl.coef.get_or_insert(coef);
    }

    pub(crate) fn build(&self, path: &str, checks: &mut Checks<'_>) -> ObjectiveSettings {
        let KlFile {
            estimator, clamp, ..
        } = self.kl;
        let coef = self.kl.coef.unwrap_or_default();
        checks.require(coef == 0.0 || estimator != Kl::None, &join(path, "kl.coef"), || {
            format!("{coef} has no effect with kl.estimator = \"none\"; choose \"k3\" (or \"k1\", \"k2\"), or 0")
        });
        let aggregation = self
            .aggregation
            .unwrap_or(self.policy_loss.usual_aggregation());
        let needs_norm = aggregation == Aggregation::SeqMeanTokenSumNorm;
        match self.norm_length {
            None if needs_norm => checks.fail(
                &join(path, "norm_length"),
                "missing: aggregation \"seq-mean-token-sum-norm\" divides by it; give the longest trajectory in tokens",
            ),
            Some(_) if !needs_norm => checks.fail(
                &join(path, "norm_length"),
                "only aggregation \"seq-mean-token-sum-norm\" uses it; remove it or choose that aggregation",
            ),
            _ => {}
        }
        ObjectiveSettings {
            objective: Objective {
                policy_loss: self.policy_loss,
                kl: KlPenalty {
                    estimator,
                    coef,
                    clamp,
                },
                importance: self.importance,
                importance_cap: self.importance_cap,
                log_ratio_clamp: self.log_ratio_clamp,
            },
            aggregation,
            unit: self.unit,
            norm_length: self.norm_length,
        }
    }
}
