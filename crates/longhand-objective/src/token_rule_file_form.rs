//! How a token rule is written in a file: one flat table with a `kind`.
//!
//! A flat struct rather than serde's tagged enum, which would forget where in the file a wrong value
//! stood.

use serde::{Deserialize, Serialize};

use crate::file_form::{NumberOrNone, given};
use crate::{
    ClipCov, KlCov, KlCovForm, ObjectiveError, SingleUpdate, Stare, StareVariant, TokenRule,
};

/// What the file says; [`TryFrom`] says whether it makes sense.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename = "token rule")]
pub(crate) struct TokenRuleTable {
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<StareVariant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fraction: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quantile: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    coef: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    low: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    high: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amplify: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attenuate: Option<f64>,
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    target_entropy: Option<NumberOrNone>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_amplify: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_attenuate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    single_update: Option<SingleUpdate>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    None,
    KlCov,
    Circa,
    ClipCov,
    Stare,
}

impl TokenRuleTable {
    fn empty(kind: Kind) -> Self {
        TokenRuleTable {
            kind,
            variant: None,
            fraction: None,
            quantile: None,
            coef: None,
            low: None,
            high: None,
            amplify: None,
            attenuate: None,
            target_entropy: None,
            step: None,
            max_amplify: None,
            min_attenuate: None,
            single_update: None,
        }
    }

    /// Every key with the rules that have it, and whether it is given.
    fn keys(&self) -> [(&'static str, &'static [&'static str], bool); 13] {
        const COV: &[&str] = &["kl-cov", "circa"];
        const ANY_COV: &[&str] = &["kl-cov", "circa", "clip-cov"];
        const CLIP_COV: &[&str] = &["clip-cov"];
        const STARE: &[&str] = &["stare"];
        [
            ("variant", STARE, self.variant.is_some()),
            ("fraction", ANY_COV, self.fraction.is_some()),
            ("quantile", STARE, self.quantile.is_some()),
            ("coef", COV, self.coef.is_some()),
            ("low", CLIP_COV, self.low.is_some()),
            ("high", CLIP_COV, self.high.is_some()),
            ("amplify", STARE, self.amplify.is_some()),
            ("attenuate", STARE, self.attenuate.is_some()),
            ("target_entropy", STARE, self.target_entropy.is_some()),
            ("step", STARE, self.step.is_some()),
            ("max_amplify", STARE, self.max_amplify.is_some()),
            ("min_attenuate", STARE, self.min_attenuate.is_some()),
            ("single_update", COV, self.single_update.is_some()),
        ]
    }
}

impl TryFrom<TokenRuleTable> for TokenRule {
    type Error = ObjectiveError;

    fn try_from(table: TokenRuleTable) -> Result<Self, ObjectiveError> {
        let kl_cov = |usual: KlCov| {
            TokenRule::KlCov(KlCov {
                form: usual.form,
                fraction: table.fraction.unwrap_or(usual.fraction),
                coef: table.coef.unwrap_or(usual.coef),
                single_update: table.single_update.unwrap_or(usual.single_update),
            })
        };
        let rule = match table.kind {
            Kind::None => TokenRule::None,
            Kind::KlCov => kl_cov(KlCov::original()),
            Kind::Circa => kl_cov(KlCov::circa()),
            Kind::ClipCov => {
                let usual = ClipCov::default();
                TokenRule::ClipCov(ClipCov {
                    fraction: table.fraction.unwrap_or(usual.fraction),
                    low: table.low.unwrap_or(usual.low),
                    high: table.high.unwrap_or(usual.high),
                })
            }
            Kind::Stare => {
                let usual = Stare::default();
                let target = table.target_entropy.map(|given| given.0);
                TokenRule::Stare(Stare {
                    variant: table.variant.unwrap_or(usual.variant),
                    quantile: table.quantile.unwrap_or(usual.quantile),
                    amplify: table.amplify.unwrap_or(usual.amplify),
                    attenuate: table.attenuate.unwrap_or(usual.attenuate),
                    target_entropy: target.unwrap_or(usual.target_entropy),
                    step: table.step.unwrap_or(usual.step),
                    max_amplify: table.max_amplify.unwrap_or(usual.max_amplify),
                    min_attenuate: table.min_attenuate.unwrap_or(usual.min_attenuate),
                })
            }
        };
        let name = rule.name();
        let is_foreign =
            |(_, owners, is_given): &(_, &[&str], _)| *is_given && !owners.contains(&name);
        if let Some((option, owners, _)) = table.keys().into_iter().find(is_foreign) {
            return Err(ObjectiveError::ForeignRuleOption {
                option,
                owners,
                rule: name,
            });
        }
        rule.check()?;
        Ok(rule)
    }
}

impl From<TokenRule> for TokenRuleTable {
    fn from(rule: TokenRule) -> Self {
        match rule {
            TokenRule::None => TokenRuleTable::empty(Kind::None),
            TokenRule::KlCov(kl_cov) => TokenRuleTable {
                fraction: Some(kl_cov.fraction),
                coef: Some(kl_cov.coef),
                single_update: Some(kl_cov.single_update),
                ..TokenRuleTable::empty(match kl_cov.form {
                    KlCovForm::WithoutClip => Kind::KlCov,
                    KlCovForm::InsideClip => Kind::Circa,
                })
            },
            TokenRule::ClipCov(clip_cov) => TokenRuleTable {
                fraction: Some(clip_cov.fraction),
                low: Some(clip_cov.low),
                high: Some(clip_cov.high),
                ..TokenRuleTable::empty(Kind::ClipCov)
            },
            TokenRule::Stare(stare) => TokenRuleTable {
                variant: Some(stare.variant),
                quantile: Some(stare.quantile),
                amplify: Some(stare.amplify),
                attenuate: Some(stare.attenuate),
                target_entropy: Some(NumberOrNone(stare.target_entropy)),
                step: Some(stare.step),
                max_amplify: Some(stare.max_amplify),
                min_attenuate: Some(stare.min_attenuate),
                ..TokenRuleTable::empty(Kind::Stare)
            },
        }
    }
}
