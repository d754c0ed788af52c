//! What a policy says of given tokens, a micro-batch at a time.

use longhand_policy::{Policy, Scores};
use longhand_rollout::{Context, micro_batches};

use crate::error::TrainError;

/// `[context]` The scores of each context's completion under the policy as it stands, without a gradient.
///
/// # Errors
/// When a context exceeds the token budget of a micro-batch.
pub(crate) fn score_contexts(
    policy: &Policy,
    contexts: &[Context<'_>],
    temperature: f64,
    token_budget: usize,
) -> Result<Vec<Scores>, TrainError> {
    let nothing = Scores {
        logprobs: Vec::new(),
        entropies: Vec::new(),
        self_certainties: Vec::new(),
    };
    let mut scores = vec![nothing; contexts.len()];
    for micro_batch in micro_batches(contexts, token_budget)? {
        let of_micro: Vec<Context<'_>> = micro_batch.iter().map(|idx| contexts[*idx]).collect();
        let Scores {
            logprobs,
            entropies,
            self_certainties,
        } = policy.score(&of_micro, temperature);
        let mut start = 0;
        for idx in micro_batch {
            let tokens = start..start + contexts[idx].completion.len();
            start = tokens.end;
            scores[idx] = Scores {
                logprobs: logprobs[tokens.clone()].to_vec(),
                entropies: entropies[tokens.clone()].to_vec(),
                self_certainties: self_certainties[tokens].to_vec(),
            };
        }
    }
    Ok(scores)
}
