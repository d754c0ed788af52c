//! GDPO against a second implementation written the way its code bases write it, on random batches.

use longhand_advantage::{BatchStep, Condition, Gdpo, RewardColumn};
use proptest::prelude::*;

/// `[group][attempt][column]` with the trained tokens of each attempt.
type Batch = Vec<Vec<(Vec<Option<f64>>, usize)>>;

const N_COLUMNS: usize = 3;

/// Rewards in tenths, a sixth of them missing.
fn batches() -> impl Strategy<Value = Batch> {
    let tenths = (-10_i32..=10).prop_map(|tenths| f64::from(tenths) / 10.0);
    let reward = proptest::option::weighted(0.85, tenths);
    let attempt = (proptest::collection::vec(reward, N_COLUMNS), 0_usize..9);
    proptest::collection::vec(proptest::collection::vec(attempt, 0..6), 1..5)
}

fn gdpo(weights: [f64; N_COLUMNS], at_least: Option<f64>, batch_step: BatchStep) -> Gdpo {
    let names = ["correct", "short", "certain"];
    let columns = names
        .iter()
        .zip(weights)
        .map(|(name, weight)| RewardColumn {
            only_where: at_least
                .filter(|_| *name == "short")
                .map(|at_least| Condition {
                    column: "correct".to_owned(),
                    at_least,
                }),
            ..RewardColumn::new(*name, weight)
        });
    Gdpo {
        columns: columns.collect(),
        eps: 1e-4,
        batch_step,
    }
}

fn advantages(gdpo: &Gdpo, batch: &Batch) -> Vec<Vec<f64>> {
    let rewards: Vec<Vec<_>> = batch
        .iter()
        .map(|group| group.iter().map(|attempt| attempt.0.clone()).collect())
        .collect();
    let lengths: Vec<Vec<usize>> = batch
        .iter()
        .map(|group| group.iter().map(|attempt| attempt.1).collect())
        .collect();
    gdpo.advantages(&rewards, &lengths).advantages
}

/// Mean and standard deviation (`n - 1`) of the numbers that are not NaN, in two passes.
fn nan_mean_and_std(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let present: Vec<f64> = values.filter(|value| !value.is_nan()).collect();
    let n = present.len() as f64;
    let mean = present.iter().sum::<f64>() / n;
    let squares: f64 = present.iter().map(|x| (x - mean) * (x - mean)).sum();
    (mean, (squares / (n - 1.0)).sqrt())
}

/// One flat table of samples, NaN for a missing reward, group numbers beside it, tokens repeated.
fn naive(gdpo: &Gdpo, batch: &Batch, at_least: Option<f64>) -> Vec<f64> {
    let mut group_of = Vec::new();
    let mut table: Vec<Vec<f64>> = Vec::new();
    let mut lengths = Vec::new();
    for (group_idx, group) in batch.iter().enumerate() {
        for (rewards, length) in group {
            let mut row: Vec<f64> = rewards.iter().map(|r| r.unwrap_or(f64::NAN)).collect();
            if let Some(at_least) = at_least {
                if row[0].is_nan() {
                    row[1] = f64::NAN;
                } else if row[0] < at_least && !row[1].is_nan() {
                    row[1] = 0.0;
                }
            }
            group_of.push(group_idx);
            table.push(row);
            lengths.push(*length);
        }
    }
    let n = table.len();
    let mut sums = vec![0.0; n];
    for (k, column) in gdpo.columns.iter().enumerate() {
        for (i, sum) in sums.iter_mut().enumerate() {
            let peers = (0..n).filter(|&j| group_of[j] == group_of[i]);
            let (mean, std) = nan_mean_and_std(peers.map(|j| table[j][k]));
            let z = (table[i][k] - mean) / (std + gdpo.eps);
            if !z.is_nan() {
                *sum += column.weight * z;
            }
        }
    }
    let is_rewarded: Vec<bool> = table
        .iter()
        .map(|row| row.iter().any(|x| !x.is_nan()))
        .collect();
    let pool: Vec<f64> = match gdpo.batch_step {
        BatchStep::None => return sums,
        BatchStep::Samples => (0..n)
            .filter(|&i| is_rewarded[i])
            .map(|i| sums[i])
            .collect(),
        BatchStep::Tokens => (0..n)
            .filter(|&i| is_rewarded[i])
            .flat_map(|i| vec![sums[i]; lengths[i]])
            .collect(),
    };
    let (mean, std) = nan_mean_and_std(pool.iter().copied());
    (0..n)
        .map(|i| {
            let is_counted = gdpo.batch_step == BatchStep::Samples || lengths[i] != 0;
            if !is_rewarded[i] || !is_counted || pool.len() < 2 {
                return 0.0;
            }
            match gdpo.batch_step {
                BatchStep::Samples => (sums[i] - mean) / (std + gdpo.eps),
                _ => (sums[i] - mean) / (std * std + 1e-8).sqrt(),
            }
        })
        .collect()
}

proptest! {
    #[test]
    fn it_is_the_formula_of_its_code_bases(
        batch in batches(),
        weights in proptest::array::uniform3(-1.0_f64..2.0),
        at_least in proptest::option::of(-0.5_f64..0.5),
    ) {
        for batch_step in [BatchStep::None, BatchStep::Samples, BatchStep::Tokens] {
            let gdpo = gdpo(weights, at_least, batch_step);
            let found = advantages(&gdpo, &batch).concat();
            let expected = naive(&gdpo, &batch, at_least);
            prop_assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                // Where all rewards are equal, its mean is off by 1e-17, divided by `eps` twice.
                let tolerance = 1e-7 * expected.abs().max(1.0);
                prop_assert!((found - expected).abs() < tolerance,
                    "{:?}: {} is not {}", batch_step, found, expected);
            }
        }
    }

    #[test]
    fn the_order_of_attempts_and_groups_does_not_matter(
        batch in batches(),
        shift in 0_usize..6,
    ) {
        let rearranged = |values: &mut Vec<Vec<f64>>| {
            for group in values.iter_mut() {
                let by = shift % group.len().max(1);
                group.rotate_left(by);
            }
            values.reverse();
        };
        let mut moved = batch.clone();
        for group in &mut moved {
            let by = shift % group.len().max(1);
            group.rotate_left(by);
        }
        moved.reverse();
        for batch_step in [BatchStep::None, BatchStep::Samples, BatchStep::Tokens] {
            let gdpo = gdpo([0.5, 0.3, 1.0], Some(0.0), batch_step);
            let mut expected = advantages(&gdpo, &batch);
            rearranged(&mut expected);
            let found = advantages(&gdpo, &moved).concat();
            for (found, expected) in found.iter().zip(expected.concat()) {
                prop_assert!((found - expected).abs() < 1e-9, "{} is not {}", found, expected);
            }
        }
    }

    #[test]
    fn each_group_sums_to_zero_and_a_silent_one_is_zero_without_tokens(batch in batches()) {
        for batch_step in [BatchStep::None, BatchStep::Samples] {
            let gdpo = gdpo([0.5, 0.3, 1.0], Some(0.0), batch_step);
            for (found, group) in advantages(&gdpo, &batch).iter().zip(&batch) {
                prop_assert!(found.iter().sum::<f64>().abs() < 1e-9);
                let rewards: Vec<_> = group.iter().map(|attempt| attempt.0.clone()).collect();
                if !gdpo.is_live(&rewards) {
                    prop_assert!(found.iter().all(|&advantage| advantage == 0.0));
                }
            }
        }
    }

    #[test]
    fn a_reward_s_scale_does_not_matter_and_its_weight_does(batch in batches()) {
        let mut scaled = batch.clone();
        for (rewards, _) in scaled.iter_mut().flatten() {
            rewards[2] = rewards[2].map(|reward| 1000.0 * reward);
        }
        let mut plain = gdpo([1.0, 1.0, 1.0], None, BatchStep::None);
        plain.eps = 0.0;
        let (found, expected) = (advantages(&plain, &scaled), advantages(&plain, &batch));
        for (found, expected) in found.concat().iter().zip(expected.concat()) {
            prop_assert!((found - expected).abs() < 1e-9);
        }
        let mut heavy = plain.clone();
        heavy.columns[2].weight = 3.0;
        let heavy = advantages(&heavy, &batch).concat();
        let mut alone = plain;
        alone.columns[0].weight = 0.0;
        alone.columns[1].weight = 0.0;
        let once = advantages(&alone, &batch).concat();
        for ((heavy, plain), certain) in heavy.iter().zip(expected.concat()).zip(once) {
            prop_assert!((heavy - plain - 2.0 * certain).abs() < 1e-12);
        }
    }
}
