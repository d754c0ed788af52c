//! From several rewards of an attempt to one advantage, and a teacher's beside it for each memory.

use longhand_advantage::{OutcomeEstimator, is_live, turn_pool};
use longhand_config::{Combination, RewardsCredit, TeacherReward};
use longhand_rollout::Trajectory;

use crate::credit::{Credited, ScoredGroup, TurnCredit};

/// Advantages of every turn: its attempt's, and with a teacher the weighed advantage of its memory on top.
pub(crate) fn credit_rewards(scored: &[ScoredGroup], credit: &RewardsCredit) -> Credited {
    let columns: Vec<Vec<Vec<Option<f64>>>> =
        scored.iter().map(|scored| scored.columns.clone()).collect();
    let lengths: Vec<Vec<usize>> = scored
        .iter()
        .map(|scored| {
            let attempts = scored.group.trajectories.iter();
            attempts.map(Trajectory::n_sampled).collect()
        })
        .collect();
    let advantages = match &credit.combination {
        Combination::Gdpo(gdpo) => gdpo.advantages(&columns, &lengths).advantages,
        Combination::Sum { weights, estimator } => of_sums(&columns, &lengths, weights, *estimator),
    };
    let memories = credit
        .teacher
        .as_ref()
        .map(|teacher| of_memories(scored, teacher));
    let turns = scored.iter().enumerate().map(|(group_idx, scored)| {
        let attempts = scored.group.trajectories.iter().enumerate();
        let of_attempt = |(attempt, trajectory): (usize, &Trajectory)| -> Vec<TurnCredit> {
            let of_turn = |turn_idx: usize| {
                let memory = memories
                    .as_ref()
                    .and_then(|(memories, _)| memories[group_idx][attempt].get(turn_idx).copied());
                let (reward, of_teacher) = memory.unzip();
                TurnCredit {
                    reward,
                    advantage: Some(advantages[group_idx][attempt] + of_teacher.unwrap_or(0.0)),
                    teacher_score: scored.teacher_scores[attempt].get(turn_idx).copied(),
                }
            };
            (0..trajectory.turns.len()).map(of_turn).collect()
        };
        attempts.map(of_attempt).collect()
    });
    Credited {
        turns: turns.collect(),
        teacher_range: memories.as_ref().map(|(_, range)| *range),
    }
}

/// Whether a group says anything: some reward differs within it.
pub(crate) fn is_live_by_rewards(scored: &ScoredGroup, credit: &RewardsCredit) -> bool {
    let by_attempts = match &credit.combination {
        Combination::Gdpo(gdpo) => gdpo.is_live(&scored.columns),
        Combination::Sum { weights, .. } => {
            let sums = scored.columns.iter().filter_map(|row| sum(row, weights));
            is_live(&sums.collect::<Vec<f64>>())
        }
    };
    by_attempts
        || credit
            .teacher
            .is_some_and(|_| is_live(&scored.teacher_scores.concat()))
}

/// `weight_1 R_1 + weight_2 R_2 + ..`; none where one of them is missing.
fn sum(row: &[Option<f64>], weights: &[f64]) -> Option<f64> {
    let weighed = row.iter().zip(weights);
    weighed
        .map(|(reward, weight)| Some(weight * (*reward)?))
        .sum()
}

/// `[group][attempt]` By an estimator over the attempts that have all their rewards; the others get 0.
fn of_sums(
    columns: &[Vec<Vec<Option<f64>>>],
    lengths: &[Vec<usize>],
    weights: &[f64],
    estimator: OutcomeEstimator,
) -> Vec<Vec<f64>> {
    let sums: Vec<Vec<Option<f64>>> = columns
        .iter()
        .map(|group| group.iter().map(|row| sum(row, weights)).collect())
        .collect();
    let whole: Vec<Vec<f64>> = sums
        .iter()
        .map(|group| group.iter().flatten().copied().collect())
        .collect();
    let lengths: Vec<Vec<usize>> = sums
        .iter()
        .zip(lengths)
        .map(|(group, lengths)| {
            let pairs = group.iter().zip(lengths);
            pairs
                .filter(|(sum, _)| sum.is_some())
                .map(|(_, n)| *n)
                .collect()
        })
        .collect();
    let found = estimator.advantages(&whole, &lengths);
    let groups = sums.iter().zip(found);
    groups
        .map(|(group, found)| {
            let mut found = found.into_iter();
            let of_attempt = |sum: &Option<f64>| match sum {
                Some(_) => found.next().expect("one advantage for each sum"),
                None => 0.0,
            };
            group.iter().map(of_attempt).collect()
        })
        .collect()
}

/// `[attempt][read turn]`: reward and weighed advantage of each memory of a group.
type OfMemories = Vec<Vec<(f64, f64)>>;

/// For each group the rewards and advantages of its memories, and the range of the teacher's scores.
///
/// Scores are compared among all memories of a problem, as by TAMTRL (arXiv:2603.21663, Eq. 7), but not
/// gated: what the outcome says is a reward of its own.
fn of_memories(scored: &[ScoredGroup], teacher: &TeacherReward) -> (Vec<OfMemories>, (f64, f64)) {
    let scores: Vec<Vec<Vec<f64>>> = scored
        .iter()
        .map(|scored| scored.teacher_scores.clone())
        .collect();
    let open: Vec<Vec<f64>> = scored
        .iter()
        .map(|scored| vec![1.0; scored.outcomes.len()])
        .collect();
    let rewards = teacher.rewards.rewards(&scores, &open);
    let memories = rewards.rewards.iter().map(|group| {
        let advantages = turn_pool(group, teacher.std_eps);
        let attempts = group.iter().zip(advantages);
        attempts
            .map(|(rewards, advantages)| {
                let weighed = advantages
                    .iter()
                    .map(|advantage| teacher.weight * advantage);
                rewards.iter().copied().zip(weighed).collect()
            })
            .collect()
    });
    (memories.collect(), (rewards.lowest, rewards.highest))
}

#[cfg(test)]
mod tests {
    use longhand_advantage::{BatchStep, Gdpo, RewardColumn};
    use longhand_config::{AttemptReward, Credit};
    use longhand_memory::TeacherScope;
    use longhand_reward_certainty::{Alignment, Unread};
    use longhand_reward_outcome::AnswerRelation;
    use longhand_reward_teacher::{AnswerTurn, ScoredTokens, TeacherAligned};

    use super::*;
    use crate::{
        credit::{credit_turns, is_live_group},
        scripted::scored_group,
    };

    const VOTE: AttemptReward = AttemptReward::ClusterVote {
        relation: AnswerRelation::String,
        unread: Unread::Zero,
    };
    const CERTAINTY: AttemptReward = AttemptReward::SelfCertainty {
        alignment: Alignment::Aligned,
        temperature: 1.0,
    };

    fn credit(combination: Combination, teacher: Option<TeacherReward>) -> Credit {
        Credit::Rewards(Box::new(RewardsCredit {
            rewards: vec![VOTE, CERTAINTY],
            teacher,
            combination,
        }))
    }

    fn gdpo(weights: [f64; 2]) -> Combination {
        Combination::Gdpo(Gdpo {
            columns: vec![
                RewardColumn::new(VOTE.name(), weights[0]),
                RewardColumn::new(CERTAINTY.name(), weights[1]),
            ],
            eps: 1e-4,
            batch_step: BatchStep::None,
        })
    }

    /// Four attempts: votes for 5, 5, 7 and nothing, with these certainties.
    fn circa_group() -> ScoredGroup {
        let mut scored = scored_group(&[&[2], &[2], &[2, 2], &[2]], &[1.0, 1.0, 0.0, 0.0], &[]);
        let votes = [2.0 / 3.0, 2.0 / 3.0, 1.0 / 3.0, 0.0];
        let certainties = [18.2, 17.5, 19.1, 16.0];
        let rows = votes.iter().zip(certainties);
        scored.columns = rows
            .map(|(vote, sure)| vec![Some(*vote), Some(sure)])
            .collect();
        scored
    }

    fn advantages(scored: &ScoredGroup, credit: &Credit) -> Vec<Vec<f64>> {
        let credited = credit_turns(std::slice::from_ref(scored), credit, false);
        let of_attempt =
            |turns: &Vec<TurnCredit>| turns.iter().map(|turn| turn.advantage.unwrap()).collect();
        credited.turns[0].iter().map(of_attempt).collect()
    }

    #[track_caller]
    fn check(found: &[Vec<f64>], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            for advantage in found {
                assert!(
                    (advantage - expected).abs() < 1e-5,
                    "{found:?}, not {expected}"
                );
            }
        }
    }

    #[test]
    fn circa_adds_the_standardised_votes_and_certainties() {
        // The golden values of the methods' notes.
        let expected = [0.582_531, 0.315_160, 0.404_224, -1.301_916];
        let scored = circa_group();
        let circa = credit(gdpo([0.5, 0.5]), None);
        check(&advantages(&scored, &circa), &expected);
        assert!(is_live_group(&scored, &circa));
    }

    #[test]
    fn a_raw_sum_lets_the_wider_reward_decide() {
        let (weights, estimator) = (vec![1.0, 1.0], OutcomeEstimator::DrGrpo);
        let sum = credit(Combination::Sum { weights, estimator }, None);
        let sums = [18.2 + 2.0 / 3.0, 17.5 + 2.0 / 3.0, 19.1 + 1.0 / 3.0, 16.0];
        let mean = sums.iter().sum::<f64>() / 4.0;
        check(
            &advantages(&circa_group(), &sum),
            &sums.map(|sum| sum - mean),
        );
    }

    #[test]
    fn an_attempt_that_lacks_a_reward_moves_no_sum_of_the_others() {
        let (weights, estimator) = (vec![1.0, 0.0], OutcomeEstimator::DrGrpo);
        let sum = credit(Combination::Sum { weights, estimator }, None);
        let mut scored = circa_group();
        scored.columns[3][0] = None;
        let mean = 5.0 / 9.0;
        let expected = [2.0 / 3.0 - mean, 2.0 / 3.0 - mean, 1.0 / 3.0 - mean, 0.0];
        check(&advantages(&scored, &sum), &expected);
        for row in &mut scored.columns {
            row[0] = None;
        }
        check(&advantages(&scored, &sum), &[0.0; 4]);
        assert!(!is_live_group(&scored, &sum));
    }

    #[test]
    fn a_teachers_advantages_are_added_to_the_memories_alone() {
        let teacher = TeacherReward {
            weight: 0.5,
            rewards: TeacherAligned {
                answer_turn: AnswerTurn::None,
                ..TeacherAligned::default()
            },
            scored_tokens: ScoredTokens::Memory,
            std_eps: 1e-6,
            teacher: TeacherScope::Chunk,
        };
        let mut scored = scored_group(&[&[1, 1], &[1, 1]], &[0.0, 0.0], &[&[0.3], &[0.1]]);
        scored.columns = vec![vec![Some(1.0), Some(2.0)], vec![Some(1.0), Some(2.0)]];
        let credit = credit(gdpo([1.0, 1.0]), Some(teacher));
        // Of two memories, spread to 1 and 0: 0.5 * (±0.5 / 0.7071).
        let half = 0.5 * 0.5_f64.sqrt();
        let found = advantages(&scored, &credit);
        for (found, expected) in found.iter().zip([[half, 0.0], [-half, 0.0]]) {
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-5, "{found} {expected}");
            }
        }
        assert!(is_live_group(&scored, &credit), "by its teacher");
        scored.teacher_scores = vec![vec![0.3], vec![0.3]];
        assert!(!is_live_group(&scored, &credit));
    }
}
