//! One token from one row of logits.
//!
//! The recorded log-probability is that of the policy, `log_softmax(logits / temperature)` over the ids
//! that the tokenizer has, *before* top-k and top-p cut the tail: the number which the training pass
//! computes again. At temperature 0 (the most probable id, the lowest among equals) it is taken at
//! temperature 1.

use longhand_rollout::Sampling;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// A sampled id and its log-probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampledToken {
    /// The id.
    pub id: u32,
    /// Its natural log-probability under the policy (see the module's text).
    pub logprob: f32,
}

/// Draws one id. None when the logits hold a NaN or no finite number at all.
///
/// Top-k keeps the `k` most probable ids; top-p then keeps the fewest most probable whose share reaches
/// `p`. Among equal probabilities the lower id comes first.
pub fn sample_token(
    logits: &[f32],
    sampling: &Sampling,
    rng: &mut ChaCha8Rng,
) -> Option<SampledToken> {
    let greedy = sampling.temperature == 0.0;
    let temperature = if greedy {
        1.0
    } else {
        f64::from(sampling.temperature)
    };
    let mut best = 0;
    for (id, logit) in logits.iter().enumerate() {
        if logit.is_nan() {
            return None;
        }
        if logits[best] < *logit {
            best = id;
        }
    }
    let highest = f64::from(*logits.get(best)?) / temperature;
    if !highest.is_finite() {
        return None;
    }
    let weights: Vec<f64> = logits
        .iter()
        .map(|logit| (f64::from(*logit) / temperature - highest).exp())
        .collect();
    let total: f64 = weights.iter().sum();
    let id = if greedy {
        best
    } else {
        let cuts = 0 < sampling.top_k && sampling.top_k < weights.len() || sampling.top_p < 1.0;
        // One draw a token, whatever the settings, so that streams stay aligned.
        let draw: f64 = rng.random();
        if cuts {
            draw_from_weights(&weights, total, sampling, draw)
        } else {
            pick(weights.iter().copied().enumerate(), draw * total)
        }
    };
    let logprob = (f64::from(logits[id]) / temperature - highest - total.ln()) as f32;
    Some(SampledToken {
        id: id as u32,
        logprob,
    })
}

/// The id drawn with `draw` in `[0, 1)` from what top-k and top-p leave of these finite logits.
pub(crate) fn draw_from_top(logits: &[f32], sampling: &Sampling, draw: f64) -> usize {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |logit: &f32| {
        ((f64::from(*logit) - f64::from(highest)) / f64::from(sampling.temperature)).exp()
    };
    let weights: Vec<f64> = logits.iter().map(weight).collect();
    draw_from_weights(&weights, weights.iter().sum(), sampling, draw)
}

fn draw_from_weights(weights: &[f64], total: f64, sampling: &Sampling, draw: f64) -> usize {
    let more_probable = |a: &usize, b: &usize| weights[*b].total_cmp(&weights[*a]).then(a.cmp(b));
    let mut ids: Vec<usize> = (0..weights.len()).collect();
    if 0 < sampling.top_k && sampling.top_k < ids.len() {
        ids.select_nth_unstable_by(sampling.top_k - 1, more_probable);
        ids.truncate(sampling.top_k);
    }
    ids.sort_unstable_by(more_probable);
    let among: f64 = if sampling.top_k == 0 {
        total
    } else {
        ids.iter().map(|id| weights[*id]).sum()
    };
    let mut kept = 0.0;
    let mut n_kept = 0;
    for id in &ids {
        kept += weights[*id];
        n_kept += 1;
        if f64::from(sampling.top_p) * among <= kept {
            break;
        }
    }
    pick(
        ids[..n_kept].iter().map(|id| (*id, weights[*id])),
        draw * kept,
    )
}

/// The first entry at which the running sum passes `threshold`, else the last with any weight.
fn pick(weighted: impl Iterator<Item = (usize, f64)>, threshold: f64) -> usize {
    let mut sum = 0.0;
    let mut last = 0;
    for (id, weight) in weighted {
        if weight == 0.0 {
            continue;
        }
        sum += weight;
        last = id;
        if threshold < sum {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const LOGITS: [f32; 4] = [1.0, 3.0, 2.0, f32::NEG_INFINITY];

    fn sampling(temperature: f32, top_p: f32, top_k: usize) -> Sampling {
        Sampling {
            temperature,
            top_p,
            top_k,
        }
    }

    fn counts(sampling: Sampling) -> [usize; 4] {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut counts = [0; 4];
        for _ in 0..20_000 {
            counts[sample_token(&LOGITS, &sampling, &mut rng).unwrap().id as usize] += 1;
        }
        counts
    }

    #[test]
    fn greedy_takes_the_highest_and_scores_it_at_temperature_one() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let token = sample_token(&LOGITS, &sampling(0.0, 1.0, 0), &mut rng).unwrap();
        assert_eq!(token.id, 1);
        // python: math.log(math.exp(3) / (math.exp(1) + math.exp(3) + math.exp(2)))
        assert!((token.logprob - -0.407_605_96).abs() < 1e-6);
    }

    #[test]
    fn shares_follow_the_softmax_at_the_temperature() {
        // python: [math.exp(z / 2) / sum(math.exp(w / 2) for w in (1, 3, 2)) for z in (1, 3, 2)]
        let expected = [0.186_323_7, 0.506_480_4, 0.307_195_9, 0.0];
        for (count, share) in counts(sampling(2.0, 1.0, 0)).iter().zip(expected) {
            assert!(
                (*count as f64 / 20_000.0 - share).abs() < 0.015,
                "{count} {share}"
            );
        }
    }

    #[test]
    fn top_k_and_top_p_cut_the_tail_but_not_the_recorded_probability() {
        assert_eq!(counts(sampling(1.0, 1.0, 1)), [0, 20_000, 0, 0]);
        // Shares 0.09, 0.665, 0.245: two are needed for 0.7, one for 0.6.
        assert_eq!(counts(sampling(1.0, 0.6, 0)), [0, 20_000, 0, 0]);
        let two = counts(sampling(1.0, 0.7, 0));
        assert_eq!(two[0], 0);
        assert!((two[2] as f64 / 20_000.0 - 0.268_941_4).abs() < 0.015);
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let token = sample_token(&LOGITS, &sampling(1.0, 1.0, 1), &mut rng).unwrap();
        assert!((token.logprob - -0.407_605_96).abs() < 1e-6);
    }

    #[test]
    fn broken_logits_are_refused() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mut sample = |logits: &[f32]| sample_token(logits, &sampling(1.0, 1.0, 0), &mut rng);
        assert_eq!(sample(&[0.0, f32::NAN]), None);
        assert_eq!(sample(&[f32::NEG_INFINITY; 3]), None);
        assert_eq!(sample(&[f32::INFINITY, 0.0]), None);
        assert_eq!(sample(&[]), None);
    }
}
