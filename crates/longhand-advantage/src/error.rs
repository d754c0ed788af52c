//! What can be wrong with an estimator's settings.

/// Why an estimator's settings make no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AdvantageError {
    /// `eps` is added to a standard deviation, so it is a finite number that is not negative.
    #[error("`eps` is {eps}, but it must be a finite number that is at least 0 (usual: 1e-6)")]
    Eps {
        /// The value found.
        eps: f64,
    },
    /// An option was given to an estimator that has no such option.
    #[error("`{option}` is an option of `{owner}` and means nothing to `{estimator}`; remove it")]
    ForeignOption {
        /// The option's key.
        option: &'static str,
        /// The estimator that has this option.
        owner: &'static str,
        /// The estimator that was asked for.
        estimator: &'static str,
    },
}
