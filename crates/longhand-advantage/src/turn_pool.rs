//! TAMTRL's turn pool: all turns of all attempts at one problem are compared (arXiv:2603.21663, Eq. 7).
//!
//! `A_{j,t} = (R_{j,t} - mean) / (std + eps)`, mean and sample standard deviation (`n - 1`) over
//! every turn `t` of every attempt `j` at the problem.
//!
//! Assumptions: `eps` and the `n - 1` are not stated (our reading; usual values 1e-6 and torch's
//! default). The paper is known to us through a secondary source.
//!
//! Differs from the paper: attempts may have different numbers of turns.

use crate::deviations::{deviations, sample_std, standardised};

/// Advantages of the turns of one problem, `[attempt][turn]` in, the same shape out.
///
/// A pool of equal rewards (all attempts failed, or a single turn) gets exactly zero.
pub fn turn_pool(attempts: &[Vec<f64>], eps: f64) -> Vec<Vec<f64>> {
    let centred = deviations(&attempts.concat());
    let std = sample_std(&centred);
    let mut flat = centred
        .into_iter()
        .map(|deviation| standardised(deviation, std, eps));
    attempts
        .iter()
        .map(|turns| flat.by_ref().take(turns.len()).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::turn_pool;

    #[test]
    fn degenerate_pools_get_zero() {
        assert!(turn_pool(&[], 1e-6).is_empty());
        assert_eq!(turn_pool(&[vec![1.0]], 0.0), [[0.0]]);
        let failed = turn_pool(&[vec![0.0; 3], vec![], vec![0.0; 2]], 0.0);
        assert_eq!(failed, [vec![0.0; 3], vec![], vec![0.0; 2]]);
        assert_eq!(
            turn_pool(&[vec![0.1; 2], vec![0.1]], 1e-6),
            [vec![0.0; 2], vec![0.0]]
        );
    }

    #[test]
    fn the_worked_problem() {
        // R = [1, .5 | 0, 0]: mean .375, statistics.stdev = .4787136; (R - mean) / (stdev + 1e-6)
        let found = turn_pool(&[vec![1.0, 0.5], vec![0.0, 0.0]], 1e-6);
        let expected = [[1.305580, 0.261116], [-0.783348, -0.783348]];
        for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
    }
}
