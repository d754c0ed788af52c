//! CIRCA's answer-level reward: the share of the group that gave one's answer (arXiv:2605.22620).
//!
//! `R(g) = |{ h : answer_h ~ answer_g }| / n_read`
//!
//! The own answer counts, and `n_read` counts the attempts whose answer was read, not the whole group.
//! Proportional to the size of the cluster, not 0 or 1: ties need no rule, and where all agree or none
//! do, all rewards are equal and a z-score over the group is 0.
//!
//! Source: a secondary one; the paper's text and code were not at hand. Assumptions, stated nowhere: an
//! attempt without a readable answer gets 0 ([`Unread::Zero`], the default), and clusters are built
//! against their first member.

use crate::{Clusters, Unread};

/// The reward of each attempt, from 0 to 1; `None` for an unread answer with [`Unread::Missing`].
pub fn cluster_vote(clusters: &Clusters, unread: Unread) -> Vec<Option<f64>> {
    let n_read = clusters.n_read() as f64;
    let reward = |cluster_idx: &Option<usize>| match cluster_idx {
        Some(idx) => Some(clusters.sizes[*idx] as f64 / n_read),
        None => unread.reward(),
    };
    clusters.cluster_idx.iter().map(reward).collect()
}

#[cfg(test)]
mod tests {
    use super::cluster_vote;
    use crate::{Clusters, Unread};
    use proptest::prelude::*;

    #[track_caller]
    fn check(answers: &[Option<&str>], unread: Unread, expected: &[Option<f64>]) {
        let clusters = Clusters::new(answers, |l, r| l == r);
        assert_eq!(cluster_vote(&clusters, unread), expected);
    }

    #[test]
    fn without_answers_there_are_no_votes() {
        check(&[], Unread::Zero, &[]);
        check(&[None, None], Unread::Zero, &[Some(0.0), Some(0.0)]);
        check(&[None, None], Unread::Missing, &[None, None]);
        check(&[Some("5")], Unread::Zero, &[Some(1.0)]);
    }

    // By hand: two of the three read answers are 5, one is 7.
    #[test]
    fn the_denominator_counts_read_answers() {
        let answers = [Some("5"), Some("5"), Some("7"), None];
        let (two, one) = (Some(2.0 / 3.0), Some(1.0 / 3.0));
        check(&answers, Unread::Zero, &[two, two, one, Some(0.0)]);
        check(&answers, Unread::Missing, &[two, two, one, None]);
    }

    proptest! {
        #[test]
        fn agreement_and_disagreement_are_both_equal_for_all(n_attempts in 1_usize..9) {
            let same = vec![Some("a".to_owned()); n_attempts];
            let different: Vec<_> = (0..n_attempts).map(|idx| Some(idx.to_string())).collect();
            for (answers, reward) in [(same, 1.0), (different, 1.0 / n_attempts as f64)] {
                let clusters = Clusters::new(&answers, |l, r| l == r);
                let rewards = cluster_vote(&clusters, Unread::Zero);
                prop_assert_eq!(rewards, vec![Some(reward); n_attempts]);
            }
        }
    }
}
