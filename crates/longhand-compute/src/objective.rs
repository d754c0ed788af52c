//! The objectives on the wire.

use longhand_objective::{
    Aggregation, Denominators, Importance, Kl, KlPenalty, Metrics, Objective, PolicyLoss,
    TokenRule, token_weights,
};
use serde_json::Value;

use crate::entropy::{self, Line, Ruled};
use crate::error::LineError;
use crate::inputs::{Inputs, check_same_shape};
use crate::method::{Accepts, Field, Method, OptionEntry, Preset, optional, required};
use crate::outputs::Outputs;
use crate::token_rule;

pub(crate) static METHODS: &[Method] = &[
    Method {
        name: "ppo-clip",
        about: "max(-A r, -A clip(r)), and for A < 0 at most -A dual_clip",
        fields: FIELDS,
        options: &[
            &[
                clip_low(PolicyLoss::DEFAULT_CLIP),
                clip_high(PolicyLoss::DEFAULT_CLIP),
                dual_clip(Preset::NumberOrNull(PolicyLoss::DEFAULT_DUAL_CLIP)),
                aggregation("token-mean"),
            ],
            LOG_RATIO_CLAMP,
            COMMON,
        ],
        gives: GIVES,
        evaluate: |inputs| evaluate(inputs, ppo_clip(inputs)?, Ruled::default()),
    },
    Method {
        name: "gspo",
        about: "the clipped surrogate of one ratio per sequence, exp(mean of the log ratios)",
        fields: FIELDS,
        // The bounds that the paper suggests for ratios of whole sequences.
        options: &[
            &[
                clip_low(3e-4),
                clip_high(4e-4),
                aggregation("seq-mean-token-mean"),
            ],
            LOG_RATIO_CLAMP,
            COMMON,
        ],
        gives: GIVES,
        evaluate: |inputs| {
            let policy_loss = PolicyLoss::Gspo {
                clip_low: inputs.number_option("clip_low")?,
                clip_high: inputs.number_option("clip_high")?,
            };
            evaluate(inputs, policy_loss, Ruled::default())
        },
    },
    Method {
        name: "cispo",
        about: "-clip(r) A logprob, the clipped ratio without a gradient",
        fields: FIELDS,
        options: &[
            &[
                clip_low(PolicyLoss::DEFAULT_CLIP),
                clip_high(PolicyLoss::DEFAULT_CLIP),
                aggregation("token-mean"),
            ],
            LOG_RATIO_CLAMP,
            COMMON,
        ],
        gives: GIVES,
        evaluate: |inputs| {
            let policy_loss = PolicyLoss::Cispo {
                clip_low: inputs.number_option("clip_low")?,
                clip_high: inputs.number_option("clip_high")?,
            };
            evaluate(inputs, policy_loss, Ruled::default())
        },
    },
    token_rule::KL_COV,
    token_rule::CLIP_COV,
    token_rule::STARE,
];

pub(crate) const FIELDS: &[Field] = &[
    required("logprobs", "[sequence][token] numbers"),
    required("old_logprobs", "[sequence][token] numbers"),
    required("advantages", "[sequence][token] numbers"),
    required("loss_mask", "[sequence][token] true, false, 1 or 0"),
    optional(
        "ref_logprobs",
        "[sequence][token] numbers; needed for a `kl`",
    ),
    optional(
        "rollout_logprobs",
        "[sequence][token] numbers; needed for an `importance`",
    ),
    optional(
        "entropies",
        "[sequence][token] numbers, nats; needed for an `entropy_coef` or a `top_entropy_fraction`",
    ),
    optional(
        "micro_batches",
        "[micro-batch] counts of sequences, evaluated one after the other; without it, one has all",
    ),
];

const GIVES: &[Field] = &[
    required("loss", "number"),
    required("grad", "[sequence][token] numbers"),
    required(
        "entropy_grad",
        "[sequence][token] numbers, or null without `entropies`",
    ),
    required("metrics", "an object of numbers"),
];

pub(crate) const COMMON: &[OptionEntry] = &[
    OptionEntry {
        name: "denominator",
        about: "replaces what the aggregation divides by; null: as the line gives it",
        accepts: Accepts::Above(0.0),
        preset: Preset::Null,
    },
    OptionEntry {
        name: "norm_length",
        about: "what seq-mean-token-sum-norm divides by; null: the longest sequence",
        accepts: Accepts::Above(0.0),
        preset: Preset::Null,
    },
    OptionEntry {
        name: "kl",
        about: "the estimate of KL(policy || reference) that is added",
        accepts: Accepts::Names(&["none", "k1", "k2", "k3"]),
        preset: Preset::Name("none"),
    },
    OptionEntry {
        name: "kl_coef",
        about: "its weight",
        accepts: Accepts::AtLeast(0.0),
        preset: Preset::Number(1e-3),
    },
    OptionEntry {
        name: "kl_clamp",
        about: "whether k3 keeps its log ratio within 20 either way and its value within 10",
        accepts: Accepts::Flag,
        preset: Preset::Flag(false),
    },
    OptionEntry {
        name: "importance",
        about: "truncated importance sampling of old_logprobs over rollout_logprobs",
        accepts: Accepts::Names(&["none", "token", "sequence"]),
        preset: Preset::Name("none"),
    },
    OptionEntry {
        name: "importance_cap",
        about: "the largest importance weight",
        accepts: Accepts::Above(0.0),
        preset: Preset::Number(Importance::DEFAULT_CAP),
    },
    OptionEntry {
        name: "entropy_coef",
        about: "weight of the entropy bonus, which is subtracted",
        accepts: Accepts::AtLeast(0.0),
        preset: Preset::Number(0.0),
    },
    OptionEntry {
        name: "top_entropy_fraction",
        about: "which part of the tokens, by entropy, keeps its policy loss; 1: all",
        accepts: Accepts::Fraction,
        preset: Preset::Number(1.0),
    },
    OptionEntry {
        name: "scope",
        about: "over which tokens quantiles and covariances are taken: the whole line, or one of \
                `micro_batches` at a time",
        accepts: Accepts::Names(&["batch", "mini-batch", "micro-batch"]),
        preset: Preset::Name("batch"),
    },
];

pub(crate) const LOG_RATIO_CLAMP: &[OptionEntry] = &[log_ratio_clamp(Preset::NumberOrNull(
    Objective::DEFAULT_LOG_RATIO_CLAMP,
))];
pub(crate) const fn log_ratio_clamp(preset: Preset) -> OptionEntry {
    OptionEntry {
        name: "log_ratio_clamp",
        about: "log ratios are kept within this either way; null: not",
        accepts: Accepts::Above(0.0),
        preset,
    }
}

pub(crate) const fn dual_clip(preset: Preset) -> OptionEntry {
    OptionEntry {
        name: "dual_clip",
        about: "the ratio at which tokens with a negative advantage stop; null: none",
        accepts: Accepts::Above(1.0),
        preset,
    }
}

pub(crate) const fn clip_low(default: f64) -> OptionEntry {
    OptionEntry {
        name: "clip_low",
        about: "how far below 1 the ratio may fall",
        accepts: Accepts::AtLeast(0.0),
        preset: Preset::Number(default),
    }
}

pub(crate) const fn clip_high(default: f64) -> OptionEntry {
    OptionEntry {
        name: "clip_high",
        about: "how far above 1 the ratio may rise",
        accepts: Accepts::AtLeast(0.0),
        preset: Preset::Number(default),
    }
}

pub(crate) const fn aggregation(default: &'static str) -> OptionEntry {
    OptionEntry {
        name: "aggregation",
        about: "how per-token losses become one number",
        accepts: Accepts::Names(&[
            "token-mean",
            "seq-mean-token-mean",
            "seq-mean-token-sum",
            "seq-mean-token-sum-norm",
        ]),
        preset: Preset::Name(default),
    }
}

pub(crate) fn ppo_clip(inputs: &Inputs) -> Result<PolicyLoss, LineError> {
    Ok(PolicyLoss::PpoClip {
        clip_low: inputs.number_option("clip_low")?,
        clip_high: inputs.number_option("clip_high")?,
        dual_clip: inputs.number_or_null_option("dual_clip")?,
    })
}

pub(crate) fn evaluate(
    inputs: &Inputs,
    policy_loss: PolicyLoss,
    ruled: Ruled,
) -> Result<Outputs, LineError> {
    let logprobs = inputs.rows("logprobs")?;
    let same_shape = |inputs: &Inputs, name| {
        let rows = inputs.rows(name)?;
        check_same_shape(name, &rows, "logprobs", &logprobs)?;
        Ok(rows.concat())
    };
    let old_logprobs = same_shape(inputs, "old_logprobs")?;
    let advantages = same_shape(inputs, "advantages")?;
    let loss_mask = inputs.mask_rows("loss_mask")?;
    check_same_shape("loss_mask", &loss_mask, "logprobs", &logprobs)?;
    let ref_logprobs = inputs.if_given("ref_logprobs", same_shape)?;
    let rollout_logprobs = inputs.if_given("rollout_logprobs", same_shape)?;
    let entropies = inputs.if_given("entropies", same_shape)?;

    let objective = objective(inputs, policy_loss)?;
    if objective.needs_reference() && ref_logprobs.is_none() {
        let kl = inputs.name_option("kl")?;
        return Err(Inputs::needed_by("ref_logprobs", "kl", kl));
    }
    if objective.needs_rollout_logprobs() && rollout_logprobs.is_none() {
        let importance = inputs.name_option("importance")?;
        let error = Inputs::needed_by("rollout_logprobs", "importance", importance);
        return Err(error);
    }
    let lengths: Vec<usize> = logprobs.iter().map(Vec::len).collect();
    let (aggregation, denominators) = denominators(inputs, &lengths, &loss_mask)?;
    let loss_mask = loss_mask.concat();
    let found = entropy::evaluate(
        inputs,
        &objective,
        &ruled,
        &Line {
            lengths: &lengths,
            logprobs: &logprobs.concat(),
            old_logprobs: &old_logprobs,
            advantages: &advantages,
            loss_mask: &loss_mask,
            weights: &token_weights(aggregation, &lengths, &loss_mask, &denominators),
            ref_logprobs: ref_logprobs.as_deref(),
            rollout_logprobs: rollout_logprobs.as_deref(),
            entropies: entropies.as_deref(),
        },
    )?;

    let metrics = metrics(&found.metrics)?.into_object();
    let outputs = Outputs::default()
        .number("loss", found.loss)?
        .rows("grad", &by_sequence(&lengths, &found.grad))?;
    let outputs = match &found.entropy_grad {
        Some(grad) => outputs.rows("entropy_grad", &by_sequence(&lengths, grad))?,
        None => outputs.value("entropy_grad", Value::Null),
    };
    let outputs = outputs.value("metrics", metrics);
    Ok(match ruled.rule {
        TokenRule::None => outputs,
        _ => outputs.value("selected", by_sequence(&lengths, &found.selected)),
    })
}

fn by_sequence<T: Clone>(lengths: &[usize], of_tokens: &[T]) -> Vec<Vec<T>> {
    let mut rest = of_tokens;
    let of_sequence = |&length: &usize| {
        let (sequence, behind) = rest.split_at(length);
        rest = behind;
        sequence.to_vec()
    };
    lengths.iter().map(of_sequence).collect()
}

fn objective(inputs: &Inputs, policy_loss: PolicyLoss) -> Result<Objective, LineError> {
    Ok(Objective {
        policy_loss,
        kl: KlPenalty {
            estimator: match inputs.name_option("kl")? {
                "k1" => Kl::K1,
                "k2" => Kl::K2,
                "k3" => Kl::K3,
                _ => Kl::None,
            },
            coef: inputs.number_option("kl_coef")?,
            clamp: inputs.flag_option("kl_clamp")?,
        },
        importance: match inputs.name_option("importance")? {
            "token" => Importance::Token,
            "sequence" => Importance::Sequence,
            _ => Importance::None,
        },
        importance_cap: inputs.number_option("importance_cap")?,
        log_ratio_clamp: inputs.number_or_null_option("log_ratio_clamp")?,
    })
}

fn denominators(
    inputs: &Inputs,
    lengths: &[usize],
    loss_mask: &[Vec<bool>],
) -> Result<(Aggregation, Denominators), LineError> {
    let aggregation = match inputs.name_option("aggregation")? {
        "token-mean" => Aggregation::TokenMean,
        "seq-mean-token-mean" => Aggregation::SeqMeanTokenMean,
        "seq-mean-token-sum" => Aggregation::SeqMeanTokenSum,
        _ => Aggregation::SeqMeanTokenSumNorm,
    };
    let denominator = inputs.number_or_null_option("denominator")?;
    let norm_length = inputs.number_or_null_option("norm_length")?;
    if denominator.is_some() && norm_length.is_some() {
        return Err(LineError::Combination {
            options: "`denominator` and `norm_length`",
            reason: "both say what the loss is divided by; give one",
        });
    }
    let longest = lengths.iter().max().copied().unwrap_or(0) as f64;
    let trained = |mask: &Vec<bool>| mask.iter().filter(|is_trained| **is_trained).count();
    let trained_lengths: Vec<usize> = loss_mask.iter().map(trained).collect();
    let counted = Denominators::of(&trained_lengths, norm_length.unwrap_or(longest));
    let denominators = match denominator {
        Some(denominator) => counted.overridden(aggregation, denominator),
        None => counted,
    };
    Ok((aggregation, denominators))
}

fn metrics(metrics: &Metrics) -> Result<Outputs, LineError> {
    let or_null = |outputs: Outputs, name, value| match value {
        Some(number) => outputs.number(name, number),
        None => Ok(outputs.value(name, Value::Null)),
    };
    let outputs = Outputs::default()
        .value("n_tokens", metrics.n_tokens)
        .number("policy_loss", metrics.policy_loss)?
        .number("kl_loss", metrics.kl_loss)?
        .number("entropy_loss", metrics.entropy_loss)?
        .number("log_ratio_penalty", metrics.log_ratio_penalty)?
        .number("selected_fraction", metrics.selected_fraction())?
        .number("abs_log_ratio", metrics.abs_log_ratio_mean())?
        .number("approx_kl", metrics.approx_kl())?
        .number("ratio_mean", metrics.ratio_mean())?
        .number("ratio_max_deviation", metrics.ratio_max_deviation)?
        .number("clip_low_fraction", metrics.clip_low_fraction())?
        .number("clip_high_fraction", metrics.clip_high_fraction())?
        .number("clip_dual_fraction", metrics.clip_dual_fraction())?
        .number(
            "log_ratio_clamp_fraction",
            metrics.log_ratio_clamp_fraction(),
        )?
        .number("importance_mean", metrics.importance_mean())?
        .number(
            "importance_capped_fraction",
            metrics.importance_capped_fraction(),
        )?;
    let outputs = or_null(outputs, "ref_kl", metrics.ref_kl())?;
    let outputs = or_null(outputs, "rollout_kl", metrics.rollout_kl())?;
    or_null(outputs, "entropy", metrics.entropy())
}
