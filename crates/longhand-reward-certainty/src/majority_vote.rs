//! TTRL: the majority's answer as a label (arXiv:2504.16084).
//!
//! `label = representative of the largest cluster`, `R(g) = 1 if answer_g ~ label, else 0`
//!
//! Of equally large clusters the one whose first member comes first wins. Attempts without a readable
//! answer have no vote, and get 0 unless the caller wants them left out.
//!
//! Two forms. [`majority_vote`] votes and rewards by the same clusters: the members of the largest one
//! get 1. The paper's code counts exact strings, and then rewards by the equivalence: that is
//! [`majority_label`] over clusters of equal strings, and [`majority_reward`] with the equivalence.
//! There, more attempts vote than are trained on; whom to train is the caller's choice.

use crate::{Clusters, Unread};

/// The attempt whose answer is the label: the first of the largest cluster; `None` without any answer.
pub fn majority_label(clusters: &Clusters) -> Option<usize> {
    clusters.largest().map(|idx| clusters.representatives[idx])
}

/// 1 for the members of the largest cluster, 0 for the others; for an unread answer as asked.
pub fn majority_vote(clusters: &Clusters, unread: Unread) -> Vec<Option<f64>> {
    let largest = clusters.largest();
    let reward = |cluster_idx: &Option<usize>| match cluster_idx {
        Some(_) => Some(f64::from(*cluster_idx == largest)),
        None => unread.reward(),
    };
    clusters.cluster_idx.iter().map(reward).collect()
}

/// 1 for the answers that are equivalent to the label, which stands on the left, 0 for the others; for
/// an unread answer as asked.
pub fn majority_reward<A: AsRef<str>>(
    answers: &[Option<A>],
    label: &str,
    unread: Unread,
    mut equivalent: impl FnMut(&str, &str) -> bool,
) -> Vec<Option<f64>> {
    let mut reward = |answer: &Option<A>| match answer {
        Some(answer) => Some(f64::from(equivalent(label, answer.as_ref()))),
        None => unread.reward(),
    };
    answers.iter().map(&mut reward).collect()
}

#[cfg(test)]
mod tests {
    use super::{majority_label, majority_reward, majority_vote};
    use crate::{Clusters, Unread};

    #[track_caller]
    fn check(answers: &[Option<&str>], label: Option<usize>, expected: &[Option<f64>]) {
        let clusters = Clusters::new(answers, |l, r| l == r);
        assert_eq!(majority_label(&clusters), label);
        assert_eq!(majority_vote(&clusters, Unread::Missing), expected);
        let zero = expected.iter().map(|reward| Some(reward.unwrap_or(0.0)));
        let zero: Vec<_> = zero.collect();
        assert_eq!(majority_vote(&clusters, Unread::Zero), zero);
    }

    #[test]
    fn without_answers_there_is_no_label() {
        check(&[], None, &[]);
        check(&[None, None], None, &[None, None]);
        check(&[None, Some("a")], Some(1), &[None, Some(1.0)]);
    }

    #[test]
    fn the_majority_wins_and_of_equals_the_first() {
        let (yes, no) = (Some(1.0), Some(0.0));
        check(&[Some("a"), Some("b"), Some("b")], Some(1), &[no, yes, yes]);
        check(&[Some("b"), Some("a"), None], Some(0), &[yes, no, None]);
        check(
            &[Some("a"), Some("b"), Some("b"), Some("a")],
            Some(0),
            &[yes, no, no, yes],
        );
    }

    // Strings are counted: "7" wins 2 to 1 to 1, though 5 and 5.0 and "5." are three that are equal.
    #[test]
    fn the_papers_form_counts_strings_and_rewards_by_equivalence() {
        let answers = ["5", "7", "5.0", "7", "5."].map(Some);
        let clusters = Clusters::new(&answers, |l, r| l == r);
        let label = majority_label(&clusters).map(|idx| answers[idx].unwrap());
        assert_eq!(label, Some("7"));
        let number = |text: &str| text.parse::<f64>().ok();
        let rewards =
            |label| majority_reward(&answers, label, Unread::Zero, |l, r| number(l) == number(r));
        assert_eq!(rewards("7"), [0.0, 1.0, 0.0, 1.0, 0.0].map(Some));
        assert_eq!(rewards("5"), [1.0, 0.0, 1.0, 0.0, 1.0].map(Some));
    }
}
