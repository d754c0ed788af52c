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
}
