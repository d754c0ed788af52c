//! GAE: exponentially weighted sums of value errors (arXiv:1506.02438, Eq. 16).
//!
//! `d_t = r_t + gamma * V_{t+1} - V_t`, `A_t = d_t + gamma * lambda * A_{t+1}`, return `A_t + V_t`
//!
//! Assumptions: nothing follows the last token (`V = A = 0` behind it).
//!
//! Differs from the paper: tokens outside `loss_mask` (tool output, say) are stepped over, as in
//! verl: their reward and value are not used and `A_{t+1}`, `V_{t+1}` are carried across them.
//! Not whitened; [`whiten`](crate::whiten) is a step of its own.

use crate::whiten::{TokenAdvantages, assert_same_shape};

/// Generalised advantages and returns; all arguments are `[sequence][token]`, `gamma` and `lambda`
/// are per token.
///
/// An untrained token shows the advantage that is carried across it, and that plus its own value as
/// its return; neither is used by a loss that respects the mask.
///
/// # Panics
/// If the shapes differ.
pub fn gae(
    rewards: &[Vec<f64>],
    values: &[Vec<f64>],
    loss_mask: &[Vec<bool>],
    gamma: f64,
    lambda: f64,
) -> TokenAdvantages {
    assert_same_shape(rewards, values, "one value per reward");
    assert_same_shape(rewards, loss_mask, "one mask entry per reward");
    let (advantages, returns) = rewards
        .iter()
        .zip(values)
        .zip(loss_mask)
        .map(|((rewards, values), loss_mask)| sequence(rewards, values, loss_mask, gamma, lambda))
        .unzip();
    TokenAdvantages {
        advantages,
        returns,
    }
}

fn sequence(
    rewards: &[f64],
    values: &[f64],
    loss_mask: &[bool],
    gamma: f64,
    lambda: f64,
) -> (Vec<f64>, Vec<f64>) {
    let mut advantages = vec![0.0; rewards.len()];
    let mut next_value = 0.0;
    let mut carried = 0.0;
    for idx in (0..rewards.len()).rev() {
        if loss_mask[idx] {
            let error = rewards[idx] + gamma * next_value - values[idx];
            carried = error + gamma * lambda * carried;
            next_value = values[idx];
        }
        advantages[idx] = carried;
    }
    let returns = advantages
        .iter()
        .zip(values)
        .map(|(advantage, value)| advantage + value)
        .collect();
    (advantages, returns)
}

#[cfg(test)]
mod tests {
    use super::gae;
    use crate::whiten;

    #[track_caller]
    fn check(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
    }

    #[test]
    fn nothing_trained_gives_zero() {
        let found = gae(
            &[vec![1.0, 2.0], vec![]],
            &[vec![0.5; 2], vec![]],
            &[vec![false; 2], vec![]],
            1.0,
            0.95,
        );
        assert_eq!(found.advantages, [vec![0.0; 2], vec![]]);
    }

    #[test]
    fn three_tokens() {
        // gamma 1, lambda .95; r = 0, 0, 1; V = .5, .6, .7; by hand from the last token:
        // .3; .1 + .95 * .3 = .385; .1 + .95 * .385 = .46575.
        let found = gae(
            &[vec![0.0, 0.0, 1.0]],
            &[vec![0.5, 0.6, 0.7]],
            &[vec![true; 3]],
            1.0,
            0.95,
        );
        check(&found.advantages[0], &[0.46575, 0.385, 0.3]);
        check(&found.returns[0], &[0.96575, 0.985, 1.0]);
        let whitened = whiten(&found.advantages, &[vec![true; 3]]);
        check(&whitened[0], &[0.991344, 0.017092, -1.008436]);
    }

    #[test]
    fn the_discount_applies_to_the_value_and_to_the_carried_error() {
        // gamma .5, lambda .5; last: 1 - .5 = .5; first: 0 + .5 * .5 - 1 + .25 * .5 = -.625.
        let found = gae(
            &[vec![0.0, 1.0]],
            &[vec![1.0, 0.5]],
            &[vec![true; 2]],
            0.5,
            0.5,
        );
        assert_eq!(found.advantages, [[-0.625, 0.5]]);
    }

    #[test]
    fn a_tool_token_is_stepped_over() {
        // The same three tokens with an untrained one (V = .9, and a reward that must not count).
        let found = gae(
            &[vec![0.0, 7.0, 0.0, 1.0]],
            &[vec![0.5, 0.9, 0.6, 0.7]],
            &[vec![true, false, true, true]],
            1.0,
            0.95,
        );
        check(&found.advantages[0], &[0.46575, 0.385, 0.385, 0.3]);
    }
}
