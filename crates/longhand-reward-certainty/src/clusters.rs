//! The answers of a group, sorted into clusters of equivalent ones.
//!
//! In the order of the attempts, an answer joins the first cluster whose representative it is equivalent
//! to, else it opens a new cluster and is its representative. The representative stands on the left of
//! the relation and never changes.
//!
//! The relation should be reflexive and symmetric. It need not be transitive, and equivalences of
//! mathematical answers are not: then the clusters depend on the order of the attempts, which is why the
//! order is fixed, and members of one cluster are equivalent to its representative, not always to each
//! other. The number of comparisons is at most attempts times clusters.

/// What an attempt gets whose answer could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
pub enum Unread {
    /// 0, less than any vote: writing no answer is worse than writing a lonely one.
    #[default]
    Zero,
    /// No reward at all: the attempt is left out.
    Missing,
}

impl Unread {
    pub(crate) fn reward(self) -> Option<f64> {
        match self {
            Unread::Zero => Some(0.0),
            Unread::Missing => None,
        }
    }
}

/// The clusters of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clusters {
    /// For each attempt the index of its cluster, in the order in which clusters were opened; `None`
    /// where no answer was read.
    pub cluster_idx: Vec<Option<usize>>,
    /// For each cluster the attempt that opened it.
    pub representatives: Vec<usize>,
    /// For each cluster its number of members; at least 1.
    pub sizes: Vec<usize>,
}

impl Clusters {
    /// Sorts the answers of a group, one for each attempt, `None` where none was read.
    pub fn new<A: AsRef<str>>(
        answers: &[Option<A>],
        mut equivalent: impl FnMut(&str, &str) -> bool,
    ) -> Clusters {
        let mut clusters = Clusters {
            cluster_idx: Vec::with_capacity(answers.len()),
            representatives: Vec::new(),
            sizes: Vec::new(),
        };
        let text = |attempt_idx: usize| answers[attempt_idx].as_ref().map(AsRef::as_ref);
        for attempt_idx in 0..answers.len() {
            let Some(answer) = text(attempt_idx) else {
                clusters.cluster_idx.push(None);
                continue;
            };
            let is_of = |representative: &usize| {
                text(*representative).is_some_and(|first| equivalent(first, answer))
            };
            let cluster_idx = match clusters.representatives.iter().position(is_of) {
                Some(cluster_idx) => cluster_idx,
                None => {
                    clusters.representatives.push(attempt_idx);
                    clusters.sizes.push(0);
                    clusters.sizes.len() - 1
                }
            };
            clusters.sizes[cluster_idx] += 1;
            clusters.cluster_idx.push(Some(cluster_idx));
        }
        clusters
    }

    /// Attempts whose answer was read.
    pub fn n_read(&self) -> usize {
        self.sizes.iter().sum()
    }

    /// The largest cluster, of equally large ones the one that was opened first; `None` without any
    /// answer.
    pub fn largest(&self) -> Option<usize> {
        // `max_by_key` takes the last of equals.
        let indexed = self.sizes.iter().enumerate().rev();
        indexed.max_by_key(|(_, size)| **size).map(|(idx, _)| idx)
    }
}

#[cfg(test)]
mod tests {
    use super::Clusters;
    use proptest::prelude::*;

    #[track_caller]
    fn check(answers: &[Option<&str>], expected: &[Option<usize>], largest: Option<usize>) {
        let clusters = Clusters::new(answers, |l, r| l.eq_ignore_ascii_case(r));
        assert_eq!(clusters.cluster_idx, expected);
        assert_eq!(clusters.largest(), largest);
        let n_read = answers.iter().flatten().count();
        assert_eq!(clusters.n_read(), n_read);
    }

    #[test]
    fn nobody_and_nothing_read() {
        check(&[], &[], None);
        check(&[None, None], &[None, None], None);
        check(&[None, Some("a")], &[None, Some(0)], Some(0));
    }

    #[test]
    fn clusters_are_numbered_as_they_open_and_the_first_of_the_largest_wins() {
        check(
            &[Some("b"), Some("a"), None, Some("A"), Some("B")],
            &[Some(0), Some(1), None, Some(1), Some(0)],
            Some(0),
        );
        check(
            &[Some("b"), Some("a"), Some("A")],
            &[Some(0), Some(1), Some(1)],
            Some(1),
        );
    }

    // Numbers at most 1 apart: 1 ~ 2 ~ 3, but not 1 ~ 3. The order decides, and only representatives
    // are compared, each on the left.
    #[test]
    fn without_transitivity_the_order_of_the_attempts_decides() {
        let near = |l: &str, r: &str| {
            let number = |text: &str| text.parse::<i32>().unwrap();
            (number(l) - number(r)).abs() <= 1
        };
        let sorted = |answers: [&str; 3]| Clusters::new(&answers.map(Some), near).sizes;
        assert_eq!(sorted(["2", "1", "3"]), [3]);
        assert_eq!(sorted(["1", "2", "3"]), [2, 1]);
        let mut calls = Vec::new();
        Clusters::new(&["1", "2", "3"].map(Some), |l, r| {
            calls.push((l.to_owned(), r.to_owned()));
            near(l, r)
        });
        let expected = [("1", "2"), ("1", "3")].map(|(l, r)| (l.to_owned(), r.to_owned()));
        assert_eq!(calls, expected);
    }

    proptest! {
        #[test]
        fn an_equivalence_gives_its_classes(
            answers in prop::collection::vec(prop::option::of(0_u8..6), 0..12)
        ) {
            let texts: Vec<Option<String>> = answers.iter().map(|a| a.map(|a| a.to_string())).collect();
            let clusters = Clusters::new(&texts, |l, r| l == r);
            prop_assert_eq!(&clusters, &Clusters::new(&texts, |l, r| l == r));
            for (idx, left) in answers.iter().enumerate() {
                for (other_idx, right) in answers.iter().enumerate() {
                    let together = clusters.cluster_idx[idx] == clusters.cluster_idx[other_idx];
                    prop_assert_eq!(together, left == right);
                }
                if let (Some(cluster), Some(answer)) = (clusters.cluster_idx[idx], left) {
                    let size = answers.iter().flatten().filter(|other| *other == answer).count();
                    prop_assert_eq!(clusters.sizes[cluster], size);
                }
            }
        }
    }
}
