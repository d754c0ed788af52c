//! How per-token losses become one number: four modes, each a weight per token.
//!
//! | mode | weight of a trained token | also known as |
//! |---|---|---|
//! | `token-mean` | `1 / n_tokens` | DAPO (arXiv:2503.14476) |
//! | `seq-mean-token-mean` | `1 / (n_sequences * tokens of its unit)` | GRPO (arXiv:2402.03300) |
//! | `seq-mean-token-sum` | `1 / n_sequences` | |
//! | `seq-mean-token-sum-norm` | `1 / norm_length` | Dr.GRPO (arXiv:2503.20783) |
//!
//! The names are verl's. `seq-mean-token-sum-norm` is not divided by the number of sequences, as in
//! verl: the learning rate has to know the batch size.
//!
//! Differs from verl: lengths are divided by exactly (verl adds 1e-8), and there is no factor for
//! data-parallel ranks, since the denominators are those of the whole batch.

/// How per-token losses become one number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
pub enum Aggregation {
    /// The mean over all trained tokens of the batch.
    #[default]
    TokenMean,
    /// The mean over sequences of the mean over their tokens.
    SeqMeanTokenMean,
    /// The mean over sequences of the sum over their tokens.
    SeqMeanTokenSum,
    /// The sum over all tokens, divided by a constant.
    SeqMeanTokenSumNorm,
}

/// What the modes divide by, counted over the whole batch of one optimiser step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Denominators {
    /// Trained tokens.
    pub tokens: f64,
    /// Units (contexts or trajectories) with at least one trained token.
    pub sequences: f64,
    /// The constant of [`Aggregation::SeqMeanTokenSumNorm`], usually a maximal length.
    pub norm_length: f64,
}

impl Denominators {
    /// Counts over the trained tokens of each unit of the batch. Units without any are not counted
    /// as sequences.
    pub fn of(trained_lengths: &[usize], norm_length: f64) -> Self {
        Denominators {
            tokens: trained_lengths.iter().sum::<usize>() as f64,
            sequences: trained_lengths.iter().filter(|&&length| length > 0).count() as f64,
            norm_length,
        }
    }

    /// The same with the one number that `aggregation` divides by replaced: the token count, the
    /// sequence count, or the norm length.
    #[must_use]
    pub fn overridden(mut self, aggregation: Aggregation, denominator: f64) -> Self {
        let replaced = match aggregation {
            Aggregation::TokenMean => &mut self.tokens,
            Aggregation::SeqMeanTokenMean | Aggregation::SeqMeanTokenSum => &mut self.sequences,
            Aggregation::SeqMeanTokenSumNorm => &mut self.norm_length,
        };
        *replaced = denominator;
        self
    }
}

/// The weight of each trained token of one unit that has `trained_tokens` of them.
///
/// A unit is a context, or a whole trajectory: then cutting the trajectory into more contexts
/// changes no weight. Zero for a unit without trained tokens.
pub fn unit_weight(
    aggregation: Aggregation,
    trained_tokens: usize,
    denominators: &Denominators,
) -> f64 {
    if trained_tokens == 0 {
        return 0.0;
    }
    match aggregation {
        Aggregation::TokenMean => 1.0 / denominators.tokens,
        Aggregation::SeqMeanTokenMean => 1.0 / (denominators.sequences * trained_tokens as f64),
        Aggregation::SeqMeanTokenSum => 1.0 / denominators.sequences,
        Aggregation::SeqMeanTokenSumNorm => 1.0 / denominators.norm_length,
    }
}

/// The weight of every token where each context is a unit of its own; zero outside `loss_mask`.
///
/// `lengths` are tokens per context, `loss_mask` has one entry per token.
///
/// # Panics
/// If `loss_mask` does not have `sum(lengths)` entries.
pub fn token_weights(
    aggregation: Aggregation,
    lengths: &[usize],
    loss_mask: &[bool],
    denominators: &Denominators,
) -> Vec<f64> {
    assert_eq!(
        loss_mask.len(),
        lengths.iter().sum::<usize>(),
        "`loss_mask` must have one entry per token"
    );
    let mut weights = Vec::with_capacity(loss_mask.len());
    let mut rest = loss_mask;
    for &length in lengths {
        let (context, behind) = rest.split_at(length);
        rest = behind;
        let trained_tokens = context.iter().filter(|&&is_trained| is_trained).count();
        let weight = unit_weight(aggregation, trained_tokens, denominators);
        weights.extend(
            context
                .iter()
                .map(|&is_trained| if is_trained { weight } else { 0.0 }),
        );
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::{Aggregation, Denominators, token_weights, unit_weight};

    const ALL: [Aggregation; 4] = [
        Aggregation::TokenMean,
        Aggregation::SeqMeanTokenMean,
        Aggregation::SeqMeanTokenSum,
        Aggregation::SeqMeanTokenSumNorm,
    ];

    #[test]
    fn an_empty_batch_weighs_nothing_and_is_not_nan() {
        let denominators = Denominators::of(&[0, 0], 4.0);
        assert_eq!(denominators.tokens, 0.0);
        assert_eq!(denominators.sequences, 0.0);
        for aggregation in ALL {
            assert_eq!(unit_weight(aggregation, 0, &denominators), 0.0);
            let weights = token_weights(aggregation, &[1, 0, 2], &[false; 3], &denominators);
            assert_eq!(weights, [0.0; 3]);
        }
    }

    #[test]
    fn the_worked_rows() {
        // Rows [1, 2, 3], [4] and an empty one: 10 / 4; (2 + 4) / 2; (6 + 4) / 2; 10 / 4.
        let losses = [1.0, 2.0, 3.0, 4.0, 100.0];
        let lengths = [3, 2, 0];
        let loss_mask = [true, true, true, true, false];
        let denominators = Denominators::of(&[3, 1, 0], 4.0);
        for (aggregation, expected) in ALL.into_iter().zip([2.5, 3.0, 5.0, 2.5]) {
            let weights = token_weights(aggregation, &lengths, &loss_mask, &denominators);
            let found: f64 = weights.iter().zip(losses).map(|(w, loss)| w * loss).sum();
            assert!((found - expected).abs() < 1e-14, "{aggregation:?}: {found}");
        }
    }

    #[test]
    fn trl_s_two_constant_length_forms_are_norm_lengths() {
        // Dr.GRPO in TRL: sum / (batch size * maximal length) = 10 / (3 * 4) = .833333;
        // its plain GRPO mean counts the empty row too: (2 + 4 + 0) / 3 = 2.
        let denominators = Denominators::of(&[3, 1, 0], 12.0);
        let weight = unit_weight(Aggregation::SeqMeanTokenSumNorm, 3, &denominators);
        assert!((10.0 * weight - 0.833_333).abs() < 1e-6);
        let counted = denominators.overridden(Aggregation::SeqMeanTokenMean, 3.0);
        let long = unit_weight(Aggregation::SeqMeanTokenMean, 3, &counted);
        let short = unit_weight(Aggregation::SeqMeanTokenMean, 1, &counted);
        assert!((6.0 * long + 4.0 * short - 2.0).abs() < 1e-14);
    }

    #[test]
    fn an_override_replaces_just_the_number_its_mode_divides_by() {
        let before = Denominators::of(&[3, 1], 4.0);
        let fields = |found: Denominators| [found.tokens, found.sequences, found.norm_length];
        let expected = [
            [9.0, 2.0, 4.0],
            [4.0, 9.0, 4.0],
            [4.0, 9.0, 4.0],
            [4.0, 2.0, 9.0],
        ];
        for (aggregation, expected) in ALL.into_iter().zip(expected) {
            assert_eq!(fields(before.overridden(aggregation, 9.0)), expected);
        }
    }
}
