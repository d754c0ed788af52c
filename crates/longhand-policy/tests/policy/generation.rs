//! Generation against the scoring pass and against itself in other batches.

use longhand_policy::{Family, GenerateError, Policy};
use longhand_rollout::{
    Completion, Generate, PrefixGroup, Purpose, Request, Sampling, StopReason, StreamKey, Suffix,
};

use crate::{fixture, naive::log_softmax_after_each};

const SAMPLING: Sampling = Sampling {
    temperature: 0.8,
    top_p: 1.0,
    top_k: 0,
};

fn requests() -> Vec<Request> {
    let prompts: [(usize, &[u32]); 5] = [
        (0, &[5, 6, 7, 8, 9, 10]),
        (0, &[5, 6, 7, 8, 11]),
        (4, &[12, 13]),
        (0, &[5, 6, 7, 8, 9, 14, 15, 16]),
        (9, &[17]),
    ];
    let request = |(attempt, (group, prompt)): (usize, (usize, &[u32]))| Request {
        prompt: prompt.to_vec(),
        max_tokens: 6 + attempt,
        group,
        key: StreamKey {
            seed: 1,
            purpose: Purpose::ROLLOUT,
            step: 2,
            problem: group as u64,
            attempt: attempt as u32,
            turn: 0,
        },
    };
    prompts.into_iter().enumerate().map(request).collect()
}

fn generate(policy: &Policy, requests: &[Request], sampling: Sampling) -> Vec<Completion> {
    policy.generator().generate(requests, &sampling).unwrap()
}

#[test]
fn recorded_log_probabilities_are_those_of_the_scoring_pass() {
    for family in [Family::Llama, Family::Qwen2, Family::Qwen3] {
        let policy = fixture::policy(family, family == Family::Llama);
        let requests = requests();
        let completions = generate(&policy, &requests, SAMPLING);
        for (request, completion) in requests.iter().zip(&completions) {
            let suffix = Suffix {
                given: request.prompt.clone(),
                sampled: completion.ids.clone(),
            };
            let group = [PrefixGroup {
                prefix: vec![],
                suffixes: vec![suffix],
            }];
            let scores = policy
                .score(&group, f64::from(SAMPLING.temperature))
                .logprobs;
            assert!(fixture::max_difference(&scores, &completion.logprobs) < 1e-5);
        }
    }
}

#[test]
fn a_request_alone_gives_what_it_gives_in_a_batch() {
    let policy = fixture::policy(Family::Qwen3, false);
    let requests = requests();
    let together = generate(&policy, &requests, SAMPLING);
    for (request, expected) in requests.iter().zip(&together) {
        let alone = generate(&policy, std::slice::from_ref(request), SAMPLING);
        assert_eq!(alone[0].ids, expected.ids);
        assert!(fixture::max_difference(&alone[0].logprobs, &expected.logprobs) < 1e-5);
    }
    let mut reversed = requests;
    reversed.reverse();
    let mut backwards = generate(&policy, &reversed, SAMPLING);
    backwards.reverse();
    for (a, b) in together.iter().zip(&backwards) {
        assert_eq!(a.ids, b.ids);
    }
}

#[test]
fn the_same_call_gives_the_same_bits() {
    let policy = fixture::policy(Family::Qwen2, true);
    let requests = requests();
    assert_eq!(
        generate(&policy, &requests, SAMPLING),
        generate(&policy, &requests, SAMPLING)
    );
}

#[test]
fn greedy_follows_the_naive_model() {
    let policy = fixture::policy(Family::Qwen3, true);
    let requests = requests();
    let completions = generate(
        &policy,
        &requests,
        Sampling {
            temperature: 0.0,
            ..SAMPLING
        },
    );
    for (request, completion) in requests.iter().zip(&completions) {
        let mut ids = request.prompt.clone();
        for id in &completion.ids {
            let row = log_softmax_after_each(&policy, &ids, 1.0).pop().unwrap();
            let best = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            assert!(best - row[*id as usize] < 1e-6);
            ids.push(*id);
        }
    }
}

#[test]
fn completions_end_at_the_end_token_or_at_the_cap_and_never_leave_the_tokenizer() {
    let policy = fixture::policy(Family::Llama, false);
    let hot = Sampling {
        temperature: 5.0,
        top_p: 1.0,
        top_k: 0,
    };
    let mut ended = 0;
    for seed in 0..40 {
        let mut requests = requests();
        requests
            .iter_mut()
            .for_each(|request| request.key.seed = seed);
        for (request, completion) in requests.iter().zip(generate(&policy, &requests, hot)) {
            assert_eq!(completion.ids.len(), completion.logprobs.len());
            assert!(
                completion
                    .ids
                    .iter()
                    .all(|id| (*id as usize) < policy.tokenizer().n_ids())
            );
            let end = completion.ids.iter().position(|id| *id == 1);
            match completion.stop_reason {
                StopReason::EndToken => {
                    ended += 1;
                    assert_eq!(end, Some(completion.ids.len() - 1));
                }
                _ => {
                    assert_eq!(end, None);
                    assert_eq!(completion.ids.len(), request.max_tokens);
                }
            }
        }
    }
    assert!(0 < ended);
}

#[test]
fn impossible_requests_are_refused_by_number() {
    let policy = fixture::policy(Family::Llama, false);
    let mut generator = policy.generator();
    let mut check = |edit: fn(&mut Request), expected: GenerateError| {
        let mut requests = requests();
        edit(&mut requests[2]);
        assert_eq!(generator.generate(&requests, &SAMPLING), Err(expected));
    };
    check(
        |r| r.prompt.clear(),
        GenerateError::EmptyPrompt { request_idx: 2 },
    );
    check(
        |r| r.prompt = vec![99],
        GenerateError::UnknownId {
            request_idx: 2,
            id: 99,
            vocab_size: 32,
        },
    );
    check(
        |r| r.max_tokens = 63,
        GenerateError::OverWindow {
            request_idx: 2,
            n_prompt: 2,
            max_tokens: 63,
            window: 64,
        },
    );
    assert_eq!(generator.generate(&[], &SAMPLING), Ok(vec![]));
}
