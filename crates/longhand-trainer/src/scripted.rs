//! Groups written by hand, for tests of what happens to them.

use std::sync::Arc;

use longhand_rollout::{EncodedProblem, Group, StopReason, Trajectory, Turn, TurnKind};

use crate::credit::ScoredGroup;

/// A group from the sampled tokens of every turn, `[attempt][turn]`; the last turn of an attempt
/// answers, the others read. Prompts of the same turn begin alike and end with the attempt's number.
pub(crate) fn scored_group(
    lengths: &[&[usize]],
    outcomes: &[f64],
    scores: &[&[f64]],
) -> ScoredGroup {
    assert_eq!(lengths.len(), outcomes.len());
    let trajectories = lengths
        .iter()
        .enumerate()
        .map(|(attempt, lengths)| Trajectory {
            turns: turns(attempt, lengths),
            answer: Vec::new(),
            dropped_tokens: 0,
        });
    ScoredGroup {
        group: Group {
            problem_idx: 0,
            problem: Arc::new(EncodedProblem::default()),
            trajectories: trajectories.collect(),
            weights: None,
        },
        attempts: (0..lengths.len() as u32).collect(),
        parsed: vec![true; lengths.len()],
        failed: Vec::new(),
        outcomes: outcomes.to_vec(),
        rewards: outcomes.to_vec(),
        teacher_scores: if scores.is_empty() {
            vec![Vec::new(); lengths.len()]
        } else {
            scores.iter().map(|scores| scores.to_vec()).collect()
        },
        answers: vec![None; lengths.len()],
        vote: None,
        views: Vec::new(),
        columns: vec![Vec::new(); lengths.len()],
    }
}

fn turns(attempt: usize, lengths: &[usize]) -> Vec<Turn> {
    let turn = |(turn_idx, n): (usize, &usize)| Turn {
        kind: if turn_idx + 1 == lengths.len() {
            TurnKind::Answer
        } else {
            TurnKind::Read {
                chunk_idx: turn_idx,
            }
        },
        prompt: vec![100 + turn_idx as u32, 100, attempt as u32],
        completion: (0..*n as u32)
            .map(|token| 10 * attempt as u32 + token)
            .collect(),
        rollout_logprobs: vec![-1.0; *n],
        stop_reason: StopReason::EndToken,
        teacher_prompt: None,
    };
    lengths.iter().enumerate().map(turn).collect()
}
