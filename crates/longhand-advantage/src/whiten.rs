//! Whitening over the trained tokens of a batch, and the shape that token estimators return.
//!
//! `w = (x - mean) / sqrt(var + 1e-8)`, mean and variance (`n - 1`) over the tokens with a true
//! `loss_mask`; the `eps` stands inside the root, as in verl.
//!
//! Differs from verl: the mean divides by the exact token count (verl adds 1e-8 to it), tokens
//! outside the mask become 0, and one token or none gives 0 instead of an error.

use crate::deviations::{counted_deviations, deviations};

/// The `eps` added to a variance before whitening takes its root.
pub const WHITEN_EPS: f64 = 1e-8;

/// What a per-token estimator returns; both fields are `[sequence][token]`.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenAdvantages {
    /// The advantage of each token.
    pub advantages: Vec<Vec<f64>>,
    /// The return of each token: the target of a value function.
    pub returns: Vec<Vec<f64>>,
}

/// Values shifted and scaled to mean 0 and variance 1 over the tokens where `loss_mask` is true;
/// both are `[sequence][token]`. How tokens are divided into sequences makes no difference.
///
/// Tokens outside the mask get exactly zero, whatever stands there. So does every token when all
/// trained values are equal or fewer than two are trained.
///
/// # Panics
/// If the shapes differ.
pub fn whiten(values: &[Vec<f64>], loss_mask: &[Vec<bool>]) -> Vec<Vec<f64>> {
    assert_same_shape(values, loss_mask, "one mask entry per value");
    let trained: Vec<f64> = values
        .iter()
        .flatten()
        .zip(loss_mask.iter().flatten())
        .filter_map(|(&value, &is_trained)| is_trained.then_some(value))
        .collect();
    let centred = deviations(&trained);
    let squares: f64 = centred.iter().map(|deviation| deviation.powi(2)).sum();
    let variance = squares / centred.len().saturating_sub(1).max(1) as f64;
    let inverse_std = 1.0 / (variance + WHITEN_EPS).sqrt();

    let mut whitened = centred.into_iter().map(|deviation| deviation * inverse_std);
    loss_mask
        .iter()
        .map(|sequence| {
            sequence
                .iter()
                .map(|&is_trained| {
                    if is_trained {
                        whitened
                            .next()
                            .expect("one whitened value per trained token")
                    } else {
                        0.0
                    }
                })
                .collect()
        })
        .collect()
}

/// Whitened values in which each stands for `counts[i]` tokens; exactly zero for a value that stands
/// for none, and for all when no two counted values differ or fewer than two tokens are counted.
///
/// # Panics
/// If the lengths differ.
pub(crate) fn whiten_counted(values: &[f64], counts: &[usize]) -> Vec<f64> {
    let n_tokens: usize = counts.iter().sum();
    let centred = counted_deviations(values, counts);
    let counted = || centred.iter().zip(counts).filter(|&(_, &count)| count != 0);
    let squares: f64 = counted()
        .map(|(deviation, &count)| count as f64 * deviation.powi(2))
        .sum();
    let variance = squares / n_tokens.saturating_sub(1).max(1) as f64;
    let inverse_std = 1.0 / (variance + WHITEN_EPS).sqrt();
    let scaled = |(deviation, &count): (&f64, &usize)| {
        if count == 0 {
            0.0
        } else {
            deviation * inverse_std
        }
    };
    centred.iter().zip(counts).map(scaled).collect()
}

/// Asserts that two ragged arrays have the same shape.
///
/// # Panics
/// If they do not.
pub(crate) fn assert_same_shape<T, U>(left: &[Vec<T>], right: &[Vec<U>], what: &str) {
    assert_eq!(
        left.len(),
        right.len(),
        "{what}: numbers of sequences differ"
    );
    for (left, right) in left.iter().zip(right) {
        assert_eq!(
            left.len(),
            right.len(),
            "{what}: lengths of a sequence differ"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::whiten;

    #[test]
    fn an_empty_mask_and_equal_values_give_zero() {
        assert!(whiten(&[], &[]).is_empty());
        assert_eq!(
            whiten(&[vec![f64::NAN, 2.0]], &[vec![false; 2]]),
            [[0.0; 2]]
        );
        assert_eq!(
            whiten(&[vec![f64::NAN, 2.0]], &[vec![false, true]]),
            [[0.0; 2]]
        );
        assert_eq!(whiten(&[vec![0.1; 3]], &[vec![true; 3]]), [[0.0; 3]]);
    }

    #[test]
    fn three_advantages_whitened() {
        // numpy: x = [.46575, .385, .3]; (x - x.mean()) / np.sqrt(x.var(ddof=1) + 1e-8)
        let found = whiten(
            &[vec![0.46575, f64::NAN], vec![0.385, 0.3]],
            &[vec![true, false], vec![true, true]],
        );
        let expected = [[0.991344, 0.0], [0.017092, -1.008436]];
        for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
    }

    #[test]
    #[should_panic(expected = "one mask entry per value")]
    fn a_mask_of_another_shape_is_refused() {
        whiten(&[vec![1.0, 2.0]], &[vec![true]]);
    }
}
