//! How an estimator is written in a file: one flat table with a `kind`.
//!
//! A flat struct rather than serde's tagged enum, for two reasons: a tagged enum ignores unknown
//! keys beside a variant without fields, and it forgets where in the file a wrong value stood.

use serde::{Deserialize, Serialize};

use crate::{AdvantageError, DEFAULT_EPS, OutcomeEstimator, Scale};

/// What the file says; [`TryFrom`] says whether it makes sense.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename = "estimator")]
pub(crate) struct EstimatorTable {
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    scale: Option<Scale>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eps: Option<f64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Grpo,
    DrGrpo,
    Memagent,
    Rloo,
    ReinforcePlusPlusBaseline,
    Opo,
}

impl TryFrom<EstimatorTable> for OutcomeEstimator {
    type Error = AdvantageError;

    fn try_from(table: EstimatorTable) -> Result<Self, AdvantageError> {
        let estimator = match table.kind {
            Kind::Grpo => OutcomeEstimator::Grpo {
                scale: table.scale.unwrap_or_default(),
                eps: table.eps.unwrap_or(DEFAULT_EPS),
            },
            Kind::DrGrpo => OutcomeEstimator::DrGrpo,
            Kind::Memagent => OutcomeEstimator::Memagent,
            Kind::Rloo => OutcomeEstimator::Rloo,
            Kind::ReinforcePlusPlusBaseline => OutcomeEstimator::ReinforcePlusPlusBaseline,
            Kind::Opo => OutcomeEstimator::Opo,
        };
        if !matches!(estimator, OutcomeEstimator::Grpo { .. }) {
            let given = [
                ("scale", table.scale.is_some()),
                ("eps", table.eps.is_some()),
            ];
            if let Some((option, _)) = given.into_iter().find(|&(_, is_given)| is_given) {
                return Err(AdvantageError::ForeignOption {
                    option,
                    owner: "grpo",
                    estimator: estimator.name(),
                });
            }
        }
        estimator.check()?;
        Ok(estimator)
    }
}

impl From<OutcomeEstimator> for EstimatorTable {
    fn from(estimator: OutcomeEstimator) -> Self {
        let plain = |kind| EstimatorTable {
            kind,
            scale: None,
            eps: None,
        };
        match estimator {
            OutcomeEstimator::Grpo { scale, eps } => EstimatorTable {
                kind: Kind::Grpo,
                scale: Some(scale),
                eps: Some(eps),
            },
            OutcomeEstimator::DrGrpo => plain(Kind::DrGrpo),
            OutcomeEstimator::Memagent => plain(Kind::Memagent),
            OutcomeEstimator::Rloo => plain(Kind::Rloo),
            OutcomeEstimator::ReinforcePlusPlusBaseline => plain(Kind::ReinforcePlusPlusBaseline),
            OutcomeEstimator::Opo => plain(Kind::Opo),
        }
    }
}
