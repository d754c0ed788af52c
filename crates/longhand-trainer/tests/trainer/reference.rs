//! The frozen reference is the policy at the stage's start.

use longhand_policy::Policy;
use longhand_rollout::{Context, Turn};

use crate::fixture::taught;

fn score(policy: &Policy, turn: &Turn) -> Vec<f64> {
    let context = Context {
        group: 0,
        prompt: &turn.prompt,
        completion: &turn.completion,
    };
    let logprobs = policy.score(&[context], 1.0).logprobs;
    logprobs.into_iter().map(f64::from).collect()
}

#[test]
fn the_distance_is_taken_from_the_policy_at_the_stages_start() {
    let trial = taught(
        "memagent",
        &["stage.1.steps=3", "stage.1.optimizer.lr=1e-2"],
    );
    let mut policy = trial.policy.clone();
    let mut learner = trial.learner(&trial.rl);
    for step in 0..3 {
        let before = policy.clone();
        let output = learner.step(&mut policy, step).unwrap();
        let attempts = output
            .scored
            .iter()
            .flat_map(|scored| &scored.group.trajectories);
        let (mut sum, mut n) = (0.0, 0);
        for turn in attempts.flat_map(|attempt| &attempt.turns) {
            for (reference, current) in score(&trial.policy, turn)
                .into_iter()
                .zip(score(&before, turn))
            {
                // k3, as its header gives it: exp(d) - d - 1 with d = reference - current.
                let difference = reference - current;
                sum += difference.exp() - difference - 1.0;
                n += 1;
            }
        }
        let (found, expected) = (output.report.ref_kl.unwrap(), sum / f64::from(n));
        assert!(
            (found - expected).abs() < 1e-6 + 1e-3 * expected,
            "step {step}: {found}, not {expected}"
        );
        assert_eq!(1e-4 < found, 0 < step, "step {step}: {found}");
    }
}

#[test]
fn rows_of_advantage_zero_are_run_for_the_penalty() {
    let trial = taught("memagent", &[]);
    let mut rl = trial.rl.clone();
    rl.overlong = None;
    rl.dynamic_sampling = None;
    rl.problems_per_step = 6;
    rl.group_size = 2;
    let (output, _) = trial.first_step(&rl);
    let turns = output.credited.turns.iter().flatten().flatten();
    let (mut n, mut n_zero) = (0, 0);
    for turn in turns {
        n += 1;
        n_zero += usize::from(turn.advantage == Some(0.0));
    }
    assert!(0 < n_zero, "some groups have equal outcomes");
    assert_eq!(output.report.n_rows, n);
}
