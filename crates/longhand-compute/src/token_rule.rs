//! The objectives that treat some tokens in their own way, on the wire: KL-Cov, Clip-Cov and STARE.

use longhand_objective::{ClipCov, KlCov, PolicyLoss, Stare, StareVariant, TokenRule};
use serde_json::Value;

use crate::entropy::Ruled;
use crate::error::LineError;
use crate::inputs::Inputs;
use crate::method::{Accepts, Field, Method, OptionEntry, Preset, required};
use crate::objective::{
    COMMON, FIELDS, LOG_RATIO_CLAMP, aggregation, clip_high, clip_low, dual_clip, evaluate,
    log_ratio_clamp, ppo_clip,
};
use crate::outputs::Outputs;

pub(crate) const KL_COV: Method = Method {
    name: "kl-cov",
    about: "-A r + coef |ln r| where logprob and advantage vary together most, -A r elsewhere; \
                with `clip`, PPO's loss elsewhere (CIRCA)",
    fields: FIELDS,
    options: &[
        &[
            fraction(
                "which part of the tokens is penalised; null: 0.002, with `clip` 0.02",
                Preset::Null,
            ),
            OptionEntry {
                name: "coef",
                about: "weight of the penalty; null: 1, with `clip` 0.05",
                accepts: Accepts::AtLeast(0.0),
                preset: Preset::Null,
            },
            OptionEntry {
                name: "clip",
                about: "PPO's bounds for the other tokens; null: none",
                accepts: Accepts::Clip,
                preset: Preset::Null,
            },
            own_bound(
                "clip_low",
                "how far below 1 the ratio may fall with `clip` = `bounds`; null: 0.2",
            ),
            own_bound(
                "clip_high",
                "how far above 1 the ratio may rise with `clip` = `bounds`; null: 0.2",
            ),
            aggregation("token-mean"),
        ],
        NO_LOG_RATIO_CLAMP,
        COMMON,
    ],
    gives: RULED_GIVES,
    evaluate: kl_cov,
};

pub(crate) const CLIP_COV: Method = Method {
    name: "clip-cov",
    about: "PPO's loss, but 0 for some tokens drawn where logprob and advantage vary together",
    fields: FIELDS,
    options: &[
        &[
            fraction(
                "which part of the tokens is dropped, at most",
                Preset::Number(2e-4),
            ),
            OptionEntry {
                name: "low",
                about: "covariances of candidates are above this",
                accepts: Accepts::Finite,
                preset: Preset::Number(1.0),
            },
            OptionEntry {
                name: "high",
                about: "covariances of candidates are below this",
                accepts: Accepts::Finite,
                preset: Preset::Number(5.0),
            },
            OptionEntry {
                name: "seed",
                about: "says which candidates are drawn",
                accepts: Accepts::Count,
                preset: Preset::Count(0),
            },
            clip_low(PolicyLoss::DEFAULT_CLIP),
            clip_high(PolicyLoss::DEFAULT_CLIP),
            dual_clip(Preset::Null),
            aggregation("token-mean"),
        ],
        NO_LOG_RATIO_CLAMP,
        COMMON,
    ],
    gives: RULED_GIVES,
    evaluate: clip_cov,
};

pub(crate) const STARE: Method = Method {
    name: "stare",
    about: "PPO's loss, weighed for the most or the least surprising tokens",
    fields: FIELDS,
    options: &[
        &[
            OptionEntry {
                name: "variant",
                about: "which tokens are weighed",
                accepts: Accepts::Names(&["o1", "o2", "o3", "o4", "c1", "c2"]),
                preset: Preset::Name("o1"),
            },
            OptionEntry {
                name: "quantile",
                about: "which part of the tokens of one sign of advantage is weighed, rounded up",
                accepts: Accepts::Fraction,
                preset: Preset::Number(0.1),
            },
            OptionEntry {
                name: "amplify",
                about: "what amplified tokens are multiplied by",
                accepts: Accepts::AtLeast(0.0),
                preset: Preset::Number(1.1),
            },
            OptionEntry {
                name: "attenuate",
                about: "what attenuated tokens are multiplied by",
                accepts: Accepts::AtLeast(0.0),
                preset: Preset::Number(0.9),
            },
            OptionEntry {
                name: "gate",
                about: "whether tokens are weighed, as the controller decided",
                accepts: Accepts::Flag,
                preset: Preset::Flag(true),
            },
            clip_low(PolicyLoss::DEFAULT_CLIP),
            clip_high(PolicyLoss::DEFAULT_CLIP),
            dual_clip(Preset::NumberOrNull(PolicyLoss::DEFAULT_DUAL_CLIP)),
            aggregation("token-mean"),
        ],
        LOG_RATIO_CLAMP,
        COMMON,
    ],
    gives: RULED_GIVES,
    evaluate: stare,
};

const RULED_GIVES: &[Field] = &[
    required("loss", "number"),
    required("grad", "[sequence][token] numbers"),
    required(
        "entropy_grad",
        "[sequence][token] numbers, or null without `entropies`",
    ),
    required("metrics", "an object of numbers"),
    required(
        "selected",
        "[sequence][token] true or false: weighed, dropped or penalised",
    ),
];

/// As in the authors' code, which does not clamp.
const NO_LOG_RATIO_CLAMP: &[OptionEntry] = &[log_ratio_clamp(Preset::Null)];

const fn fraction(about: &'static str, preset: Preset) -> OptionEntry {
    OptionEntry {
        name: "fraction",
        about,
        accepts: Accepts::Fraction,
        preset,
    }
}

const fn own_bound(name: &'static str, about: &'static str) -> OptionEntry {
    OptionEntry {
        name,
        about,
        accepts: Accepts::AtLeast(0.0),
        preset: Preset::Null,
    }
}

fn kl_cov(inputs: &Inputs) -> Result<Outputs, LineError> {
    let clip = clip(inputs)?;
    let usual = match clip {
        None => KlCov::original(),
        Some(_) => KlCov::circa(),
    };
    let fraction = inputs.number_or_null_option("fraction")?;
    let coef = inputs.number_or_null_option("coef")?;
    let rule = TokenRule::KlCov(KlCov {
        fraction: fraction.unwrap_or(usual.fraction),
        coef: coef.unwrap_or(usual.coef),
        ..usual
    });
    // Without a clip no token meets the bounds.
    let (clip_low, clip_high) = clip.unwrap_or((0.0, 0.0));
    let policy_loss = PolicyLoss::PpoClip {
        clip_low,
        clip_high,
        dual_clip: None,
    };
    evaluate(inputs, policy_loss, Ruled::by(rule))
}

fn clip_cov(inputs: &Inputs) -> Result<Outputs, LineError> {
    let rule = TokenRule::ClipCov(ClipCov {
        fraction: inputs.number_option("fraction")?,
        low: inputs.number_option("low")?,
        high: inputs.number_option("high")?,
    });
    let ruled = Ruled {
        seed: inputs.count_option("seed")? as u64,
        ..Ruled::by(rule)
    };
    evaluate(inputs, ppo_clip(inputs)?, ruled)
}

fn stare(inputs: &Inputs) -> Result<Outputs, LineError> {
    let stare = Stare {
        variant: stare_variant(inputs)?,
        quantile: inputs.number_option("quantile")?,
        amplify: inputs.number_option("amplify")?,
        attenuate: inputs.number_option("attenuate")?,
        ..Stare::default()
    };
    let mut ruled = Ruled::by(TokenRule::Stare(stare));
    if let Some(state) = &mut ruled.state.stare {
        state.gate = inputs.flag_option("gate")?;
    }
    evaluate(inputs, ppo_clip(inputs)?, ruled)
}

/// KL-Cov's bounds for the tokens it does not penalise; `None`: the original, without a clip.
fn clip(inputs: &Inputs) -> Result<Option<(f64, f64)>, LineError> {
    let bound = |value: &Value| value.as_f64().filter(|bound| 0.0 <= *bound);
    let (low, high) = (
        inputs.number_or_null_option("clip_low")?,
        inputs.number_or_null_option("clip_high")?,
    );
    let or_usual = |bound: Option<f64>| bound.unwrap_or(PolicyLoss::DEFAULT_CLIP);
    let own = (or_usual(low), or_usual(high));
    let clip = inputs.option("clip", |value| match value {
        Value::Null => Some(None),
        Value::String(name) if name == "none" => Some(None),
        Value::String(name) if name == "bounds" => Some(Some(own)),
        Value::Array(bounds) => match bounds.as_slice() {
            [low, high] => Some(Some((bound(low)?, bound(high)?))),
            _ => None,
        },
        other => bound(other).map(|bound| Some((bound, bound))),
    })?;
    if (low.is_some() || high.is_some()) && clip != Some(own) {
        return Err(LineError::Combination {
            options: "`clip` and `clip_low` or `clip_high`",
            reason: "these are the bounds of `clip` = `bounds`, and otherwise mean nothing",
        });
    }
    Ok(clip)
}

/// STARE's variant.
fn stare_variant(inputs: &Inputs) -> Result<StareVariant, LineError> {
    Ok(match inputs.name_option("variant")? {
        "o1" => StareVariant::O1,
        "o2" => StareVariant::O2,
        "o3" => StareVariant::O3,
        "o4" => StareVariant::O4,
        "c1" => StareVariant::C1,
        _ => StareVariant::C2,
    })
}
