//! Replies that go in circles: small models, sampled greedily, say the same for ever.

/// Longest circle that is looked for, in tokens.
const LONGEST: usize = 128;
/// How often a circle is said before it counts as one.
const N_TIMES: usize = 4;
/// Tokens that all of them have together at least: lists and tables repeat short things rightly.
const FEWEST_TOKENS: usize = 64;

/// Where a reply that ends in a circle would end if the circle were said once; none if it does not.
pub(crate) fn end_of_first_circle(ids: &[u32]) -> Option<usize> {
    let is_circle = |length: &usize| {
        let n_times = N_TIMES.max(FEWEST_TOKENS.div_ceil(*length));
        let Some(start) = ids.len().checked_sub(n_times * length) else {
            return false;
        };
        // Every token is the one that stands a circle before it.
        let said = &ids[start..];
        said[*length..] == said[..said.len() - length]
    };
    let length = (1..=LONGEST).find(is_circle)?;
    // It may have gone round more often than it takes to be seen.
    let n_again = ids[length..]
        .iter()
        .rev()
        .zip(ids[..ids.len() - length].iter().rev())
        .take_while(|(now, before)| now == before)
        .count();
    Some(ids.len() - n_again)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_circle_is_seen_when_it_has_been_said_often_enough() {
        let said = |circle: &[u32], n: usize| [&[90, 91][..], &circle.repeat(n)].concat();
        let first_seen =
            |circle: &[u32]| (1..200).find(|n| end_of_first_circle(&said(circle, *n)).is_some());
        assert_eq!(first_seen(&[1]), Some(64));
        assert_eq!(first_seen(&[1, 2, 3]), Some(22));
        assert_eq!(first_seen(&(0..16).collect::<Vec<_>>()), Some(4));
        assert_eq!(first_seen(&(0..128).collect::<Vec<_>>()), Some(4));
        assert_eq!(first_seen(&(0..129).collect::<Vec<_>>()), None);
        assert_eq!(end_of_first_circle(&said(&[1, 2, 3], 30)), Some(2 + 3));
    }

    proptest! {
        #[test]
        fn what_is_kept_ends_with_one_circle_and_what_is_cut_says_nothing_new(
            before in proptest::collection::vec(0_u32..3, 0..20),
            circle in proptest::collection::vec(0_u32..3, 1..20),
            n_times in 1_usize..80,
        ) {
            let ids = [before, circle.repeat(n_times)].concat();
            match end_of_first_circle(&ids) {
                None => prop_assert!(n_times < 4 || circle.len() * n_times < 64),
                Some(end) => {
                    prop_assert!(0 < end && 3 * (ids.len() - end) >= 64);
                    // The cut part is what stands before it, again and again.
                    let is_again = |length: usize| (end..ids.len()).all(|i| ids[i] == ids[i - length]);
                    prop_assert!((1..=LONGEST.min(end)).any(is_again));
                }
            }
        }
    }
}
