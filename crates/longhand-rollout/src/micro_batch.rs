//! Prefix groups cut into micro-batches that fit a token budget.
//!
//! How a batch is cut must change no result: weights and denominators belong to the whole batch
//! and are decided before. Here it is only decided what is run together.

use std::ops::Range;

use crate::{PrefixGroup, RolloutError};

/// Some suffixes of one prefix group; the prefix is run again with each piece of its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Index of the group.
    pub group_idx: usize,
    /// Which of its suffixes.
    pub suffixes: Range<usize>,
}

/// What is run together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MicroBatch {
    /// Its pieces, in the order in which they are run.
    pub pieces: Vec<Piece>,
}

impl MicroBatch {
    /// The pieces as prefix groups of their own, in order.
    ///
    /// # Panics
    /// When `groups` is not the list that was cut.
    pub fn groups(&self, groups: &[PrefixGroup]) -> Vec<PrefixGroup> {
        let pieces = self.pieces.iter().map(|piece| {
            let group = &groups[piece.group_idx];
            let suffixes = group.suffixes[piece.suffixes.clone()].to_vec();
            PrefixGroup {
                prefix: group.prefix.clone(),
                suffixes,
            }
        });
        pieces.collect()
    }

    /// `(group_idx, suffix_idx)` of every suffix, in the order in which they are run.
    pub fn suffixes(&self) -> impl Iterator<Item = (usize, usize)> {
        let of_piece = |piece: &Piece| {
            let group_idx = piece.group_idx;
            piece
                .suffixes
                .clone()
                .map(move |suffix_idx| (group_idx, suffix_idx))
        };
        self.pieces.iter().flat_map(of_piece)
    }
}

/// Tokens that are run for these groups together, padding included.
///
/// Prefixes are padded to the longest, suffixes likewise, and every group is filled up to as many
/// suffixes as the largest one has:
/// `n_groups * (longest prefix + most suffixes * longest suffix)`.
pub fn padded_tokens(groups: &[PrefixGroup]) -> usize {
    let shapes = groups
        .iter()
        .map(|group| Shape::of(group, &(0..group.suffixes.len())));
    shapes.fold(Shape::default(), Shape::with).padded_tokens()
}

/// The sizes of a padded batch.
#[derive(Debug, Clone, Copy, Default)]
struct Shape {
    n_groups: usize,
    longest_prefix: usize,
    most_suffixes: usize,
    longest_suffix: usize,
}

impl Shape {
    fn of(group: &PrefixGroup, suffixes: &Range<usize>) -> Shape {
        let lengths = group.suffixes[suffixes.clone()]
            .iter()
            .map(|suffix| suffix.n_run());
        Shape {
            n_groups: 1,
            longest_prefix: group.prefix.len(),
            most_suffixes: suffixes.len(),
            longest_suffix: lengths.max().unwrap_or(0),
        }
    }

    fn with(self, other: Shape) -> Shape {
        Shape {
            n_groups: self.n_groups + other.n_groups,
            longest_prefix: self.longest_prefix.max(other.longest_prefix),
            most_suffixes: self.most_suffixes.max(other.most_suffixes),
            longest_suffix: self.longest_suffix.max(other.longest_suffix),
        }
    }

    fn padded_tokens(self) -> usize {
        self.n_groups * (self.longest_prefix + self.most_suffixes * self.longest_suffix)
    }
}

/// Cuts prefix groups into micro-batches of at most `token_budget` [`padded_tokens`] each.
///
/// Every suffix is in exactly one micro-batch. Groups are taken from the longest prefix to the
/// shortest (equal ones in their order), so that batches pad little; a group that is too large by
/// itself is spread over several micro-batches. Groups without suffixes are in none.
///
/// # Errors
/// [`RolloutError::OverBudget`] when one suffix with its prefix is over the budget.
pub fn micro_batches(
    groups: &[PrefixGroup],
    token_budget: usize,
) -> Result<Vec<MicroBatch>, RolloutError> {
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_by_key(|&group_idx| std::cmp::Reverse(groups[group_idx].prefix.len()));

    let fits = |shape: Shape| shape.padded_tokens() <= token_budget;
    let mut batches = Vec::new();
    let mut open = MicroBatch::default();
    let mut open_shape = Shape::default();
    for group_idx in order {
        let group = &groups[group_idx];
        let n_suffixes = group.suffixes.len();
        let mut next = 0;
        while next < n_suffixes {
            let rest = Shape::of(group, &(next..n_suffixes));
            let take = if fits(open_shape.with(rest)) {
                next..n_suffixes
            } else if !open.pieces.is_empty() {
                batches.push(std::mem::take(&mut open));
                open_shape = Shape::default();
                continue;
            } else {
                let end = (next + 1..=n_suffixes)
                    .take_while(|&end| fits(Shape::of(group, &(next..end))))
                    .last();
                let Some(end) = end else {
                    return Err(RolloutError::OverBudget {
                        group_idx,
                        suffix_idx: next,
                        n_tokens: group.prefix.len() + group.suffixes[next].n_run(),
                        token_budget,
                    });
                };
                next..end
            };
            open_shape = open_shape.with(Shape::of(group, &take));
            next = take.end;
            open.pieces.push(Piece {
                group_idx,
                suffixes: take,
            });
        }
    }
    if !open.pieces.is_empty() {
        batches.push(open);
    }
    Ok(batches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Suffix;
    use proptest::prelude::*;

    /// A group of this prefix length and these suffix lengths, counted as they are run.
    fn group(prefix: usize, suffixes: &[usize]) -> PrefixGroup {
        let suffix = |&n_run: &usize| Suffix {
            given: vec![1; n_run],
            sampled: vec![2],
        };
        PrefixGroup {
            prefix: vec![0; prefix],
            suffixes: suffixes.iter().map(suffix).collect(),
        }
    }

    fn check(groups: &[PrefixGroup], token_budget: usize, expect: &[&[(usize, Range<usize>)]]) {
        let batches = micro_batches(groups, token_budget).unwrap();
        let pieces = |batch: &MicroBatch| {
            let pair = |piece: &Piece| (piece.group_idx, piece.suffixes.clone());
            batch.pieces.iter().map(pair).collect::<Vec<_>>()
        };
        assert_eq!(batches.iter().map(pieces).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn nothing_makes_no_micro_batch() {
        check(&[], 10, &[]);
        check(&[group(5, &[])], 1, &[]);
    }

    #[test]
    fn the_padded_size_is_that_of_the_filled_grid() {
        // 2 groups, longest prefix 5, at most 3 suffixes, longest suffix 4: 2 * (5 + 3 * 4).
        assert_eq!(
            padded_tokens(&[group(5, &[1, 4]), group(2, &[1, 1, 1])]),
            34
        );
        assert_eq!(padded_tokens(&[]), 0);
        assert_eq!(padded_tokens(&[group(7, &[])]), 7);
    }

    #[test]
    fn groups_are_run_together_as_long_as_they_fit() {
        // Two groups of 4 + 2 * 3 = 10 tokens each.
        let groups = [group(4, &[3, 3]), group(4, &[3, 3])];
        check(&groups, 20, &[&[(0, 0..2), (1, 0..2)]]);
        check(&groups, 19, &[&[(0, 0..2)], &[(1, 0..2)]]);
        check(&groups, 10, &[&[(0, 0..2)], &[(1, 0..2)]]);
    }

    #[test]
    fn a_group_too_large_by_itself_is_split_between_suffixes() {
        check(
            &[group(4, &[3; 5])],
            10,
            &[&[(0, 0..2)], &[(0, 2..4)], &[(0, 4..5)]],
        );
    }

    #[test]
    fn the_rest_of_a_split_group_is_joined_by_the_next_group() {
        // The last piece of group 0 and group 1 make a grid of 2 * (4 + 1 * 3) = 14.
        check(
            &[group(4, &[3; 4]), group(4, &[3])],
            14,
            &[&[(0, 0..3)], &[(0, 3..4), (1, 0..1)]],
        );
    }

    #[test]
    fn long_prefixes_come_first_and_equal_ones_keep_their_order() {
        let groups = [
            group(1, &[1]),
            group(9, &[1]),
            group(1, &[1]),
            group(9, &[1]),
        ];
        check(
            &groups,
            20,
            &[&[(1, 0..1), (3, 0..1)], &[(0, 0..1), (2, 0..1)]],
        );
    }

    #[test]
    fn one_context_over_the_budget_is_refused_with_its_numbers() {
        let groups = [group(2, &[1]), group(4, &[1, 7, 1])];
        assert_eq!(
            micro_batches(&groups, 10).unwrap_err().to_string(),
            "suffix 1 of prefix group 1 needs 11 tokens with its prefix, over token_budget = 10; \
             raise it, or use smaller chunks"
        );
        assert!(micro_batches(&groups, 11).is_ok());
    }

    proptest! {
        #[test]
        fn every_suffix_is_run_exactly_once_within_the_budget(
            shapes in proptest::collection::vec(
                (0_usize..20, proptest::collection::vec(1_usize..12, 0..9)),
                0..12,
            ),
            token_budget in 0_usize..120,
        ) {
            let groups: Vec<_> = shapes.iter().map(|(prefix, suffixes)| group(*prefix, suffixes)).collect();
            let lone = |(prefix, suffixes): &(usize, Vec<usize>)| suffixes.iter().map(move |n| prefix + n).max();
            let largest = shapes.iter().filter_map(lone).max().unwrap_or(0);
            let Ok(batches) = micro_batches(&groups, token_budget) else {
                prop_assert!(token_budget < largest);
                return Ok(());
            };
            prop_assert!(largest <= token_budget);
            let mut n_times: Vec<Vec<usize>> = shapes.iter().map(|(_, s)| vec![0; s.len()]).collect();
            for batch in &batches {
                let cut = batch.groups(&groups);
                prop_assert!(padded_tokens(&cut) <= token_budget);
                let run: Vec<_> = cut.iter().flat_map(|group| {
                    group.suffixes.iter().map(|suffix| (group.prefix.len(), suffix.n_run()))
                }).collect();
                prop_assert!(!run.is_empty());
                let named: Vec<_> = batch.suffixes().map(|(group_idx, suffix_idx)| {
                    n_times[group_idx][suffix_idx] += 1;
                    (shapes[group_idx].0, shapes[group_idx].1[suffix_idx])
                }).collect();
                prop_assert_eq!(run, named);
            }
            prop_assert!(n_times.iter().flatten().all(|&n| n == 1), "{:?}", n_times);
        }
    }
}
