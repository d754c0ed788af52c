//! The CPU engine and burn's tensors compute the same: scores, gradients, updates, completions.
//!
//! On a GPU backend both policies here are burn's, and the comparison with the engine is the CPU build's.

use longhand_policy::{AdamW, AdamWSettings, Engine, Family, Policy, TokenGradient};
use longhand_rollout::{
    Completion, Context, Generate, Purpose, Request, Sampling, StopReason, StreamBase,
};

use crate::fixture::{Owned, contexts, max_difference, owned, policy};

const FAMILIES: [(Family, bool); 3] = [
    (Family::Llama, true),
    (Family::Qwen2, false),
    (Family::Qwen3, true),
];

fn coefficients(owned: &Owned) -> Vec<f64> {
    let n: usize = owned
        .iter()
        .map(|(_, _, completion)| completion.len())
        .sum();
    (0..n).map(|i| ((i * 7) % 5) as f64 - 1.5).collect()
}

fn entropy_coefficients(owned: &Owned) -> Vec<f64> {
    let n = coefficients(owned).len();
    (0..n).map(|i| ((i * 5) % 7) as f64 - 2.5).collect()
}

fn adamw() -> AdamW {
    AdamW::new(AdamWSettings {
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weight_decay: 0.1,
    })
}

/// Adds the gradient over some contexts, in as many passes.
fn accumulate(adamw: &mut AdamW, policy: &Policy, owned: &Owned, parts: usize) {
    let gradient = TokenGradient {
        logprobs: &coefficients(owned),
        entropies: Some(&entropy_coefficients(owned)),
    };
    accumulate_of(gradient, adamw, policy, owned, parts);
}

fn accumulate_of(
    gradient: TokenGradient<'_>,
    adamw: &mut AdamW,
    policy: &Policy,
    owned: &Owned,
    parts: usize,
) {
    let contexts = contexts(owned);
    let mut next = 0;
    for part in contexts.chunks(contexts.len().div_ceil(parts)) {
        let n: usize = part.iter().map(|context| context.completion.len()).sum();
        let of_part = TokenGradient {
            logprobs: &gradient.logprobs[next..next + n],
            entropies: gradient.entropies.map(|of| &of[next..next + n]),
        };
        next += n;
        let pass = policy.forward(part, 0.8, adamw.take_buffers(), 0);
        adamw.accumulate(policy, pass, of_part);
    }
}

#[test]
fn scores_agree() {
    for (family, tie) in FAMILIES {
        let (engine, burn) = (
            policy(family, tie, Engine::Auto),
            policy(family, tie, Engine::Burn),
        );
        let owned = owned();
        for temperature in [1.0, 0.6] {
            let fast = engine.score(&contexts(&owned), temperature);
            let slow = burn.score(&contexts(&owned), temperature);
            assert!(
                max_difference(&fast.logprobs, &slow.logprobs) < 1e-5,
                "{family:?}"
            );
            assert!(
                max_difference(&fast.entropies, &slow.entropies) < 1e-5
                    && max_difference(&fast.self_certainties, &slow.self_certainties) < 1e-5,
                "{family:?}"
            );
            let pass = engine.forward(&contexts(&owned), temperature, Default::default(), 0);
            assert_eq!(*pass.scores(), fast, "to the bit");
            let pass = burn.forward(&contexts(&owned), temperature, Default::default(), 0);
            assert!(max_difference(&pass.scores().logprobs, &slow.logprobs) < 1e-5);
        }
    }
}

#[test]
fn gradients_agree_in_one_pass_and_in_several() {
    for (family, tie) in FAMILIES {
        let (engine, burn) = (
            policy(family, tie, Engine::Auto),
            policy(family, tie, Engine::Burn),
        );
        let owned = owned();
        let (of_logprobs, of_entropies) = (coefficients(&owned), entropy_coefficients(&owned));
        let zeros = vec![0.0; of_logprobs.len()];
        let mut alone = Vec::new();
        for (logprobs, entropies) in [
            (&of_logprobs, None),
            (&of_logprobs, Some(&of_entropies[..])),
            (&zeros, Some(&of_entropies[..])),
        ] {
            let grad = TokenGradient {
                logprobs,
                entropies,
            };
            let gradient = |policy: &Policy, parts: usize| {
                let mut adamw = adamw();
                accumulate_of(grad, &mut adamw, policy, &owned, parts);
                adamw.gradient(policy).unwrap()
            };
            let slow = gradient(&burn, 1);
            let largest = slow
                .iter()
                .flatten()
                .fold(0.0_f32, |most, g| most.max(g.abs()));
            assert!(0.1 < largest, "{family:?}: no gradient but {largest}");
            for (policy, parts) in [(&engine, 1), (&engine, 3), (&burn, 3)] {
                for (place, (fast, slow)) in gradient(policy, parts).iter().zip(&slow).enumerate() {
                    let size = slow.iter().fold(1.0_f32, |size, g| size.max(g.abs()));
                    let difference = max_difference(fast, slow) / size;
                    assert!(
                        difference < 2e-5,
                        "{family:?} {place} {parts}: {difference}"
                    );
                }
            }
            alone.push(slow.concat());
        }
        let pairs = alone[0].iter().zip(&alone[2]);
        let sum: Vec<f32> = pairs.map(|(a, b)| a + b).collect();
        let size = sum.iter().fold(1.0_f32, |size, g| size.max(g.abs()));
        assert!(max_difference(&sum, &alone[1]) / size < 2e-5, "{family:?}");
    }
}

#[test]
fn updates_agree_clipped_and_not() {
    for max_norm in [0.5, 1e9] {
        let mut ends = Vec::new();
        for engine in [Engine::Auto, Engine::Burn] {
            let mut policy = policy(Family::Qwen3, false, engine);
            let mut adamw = adamw();
            assert_eq!(adamw.update(&mut policy, 1e-2, max_norm), 0.0);
            let mut norms = Vec::new();
            for _ in 0..3 {
                accumulate(&mut adamw, &policy, &owned(), 2);
                norms.push(adamw.update(&mut policy, 1e-2, max_norm));
            }
            assert!(
                norms.iter().all(|norm| 0.5 < *norm && norm.is_finite()),
                "{norms:?}"
            );
            let weights: Vec<f32> = policy.weights().values().concat();
            ends.push((norms, weights));
        }
        let [(fast_norms, fast), (slow_norms, slow)] = &ends[..] else {
            panic!("two engines");
        };
        for (fast, slow) in fast_norms.iter().zip(slow_norms) {
            assert!((fast / slow - 1.0).abs() < 1e-3, "{fast} {slow}");
        }
        // Adam divides by the gradient's size: where that is near rounding, so is its direction.
        let far = fast
            .iter()
            .zip(slow)
            .filter(|(f, s)| 2e-3 < (**f - **s).abs());
        let share = far.count() as f64 / slow.len() as f64;
        assert!(share < 0.01, "{share}");
    }
}

#[test]
fn a_reference_keeps_the_weights_it_was_taken_with() {
    for engine in [Engine::Auto, Engine::Burn] {
        let mut policy = policy(Family::Llama, true, engine);
        let reference = policy.clone();
        let before = reference.score(&contexts(&owned()), 1.0);
        let mut adamw = adamw();
        accumulate(&mut adamw, &policy, &owned(), 1);
        adamw.update(&mut policy, 1e-2, 1.0);
        assert_eq!(reference.score(&contexts(&owned()), 1.0), before);
        assert_ne!(policy.score(&contexts(&owned()), 1.0), before);
    }
}

#[test]
fn what_is_not_finite_moves_nothing() {
    for engine in [Engine::Auto, Engine::Burn] {
        let mut policy = policy(Family::Llama, true, engine);
        let before = policy.named_weights();
        let owned = owned();
        for is_of_entropy in [false, true] {
            let mut adamw = adamw();
            let pass = policy.forward(&contexts(&owned), 1.0, Default::default(), 0);
            let mut logprobs = coefficients(&owned);
            let mut entropies = entropy_coefficients(&owned);
            let broken = if is_of_entropy {
                &mut entropies
            } else {
                &mut logprobs
            };
            broken[2] = f64::NAN;
            let grad = TokenGradient {
                logprobs: &logprobs,
                entropies: Some(&entropies),
            };
            adamw.accumulate(&policy, pass, grad);
            assert!(!adamw.update(&mut policy, 1e-2, 1.0).is_finite());
            assert_eq!(policy.named_weights(), before);
        }
    }
}

fn requests() -> Vec<Request> {
    let streams = StreamBase {
        seed: 11,
        purpose: Purpose::ROLLOUT,
        step: 0,
    };
    let trunk: Vec<u32> = (0..20).map(|i| i * 11 % 29).collect();
    let prompts = [
        (0, trunk[..19].to_vec()),
        (0, trunk[..19].to_vec()),
        (0, [&trunk[..17], &[3]].concat()),
        (1, vec![5, 6]),
        (2, vec![7]),
    ];
    let request = |(attempt, (group, prompt)): (usize, (usize, Vec<u32>))| Request {
        prompt,
        max_tokens: 4 + attempt,
        group,
        key: streams.key(group as u64, attempt as u32, 0),
    };
    prompts.into_iter().enumerate().map(request).collect()
}

fn generate(policy: &Policy, requests: &[Request], sampling: Sampling) -> Vec<Completion> {
    policy.generator().generate(requests, &sampling).unwrap()
}

#[test]
fn both_sample_the_same_completions_and_record_what_the_other_scores() {
    for (family, tie) in FAMILIES {
        let (engine, burn) = (
            policy(family, tie, Engine::Auto),
            policy(family, tie, Engine::Burn),
        );
        for sampling in [
            Sampling::at(1.0),
            Sampling::GREEDY,
            Sampling {
                top_k: 4,
                ..Sampling::at(1.5)
            },
        ] {
            let fast = generate(&engine, &requests(), sampling);
            let slow = generate(&burn, &requests(), sampling);
            for (fast, slow) in fast.iter().zip(&slow) {
                assert_eq!((&fast.ids, fast.stop_reason), (&slow.ids, slow.stop_reason));
                assert!(max_difference(&fast.logprobs, &slow.logprobs) < 1e-5);
            }
            let requests = requests();
            let pairs = requests.iter().zip(&slow);
            let contexts: Vec<Context<'_>> = pairs
                .map(|(request, completion)| Context {
                    group: request.group,
                    prompt: &request.prompt,
                    completion: &completion.ids,
                })
                .collect();
            let temperature = if sampling.temperature == 0.0 {
                1.0
            } else {
                f64::from(sampling.temperature)
            };
            let recorded: Vec<f32> = slow.iter().flat_map(|c| c.logprobs.clone()).collect();
            let scored = engine.score(&contexts, temperature).logprobs;
            assert!(max_difference(&recorded, &scored) < 1e-5);
        }
    }
}

#[test]
fn burn_gives_a_request_alone_what_it_gives_in_a_batch() {
    let policy = policy(Family::Qwen3, false, Engine::Burn);
    let together = generate(&policy, &requests(), Sampling::at(1.0));
    for (request, together) in requests().into_iter().zip(together) {
        let [alone] = &generate(&policy, &[request], Sampling::at(1.0))[..] else {
            panic!("one completion");
        };
        assert_eq!(alone.ids, together.ids);
        assert!(max_difference(&alone.logprobs, &together.logprobs) < 1e-5);
    }
}

#[test]
fn burn_ends_completions_at_the_end_token_or_at_the_cap() {
    let policy = policy(Family::Llama, false, Engine::Burn);
    let mut stops = std::collections::HashSet::new();
    for attempt in 0..40 {
        let mut request = requests().remove(3);
        request.key.attempt = attempt;
        request.max_tokens = 30;
        for completion in generate(&policy, &[request], Sampling::at(1.0)) {
            let end = completion.ids.iter().position(|id| *id == 1);
            match completion.stop_reason {
                StopReason::EndToken => assert_eq!(end, Some(completion.ids.len() - 1)),
                _ => assert_eq!((end, completion.ids.len()), (None, 30)),
            }
            assert!(completion.ids.iter().all(|id| *id < 29));
            stops.insert(completion.stop_reason);
        }
    }
    assert_eq!(stops.len(), 2, "both ends must occur");
}
