//! Rows of a mini-batch: every trained turn with its advantage and the weight of its tokens.

use longhand_config::{ObjectiveSettings, Unit};
use longhand_objective::{Denominators, unit_weight};
use longhand_rollout::{Context, PrefixTree, Prompts, TurnIdx, contexts};

use crate::credit::{Credited, ScoredGroup};

/// One turn to train on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) at: TurnIdx,
    pub(crate) advantage: f64,
    /// Weight of each of its tokens in the loss.
    pub(crate) weight: f64,
}

/// A mini-batch: contexts with their rows.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    pub(crate) contexts: Vec<Context<'a>>,
    /// In the order of the contexts.
    pub(crate) rows: Vec<Row>,
    /// Tokens to run when what contexts begin with in common is run once.
    pub(crate) n_run: usize,
    /// Tokens to run when every context is run by itself.
    pub(crate) n_unshared: usize,
    /// Trained tokens of the mini-batch, those of advantage zero included.
    pub(crate) n_trained: usize,
}

/// Packs whole groups. Weights come from the counts of the whole mini-batch, before anything is cut
/// or left out. Rows whose gradient is zero by construction are left out when `skip_zero` is set.
pub(crate) fn pack<'a>(
    scored: &'a [ScoredGroup],
    credited: &Credited,
    settings: &ObjectiveSettings,
    skip_zero: bool,
) -> Batch<'a> {
    let groups = scored.iter().map(|scored| &scored.group);
    let trained: Vec<(TurnIdx, Context<'a>, f64)> = contexts(groups, Prompts::Student)
        .into_iter()
        .filter_map(|(at, context)| {
            let advantage = credited.turns[at.group][at.trajectory][at.turn].advantage?;
            Some((at, context, advantage))
        })
        .collect();

    // A unit is a turn, or a whole trajectory so that cutting it into more turns changes no weight.
    let unit_of = |at: &TurnIdx| match settings.unit {
        Unit::Context => (at.group, at.trajectory, at.turn),
        Unit::Trajectory => (at.group, at.trajectory, 0),
    };
    let mut unit_tokens = std::collections::BTreeMap::new();
    for (at, context, _) in &trained {
        *unit_tokens.entry(unit_of(at)).or_insert(0) += context.completion.len();
    }
    let lengths: Vec<usize> = unit_tokens.values().copied().collect();
    let denominators = Denominators::of(&lengths, settings.norm_length.unwrap_or(1.0));

    let n_trained = lengths.iter().sum();
    let kept: Vec<_> = trained
        .into_iter()
        .filter(|(_, _, advantage)| !skip_zero || *advantage != 0.0)
        .collect();
    let rows = kept
        .iter()
        .map(|(at, _, advantage)| Row {
            at: *at,
            advantage: *advantage,
            weight: unit_weight(
                settings.aggregation,
                unit_tokens[&unit_of(at)],
                &denominators,
            ),
        })
        .collect();
    let contexts: Vec<Context<'a>> = kept.into_iter().map(|(_, context, _)| context).collect();
    let tree = PrefixTree::new(&contexts);
    Batch {
        contexts,
        rows,
        n_run: tree.n_shared(),
        n_unshared: tree.n_unshared(),
        n_trained,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use longhand_objective::{Aggregation, Objective};
    use proptest::prelude::*;

    use super::*;
    use crate::{credit::TurnCredit, scripted::scored_group};

    const ALL: [Aggregation; 4] = [
        Aggregation::TokenMean,
        Aggregation::SeqMeanTokenMean,
        Aggregation::SeqMeanTokenSum,
        Aggregation::SeqMeanTokenSumNorm,
    ];

    fn settings(aggregation: Aggregation, unit: Unit) -> ObjectiveSettings {
        let objective = Objective::default();
        let norm_length = (aggregation == Aggregation::SeqMeanTokenSumNorm).then_some(8.0);
        ObjectiveSettings {
            objective,
            aggregation,
            unit,
            norm_length,
        }
    }

    /// Credits in the shape of the groups, advantages in order.
    fn credited(scored: &[ScoredGroup], mut advantage: impl FnMut() -> Option<f64>) -> Credited {
        let turns = scored.iter().map(|scored| {
            let attempts = scored.group.trajectories.iter();
            let mut credit = |_| TurnCredit {
                advantage: advantage(),
                ..TurnCredit::default()
            };
            attempts
                .map(|attempt| attempt.turns.iter().map(&mut credit).collect())
                .collect()
        });
        Credited {
            turns: turns.collect(),
            teacher_range: None,
        }
    }

    fn weights(batch: &Batch) -> Vec<f64> {
        batch.rows.iter().map(|row| row.weight).collect()
    }

    /// Two attempts at one problem: turns of 1 and 3 tokens, and one turn of 2.
    fn two_attempts() -> Vec<ScoredGroup> {
        vec![scored_group(&[&[1, 3], &[2]], &[1.0, 0.0], &[])]
    }

    #[test]
    fn every_aggregation_weighs_tokens_as_its_name_says() {
        // By hand: 6 tokens; 3 contexts of 1, 3, 2; 2 trajectories of 4, 2; the constant is 8.
        use Aggregation::{SeqMeanTokenMean, SeqMeanTokenSum, SeqMeanTokenSumNorm, TokenMean};
        let check = |aggregation, unit, expected: [f64; 3]| {
            let scored = two_attempts();
            let credited = credited(&scored, || Some(1.0));
            let batch = pack(&scored, &credited, &settings(aggregation, unit), true);
            assert_eq!(batch.n_trained, 6);
            for (found, expected) in weights(&batch).iter().zip(expected) {
                assert!(
                    (found - expected).abs() < 1e-15,
                    "{aggregation:?} {unit:?}: {found}"
                );
            }
        };
        let (third, half) = (1.0 / 3.0, 0.5);
        check(TokenMean, Unit::Context, [1.0 / 6.0; 3]);
        check(TokenMean, Unit::Trajectory, [1.0 / 6.0; 3]);
        check(
            SeqMeanTokenMean,
            Unit::Context,
            [third, third / 3.0, third / 2.0],
        );
        check(
            SeqMeanTokenMean,
            Unit::Trajectory,
            [half / 4.0, half / 4.0, half / 2.0],
        );
        check(SeqMeanTokenSum, Unit::Context, [third; 3]);
        check(SeqMeanTokenSum, Unit::Trajectory, [half; 3]);
        check(SeqMeanTokenSumNorm, Unit::Context, [0.125; 3]);
        check(SeqMeanTokenSumNorm, Unit::Trajectory, [0.125; 3]);
    }

    #[test]
    fn turns_without_a_credit_are_no_rows_and_count_nowhere() {
        let scored = two_attempts();
        let mut advantages = [Some(1.0), None, Some(-1.0)].into_iter();
        let credited = credited(&scored, || advantages.next().flatten());
        let settings = settings(Aggregation::SeqMeanTokenMean, Unit::Trajectory);
        let batch = pack(&scored, &credited, &settings, true);
        assert_eq!(batch.n_trained, 3);
        assert_eq!(weights(&batch), [0.5, 0.25]);
    }

    #[test]
    fn rows_of_advantage_zero_are_left_out_only_when_asked_and_still_count() {
        let scored = two_attempts();
        let mut advantages = [Some(1.0), Some(0.0), Some(-1.0)].into_iter().cycle();
        let credited = credited(&scored, || advantages.next().flatten());
        let settings = settings(Aggregation::TokenMean, Unit::Context);
        let all = pack(&scored, &credited, &settings, false);
        let few = pack(&scored, &credited, &settings, true);
        assert_eq!((all.rows.len(), few.rows.len()), (3, 2));
        assert_eq!((all.n_trained, few.n_trained), (6, 6));
        assert_eq!(weights(&few), [1.0 / 6.0; 2]);
    }

    #[test]
    fn nothing_to_train_is_an_empty_batch() {
        let batch = pack(
            &[],
            &Credited::default(),
            &settings(ALL[0], Unit::Context),
            true,
        );
        assert!(batch.rows.is_empty() && batch.contexts.is_empty());
        assert_eq!((batch.n_run, batch.n_unshared), (0, 0));
        assert_eq!(batch.n_trained, 0);
    }

    #[test]
    fn cutting_an_attempt_into_more_turns_changes_no_weight_of_its_tokens() {
        for aggregation in ALL {
            let weight_of_first = |lengths: &[&[usize]]| {
                let scored = [scored_group(lengths, &[1.0, 0.0], &[])];
                let credited = credited(&scored, || Some(1.0));
                pack(
                    &scored,
                    &credited,
                    &settings(aggregation, Unit::Trajectory),
                    true,
                )
                .rows[0]
                    .weight
            };
            let (whole, cut) = (
                weight_of_first(&[&[7], &[2]]),
                weight_of_first(&[&[1, 4, 2], &[2]]),
            );
            assert_eq!(whole, cut, "{aggregation:?}");
        }
    }

    /// `[group][attempt][turn]`, sampled tokens of each turn.
    fn shapes() -> impl Strategy<Value = Vec<Vec<Vec<usize>>>> {
        let attempt = proptest::collection::vec(1_usize..5, 1..4);
        proptest::collection::vec(proptest::collection::vec(attempt, 1..4), 1..4)
    }

    proptest! {
        #[test]
        fn every_turn_with_a_credit_is_one_row_with_its_own_tokens_and_nothing_given_is_trained(
            shapes in shapes(),
            credits in proptest::collection::vec(proptest::option::of(-2_i32..3), 48),
        ) {
            let scored: Vec<ScoredGroup> = shapes.iter().map(|lengths| {
                let lengths: Vec<&[usize]> = lengths.iter().map(Vec::as_slice).collect();
                scored_group(&lengths, &vec![0.0; lengths.len()], &[])
            }).collect();
            let mut next = credits.iter().cycle();
            let credited = credited(&scored, || next.next().copied().flatten().map(f64::from));
            let batch = pack(&scored, &credited, &settings(ALL[0], Unit::Context), false);

            let mut expected = BTreeSet::new();
            for (group, attempts) in credited.turns.iter().enumerate() {
                for (trajectory, turns) in attempts.iter().enumerate() {
                    for (turn, credit) in turns.iter().enumerate() {
                        if credit.advantage.is_some() {
                            expected.insert(TurnIdx { group, trajectory, turn });
                        }
                    }
                }
            }
            let found: BTreeSet<TurnIdx> = batch.rows.iter().map(|row| row.at).collect();
            prop_assert_eq!(found.len(), batch.rows.len());
            prop_assert_eq!(found, expected);

            prop_assert_eq!(batch.contexts.len(), batch.rows.len());
            for (context, row) in batch.contexts.iter().zip(&batch.rows) {
                let turn = &scored[row.at.group].group.trajectories[row.at.trajectory].turns[row.at.turn];
                prop_assert_eq!(context.completion, &turn.completion[..]);
                prop_assert_eq!(context.prompt, &turn.prompt[..]);
                let credit = credited.turns[row.at.group][row.at.trajectory][row.at.turn];
                prop_assert_eq!(Some(row.advantage), credit.advantage);
            }
            prop_assert!(batch.n_run <= batch.n_unshared);
        }

        #[test]
        fn the_weights_of_a_batch_sum_to_what_their_aggregation_promises(shapes in shapes()) {
            let scored: Vec<ScoredGroup> = shapes.iter().map(|lengths| {
                let lengths: Vec<&[usize]> = lengths.iter().map(Vec::as_slice).collect();
                scored_group(&lengths, &vec![0.0; lengths.len()], &[])
            }).collect();
            let credited = credited(&scored, || Some(1.0));
            let n_tokens: usize = shapes.iter().flatten().flatten().sum();
            for (unit, n_units) in [
                (Unit::Context, shapes.iter().flatten().flatten().count()),
                (Unit::Trajectory, shapes.iter().flatten().count()),
            ] {
                for aggregation in ALL {
                    let batch = pack(&scored, &credited, &settings(aggregation, unit), true);
                    let n_of = |row: &Row| {
                        scored[row.at.group].group.trajectories[row.at.trajectory].turns[row.at.turn].completion.len()
                    };
                    let sum: f64 = batch.rows.iter().map(|row| row.weight * n_of(row) as f64).sum();
                    let expected = match aggregation {
                        Aggregation::TokenMean | Aggregation::SeqMeanTokenMean => 1.0,
                        Aggregation::SeqMeanTokenSum => n_tokens as f64 / n_units as f64,
                        Aggregation::SeqMeanTokenSumNorm => n_tokens as f64 / 8.0,
                    };
                    prop_assert!((sum - expected).abs() < 1e-12, "{:?} {:?}: {}", aggregation, unit, sum);
                }
            }
        }
    }
}
