//! Values against the second implementation, gradients against finite differences.

use longhand_objective::{Aggregation, Importance, Objective, PolicyLoss};
use proptest::prelude::*;

use crate::batches::{AGGREGATIONS, Batch, Token, all_objectives, contexts};
use crate::naive;

/// The step of a central difference.
const STEP: f64 = 1e-5;

/// Checks value and gradient on one batch: the value against the second implementation, each entry
/// of the gradient against its central difference with the stopped parts held.
pub(crate) fn check_gradient(
    objective: &Objective,
    batch: &Batch,
    aggregation: Aggregation,
) -> Result<(), TestCaseError> {
    let found = objective.evaluate(&batch.view());
    let at = &batch.logprobs;
    let loss = |logprobs: &[f64]| naive::loss(objective, batch, aggregation, logprobs, at);

    let expected = loss(at);
    let tolerance = 1e-12 * expected.abs().max(1.0);
    prop_assert!(
        (found.loss - expected).abs() <= tolerance,
        "{objective:?} {aggregation:?}: loss {} is not {expected}",
        found.loss
    );
    for (idx, &grad) in found.grad.iter().enumerate() {
        let moved = |step: f64| {
            let mut logprobs = at.clone();
            logprobs[idx] += step;
            loss(&logprobs)
        };
        let expected = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
        prop_assert!(
            (grad - expected).abs() <= 1e-7 * expected.abs().max(1.0),
            "{objective:?} {aggregation:?}: gradient {grad} of token {idx} is not {expected}"
        );
    }
    Ok(())
}

/// Whether every context's mean log ratio is clear of GSPO's kinks.
fn is_smooth_by_context(contexts: &[Vec<Token>]) -> bool {
    contexts.iter().all(|context| {
        let log_ratios: Vec<f64> = context
            .iter()
            .filter(|token| token.is_trained)
            .map(|token| token.logprob - token.old_logprob)
            .collect();
        let mean = log_ratios.iter().sum::<f64>() / log_ratios.len().max(1) as f64;
        [0.8_f64.ln(), 1.28_f64.ln(), 1.25]
            .iter()
            .all(|kink| (mean - kink).abs() > 1e-3)
    })
}

/// The loss as `evaluate` itself reports it with one log-probability moved.
fn central_difference(objective: &Objective, batch: &Batch, idx: usize) -> f64 {
    let moved = |step: f64| {
        let mut batch = batch.clone();
        batch.logprobs[idx] += step;
        objective.evaluate(&batch.view()).loss
    };
    (moved(STEP) - moved(-STEP)) / (2.0 * STEP)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_objective_has_the_value_and_the_gradient_it_should(contexts in contexts()) {
        prop_assume!(is_smooth_by_context(&contexts));
        for aggregation in AGGREGATIONS {
            let batch = Batch::new(&contexts, aggregation);
            for objective in all_objectives() {
                check_gradient(&objective, &batch, aggregation)?;
            }
        }
    }

    #[test]
    fn without_stop_gradients_the_gradient_is_that_of_the_reported_loss(contexts in contexts()) {
        let batch = Batch::new(&contexts, Aggregation::TokenMean);
        for objective in all_objectives() {
            if !matches!(objective.policy_loss, PolicyLoss::PpoClip { .. }) {
                continue;
            }
            let found = objective.evaluate(&batch.view());
            for (idx, &grad) in found.grad.iter().enumerate() {
                let expected = central_difference(&objective, &batch, idx);
                prop_assert!((grad - expected).abs() <= 1e-7 * expected.abs().max(1.0));
            }
        }
    }

    #[test]
    fn gspo_s_straight_through_form_is_the_true_gradient_for_one_advantage_per_context(
        mut contexts in contexts(),
    ) {
        prop_assume!(is_smooth_by_context(&contexts));
        for context in &mut contexts {
            let advantage = context.first().map_or(0.0, |token| token.advantage);
            for token in context {
                token.advantage = advantage;
            }
        }
        let batch = Batch::new(&contexts, Aggregation::SeqMeanTokenMean);
        for objective in all_objectives() {
            let is_gspo = matches!(objective.policy_loss, PolicyLoss::Gspo { .. });
            if !is_gspo || objective.importance == Importance::Token {
                continue;
            }
            let found = objective.evaluate(&batch.view());
            for (idx, &grad) in found.grad.iter().enumerate() {
                let expected = central_difference(&objective, &batch, idx);
                prop_assert!((grad - expected).abs() <= 1e-7 * expected.abs().max(1.0));
            }
        }
    }
}
