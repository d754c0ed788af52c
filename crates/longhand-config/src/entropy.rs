//! `[stage.entropy]`: how entropy is kept from collapsing.
//!
//! Clip-higher is `clip_high` of the objective.

use longhand_objective::{
    ClipCov, EntropyBonus, EntropyControl, KlCov, KlCovForm, ObjectiveError, PolicyLoss, Scope,
    SingleUpdate, Stare, StareVariant, TokenRule,
};
use serde::{Deserialize, Serialize};

use crate::checks::Checks;
use crate::schema::{
    Bound, Interval, Key, Kind, NOT_NEGATIVE, POSITIVE_SHARE, SHARE, Variant, defaults_to, section,
};
use crate::shape::join;

const AT_LEAST_ONE: Kind = Kind::Number(Interval {
    low: Bound::Closed(1.0),
    high: Bound::None,
});
const ANY_NUMBER: Kind = Kind::Number(Interval {
    low: Bound::None,
    high: Bound::None,
});
const TARGET: Interval = Interval {
    low: Bound::Closed(0.0),
    high: Bound::None,
};

pub(crate) static ENTROPY: &[Key] = &[
    defaults_to(
        "scope",
        Kind::Choice(&["micro-batch", "mini-batch", "batch"]),
        "\"mini-batch\"",
        "tokens over which covariances and quantiles are taken; micro-batch depends on memory at hand, the \
         others do not and cost a scoring pass",
    ),
    defaults_to(
        "rule",
        Kind::Tagged(RULE),
        "\"none\"",
        "which tokens are treated in their own way",
    ),
    defaults_to(
        "top_entropy_fraction",
        POSITIVE_SHARE,
        "1.0",
        "the part of the tokens, by entropy, that keeps its policy loss; 0.2 is the 80/20 rule \
         (arXiv:2506.01939)",
    ),
    section("bonus", BONUS, "a bonus on entropy in the loss"),
];

static RULE: &[Variant] = &[
    Variant {
        name: "none",
        meaning: "all tokens alike",
        keys: &[],
    },
    Variant {
        name: "kl-cov",
        meaning: "tokens of highest covariance are kept near the old policy, none is clipped \
                  (arXiv:2505.22617)",
        keys: KL_COV,
    },
    Variant {
        name: "circa",
        meaning: "the same inside PPO's clip (CIRCA, arXiv:2605.22620)",
        keys: CIRCA,
    },
    Variant {
        name: "clip-cov",
        meaning: "some tokens of high covariance are dropped (arXiv:2505.22617)",
        keys: CLIP_COV,
    },
    Variant {
        name: "stare",
        meaning: "surprising tokens are weighed while entropy is low (arXiv:2606.19236)",
        keys: STARE,
    },
];

const SINGLE_UPDATE: Key = defaults_to(
    "single_update",
    Kind::Choice(&["refused", "forced"]),
    "\"refused\"",
    "whether mini_batches = 1, with which the penalty is always zero, is accepted",
);

const fn penalised(usual: &'static str) -> Key {
    defaults_to(
        "fraction",
        POSITIVE_SHARE,
        usual,
        "part of the scope's tokens that is penalised; a fraction, not percent",
    )
}

const fn coef(usual: &'static str) -> Key {
    defaults_to("coef", NOT_NEGATIVE, usual, "weight of the penalty |ln r|")
}

static KL_COV: &[Key] = &[penalised("2e-3"), coef("1.0"), SINGLE_UPDATE];

static CIRCA: &[Key] = &[penalised("0.02"), coef("0.05"), SINGLE_UPDATE];

static CLIP_COV: &[Key] = &[
    defaults_to(
        "fraction",
        POSITIVE_SHARE,
        "2e-4",
        "part of the scope's tokens that is dropped, at most; a fraction, not percent",
    ),
    defaults_to(
        "low",
        ANY_NUMBER,
        "1.0",
        "covariances of candidates are above this",
    ),
    defaults_to(
        "high",
        ANY_NUMBER,
        "5.0",
        "covariances of candidates are below this",
    ),
];

static STARE: &[Key] = &[
    defaults_to(
        "variant",
        Kind::Choice(&["o1", "o2", "o3", "o4", "c1", "c2"]),
        "\"o1\"",
        "which tokens: o1 amplifies good surprises, o4 attenuates bad ones, c2 is both; o2 attenuates what \
         is good and expected, o3 amplifies what is bad and expected, c1 is o1 and o3",
    ),
    defaults_to(
        "quantile",
        POSITIVE_SHARE,
        "0.1",
        "share of the tokens of one sign of advantage that is weighed",
    ),
    defaults_to(
        "amplify",
        AT_LEAST_ONE,
        "1.1",
        "what amplified tokens are multiplied by",
    ),
    defaults_to(
        "attenuate",
        SHARE,
        "0.9",
        "what attenuated tokens are multiplied by",
    ),
    defaults_to(
        "target_entropy",
        Kind::NumberOrNone(TARGET),
        "0.3",
        "entropy in nats a token from which on nothing is weighed; none: always weighed",
    ),
    defaults_to(
        "step",
        NOT_NEGATIVE,
        "0.0",
        "how far both weights move per rollout batch towards the target; 0: they are fixed",
    ),
    defaults_to(
        "max_amplify",
        AT_LEAST_ONE,
        "1.5",
        "the most that `amplify` moves to",
    ),
    defaults_to(
        "min_attenuate",
        SHARE,
        "0.5",
        "the least that `attenuate` moves to",
    ),
];

static BONUS: &[Key] = &[
    defaults_to(
        "coef",
        NOT_NEGATIVE,
        "0.0",
        "its weight, or the first one if it is adaptive",
    ),
    defaults_to(
        "target",
        Kind::NumberOrNone(TARGET),
        "\"none\"",
        "entropy in nats a token that an adaptive weight aims at; none: a fixed weight",
    ),
    defaults_to(
        "step",
        NOT_NEGATIVE,
        "0.005",
        "how far an adaptive weight moves per rollout batch",
    ),
    defaults_to("min", NOT_NEGATIVE, "0.0", "the least adaptive weight"),
    defaults_to("max", NOT_NEGATIVE, "1.0", "the most adaptive weight"),
];

/// What `[stage.entropy]` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EntropyFile {
    scope: Scope,
    rule: RuleFile,
    top_entropy_fraction: f64,
    bonus: EntropyBonus,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "kebab-case")]
enum RuleFile {
    None {},
    KlCov {
        fraction: f64,
        coef: f64,
        single_update: SingleUpdate,
    },
    Circa {
        fraction: f64,
        coef: f64,
        single_update: SingleUpdate,
    },
    ClipCov {
        fraction: f64,
        low: f64,
        high: f64,
    },
    Stare {
        variant: StareVariant,
        quantile: f64,
        amplify: f64,
        attenuate: f64,
        #[serde(with = "crate::number_or_none")]
        target_entropy: Option<f64>,
        step: f64,
        max_amplify: f64,
        min_attenuate: f64,
    },
}

impl RuleFile {
    fn build(&self) -> TokenRule {
        let kl_cov = |form, fraction, coef, single_update| {
            TokenRule::KlCov(KlCov {
                form,
                fraction,
                coef,
                single_update,
            })
        };
        match *self {
            Self::None {} => TokenRule::None,
            Self::KlCov {
                fraction,
                coef,
                single_update,
            } => kl_cov(KlCovForm::WithoutClip, fraction, coef, single_update),
            Self::Circa {
                fraction,
                coef,
                single_update,
            } => kl_cov(KlCovForm::InsideClip, fraction, coef, single_update),
            Self::ClipCov {
                fraction,
                low,
                high,
            } => TokenRule::ClipCov(ClipCov {
                fraction,
                low,
                high,
            }),
            Self::Stare {
                variant,
                quantile,
                amplify,
                attenuate,
                target_entropy,
                step,
                max_amplify,
                min_attenuate,
            } => TokenRule::Stare(Stare {
                variant,
                quantile,
                amplify,
                attenuate,
                target_entropy,
                step,
                max_amplify,
                min_attenuate,
            }),
        }
    }
}

impl EntropyFile {
    /// `updates` are those of one rollout batch.
    pub(crate) fn build(
        &self,
        policy_loss: &PolicyLoss,
        updates: usize,
        path: &str,
        checks: &mut Checks<'_>,
    ) -> EntropyControl {
        let control = EntropyControl {
            scope: self.scope,
            rule: self.rule.build(),
            top_entropy_fraction: self.top_entropy_fraction,
            bonus: self.bonus,
        };
        let rule = join(path, "rule");
        if let Err(error) = control.rule.check() {
            checks.fail(&rule, error.to_string());
        } else if let Err(error) = control.check_updates(updates) {
            checks.fail(
                &rule,
                format!("{error}; here that is mini_batches = {updates}"),
            );
        } else if let Err(error) = control.check(policy_loss) {
            let key = match error {
                ObjectiveError::NeedsPpoClip { .. } => rule,
                _ => join(path, "bonus"),
            };
            checks.fail(&key, error.to_string());
        }
        control
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_methods() {
        let literal = |keys: &[Key], name: &str| -> String {
            let key = keys.iter().find(|key| key.name == name).unwrap();
            let crate::schema::Default::Literal(literal) = key.default else {
                panic!("{name} has a default");
            };
            literal.trim_matches('"').to_string()
        };
        let number = |keys: &[Key], name: &str| literal(keys, name).parse::<f64>().unwrap();
        for (keys, usual) in [(KL_COV, KlCov::original()), (CIRCA, KlCov::circa())] {
            assert_eq!(number(keys, "fraction"), usual.fraction);
            assert_eq!(number(keys, "coef"), usual.coef);
        }
        let usual = ClipCov::default();
        assert_eq!(number(CLIP_COV, "fraction"), usual.fraction);
        assert_eq!(number(CLIP_COV, "low"), usual.low);
        assert_eq!(number(CLIP_COV, "high"), usual.high);
        let usual = Stare::default();
        let found = [
            "quantile",
            "amplify",
            "attenuate",
            "step",
            "max_amplify",
            "min_attenuate",
        ]
        .map(|name| number(STARE, name));
        let expected = [
            usual.quantile,
            usual.amplify,
            usual.attenuate,
            usual.step,
            usual.max_amplify,
            usual.min_attenuate,
        ];
        assert_eq!(found, expected);
        assert_eq!(Some(number(STARE, "target_entropy")), usual.target_entropy);
        assert_eq!(literal(STARE, "variant"), "o1");
        let usual = EntropyBonus::default();
        let found = ["coef", "step", "min", "max"].map(|name| number(BONUS, name));
        assert_eq!(found, [usual.coef, usual.step, usual.min, usual.max]);
        assert_eq!(
            (literal(BONUS, "target"), usual.target),
            ("none".into(), None)
        );
    }
}
