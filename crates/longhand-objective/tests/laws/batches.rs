//! Random batches away from kinks, and the list of all objectives.

use longhand_objective::{
    Aggregation, Denominators, Importance, Kl, KlPenalty, Objective, PolicyLoss, TokenBatch,
    token_weights,
};
use proptest::prelude::*;

pub(crate) const AGGREGATIONS: [Aggregation; 4] = [
    Aggregation::TokenMean,
    Aggregation::SeqMeanTokenMean,
    Aggregation::SeqMeanTokenSum,
    Aggregation::SeqMeanTokenSumNorm,
];

/// The constant in the denominator of the fourth aggregation.
pub(crate) const NORM_LENGTH: f64 = 7.0;

/// All numbers of one token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    pub(crate) logprob: f64,
    pub(crate) old_logprob: f64,
    pub(crate) ref_logprob: f64,
    pub(crate) rollout_logprob: f64,
    pub(crate) advantage: f64,
    pub(crate) is_trained: bool,
}

/// A batch that owns its numbers, by context.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batch {
    pub(crate) lengths: Vec<usize>,
    pub(crate) logprobs: Vec<f64>,
    pub(crate) old_logprobs: Vec<f64>,
    pub(crate) ref_logprobs: Vec<f64>,
    pub(crate) rollout_logprobs: Vec<f64>,
    pub(crate) advantages: Vec<f64>,
    pub(crate) loss_mask: Vec<bool>,
    pub(crate) weights: Vec<f64>,
}

impl Batch {
    /// Contexts with the weights of an aggregation in which each is a unit.
    pub(crate) fn new(contexts: &[Vec<Token>], aggregation: Aggregation) -> Self {
        let mut batch = Batch::default();
        for context in contexts {
            batch.lengths.push(context.len());
            for token in context {
                batch.logprobs.push(token.logprob);
                batch.old_logprobs.push(token.old_logprob);
                batch.ref_logprobs.push(token.ref_logprob);
                batch.rollout_logprobs.push(token.rollout_logprob);
                batch.advantages.push(token.advantage);
                batch.loss_mask.push(token.is_trained);
            }
        }
        let denominators = Denominators::of(&trained_lengths(contexts), NORM_LENGTH);
        batch.weights = token_weights(aggregation, &batch.lengths, &batch.loss_mask, &denominators);
        batch
    }

    pub(crate) fn view(&self) -> TokenBatch<'_> {
        TokenBatch {
            lengths: &self.lengths,
            logprobs: &self.logprobs,
            old_logprobs: &self.old_logprobs,
            advantages: &self.advantages,
            loss_mask: &self.loss_mask,
            weights: &self.weights,
            ref_logprobs: Some(&self.ref_logprobs),
            rollout_logprobs: Some(&self.rollout_logprobs),
        }
    }
}

/// The number of trained tokens of each context.
pub(crate) fn trained_lengths(contexts: &[Vec<Token>]) -> Vec<usize> {
    contexts
        .iter()
        .map(|context| context.iter().filter(|token| token.is_trained).count())
        .collect()
}

/// Every policy loss x KL x importance x clamp. The bounds differ from each other and the log-ratio
/// clamp lies within the range of the random batches, so that every branch is visited.
pub(crate) fn all_objectives() -> Vec<Objective> {
    let ppo = |dual_clip| PolicyLoss::PpoClip {
        clip_low: 0.2,
        clip_high: 0.28,
        dual_clip,
    };
    let gspo = PolicyLoss::Gspo {
        clip_low: 0.2,
        clip_high: 0.28,
    };
    let cispo = PolicyLoss::Cispo {
        clip_low: 0.2,
        clip_high: 0.28,
    };
    let mut objectives = Vec::new();
    for policy_loss in [ppo(Some(3.0)), ppo(None), gspo, cispo] {
        for (estimator, clamp) in [
            (Kl::None, false),
            (Kl::K1, false),
            (Kl::K2, false),
            (Kl::K3, false),
            (Kl::K3, true),
        ] {
            for importance in [Importance::None, Importance::Token, Importance::Sequence] {
                for log_ratio_clamp in [Some(1.25), None] {
                    objectives.push(Objective {
                        policy_loss,
                        kl: KlPenalty {
                            estimator,
                            coef: 0.1,
                            clamp,
                        },
                        importance,
                        importance_cap: 2.0,
                        log_ratio_clamp,
                    });
                }
            }
        }
    }
    objectives
}

/// One trained or untrained token, its log ratios at least 0.01 from any kink of a token-level loss:
/// ln .8 = -.223, ln 1.28 = .247, ln 3 = 1.099, the clamp at 1.25, and k3 = 10 at -2.6.
pub(crate) fn token() -> impl Strategy<Value = Token> {
    let log_ratio = prop::sample::select(vec![
        -1.4, -0.9, -0.4, -0.26, -0.1, 0.0, 0.1, 0.29, 0.5, 1.0, 1.17, 1.4,
    ]);
    let ref_log_ratio = prop::sample::select(vec![-3.0, -1.0, -0.3, 0.0, 0.2, 0.8, 2.0]);
    let advantage = prop::sample::select(vec![-2.0, -1.0, -0.3, 0.0, 0.5, 1.0, 1.7]);
    (
        (-4.0_f64..-0.1, log_ratio, ref_log_ratio, -1.0_f64..1.5),
        (-0.02_f64..0.02, -0.02_f64..0.02),
        advantage,
        prop::bool::weighted(0.8),
    )
        .prop_map(|(numbers, jitters, advantage, is_trained)| {
            let (logprob, log_ratio, ref_log_ratio, rollout_log_ratio) = numbers;
            let old_logprob = logprob - log_ratio - jitters.0;
            Token {
                logprob,
                old_logprob,
                ref_logprob: logprob - ref_log_ratio - jitters.1,
                rollout_logprob: old_logprob - rollout_log_ratio,
                advantage,
                is_trained,
            }
        })
}

/// A few contexts, empty and wholly untrained ones among them.
pub(crate) fn contexts() -> impl Strategy<Value = Vec<Vec<Token>>> {
    prop::collection::vec(prop::collection::vec(token(), 0..6), 1..5)
}
