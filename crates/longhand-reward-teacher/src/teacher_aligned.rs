//! From the scores of a batch to the reward of every turn (arXiv:2603.21663, Eq. 5 and 6).
//!
//! `R = phat * r`: an attempt that fails gets 0 on every turn, one that succeeds shares its credit
//! out by how well the teacher understands each memory.
//!
//! Assumption: the answer turn, which has no chunk and so no teacher, gets `R = r`. It is no part
//! of Eq. 5's pool and is part of Eq. 7's.
//!
//! Differs from the paper: attempts may have different numbers of turns, and outcomes need not be
//! 0 or 1.

use crate::MinMax;
use crate::min_max::Range;
use crate::turn_score;

/// How a turn's scaled score and the attempt's outcome become one reward (Eq. 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Combine {
    /// `phat * r`.
    #[default]
    Gate,
    /// `phat + r`, an ablation of the paper.
    Add,
}

/// What the answer turn gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum AnswerTurn {
    /// One more reward per attempt, behind those of the memory turns: the outcome `r` itself, under
    /// either [`Combine`].
    #[default]
    Outcome,
    /// No reward: the answer is not in the pool, and nothing is trained on it.
    None,
}

/// TAMTRL's choices; the default is our reading of the paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct TeacherAligned {
    /// The pool of Eq. 5.
    pub minmax: MinMax,
    /// Eq. 6.
    pub combine: Combine,
    /// What the answer turn gets.
    pub answer_turn: AnswerTurn,
    /// Whether Eq. 4 divides by the number of tokens; `false` is an ablation of the paper.
    pub length_norm: bool,
}

impl Default for TeacherAligned {
    fn default() -> Self {
        TeacherAligned {
            minmax: MinMax::Batch,
            combine: Combine::Gate,
            answer_turn: AnswerTurn::Outcome,
            length_norm: true,
        }
    }
}

/// What [`TeacherAligned::rewards`] returns.
#[derive(Clone, Debug, PartialEq)]
pub struct TurnRewards {
    /// `[problem][attempt][turn]`; with [`AnswerTurn::Outcome`] one more entry per attempt, last.
    pub rewards: Vec<Vec<Vec<f64>>>,
    /// The smallest score of the batch, whatever the pool: worth logging, since one odd score
    /// compresses all others. 0 in a batch without any memory turn.
    pub lowest: f64,
    /// The largest score of the batch; 0 in a batch without any memory turn.
    pub highest: f64,
}

impl TeacherAligned {
    /// [`turn_score`] with this setting's `length_norm`.
    pub fn turn_score(&self, token_probs: &[f64]) -> f64 {
        turn_score(token_probs, self.length_norm)
    }

    /// Rewards of all turns of a batch, from the scores of the memory turns
    /// `[problem][attempt][turn]` and the outcomes `[problem][attempt]`.
    ///
    /// # Panics
    /// When the shapes differ, or a score or an outcome is not finite: one NaN would silently
    /// become the range of the whole batch.
    pub fn rewards(&self, turn_scores: &[Vec<Vec<f64>>], outcomes: &[Vec<f64>]) -> TurnRewards {
        assert_eq!(
            turn_scores.len(),
            outcomes.len(),
            "turn_scores and outcomes need one entry per problem"
        );
        for (problem_idx, (attempts, outcomes)) in turn_scores.iter().zip(outcomes).enumerate() {
            assert_eq!(
                attempts.len(),
                outcomes.len(),
                "turn_scores and outcomes of problem {problem_idx} need one entry per attempt"
            );
            let scores = attempts.iter().flatten();
            assert!(
                scores.chain(outcomes).all(|value| value.is_finite()),
                "a score or outcome of problem {problem_idx} is not finite"
            );
        }
        let scaled = self.minmax.scaled(turn_scores);
        let rewards = scaled
            .into_iter()
            .zip(outcomes)
            .map(|(attempts, outcomes)| {
                let attempts = attempts.into_iter().zip(outcomes);
                attempts
                    .map(|(turns, &outcome)| self.attempt_rewards(turns, outcome))
                    .collect()
            })
            .collect();
        let has_turns = turn_scores.iter().flatten().flatten().next().is_some();
        let batch = match has_turns {
            true => Range::of(turn_scores.iter().flatten().flatten()),
            false => Range {
                lowest: 0.0,
                highest: 0.0,
            },
        };
        TurnRewards {
            rewards,
            lowest: batch.lowest,
            highest: batch.highest,
        }
    }

    fn attempt_rewards(&self, mut turns: Vec<f64>, outcome: f64) -> Vec<f64> {
        for turn in &mut turns {
            *turn = match self.combine {
                Combine::Gate => *turn * outcome,
                Combine::Add => *turn + outcome,
            };
        }
        match self.answer_turn {
            AnswerTurn::Outcome => turns.push(outcome),
            AnswerTurn::None => {}
        }
        turns
    }
}

#[cfg(test)]
mod tests {
    use super::{AnswerTurn, Combine, TeacherAligned};
    use crate::MinMax;
    use proptest::prelude::*;

    type Ragged = Vec<Vec<Vec<f64>>>;

    #[track_caller]
    fn check(teacher: TeacherAligned, scores: &Ragged, outcomes: &[Vec<f64>], expected: &Ragged) {
        let found = teacher.rewards(scores, outcomes).rewards;
        let shape = |ragged: &Ragged| -> Vec<Vec<usize>> {
            let problem = |attempts: &Vec<Vec<f64>>| attempts.iter().map(Vec::len).collect();
            ragged.iter().map(problem).collect()
        };
        assert_eq!(shape(&found), shape(expected));
        let pairs = found
            .iter()
            .flatten()
            .flatten()
            .zip(expected.iter().flatten().flatten());
        for (found, expected) in pairs {
            assert!(
                (found - expected).abs() < 1e-12,
                "{found} is not {expected}"
            );
        }
    }

    const WITHOUT_ANSWER: TeacherAligned = TeacherAligned {
        minmax: MinMax::Batch,
        combine: Combine::Gate,
        answer_turn: AnswerTurn::None,
        length_norm: true,
    };

    #[test]
    fn batches_without_memory_turns() {
        let teacher = TeacherAligned::default();
        check(teacher, &vec![], &[], &vec![]);
        check(teacher, &vec![vec![]], &[vec![]], &vec![vec![]]);
        check(
            teacher,
            &vec![vec![vec![]]],
            &[vec![1.0]],
            &vec![vec![vec![1.0]]],
        );
        check(
            WITHOUT_ANSWER,
            &vec![vec![vec![]]],
            &[vec![1.0]],
            &vec![vec![vec![]]],
        );
        let rewards = teacher.rewards(&[vec![vec![]]], &[vec![1.0]]);
        assert_eq!([rewards.lowest, rewards.highest], [0.0, 0.0]);
    }

    #[test]
    fn equal_scores_leave_the_outcome_alone() {
        let scores = vec![vec![vec![0.4; 2], vec![0.4]]];
        let expected = vec![vec![vec![1.0; 3], vec![0.0; 2]]];
        check(
            TeacherAligned::default(),
            &scores,
            &[vec![1.0, 0.0]],
            &expected,
        );
    }

    #[test]
    fn failed_attempts_get_zero_on_every_turn() {
        let scores = vec![vec![vec![0.1, 0.9], vec![0.5, 0.2]]];
        let rewards = TeacherAligned::default().rewards(&scores, &[vec![0.0, 0.0]]);
        assert_eq!(rewards.rewards, [[[0.0; 3], [0.0; 3]]]);
    }

    // The worked problem of the notes: p = (.9, .7 | .8, .5), r = (1, 0): phat = 1, .5 | .75, 0.
    #[test]
    fn the_worked_problem() {
        let scores = vec![vec![vec![0.9, 0.7], vec![0.8, 0.5]]];
        let outcomes = [vec![1.0, 0.0]];
        check(
            WITHOUT_ANSWER,
            &scores,
            &outcomes,
            &vec![vec![vec![1.0, 0.5], vec![0.0, 0.0]]],
        );
        check(
            TeacherAligned::default(),
            &scores,
            &outcomes,
            &vec![vec![vec![1.0, 0.5, 1.0], vec![0.0, 0.0, 0.0]]],
        );
        let add = TeacherAligned {
            combine: Combine::Add,
            ..TeacherAligned::default()
        };
        check(
            add,
            &scores,
            &outcomes,
            &vec![vec![vec![2.0, 1.5, 1.0], vec![0.75, 0.0, 0.0]]],
        );
        let raw = TeacherAligned {
            minmax: MinMax::None,
            ..WITHOUT_ANSWER
        };
        check(
            raw,
            &scores,
            &outcomes,
            &vec![vec![vec![0.9, 0.7], vec![0.0, 0.0]]],
        );
        let rewards = WITHOUT_ANSWER.rewards(&scores, &outcomes);
        assert_eq!([rewards.lowest, rewards.highest], [0.5, 0.9]);
    }

    #[test]
    fn ragged_attempts_and_problems_of_their_own() {
        let scores = vec![vec![vec![0.2], vec![0.4, 0.6, 0.3]], vec![vec![0.7, 0.8]]];
        let outcomes = [vec![1.0, 0.5], vec![1.0]];
        let teacher = TeacherAligned {
            minmax: MinMax::Problem,
            ..TeacherAligned::default()
        };
        let expected = vec![
            vec![vec![0.0, 1.0], vec![0.25, 0.5, 0.125, 0.5]],
            vec![vec![0.0, 1.0, 1.0]],
        ];
        check(teacher, &scores, &outcomes, &expected);
    }

    #[test]
    #[should_panic(expected = "problem 1 is not finite")]
    fn a_score_that_is_not_a_number_is_refused() {
        TeacherAligned::default().rewards(
            &[vec![vec![0.5]], vec![vec![f64::NAN]]],
            &[vec![1.0], vec![1.0]],
        );
    }

    #[test]
    #[should_panic(expected = "problem 0 need one entry per attempt")]
    fn a_missing_outcome_is_refused() {
        TeacherAligned::default().rewards(&[vec![vec![0.5], vec![0.5]]], &[vec![1.0]]);
    }

    #[cfg(feature = "serde")]
    #[test]
    fn files_name_the_choices_and_nothing_else() {
        let text = r#"{"minmax": "problem", "combine": "add", "answer_turn": "none"}"#;
        let teacher: TeacherAligned = serde_json::from_str(text).unwrap();
        let expected = TeacherAligned {
            minmax: MinMax::Problem,
            combine: Combine::Add,
            answer_turn: AnswerTurn::None,
            length_norm: true,
        };
        assert_eq!(teacher, expected);
        assert!(serde_json::from_str::<TeacherAligned>(r#"{"min_max": "batch"}"#).is_err());
    }

    proptest! {
        // Reordering a group reorders its rewards, and only the batch's extremes tie problems together.
        #[test]
        fn the_order_of_attempts_does_not_matter(
            attempts in prop::collection::vec(prop::collection::vec(0.0_f64..1.0, 0..4), 1..6),
            outcomes in prop::collection::vec(0.0_f64..1.0, 6),
        ) {
            let outcomes = outcomes[..attempts.len()].to_vec();
            for minmax in [MinMax::Batch, MinMax::Problem, MinMax::Turn, MinMax::None] {
                let teacher = TeacherAligned { minmax, ..TeacherAligned::default() };
                let there = teacher.rewards(std::slice::from_ref(&attempts), std::slice::from_ref(&outcomes));
                let reversed = |values: &[Vec<f64>]| values.iter().rev().cloned().collect::<Vec<_>>();
                let back = teacher.rewards(
                    &[reversed(&attempts)],
                    &[outcomes.iter().rev().copied().collect()],
                );
                prop_assert_eq!(reversed(&there.rewards[0]), back.rewards[0].clone());
            }
        }

        #[test]
        fn gated_rewards_lie_between_zero_and_the_outcome(
            attempts in prop::collection::vec(prop::collection::vec(0.0_f64..1.0, 0..4), 1..6),
            outcomes in prop::collection::vec(0.0_f64..1.0, 6),
        ) {
            let outcomes = outcomes[..attempts.len()].to_vec();
            let found = TeacherAligned::default().rewards(&[attempts], std::slice::from_ref(&outcomes));
            for (turns, outcome) in found.rewards[0].iter().zip(outcomes) {
                prop_assert!(turns.iter().all(|reward| (0.0..=outcome).contains(reward)));
                prop_assert_eq!(turns.last(), Some(&outcome));
            }
        }
    }
}
