//! Contexts of one group joined under one prefix: two levels, for passes that pad to a grid.
//!
//! Source of the idea: Prefix Grouper (arXiv:2506.05433). The result is exact, gradients included,
//! because under causal attention a token's state depends only on what stands before it.
//! [`crate::PrefixTree`] shares more, for passes that can run a tree of any depth.

use std::collections::HashMap;

use crate::Context;

/// What one context adds to its group's prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suffix {
    /// The rest of the prompt, `[n_given]`: at least its last token, from which the first sampled
    /// token is predicted. No loss falls on it.
    pub given: Vec<u32>,
    /// The sampled tokens, `[n_sampled]`.
    pub sampled: Vec<u32>,
}

impl Suffix {
    /// Tokens that a scoring pass has to run: all but the last, which predicts nothing.
    pub fn n_run(&self) -> usize {
        self.given.len() + self.sampled.len().saturating_sub(1)
    }
}

/// A prefix and everything that continues it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefixGroup {
    /// Tokens that all suffixes continue, `[n_prefix]`; empty when they share none.
    pub prefix: Vec<u32>,
    /// The continuations.
    pub suffixes: Vec<Suffix>,
}

impl PrefixGroup {
    /// Tokens to run when the prefix is run once.
    pub fn n_shared(&self) -> usize {
        self.prefix.len() + self.suffixes.iter().map(Suffix::n_run).sum::<usize>()
    }

    /// Tokens to run when every context is run by itself.
    pub fn n_unshared(&self) -> usize {
        self.suffixes
            .iter()
            .map(|suffix| self.prefix.len() + suffix.n_run())
            .sum()
    }
}

/// Prefix groups and where each context went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrefixGroups {
    /// The groups, in the order in which their first contexts came.
    pub groups: Vec<PrefixGroup>,
    /// For each group and suffix, the index of its context in the list that was given.
    pub contexts: Vec<Vec<usize>>,
}

impl PrefixGroups {
    /// Tokens to run when each prefix is run once.
    pub fn n_shared(&self) -> usize {
        self.groups.iter().map(PrefixGroup::n_shared).sum()
    }

    /// Tokens to run when every context is run by itself.
    pub fn n_unshared(&self) -> usize {
        self.groups.iter().map(PrefixGroup::n_unshared).sum()
    }
}

/// Joins contexts that name the same group under their longest common beginning.
///
/// Prompts are compared token by token; the common part never includes the last token of a
/// prompt, so that every suffix has a token to predict from. Completions play no part in it.
/// Within a group, suffixes keep the order of the contexts.
///
/// # Panics
/// When a prompt is empty.
pub fn prefix_groups(contexts: &[Context<'_>]) -> PrefixGroups {
    let mut place_of_group = HashMap::new();
    let mut members: Vec<Vec<usize>> = Vec::new();
    for (context_idx, context) in contexts.iter().enumerate() {
        assert!(
            !context.prompt.is_empty(),
            "context {context_idx} has an empty prompt"
        );
        let place = *place_of_group.entry(context.group).or_insert(members.len());
        if place == members.len() {
            members.push(Vec::new());
        }
        members[place].push(context_idx);
    }
    let join = |members: &Vec<usize>| {
        let prompts = members
            .iter()
            .map(|&context_idx| contexts[context_idx].prompt);
        let prefix = common_prefix(prompts);
        let suffixes = members.iter().map(|&context_idx| Suffix {
            given: contexts[context_idx].prompt[prefix.len()..].to_vec(),
            sampled: contexts[context_idx].completion.to_vec(),
        });
        PrefixGroup {
            prefix: prefix.to_vec(),
            suffixes: suffixes.collect(),
        }
    };
    PrefixGroups {
        groups: members.iter().map(join).collect(),
        contexts: members,
    }
}

/// The longest common beginning of prompts that leaves each its last token.
fn common_prefix<'a>(mut prompts: impl Iterator<Item = &'a [u32]>) -> &'a [u32] {
    let all_but_last = |prompt: &'a [u32]| &prompt[..prompt.len() - 1];
    let Some(first) = prompts.next() else {
        return &[];
    };
    prompts.fold(all_but_last(first), |common, prompt| {
        let pairs = common.iter().zip(all_but_last(prompt));
        &common[..pairs.take_while(|(a, b)| a == b).count()]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(prompts: &[&[u32]], prefix: &[u32], given: &[&[u32]]) {
        let sampled = [9];
        let contexts: Vec<_> = prompts
            .iter()
            .map(|prompt| Context {
                group: 0,
                prompt,
                completion: &sampled,
            })
            .collect();
        let joined = prefix_groups(&contexts);
        let [group] = &joined.groups[..] else {
            panic!("{joined:?}")
        };
        assert_eq!(group.prefix, prefix);
        let found: Vec<_> = group
            .suffixes
            .iter()
            .map(|suffix| suffix.given.as_slice())
            .collect();
        assert_eq!(found, given);
    }

    #[test]
    fn no_context_makes_no_group() {
        assert_eq!(prefix_groups(&[]), PrefixGroups::default());
    }

    #[test]
    fn the_prefix_is_what_all_prompts_begin_with() {
        check(
            &[&[1, 2, 3, 4], &[1, 2, 5], &[1, 2, 3, 4]],
            &[1, 2],
            &[&[3, 4], &[5], &[3, 4]],
        );
        check(&[&[1, 2], &[3, 2]], &[], &[&[1, 2], &[3, 2]]);
    }

    #[test]
    fn the_last_token_of_every_prompt_stays_in_its_suffix() {
        check(&[&[1, 2, 3]], &[1, 2], &[&[3]]);
        check(&[&[1, 2, 3], &[1, 2, 3]], &[1, 2], &[&[3], &[3]]);
        // The second prompt is a beginning of the first.
        check(&[&[1, 2, 3], &[1, 2]], &[1], &[&[2, 3], &[2]]);
        check(&[&[1], &[1, 2]], &[], &[&[1], &[1, 2]]);
    }

    #[test]
    fn contexts_of_different_groups_share_nothing_however_alike() {
        let context = |group| Context {
            group,
            prompt: &[1, 2],
            completion: &[3],
        };
        let joined = prefix_groups(&[context(5), context(2), context(5)]);
        assert_eq!(joined.contexts, [vec![0, 2], vec![1]]);
        assert_eq!(joined.groups[0].suffixes.len(), 2);
    }

    #[test]
    fn costs_of_the_small_reader_group() {
        // 8 attempts, 57 shared prompt tokens, then `<m> item <w>` and 2 sampled tokens of which
        // the last is not run: 57 + 8 * 4 against 8 * 61. The marks and items below differ first
        // at the item, so `<m>` is shared too: 58 + 8 * 3.
        let shared: Vec<u32> = (0..57).collect();
        let prompts: Vec<Vec<u32>> = (0..8)
            .map(|item| [&shared[..], &[100, 200 + item, 101]].concat())
            .collect();
        let contexts: Vec<_> = prompts
            .iter()
            .map(|prompt| Context {
                group: 0,
                prompt,
                completion: &[300, 301],
            })
            .collect();
        let joined = prefix_groups(&contexts);
        assert_eq!(joined.groups[0].prefix.len(), 58);
        assert_eq!(
            (joined.n_shared(), joined.n_unshared()),
            (58 + 8 * 3, 8 * 61)
        );
    }

    #[test]
    fn a_completion_of_no_token_runs_its_given_tokens() {
        let joined = prefix_groups(&[Context {
            group: 0,
            prompt: &[1, 2],
            completion: &[],
        }]);
        assert_eq!((joined.n_shared(), joined.n_unshared()), (2, 2));
    }

    proptest! {
        #[test]
        fn every_context_can_be_read_back_and_no_prefix_could_be_longer(
            contexts in proptest::collection::vec(
                (0_usize..3, proptest::collection::vec(0_u32..2, 1..6), proptest::collection::vec(0_u32..9, 0..3)),
                0..12,
            ),
        ) {
            let views: Vec<_> = contexts
                .iter()
                .map(|(group, prompt, completion)| Context { group: *group, prompt, completion })
                .collect();
            let joined = prefix_groups(&views);
            let mut seen = vec![false; views.len()];
            for (group, members) in joined.groups.iter().zip(&joined.contexts) {
                prop_assert_eq!(group.suffixes.len(), members.len());
                for (suffix, &context_idx) in group.suffixes.iter().zip(members) {
                    prop_assert!(!std::mem::replace(&mut seen[context_idx], true));
                    let prompt = [&group.prefix[..], &suffix.given].concat();
                    prop_assert_eq!(&prompt[..], views[context_idx].prompt);
                    prop_assert_eq!(&suffix.sampled[..], views[context_idx].completion);
                    prop_assert!(!suffix.given.is_empty());
                }
                let next: Vec<_> = group.suffixes.iter().map(|suffix| suffix.given[0]).collect();
                let could_grow = group.suffixes.iter().all(|suffix| 1 < suffix.given.len())
                    && next.iter().all(|&id| id == next[0]);
                prop_assert!(!could_grow);
                prop_assert!(group.n_shared() <= group.n_unshared());
            }
            prop_assert!(seen.into_iter().all(|seen| seen));
        }
    }
}
