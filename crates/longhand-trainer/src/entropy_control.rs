//! Entropy control within a step: which tokens a scope has, and what becomes of each.

use longhand_config::Rl;
use longhand_objective::{ControlState, Scope, ScopeTokens, TokenControl};
use longhand_policy::Policy;
use longhand_rollout::{Context, Purpose, StreamBase};
use rand::Rng as _;

use crate::{
    batch::Batch,
    error::TrainError,
    not_finite::{Moment, NotFinite},
    policy_view::PolicyView,
    scoring::score_contexts,
};

/// `[context][token]`: the log-probabilities that a mini-batch's ratios are taken to.
pub(crate) type Anchor = Vec<Vec<f64>>;

/// What controllers remember before the updates of a batch with this mean entropy.
///
/// # Errors
/// When there is no token to take a mean over.
pub(crate) fn observed(
    settings: &Rl,
    state: &ControlState,
    views: &PolicyView,
    at: Moment,
) -> Result<ControlState, TrainError> {
    if !settings.entropy.needs_mean_entropy() {
        return Ok(*state);
    }
    match views.entropy() {
        // A step that has nothing to train on says nothing of entropy.
        None => Ok(*state),
        Some(mean) if mean.is_finite() => Ok(settings.entropy.observe(state, mean)),
        Some(mean) => {
            let found = NotFinite::new("the mean entropy", mean, at);
            Err(TrainError::NotFinite(Box::new(found)))
        }
    }
}

/// Chooses what becomes of tokens.
#[derive(Clone, Copy)]
pub(crate) struct Chooser<'a> {
    pub(crate) settings: &'a Rl,
    pub(crate) state: &'a ControlState,
    /// The run's.
    pub(crate) seed: u64,
    /// Updates that the policy has seen.
    pub(crate) version: u64,
}

impl Chooser<'_> {
    /// `[context][token]` of mini-batch `update_idx`, where the scope is larger than a micro-batch; none
    /// where nothing is chosen, or not yet.
    ///
    /// # Errors
    /// When a context exceeds the token budget.
    pub(crate) fn of_mini_batch(
        &self,
        policy: &Policy,
        batches: &[&Batch<'_>],
        anchors: &[Anchor],
        update_idx: usize,
    ) -> Result<Option<Vec<Vec<TokenControl>>>, TrainError> {
        let control = &self.settings.entropy;
        if !control.needs_scope() {
            return Ok(None);
        }
        let scope = match control.scope {
            Scope::MicroBatch => return Ok(None),
            Scope::MiniBatch => update_idx..update_idx + 1,
            Scope::Batch => 0..batches.len(),
        };
        // Before the first update, what was recorded while sampling is what the policy says.
        let is_recorded =
            update_idx == 0 && policy.samples_what_it_scores() && !control.needs_scope_entropies();
        let (mut logprobs, mut entropies) = (Vec::new(), Vec::new());
        for idx in scope.clone() {
            if is_recorded {
                logprobs.extend(anchors[idx].iter().flatten());
                continue;
            }
            let contexts = &batches[idx].contexts;
            let temperature = self.settings.sampling.temperature;
            let budget = self.settings.micro_batch_tokens;
            for scores in score_contexts(policy, contexts, temperature, budget)? {
                logprobs.extend(scores.logprobs.into_iter().map(f64::from));
                entropies.extend(scores.entropies.into_iter().map(f64::from));
            }
        }
        let of_scope = || scope.clone().zip(&batches[scope.clone()]);
        let old_logprobs: Vec<f64> = of_scope()
            .flat_map(|(idx, _)| anchors[idx].iter().flatten().copied())
            .collect();
        let advantages: Vec<f64> = of_scope()
            .flat_map(|(_, batch)| {
                let rows = batch.rows.iter().zip(&batch.contexts);
                rows.flat_map(|(row, context)| {
                    std::iter::repeat_n(row.advantage, context.completion.len())
                })
            })
            .collect();
        let tokens = ScopeTokens {
            logprobs: &logprobs,
            old_logprobs: &old_logprobs,
            advantages: &advantages,
            loss_mask: &vec![true; logprobs.len()],
            entropies: control.needs_scope_entropies().then_some(&entropies),
        };
        let Some(controls) = self.choose(&tokens, 0) else {
            return Ok(None);
        };
        let n_before = batches[scope.start..update_idx].iter();
        let n_before: usize = n_before
            .flat_map(|batch| &batch.contexts)
            .map(|context| context.completion.len())
            .sum();
        let mut rest = &controls[n_before..];
        let of_context = |context: &Context<'_>| {
            let (of_context, behind) = rest.split_at(context.completion.len());
            rest = behind;
            of_context.to_vec()
        };
        let contexts = batches[update_idx].contexts.iter();
        Ok(Some(contexts.map(of_context).collect()))
    }

    /// `[token]` of a micro-batch, where that is the scope.
    pub(crate) fn of_micro_batch(
        &self,
        tokens: &ScopeTokens<'_>,
        micro_batch_idx: usize,
    ) -> Option<Vec<TokenControl>> {
        match self.settings.entropy.scope {
            Scope::MicroBatch => self.choose(tokens, micro_batch_idx as u32),
            Scope::MiniBatch | Scope::Batch => None,
        }
    }

    fn choose(&self, tokens: &ScopeTokens<'_>, scope_idx: u32) -> Option<Vec<TokenControl>> {
        let streams = StreamBase {
            seed: self.seed,
            purpose: Purpose::ENTROPY_CONTROL,
            step: 0,
        };
        let seed = streams.key(self.version, 0, scope_idx).rng().next_u64();
        let policy_loss = &self.settings.objective.objective.policy_loss;
        let control = &self.settings.entropy;
        control.token_controls(policy_loss, tokens, self.state, seed)
    }
}
