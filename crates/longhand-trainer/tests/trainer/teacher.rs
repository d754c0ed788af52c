//! The teacher is the same policy on a better informed prompt, scored turn by turn.

use longhand_rollout::{Context, Turn};

use crate::fixture::{Trial, taught};

/// Mean probability of the tokens that the turn passes on, after a prompt of choice, run alone.
fn alone(trial: &Trial, prompt: &[u32], turn: &Turn) -> Option<f64> {
    let end = trial.policy.config().end_ids[0];
    let memory = turn
        .completion
        .strip_suffix(&[end])
        .unwrap_or(&turn.completion);
    if memory.is_empty() {
        return None;
    }
    let context = Context {
        group: 0,
        prompt,
        completion: memory,
    };
    let logprobs = trial.policy.score(&[context], 1.0).logprobs;
    let sum: f64 = logprobs.iter().map(|lp| f64::from(*lp).exp()).sum();
    Some(sum / logprobs.len() as f64)
}

#[test]
fn scores_are_those_of_each_teacher_context_by_itself() {
    for micro_batch_tokens in ["48", "100000"] {
        let size = format!("stage.1.micro_batch_tokens={micro_batch_tokens}");
        let trial = taught("tamtrl", &[&size, "stage.1.problems_per_step=8"]);
        let (output, _) = trial.first_step(&trial.rl);
        let (mut n_scored, mut n_empty, mut differs) = (0, 0, 0.0_f64);
        let (mut lowest, mut highest) = (f64::INFINITY, f64::NEG_INFINITY);
        for scored in &output.scored {
            for (trajectory, scores) in scored.group.trajectories.iter().zip(&scored.teacher_scores)
            {
                let reads = &trajectory.turns[..trajectory.turns.len() - 1];
                assert_eq!(reads.len(), scores.len(), "one score a turn that reads");
                for (turn, score) in reads.iter().zip(scores) {
                    let prompt = turn.teacher_prompt.as_ref().unwrap();
                    match alone(&trial, prompt, turn) {
                        Some(expected) => {
                            n_scored += 1;
                            assert!((score - expected).abs() < 1e-5, "{score}, alone {expected}");
                            let as_student = alone(&trial, &turn.prompt, turn).unwrap();
                            differs = differs.max((score - as_student).abs());
                        }
                        None => n_empty += 1,
                    }
                    (lowest, highest) = (lowest.min(*score), highest.max(*score));
                }
            }
        }
        assert!(
            10 < n_scored && 0 < n_empty,
            "{n_scored} scored, {n_empty} empty"
        );
        assert!(
            1e-3 < differs,
            "the teacher sees something else than the student"
        );
        assert_eq!(output.credited.teacher_range, Some((lowest, highest)));
        assert_eq!(output.report.teacher_lowest, Some(lowest));
        assert_eq!(output.report.teacher_highest, Some(highest));
    }
}

#[test]
fn the_gate_closes_on_attempts_that_fail_and_the_best_memory_of_a_batch_counts_in_full() {
    let trial = taught("tamtrl", &["stage.1.problems_per_step=8"]);
    let (output, _) = trial.first_step(&trial.rl);
    let (lowest, highest) = output.credited.teacher_range.unwrap();
    let mut n_failed = 0;
    for (scored, attempts) in output.scored.iter().zip(&output.credited.turns) {
        for (outcome, turns) in scored.outcomes.iter().zip(attempts) {
            n_failed += usize::from(*outcome == 0.0);
            for turn in turns {
                let share = turn
                    .teacher_score
                    .map_or(1.0, |score| (score - lowest) / (highest - lowest));
                assert!(
                    (turn.reward.unwrap() - share * outcome).abs() < 1e-12,
                    "{turn:?} of {outcome}"
                );
            }
        }
    }
    assert!(0 < n_failed);
}

#[test]
fn a_teacher_of_the_whole_document_sees_more_than_one_of_the_chunk() {
    let prompts = |scope: &str| {
        let scope = format!("stage.1.credit.teacher={scope}");
        let trial = taught("tamtrl", &[&scope]);
        let (output, _) = trial.first_step(&trial.rl);
        let turns = output
            .scored
            .into_iter()
            .flat_map(|scored| scored.group.trajectories);
        turns
            .flat_map(|attempt| attempt.turns)
            .filter_map(|turn| turn.teacher_prompt)
            .collect::<Vec<_>>()
    };
    let (chunk, document) = (prompts("chunk"), prompts("document"));
    assert_eq!(chunk.len(), document.len());
    assert!(
        chunk
            .iter()
            .zip(&document)
            .all(|(chunk, document)| chunk.len() <= document.len())
    );
    assert!(
        chunk
            .iter()
            .zip(&document)
            .any(|(chunk, document)| chunk.len() < document.len())
    );
}
