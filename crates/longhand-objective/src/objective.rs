//! An objective: policy loss, reference penalty and importance weights, summed with given weights.

use crate::batch::TokenBatch;
use crate::importance::ImportanceWeight;
use crate::policy_loss::{Clip, Term, clamped};
use crate::reference_kl::k3;
use crate::token_control::{Controls, TokenControl};
use crate::{Importance, Kl, KlPenalty, Metrics, ObjectiveError, PolicyLoss};

/// What is minimised.
///
/// With the `serde` feature it reads from a table in which every key has a default (those of
/// [`Objective::default`]) and unknown keys are errors; `log_ratio_clamp` is a number or `"none"`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Objective {
    /// The surrogate of the policy gradient.
    pub policy_loss: PolicyLoss,
    /// The penalty for leaving the reference model.
    pub kl: KlPenalty,
    /// Weights against a sampler that differs from the trainer.
    pub importance: Importance,
    /// The largest such weight.
    pub importance_cap: f64,
    /// Log ratios are kept in `[-x, x]` before `exp`, with no gradient outside; `None`: anywhere.
    /// GSPO reads it as a cap on the sequence's, see its own rule.
    #[cfg_attr(feature = "serde", serde(with = "crate::file_form::number_or_none"))]
    pub log_ratio_clamp: Option<f64>,
}

impl Default for Objective {
    /// PPO's clip at 0.2 with dual clip 3, no penalty, no importance sampling (cap 2), log ratios
    /// clamped to 20.
    fn default() -> Self {
        Objective {
            policy_loss: PolicyLoss::default(),
            kl: KlPenalty::default(),
            importance: Importance::None,
            importance_cap: Importance::DEFAULT_CAP,
            log_ratio_clamp: Some(Self::DEFAULT_LOG_RATIO_CLAMP),
        }
    }
}

/// The value of an objective on some tokens, and its derivative.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Sum of weight * per-token loss over the trained tokens.
    pub loss: f64,
    /// `d loss / d logprobs`, one entry per token; exactly zero outside `loss_mask`.
    pub grad: Vec<f64>,
    /// `d loss / d entropy` of the distribution each token was drawn from, where an entropy bonus was
    /// given; exactly zero outside `loss_mask`. An entropy is no function of the sampled token's
    /// log-probability, so none of this is in `grad`.
    pub entropy_grad: Option<Vec<f64>>,
    /// What happened on the way.
    pub metrics: Metrics,
}

impl Objective {
    /// The bound on log ratios where nothing else is said.
    pub const DEFAULT_LOG_RATIO_CLAMP: f64 = 20.0;

    /// Whether [`evaluate`](Self::evaluate) needs `ref_logprobs`.
    pub fn needs_reference(&self) -> bool {
        self.kl.estimator != Kl::None
    }

    /// Whether [`evaluate`](Self::evaluate) needs `rollout_logprobs`.
    pub fn needs_rollout_logprobs(&self) -> bool {
        self.importance != Importance::None
    }

    /// Whether the settings make sense.
    ///
    /// # Errors
    /// For the first bound, coefficient, cap or clamp that does not; see [`ObjectiveError`].
    pub fn check(&self) -> Result<(), ObjectiveError> {
        self.policy_loss.check()?;
        let coef = self.kl.coef;
        if !(coef.is_finite() && 0.0 <= coef) {
            return Err(ObjectiveError::Negative {
                option: "kl.coef",
                value: coef,
            });
        }
        let positive = [
            ("importance_cap", Some(self.importance_cap)),
            ("log_ratio_clamp", self.log_ratio_clamp),
        ];
        for (option, value) in positive {
            match value {
                Some(value) if value.is_nan() || value <= 0.0 => {
                    return Err(ObjectiveError::NotPositive { option, value });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The loss, its gradient with respect to `logprobs`, and metrics.
    ///
    /// The weights are taken as they are: nothing is divided by what this batch happens to hold, so
    /// the losses of micro-batches add up and their gradients concatenate.
    ///
    /// # Panics
    /// If the slices do not all have one entry per token, or if `ref_logprobs` or
    /// `rollout_logprobs` is missing where [`needs_reference`](Self::needs_reference) or
    /// [`needs_rollout_logprobs`](Self::needs_rollout_logprobs) says it is needed.
    pub fn evaluate(&self, batch: &TokenBatch) -> Evaluation {
        self.evaluate_with(batch, &Controls::default())
    }

    /// As [`evaluate`](Self::evaluate), with what entropy control says of the tokens of this batch:
    ///
    /// `weight * (importance * (factor * surrogate + log_ratio_coef * |ln r|) + kl_coef * kl
    /// - entropy_coef * entropy)`
    ///
    /// Controls were chosen over a whole scope before, so micro-batches still add up.
    ///
    /// # Panics
    /// As [`evaluate`](Self::evaluate), if controls or entropies do not have one entry per token, and
    /// if a control lifts the clip of a policy loss that is not PPO's.
    pub fn evaluate_with(&self, batch: &TokenBatch, controls: &Controls) -> Evaluation {
        batch.assert_lengths();
        let n_tokens = batch.logprobs.len();
        for (name, found) in [
            ("controls", controls.tokens.map(<[_]>::len)),
            (
                "entropies",
                controls.entropy.map(|term| term.entropies.len()),
            ),
        ] {
            assert!(
                found.is_none_or(|found| found == n_tokens),
                "`{name}` must have one entry per token"
            );
        }
        assert!(
            !self.needs_reference() || batch.ref_logprobs.is_some(),
            "a KL penalty needs `ref_logprobs`"
        );
        let terms = self
            .policy_loss
            .terms(batch, self.log_ratio_clamp, controls.tokens);
        let importance = self
            .importance
            .weights(batch, self.importance_cap, self.log_ratio_clamp);

        let mut grad = vec![0.0; n_tokens];
        let mut entropy_grad = controls.entropy.map(|_| vec![0.0; n_tokens]);
        let mut metrics = Metrics::default();
        for idx in batch.trained(0..n_tokens) {
            let (term, importance) = (&terms[idx], &importance[idx]);
            let weight = batch.weights[idx];
            let control = controls.tokens.map_or(TokenControl::NEUTRAL, |of| of[idx]);
            let log_ratio = batch.logprobs[idx] - batch.old_logprobs[idx];
            let (loss, slope) = controlled(term, &control, log_ratio);
            metrics.policy_loss += weight * importance.value * loss;
            grad[idx] = weight * importance.value * slope;
            if control.log_ratio_coef != 0.0 {
                let penalty = control.log_ratio_coef * log_ratio.abs();
                metrics.log_ratio_penalty += weight * importance.value * penalty;
            }
            if let (Some(term), Some(grad)) = (controls.entropy, &mut entropy_grad) {
                let entropy = term.entropies[idx];
                metrics.entropy_loss -= weight * term.coef * entropy;
                metrics.entropy_sum += entropy;
                metrics.n_entropy_tokens += 1;
                grad[idx] = -weight * term.coef;
            }
            metrics.n_selected += usize::from(control.is_selected());
            if let Some(ref_logprobs) = batch.ref_logprobs {
                let kl = self.kl.term(batch.logprobs[idx] - ref_logprobs[idx]);
                if self.needs_reference() {
                    metrics.kl_loss += weight * self.kl.coef * kl.value;
                    grad[idx] += weight * self.kl.coef * kl.slope;
                    metrics.n_kl_clamped += usize::from(kl.is_clamped);
                }
            }
            self.record(&mut metrics, batch, idx, term, importance);
        }
        Evaluation {
            loss: metrics.policy_loss + metrics.kl_loss + metrics.entropy_loss,
            grad,
            entropy_grad,
            metrics,
        }
    }

    /// Adds one trained token to the metrics that are not part of the loss.
    fn record(
        &self,
        metrics: &mut Metrics,
        batch: &TokenBatch,
        idx: usize,
        term: &Term,
        importance: &ImportanceWeight,
    ) {
        let bounded = |log_ratio| clamped(log_ratio, Some(Self::DEFAULT_LOG_RATIO_CLAMP)).0;
        let log_ratio = batch.logprobs[idx] - batch.old_logprobs[idx];
        metrics.n_tokens += 1;
        metrics.abs_log_ratio_sum += log_ratio.abs();
        // k3(-x) = exp(x) - 1 - x.
        metrics.approx_kl_sum += k3(-clamped(log_ratio, self.log_ratio_clamp).0);
        metrics.ratio_sum += term.ratio;
        metrics.ratio_max_deviation = metrics.ratio_max_deviation.max((term.ratio - 1.0).abs());
        match term.clip {
            Clip::Free => {}
            Clip::Low => metrics.n_clipped_low += 1,
            Clip::High => metrics.n_clipped_high += 1,
            Clip::Dual => metrics.n_clipped_dual += 1,
        }
        metrics.n_log_ratio_clamped += usize::from(term.is_clamped);
        if let Some(ref_logprobs) = batch.ref_logprobs {
            metrics.n_ref_tokens += 1;
            metrics.ref_kl_sum += k3(bounded(batch.logprobs[idx] - ref_logprobs[idx]));
        }
        if let Some(rollout_logprobs) = batch.rollout_logprobs {
            metrics.n_rollout_tokens += 1;
            metrics.rollout_kl_sum += k3(-bounded(batch.old_logprobs[idx] - rollout_logprobs[idx]));
        }
        metrics.importance_sum += importance.value;
        metrics.n_importance_capped += usize::from(importance.is_capped);
    }
}

/// Loss and slope of one token under its control. A dropped token says nothing, whatever its numbers
/// are.
fn controlled(term: &Term, control: &TokenControl, log_ratio: f64) -> (f64, f64) {
    let (mut loss, mut slope) = match control.factor {
        0.0 => (0.0, 0.0),
        factor => (factor * term.loss, factor * term.slope),
    };
    if control.log_ratio_coef != 0.0 && log_ratio != 0.0 {
        loss += control.log_ratio_coef * log_ratio.abs();
        slope += control.log_ratio_coef * log_ratio.signum();
    }
    (loss, slope)
}
