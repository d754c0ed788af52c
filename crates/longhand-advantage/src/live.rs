//! DAPO's dynamic sampling criterion: does a group say anything? (arXiv:2503.14476, section 3.2)
//!
//! `live = some two rewards of the group differ`
//!
//! Assumptions: none on the range of the rewards; the paper's `0 < number correct < G` is the
//! special case of rewards in {0, 1}.
//!
//! Differs from the paper: the test is exact equality instead of a standard deviation above zero,
//! which rounding can lift above zero for equal rewards.

/// Whether the rewards of one group (or of any other pool) carry a signal: at least two differ.
///
/// For methods that pool turns ([`turn_pool`](crate::turn_pool)) pass the turn rewards: attempts
/// with equal outcomes may still differ by turn. A group of one is never live.
pub fn is_live(rewards: &[f64]) -> bool {
    rewards.windows(2).any(|pair| pair[0] != pair[1])
}

#[cfg(test)]
mod tests {
    use super::is_live;

    #[test]
    fn equal_rewards_and_groups_of_one_are_dead() {
        assert!(!is_live(&[]));
        assert!(!is_live(&[1.0]));
        assert!(!is_live(&[0.1; 7]));
        assert!(!is_live(&[0.0, -0.0]));
    }

    #[test]
    fn one_different_reward_makes_a_group_live_wherever_it_stands() {
        assert!(is_live(&[1.0, 0.0, 0.0]));
        assert!(is_live(&[0.0, 0.0, 1.0]));
        assert!(is_live(&[0.0, 0.0, f64::MIN_POSITIVE]));
    }
}
