//! REINFORCE++: discounted reward-to-go, whitened over all tokens (arXiv:2501.03262).
//!
//! `G_t = r_t + gamma * G_{t+1}`, `A = whiten(G)` over the trained tokens of the batch
//!
//! Assumptions: rewards are per token (the outcome on the last trained token, a KL penalty on each
//! if wanted). A token outside `loss_mask` ends what flows back, so a reward behind it, or on it,
//! does not reach the tokens before it.
//!
//! Differs from verl: whitening divides by the exact token count.

use crate::whiten::{TokenAdvantages, assert_same_shape, whiten};

/// Whitened reward-to-go. `rewards` and `loss_mask` are `[sequence][token]`, over the whole batch,
/// because whitening compares all its tokens; `gamma` is the discount per token.
///
/// Returns are before whitening. Advantages are exactly zero outside the mask, and everywhere when
/// no two returns differ.
///
/// # Panics
/// If the shapes differ.
pub fn reinforce_plus_plus(
    rewards: &[Vec<f64>],
    loss_mask: &[Vec<bool>],
    gamma: f64,
) -> TokenAdvantages {
    assert_same_shape(rewards, loss_mask, "one mask entry per reward");
    let returns: Vec<Vec<f64>> = rewards
        .iter()
        .zip(loss_mask)
        .map(|(rewards, loss_mask)| rewards_to_go(rewards, loss_mask, gamma))
        .collect();
    TokenAdvantages {
        advantages: whiten(&returns, loss_mask),
        returns,
    }
}

fn rewards_to_go(rewards: &[f64], loss_mask: &[bool], gamma: f64) -> Vec<f64> {
    let mut returns = vec![0.0; rewards.len()];
    let mut carried = 0.0;
    for idx in (0..rewards.len()).rev() {
        returns[idx] = rewards[idx] + gamma * carried;
        carried = if loss_mask[idx] { returns[idx] } else { 0.0 };
    }
    returns
}

#[cfg(test)]
mod tests {
    use super::reinforce_plus_plus;

    #[test]
    fn an_empty_mask_and_equal_returns_give_zero() {
        let found = reinforce_plus_plus(&[vec![1.0, 2.0]], &[vec![false; 2]], 1.0);
        assert_eq!(found.advantages, [[0.0; 2]]);
        let found = reinforce_plus_plus(
            &[vec![0.0, 0.1], vec![0.1]],
            &[vec![true; 2], vec![true]],
            1.0,
        );
        assert_eq!(found.advantages, [vec![0.0; 2], vec![0.0]]);
        let found = reinforce_plus_plus(&[vec![f64::NAN, 0.1]], &[vec![false, true]], 1.0);
        assert_eq!(found.advantages, [[0.0; 2]]);
    }

    #[test]
    fn an_untrained_token_stops_what_flows_back() {
        // By hand, gamma 1/2, the third token untrained:
        // G_3 = 4; G_2 = 8 + 4/2 = 10; then reset; G_1 = 2; G_0 = 1 + 2/2 = 2.
        let found = reinforce_plus_plus(
            &[vec![1.0, 2.0, 8.0, 4.0]],
            &[vec![true, true, false, true]],
            0.5,
        );
        assert_eq!(found.returns, [[2.0, 2.0, 10.0, 4.0]]);
        // Trained returns 2, 2, 4: mean 8/3, variance 4/3.
        let inverse_std = 1.0 / (4.0 / 3.0 + 1e-8_f64).sqrt();
        let expected = [-2.0 / 3.0, -2.0 / 3.0, 0.0, 4.0 / 3.0].map(|value| value * inverse_std);
        for (found, expected) in found.advantages[0].iter().zip(expected) {
            assert!(
                (found - expected).abs() < 1e-14,
                "{found} is not {expected}"
            );
        }
    }
}
