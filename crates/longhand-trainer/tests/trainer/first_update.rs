//! On the first update of a batch the policy is the one that sampled it: the ratio is 1.

use crate::fixture::{SMOKE, taught};

#[test]
fn the_ratio_of_the_first_update_is_one_in_every_smoke_run_and_at_other_temperatures() {
    for name in SMOKE {
        let trial = taught(name, &[]);
        for temperature in [0.7, 1.0, 1.5] {
            let mut rl = trial.rl.clone();
            rl.sampling.temperature = temperature;
            let (output, _) = trial.first_step(&rl);
            let report = output.report;
            assert!(0 < report.n_rows, "{name}: something is trained");
            assert!(
                report.first_ratio_deviation < 1e-5,
                "{name} at {temperature}: {report:?}"
            );
            assert!(
                report.max_logprob_difference < 1e-5,
                "{name} at {temperature}: {report:?}"
            );
            if trial.policy.format().is_some() {
                // The engine samples, scores and trains by the same operations in the same order.
                let exact = (report.first_ratio_deviation, report.max_logprob_difference);
                assert_eq!(exact, (0.0, 0.0), "{name} at {temperature}");
            }
        }
    }
}

#[test]
fn it_stays_one_over_many_steps_with_one_update_each() {
    let trial = taught("memagent", &["stage.1.steps=6"]);
    let mut policy = trial.policy.clone();
    let mut learner = trial.learner(&trial.rl);
    for step in 0..6 {
        let report = learner.step(&mut policy, step).unwrap().report;
        assert!(0.0 < report.grad_norm, "{report:?}");
        assert!(report.first_ratio_deviation < 1e-5, "{report:?}");
    }
}

#[test]
fn later_updates_of_a_batch_keep_the_first_ones_anchor() {
    // Four updates on four problems: the last one's ratio tells how far the first three went.
    let trial = taught("objectives", &["stage.1.optimizer.lr=1e-2"]);
    let (output, _) = trial.first_step(&trial.rl);
    assert_eq!(output.report.n_updates, 4);
    assert!(output.report.first_ratio_deviation < 1e-5);
    assert!(1e-4 < output.report.approx_kl, "{:?}", output.report);
}

#[test]
fn rollouts_from_rounded_weights_are_anchored_in_the_policy_and_weighed_by_how_far_they_are_off() {
    let sets = [
        "compute.rollout_weights=int8",
        "stage.1.objective.importance=token",
    ];
    for more in [&[][..], &["stage.1.mini_batches=3"]] {
        let trial = taught("memagent", &[&sets[..], more].concat());
        if trial.policy.format().is_none() {
            return;
        }
        let report = trial.first_step(&trial.rl).0.report;
        assert!(report.first_ratio_deviation < 1e-5, "{report:?}");
        assert!(1e-4 < report.max_logprob_difference, "{report:?}");
        assert!(report.max_logprob_difference < 0.5, "{report:?}");
        assert!((report.importance - 1.0).abs() < 0.05, "{report:?}");
        assert_ne!(report.importance, 1.0);
    }
}
