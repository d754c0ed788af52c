//! What a group's votes look like, for metrics: are there still different answers, and is the majority
//! right?
//!
//! Truth is for diagnosis only and never reaches a reward. A policy that has found out that agreeing is
//! enough shows one distinct answer and a share of 1, whatever the question.

use crate::Clusters;

/// One group's votes.
#[derive(Clone, Debug, PartialEq)]
pub struct VoteDiagnosis {
    /// Attempts in the group.
    pub n_attempts: usize,
    /// Attempts whose answer was read.
    pub n_read: usize,
    /// Clusters of equivalent answers.
    pub n_distinct: usize,
    /// Members of the largest cluster over `n_read`, from 0 to 1; 0 when nothing was read.
    pub largest_share: f64,
    /// Whether the label, the answer of the first of the largest cluster, is right; `None` where truth
    /// is not known or nothing was read. Its mean over groups is the label accuracy.
    pub label_is_right: Option<bool>,
    /// Share of attempts that the label judges as truth does, an unread answer being wrong for both:
    /// the accuracy of the rewards. `None` as above.
    pub reward_accuracy: Option<f64>,
}

impl VoteDiagnosis {
    /// Of a group's clusters. `is_right`: for each attempt whether its answer is right, where truth is
    /// known; what it says of unread answers does not count.
    ///
    /// # Panics
    /// When `is_right` has another length than the group.
    pub fn new(clusters: &Clusters, is_right: Option<&[bool]>) -> VoteDiagnosis {
        let n_attempts = clusters.cluster_idx.len();
        assert!(
            is_right.is_none_or(|is_right| is_right.len() == n_attempts),
            "truth is told for every attempt of the group"
        );
        let largest = clusters.largest();
        let n_read = clusters.n_read();
        let largest_share = largest.map_or(0.0, |idx| clusters.sizes[idx] as f64 / n_read as f64);
        let known = is_right.zip(largest);
        let agrees = |is_right: &[bool], largest| {
            let attempts = clusters.cluster_idx.iter().zip(is_right);
            attempts
                .filter(|(cluster_idx, is_right)| match cluster_idx {
                    Some(idx) => (*idx == largest) == **is_right,
                    None => true,
                })
                .count()
        };
        VoteDiagnosis {
            n_attempts,
            n_read,
            n_distinct: clusters.sizes.len(),
            largest_share,
            label_is_right: known.map(|(is_right, idx)| is_right[clusters.representatives[idx]]),
            reward_accuracy: known
                .map(|(is_right, idx)| agrees(is_right, idx) as f64 / n_attempts as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::VoteDiagnosis;
    use crate::Clusters;

    fn diagnosis(answers: &[Option<&str>], truth: Option<&str>) -> VoteDiagnosis {
        let clusters = Clusters::new(answers, |l, r| l == r);
        let is_right = truth.map(|truth| {
            let right = answers.iter().map(|answer| *answer == Some(truth));
            right.collect::<Vec<_>>()
        });
        VoteDiagnosis::new(&clusters, is_right.as_deref())
    }

    #[test]
    fn nothing_read_has_no_label() {
        let found = diagnosis(&[None, None], Some("5"));
        assert_eq!(
            (found.n_attempts, found.n_read, found.n_distinct),
            (2, 0, 0)
        );
        assert_eq!(found.largest_share, 0.0);
        assert_eq!((found.label_is_right, found.reward_accuracy), (None, None));
        assert_eq!(diagnosis(&[], Some("5")).reward_accuracy, None);
    }

    // By hand: 7 wins 2 to 1. If 7 is right all four are judged rightly; if 5 is, only the unread one.
    #[test]
    fn shares_and_accuracies() {
        let answers = [Some("7"), Some("5"), None, Some("7")];
        let right = diagnosis(&answers, Some("7"));
        assert_eq!((right.n_read, right.n_distinct), (3, 2));
        assert_eq!(right.largest_share, 2.0 / 3.0);
        assert_eq!(right.label_is_right, Some(true));
        assert_eq!(right.reward_accuracy, Some(1.0));
        let wrong = diagnosis(&answers, Some("5"));
        assert_eq!(wrong.label_is_right, Some(false));
        assert_eq!(wrong.reward_accuracy, Some(0.25));
        let neither = diagnosis(&answers, Some("9"));
        assert_eq!(neither.reward_accuracy, Some(0.5));
        let unknown = diagnosis(&answers, None);
        assert_eq!(
            (unknown.label_is_right, unknown.reward_accuracy),
            (None, None)
        );
    }
}
