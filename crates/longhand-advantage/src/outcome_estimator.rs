//! The choice among estimators that take one reward per attempt.

use crate::{
    AdvantageError, DEFAULT_EPS, Scale, dr_grpo, grpo, memagent, opo, reinforce_plus_plus_baseline,
    rloo,
};

/// An estimator that turns one reward per attempt into one advantage per attempt.
///
/// With the `serde` feature it reads from a flat table whose `kind` is the name in kebab case
/// (`grpo`, `dr-grpo`, `memagent`, `rloo`, `reinforce-plus-plus-baseline`, `opo`); `scale` and
/// `eps` are keys of `grpo` only, unknown keys are errors.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(
        try_from = "crate::file_form::EstimatorTable",
        into = "crate::file_form::EstimatorTable"
    )
)]
pub enum OutcomeEstimator {
    /// [`grpo`].
    Grpo {
        /// By what the centred rewards are divided.
        scale: Scale,
        /// Added to the standard deviation; usually [`DEFAULT_EPS`].
        eps: f64,
    },
    /// [`dr_grpo`].
    DrGrpo,
    /// [`memagent`].
    Memagent,
    /// [`rloo`].
    Rloo,
    /// [`reinforce_plus_plus_baseline`].
    ReinforcePlusPlusBaseline,
    /// [`opo`].
    Opo,
}

impl OutcomeEstimator {
    /// The estimator's name in files and on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            OutcomeEstimator::Grpo { .. } => "grpo",
            OutcomeEstimator::DrGrpo => "dr-grpo",
            OutcomeEstimator::Memagent => "memagent",
            OutcomeEstimator::Rloo => "rloo",
            OutcomeEstimator::ReinforcePlusPlusBaseline => "reinforce-plus-plus-baseline",
            OutcomeEstimator::Opo => "opo",
        }
    }

    /// Whether the estimator makes sense as set.
    ///
    /// # Errors
    /// [`AdvantageError::Eps`] for an `eps` that is negative or not finite.
    pub fn check(&self) -> Result<(), AdvantageError> {
        match *self {
            OutcomeEstimator::Grpo { eps, .. } if !(eps.is_finite() && 0.0 <= eps) => {
                Err(AdvantageError::Eps { eps })
            }
            _ => Ok(()),
        }
    }

    /// Whether [`advantages`](Self::advantages) looks at `lengths`.
    pub fn needs_lengths(&self) -> bool {
        matches!(
            self,
            OutcomeEstimator::ReinforcePlusPlusBaseline | OutcomeEstimator::Opo
        )
    }

    /// One advantage per attempt. `groups` is `[group][attempt]`; `lengths`, of the same shape,
    /// counts the trained tokens of each whole attempt and may be empty where
    /// [`needs_lengths`](Self::needs_lengths) is false.
    ///
    /// # Panics
    /// If the estimator needs lengths and their shape differs from that of `groups`.
    pub fn advantages(&self, groups: &[Vec<f64>], lengths: &[Vec<usize>]) -> Vec<Vec<f64>> {
        match *self {
            OutcomeEstimator::Grpo { scale, eps } => grpo(groups, scale, eps),
            OutcomeEstimator::DrGrpo => dr_grpo(groups),
            OutcomeEstimator::Memagent => memagent(groups),
            OutcomeEstimator::Rloo => rloo(groups),
            OutcomeEstimator::ReinforcePlusPlusBaseline => {
                reinforce_plus_plus_baseline(groups, lengths)
            }
            OutcomeEstimator::Opo => opo(groups, lengths),
        }
    }
}

impl Default for OutcomeEstimator {
    /// GRPO, scaled by the group's standard deviation plus [`DEFAULT_EPS`].
    fn default() -> Self {
        OutcomeEstimator::Grpo {
            scale: Scale::default(),
            eps: DEFAULT_EPS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::OutcomeEstimator;
    use crate::{
        AdvantageError, Scale, dr_grpo, grpo, memagent, opo, reinforce_plus_plus_baseline, rloo,
    };

    #[test]
    fn an_eps_that_is_negative_or_not_finite_is_refused() {
        for eps in [-1e-9, f64::NAN, f64::INFINITY] {
            let estimator = OutcomeEstimator::Grpo {
                scale: Scale::Group,
                eps,
            };
            assert!(matches!(estimator.check(), Err(AdvantageError::Eps { .. })));
        }
        assert_eq!(OutcomeEstimator::default().check(), Ok(()));
        let without_eps = OutcomeEstimator::Grpo {
            scale: Scale::Group,
            eps: 0.0,
        };
        assert_eq!(without_eps.check(), Ok(()));
    }

    #[test]
    fn each_choice_is_its_own_function() {
        // On this batch no two of them agree, except the two that only subtract the mean.
        let groups = vec![vec![1.0, 0.0, 0.0, 1.0], vec![1.0, 1.0, 1.0, 0.0]];
        let lengths = vec![vec![1, 2, 3, 2], vec![1, 1, 2, 4]];
        let batch = OutcomeEstimator::Grpo {
            scale: Scale::Batch,
            eps: 1e-4,
        };
        let cases = [
            (
                OutcomeEstimator::default(),
                grpo(&groups, Scale::Group, 1e-6),
            ),
            (batch, grpo(&groups, Scale::Batch, 1e-4)),
            (OutcomeEstimator::DrGrpo, dr_grpo(&groups)),
            (OutcomeEstimator::Memagent, memagent(&groups)),
            (OutcomeEstimator::Rloo, rloo(&groups)),
            (
                OutcomeEstimator::ReinforcePlusPlusBaseline,
                reinforce_plus_plus_baseline(&groups, &lengths),
            ),
            (OutcomeEstimator::Opo, opo(&groups, &lengths)),
        ];
        for (estimator, expected) in cases {
            assert_eq!(estimator.advantages(&groups, &lengths), expected);
            if !estimator.needs_lengths() {
                assert_eq!(estimator.advantages(&groups, &[]), expected);
            }
        }
    }
}
