//! Zero signal is zero, and what is not finite stops the run.

use longhand_config::Rl;
use longhand_objective::Kl;
use longhand_policy::Policy;
use longhand_trainer::{TrainError, WarmStarter, rl::Learner};

use crate::fixture::{taught, untaught, warm_start, weights};

/// An untaught policy whose every attempt fails.
fn all_fail(name: &str, change: impl FnOnce(&mut Rl)) {
    let trial = untaught(name, &["reward.checker=exact-match"]);
    let mut rl = trial.rl.clone();
    rl.objective.objective.kl.estimator = Kl::None;
    rl.dynamic_sampling = None;
    rl.overlong = None;
    rl.optimizer.weight_decay = 0.5;
    change(&mut rl);
    let (output, policy) = trial.first_step(&rl);
    let report = output.report;
    assert_eq!(report.reward, 0.0, "{name}: every attempt fails");
    assert_eq!(
        (report.grad_norm, report.loss, report.live_groups),
        (0.0, 0.0, 0.0)
    );
    assert_eq!((report.n_rows, report.live_rows), (0, 0.0));
    assert!(
        0 < report.n_trained_tokens,
        "tokens of advantage zero are counted"
    );
    let advantages = output
        .credited
        .turns
        .iter()
        .flatten()
        .flatten()
        .map(|turn| turn.advantage);
    assert!(
        advantages
            .into_iter()
            .all(|advantage| advantage == Some(0.0))
    );
    assert_eq!(
        weights(&policy),
        weights(&trial.policy),
        "{name}: not even weight decay moves it"
    );
}

#[test]
fn groups_of_equal_outcomes_move_nothing() {
    for name in ["tamtrl", "memagent", "objectives"] {
        all_fail(name, |_| {});
    }
}

#[test]
fn skipping_equal_outcomes_leaves_groups_that_all_succeed_alone() {
    let trial = taught(
        "tamtrl",
        &[
            "stage.1.skip_equal_outcomes=true",
            "stage.1.problems_per_step=16",
        ],
    );
    let (output, _) = trial.first_step(&trial.rl);
    let mut n_equal = 0;
    for (scored, attempts) in output.scored.iter().zip(&output.credited.turns) {
        let is_equal = scored
            .outcomes
            .iter()
            .all(|outcome| *outcome == scored.outcomes[0]);
        let is_zero = attempts
            .iter()
            .flatten()
            .all(|turn| turn.advantage == Some(0.0));
        n_equal += usize::from(is_equal);
        assert_eq!(is_equal, is_zero, "{:?}", scored.outcomes);
    }
    assert!(0 < n_equal && n_equal < 16, "{n_equal}");
}

#[test]
fn dynamic_sampling_that_finds_nothing_live_ends_and_trains_nothing() {
    let trial = untaught("memagent", &["reward.checker=exact-match"]);
    let mut rl = trial.rl.clone();
    rl.overlong = None;
    let (output, policy) = trial.first_step(&rl);
    let report = output.report;
    assert_eq!(
        (report.n_groups, report.n_trained_groups, report.n_updates),
        (12, 0, 0)
    );
    assert_eq!(weights(&policy), weights(&trial.policy));
}

#[test]
fn dynamic_sampling_keeps_live_groups_only_and_fills_the_batch() {
    let trial = taught(
        "memagent",
        &[
            "stage.1.problems_per_step=6",
            "stage.1.group_size=2",
            "stage.1.dynamic_sampling.max_generation_batches=10",
        ],
    );
    let mut rl = trial.rl.clone();
    rl.overlong = None;
    let (output, _) = trial.first_step(&rl);
    assert_eq!(output.scored.len(), 6);
    for scored in &output.scored {
        assert!(
            scored
                .rewards
                .iter()
                .any(|reward| *reward != scored.rewards[0]),
            "{:?}",
            scored.rewards
        );
    }
    assert!(
        6 < output.report.n_groups,
        "some groups were left out: {:?}",
        output.report
    );
    assert!(output.report.live_groups < 1.0);
    let mut problems: Vec<u64> = output
        .scored
        .iter()
        .map(|scored| scored.group.problem_idx)
        .collect();
    problems.dedup();
    assert_eq!(problems.len(), 6, "no problem twice");
}

#[test]
fn the_overlong_penalty_is_part_of_the_reward_and_not_of_the_outcome() {
    let trial = taught("memagent", &[]);
    let (output, _) = trial.first_step(&trial.rl);
    let mut n_penalised = 0;
    for scored in &output.scored {
        for (idx, trajectory) in scored.group.trajectories.iter().enumerate() {
            // Soft punishment between 14 - 6 and 14 sampled tokens (DAPO, Eq. 13).
            let over = trajectory.n_sampled().saturating_sub(14 - 6) as f64 / 6.0;
            let expected = scored.outcomes[idx] - over.min(1.0);
            assert!((scored.rewards[idx] - expected).abs() < 1e-12);
            n_penalised += usize::from(0.0 < over);
        }
    }
    assert!(0 < n_penalised);
}

fn step(learner: &mut Learner<'_>, policy: &mut Policy, step: usize) -> TrainError {
    learner.step(policy, step).expect_err("it cannot go on")
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_before_anything_is_moved_by_it() {
    // The first of two updates throws the weights away; the second one sees it.
    let trial = taught(
        "tamtrl",
        &["stage.1.optimizer.lr=1e30", "stage.1.problems_per_step=16"],
    );
    let mut policy = trial.policy.clone();
    let error = step(&mut trial.learner(&trial.rl), &mut policy, 0);
    let TrainError::NotFinite(found) = error else {
        panic!("{error}");
    };
    assert_eq!(
        (&found.stage[..], found.step, &found.value[..]),
        ("rl", 0, "NaN")
    );
    let place = found.token.as_ref().unwrap();
    assert!(place.problem_id.is_some() && place.token.is_some());
    assert!(
        found
            .to_string()
            .ends_with("is NaN at rl step 0, with the policy after 40 updates"),
        "{found}"
    );
}

#[test]
fn weights_that_are_not_finite_are_found_while_sampling() {
    let trial = taught("memagent", &[]);
    // Finite, but their products are not.
    let mut weights = trial.policy.weights().into_owned();
    for list in weights.values_mut() {
        list.fill(f32::MAX);
    }
    let mut policy = trial.policy.with_weights(weights);
    let error = step(&mut trial.learner(&trial.rl), &mut policy, 0).to_string();
    assert!(
        error.starts_with("the log-probability of a sampled token (problem 0 `"),
        "{error}"
    );
}

#[test]
fn a_warm_start_stops_on_a_weight_that_is_not_finite() {
    let trial = untaught(
        "tamtrl",
        &[
            "stage.0.optimizer.lr=1e38",
            "stage.0.optimizer.warmup_steps=0",
        ],
    );
    let mut policy = trial.policy.clone();
    let mut starter = WarmStarter::new(warm_start(&trial.experiment), &trial.bench, 1, 0);
    let error = starter.step(&mut policy, 0).expect_err("it cannot go on");
    let TrainError::NotFinite(found) = error else {
        panic!("{error}");
    };
    assert_eq!((&found.stage[..], found.step), ("warm-start", 0));
    assert!(
        found
            .to_string()
            .starts_with("after the update, the weight `model."),
        "{found}"
    );
}
