//! Generation: what is recorded is what is scored, whatever the company.

use std::{num::NonZero, ops::ControlFlow, sync::Arc};

use longhand_engine::{Cpu, Family, Format, GenerateError, Generator, Isa, Model};
use longhand_rollout::{
    Completion, Context, Generate, Purpose, Request, Sampling, StopReason, StreamBase,
};
use proptest::prelude::*;

use crate::{fixture::Small, naive::log_softmax_after_each};

fn request(prompt: Vec<u32>, group: usize, attempt: u32, max_tokens: usize) -> Request {
    let streams = StreamBase {
        seed: 11,
        purpose: Purpose::ROLLOUT,
        step: 0,
    };
    Request {
        prompt,
        max_tokens,
        group,
        key: streams.key(group as u64, attempt, 0),
    }
}

/// Three groups: prompts that are alike, that part within a page, and one alone.
pub(crate) fn requests() -> Vec<Request> {
    let trunk: Vec<u32> = (0..40).map(|i| i * 11 % 29).collect();
    let mut requests = Vec::new();
    for attempt in 0..4 {
        requests.push(request(trunk[..37].to_vec(), 0, attempt, 9));
        let own = [&trunk[..21], &[attempt, 2, attempt]].concat();
        requests.push(request(own, 1, attempt, 5 + attempt as usize));
    }
    requests.push(request(vec![7], 2, 0, 12));
    requests
}

fn model(format: Format) -> (Small, Arc<Model>) {
    let small = Small::new(Family::Qwen3, false);
    let model = Arc::new(small.model_in(&Cpu::detect(), format));
    (small, model)
}

fn generate(model: &Arc<Model>, requests: &[Request], sampling: Sampling) -> Vec<Completion> {
    let mut generator = Generator::new(Arc::clone(model));
    generator.generate(requests, &sampling).unwrap()
}

#[test]
fn recorded_log_probabilities_are_the_scored_ones_to_the_bit() {
    for format in [Format::F32, Format::Bf16, Format::Int8] {
        let (_, model) = model(format);
        for temperature in [1.0, 0.6] {
            let requests = requests();
            let completions = generate(&model, &requests, Sampling::at(temperature));
            let contexts: Vec<Context<'_>> = requests
                .iter()
                .zip(&completions)
                .map(|(request, completion)| Context {
                    group: request.group,
                    prompt: &request.prompt,
                    completion: &completion.ids,
                })
                .collect();
            let scored = model.score(&contexts, f64::from(temperature)).logprobs;
            let recorded: Vec<f32> = completions
                .iter()
                .flat_map(|c| c.logprobs.clone())
                .collect();
            assert_eq!(recorded, scored, "{format:?}");
        }
    }
}

#[test]
fn a_request_alone_gives_what_it_gives_in_a_batch_on_any_number_of_threads() {
    let (small, model) = model(Format::F32);
    let together = generate(&model, &requests(), Sampling::at(1.0));
    let alone = Cpu::new(Isa::detect(), NonZero::new(1).unwrap()).unwrap();
    let single = Arc::new(small.model(&alone));
    for (request, expected) in requests().into_iter().zip(together) {
        assert_eq!(generate(&single, &[request], Sampling::at(1.0)), [expected]);
    }
}

#[test]
fn requests_that_join_later_get_what_they_get_alone() {
    let (_, model) = model(Format::F32);
    let mut generator = Generator::new(Arc::clone(&model));
    // Every answer is asked to go on, with its group's prompt before it: turns of an agent.
    let mut asked = requests();
    let mut answers = vec![None; asked.len() + 6];
    let mut more = 6;
    let first = asked.clone();
    let served = generator.serve(first, &Sampling::at(1.0), &mut |number, completion| {
        let mut joining = Vec::new();
        if 0 < more {
            more -= 1;
            let Request { prompt, group, .. } = &asked[number];
            let prompt = [prompt.as_slice(), &completion.ids].concat();
            joining.push(request(prompt, *group, 100 + more, 6));
        }
        asked.extend(joining.clone());
        assert!(answers[number].replace(completion).is_none());
        ControlFlow::Continue(joining)
    });
    served.unwrap();
    for (request, answer) in asked.into_iter().zip(answers) {
        assert_eq!(
            generate(&model, &[request], Sampling::at(1.0)),
            [answer.unwrap()]
        );
    }
}

#[test]
fn token_by_token_a_completion_is_the_same_to_the_bit() {
    let (_, model) = model(Format::F32);
    for sampling in [Sampling::GREEDY, Sampling::at(1.0), Sampling::at(2.5)] {
        for request in requests() {
            let expected = generate(&model, std::slice::from_ref(&request), sampling).remove(0);
            let mut told = Vec::new();
            let streamed = Generator::new(Arc::clone(&model))
                .stream(&request, &sampling, &mut |id| {
                    told.push(id);
                    ControlFlow::Continue(())
                })
                .unwrap();
            assert_eq!(streamed, expected);
            assert_eq!(told, expected.ids);

            let n_kept = 1 + expected.ids.len() / 2;
            let mut n_told = 0;
            let broken_off = Generator::new(Arc::clone(&model))
                .stream(&request, &sampling, &mut |_| {
                    n_told += 1;
                    if n_told == n_kept {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                })
                .unwrap();
            let mut start = expected;
            start.break_off_after(n_kept);
            assert_eq!((broken_off, n_told), (start, n_kept));
        }
    }
}

#[test]
fn a_request_that_cannot_be_sampled_is_refused_before_a_token_is_told() {
    let (_, model) = model(Format::F32);
    let error =
        Generator::new(model).stream(&request(vec![], 0, 0, 3), &Sampling::GREEDY, &mut |_| {
            panic!("nothing was sampled")
        });
    assert_eq!(error, Err(GenerateError::EmptyPrompt { request_idx: 0 }));
}

#[test]
fn breaking_off_ends_at_once() {
    let (_, model) = model(Format::F32);
    let mut n = 0;
    let served = Generator::new(model).serve(requests(), &Sampling::GREEDY, &mut |_, _| {
        n += 1;
        ControlFlow::Break(())
    });
    assert!(served.is_ok());
    assert_eq!(n, 1);
}

#[test]
fn greedy_follows_the_naive_model() {
    let (small, model) = model(Format::F32);
    for (request, completion) in
        requests()
            .iter()
            .zip(generate(&model, &requests(), Sampling::GREEDY))
    {
        let run = [request.prompt.as_slice(), &completion.ids].concat();
        let rows = log_softmax_after_each(&small, &run, 1.0);
        for (i, (id, logprob)) in completion.ids.iter().zip(&completion.logprobs).enumerate() {
            let row = &rows[request.prompt.len() + i - 1];
            let best = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            assert!(best - row[*id as usize] < 1e-4);
            assert!((row[*id as usize] - f64::from(*logprob)).abs() < 1e-4);
        }
    }
}

#[test]
fn completions_end_at_the_end_token_or_at_the_cap() {
    let (_, model) = model(Format::F32);
    let many: Vec<Request> = (0..60)
        .map(|attempt| request(vec![3, 4], 0, attempt, 40))
        .collect();
    let mut stops = std::collections::HashSet::new();
    for sampling in [
        Sampling::at(1.0),
        Sampling {
            top_k: 5,
            top_p: 0.9,
            temperature: 1.3,
        },
    ] {
        for completion in generate(&model, &many, sampling) {
            let ends = completion.ids.iter().position(|id| *id == 1);
            match completion.stop_reason {
                StopReason::EndToken => assert_eq!(ends, Some(completion.ids.len() - 1)),
                _ => assert_eq!((ends, completion.ids.len()), (None, 40)),
            }
            assert!(completion.ids.iter().all(|id| *id < 29));
            assert_eq!(completion.ids.len(), completion.logprobs.len());
            stops.insert(completion.stop_reason);
        }
    }
    assert_eq!(stops.len(), 2, "both ends must occur");
}

#[test]
fn the_most_probable_ids_alone_are_drawn_when_the_tail_is_cut() {
    let (_, model) = model(Format::F32);
    let one = Sampling {
        top_k: 1,
        ..Sampling::at(2.0)
    };
    let greedy = generate(&model, &requests(), Sampling::GREEDY);
    for (cut, greedy) in generate(&model, &requests(), one).iter().zip(greedy) {
        assert_eq!(cut.ids, greedy.ids);
    }
}

#[test]
fn impossible_requests_and_broken_weights_are_refused_by_number() {
    let (mut small, model) = model(Format::F32);
    let refuse = |bad: Request| {
        let requests = [request(vec![2], 0, 0, 1), bad];
        Generator::new(Arc::clone(&model))
            .generate(&requests, &Sampling::GREEDY)
            .unwrap_err()
    };
    assert_eq!(
        refuse(request(vec![], 0, 0, 1)),
        GenerateError::EmptyPrompt { request_idx: 1 }
    );
    let unknown = GenerateError::UnknownId {
        request_idx: 1,
        id: 32,
        vocab_size: 32,
    };
    assert_eq!(refuse(request(vec![32], 0, 0, 1)), unknown);
    let over = GenerateError::OverWindow {
        request_idx: 1,
        n_prompt: 250,
        max_tokens: 7,
        window: 256,
    };
    assert_eq!(refuse(request(vec![2; 250], 0, 0, 7)), over);
    small.weights.values_mut()[1][0] = f32::NAN;
    let broken = Arc::new(small.model(&Cpu::detect()));
    let error = Generator::new(broken).generate(&[request(vec![2], 0, 0, 3)], &Sampling::at(1.0));
    assert_eq!(
        error.unwrap_err(),
        GenerateError::NotFinite {
            request_idx: 0,
            token_idx: 0
        }
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn company_changes_nothing(
        prompts in proptest::collection::vec((proptest::collection::vec(0_u32..3, 1..40), 0_usize..2, 1_usize..8), 1..8),
    ) {
        let (_, model) = model(Format::F32);
        let requests: Vec<Request> = prompts
            .into_iter()
            .enumerate()
            .map(|(i, (prompt, group, max_tokens))| request(prompt, group, i as u32, max_tokens))
            .collect();
        let together = generate(&model, &requests, Sampling::at(1.0));
        for (request, expected) in requests.into_iter().zip(together) {
            prop_assert_eq!(generate(&model, &[request], Sampling::at(1.0)), [expected]);
        }
    }
}
