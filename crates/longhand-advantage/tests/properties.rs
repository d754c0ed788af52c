//! What must hold for any rewards: order, splits and shifts do not matter, no signal is zero.

use longhand_advantage::{
    OutcomeEstimator, Scale, gae, is_live, reinforce_plus_plus, turn_pool, whiten,
};
use proptest::prelude::*;

/// A batch of groups: one reward and one length per attempt.
type Batch = Vec<Vec<(f64, usize)>>;

fn estimators() -> Vec<OutcomeEstimator> {
    let grpo = |scale| OutcomeEstimator::Grpo { scale, eps: 1e-6 };
    vec![
        grpo(Scale::Group),
        grpo(Scale::Batch),
        grpo(Scale::None),
        OutcomeEstimator::DrGrpo,
        OutcomeEstimator::Memagent,
        OutcomeEstimator::Rloo,
        OutcomeEstimator::ReinforcePlusPlusBaseline,
        OutcomeEstimator::Opo,
    ]
}

/// Rewards in tenths: ties and constant groups are common, and most means are inexact.
fn reward() -> impl Strategy<Value = f64> {
    (-10_i32..=10).prop_map(|tenths| f64::from(tenths) / 10.0)
}

fn batches() -> impl Strategy<Value = Batch> {
    let group = proptest::collection::vec((reward(), 1_usize..9), 1..6);
    proptest::collection::vec(group, 1..5)
}

fn advantages(estimator: &OutcomeEstimator, batch: &Batch) -> Vec<Vec<f64>> {
    let rewards = |group: &Vec<(f64, usize)>| group.iter().map(|attempt| attempt.0).collect();
    let lengths = |group: &Vec<(f64, usize)>| group.iter().map(|attempt| attempt.1).collect();
    let groups: Vec<Vec<f64>> = batch.iter().map(rewards).collect();
    let lengths: Vec<Vec<usize>> = batch.iter().map(lengths).collect();
    estimator.advantages(&groups, &lengths)
}

fn assert_close(found: &[Vec<f64>], expected: &[Vec<f64>]) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        prop_assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            let tolerance = 1e-12 * expected.abs().max(1.0);
            prop_assert!(
                (found - expected).abs() <= tolerance,
                "{} is not {}",
                found,
                expected
            );
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn every_advantage_is_finite_and_every_shape_is_kept(batch in batches()) {
        for estimator in estimators() {
            let found = advantages(&estimator, &batch);
            prop_assert_eq!(found.len(), batch.len());
            for (found, group) in found.iter().zip(&batch) {
                prop_assert_eq!(found.len(), group.len());
                prop_assert!(found.iter().all(|advantage| advantage.is_finite()));
            }
        }
    }

    #[test]
    fn reordering_attempts_and_groups_only_reorders_the_advantages(
        batch in batches(),
        attempt_shift in 0_usize..6,
        group_shift in 0_usize..5,
    ) {
        fn rearranged<T: Clone>(batch: &[Vec<T>], attempt_shift: usize, group_shift: usize) -> Vec<Vec<T>> {
            let mut batch = batch.to_vec();
            for group in &mut batch {
                let shift = attempt_shift % group.len();
                group.rotate_left(shift);
            }
            let shift = group_shift % batch.len();
            batch.rotate_left(shift);
            batch.reverse();
            batch
        }
        for estimator in estimators() {
            let expected = rearranged(&advantages(&estimator, &batch), attempt_shift, group_shift);
            let found = advantages(&estimator, &rearranged(&batch, attempt_shift, group_shift));
            assert_close(&found, &expected)?;
        }
    }

    #[test]
    fn a_group_does_not_see_the_others_unless_the_pool_is_the_batch(batch in batches()) {
        for estimator in estimators() {
            let pools_the_batch = matches!(
                estimator,
                OutcomeEstimator::Grpo { scale: Scale::Batch, .. }
                    | OutcomeEstimator::ReinforcePlusPlusBaseline
            );
            if pools_the_batch {
                continue;
            }
            let together = advantages(&estimator, &batch);
            let apart: Vec<Vec<f64>> = batch
                .iter()
                .flat_map(|group| advantages(&estimator, &vec![group.clone()]))
                .collect();
            prop_assert_eq!(together, apart, "{:?}", estimator);
        }
    }

    #[test]
    fn a_constant_added_to_a_groups_rewards_changes_nothing(batch in batches(), shift in reward()) {
        let shifted: Batch = batch
            .iter()
            .map(|group| group.iter().map(|&(reward, length)| (reward + shift, length)).collect())
            .collect();
        for estimator in estimators() {
            // Shifting rounds the rewards by 1e-16; at most `1 / eps` of that can show.
            let found = advantages(&estimator, &shifted);
            let expected = advantages(&estimator, &batch);
            for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
                prop_assert!((found - expected).abs() < 1e-8, "{} is not {}", found, expected);
            }
        }
    }

    #[test]
    fn centred_estimators_sum_to_zero_in_each_group(batch in batches()) {
        let centred = [
            OutcomeEstimator::default(),
            OutcomeEstimator::DrGrpo,
            OutcomeEstimator::Memagent,
            OutcomeEstimator::Rloo,
        ];
        for estimator in centred {
            for group in advantages(&estimator, &batch) {
                prop_assert!(group.iter().sum::<f64>().abs() < 1e-12);
            }
        }
    }

    #[test]
    fn equal_rewards_and_groups_of_one_are_exactly_zero_beside_live_groups(
        reward in reward(),
        lengths in proptest::collection::vec(1_usize..9, 1..8),
        others in batches(),
    ) {
        let constant: Vec<(f64, usize)> = lengths.iter().map(|&length| (reward, length)).collect();
        let mut batch = others;
        batch.insert(0, constant);
        for estimator in estimators() {
            // Whitening over the batch shifts every token, a silent group's too.
            let batch = if estimator == OutcomeEstimator::ReinforcePlusPlusBaseline {
                batch[..1].to_vec()
            } else {
                batch.clone()
            };
            let found = advantages(&estimator, &batch);
            prop_assert!(found[0].iter().all(|&advantage| advantage == 0.0), "{:?}", found[0]);
        }
        prop_assert!(!is_live(&vec![reward; lengths.len()]));
    }

    #[test]
    fn whitening_over_tokens_equals_the_baseline_form_with_one_value_per_attempt(batch in batches()) {
        let centred = advantages(&OutcomeEstimator::Memagent, &batch);
        let tokens: Vec<Vec<f64>> = batch
            .iter()
            .flatten()
            .zip(centred.iter().flatten())
            .map(|(&(_, length), &value)| vec![value; length])
            .collect();
        let loss_mask: Vec<Vec<bool>> = tokens.iter().map(|row| vec![true; row.len()]).collect();
        let whitened = whiten(&tokens, &loss_mask);
        let expected: Vec<Vec<f64>> =
            advantages(&OutcomeEstimator::ReinforcePlusPlusBaseline, &batch)
                .iter()
                .flatten()
                .zip(&tokens)
                .map(|(&value, row)| vec![value; row.len()])
                .collect();
        assert_close(&whitened, &expected)?;
    }

    #[test]
    fn whitening_does_not_see_how_tokens_are_divided_into_contexts(
        tokens in proptest::collection::vec((reward(), any::<bool>()), 1..20),
        cut in 0_usize..20,
    ) {
        let (values, loss_mask): (Vec<f64>, Vec<bool>) = tokens.into_iter().unzip();
        let cut = cut % values.len();
        let (left, right) = values.split_at(cut);
        let (left_mask, right_mask) = loss_mask.split_at(cut);
        let split = whiten(
            &[left.to_vec(), right.to_vec()],
            &[left_mask.to_vec(), right_mask.to_vec()],
        );
        let whole = whiten(std::slice::from_ref(&values), std::slice::from_ref(&loss_mask));
        prop_assert_eq!(split.concat(), whole.concat());
        for (value, is_trained) in whole[0].iter().zip(loss_mask) {
            prop_assert!(value.is_finite());
            prop_assert!(is_trained || *value == 0.0);
        }
    }

    #[test]
    fn the_turn_pool_does_not_see_which_attempt_a_turn_belongs_to(
        turns in proptest::collection::vec(reward(), 1..20),
        cut in 0_usize..20,
    ) {
        let cut = cut % turns.len();
        let (left, right) = turns.split_at(cut);
        let split = turn_pool(&[left.to_vec(), right.to_vec()], 1e-6);
        prop_assert_eq!(split.concat(), turn_pool(std::slice::from_ref(&turns), 1e-6).concat());
        if !is_live(&turns) {
            prop_assert!(split.concat().iter().all(|&advantage| advantage == 0.0));
        }
    }

    #[test]
    fn gae_with_lambda_one_is_the_reward_to_go_minus_the_value(
        tokens in proptest::collection::vec((reward(), reward()), 1..12),
        gamma in 0.5_f64..1.0,
    ) {
        let (rewards, values): (Vec<f64>, Vec<f64>) = tokens.into_iter().unzip();
        let (rewards, values) = (vec![rewards], vec![values]);
        let loss_mask = vec![vec![true; rewards[0].len()]];
        let found = gae(&rewards, &values, &loss_mask, gamma, 1.0);
        let to_go = reinforce_plus_plus(&rewards, &loss_mask, gamma).returns;
        assert_close(&found.returns, &to_go)?;
    }
}
