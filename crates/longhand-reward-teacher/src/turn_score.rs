//! The raw score of one memory update (arXiv:2603.21663, Eq. 4).
//!
//! `p = (1/L) * sum_k pi(m_k | question, relevant part of the chunk, memory, m_<k)`
//!
//! The arithmetic mean of probabilities: not of log-probabilities, and no ratio to the student's.
//! The ablation without length normalisation leaves out `1/L`.
//!
//! Assumption: a memory without any scored token scores 0. The source does not say; 0 is the one
//! value with which writing nothing can never be the best turn of a batch. Score the end token too
//! ([`ScoredTokens::MemoryAndEnd`](crate::ScoredTokens)) where an empty memory can be right.

/// Score of one turn from the teacher's probability of each scored token, `[token]`.
///
/// In `[0, 1]` with `length_norm`, else in `[0, L]`. A NaN spreads to the score, which
/// [`TeacherAligned::rewards`](crate::TeacherAligned::rewards) then refuses.
pub fn turn_score(token_probs: &[f64], length_norm: bool) -> f64 {
    if token_probs.is_empty() {
        return 0.0;
    }
    let sum: f64 = token_probs.iter().sum();
    match length_norm {
        true => sum / token_probs.len() as f64,
        false => sum,
    }
}

#[cfg(test)]
mod tests {
    use super::turn_score;
    use proptest::prelude::*;

    #[test]
    fn an_empty_memory_scores_nothing() {
        assert_eq!(turn_score(&[], true), 0.0);
        assert_eq!(turn_score(&[], false), 0.0);
    }

    // By hand: the mean of .5 and .25 is .375; their geometric mean would be .3536.
    #[test]
    fn the_mean_is_arithmetic_and_of_probabilities() {
        assert_eq!(turn_score(&[0.5, 0.25], true), 0.375);
        assert_eq!(turn_score(&[0.5, 0.25], false), 0.75);
        assert_eq!(turn_score(&[1.0; 7], true), 1.0);
    }

    proptest! {
        #[test]
        fn repeating_a_memory_changes_the_sum_only(probs in prop::collection::vec(0.0..=1.0, 1..20)) {
            let twice = [probs.clone(), probs.clone()].concat();
            prop_assert!((turn_score(&twice, true) - turn_score(&probs, true)).abs() < 1e-12);
            prop_assert!((turn_score(&twice, false) - 2.0 * turn_score(&probs, false)).abs() < 1e-12);
        }
    }
}
