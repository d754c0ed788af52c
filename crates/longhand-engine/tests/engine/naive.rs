//! The transformer once more, in f64, one token at a time and without any sharing.

use std::collections::HashMap;

use crate::fixture::Small;

/// Log-probabilities over all tokenizer ids after every token of `ids`: `[n_tokens][n_ids]`.
pub(crate) fn log_softmax_after_each(
    small: &Small,
    ids: &[u32],
    temperature: f64,
) -> Vec<Vec<f64>> {
    let config = &small.config;
    let weights: HashMap<String, Vec<f64>> = small
        .named_weights()
        .into_iter()
        .map(|(name, values)| (name, values.into_iter().map(f64::from).collect()))
        .collect();
    let d = config.hidden_size;
    let (heads, kv_heads, width) = (config.n_heads, config.n_kv_heads, config.head_dim);
    let embed = &weights["model.embed_tokens.weight"];
    let mut stream: Vec<Vec<f64>> = ids
        .iter()
        .map(|id| embed[*id as usize * d..][..d].to_vec())
        .collect();
    for layer in 0..config.n_layers {
        let weight = |part: &str| weights.get(&format!("model.layers.{layer}.{part}"));
        let normed: Vec<Vec<f64>> = stream
            .iter()
            .map(|x| {
                norm(
                    x,
                    weight("input_layernorm.weight").unwrap(),
                    config.norm_eps,
                )
            })
            .collect();
        let project = |part: &str, n: usize, rotate: bool| -> Vec<Vec<Vec<f64>>> {
            let token = |(position, x): (usize, &Vec<f64>)| {
                let mut y = times(x, weight(&format!("self_attn.{part}_proj.weight")).unwrap());
                if let Some(bias) = weight(&format!("self_attn.{part}_proj.bias")) {
                    y.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
                }
                (0..n)
                    .map(|head| {
                        let mut h = y[head * width..][..width].to_vec();
                        if let Some(gain) = weight(&format!("self_attn.{part}_norm.weight")) {
                            h = norm(&h, gain, config.norm_eps);
                        }
                        if rotate {
                            rotated(&h, position, config.rope_theta)
                        } else {
                            h
                        }
                    })
                    .collect()
            };
            normed.iter().enumerate().map(token).collect()
        };
        let (q, k, v) = (
            project("q", heads, true),
            project("k", kv_heads, true),
            project("v", kv_heads, false),
        );
        for (position, x) in stream.iter_mut().enumerate() {
            let mut attended = Vec::new();
            for (head, query) in q[position].iter().enumerate() {
                let kv = head / (heads / kv_heads);
                let scores: Vec<f64> = (0..=position)
                    .map(|p| dot(query, &k[p][kv]) / (width as f64).sqrt())
                    .collect();
                let shares: Vec<f64> = log_softmax(&scores).iter().map(|s| s.exp()).collect();
                attended.extend(
                    (0..width)
                        .map(|i| (0..=position).map(|p| shares[p] * v[p][kv][i]).sum::<f64>()),
                );
            }
            let out = times(&attended, weight("self_attn.o_proj.weight").unwrap());
            x.iter_mut().zip(out).for_each(|(x, y)| *x += y);
            let h = norm(
                x,
                weight("post_attention_layernorm.weight").unwrap(),
                config.norm_eps,
            );
            let gate = times(&h, weight("mlp.gate_proj.weight").unwrap());
            let up = times(&h, weight("mlp.up_proj.weight").unwrap());
            let inner: Vec<f64> = gate
                .iter()
                .zip(up)
                .map(|(g, u)| g / (1.0 + (-g).exp()) * u)
                .collect();
            let out = times(&inner, weight("mlp.down_proj.weight").unwrap());
            x.iter_mut().zip(out).for_each(|(x, y)| *x += y);
        }
    }
    stream
        .iter()
        .map(|x| {
            let h = norm(x, &weights["model.norm.weight"], config.norm_eps);
            let logits: Vec<f64> = (0..small.n_ids)
                .map(|id| match weights.get("lm_head.weight") {
                    Some(head) => (0..d)
                        .map(|i| h[i] * head[i * config.vocab_size + id])
                        .sum::<f64>(),
                    None => dot(&h, &embed[id * d..][..d]),
                })
                .map(|logit| logit / temperature)
                .collect();
            log_softmax(&logits)
        })
        .collect()
}

fn times(x: &[f64], matrix: &[f64]) -> Vec<f64> {
    let n = matrix.len() / x.len();
    (0..n)
        .map(|column| {
            x.iter()
                .enumerate()
                .map(|(i, x)| x * matrix[i * n + column])
                .sum()
        })
        .collect()
}

fn norm(x: &[f64], gain: &[f64], eps: f64) -> Vec<f64> {
    let scale = (dot(x, x) / x.len() as f64 + eps).sqrt();
    x.iter().zip(gain).map(|(x, g)| x / scale * g).collect()
}

fn rotated(x: &[f64], position: usize, theta: f64) -> Vec<f64> {
    let half = x.len() / 2;
    let angle = |i: usize| position as f64 / theta.powf(2.0 * i as f64 / x.len() as f64);
    let first = (0..half).map(|i| x[i] * angle(i).cos() - x[i + half] * angle(i).sin());
    let second = (0..half).map(|i| x[i + half] * angle(i).cos() + x[i] * angle(i).sin());
    first.chain(second).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn log_softmax(x: &[f64]) -> Vec<f64> {
    let highest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = x.iter().map(|x| (x - highest).exp()).sum::<f64>().ln();
    x.iter().map(|x| x - highest - log_sum).collect()
}
