//! Empty masks, advantages of zero, first updates, missing inputs, settings that make no sense.

use longhand_objective::{
    Aggregation, Importance, Kl, KlPenalty, Metrics, Objective, ObjectiveError, PolicyLoss,
    TokenBatch,
};

use crate::batches::{AGGREGATIONS, Batch, Token, all_objectives};

const TOKEN: Token = Token {
    logprob: -1.0,
    old_logprob: -1.1,
    ref_logprob: -0.6,
    rollout_logprob: -1.5,
    advantage: 1.0,
    is_trained: true,
};

#[test]
fn an_empty_mask_trains_nothing_and_is_not_nan() {
    let untrained = Token {
        logprob: f64::NAN,
        is_trained: false,
        ..TOKEN
    };
    for contexts in [
        vec![],
        vec![vec![]],
        vec![vec![untrained; 2], vec![], vec![untrained]],
    ] {
        for aggregation in AGGREGATIONS {
            let batch = Batch::new(&contexts, aggregation);
            for objective in all_objectives() {
                let found = objective.evaluate(&batch.view());
                assert_eq!(found.loss, 0.0);
                assert!(found.grad.iter().all(|&grad| grad == 0.0));
                assert_eq!(found.grad.len(), contexts.concat().len());
                assert_eq!(found.metrics, Metrics::default());
            }
        }
    }
}

#[test]
fn advantages_of_zero_leave_only_the_penalty() {
    // A log ratio of 800 overflows `exp`, and infinity times zero must not become NaN.
    let contexts = vec![vec![
        Token {
            advantage: 0.0,
            ..TOKEN
        },
        Token {
            advantage: 0.0,
            old_logprob: -801.0,
            rollout_logprob: -801.0,
            ..TOKEN
        },
    ]];
    let batch = Batch::new(&contexts, Aggregation::TokenMean);
    for objective in all_objectives() {
        let found = objective.evaluate(&batch.view());
        assert_eq!(found.metrics.policy_loss, 0.0, "{objective:?}");
        if objective.kl.estimator == Kl::None {
            assert_eq!(found.grad, [0.0; 2], "{objective:?}");
        } else {
            // The penalty knows neither ratio nor importance: x = -.4 at both tokens.
            let slope = match objective.kl.estimator {
                Kl::None => unreachable!("handled above"),
                Kl::K1 => 1.0,
                Kl::K2 => -0.4,
                Kl::K3 => 1.0 - 0.4_f64.exp(),
            };
            for grad in found.grad {
                assert!((grad - 0.5 * 0.1 * slope).abs() < 1e-15, "{objective:?}");
            }
        }
    }
}

#[test]
fn on_the_first_update_the_ratio_is_one_and_the_gradient_is_minus_the_advantage() {
    let token = |logprob: f64, advantage: f64| Token {
        logprob,
        old_logprob: logprob,
        rollout_logprob: logprob,
        advantage,
        ..TOKEN
    };
    let contexts = vec![
        vec![token(-0.3, 1.5), token(-2.0, 1.5)],
        vec![token(-1.0, -0.5)],
    ];
    for aggregation in AGGREGATIONS {
        let batch = Batch::new(&contexts, aggregation);
        for objective in all_objectives() {
            if objective.kl.estimator != Kl::None {
                continue;
            }
            let found = objective.evaluate(&batch.view());
            for idx in 0..3 {
                assert_eq!(found.grad[idx], -batch.weights[idx] * batch.advantages[idx]);
            }
            let metrics = found.metrics;
            assert_eq!((metrics.approx_kl(), metrics.ratio_mean()), (0.0, 1.0));
            assert_eq!(metrics.ratio_max_deviation, 0.0);
            assert_eq!(
                (metrics.importance_mean(), metrics.rollout_kl()),
                (1.0, Some(0.0))
            );
            let clipped = metrics.n_clipped_low + metrics.n_clipped_high + metrics.n_clipped_dual;
            assert_eq!(clipped + metrics.n_log_ratio_clamped, 0);
        }
    }
}

/// One token, with only what every objective needs.
const BARE: TokenBatch = TokenBatch {
    lengths: &[1],
    logprobs: &[-1.0],
    old_logprobs: &[-1.0],
    advantages: &[1.0],
    loss_mask: &[true],
    weights: &[1.0],
    ref_logprobs: None,
    rollout_logprobs: None,
};

#[test]
fn without_reference_and_record_their_metrics_are_absent() {
    let objective = Objective::default();
    assert!(!objective.needs_reference() && !objective.needs_rollout_logprobs());
    let metrics = objective.evaluate(&BARE).metrics;
    assert_eq!((metrics.ref_kl(), metrics.rollout_kl()), (None, None));
}

#[test]
#[should_panic(expected = "a KL penalty needs `ref_logprobs`")]
fn a_penalty_without_reference_is_refused() {
    let objective = Objective {
        kl: KlPenalty {
            estimator: Kl::K3,
            ..KlPenalty::default()
        },
        ..Objective::default()
    };
    assert!(objective.needs_reference());
    objective.evaluate(&BARE);
}

#[test]
#[should_panic(expected = "importance sampling needs `rollout_logprobs`")]
fn importance_without_the_samplers_record_is_refused() {
    let objective = Objective {
        importance: Importance::Token,
        ..Objective::default()
    };
    assert!(objective.needs_rollout_logprobs());
    objective.evaluate(&BARE);
}

#[test]
#[should_panic(expected = "`advantages` must have one entry per token")]
fn slices_of_unequal_length_are_refused() {
    let batch = TokenBatch {
        advantages: &[1.0, 2.0],
        ..BARE
    };
    Objective::default().evaluate(&batch);
}

#[test]
fn settings_that_make_no_sense_are_refused_by_name() {
    let default = Objective::default;
    assert_eq!(default().check(), Ok(()));
    let coef = Objective {
        kl: KlPenalty {
            coef: f64::NAN,
            ..KlPenalty::default()
        },
        ..default()
    };
    let cap = Objective {
        importance_cap: 0.0,
        ..default()
    };
    let clamp = Objective {
        log_ratio_clamp: Some(-20.0),
        ..default()
    };
    let bound = Objective {
        policy_loss: PolicyLoss::Gspo {
            clip_low: -3e-4,
            clip_high: 4e-4,
        },
        ..default()
    };
    let named = [
        (coef, "kl.coef"),
        (cap, "importance_cap"),
        (clamp, "log_ratio_clamp"),
        (bound, "clip_low"),
    ];
    for (objective, name) in named {
        match objective.check() {
            Err(
                ObjectiveError::Negative { option, .. }
                | ObjectiveError::NotPositive { option, .. },
            ) => assert_eq!(option, name),
            other => panic!("{name}: {other:?}"),
        }
    }
}
