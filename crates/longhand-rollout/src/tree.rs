//! Contexts joined in one tree, so that every beginning that several of them share is run once.
//!
//! Source of the idea: Prefix Grouper (arXiv:2506.05433). The result is exact, gradients included,
//! because under causal attention a token's state depends only on what stands before it.
//!
//! Differs from it: the tree may have any depth, and a shared beginning may reach into what was
//! sampled.

/// One prompt with what was sampled after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context<'a> {
    /// Contexts of one group are likely to begin alike. [`crate::prefix_groups`] joins no others;
    /// a [`PrefixTree`] pays no heed to it.
    pub group: usize,
    /// The tokens given, `[n_prompt]`; never empty.
    pub prompt: &'a [u32],
    /// The tokens sampled, `[n_sampled]`.
    pub completion: &'a [u32],
}

impl Context<'_> {
    /// Tokens that a scoring pass has to run: all but the last sampled one, which predicts
    /// nothing.
    pub fn n_run(&self) -> usize {
        self.prompt.len() + self.completion.len().saturating_sub(1)
    }

    /// Those tokens, `[n_run]`.
    fn run(&self) -> Vec<u32> {
        let n_sampled = self.n_run() - self.prompt.len();
        [self.prompt, &self.completion[..n_sampled]].concat()
    }
}

/// A run of tokens that continues its parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// An earlier segment, whose last token stands before the first of these; a root has none.
    pub parent: Option<usize>,
    /// Position of its first token, counted from the beginning of the contexts.
    pub start: usize,
    /// Its tokens, `[n_ids]`; never empty.
    pub ids: Vec<u32>,
}

/// One sampled token and the place that predicts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Index of the segment.
    pub segment: usize,
    /// The token within the segment whose state predicts.
    pub offset: usize,
    /// The sampled token.
    pub id: u32,
}

/// The tree of what is run for a list of contexts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrefixTree {
    /// Its segments, depth first, siblings by their first tokens: parents stand before children.
    pub segments: Vec<Segment>,
    /// For each context in order, its sampled tokens in order, `[n_contexts][n_sampled]`. Several
    /// targets may name one place.
    pub targets: Vec<Vec<Target>>,
    /// Tokens to run when every context is run by itself.
    pub n_unshared: usize,
}

impl PrefixTree {
    /// Joins all contexts, whatever their group, along their longest common beginnings.
    ///
    /// A context is run as its prompt and its completion without the last token. Beginnings are
    /// compared token by token and shared through completions too: where the next tokens differ,
    /// each target still names its own. A segment ends only where the tree branches or all of its
    /// contexts have ended, so none has exactly one child; a context may end within one.
    ///
    /// # Panics
    /// When a prompt is empty.
    pub fn new(contexts: &[Context<'_>]) -> PrefixTree {
        let runs = runs(contexts);
        let order = lexicographic_order(&runs);
        let mut segments = Vec::new();
        // The segment in which each context's run ends.
        let mut ends_in = vec![0; contexts.len()];
        let mut open = branches(&runs, &order, None, 0);
        while let Some(branch) = open.pop() {
            let (segment, past) = branch.segment(&runs);
            let n_ended = branch.members.len() - past.len();
            for &context_idx in &branch.members[..n_ended] {
                ends_in[context_idx] = segments.len();
            }
            let end = segment.start + segment.ids.len();
            open.extend(branches(&runs, past, Some(segments.len()), end));
            segments.push(segment);
        }
        let pairs = contexts.iter().zip(ends_in);
        PrefixTree {
            targets: pairs
                .map(|(context, ends_in)| targets(&segments, ends_in, context))
                .collect(),
            n_unshared: runs.iter().map(Vec::len).sum(),
            segments,
        }
    }

    /// Tokens to run when what is shared is run once: the cost of a pass over this tree.
    pub fn n_shared(&self) -> usize {
        self.segments.iter().map(|segment| segment.ids.len()).sum()
    }

    /// Tokens to run when every context is run by itself: the cost without the tree.
    pub fn n_unshared(&self) -> usize {
        self.n_unshared
    }
}

/// What is run for each context, `[n_contexts][n_run]`.
///
/// # Panics
/// When a prompt is empty.
pub(crate) fn runs(contexts: &[Context<'_>]) -> Vec<Vec<u32>> {
    let numbered = contexts.iter().enumerate();
    let run = |(context_idx, context): (usize, &Context<'_>)| {
        assert!(
            !context.prompt.is_empty(),
            "context {context_idx} has an empty prompt"
        );
        context.run()
    };
    numbered.map(run).collect()
}

/// The order in which neighbours share most; equal runs keep theirs.
pub(crate) fn lexicographic_order(runs: &[Vec<u32>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..runs.len()).collect();
    order.sort_by(|&a, &b| runs[a].cmp(&runs[b]));
    order
}

/// How many tokens two runs have in common before they first differ.
pub(crate) fn n_common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Contexts that agree up to and with the token at `start`, where a segment has to begin.
struct Branch<'a> {
    parent: Option<usize>,
    start: usize,
    /// In lexicographic order; never empty.
    members: &'a [usize],
}

impl<'a> Branch<'a> {
    /// The segment, as long as can be, and the members that go on after it.
    fn segment(&self, runs: &[Vec<u32>]) -> (Segment, &'a [usize]) {
        // The last member has all tokens of the segment.
        let longest = self.members[self.members.len() - 1];
        let mut past = self.members;
        let mut end = self.start;
        // In lexicographic order, what the first and the last agree on, all between agree on.
        while let (&[first, ..], &[.., last]) = (past, past) {
            let n_more = n_common(&runs[first][end..], &runs[last][end..]);
            if n_more == 0 {
                break;
            }
            end += n_more;
            // Those that end here stand first, and the others may still agree.
            let n_ended = past.iter().take_while(|&&idx| runs[idx].len() == end);
            past = &past[n_ended.count()..];
        }
        let segment = Segment {
            parent: self.parent,
            start: self.start,
            ids: runs[longest][self.start..end].to_vec(),
        };
        (segment, past)
    }
}

/// One branch for each token found at `start`, the last one first: they are taken from the end.
fn branches<'a>(
    runs: &[Vec<u32>],
    members: &'a [usize],
    parent: Option<usize>,
    start: usize,
) -> Vec<Branch<'a>> {
    let same_token = |&a: &usize, &b: &usize| runs[a][start] == runs[b][start];
    let by_token = members.chunk_by(same_token).rev();
    by_token
        .map(|members| Branch {
            parent,
            start,
            members,
        })
        .collect()
}

/// The targets of a context whose run ends in segment `ends_in`.
fn targets(segments: &[Segment], ends_in: usize, context: &Context<'_>) -> Vec<Target> {
    let last_of_prompt = context.prompt.len() - 1;
    let mut segment = ends_in;
    let from_the_last = context.completion.iter().enumerate().rev();
    let mut targets: Vec<Target> = from_the_last
        .map(|(sampled_idx, &id)| {
            let position = last_of_prompt + sampled_idx;
            while position < segments[segment].start {
                let parent = segments[segment].parent;
                segment = parent.expect("a segment without a parent starts at 0");
            }
            Target {
                segment,
                offset: position - segments[segment].start,
                id,
            }
        })
        .collect();
    targets.reverse();
    targets
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use proptest::prelude::*;

    fn tree_of(contexts: &[(&[u32], &[u32])]) -> PrefixTree {
        let contexts: Vec<_> = contexts
            .iter()
            .enumerate()
            .map(|(group, (prompt, completion))| Context {
                group,
                prompt,
                completion,
            })
            .collect();
        PrefixTree::new(&contexts)
    }

    /// Contexts, the segments as `(parent, start, ids)`, and targets as `(segment, offset, id)`.
    #[track_caller]
    fn check(
        contexts: &[(&[u32], &[u32])],
        segments: &[(Option<usize>, usize, &[u32])],
        targets: &[&[(usize, usize, u32)]],
    ) {
        let tree = tree_of(contexts);
        let found: Vec<_> = tree
            .segments
            .iter()
            .map(|segment| (segment.parent, segment.start, segment.ids.as_slice()))
            .collect();
        assert_eq!(found, segments);
        let triple = |target: &Target| (target.segment, target.offset, target.id);
        let of_context = |targets: &Vec<Target>| targets.iter().map(triple).collect::<Vec<_>>();
        let found: Vec<_> = tree.targets.iter().map(of_context).collect();
        assert_eq!(found, targets);
    }

    #[test]
    fn no_context_makes_no_segment() {
        assert_eq!(PrefixTree::new(&[]), PrefixTree::default());
    }

    #[test]
    fn the_last_sampled_token_is_not_run() {
        check(
            &[(&[1, 2], &[3, 4, 5])],
            &[(None, 0, &[1, 2, 3, 4])],
            &[&[(0, 1, 3), (0, 2, 4), (0, 3, 5)]],
        );
        check(&[(&[1], &[2])], &[(None, 0, &[1])], &[&[(0, 0, 2)]]);
    }

    #[test]
    fn a_completion_of_no_token_runs_its_whole_prompt_and_has_no_target() {
        check(&[(&[1, 2], &[])], &[(None, 0, &[1, 2])], &[&[]]);
    }

    #[test]
    fn prompts_branch_at_any_depth_and_children_stand_by_their_first_tokens() {
        check(
            &[
                (&[1, 2, 9, 9], &[7]),
                (&[1, 2, 3, 5], &[7]),
                (&[4], &[7]),
                (&[1, 2, 3, 4], &[7]),
            ],
            &[
                (None, 0, &[1, 2]),
                (Some(0), 2, &[3]),
                (Some(1), 3, &[4]),
                (Some(1), 3, &[5]),
                (Some(0), 2, &[9, 9]),
                (None, 0, &[4]),
            ],
            &[&[(4, 1, 7)], &[(3, 0, 7)], &[(5, 0, 7)], &[(2, 0, 7)]],
        );
    }

    #[test]
    fn equal_beginnings_of_completions_are_shared() {
        check(
            &[(&[1, 2], &[3, 4, 5]), (&[1, 2], &[3, 6, 5])],
            &[
                (None, 0, &[1, 2, 3]),
                (Some(0), 3, &[4]),
                (Some(0), 3, &[6]),
            ],
            &[
                &[(0, 1, 3), (0, 2, 4), (1, 0, 5)],
                &[(0, 1, 3), (0, 2, 6), (2, 0, 5)],
            ],
        );
        // A prompt may go through what another context sampled.
        check(
            &[(&[1], &[2, 3]), (&[1, 2], &[4])],
            &[(None, 0, &[1, 2])],
            &[&[(0, 0, 2), (0, 1, 3)], &[(0, 1, 4)]],
        );
    }

    #[test]
    fn a_context_may_end_within_a_segment() {
        check(
            &[(&[1, 2, 3], &[4]), (&[1], &[9]), (&[1, 2], &[])],
            &[(None, 0, &[1, 2, 3])],
            &[&[(0, 2, 4)], &[(0, 0, 9)], &[]],
        );
    }

    #[test]
    fn costs_of_the_small_reader_group() {
        // 8 attempts, 57 shared prompt tokens, then `<m> item <w>` and 2 sampled tokens of which
        // the last is not run. They differ first at the item: 58 + 8 * 3 against 8 * 61. Two
        // attempts with the same item share `item <w>` as well.
        let shared: Vec<u32> = (0..57).collect();
        let cost = |n_items: u32| {
            let prompts: Vec<Vec<u32>> = (0..8)
                .map(|attempt| [&shared[..], &[100, 200 + attempt % n_items, 101]].concat())
                .collect();
            let sampled: Vec<[u32; 2]> = (0..8).map(|attempt| [300 + attempt, 301]).collect();
            let contexts: Vec<(&[u32], &[u32])> = prompts
                .iter()
                .zip(&sampled)
                .map(|(prompt, sampled)| (&prompt[..], &sampled[..]))
                .collect();
            let tree = tree_of(&contexts);
            (tree.n_shared(), tree.n_unshared())
        };
        assert_eq!(cost(8), (58 + 8 * 3, 8 * 61));
        assert_eq!(cost(4), (58 + 4 * 2 + 8, 8 * 61));
    }

    #[test]
    #[should_panic(expected = "context 1 has an empty prompt")]
    fn an_empty_prompt_panics() {
        tree_of(&[(&[1], &[]), (&[], &[1])]);
    }

    /// The tokens from the root up to and with this place.
    fn read_back(tree: &PrefixTree, segment: usize, offset: usize) -> Vec<u32> {
        let mut ids: Vec<u32> = tree.segments[segment].ids[..=offset].to_vec();
        let mut at = segment;
        while let Some(parent) = tree.segments[at].parent {
            assert!(parent < at, "parents stand before children");
            ids.splice(0..0, tree.segments[parent].ids.iter().copied());
            at = parent;
        }
        ids
    }

    proptest! {
        #[test]
        fn every_distinct_beginning_is_one_place_and_every_target_stands_behind_its_own(
            contexts in proptest::collection::vec(
                (proptest::collection::vec(0_u32..3, 1..6), proptest::collection::vec(0_u32..3, 0..5)),
                0..14,
            ),
        ) {
            let views: Vec<(&[u32], &[u32])> =
                contexts.iter().map(|(prompt, completion)| (&prompt[..], &completion[..])).collect();
            let tree = tree_of(&views);

            prop_assert_eq!(tree.targets.len(), contexts.len());
            for ((prompt, completion), targets) in contexts.iter().zip(&tree.targets) {
                prop_assert_eq!(targets.len(), completion.len());
                for (sampled_idx, target) in targets.iter().enumerate() {
                    prop_assert_eq!(target.id, completion[sampled_idx]);
                    let before = [&prompt[..], &completion[..sampled_idx]].concat();
                    prop_assert_eq!(read_back(&tree, target.segment, target.offset), before);
                }
            }

            let mut expect = HashSet::new();
            let mut n_unshared = 0;
            for (prompt, completion) in &contexts {
                let run = [&prompt[..], &completion[..completion.len().max(1) - 1]];
                let run = if completion.is_empty() { prompt.clone() } else { run.concat() };
                n_unshared += run.len();
                expect.extend((1..=run.len()).map(|n| run[..n].to_vec()));
            }
            prop_assert_eq!(tree.n_unshared(), n_unshared);
            prop_assert_eq!(tree.n_shared(), expect.len());
            let mut n_children = vec![0; tree.segments.len()];
            for (idx, segment) in tree.segments.iter().enumerate() {
                prop_assert!(!segment.ids.is_empty());
                let before = segment.parent.map_or(0, |parent| {
                    n_children[parent] += 1;
                    tree.segments[parent].start + tree.segments[parent].ids.len()
                });
                prop_assert_eq!(segment.start, before);
                for offset in 0..segment.ids.len() {
                    // Each beginning once: so no two siblings or roots begin alike.
                    prop_assert!(expect.remove(&read_back(&tree, idx, offset)));
                }
            }
            prop_assert!(expect.is_empty());
            prop_assert!(!n_children.contains(&1), "{:?}", tree);
        }
    }
}
