//! Entropy control against literals computed elsewhere, a second implementation and finite
//! differences, under any split into micro-batches.

use longhand_objective::{
    Aggregation, ClipCov, ControlState, Controls, EntropyControl, EntropyTerm, Evaluation,
    Importance, KlCov, Metrics, Objective, PolicyLoss, ScopeTokens, Stare, StareVariant,
    TokenBatch, TokenControl, TokenRule,
};
use proptest::prelude::*;

use crate::batches::{AGGREGATIONS, Batch, Token, contexts};
use crate::naive_controls::{self, Chosen};

const PPO: PolicyLoss = PolicyLoss::PpoClip {
    clip_low: 0.2,
    clip_high: 0.28,
    dual_clip: None,
};

/// PPO's clip alone, and with everything else that an objective has.
fn objectives() -> [Objective; 2] {
    let plain = Objective {
        policy_loss: PPO,
        log_ratio_clamp: None,
        ..Objective::default()
    };
    let mut full = plain;
    full.kl.estimator = longhand_objective::Kl::K2;
    full.kl.coef = 0.1;
    full.importance = Importance::Token;
    [plain, full]
}

/// Every rule, alone and with the 80/20 rule.
fn all_controls() -> Vec<EntropyControl> {
    let stare = |variant| {
        TokenRule::Stare(Stare {
            variant,
            quantile: 0.3,
            amplify: 1.5,
            attenuate: 0.5,
            ..Stare::default()
        })
    };
    let kl_cov = |usual: KlCov| {
        TokenRule::KlCov(KlCov {
            fraction: 0.3,
            coef: 0.7,
            ..usual
        })
    };
    let clip_cov = ClipCov {
        fraction: 0.3,
        low: -0.2,
        high: 1.0,
    };
    let rules = [
        TokenRule::None,
        kl_cov(KlCov::original()),
        kl_cov(KlCov::circa()),
        TokenRule::ClipCov(clip_cov),
        stare(StareVariant::O1),
        stare(StareVariant::O2),
        stare(StareVariant::O3),
        stare(StareVariant::O4),
        stare(StareVariant::C1),
        stare(StareVariant::C2),
    ];
    let with = |top_entropy_fraction: f64| {
        rules.map(|rule| EntropyControl {
            rule,
            top_entropy_fraction,
            ..EntropyControl::default()
        })
    };
    [with(1.0), with(0.4)].concat()
}

/// Entropies that differ from token to token; nothing else about them matters.
fn entropies(batch: &Batch) -> Vec<f64> {
    let of = |logprob: &f64| (7.3 * logprob.abs()).fract() + 0.1;
    batch.logprobs.iter().map(of).collect()
}

const SEED: u64 = 5;
const ENTROPY_COEF: f64 = 0.03;

fn token_controls(control: &EntropyControl, batch: &Batch, entropies: &[f64]) -> Vec<TokenControl> {
    let tokens = ScopeTokens::of(&batch.view(), Some(entropies));
    control
        .token_controls(&PPO, &tokens, &control.initial_state(), SEED)
        .unwrap_or(vec![TokenControl::NEUTRAL; batch.logprobs.len()])
}

fn evaluate(
    objective: &Objective,
    batch: &Batch,
    controls: &[TokenControl],
    entropies: &[f64],
) -> Evaluation {
    let entropy = EntropyTerm {
        coef: ENTROPY_COEF,
        entropies,
    };
    let controls = Controls {
        tokens: Some(controls),
        entropy: Some(entropy),
    };
    objective.evaluate_with(&batch.view(), &controls)
}

fn is_near_a_kink(contexts: &[Vec<Token>]) -> bool {
    let is_near = |token: &Token| (token.logprob - token.old_logprob).abs() < 1e-4;
    contexts.iter().flatten().any(is_near)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn value_and_gradient_are_those_of_the_formulas(contexts in contexts()) {
        prop_assume!(!is_near_a_kink(&contexts));
        const STEP: f64 = 1e-5;
        for aggregation in AGGREGATIONS {
            let batch = Batch::new(&contexts, aggregation);
            let entropies = entropies(&batch);
            for control in all_controls() {
                let controls = token_controls(&control, &batch, &entropies);
                // The random draw cannot be known elsewhere; that it is a draw is checked below.
                let drawn = |idx: usize| controls[idx].factor == 0.0;
                let chosen = Chosen::of(&control, &batch, &entropies, &drawn);
                for objective in objectives() {
                    let found = evaluate(&objective, &batch, &controls, &entropies);
                    let loss = |logprobs: &[f64], entropies: &[f64]| {
                        naive_controls::loss(
                            &objective, &chosen, &batch, aggregation, logprobs, entropies, ENTROPY_COEF,
                        )
                    };
                    let expected = loss(&batch.logprobs, &entropies);
                    prop_assert!(
                        (found.loss - expected).abs() <= 1e-12 * expected.abs().max(1.0),
                        "{:?} {:?}: {} is not {}", control, aggregation, found.loss, expected
                    );
                    let difference = |values: &[f64], idx: usize, of: &dyn Fn(&[f64]) -> f64| {
                        let mut moved = values.to_vec();
                        moved[idx] += STEP;
                        let above = of(&moved);
                        moved[idx] -= 2.0 * STEP;
                        (above - of(&moved)) / (2.0 * STEP)
                    };
                    let entropy_grad = found.entropy_grad.expect("a bonus was given");
                    for (idx, (grad, entropy_grad)) in found.grad.iter().zip(entropy_grad).enumerate() {
                        let of_logprob = difference(&batch.logprobs, idx, &|moved| loss(moved, &entropies));
                        let of_entropy = difference(&entropies, idx, &|moved| loss(&batch.logprobs, moved));
                        prop_assert!(
                            (grad - of_logprob).abs() <= 1e-7 * of_logprob.abs().max(1.0),
                            "{:?} {:?}: {} is not {}", control, aggregation, grad, of_logprob
                        );
                        prop_assert!((entropy_grad - of_entropy).abs() <= 1e-9);
                    }
                }
            }
        }
    }

    #[test]
    fn micro_batches_add_up_when_the_scope_was_seen_whole(
        contexts in contexts(),
        cuts in prop::collection::vec(0_usize..5, 0..4),
    ) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (contexts.len() + 1)).collect();
        cuts.extend([0, contexts.len()]);
        cuts.sort_unstable();
        for control in all_controls() {
            for objective in objectives() {
                let whole = Batch::new(&contexts, Aggregation::TokenMean);
                let entropies = entropies(&whole);
                let controls = token_controls(&control, &whole, &entropies);
                let expected = evaluate(&objective, &whole, &controls, &entropies);
                let mut loss = 0.0;
                let (mut grad, mut entropy_grad) = (Vec::new(), Vec::new());
                let mut metrics = Metrics::default();
                for pair in cuts.windows(2) {
                    let start: usize = whole.lengths[..pair[0]].iter().sum();
                    let end: usize = whole.lengths[..pair[1]].iter().sum();
                    let mut part = Batch::new(&contexts[pair[0]..pair[1]], Aggregation::TokenMean);
                    part.weights = whole.weights[start..end].to_vec();
                    let found = evaluate(&objective, &part, &controls[start..end], &entropies[start..end]);
                    loss += found.loss;
                    grad.extend(found.grad);
                    entropy_grad.extend(found.entropy_grad.expect("a bonus was given"));
                    metrics.merge(&found.metrics);
                }
                prop_assert!((loss - expected.loss).abs() <= 1e-12 * expected.loss.abs().max(1.0));
                prop_assert_eq!(grad, expected.grad);
                prop_assert_eq!(Some(entropy_grad), expected.entropy_grad);
                let counts = |metrics: &Metrics| (metrics.n_selected, metrics.n_entropy_tokens);
                prop_assert_eq!(counts(&metrics), counts(&expected.metrics));
                let sums = |metrics: &Metrics| [
                    metrics.entropy_loss, metrics.entropy_sum, metrics.log_ratio_penalty, metrics.abs_log_ratio_sum,
                ];
                for (found, expected) in sums(&metrics).into_iter().zip(sums(&expected.metrics)) {
                    prop_assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1.0));
                }
            }
        }
    }

    #[test]
    fn selections_are_those_of_a_count_over_all_pairs(contexts in contexts()) {
        let batch = Batch::new(&contexts, Aggregation::TokenMean);
        let entropies = entropies(&batch);
        for control in all_controls() {
            let controls = token_controls(&control, &batch, &entropies);
            let drawn = |idx: usize| controls[idx].factor == 0.0;
            let chosen = Chosen::of(&control, &batch, &entropies, &drawn);
            for (idx, found) in controls.iter().enumerate() {
                prop_assert_eq!(found.factor, chosen.factors[idx], "{:?} token {}", control, idx);
                prop_assert_eq!(found.log_ratio_coef, chosen.penalties[idx], "{:?} token {}", control, idx);
                prop_assert_eq!(found.is_unclipped, chosen.is_unclipped[idx], "{:?} token {}", control, idx);
            }
            if let TokenRule::ClipCov(clip_cov) = &control.rule {
                let candidates = naive_controls::clip_cov_candidates(clip_cov, &batch);
                let without_entropy = EntropyControl { top_entropy_fraction: 1.0, ..control };
                let dropped = token_controls(&without_entropy, &batch, &entropies);
                let dropped: Vec<usize> = (0..dropped.len()).filter(|&idx| dropped[idx].factor == 0.0).collect();
                prop_assert!(dropped.iter().all(|idx| candidates.contains(idx)));
                let n = batch.loss_mask.iter().filter(|is_trained| **is_trained).count();
                let n_dropped = ((n as f64 * clip_cov.fraction).floor() as usize).max(1);
                prop_assert_eq!(dropped.len(), n_dropped.min(candidates.len()));
            }
        }
    }

    #[test]
    fn untrained_tokens_are_never_looked_at(contexts in contexts()) {
        let clean = Batch::new(&contexts, Aggregation::TokenMean);
        let clean_entropies = entropies(&clean);
        let mut dirty = clean.clone();
        let mut dirty_entropies = clean_entropies.clone();
        for idx in (0..clean.loss_mask.len()).filter(|&idx| !clean.loss_mask[idx]) {
            dirty.logprobs[idx] = f64::NAN;
            dirty.old_logprobs[idx] = f64::INFINITY;
            dirty.advantages[idx] = f64::NAN;
            dirty_entropies[idx] = f64::NAN;
        }
        for control in all_controls() {
            let expected = token_controls(&control, &clean, &clean_entropies);
            prop_assert_eq!(&token_controls(&control, &dirty, &dirty_entropies), &expected);
            for objective in objectives() {
                let found = evaluate(&objective, &dirty, &expected, &dirty_entropies);
                prop_assert_eq!(found, evaluate(&objective, &clean, &expected, &clean_entropies));
            }
        }
    }

    #[test]
    fn neutral_controls_change_nothing_to_the_last_bit(contexts in contexts()) {
        let batch = Batch::new(&contexts, Aggregation::SeqMeanTokenMean);
        for objective in crate::batches::all_objectives() {
            let neutral = vec![TokenControl::NEUTRAL; batch.logprobs.len()];
            let controls = Controls { tokens: Some(&neutral), entropy: None };
            let found = objective.evaluate_with(&batch.view(), &controls);
            prop_assert_eq!(found, objective.evaluate(&batch.view()));
        }
    }
}

/// lp = -.1 -2 -.5 -3 -.05 -1, A = +1 x 3, -1 x 3, d = .2 -.1 .05 .3 -.4 .1.
const LOGPROBS: [f64; 6] = [-0.1, -2.0, -0.5, -3.0, -0.05, -1.0];
const OLD_LOGPROBS: [f64; 6] = [-0.3, -1.9, -0.55, -3.3, 0.35, -1.1];

fn evaluate_worked(rule: TokenRule, clip: f64) -> Evaluation {
    let objective = Objective {
        policy_loss: PolicyLoss::PpoClip {
            clip_low: clip,
            clip_high: clip,
            dual_clip: None,
        },
        ..Objective::default()
    };
    let batch = TokenBatch {
        lengths: &[6],
        logprobs: &LOGPROBS,
        old_logprobs: &OLD_LOGPROBS,
        advantages: &[1.0, 1.0, 1.0, -1.0, -1.0, -1.0],
        loss_mask: &[true; 6],
        weights: &[1.0 / 6.0; 6],
        ref_logprobs: None,
        rollout_logprobs: None,
    };
    let control = EntropyControl {
        rule,
        ..EntropyControl::default()
    };
    let tokens = ScopeTokens::of(&batch, None);
    let state = ControlState::default();
    let controls = control.token_controls(&objective.policy_loss, &tokens, &state, 0);
    objective.evaluate_with(
        &batch,
        &Controls {
            tokens: controls.as_deref(),
            entropy: None,
        },
    )
}

#[track_caller]
fn check(found: &Evaluation, loss: f64, grad: [f64; 6]) {
    assert!(
        (found.loss - loss).abs() < 1e-6,
        "{} is not {loss}",
        found.loss
    );
    for (found, expected) in found.grad.iter().zip(grad) {
        let found = 6.0 * found;
        assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
    }
}

#[test]
fn the_worked_tokens_of_kl_cov() {
    // numpy: -A * np.exp(d), plus |d| at the two tokens of largest covariance, 3 and 0; losses
    // -1.021403 -.904837 -1.051271 1.649859 .670320 1.105171. The gradient has sign(d) instead.
    let found = evaluate_worked(
        TokenRule::KlCov(KlCov {
            fraction: 0.34,
            coef: 1.0,
            ..KlCov::original()
        }),
        0.2,
    );
    let grad = [
        -0.221403, -0.904837, -1.051271, 2.349859, 0.670320, 1.105171,
    ];
    check(&found, 0.074640, grad);
    assert_eq!(found.metrics.n_selected, 2);
    // (.2 + .3) / 6, and (.2 + .1 + .05 + .3 + .4 + .1) / 6.
    assert!((found.metrics.log_ratio_penalty - 0.5 / 6.0).abs() < 1e-12);
    assert!((found.metrics.abs_log_ratio_mean() - 1.15 / 6.0).abs() < 1e-12);
}

#[test]
fn the_worked_tokens_of_circa() {
    // numpy: as above with .05 * |d|, the others clipped at .2: losses -1.211403 -.904837 -1.051271
    // 1.364859 .8 1.105171; the fifth is clipped.
    let found = evaluate_worked(
        TokenRule::KlCov(KlCov {
            fraction: 0.34,
            ..KlCov::circa()
        }),
        0.2,
    );
    let grad = [-1.171403, -0.904837, -1.051271, 1.399859, 0.0, 1.105171];
    check(&found, 0.017086, grad);
}

#[test]
fn the_worked_tokens_of_stare() {
    // L+ = {1, 2}, L- = {3, 5}: A = 1: -exp(d) * 1.1; A = -1: exp(d) * .9; the clip at .5 is silent.
    let stare = |variant| {
        TokenRule::Stare(Stare {
            variant,
            quantile: 0.34,
            ..Stare::default()
        })
    };
    let plain = [
        -1.221403, -0.904837, -1.051271, 1.349859, 0.670320, 1.105171,
    ];
    let weighed =
        |factors: [f64; 6]| -> [f64; 6] { std::array::from_fn(|i| factors[i] * plain[i]) };
    let o1 = weighed([1.0, 1.1, 1.1, 1.0, 1.0, 1.0]);
    let c2 = weighed([1.0, 1.1, 1.1, 0.9, 1.0, 0.9]);
    for (variant, losses) in [(StareVariant::O1, o1), (StareVariant::C2, c2)] {
        let found = evaluate_worked(stare(variant), 0.5);
        check(&found, losses.iter().sum::<f64>() / 6.0, losses);
    }
}

#[test]
fn on_policy_tokens_feel_no_penalty() {
    let old_logprobs = &LOGPROBS;
    let batch = TokenBatch {
        lengths: &[6],
        logprobs: &LOGPROBS,
        old_logprobs,
        advantages: &[1.0, 1.0, 1.0, -1.0, -1.0, -1.0],
        loss_mask: &[true; 6],
        weights: &[1.0 / 6.0; 6],
        ref_logprobs: None,
        rollout_logprobs: None,
    };
    let objective = Objective::default();
    for kl_cov in [KlCov::original(), KlCov::circa()] {
        let controls = kl_cov.controls(&ScopeTokens::of(&batch, None));
        let found = objective.evaluate_with(
            &batch,
            &Controls {
                tokens: Some(&controls),
                entropy: None,
            },
        );
        let plain = objective.evaluate(&batch);
        assert_eq!((found.loss, found.grad), (plain.loss, plain.grad));
        assert_eq!(found.metrics.n_selected, 1);
    }
}

#[test]
fn a_dropped_token_says_nothing_even_at_an_infinite_ratio_and_still_counts() {
    let batch = TokenBatch {
        lengths: &[2],
        logprobs: &[-1.0, -1.0],
        old_logprobs: &[-801.0, -1.0],
        advantages: &[-1.0, 1.0],
        loss_mask: &[true; 2],
        weights: &[0.5; 2],
        ref_logprobs: None,
        rollout_logprobs: None,
    };
    let objective = Objective {
        log_ratio_clamp: None,
        policy_loss: PPO,
        ..Objective::default()
    };
    let controls = [TokenControl::DROPPED, TokenControl::NEUTRAL];
    let controls = Controls {
        tokens: Some(&controls),
        entropy: None,
    };
    let found = objective.evaluate_with(&batch, &controls);
    assert_eq!((found.loss, found.grad), (-0.5, vec![0.0, -0.5]));
    assert_eq!((found.metrics.n_tokens, found.metrics.n_selected), (2, 1));
}

#[test]
#[should_panic(expected = "only PPO's clip can be lifted from a token, not that of `cispo`")]
fn lifting_another_loss_s_clip_is_refused() {
    let batch = Batch::new(
        &[vec![Token {
            logprob: -1.0,
            old_logprob: -1.0,
            ref_logprob: -1.0,
            rollout_logprob: -1.0,
            advantage: 1.0,
            is_trained: true,
        }]],
        Aggregation::TokenMean,
    );
    let objective = Objective {
        policy_loss: PolicyLoss::Cispo {
            clip_low: 0.2,
            clip_high: 0.2,
        },
        ..Objective::default()
    };
    let controls = KlCov::original().controls(&ScopeTokens::of(&batch.view(), None));
    let controls = Controls {
        tokens: Some(&controls),
        entropy: None,
    };
    objective.evaluate_with(&batch.view(), &controls);
}

#[test]
#[should_panic(expected = "`entropies` must have one entry per token")]
fn entropies_of_another_length_are_refused() {
    let batch = Batch::new(&[], Aggregation::TokenMean);
    let controls = Controls {
        tokens: None,
        entropy: Some(EntropyTerm {
            coef: 0.1,
            entropies: &[1.0],
        }),
    };
    Objective::default().evaluate_with(&batch.view(), &controls);
}
