//! Literals computed elsewhere: whole objectives on one small batch.
//!
//! Origin: mpmath at 40 digits. Losses as nested `max` and `min` of `exp(lp - old)`, gradients by
//! `mpmath.diff` of the loss in each log-probability, with GSPO's `s = exp(mean(lp0 - old) + lp -
//! lp0)` and CISPO's `clip(exp(lp0 - old))` held at `lp0`. Log ratios `d = .1 -.2 .5 | .3`, to the
//! reference `.5 -.5 0 | 0`, old to sampler `.1 -.2 .9 | -.1`; the fourth token is untrained.

use longhand_objective::{
    Aggregation, Denominators, Evaluation, Importance, Kl, KlPenalty, Objective, PolicyLoss,
    TokenBatch, token_weights,
};

const LENGTHS: [usize; 2] = [3, 2];
const LOSS_MASK: [bool; 5] = [true, true, true, false, true];

fn evaluate(
    policy_loss: PolicyLoss,
    estimator: Kl,
    importance: Importance,
    aggregation: Aggregation,
) -> Evaluation {
    let objective = Objective {
        policy_loss,
        kl: KlPenalty {
            estimator,
            coef: 0.1,
            clamp: false,
        },
        importance,
        ..Objective::default()
    };
    let denominators = Denominators::of(&[3, 1], 5.0);
    objective.evaluate(&TokenBatch {
        lengths: &LENGTHS,
        logprobs: &[-0.9, -1.4, -0.3, -2.0, -0.7],
        old_logprobs: &[-1.0, -1.2, -0.8, -2.0, -1.0],
        advantages: &[1.0, -1.0, 1.0, 0.5, -2.0],
        loss_mask: &LOSS_MASK,
        weights: &token_weights(aggregation, &LENGTHS, &LOSS_MASK, &denominators),
        ref_logprobs: Some(&[-1.4, -0.9, -0.3, -1.5, -0.7]),
        rollout_logprobs: Some(&[-1.1, -1.0, -1.7, -2.0, -0.9]),
    })
}

#[track_caller]
fn check(found: &Evaluation, loss: f64, grad: [f64; 5]) {
    assert!(
        (found.loss - loss).abs() < 1e-13,
        "{} is not {loss}",
        found.loss
    );
    for (found, expected) in found.grad.iter().zip(grad) {
        assert!(
            (found - expected).abs() < 1e-13,
            "{found} is not {expected}"
        );
    }
    assert_eq!(found.grad[3], 0.0);
}

#[test]
fn ppo_clip_with_k3_and_token_importance_as_a_token_mean() {
    let ppo = PolicyLoss::PpoClip {
        clip_low: 0.2,
        clip_high: 0.28,
        dual_clip: Some(3.0),
    };
    let found = evaluate(ppo, Kl::K3, Importance::Token, Aggregation::TokenMean);
    let grad = [
        -0.2955139560328583,
        0.1513619797414066,
        0.0,
        0.0,
        0.6107013790800849,
    ];
    check(&found, -0.1606880006907287, grad);

    // By hand: of four tokens, d = .5 with A = 1 is above 1.28, and exp(.9) is above the cap.
    let metrics = found.metrics;
    assert_eq!(metrics.clip_high_fraction(), 0.25);
    assert_eq!(
        (metrics.clip_low_fraction(), metrics.clip_dual_fraction()),
        (0.0, 0.0)
    );
    assert_eq!(metrics.importance_capped_fraction(), 0.25);
    // sum(exp(d) - 1 - d) / 4 for d = .1, -.2, .5, .3
    assert!(
        (metrics.approx_kl() - 0.055620437).abs() < 1e-8,
        "{}",
        metrics.approx_kl()
    );
    // (.106531 + .148721 + 0 + 0) / 4
    assert!((metrics.ref_kl().unwrap() - 0.063813).abs() < 1e-6);
    // sum(exp(x) - 1 - x) / 4 for x = .1, -.2, .9, -.1, in Python
    assert!(
        (metrics.rollout_kl().unwrap() - 0.147086).abs() < 1e-6,
        "{:?}",
        metrics.rollout_kl()
    );
    // (exp(.1) + exp(-.2) + 2 + exp(-.1)) / 4
    assert!(
        (metrics.importance_mean() - 1.207185).abs() < 1e-6,
        "{}",
        metrics.importance_mean()
    );
    assert!((metrics.ratio_max_deviation - 0.648721).abs() < 1e-6);
}

#[test]
fn gspo_with_k2_and_sequence_importance_as_a_mean_of_means() {
    let gspo = PolicyLoss::Gspo {
        clip_low: 0.2,
        clip_high: 0.28,
    };
    assert_eq!(gspo.usual_aggregation(), Aggregation::SeqMeanTokenMean);
    let found = evaluate(gspo, Kl::K2, Importance::Sequence, gspo.usual_aggregation());
    let grad = [
        -0.3725436039319075,
        0.3725436039319075,
        -0.3808769372652409,
        0.0,
        1.22140275816017,
    ];
    check(&found, 0.8446924875615956, grad);
}

#[test]
fn cispo_with_k1_and_token_importance_over_a_constant_length() {
    let cispo = PolicyLoss::Cispo {
        clip_low: 0.2,
        clip_high: 0.28,
    };
    let found = evaluate(
        cispo,
        Kl::K1,
        Importance::Token,
        Aggregation::SeqMeanTokenSumNorm,
    );
    let grad = [
        -0.224280551632034,
        0.1540640092071279,
        -0.492,
        0.0,
        0.4832767580344113,
    ];
    check(&found, -0.1385308470452363, grad);
    assert_eq!(found.metrics.clip_high_fraction(), 0.5);
}
