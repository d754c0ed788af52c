//! Intuitor's self-certainty: how far the policy's predictions are from uniform (arXiv:2505.19590).
//!
//! `SC = (1/T) * sum_t KL(U || p_t)`, `KL(U || p) = logsumexp(z) - mean_v(z) - ln V`
//!
//! The official code leaves out `ln V`, which any baseline over a group cancels, and so do we:
//! [`token_certainty`] is at least `ln V`. Adding a number to all logits changes nothing; the temperature
//! does.
//!
//! The mean over the vocabulary treats all entries alike, so columns that pad the vocabulary to a round
//! size must be cut off before. Of the two official variants one is shifted by a position against the
//! formula; see [`Alignment`].

/// Which rows of logits belong to a completion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
pub enum Alignment {
    /// The rows that predicted the tokens: the formula.
    #[default]
    Aligned,
    /// The rows at the tokens, each predicting the next one, as in the official code on TRL: without
    /// the row that predicted the first token, and with the one after the last.
    Shifted,
}

/// `logsumexp(z) - mean(z)` of one row of logits, in nats: `KL(U || p) + ln V`.
///
/// # Panics
/// Without any logit.
pub fn token_certainty(logits: &[f64]) -> f64 {
    assert!(!logits.is_empty(), "a distribution has at least one entry");
    let mean = logits.iter().sum::<f64>() / logits.len() as f64;
    log_sum_exp(logits) - mean
}

pub(crate) fn log_sum_exp(logits: &[f64]) -> f64 {
    let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if highest.is_infinite() {
        return highest;
    }
    let sum: f64 = logits.iter().map(|logit| (logit - highest).exp()).sum();
    highest + sum.ln()
}

/// The mean certainty over a completion; `None` without any token (the official code has 0 there, which
/// no prediction can have).
///
/// `certainties` has one value for each position, from the one that predicted the first token to the one
/// after the last token: `n_tokens + 1`. [`Alignment::Aligned`] does not look at the last one, which may
/// be left out then. Only tokens of `loss_mask` count, where true means counted; `None`: all of them.
///
/// # Panics
/// When `certainties` or `loss_mask` has another length.
pub fn self_certainty(
    certainties: &[f64],
    n_tokens: usize,
    loss_mask: Option<&[bool]>,
    alignment: Alignment,
) -> Option<f64> {
    let has_last = certainties.len() == n_tokens + 1;
    assert!(
        has_last || alignment == Alignment::Aligned && certainties.len() == n_tokens,
        "{} certainties for {n_tokens} tokens",
        certainties.len()
    );
    let first = match alignment {
        Alignment::Aligned => 0,
        Alignment::Shifted => 1,
    };
    masked_mean(&certainties[first..first + n_tokens], loss_mask)
}

/// The mean over the entries that the mask has; `None` without any.
pub(crate) fn masked_mean(values: &[f64], mask: Option<&[bool]>) -> Option<f64> {
    assert!(
        mask.is_none_or(|mask| mask.len() == values.len()),
        "a mask has an entry for each token"
    );
    let is_counted = |idx: usize| mask.is_none_or(|mask| mask[idx]);
    let counted = values
        .iter()
        .enumerate()
        .filter(|(idx, _)| is_counted(*idx));
    let (n_counted, sum) =
        counted.fold((0_usize, 0.0), |(n, sum), (_, value)| (n + 1, sum + value));
    (n_counted != 0).then(|| sum / n_counted as f64)
}

#[cfg(test)]
mod tests {
    use super::{Alignment, self_certainty, token_certainty};
    use proptest::prelude::*;

    // numpy: z = [2, 1, 0, -1]; log(sum(exp(z))) - mean(z) = 1.940190, minus log(4) = .553895.
    #[test]
    fn certainty_of_four_logits() {
        let certainty = token_certainty(&[2.0, 1.0, 0.0, -1.0]);
        assert!((certainty - 1.940_190).abs() < 1e-6, "{certainty}");
        assert!((certainty - 4.0_f64.ln() - 0.553_895).abs() < 1e-6);
    }

    #[test]
    fn a_uniform_prediction_has_the_least() {
        assert_eq!(token_certainty(&[7.0]), 0.0);
        let certainty = token_certainty(&[-3.0; 8]);
        assert!((certainty - 8.0_f64.ln()).abs() < 1e-12);
        // Far beyond what exp can hold.
        assert!((token_certainty(&[1e5, 0.0]) - 5e4).abs() < 1e-6);
    }

    #[test]
    fn no_token_is_no_reward() {
        assert_eq!(self_certainty(&[], 0, None, Alignment::Aligned), None);
        assert_eq!(self_certainty(&[9.0], 0, None, Alignment::Shifted), None);
        let masked = self_certainty(&[1.0], 1, Some(&[false]), Alignment::Aligned);
        assert_eq!(masked, None);
    }

    #[test]
    fn the_two_variants_are_a_position_apart() {
        let certainties = [1.0, 2.0, 6.0];
        #[track_caller]
        fn check(certainties: &[f64], mask: Option<&[bool]>, alignment: Alignment, expected: f64) {
            assert_eq!(
                self_certainty(certainties, 2, mask, alignment),
                Some(expected)
            );
        }
        check(&certainties, None, Alignment::Aligned, 1.5);
        check(&certainties[..2], None, Alignment::Aligned, 1.5);
        check(&certainties, None, Alignment::Shifted, 4.0);
        check(&certainties, Some(&[false, true]), Alignment::Aligned, 2.0);
        check(&certainties, Some(&[false, true]), Alignment::Shifted, 6.0);
    }

    proptest! {
        #[test]
        fn a_shift_of_the_logits_changes_nothing_and_a_sharper_one_is_more_certain(
            logits in prop::collection::vec(-5.0_f64..5.0, 2..9), shift in -50.0_f64..50.0,
        ) {
            let certainty = token_certainty(&logits);
            prop_assert!((logits.len() as f64).ln() - 1e-9 <= certainty);
            let shifted: Vec<f64> = logits.iter().map(|z| z + shift).collect();
            prop_assert!((token_certainty(&shifted) - certainty).abs() < 1e-9);
            let sharper: Vec<f64> = logits.iter().map(|z| z * 2.0).collect();
            prop_assert!(certainty - 1e-9 <= token_certainty(&sharper));
        }
    }
}
