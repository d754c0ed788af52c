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
    /// GDPO adds up columns of rewards, so there is at least one.
    #[error("`columns` is empty, but GDPO needs at least one reward")]
    NoColumn,
    /// Columns are told apart by their names.
    #[error("a reward is called `{name}`, but each needs a name, and no two the same")]
    ColumnName {
        /// The name found.
        name: String,
    },
    /// A column's weight is a finite number.
    #[error("the weight of `{column}` is {weight}, but it must be a finite number")]
    Weight {
        /// The column's name.
        column: String,
        /// The value found.
        weight: f64,
    },
    /// A conditioned reward depends on another column, from a number on.
    #[error(
        "`{column}` counts only where `{on}` is at least something, but that must be the name of \
         another reward, and the bound a number"
    )]
    Condition {
        /// The conditioned column.
        column: String,
        /// The column it is to depend on.
        on: String,
    },
}
