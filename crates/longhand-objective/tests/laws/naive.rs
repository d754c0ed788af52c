//! A second implementation: min and max as the papers write them, no derivatives.
//!
//! A stop-gradient is a second argument: whatever the formula holds constant is computed from
//! `frozen`, the rest from `logprobs`. With both equal this is the loss; moving `logprobs` alone
//! differentiates it as an automatic differentiator would. Aggregations are nested means, not
//! weights.

use longhand_objective::{Aggregation, Importance, Kl, Objective, PolicyLoss};

use crate::batches::{Batch, NORM_LENGTH};

pub(crate) fn loss(
    objective: &Objective,
    batch: &Batch,
    aggregation: Aggregation,
    logprobs: &[f64],
    frozen: &[f64],
) -> f64 {
    let clamp = objective.log_ratio_clamp.unwrap_or(f64::INFINITY);
    let mut rows = Vec::new();
    let mut start = 0;
    for &length in &batch.lengths {
        let row: Vec<usize> = (start..start + length)
            .filter(|&idx| batch.loss_mask[idx])
            .collect();
        start += length;
        if !row.is_empty() {
            rows.push(row);
        }
    }

    let mut row_losses = Vec::new();
    for row in &rows {
        let mean_frozen = row
            .iter()
            .map(|&idx| frozen[idx] - batch.old_logprobs[idx])
            .sum::<f64>()
            / row.len() as f64;
        let log_weights = |idx: usize| batch.old_logprobs[idx] - batch.rollout_logprobs[idx];
        let sum_log_weights: f64 = row.iter().map(|&idx| log_weights(idx)).sum();
        let mut losses = Vec::new();
        for &idx in row {
            let advantage = batch.advantages[idx];
            let ratio_of = |lp: f64| (lp - batch.old_logprobs[idx]).clamp(-clamp, clamp).exp();
            let policy_loss = match objective.policy_loss {
                PolicyLoss::PpoClip {
                    clip_low,
                    clip_high,
                    dual_clip,
                } => {
                    let ratio = ratio_of(logprobs[idx]);
                    let bounded = ratio.clamp(1.0 - clip_low, 1.0 + clip_high);
                    let larger = (-advantage * ratio).max(-advantage * bounded);
                    match dual_clip {
                        Some(bound) if advantage < 0.0 => larger.min(-advantage * bound),
                        _ => larger,
                    }
                }
                PolicyLoss::Gspo {
                    clip_low,
                    clip_high,
                } => {
                    let cap = if clamp.is_finite() {
                        clamp.min(10.0)
                    } else {
                        clamp
                    };
                    let ratio = (mean_frozen + logprobs[idx] - frozen[idx]).min(cap).exp();
                    let bounded = ratio.clamp(1.0 - clip_low, 1.0 + clip_high);
                    (-advantage * ratio).max(-advantage * bounded)
                }
                PolicyLoss::Cispo {
                    clip_low,
                    clip_high,
                } => {
                    let weight = ratio_of(frozen[idx]).clamp(1.0 - clip_low, 1.0 + clip_high);
                    -weight * advantage * logprobs[idx]
                }
            };
            let importance = match objective.importance {
                Importance::None => 1.0,
                Importance::Token => log_weights(idx).clamp(-clamp, clamp).exp(),
                Importance::Sequence => sum_log_weights.clamp(-clamp, clamp).exp(),
            };
            let importance = match objective.importance {
                Importance::None => importance,
                _ => importance.min(objective.importance_cap),
            };
            let x = logprobs[idx] - batch.ref_logprobs[idx];
            let kl = match objective.kl.estimator {
                Kl::None => 0.0,
                Kl::K1 => x,
                Kl::K2 => x.powi(2) / 2.0,
                Kl::K3 if objective.kl.clamp => {
                    let minus_x = (-x).clamp(-20.0, 20.0);
                    (minus_x.exp() - minus_x - 1.0).clamp(-10.0, 10.0)
                }
                Kl::K3 => (-x).exp() + x - 1.0,
            };
            losses.push(importance * policy_loss + objective.kl.coef * kl);
        }
        row_losses.push(losses);
    }

    if row_losses.is_empty() {
        return 0.0;
    }
    let sum = |losses: &Vec<f64>| losses.iter().sum::<f64>();
    let n_rows = row_losses.len() as f64;
    let n_tokens: usize = row_losses.iter().map(Vec::len).sum();
    let total: f64 = row_losses.iter().map(sum).sum();
    match aggregation {
        Aggregation::TokenMean => total / n_tokens as f64,
        Aggregation::SeqMeanTokenMean => {
            let means = row_losses.iter().map(|row| sum(row) / row.len() as f64);
            means.sum::<f64>() / n_rows
        }
        Aggregation::SeqMeanTokenSum => total / n_rows,
        Aggregation::SeqMeanTokenSumNorm => total / NORM_LENGTH,
    }
}
