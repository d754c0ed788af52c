//! Contexts cut into micro-batches that fit a token budget.
//!
//! How a batch is cut must change no result: weights and denominators belong to the whole batch
//! and are decided before. Here it is only decided what is run together.

use crate::tree::{lexicographic_order, n_common, runs};
use crate::{Context, RolloutError};

/// Cuts contexts into micro-batches of at most `token_budget` tokens each: the indices of those
/// that are run together, where [`crate::PrefixTree::n_shared`] counts the tokens.
///
/// Every context is in exactly one micro-batch. They are taken along the tree, so that those that
/// share most are run together, and a micro-batch is closed when the next context does not fit.
///
/// # Errors
/// [`RolloutError::OverBudget`] when one context is over the budget by itself.
///
/// # Panics
/// When a prompt is empty.
pub fn micro_batches(
    contexts: &[Context<'_>],
    token_budget: usize,
) -> Result<Vec<Vec<usize>>, RolloutError> {
    let runs = runs(contexts);
    if let Some(context_idx) = runs.iter().position(|run| token_budget < run.len()) {
        return Err(RolloutError::OverBudget {
            context_idx,
            n_tokens: runs[context_idx].len(),
            token_budget,
        });
    }
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut n_tokens = 0;
    let mut before: &[u32] = &[];
    for context_idx in lexicographic_order(&runs) {
        let run = &runs[context_idx];
        // No earlier context shares more with this one than its neighbour does.
        let n_new = run.len() - n_common(before, run);
        match batches.last_mut() {
            Some(open) if n_tokens + n_new <= token_budget => {
                open.push(context_idx);
                n_tokens += n_new;
            }
            _ => {
                batches.push(vec![context_idx]);
                n_tokens = run.len();
            }
        }
        before = run;
    }
    Ok(batches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PrefixTree;
    use proptest::prelude::*;

    fn views<'a>(contexts: &[(&'a [u32], &'a [u32])]) -> Vec<Context<'a>> {
        let view = |&(prompt, completion)| Context {
            group: 0,
            prompt,
            completion,
        };
        contexts.iter().map(view).collect()
    }

    #[track_caller]
    fn check(contexts: &[(&[u32], &[u32])], token_budget: usize, expect: &[&[usize]]) {
        assert_eq!(
            micro_batches(&views(contexts), token_budget).unwrap(),
            expect
        );
    }

    #[test]
    fn nothing_makes_no_micro_batch() {
        check(&[], 0, &[]);
    }

    #[test]
    fn contexts_are_run_together_as_long_as_they_fit() {
        // 4 tokens, then 1 more, then 3 more.
        let contexts: [(&[u32], &[u32]); 3] = [
            (&[1, 2, 3, 4], &[9]),
            (&[1, 2, 3, 5], &[9]),
            (&[1, 6, 7], &[8, 9]),
        ];
        check(&contexts, 8, &[&[0, 1, 2]]);
        check(&contexts, 7, &[&[0, 1], &[2]]);
        check(&contexts, 5, &[&[0, 1], &[2]]);
        check(&contexts, 4, &[&[0], &[1], &[2]]);
    }

    #[test]
    fn contexts_that_share_are_brought_together_and_equal_ones_keep_their_order() {
        let (a, b): (&[u32], &[u32]) = (&[5, 5, 5], &[4, 4, 4]);
        let contexts = [(a, &[1][..]), (b, &[1]), (a, &[2]), (b, &[2])];
        check(&contexts, 3, &[&[1, 3], &[0, 2]]);
    }

    #[test]
    fn one_context_over_the_budget_is_refused_with_its_numbers() {
        let contexts = views(&[(&[1; 4], &[2]), (&[1; 9], &[2, 3, 4]), (&[1; 20], &[])]);
        let text = |token_budget| {
            micro_batches(&contexts, token_budget)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            text(10),
            "context 1 needs 11 tokens, over token_budget = 10; raise it, or use smaller chunks"
        );
        assert!(text(19).starts_with("context 2 needs 20 tokens"));
        assert!(micro_batches(&contexts, 20).is_ok());
    }

    proptest! {
        #[test]
        fn every_context_is_run_once_within_the_budget_and_no_cut_comes_too_early(
            contexts in proptest::collection::vec(
                (proptest::collection::vec(0_u32..2, 1..9), proptest::collection::vec(0_u32..2, 0..4)),
                0..16,
            ),
            token_budget in 0_usize..40,
        ) {
            let pairs: Vec<(&[u32], &[u32])> =
                contexts.iter().map(|(prompt, completion)| (&prompt[..], &completion[..])).collect();
            let contexts = views(&pairs);
            let largest = contexts.iter().map(Context::n_run).max().unwrap_or(0);
            let Ok(batches) = micro_batches(&contexts, token_budget) else {
                prop_assert!(token_budget < largest);
                return Ok(());
            };
            prop_assert!(largest <= token_budget);

            let n_tokens = |batch: &[usize]| {
                let cut: Vec<_> = batch.iter().map(|&context_idx| contexts[context_idx]).collect();
                PrefixTree::new(&cut).n_shared()
            };
            let mut all: Vec<usize> = batches.concat();
            for (batch, next) in batches.iter().zip(batches.iter().skip(1)) {
                let one_more = [&batch[..], &next[..1]].concat();
                prop_assert!(token_budget < n_tokens(&one_more));
            }
            for batch in &batches {
                prop_assert!(!batch.is_empty());
                prop_assert!(n_tokens(batch) <= token_budget);
            }
            all.sort_unstable();
            prop_assert_eq!(all, (0..contexts.len()).collect::<Vec<_>>());
        }
    }
}
