//! GRPO: rewards standardised within their group (arXiv:2402.03300, section 4.1.2).
//!
//! `A_i = (R_i - mean(R_1..R_G)) / (std + eps)`
//!
//! `std` is the sample standard deviation (`n - 1`) of the group, or of all rewards of the batch
//! ([`Scale::Batch`]), or the division is left out ([`Scale::None`]). The mean is always the
//! group's.
//!
//! Assumptions: one reward per attempt, the same advantage for all its tokens. The paper does not
//! state `eps` or the `n - 1`; verl uses 1e-6 and TRL 1e-4, both with `n - 1`.
//!
//! Differs from verl: a group of one gets 0, because it has nothing to be compared with; verl
//! returns its raw reward.

use crate::deviations::{deviations, sample_std, standardised};

/// The `eps` added to a standard deviation where the caller has no reason for another.
pub const DEFAULT_EPS: f64 = 1e-6;

/// By what the centred rewards are divided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
pub enum Scale {
    /// The standard deviation of the attempt's own group.
    #[default]
    Group,
    /// The standard deviation of all rewards of the batch.
    Batch,
    /// Nothing.
    None,
}

/// Standardised rewards, `[group][attempt]` in, the same shape out.
///
/// A group of one and a group of equal rewards get exactly zero, for every `eps` including 0.
pub fn grpo(groups: &[Vec<f64>], scale: Scale, eps: f64) -> Vec<Vec<f64>> {
    let batch_std = sample_std(&deviations(&groups.concat()));
    groups
        .iter()
        .map(|group| {
            let centred = deviations(group);
            let std = match scale {
                Scale::Group => sample_std(&centred),
                Scale::Batch => batch_std,
                Scale::None => return centred,
            };
            centred
                .into_iter()
                .map(|deviation| standardised(deviation, std, eps))
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{DEFAULT_EPS, Scale, grpo};

    fn worked_groups() -> Vec<Vec<f64>> {
        vec![vec![1.0, 0.0, 0.0, 1.0], vec![1.0, 1.0, 1.0, 0.0]]
    }

    #[track_caller]
    fn check(found: &[Vec<f64>], expected: &[[f64; 4]]) {
        for (found, expected) in found.iter().zip(expected) {
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
            }
        }
    }

    #[test]
    fn degenerate_groups_get_zero_at_every_scale() {
        let groups = [
            vec![],
            vec![1.0],
            vec![0.1; 3],
            vec![0.0; 4],
            vec![1.0, 0.0],
        ];
        for scale in [Scale::Group, Scale::Batch, Scale::None] {
            for eps in [0.0, DEFAULT_EPS] {
                let found = grpo(&groups, scale, eps);
                assert_eq!(found[..4], [vec![], vec![0.0], vec![0.0; 3], vec![0.0; 4]]);
                assert!(found[4][0] > 0.0);
            }
        }
        assert_eq!(grpo(&[vec![1.0]], Scale::Batch, 0.0), [[0.0]]);
        assert!(grpo(&[], Scale::Batch, 0.0).is_empty());
    }

    #[test]
    fn group_scale_with_the_small_eps() {
        // numpy: (R - R.mean()) / (R.std(ddof=1) + 1e-6)
        let found = grpo(&worked_groups(), Scale::Group, 1e-6);
        check(
            &found,
            &[
                [0.866024, -0.866024, -0.866024, 0.866024],
                [0.499999, 0.499999, 0.499999, -1.499997],
            ],
        );
    }

    #[test]
    fn group_scale_with_the_large_eps() {
        // numpy: (R - R.mean()) / (R.std(ddof=1) + 1e-4)
        let found = grpo(&worked_groups(), Scale::Group, 1e-4);
        check(
            &found,
            &[
                [0.865875, -0.865875, -0.865875, 0.865875],
                [0.4999, 0.4999, 0.4999, -1.4997],
            ],
        );
    }

    #[test]
    fn batch_scale_divides_by_the_spread_of_all_rewards() {
        // numpy: np.concatenate([A, B]).std(ddof=1) = .517549; (R - group mean) / (that + 1e-4)
        let found = grpo(&worked_groups(), Scale::Batch, 1e-4);
        check(
            &found,
            &[
                [0.965905, -0.965905, -0.965905, 0.965905],
                [0.482953, 0.482953, 0.482953, -1.448858],
            ],
        );
    }

    #[test]
    fn no_scale_only_centres() {
        let found = grpo(&worked_groups(), Scale::None, 1e-6);
        assert_eq!(found, [[0.5, -0.5, -0.5, 0.5], [0.25, 0.25, 0.25, -0.75]]);
    }
}
