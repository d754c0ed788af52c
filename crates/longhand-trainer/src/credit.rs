//! From groups to what every turn is credited with.
//!
//! Statistics are taken over whole trajectories (or the turn pool the method names) before a
//! trajectory is unrolled into rows, so that cutting one into more turns moves no baseline.

use longhand_advantage::{is_live, turn_pool};
use longhand_config::{Credit, Overlong, TamtrlCredit};
use longhand_policy::Policy;
use longhand_reward_certainty::VoteDiagnosis;
use longhand_reward_outcome::overlong_penalty;
use longhand_reward_teacher::{ScoredTokens, TeacherAligned};
use longhand_rollout::{Group, Prompts, Trajectory, Turn, TurnKind, contexts};

use crate::{
    error::TrainError,
    not_finite::{Moment, NotFinite, TokenPlace},
    policy_view::PolicyView,
    scoring::score_contexts,
    several_rewards::{credit_rewards, is_live_by_rewards},
    workbench::{RewardFailure, Workbench},
};

/// A group with what can be said of it alone. Attempts whose reward failed stand apart: no baseline and
/// no loss sees them.
#[derive(Clone, Debug)]
pub struct ScoredGroup {
    /// The attempts that have a reward.
    pub group: Group,
    /// `[attempt]`: its number in the group as it was sampled.
    pub attempts: Vec<u32>,
    /// `[attempt]`: whether the checker found anything of its form in the answer.
    pub parsed: Vec<bool>,
    /// The attempts without a reward.
    pub failed: Vec<FailedAttempt>,
    /// `[attempt]`: what the checker says of each answer.
    pub outcomes: Vec<f64>,
    /// `[attempt]`: outcome plus the overlong penalty, where one is set.
    pub rewards: Vec<f64>,
    /// `[attempt][read turn]`: the teacher's scores; empty lists without a teacher.
    pub teacher_scores: Vec<Vec<f64>>,
    /// `[attempt]`: the answer as it is compared with others; none where nothing of its form was found.
    pub answers: Vec<Option<String>>,
    /// How the group's answers agree, those of attempts that only vote included; none before it was counted.
    pub vote: Option<VoteDiagnosis>,
    /// `[attempt]`: what the policy says of its own tokens at the temperature that they were sampled with;
    /// empty where nothing asks for it.
    pub views: Vec<PolicyView>,
    /// `[attempt][column]`: the rewards of a credit of several; empty lists with other credits.
    pub columns: Vec<Vec<Option<f64>>>,
}

impl ScoredGroup {
    /// Takes out the attempts that are numbered from `first` on and have a reward; none where there are none.
    pub(crate) fn split_off(&mut self, first: usize) -> Option<Self> {
        // Attempts keep their order.
        let n_kept = self
            .attempts
            .partition_point(|attempt| (*attempt as usize) < first);
        if n_kept == self.attempts.len() {
            return None;
        }
        let n_views = n_kept.min(self.views.len());
        Some(Self {
            group: Group {
                problem_idx: self.group.problem_idx,
                problem: self.group.problem.clone(),
                trajectories: self.group.trajectories.split_off(n_kept),
                weights: self.group.weights,
            },
            attempts: self.attempts.split_off(n_kept),
            parsed: self.parsed.split_off(n_kept),
            failed: Vec::new(),
            outcomes: self.outcomes.split_off(n_kept),
            rewards: self.rewards.split_off(n_kept),
            teacher_scores: self.teacher_scores.split_off(n_kept),
            answers: self.answers.split_off(n_kept),
            vote: self.vote.clone(),
            views: self.views.split_off(n_views),
            columns: self.columns.split_off(n_kept),
        })
    }
}

/// An attempt whose reward failed.
#[derive(Clone, Debug)]
pub struct FailedAttempt {
    /// Its number in the group.
    pub attempt: u32,
    /// What it read and wrote.
    pub trajectory: Trajectory,
    /// Why it has no reward.
    pub failure: RewardFailure,
}

/// What one turn is credited with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TurnCredit {
    /// Its reward, where the method rewards turns.
    pub reward: Option<f64>,
    /// Its advantage; none when the turn is not trained.
    pub advantage: Option<f64>,
    /// The teacher's score of its memory.
    pub teacher_score: Option<f64>,
}

/// Credits of a batch: `[group][attempt][turn]`, with the range the teacher's scores were spread over.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Credited {
    /// `[group][attempt][turn]`
    pub turns: Vec<Vec<Vec<TurnCredit>>>,
    /// Lowest and highest teacher score of the batch.
    pub teacher_range: Option<(f64, f64)>,
}

/// Outcomes by the checker or the judge, and rewards; attempts without a reward are set apart.
///
/// # Errors
/// When an answer has no text.
pub(crate) fn judge_answers(
    groups: Vec<Group>,
    bench: &Workbench,
    overlong: Option<Overlong>,
) -> Result<Vec<ScoredGroup>, TrainError> {
    let answers: Vec<_> = groups
        .iter()
        .flat_map(|group| {
            let trajectories = group.trajectories.iter();
            trajectories.map(|trajectory| (&*group.problem, &trajectory.answer[..]))
        })
        .collect();
    let mut verdicts = bench.verdicts(&answers)?.into_iter();
    let penalty = |trajectory: &Trajectory| {
        overlong.map_or(0.0, |Overlong { max, buffer }| {
            overlong_penalty(trajectory.n_sampled(), max, buffer)
        })
    };
    let scored = groups.into_iter().map(|mut group| {
        let trajectories = std::mem::take(&mut group.trajectories);
        let mut scored = ScoredGroup {
            group,
            attempts: Vec::new(),
            parsed: Vec::new(),
            failed: Vec::new(),
            outcomes: Vec::new(),
            rewards: Vec::new(),
            teacher_scores: Vec::new(),
            answers: Vec::new(),
            vote: None,
            views: Vec::new(),
            columns: Vec::new(),
        };
        let of_group = verdicts.by_ref().take(trajectories.len());
        for ((attempt, trajectory), verdict) in (0..).zip(trajectories).zip(of_group) {
            match verdict.reward {
                Ok(outcome) => {
                    scored.attempts.push(attempt);
                    scored.parsed.push(verdict.is_parsed);
                    scored.outcomes.push(outcome);
                    scored.rewards.push(outcome + penalty(&trajectory));
                    scored.teacher_scores.push(Vec::new());
                    scored.answers.push(verdict.answer);
                    scored.columns.push(Vec::new());
                    scored.group.trajectories.push(trajectory);
                }
                Err(failure) => scored.failed.push(FailedAttempt {
                    attempt,
                    trajectory,
                    failure,
                }),
            }
        }
        scored
    });
    Ok(scored.collect())
}

/// Teacher scores of every memory (arXiv:2603.21663, Eq. 4).
///
/// The teacher is the policy that wrote the memories, at temperature 1, without a gradient.
///
/// # Errors
/// When a teacher's context exceeds the token budget, or a score is not finite.
pub(crate) fn score_by_teacher(
    scored: &mut [ScoredGroup],
    policy: &Policy,
    (rewards, scored_tokens): (&TeacherAligned, ScoredTokens),
    end_ids: &[u32],
    token_budget: usize,
    at: Moment,
) -> Result<(), TrainError> {
    let reads = |t: &Trajectory| {
        let has_teacher = |turn: &&Turn| turn.teacher_prompt.is_some();
        t.turns.iter().filter(has_teacher).count()
    };
    let mut scores: Vec<Vec<Vec<f64>>> = scored
        .iter()
        .map(|scored| {
            let trajectories = scored.group.trajectories.iter();
            let unscored = |t| vec![rewards.turn_score(&[]); reads(t)];
            trajectories.map(unscored).collect()
        })
        .collect();
    let mut places = Vec::new();
    let mut turns = Vec::new();
    let groups = scored.iter().map(|scored| &scored.group);
    for (place, mut context) in contexts(groups, Prompts::Teacher) {
        let ends = context
            .completion
            .last()
            .is_some_and(|id| end_ids.contains(id));
        let n_scored = scored_tokens.count(context.completion.len(), ends);
        context.completion = &context.completion[..n_scored];
        if n_scored != 0 {
            places.push(place);
            turns.push(context);
        }
    }
    let of_turns = score_contexts(policy, &turns, 1.0, token_budget)?;
    for (place, of_turn) in places.into_iter().zip(of_turns) {
        let of_turn = of_turn.logprobs;
        if let Some(token) = of_turn.iter().position(|lp| !lp.is_finite()) {
            let of = &scored[place.group];
            let at_token = TokenPlace::of(of, place.trajectory, place.turn, Some(token));
            let what = "the teacher's log-probability";
            let value = f64::from(of_turn[token]);
            let found = NotFinite::of_token(what, value, at_token, at);
            return Err(TrainError::NotFinite(Box::new(found)));
        }
        let probabilities: Vec<f64> = of_turn.iter().map(|lp| f64::from(*lp).exp()).collect();
        scores[place.group][place.trajectory][place.turn] = rewards.turn_score(&probabilities);
    }
    for (scored, scores) in scored.iter_mut().zip(scores) {
        scored.teacher_scores = scores;
    }
    Ok(())
}

/// Whether a group still teaches something: its rewards (or turn rewards) are not all equal.
pub(crate) fn is_live_group(scored: &ScoredGroup, credit: &Credit) -> bool {
    match credit {
        Credit::Outcome(_) => is_live(&scored.rewards),
        Credit::Tamtrl(tamtrl) => {
            let scores = std::slice::from_ref(&scored.teacher_scores);
            let rewards = tamtrl
                .rewards
                .rewards(scores, std::slice::from_ref(&scored.rewards))
                .rewards;
            tamtrl.live_by.is_live(&rewards[0], &scored.outcomes)
        }
        Credit::Rewards(rewards) => is_live_by_rewards(scored, rewards),
    }
}

/// Rewards and advantages of every turn of a batch.
///
/// With `skip_equal_outcomes`, groups whose outcomes are all equal get advantage 0 everywhere.
pub(crate) fn credit_turns(
    scored: &[ScoredGroup],
    credit: &Credit,
    skip_equal_outcomes: bool,
) -> Credited {
    let rewards: Vec<Vec<f64>> = scored.iter().map(|group| group.rewards.clone()).collect();
    let mut credited = match credit {
        Credit::Outcome(estimator) => {
            let of_group = |scored: &ScoredGroup| {
                scored
                    .group
                    .trajectories
                    .iter()
                    .map(Trajectory::n_sampled)
                    .collect()
            };
            let lengths: Vec<Vec<usize>> = scored.iter().map(of_group).collect();
            let advantages = estimator.advantages(&rewards, &lengths);
            let turns = scored.iter().zip(advantages).map(|(scored, advantages)| {
                let attempts = scored.group.trajectories.iter().zip(advantages);
                let same = |advantage| TurnCredit {
                    advantage: Some(advantage),
                    ..TurnCredit::default()
                };
                attempts
                    .map(|(trajectory, advantage)| vec![same(advantage); trajectory.turns.len()])
                    .collect()
            });
            Credited {
                turns: turns.collect(),
                teacher_range: None,
            }
        }
        Credit::Tamtrl(tamtrl) => credit_tamtrl(scored, &rewards, tamtrl),
        Credit::Rewards(rewards) => credit_rewards(scored, rewards),
    };
    if skip_equal_outcomes {
        for (scored, attempts) in scored.iter().zip(&mut credited.turns) {
            if !is_live(&scored.outcomes) {
                for turn in attempts.iter_mut().flatten() {
                    turn.advantage = turn.advantage.map(|_| 0.0);
                }
            }
        }
    }
    credited
}

/// arXiv:2603.21663, Eq. 5 to 7.
fn credit_tamtrl(scored: &[ScoredGroup], rewards: &[Vec<f64>], tamtrl: &TamtrlCredit) -> Credited {
    let scores: Vec<Vec<Vec<f64>>> = scored
        .iter()
        .map(|group| group.teacher_scores.clone())
        .collect();
    let turn_rewards = tamtrl.rewards.rewards(&scores, rewards);
    let turns = scored
        .iter()
        .zip(turn_rewards.rewards)
        .map(|(scored, rewards)| {
            let advantages = turn_pool(&rewards, tamtrl.std_eps);
            let attempts = scored.group.trajectories.iter().enumerate();
            let of_attempt = |(attempt, trajectory): (usize, &Trajectory)| {
                let of_turn = |turn_idx: usize| TurnCredit {
                    // The answer's turn stands behind the memory turns, or is left out.
                    reward: rewards[attempt].get(turn_idx).copied(),
                    advantage: advantages[attempt].get(turn_idx).copied(),
                    teacher_score: scored.teacher_scores[attempt].get(turn_idx).copied(),
                };
                debug_assert!(
                    trajectory
                        .turns
                        .last()
                        .is_none_or(|turn| turn.kind == TurnKind::Answer)
                );
                (0..trajectory.turns.len()).map(of_turn).collect()
            };
            attempts.map(of_attempt).collect()
        });
    Credited {
        turns: turns.collect(),
        teacher_range: Some((turn_rewards.lowest, turn_rewards.highest)),
    }
}

#[cfg(test)]
mod tests {
    use longhand_advantage::OutcomeEstimator;
    use longhand_memory::TeacherScope;
    use longhand_reward_teacher::{AnswerTurn, LiveBy};
    use proptest::prelude::*;

    use super::*;
    use crate::scripted::scored_group;

    const MEMAGENT: Credit = Credit::Outcome(OutcomeEstimator::Memagent);

    fn tamtrl(answer_turn: AnswerTurn) -> Credit {
        Credit::Tamtrl(TamtrlCredit {
            rewards: TeacherAligned {
                answer_turn,
                ..TeacherAligned::default()
            },
            scored_tokens: ScoredTokens::Memory,
            std_eps: 1e-6,
            teacher: TeacherScope::Chunk,
            live_by: LiveBy::default(),
        })
    }

    fn advantages(credited: &Credited) -> Vec<Vec<Vec<Option<f64>>>> {
        let of_attempt =
            |turns: &Vec<TurnCredit>| turns.iter().map(|turn| turn.advantage).collect();
        let of_group = |attempts: &Vec<Vec<TurnCredit>>| attempts.iter().map(of_attempt).collect();
        credited.turns.iter().map(of_group).collect()
    }

    #[test]
    fn an_outcome_credits_every_turn_of_its_attempt_alike() {
        let scored = [scored_group(&[&[3, 1, 2], &[1, 2]], &[1.0, 0.0], &[])];
        let credited = credit_turns(&scored, &MEMAGENT, false);
        assert_eq!(
            advantages(&credited),
            [[vec![Some(0.5); 3], vec![Some(-0.5); 2]]]
        );
        assert_eq!(credited.teacher_range, None);
    }

    #[test]
    fn tamtrl_rewards_each_memory_by_its_teacher_and_the_answer_by_its_outcome() {
        // Worked by hand. Scores 0.2 to 0.6 over the batch, so 0.4 is scaled to 0.5. The solver's rewards
        // are 1, 0.5 and, for its answer, 1; the other attempt failed. Mean of [1, 0.5, 1, 0, 0, 0] is
        // 2.5/6; squared deviations sum to 2.25 - 6.25/6, divided by 5.
        let scored = [scored_group(
            &[&[1, 1, 1], &[1, 1, 1]],
            &[1.0, 0.0],
            &[&[0.6, 0.4], &[0.2, 0.5]],
        )];
        let credited = credit_turns(&scored, &tamtrl(AnswerTurn::Outcome), false);
        assert_eq!(credited.teacher_range, Some((0.2, 0.6)));
        let (mean, std) = (2.5 / 6.0, ((2.25 - 6.25 / 6.0) / 5.0_f64).sqrt());
        for (attempt, rewards) in [[1.0, 0.5, 1.0], [0.0; 3]].into_iter().enumerate() {
            for (turn, reward) in rewards.into_iter().enumerate() {
                let credit = credited.turns[0][attempt][turn];
                assert!(
                    (credit.reward.unwrap() - reward).abs() < 1e-12,
                    "{credit:?}"
                );
                let advantage = (reward - mean) / (std + 1e-6);
                assert!(
                    (credit.advantage.unwrap() - advantage).abs() < 1e-12,
                    "{credit:?}"
                );
            }
        }
        assert_eq!(credited.turns[0][1][1].teacher_score, Some(0.5));
        assert_eq!(
            credited.turns[0][1][2].teacher_score, None,
            "no teacher for an answer"
        );
    }

    #[test]
    fn an_answer_without_a_reward_is_not_trained() {
        let scored = [scored_group(
            &[&[1, 1], &[1, 1]],
            &[1.0, 0.0],
            &[&[0.3], &[0.1]],
        )];
        let credited = credit_turns(&scored, &tamtrl(AnswerTurn::None), false);
        for turns in &credited.turns[0] {
            assert!(turns[0].advantage.is_some());
            assert_eq!((turns[1].reward, turns[1].advantage), (None, None));
        }
    }

    #[test]
    fn attempts_that_all_fail_get_exactly_zero_and_are_not_live() {
        let scored = scored_group(&[&[1, 1], &[1, 1]], &[0.0, 0.0], &[&[0.3], &[0.1]]);
        for credit in [MEMAGENT, tamtrl(AnswerTurn::Outcome)] {
            assert!(!is_live_group(&scored, &credit));
            let credited = credit_turns(std::slice::from_ref(&scored), &credit, false);
            assert_eq!(advantages(&credited), [[[Some(0.0); 2]; 2]]);
        }
    }

    #[test]
    fn attempts_that_all_succeed_still_differ_by_their_turns_unless_that_is_switched_off() {
        let scored = [scored_group(
            &[&[1, 1], &[1, 1]],
            &[1.0, 1.0],
            &[&[0.3], &[0.1]],
        )];
        let credit = tamtrl(AnswerTurn::Outcome);
        assert!(is_live_group(&scored[0], &credit));
        let kept = credit_turns(&scored, &credit, false);
        assert!(kept.turns[0][1][0].advantage.unwrap() < 0.0);
        let skipped = credit_turns(&scored, &credit, true);
        assert_eq!(advantages(&skipped), [[[Some(0.0); 2]; 2]]);
        assert_eq!(
            skipped.turns[0][1][0].reward, kept.turns[0][1][0].reward,
            "rewards stay on record"
        );
    }

    #[test]
    fn a_penalty_for_length_does_not_make_equal_outcomes_differ() {
        let mut scored = [scored_group(&[&[1, 1], &[1, 1]], &[1.0, 1.0], &[])];
        scored[0].rewards = vec![1.0, 0.5];
        assert!(is_live_group(&scored[0], &MEMAGENT));
        let kept = credit_turns(&scored, &MEMAGENT, false);
        assert_eq!(advantages(&kept)[0][0], [Some(0.25); 2]);
        let skipped = credit_turns(&scored, &MEMAGENT, true);
        assert_eq!(advantages(&skipped), [[[Some(0.0); 2]; 2]]);
    }

    /// Groups of one shape each: `[group]` of outcomes and of teacher scores `[attempt][read turn]`.
    fn batches() -> impl Strategy<Value = Vec<ScoredGroup>> {
        let attempt = (0_u8..3, proptest::collection::vec(0.0..1.0_f64, 0..4));
        let group = proptest::collection::vec(attempt, 1..6).prop_map(|attempts| {
            let outcomes: Vec<f64> = attempts
                .iter()
                .map(|(outcome, _)| f64::from(*outcome) / 2.0)
                .collect();
            let lengths: Vec<Vec<usize>> = attempts
                .iter()
                .map(|(_, scores)| vec![2; scores.len() + 1])
                .collect();
            let lengths: Vec<&[usize]> = lengths.iter().map(Vec::as_slice).collect();
            let scores: Vec<&[f64]> = attempts
                .iter()
                .map(|(_, scores)| scores.as_slice())
                .collect();
            scored_group(&lengths, &outcomes, &scores)
        });
        proptest::collection::vec(group, 1..4)
    }

    proptest! {
        #[test]
        fn reordering_the_attempts_of_a_group_reorders_their_credits_and_changes_none(
            batch in batches(),
            turn_by in 0_usize..6,
        ) {
            let rotated: Vec<ScoredGroup> = batch.iter().cloned().map(|mut scored| {
                let by = turn_by % scored.outcomes.len();
                scored.group.trajectories.rotate_left(by);
                scored.outcomes.rotate_left(by);
                scored.rewards.rotate_left(by);
                scored.teacher_scores.rotate_left(by);
                scored
            }).collect();
            let estimators = [
                OutcomeEstimator::Memagent, OutcomeEstimator::Rloo, OutcomeEstimator::DrGrpo, OutcomeEstimator::Opo,
                OutcomeEstimator::ReinforcePlusPlusBaseline,
            ].map(Credit::Outcome);
            for credit in estimators.into_iter().chain([tamtrl(AnswerTurn::Outcome)]) {
                let mut before = credit_turns(&batch, &credit, false);
                let after = credit_turns(&rotated, &credit, false);
                for (attempts, scored) in before.turns.iter_mut().zip(&batch) {
                    attempts.rotate_left(turn_by % scored.outcomes.len());
                }
                for (before, after) in before.turns.iter().flatten().flatten().zip(after.turns.iter().flatten().flatten()) {
                    prop_assert_eq!(before.reward, after.reward);
                    let difference = before.advantage.unwrap() - after.advantage.unwrap();
                    // Sums are taken in another order.
                    prop_assert!(difference.abs() < 1e-9, "{:?}: {:?} {:?}", credit, before, after);
                }
            }
        }
    }
}
