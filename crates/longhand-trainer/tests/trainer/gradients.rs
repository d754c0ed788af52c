//! What the gradient falls on, how it is clipped, and what an update leaves alone.

use longhand_config::{Optimizer, Rl, Unit};
use longhand_objective::Aggregation;
use longhand_policy::{Policy, TokenGradient};
use longhand_rollout::Context;
use longhand_trainer::{Update, Updater};

use crate::fixture::{largest_difference, plain_gradient, taught, weights};

fn context<'a>(given: &'a [u32], sampled: &'a [u32]) -> Context<'a> {
    Context {
        group: 0,
        prompt: given,
        completion: sampled,
    }
}

/// One update by `Σ logprob · grad` over one context, and the policy after it.
fn updated(
    policy: &Policy,
    optimizer: &Optimizer,
    context: Context<'_>,
    grad: &[f64],
) -> (Update, Policy) {
    let mut policy = policy.clone();
    let mut updater = Updater::new(optimizer, 1);
    let pass = policy.forward(&[context], 1.0, updater.take_buffers(), 0);
    assert_eq!(
        pass.scores().logprobs.len(),
        grad.len(),
        "one log-probability a sampled token"
    );
    updater.accumulate(&policy, pass, TokenGradient::of_logprobs(grad));
    let update = updater.update(&mut policy);
    (update, policy)
}

fn plain(rl: &Rl) -> Optimizer {
    let mut optimizer = rl.optimizer;
    plain_gradient(&mut optimizer);
    optimizer
}

#[test]
fn given_tokens_get_no_gradient() {
    // The same ten tokens; the middle three are given once, and sampled with derivative 0 once.
    let trial = taught("tamtrl", &[]);
    let ids: Vec<u32> = (3..13).collect();
    let optimizer = plain(&trial.rl);
    let (_, given) = updated(
        &trial.policy,
        &optimizer,
        context(&ids[..7], &ids[7..]),
        &[0.5, -1.0, 2.0],
    );
    let derivatives = [0.0, 0.0, 0.0, 0.5, -1.0, 2.0];
    let (_, masked) = updated(
        &trial.policy,
        &optimizer,
        context(&ids[..4], &ids[4..]),
        &derivatives,
    );
    let everything = [1.0, 1.0, 1.0, 0.5, -1.0, 2.0];
    let (_, trained) = updated(
        &trial.policy,
        &optimizer,
        context(&ids[..4], &ids[4..]),
        &everything,
    );

    let (given, masked, trained) = (weights(&given), weights(&masked), weights(&trained));
    assert!(
        1e-2 < largest_difference(&weights(&trial.policy), &given),
        "there is a gradient"
    );
    assert!(largest_difference(&given, &masked) < 1e-5);
    assert!(
        1e-2 < largest_difference(&given, &trained),
        "training them would show"
    );
}

#[test]
fn the_norm_is_that_of_the_gradient_and_the_clip_scales_it_down() {
    let trial = taught("tamtrl", &[]);
    let ids: Vec<u32> = (3..13).collect();
    let run = |max_grad_norm: f64| {
        let optimizer = Optimizer {
            max_grad_norm,
            ..plain(&trial.rl)
        };
        let (update, policy) = updated(
            &trial.policy,
            &optimizer,
            context(&ids[..7], &ids[7..]),
            &[0.5, -1.0, 2.0],
        );
        let (before, after) = (weights(&trial.policy), weights(&policy));
        let moved = before
            .iter()
            .zip(&after)
            .map(|(a, b)| f64::from(a - b).powi(2))
            .sum::<f64>()
            .sqrt();
        (update, moved)
    };
    let (free, moved) = run(1e9);
    assert!(0.1 < free.grad_norm, "{free:?}");
    assert!(
        (moved / free.grad_norm - 1.0).abs() < 1e-2,
        "{free:?}, moved {moved}"
    );
    let (clipped, moved) = run(0.05);
    assert_eq!(
        clipped.grad_norm, free.grad_norm,
        "the norm before the clip is reported"
    );
    assert!((moved / 0.05 - 1.0).abs() < 1e-2, "moved {moved}");
}

#[test]
fn the_first_update_moves_a_weight_by_the_learning_rate_against_its_gradient() {
    // AdamW with its usual eps: the first step is lr · sign(g) wherever |g| is far above eps.
    let trial = taught("tamtrl", &[]);
    let ids: Vec<u32> = (3..13).collect();
    let context = || context(&ids[..7], &ids[7..]);
    let (_, by_gradient) = updated(&trial.policy, &plain(&trial.rl), context(), &[1.0; 3]);
    let adamw = Optimizer {
        lr: 0.01,
        eps: 1e-8,
        ..plain(&trial.rl)
    };
    let (update, by_adamw) = updated(&trial.policy, &adamw, context(), &[1.0; 3]);
    assert_eq!(update.lr, 0.01);
    let before = weights(&trial.policy);
    let mut n_checked = 0;
    for ((before, by_gradient), by_adamw) in before
        .iter()
        .zip(weights(&by_gradient))
        .zip(weights(&by_adamw))
    {
        let gradient = before - by_gradient;
        if 1e-3 < gradient.abs() {
            n_checked += 1;
            let moved = before - by_adamw;
            assert!(
                (moved - 0.01 * gradient.signum()).abs() < 1e-4,
                "{gradient} moved {moved}"
            );
        }
    }
    assert!(100 < n_checked, "{n_checked}");
}

#[test]
fn an_update_without_a_gradient_moves_nothing_and_the_schedule_goes_on() {
    let trial = taught("tamtrl", &[]);
    let optimizer = Optimizer {
        lr: 8.0,
        warmup_steps: 2,
        weight_decay: 0.5,
        ..trial.rl.optimizer
    };
    let mut policy = trial.policy.clone();
    let mut updater = Updater::new(&optimizer, 4);
    assert_eq!(
        updater.update(&mut policy),
        Update {
            lr: 4.0,
            grad_norm: 0.0
        }
    );
    assert_eq!(
        updater.update(&mut policy),
        Update {
            lr: 8.0,
            grad_norm: 0.0
        }
    );
    assert_eq!(weights(&policy), weights(&trial.policy));
}

#[test]
fn the_loss_of_the_first_update_is_minus_the_weighted_sum_of_advantages() {
    // Where every ratio is 1, a token's clipped loss is minus its advantage; the weights are written out
    // here from the names of the aggregations.
    let trial = taught("tamtrl", &[]);
    for unit in [Unit::Context, Unit::Trajectory] {
        for aggregation in [
            Aggregation::TokenMean,
            Aggregation::SeqMeanTokenMean,
            Aggregation::SeqMeanTokenSum,
            Aggregation::SeqMeanTokenSumNorm,
        ] {
            let mut rl = trial.rl.clone();
            rl.mini_batches = 1;
            rl.micro_batch_tokens = 100;
            rl.objective.aggregation = aggregation;
            rl.objective.unit = unit;
            rl.objective.norm_length = Some(9.0);
            let (output, _) = trial.first_step(&rl);

            // [unit][turn] of sampled tokens and advantage.
            let mut units: Vec<Vec<(f64, f64)>> = Vec::new();
            for (scored, attempts) in output.scored.iter().zip(&output.credited.turns) {
                for (trajectory, credits) in scored.group.trajectories.iter().zip(attempts) {
                    let lengths = trajectory
                        .turns
                        .iter()
                        .map(|turn| turn.completion.len() as f64);
                    let advantages = credits.iter().map(|credit| credit.advantage.unwrap());
                    let turns: Vec<(f64, f64)> = lengths.zip(advantages).collect();
                    match unit {
                        Unit::Context => units.extend(turns.into_iter().map(|turn| vec![turn])),
                        Unit::Trajectory => units.push(turns),
                    }
                }
            }
            let n_tokens: f64 = units.iter().flatten().map(|(n, _)| n).sum();
            let n_units = units.len() as f64;
            let of_unit = |turns: &Vec<(f64, f64)>| {
                let n: f64 = turns.iter().map(|(n, _)| n).sum();
                let sum: f64 = turns.iter().map(|(n, advantage)| n * advantage).sum();
                match aggregation {
                    Aggregation::TokenMean => sum / n_tokens,
                    Aggregation::SeqMeanTokenMean => sum / n / n_units,
                    Aggregation::SeqMeanTokenSum => sum / n_units,
                    Aggregation::SeqMeanTokenSumNorm => sum / 9.0,
                }
            };
            let expected = -units.iter().map(of_unit).sum::<f64>();
            let found = output.report.loss;
            assert!(
                (found - expected).abs() < 1e-5,
                "{aggregation:?} {unit:?}: {found}, not {expected}"
            );
            // The pool's mean over turns is 0, and that aggregation takes just this mean.
            let cancels = (aggregation, unit) == (Aggregation::SeqMeanTokenMean, Unit::Context);
            assert_eq!(
                1e-3 < expected.abs(),
                !cancels,
                "{aggregation:?} {unit:?}: {expected}"
            );
        }
    }
}
