//! What a collection records: groups of trajectories of turns, token by token.

use std::sync::Arc;

use longhand_memory::{StopReason, TurnKind};

use crate::{Context, EncodedProblem, WeightsId};

/// One prompt and what was sampled after it.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// What the turn was for.
    pub kind: TurnKind,
    /// The tokens given, `[n_prompt]`.
    pub prompt: Vec<u32>,
    /// The tokens sampled, the end token included if there is one, `[n_sampled]`.
    pub completion: Vec<u32>,
    /// Log-probability of each as recorded while sampling, `[n_sampled]`;
    /// [`crate::Completion::logprobs`] says of which distribution.
    pub rollout_logprobs: Vec<f32>,
    /// Why sampling ended.
    pub stop_reason: StopReason,
    /// The better informed prompt of the same turn, where it was asked for and the turn reads.
    pub teacher_prompt: Option<Vec<u32>>,
}

/// All turns of one attempt at one problem.
#[derive(Debug, Clone, PartialEq)]
pub struct Trajectory {
    /// The turns in order; the last one gives the answer.
    pub turns: Vec<Turn>,
    /// The answer without its end token.
    pub answer: Vec<u32>,
    /// Tokens cut from the centre of the document before it was read.
    pub dropped_tokens: usize,
}

impl Trajectory {
    /// Tokens sampled over all turns.
    pub fn n_sampled(&self) -> usize {
        self.turns.iter().map(|turn| turn.completion.len()).sum()
    }
}

/// All attempts at one problem.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The problem's index in its source.
    pub problem_idx: u64,
    /// The problem.
    pub problem: Arc<EncodedProblem>,
    /// The attempts in order.
    pub trajectories: Vec<Trajectory>,
    /// The weights that sampled them, where the generator says which.
    pub weights: Option<WeightsId>,
}

/// The place of a turn in a list of groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TurnIdx {
    /// Index of the group in the list.
    pub group: usize,
    /// Index of the trajectory in the group.
    pub trajectory: usize,
    /// Index of the turn in the trajectory.
    pub turn: usize,
}

/// Which prompt of a turn is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Prompts {
    /// The one that the completion was sampled after.
    Student,
    /// The better informed one; turns without it are left out.
    Teacher,
}

/// The contexts of all turns, ready for [`crate::micro_batches`], each with its place.
///
/// Turn `t` of every attempt at a problem is in one group, for they show the same chunk.
pub fn contexts<'a>(
    groups: impl IntoIterator<Item = &'a Group>,
    prompts: Prompts,
) -> Vec<(TurnIdx, Context<'a>)> {
    let mut contexts = Vec::new();
    let mut first_of_problem = 0;
    for (group_idx, group) in groups.into_iter().enumerate() {
        for (trajectory_idx, trajectory) in group.trajectories.iter().enumerate() {
            for (turn_idx, turn) in trajectory.turns.iter().enumerate() {
                let prompt = match prompts {
                    Prompts::Student => Some(&turn.prompt),
                    Prompts::Teacher => turn.teacher_prompt.as_ref(),
                };
                let Some(prompt) = prompt else { continue };
                let at = TurnIdx {
                    group: group_idx,
                    trajectory: trajectory_idx,
                    turn: turn_idx,
                };
                let group = first_of_problem + turn_idx;
                contexts.push((
                    at,
                    Context {
                        group,
                        prompt,
                        completion: &turn.completion,
                    },
                ));
            }
        }
        let n_turns = group
            .trajectories
            .iter()
            .map(|trajectory| trajectory.turns.len())
            .max();
        first_of_problem += n_turns.unwrap_or(0);
    }
    contexts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(prompt: u32, teacher: Option<u32>) -> Turn {
        Turn {
            kind: TurnKind::Answer,
            prompt: vec![prompt],
            completion: vec![prompt + 1],
            rollout_logprobs: vec![-1.0],
            stop_reason: StopReason::EndToken,
            teacher_prompt: teacher.map(|id| vec![id]),
        }
    }

    fn groups() -> Vec<Group> {
        let trajectory = |turns: Vec<Turn>| Trajectory {
            turns,
            answer: vec![],
            dropped_tokens: 0,
        };
        let group = |problem_idx, trajectories| Group {
            problem_idx,
            problem: Arc::new(EncodedProblem::default()),
            trajectories,
            weights: None,
        };
        vec![
            group(
                7,
                vec![
                    trajectory(vec![turn(10, Some(90)), turn(20, None)]),
                    trajectory(vec![turn(30, Some(91)), turn(40, None)]),
                ],
            ),
            group(3, vec![trajectory(vec![turn(60, None)])]),
            group(8, vec![]),
            group(9, vec![trajectory(vec![turn(50, None)])]),
        ]
    }

    #[test]
    fn the_same_turn_of_all_attempts_is_one_group_and_no_other_is() {
        let groups = groups();
        let found: Vec<_> = contexts(&groups, Prompts::Student)
            .into_iter()
            .map(|(at, context)| {
                (
                    (at.group, at.trajectory, at.turn),
                    context.group,
                    context.prompt[0],
                )
            })
            .collect();
        let expect = [
            ((0, 0, 0), 0, 10),
            ((0, 0, 1), 1, 20),
            ((0, 1, 0), 0, 30),
            ((0, 1, 1), 1, 40),
            ((1, 0, 0), 2, 60),
            ((3, 0, 0), 3, 50),
        ];
        assert_eq!(found, expect);
    }

    #[test]
    fn teacher_contexts_pair_the_teacher_prompt_with_what_the_student_wrote() {
        let groups = groups();
        let found: Vec<_> = contexts(&groups, Prompts::Teacher)
            .into_iter()
            .map(|(at, context)| {
                (
                    at.trajectory,
                    context.group,
                    context.prompt,
                    context.completion,
                )
            })
            .collect();
        assert_eq!(
            found,
            [(0, 0, &[90][..], &[11][..]), (1, 0, &[91][..], &[31][..])]
        );
    }

    #[test]
    fn sampled_tokens_are_counted_over_all_turns() {
        assert_eq!(groups()[0].trajectories[0].n_sampled(), 2);
    }
}
