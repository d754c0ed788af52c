//! How much of a completion says again what it said before.
//!
//! `repetition = 1 - distinct n-grams / n-grams`
//!
//! Over the ids of the completion, so that it needs no words. 0 where every n-gram is new, close to 1 in
//! a loop; a completion of fewer than n tokens has nothing to repeat and counts as 0.

use std::collections::HashSet;

/// The share of n-grams that occurred before, from 0 to below 1.
///
/// # Panics
/// When `n` is 0.
pub fn repetition(token_ids: &[u32], n: usize) -> f64 {
    assert!(n != 0, "an n-gram has at least one token");
    let n_grams: Vec<&[u32]> = token_ids.windows(n).collect();
    if n_grams.is_empty() {
        return 0.0;
    }
    let distinct: HashSet<&[u32]> = n_grams.iter().copied().collect();
    1.0 - distinct.len() as f64 / n_grams.len() as f64
}

/// The mean [`repetition`] over completions, each counted once; 0 without any.
///
/// # Panics
/// When `n` is 0.
pub fn repetition_rate<'a>(completions: impl IntoIterator<Item = &'a [u32]>, n: usize) -> f64 {
    let (n_completions, sum) = completions
        .into_iter()
        .fold((0_usize, 0.0), |(count, sum), token_ids| {
            (count + 1, sum + repetition(token_ids, n))
        });
    match n_completions {
        0 => 0.0,
        _ => sum / n_completions as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::{repetition, repetition_rate};
    use proptest::prelude::*;

    #[test]
    fn what_is_too_short_repeats_nothing() {
        assert_eq!(repetition(&[], 1), 0.0);
        assert_eq!(repetition(&[1, 1], 3), 0.0);
        assert_eq!(repetition_rate([], 2), 0.0);
    }

    // By hand: 1 2, 2 1, 1 2, 2 1 are four bigrams, two of them different.
    #[test]
    fn bigrams_of_a_loop() {
        assert_eq!(repetition(&[1, 2, 1, 2, 1], 2), 0.5);
        assert_eq!(repetition(&[1, 2, 3, 4, 5], 2), 0.0);
        assert_eq!(repetition(&[7; 5], 2), 0.75);
        let loop_and_not: [&[u32]; 2] = [&[7; 5], &[1, 2, 3]];
        assert_eq!(repetition_rate(loop_and_not, 2), 0.375);
    }

    proptest! {
        #[test]
        fn longer_loops_repeat_more(period in 1_u32..5, n_rounds in 2_usize..6, n in 1_usize..4) {
            let once: Vec<u32> = (0..period).collect();
            let (less, more) = (once.repeat(n_rounds), once.repeat(n_rounds + 1));
            prop_assert!(repetition(&less, n) <= repetition(&more, n));
            prop_assert!((0.0..1.0).contains(&repetition(&more, n)));
        }
    }
}
