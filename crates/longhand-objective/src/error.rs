//! What can be wrong with an objective's settings.

/// Why an objective's settings make no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectiveError {
    /// A bound or coefficient that must not be negative.
    #[error("`{option}` is {value}, but it must be a finite number that is at least 0")]
    Negative {
        /// The option's key.
        option: &'static str,
        /// The value found.
        value: f64,
    },
    /// A cap or clamp that must be positive.
    #[error("`{option}` is {value}, but it must be a number above 0")]
    NotPositive {
        /// The option's key.
        option: &'static str,
        /// The value found.
        value: f64,
    },
    /// Dual clip caps a ratio that PPO's bounds leave alone, so it lies above 1.
    #[error("`dual_clip` is {value}, but it must be above 1 (usual: 3), or \"none\"")]
    DualClip {
        /// The value found.
        value: f64,
    },
    /// An option was given to a policy loss that has no such option.
    #[error("`{option}` is an option of `{owner}` and means nothing to `{policy_loss}`; remove it")]
    ForeignOption {
        /// The option's key.
        option: &'static str,
        /// The loss that has this option.
        owner: &'static str,
        /// The loss that was asked for.
        policy_loss: &'static str,
    },
    /// An option was given to a token rule that has no such option.
    #[error(
        "`{option}` is an option of {} and means nothing to `{rule}`; remove it",
        quoted(owners)
    )]
    ForeignRuleOption {
        /// The option's key.
        option: &'static str,
        /// The rules that have this option.
        owners: &'static [&'static str],
        /// The rule that was asked for.
        rule: &'static str,
    },
    /// A share of the tokens is a fraction.
    #[error(
        "`{option}` is {value}, but it must be above 0 and at most 1: it is a fraction of the tokens, \
         not percent"
    )]
    Fraction {
        /// The option's key.
        option: &'static str,
        /// The value found.
        value: f64,
    },
    /// A number that is not between its bounds.
    #[error("`{option}` is {value}, but it must be a number from {least} to {most}")]
    Outside {
        /// The option's key.
        option: &'static str,
        /// The value found.
        value: f64,
        /// The least it may be.
        least: f64,
        /// The most it may be.
        most: f64,
    },
    /// Two bounds with nothing between them.
    #[error("`{low}` is {low_value} and `{high}` is {high_value}, so nothing lies between them")]
    Order {
        /// The lower bound's key.
        low: &'static str,
        /// The lower bound.
        low_value: f64,
        /// The upper bound's key.
        high: &'static str,
        /// The upper bound.
        high_value: f64,
    },
    /// A token rule that lifts or reads PPO's clip, with another policy loss.
    #[error("`{rule}` works on PPO's clip and has no meaning for `{policy_loss}`; use `ppo-clip`")]
    NeedsPpoClip {
        /// The rule.
        rule: &'static str,
        /// The loss that was asked for.
        policy_loss: &'static str,
    },
    /// KL-Cov where it cannot act.
    #[error(
        "KL-Cov penalises |ln r|, which is zero, and so is its gradient, while the policy is the one \
         that sampled: with a single update per rollout batch it does nothing. Make at least 2 updates \
         per batch, or force it with single_update = \"forced\""
    )]
    SingleUpdate,
}

impl ObjectiveError {
    /// A fraction above 0 and at most 1.
    pub(crate) fn check_fraction(option: &'static str, value: f64) -> Result<(), Self> {
        if 0.0 < value && value <= 1.0 {
            return Ok(());
        }
        Err(ObjectiveError::Fraction { option, value })
    }

    /// A finite number of at least 0.
    pub(crate) fn check_not_negative(option: &'static str, value: f64) -> Result<(), Self> {
        if value.is_finite() && 0.0 <= value {
            return Ok(());
        }
        Err(ObjectiveError::Negative { option, value })
    }

    /// Two numbers with something between them.
    pub(crate) fn check_order(
        low: &'static str,
        low_value: f64,
        high: &'static str,
        high_value: f64,
    ) -> Result<(), Self> {
        if low_value < high_value {
            return Ok(());
        }
        Err(ObjectiveError::Order {
            low,
            low_value,
            high,
            high_value,
        })
    }
}

fn quoted(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
