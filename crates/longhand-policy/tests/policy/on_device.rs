//! Whatever backend burn runs on in this build computes what the CPU engine computes.
//!
//! Few shapes, one tiny model: on a software Vulkan driver each kernel is compiled before its first use.

use std::sync::Arc;

use longhand_engine::ScoreGradient;
use longhand_policy::{
    AdamW, AdamWSettings, Cpu, Engine, Family, Format, Keep, Model, Policy, TokenGradient,
};
use longhand_rollout::{Context, Generate, Purpose, Request, Sampling, StreamBase};
use rand::RngExt;

use crate::fixture::{contexts, max_difference, owned, policy};

const N_IDS: u32 = 29;

/// A policy on burn, and the engine's model of the same weights.
fn twins() -> (Policy, Arc<Model>) {
    let policy = policy(Family::Qwen3, false, Engine::Burn);
    let model = Model::new(
        &Cpu::detect(),
        policy.config(),
        N_IDS as usize,
        &policy.weights(),
        Format::F32,
    );
    (policy, Arc::new(model))
}

#[test]
fn scores_and_gradients_are_the_engines() {
    let (policy, model) = twins();
    let owned = owned();
    let contexts = contexts(&owned);
    let expected = model.score(&contexts, 0.8);
    let scores = policy.score(&contexts, 0.8);
    assert!(max_difference(&scores.logprobs, &expected.logprobs) < 1e-5);
    assert!(max_difference(&scores.entropies, &expected.entropies) < 1e-5);
    assert!(max_difference(&scores.self_certainties, &expected.self_certainties) < 1e-5);

    let n_sampled = expected.logprobs.len();
    let of_logprobs: Vec<f64> = (0..n_sampled).map(|i| ((i * 7) % 5) as f64 - 1.5).collect();
    let of_entropies: Vec<f64> = (0..n_sampled).map(|i| ((i * 5) % 7) as f64 - 2.5).collect();
    let mut adamw = AdamW::new(AdamWSettings {
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weight_decay: 0.1,
    });
    let pass = policy.forward(&contexts, 0.8, Default::default(), 0);
    assert!(max_difference(&pass.scores().logprobs, &expected.logprobs) < 1e-5);
    let grad = TokenGradient {
        logprobs: &of_logprobs,
        entropies: Some(&of_entropies),
    };
    adamw.accumulate(&policy, pass, grad);
    let gradients = adamw.gradient(&policy).unwrap();

    let weights = policy.weights();
    let mut expected = weights.zeros_like();
    let narrow = |list: &[f64]| -> Vec<f32> { list.iter().map(|g| *g as f32).collect() };
    let (of_logprobs, of_entropies) = (narrow(&of_logprobs), narrow(&of_entropies));
    let pass = model.forward(&contexts, 0.8, Keep::Activations, Default::default(), None);
    let grad = ScoreGradient {
        logprobs: &of_logprobs,
        entropies: Some(&of_entropies),
    };
    pass.backward(&model, &weights, grad, &mut expected);
    assert_eq!(gradients.len(), expected.values().len());
    for (gradient, expected) in gradients.iter().zip(expected.values()) {
        let size = expected.iter().fold(1.0_f32, |size, g| size.max(g.abs()));
        let difference = max_difference(gradient, expected) / size;
        assert!(difference < 2e-5, "{difference}");
    }
}

fn requests() -> Vec<Request> {
    let streams = StreamBase {
        seed: 11,
        purpose: Purpose::ROLLOUT,
        step: 0,
    };
    let trunk: Vec<u32> = (0..20).map(|i| i * 11 % N_IDS).collect();
    let prompts = [
        (0, trunk[..19].to_vec()),
        (0, trunk[..19].to_vec()),
        (0, [&trunk[..17], &[3]].concat()),
        (1, vec![5, 6]),
    ];
    let request = |(attempt, (group, prompt)): (usize, (usize, Vec<u32>))| Request {
        prompt,
        // The last goes on alone: its group stays when the other leaves, and its cache grows.
        max_tokens: if group == 0 { 3 } else { 20 },
        group,
        key: streams.key(group as u64, attempt as u32, 0),
    };
    prompts.into_iter().enumerate().map(request).collect()
}

/// How far the number that draws a request's token is from the border between two ids, after these tokens:
/// the device sums in f32, so nearer than that it may draw the neighbour.
fn distance_from_border(model: &Model, request: &Request, ids: &[u32], temperature: f64) -> f64 {
    let prompt = [&request.prompt, ids].concat();
    let each: Vec<[u32; 1]> = (0..N_IDS).map(|id| [id]).collect();
    let each = each.iter().map(|completion| Context {
        group: 0,
        prompt: &prompt,
        completion,
    });
    let logprobs = model.score(&each.collect::<Vec<_>>(), temperature).logprobs;
    let mut rng = request.key.rng();
    let u = (0..=ids.len()).map(|_| rng.random::<f64>()).last();
    let (u, mut sum) = (u.unwrap_or_default(), 0.0);
    let borders = logprobs.iter().map(|logprob| {
        sum += f64::from(*logprob).exp();
        (sum - u).abs()
    });
    borders.fold(f64::INFINITY, f64::min)
}

#[test]
fn completions_are_the_engines() {
    let (policy, model) = twins();
    let requests = requests();
    for sampling in [
        Sampling::at(1.0),
        Sampling::GREEDY,
        Sampling {
            top_k: 4,
            ..Sampling::at(1.5)
        },
    ] {
        let mut engine = longhand_engine::Generator::new(Arc::clone(&model));
        let expected = engine.generate(&requests, &sampling).unwrap();
        let drawn = policy.generator().generate(&requests, &sampling).unwrap();
        for ((request, drawn), expected) in requests.iter().zip(&drawn).zip(&expected) {
            let pairs = drawn.ids.iter().zip(&expected.ids);
            let n_same = pairs
                .take_while(|(drawn, expected)| drawn == expected)
                .count();
            if drawn.ids != expected.ids {
                let temperature = f64::from(sampling.temperature);
                let same = &drawn.ids[..n_same];
                let distance = distance_from_border(&model, request, same, temperature);
                assert!(distance < 1e-6, "{sampling:?} {n_same} {distance}");
            } else {
                assert_eq!(drawn.stop_reason, expected.stop_reason);
            }
            assert_eq!(drawn.ids.len(), drawn.logprobs.len());
            let (drawn, expected) = (&drawn.logprobs[..n_same], &expected.logprobs[..n_same]);
            assert!(max_difference(drawn, expected) < 1e-5, "{sampling:?}");
        }
    }
}
