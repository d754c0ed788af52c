//! What must change nothing: micro-batches, order, splits of trajectories, untrained numbers.

use longhand_objective::{
    Aggregation, Denominators, Evaluation, Importance, Metrics, Objective, PolicyLoss,
    token_weights, unit_weight,
};
use proptest::prelude::*;

use crate::batches::{
    AGGREGATIONS, Batch, NORM_LENGTH, Token, all_objectives, contexts, trained_lengths,
};

fn evaluate(objective: &Objective, batch: &Batch) -> Evaluation {
    objective.evaluate(&batch.view())
}

fn assert_close(found: f64, expected: f64) -> Result<(), TestCaseError> {
    let tolerance = 1e-12 * expected.abs().max(1.0);
    prop_assert!(
        (found - expected).abs() <= tolerance,
        "{} is not {}",
        found,
        expected
    );
    Ok(())
}

fn assert_metrics_close(found: &Metrics, expected: &Metrics) -> Result<(), TestCaseError> {
    let counts = |metrics: &Metrics| {
        [
            metrics.n_tokens,
            metrics.n_clipped_low,
            metrics.n_clipped_high,
            metrics.n_clipped_dual,
            metrics.n_log_ratio_clamped,
            metrics.n_ref_tokens,
            metrics.n_kl_clamped,
            metrics.n_rollout_tokens,
            metrics.n_importance_capped,
        ]
    };
    let sums = |metrics: &Metrics| {
        [
            metrics.policy_loss,
            metrics.kl_loss,
            metrics.approx_kl_sum,
            metrics.ratio_sum,
            metrics.ratio_max_deviation,
            metrics.ref_kl_sum,
            metrics.rollout_kl_sum,
            metrics.importance_sum,
        ]
    };
    prop_assert_eq!(counts(found), counts(expected));
    for (found, expected) in sums(found).into_iter().zip(sums(expected)) {
        assert_close(found, expected)?;
    }
    Ok(())
}

/// The contexts `from..to` of a batch with the weights they have in the whole.
fn micro_batch(contexts: &[Vec<Token>], whole: &Batch, from: usize, to: usize) -> Batch {
    let start: usize = whole.lengths[..from].iter().sum();
    let end: usize = whole.lengths[..to].iter().sum();
    let mut part = Batch::new(&contexts[from..to], Aggregation::TokenMean);
    part.weights = whole.weights[start..end].to_vec();
    part
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn micro_batches_add_up(contexts in contexts(), cuts in prop::collection::vec(0_usize..5, 0..4)) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (contexts.len() + 1)).collect();
        cuts.extend([0, contexts.len()]);
        cuts.sort_unstable();
        for aggregation in AGGREGATIONS {
            let whole = Batch::new(&contexts, aggregation);
            for objective in all_objectives() {
                let expected = evaluate(&objective, &whole);
                let mut loss = 0.0;
                let mut grad = Vec::new();
                let mut metrics = Metrics::default();
                for pair in cuts.windows(2) {
                    let part = evaluate(&objective, &micro_batch(&contexts, &whole, pair[0], pair[1]));
                    loss += part.loss;
                    grad.extend(part.grad);
                    metrics.merge(&part.metrics);
                }
                assert_close(loss, expected.loss)?;
                prop_assert_eq!(grad, expected.grad);
                assert_metrics_close(&metrics, &expected.metrics)?;
            }
        }
    }

    #[test]
    fn reordering_contexts_only_reorders_gradients(contexts in contexts(), shift in 0_usize..5) {
        let mut order: Vec<usize> = (0..contexts.len()).collect();
        order.rotate_left(shift % contexts.len());
        order.reverse();
        let reordered: Vec<Vec<Token>> = order.iter().map(|&idx| contexts[idx].clone()).collect();
        for aggregation in AGGREGATIONS {
            let batch = Batch::new(&contexts, aggregation);
            for objective in all_objectives() {
                let expected = evaluate(&objective, &batch);
                let found = evaluate(&objective, &Batch::new(&reordered, aggregation));
                assert_close(found.loss, expected.loss)?;
                assert_metrics_close(&found.metrics, &expected.metrics)?;
                let expected: Vec<f64> = order
                    .iter()
                    .flat_map(|&idx| {
                        let start: usize = batch.lengths[..idx].iter().sum();
                        expected.grad[start..start + batch.lengths[idx]].to_vec()
                    })
                    .collect();
                prop_assert_eq!(found.grad, expected);
            }
        }
    }

    /// Here the generated rows are trajectories; each is cut into contexts at random places and its
    /// tokens keep the weight of the whole trajectory.
    #[test]
    fn splitting_a_trajectory_into_more_contexts_changes_nothing(
        trajectories in contexts(),
        cuts in prop::collection::vec(0_usize..6, 4),
    ) {
        let trained = trained_lengths(&trajectories);
        let denominators = Denominators::of(&trained, NORM_LENGTH);
        let pieces: Vec<Vec<Token>> = trajectories
            .iter()
            .zip(&cuts)
            .flat_map(|(tokens, cut)| {
                let (left, right) = tokens.split_at(cut % (tokens.len() + 1));
                [left.to_vec(), right.to_vec()]
            })
            .collect();
        for aggregation in AGGREGATIONS {
            let mut split = Batch::new(&pieces, aggregation);
            split.weights = trajectories
                .iter()
                .zip(&trained)
                .flat_map(|(tokens, &n)| vec![unit_weight(aggregation, n, &denominators); tokens.len()])
                .collect();
            let whole = Batch::new(&trajectories, aggregation);
            for objective in all_objectives() {
                // Both look at a context as a whole, by definition.
                let looks_at_contexts = matches!(objective.policy_loss, PolicyLoss::Gspo { .. })
                    || objective.importance == Importance::Sequence;
                if looks_at_contexts {
                    continue;
                }
                let (found, expected) = (evaluate(&objective, &split), evaluate(&objective, &whole));
                assert_close(found.loss, expected.loss)?;
                prop_assert_eq!(found.grad, expected.grad);
                assert_metrics_close(&found.metrics, &expected.metrics)?;
            }
        }
    }

    #[test]
    fn untrained_tokens_get_exactly_zero_and_their_numbers_are_never_read(contexts in contexts()) {
        for aggregation in AGGREGATIONS {
            let clean = Batch::new(&contexts, aggregation);
            let mut dirty = clean.clone();
            for idx in (0..clean.loss_mask.len()).filter(|&idx| !clean.loss_mask[idx]) {
                dirty.logprobs[idx] = f64::NAN;
                dirty.old_logprobs[idx] = f64::INFINITY;
                dirty.ref_logprobs[idx] = f64::NAN;
                dirty.rollout_logprobs[idx] = f64::NEG_INFINITY;
                dirty.advantages[idx] = f64::NAN;
                dirty.weights[idx] = f64::NAN;
            }
            for objective in all_objectives() {
                let found = evaluate(&objective, &dirty);
                prop_assert_eq!(&found, &evaluate(&objective, &clean));
                prop_assert!(found.loss.is_finite());
                for (grad, is_trained) in found.grad.iter().zip(&clean.loss_mask) {
                    prop_assert!(grad.is_finite() && (*is_trained || *grad == 0.0));
                }
            }
        }
    }

    #[test]
    fn token_weights_sum_to_what_the_mode_says(contexts in contexts()) {
        let trained = trained_lengths(&contexts);
        let denominators = Denominators::of(&trained, NORM_LENGTH);
        let batch = Batch::new(&contexts, Aggregation::TokenMean);
        let sum = |aggregation| -> f64 {
            token_weights(aggregation, &batch.lengths, &batch.loss_mask, &denominators).iter().sum()
        };
        let n_tokens = trained.iter().sum::<usize>() as f64;
        let n_sequences = trained.iter().filter(|&&n| n > 0).count() as f64;
        let any = if n_tokens > 0.0 { 1.0 } else { 0.0 };
        assert_close(sum(Aggregation::TokenMean), any)?;
        assert_close(sum(Aggregation::SeqMeanTokenMean), any)?;
        assert_close(sum(Aggregation::SeqMeanTokenSum) * n_sequences, n_tokens)?;
        assert_close(sum(Aggregation::SeqMeanTokenSumNorm) * NORM_LENGTH, n_tokens)?;
    }
}
