//! From the rows of a mini-batch to a moved policy: anchors, gradient, update.

use longhand_objective::{Controls, EntropyTerm, Metrics, ScopeTokens, TokenBatch, TokenControl};
use longhand_policy::{Policy, TokenGradient};
use longhand_rollout::micro_batches;

use super::Learner;
use crate::{
    batch::{Batch, Row},
    credit::ScoredGroup,
    entropy_control::{Anchor, Chooser},
    error::TrainError,
    not_finite::{Moment, NotFinite, TokenPlace},
    optimizer::dropout_key,
    policy_view::PolicyView,
    report::UpdateReport,
    scoring::score_contexts,
};

impl Learner<'_> {
    pub(super) fn chooser(&self, policy: &Policy) -> Chooser<'_> {
        Chooser {
            settings: self.settings,
            state: &self.control_state,
            seed: self.seed,
            version: policy.weights_id().version,
        }
    }

    /// What the ratio of every trained token is taken to, before the step's first update: what was
    /// recorded while sampling, or, where rollouts come from other weights than the policy's, what the
    /// policy itself says. The two then meet in the truncated importance weight.
    pub(super) fn anchor(
        &self,
        policy: &Policy,
        scored: &[ScoredGroup],
        batch: &Batch<'_>,
    ) -> Result<Anchor, TrainError> {
        if policy.samples_what_it_scores() {
            let recorded = batch.rows.iter().map(|row| recorded(row, scored));
            return Ok(recorded.collect());
        }
        let temperature = self.settings.sampling.temperature;
        let budget = self.settings.micro_batch_tokens;
        let scores = score_contexts(policy, &batch.contexts, temperature, budget)?;
        let logprobs = scores.iter().map(|scores| to_f64(&scores.logprobs));
        Ok(logprobs.collect())
    }

    /// Gradient over all micro-batches of a mini-batch, then one update. `controls` `[context][token]` are
    /// those chosen over a larger scope than a micro-batch.
    pub(super) fn update(
        &mut self,
        policy: &mut Policy,
        scored: &[ScoredGroup],
        batch: &Batch<'_>,
        anchor: &Anchor,
        controls: Option<&[Vec<TokenControl>]>,
        at: Moment,
    ) -> Result<UpdateReport, TrainError> {
        let mut metrics = Metrics::default();
        let mut view = PolicyView::default();
        let mut max_logprob_difference: f64 = 0.0;
        let micro_batches = micro_batches(&batch.contexts, self.settings.micro_batch_tokens)?;
        for (micro_batch_idx, micro_batch) in micro_batches.into_iter().enumerate() {
            let contexts: Vec<_> = micro_batch.iter().map(|idx| batch.contexts[*idx]).collect();
            let temperature = self.settings.sampling.temperature;
            let dropout = dropout_key(self.seed, policy, micro_batch_idx);
            let buffers = self.updater.take_buffers();
            let pass = policy.forward(&contexts, temperature, buffers, dropout);
            let current = to_f64(&pass.scores().logprobs);
            let tokens = Tokens::of(&micro_batch, batch, anchor, scored);
            let rows = || micro_batch.iter().map(|idx| &batch.rows[*idx]);
            let check = |what: &str, values: &[f64]| all_finite(what, values, rows(), scored, at);
            check("the trained log-probability", &current)?;
            let reference = self
                .reference
                .as_ref()
                .map(|reference| to_f64(&reference.score(&contexts, temperature).logprobs));
            if let Some(reference) = &reference {
                check("the reference's log-probability", reference)?;
            }
            for (current, rollout) in current.iter().zip(&tokens.rollout_logprobs) {
                max_logprob_difference = max_logprob_difference.max((current - rollout).abs());
            }
            let entropies = to_f64(&pass.scores().entropies);
            let certainties = to_f64(&pass.scores().self_certainties);
            view.add(&PolicyView {
                n_tokens: current.len(),
                entropy_sum: entropies.iter().sum(),
                self_certainty_sum: certainties.iter().sum(),
            });
            let token_batch = TokenBatch {
                lengths: &tokens.lengths,
                logprobs: &current,
                old_logprobs: &tokens.old_logprobs,
                advantages: &tokens.advantages,
                loss_mask: &vec![true; current.len()],
                weights: &tokens.weights,
                ref_logprobs: reference.as_deref(),
                rollout_logprobs: Some(&tokens.rollout_logprobs),
            };
            let chosen = match controls {
                Some(controls) => {
                    let of_contexts = micro_batch.iter().map(|idx| &controls[*idx][..]);
                    Some(of_contexts.collect::<Vec<_>>().concat())
                }
                None => {
                    let of_micro_batch = ScopeTokens::of(&token_batch, Some(&entropies));
                    self.chooser(policy)
                        .of_micro_batch(&of_micro_batch, micro_batch_idx)
                }
            };
            let bonus = self.settings.entropy.bonus_coef(&self.control_state);
            let evaluation = self.settings.objective.objective.evaluate_with(
                &token_batch,
                &Controls {
                    tokens: chosen.as_deref(),
                    entropy: bonus.map(|coef| EntropyTerm {
                        coef,
                        entropies: &entropies,
                    }),
                },
            );
            check("the derivative of the loss", &evaluation.grad)?;
            if let Some(grad) = &evaluation.entropy_grad {
                check("the derivative of the entropy bonus", grad)?;
            }
            if !evaluation.loss.is_finite() {
                let found = NotFinite::new("the loss", evaluation.loss, at);
                return Err(TrainError::NotFinite(Box::new(found)));
            }
            metrics.merge(&evaluation.metrics);
            let grad = TokenGradient {
                logprobs: &evaluation.grad,
                entropies: evaluation.entropy_grad.as_deref(),
            };
            self.updater.accumulate(policy, pass, grad);
        }
        let update = self.updater.checked_update(policy, at)?;
        Ok(UpdateReport {
            update,
            metrics,
            view,
            max_logprob_difference,
            n_trained_tokens: batch.n_trained,
            n_rows: batch.rows.len(),
            n_run_tokens: batch.n_run,
            n_unshared_tokens: batch.n_unshared,
        })
    }
}

/// Refuses per-token values of which one is not finite, naming its token.
fn all_finite<'a>(
    what: &str,
    values: &[f64],
    rows: impl Iterator<Item = &'a Row>,
    scored: &[ScoredGroup],
    at: Moment,
) -> Result<(), TrainError> {
    let Some(idx) = values.iter().position(|value| !value.is_finite()) else {
        return Ok(());
    };
    let mut token = idx;
    for row in rows {
        let group = &scored[row.at.group];
        let turn = &group.group.trajectories[row.at.trajectory].turns[row.at.turn];
        let n = turn.completion.len();
        if token < n {
            let place = TokenPlace::of(group, row.at.trajectory, row.at.turn, Some(token));
            let found = NotFinite::of_token(what, values[idx], place, at);
            return Err(TrainError::NotFinite(Box::new(found)));
        }
        token -= n;
    }
    unreachable!("every value belongs to a row")
}

/// What was recorded while a row's tokens were sampled.
fn recorded(row: &Row, scored: &[ScoredGroup]) -> Vec<f64> {
    let attempt = &scored[row.at.group].group.trajectories[row.at.trajectory];
    to_f64(&attempt.turns[row.at.turn].rollout_logprobs)
}

/// Per-token values of a micro-batch, in the order in which its tokens are run.
#[derive(Default)]
struct Tokens {
    lengths: Vec<usize>,
    old_logprobs: Vec<f64>,
    rollout_logprobs: Vec<f64>,
    advantages: Vec<f64>,
    weights: Vec<f64>,
}

impl Tokens {
    fn of(
        micro_batch: &[usize],
        batch: &Batch<'_>,
        anchor: &Anchor,
        scored: &[ScoredGroup],
    ) -> Self {
        let mut tokens = Self::default();
        for context_idx in micro_batch {
            let row = &batch.rows[*context_idx];
            let n = batch.contexts[*context_idx].completion.len();
            tokens.lengths.push(n);
            tokens.old_logprobs.extend(&anchor[*context_idx]);
            tokens.rollout_logprobs.extend(recorded(row, scored));
            tokens
                .advantages
                .extend(std::iter::repeat_n(row.advantage, n));
            tokens.weights.extend(std::iter::repeat_n(row.weight, n));
        }
        tokens
    }
}

fn to_f64(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}
