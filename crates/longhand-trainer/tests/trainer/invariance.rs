//! How work is cut into batches changes no result.

use longhand_config::Rl;
use longhand_policy::Policy;
use longhand_trainer::{Credited, rl::StepOutput};

use crate::fixture::{SMOKE, Trial, largest_difference, plain_gradient, taught, weights};

/// The first step with the gradient itself as its update, all problems in one update.
fn step(trial: &Trial, change: impl FnOnce(&mut Rl)) -> (StepOutput, Policy) {
    let mut rl = trial.rl.clone();
    rl.mini_batches = 1;
    plain_gradient(&mut rl.optimizer);
    change(&mut rl);
    trial.first_step(&rl)
}

fn advantages(credited: &Credited) -> Vec<f64> {
    let turns = credited.turns.iter().flatten().flatten();
    turns.filter_map(|turn| turn.advantage).collect()
}

#[test]
fn the_size_of_a_micro_batch_changes_no_advantage_and_the_gradient_by_rounding_only() {
    for name in SMOKE {
        let trial = taught(name, &[]);
        let (whole, whole_policy) = step(&trial, |rl| rl.micro_batch_tokens = 1_000_000);
        let before = weights(&trial.policy);
        let whole_weights = weights(&whole_policy);
        assert!(
            1e-2 < largest_difference(&before, &whole_weights),
            "{name}: there is a gradient"
        );
        // Barely room for one context, and for a few.
        for micro_batch_tokens in [48, 200] {
            let (cut, policy) = step(&trial, |rl| rl.micro_batch_tokens = micro_batch_tokens);
            let (a, b) = (advantages(&whole.credited), advantages(&cut.credited));
            assert_eq!(a.len(), b.len());
            // TAMTRL's come from teacher scores, which are run in micro-batches too; others are equal.
            let bound = if name == "tamtrl" { 1e-4 } else { 0.0 };
            for (a, b) in a.iter().zip(&b) {
                assert!(
                    (a - b).abs() <= bound,
                    "{name}, {micro_batch_tokens}: {a} {b}"
                );
            }
            let difference = largest_difference(&whole_weights, &weights(&policy));
            assert!(
                difference < 1e-4,
                "{name}, {micro_batch_tokens}: {difference}"
            );
            let (a, b) = (whole.report.loss, cut.report.loss);
            assert!(
                (a - b).abs() < 1e-5,
                "{name}, {micro_batch_tokens}: loss {a} {b}"
            );
        }
    }
}

#[test]
fn the_size_of_a_generation_batch_changes_no_sampled_token() {
    for name in SMOKE {
        let trial = taught(name, &[]);
        let (all, _) = step(&trial, |rl| rl.generation_batch = 1000);
        for generation_batch in [1, 3, 7] {
            let (cut, _) = step(&trial, |rl| rl.generation_batch = generation_batch);
            assert_eq!(all.scored.len(), cut.scored.len());
            for (all, cut) in all.scored.iter().zip(&cut.scored) {
                assert_eq!(all.outcomes, cut.outcomes);
                let turns = |scored: &longhand_trainer::ScoredGroup| {
                    let attempts = scored.group.trajectories.clone();
                    attempts
                        .into_iter()
                        .flat_map(|attempt| attempt.turns)
                        .collect::<Vec<_>>()
                };
                for (all, cut) in turns(all).into_iter().zip(turns(cut)) {
                    assert_eq!(all.prompt, cut.prompt);
                    assert_eq!(all.completion, cut.completion, "{name}, {generation_batch}");
                    let difference =
                        largest_difference(&all.rollout_logprobs, &cut.rollout_logprobs);
                    assert!(
                        difference < 1e-5,
                        "{name}, {generation_batch}: {difference}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_rollout_does_not_depend_on_which_other_problems_are_in_its_batch() {
    let trial = taught("tamtrl", &[]);
    let (four, _) = step(&trial, |_| {});
    let (two, _) = step(&trial, |rl| rl.problems_per_step = 2);
    for (four, two) in four.scored.iter().zip(&two.scored) {
        assert_eq!(four.group.problem_idx, two.group.problem_idx);
        let answers = |scored: &longhand_trainer::ScoredGroup| {
            let attempts = scored.group.trajectories.iter();
            attempts
                .map(|attempt| attempt.answer.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(answers(four), answers(two));
    }
}
