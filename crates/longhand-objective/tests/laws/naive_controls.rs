//! A second implementation of entropy control: ranks counted over all pairs, nested means, no
//! derivatives, no controls per token.

use longhand_objective::{
    Aggregation, ClipCov, EntropyControl, Importance, Kl, KlCovForm, Objective, PolicyLoss,
    StareVariant, TokenRule,
};

use crate::batches::{Batch, NORM_LENGTH};

/// What was chosen, by token.
pub(crate) struct Chosen {
    pub(crate) factors: Vec<f64>,
    pub(crate) penalties: Vec<f64>,
    pub(crate) is_unclipped: Vec<bool>,
}

/// How many of `peers` stand before `idx` in falling order of `key`, equal ones by place.
fn rank(idx: usize, peers: &[usize], key: &dyn Fn(usize) -> f64) -> usize {
    let is_before =
        |&&other: &&usize| key(other) > key(idx) || (key(other) == key(idx) && other < idx);
    peers.iter().filter(is_before).count()
}

fn trained(batch: &Batch) -> Vec<usize> {
    (0..batch.logprobs.len())
        .filter(|&idx| batch.loss_mask[idx])
        .collect()
}

/// By the expansion of the product, not by deviations.
fn covariance(batch: &Batch, idx: usize) -> f64 {
    let trained = trained(batch);
    let mean =
        |values: &[f64]| trained.iter().map(|&idx| values[idx]).sum::<f64>() / trained.len() as f64;
    let (logprob, advantage) = (mean(&batch.logprobs), mean(&batch.advantages));
    // Rounded, so that equal tokens are equal however they are summed.
    let exact = batch.logprobs[idx] * batch.advantages[idx]
        - logprob * batch.advantages[idx]
        - batch.logprobs[idx] * advantage
        + logprob * advantage;
    (exact * 1e10).round() / 1e10
}

/// Trained, between the bounds, and left alone by PPO's clip.
pub(crate) fn clip_cov_candidates(clip_cov: &ClipCov, batch: &Batch) -> Vec<usize> {
    let is_candidate = |&idx: &usize| {
        let covariance = covariance(batch, idx);
        let ratio = (batch.logprobs[idx] - batch.old_logprobs[idx]).exp();
        let advantage = batch.advantages[idx];
        let is_clipped = -advantage * ratio.clamp(0.8, 1.28) > -advantage * ratio;
        clip_cov.low < covariance && covariance < clip_cov.high && !is_clipped
    };
    trained(batch).into_iter().filter(is_candidate).collect()
}

impl Chosen {
    /// `drawn` says which tokens Clip-Cov drew.
    pub(crate) fn of(
        control: &EntropyControl,
        batch: &Batch,
        entropies: &[f64],
        drawn: &dyn Fn(usize) -> bool,
    ) -> Self {
        let n_tokens = batch.logprobs.len();
        let trained = trained(batch);
        let mut chosen = Chosen {
            factors: vec![1.0; n_tokens],
            penalties: vec![0.0; n_tokens],
            is_unclipped: vec![false; n_tokens],
        };
        for &idx in &trained {
            match &control.rule {
                TokenRule::None => {}
                TokenRule::KlCov(kl_cov) => {
                    let n = ((trained.len() as f64 * kl_cov.fraction).floor() as usize).max(1);
                    let is_penalised = rank(idx, &trained, &|idx| covariance(batch, idx)) < n;
                    if is_penalised {
                        chosen.penalties[idx] = kl_cov.coef;
                    }
                    let is_original = kl_cov.form == KlCovForm::WithoutClip;
                    chosen.is_unclipped[idx] = is_penalised || is_original;
                }
                TokenRule::ClipCov(_) => {
                    if drawn(idx) {
                        chosen.factors[idx] = 0.0;
                    }
                }
                TokenRule::Stare(stare) => {
                    let advantage = batch.advantages[idx];
                    let peers: Vec<usize> = trained
                        .iter()
                        .copied()
                        .filter(|&other| batch.advantages[other] * advantage > 0.0)
                        .collect();
                    let n =
                        ((peers.len() as f64 * stare.quantile + 0.999_999).floor() as usize).max(1);
                    let is_surprising = rank(idx, &peers, &|idx| -batch.logprobs[idx]) < n;
                    let is_expected = rank(idx, &peers, &|idx| batch.logprobs[idx]) < n;
                    let factor = |is_set, factor: f64| if is_set { factor } else { 1.0 };
                    let (is_good, is_bad) = (advantage > 0.0, advantage < 0.0);
                    use StareVariant::{C1, C2, O1, O2, O3, O4};
                    let amplified = match stare.variant {
                        O1 | C2 => is_good && is_surprising,
                        O3 => is_bad && is_expected,
                        C1 => (is_good && is_surprising) || (is_bad && is_expected),
                        O2 | O4 => false,
                    };
                    let attenuated = match stare.variant {
                        O2 => is_good && is_expected,
                        O4 | C2 => is_bad && is_surprising,
                        O1 | O3 | C1 => false,
                    };
                    chosen.factors[idx] =
                        factor(amplified, stare.amplify) * factor(attenuated, stare.attenuate);
                }
            }
            // Kept by a count: a token is at least the quantile when as many others as stand below
            // the quantile's place are not above it.
            let is_not_above = |&&other: &&usize| entropies[other] <= entropies[idx];
            let n_others = trained.iter().filter(is_not_above).count() - 1;
            let place = (1.0 - control.top_entropy_fraction) * (trained.len() - 1) as f64;
            if (n_others as f64) < place - 1e-9 {
                chosen.factors[idx] = 0.0;
            }
        }
        chosen
    }
}

/// The loss as the papers write it, with the choice held.
pub(crate) fn loss(
    objective: &Objective,
    chosen: &Chosen,
    batch: &Batch,
    aggregation: Aggregation,
    logprobs: &[f64],
    entropies: &[f64],
    entropy_coef: f64,
) -> f64 {
    let PolicyLoss::PpoClip {
        clip_low,
        clip_high,
        dual_clip: None,
    } = objective.policy_loss
    else {
        unreachable!("these laws use PPO's clip without dual clip");
    };
    let of_token = |idx: usize| {
        let advantage = batch.advantages[idx];
        let log_ratio = logprobs[idx] - batch.old_logprobs[idx];
        let ratio = log_ratio.exp();
        let bounded = ratio.clamp(1.0 - clip_low, 1.0 + clip_high);
        let surrogate = if chosen.is_unclipped[idx] {
            -advantage * ratio
        } else {
            (-advantage * ratio).max(-advantage * bounded)
        };
        let controlled = chosen.factors[idx] * surrogate + chosen.penalties[idx] * log_ratio.abs();
        let importance = match objective.importance {
            Importance::None => 1.0,
            _ => {
                let weight = (batch.old_logprobs[idx] - batch.rollout_logprobs[idx]).exp();
                weight.min(objective.importance_cap)
            }
        };
        let kl = match objective.kl.estimator {
            Kl::None => 0.0,
            _ => 0.5 * (logprobs[idx] - batch.ref_logprobs[idx]).powi(2),
        };
        importance * controlled + objective.kl.coef * kl - entropy_coef * entropies[idx]
    };
    let mut rows: Vec<Vec<f64>> = Vec::new();
    let mut start = 0;
    for &length in &batch.lengths {
        let row = (start..start + length).filter(|&idx| batch.loss_mask[idx]);
        rows.push(row.map(of_token).collect());
        start += length;
    }
    rows.retain(|row| !row.is_empty());
    if rows.is_empty() {
        return 0.0;
    }
    let (n_rows, n_tokens) = (rows.len() as f64, rows.concat().len() as f64);
    let total: f64 = rows.concat().iter().sum();
    match aggregation {
        Aggregation::TokenMean => total / n_tokens,
        Aggregation::SeqMeanTokenMean => {
            let mean = |row: &Vec<f64>| row.iter().sum::<f64>() / row.len() as f64;
            rows.iter().map(mean).sum::<f64>() / n_rows
        }
        Aggregation::SeqMeanTokenSum => total / n_rows,
        Aggregation::SeqMeanTokenSumNorm => total / NORM_LENGTH,
    }
}
