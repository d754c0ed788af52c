//! The tokens an objective is evaluated on: any number of whole contexts, one after the other.

use std::ops::Range;

/// A micro-batch of tokens, flattened; a context's tokens are contiguous.
///
/// All slices but `lengths` have one entry per token, `sum(lengths)` in total. Log-probabilities are
/// natural logarithms. Entries of tokens outside `loss_mask` are never read.
#[derive(Debug, Clone, Copy)]
pub struct TokenBatch<'a> {
    /// Tokens per context; zeros are allowed.
    pub lengths: &'a [usize],
    /// Under the policy that is being trained.
    pub logprobs: &'a [f64],
    /// Under the policy that the ratio is anchored at.
    pub old_logprobs: &'a [f64],
    /// What the token is credited with; a constant for the gradient.
    pub advantages: &'a [f64],
    /// True: this token is trained.
    pub loss_mask: &'a [bool],
    /// The weight of each token in the sum, from [`unit_weight`](crate::unit_weight) or
    /// [`token_weights`](crate::token_weights) over the whole batch.
    pub weights: &'a [f64],
    /// Under the reference model; needed for a KL penalty.
    pub ref_logprobs: Option<&'a [f64]>,
    /// As recorded while sampling; needed for importance sampling.
    pub rollout_logprobs: Option<&'a [f64]>,
}

impl TokenBatch<'_> {
    /// The token range of each context, in order.
    pub(crate) fn contexts(&self) -> impl Iterator<Item = Range<usize>> {
        self.lengths.iter().scan(0, |start, &length| {
            let range = *start..*start + length;
            *start = range.end;
            Some(range)
        })
    }

    /// The trained tokens of a range.
    pub(crate) fn trained(&self, range: Range<usize>) -> impl Iterator<Item = usize> + Clone {
        let loss_mask = self.loss_mask;
        range.filter(move |&idx| loss_mask[idx])
    }

    /// # Panics
    /// If the slices do not all have one entry per token.
    pub(crate) fn assert_lengths(&self) {
        let n_tokens: usize = self.lengths.iter().sum();
        let check = |name: &str, found: usize| {
            assert_eq!(found, n_tokens, "`{name}` must have one entry per token");
        };
        check("logprobs", self.logprobs.len());
        check("old_logprobs", self.old_logprobs.len());
        check("advantages", self.advantages.len());
        check("loss_mask", self.loss_mask.len());
        check("weights", self.weights.len());
        if let Some(ref_logprobs) = self.ref_logprobs {
            check("ref_logprobs", ref_logprobs.len());
        }
        if let Some(rollout_logprobs) = self.rollout_logprobs {
            check("rollout_logprobs", rollout_logprobs.len());
        }
    }
}
