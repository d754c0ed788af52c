//! Many readers side by side, one generator: each asks for its next turn when its last one is done.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use longhand_memory::TeacherScope;

use crate::ServeError;
use crate::attempt::Attempt;
use crate::{
    Completion, EncodedProblem, Generate, Group, ReaderSetup, Request, RolloutError, Sampling,
    StreamBase, WeightsId,
};

/// How to collect.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CollectOptions {
    /// Attempts at each problem; at least 1.
    pub group_size: usize,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// The random streams to draw from.
    pub streams: StreamBase,
    /// Most requests that are open at a time; at least 1. It changes no rollout.
    pub max_batch: usize,
    /// Which teacher prompts to record at the turns that read, if any.
    pub teacher: Option<TeacherScope>,
}

/// Lets `group_size` readers read each problem to its answer and records every token.
///
/// `problems` are pairs of the problem's index in its source, which names its random streams, and
/// the problem. The groups come in the same order. A rollout depends on its stream, its problem,
/// the generator's weights and the sampling settings; not on `max_batch`, the other problems,
/// their order, or the order in which requests finish.
///
/// Attempts begin problem by problem, `max_batch` of them at first. Whenever a turn is done, the
/// attempt's next turn is asked for at once; when an attempt has answered, the next one begins in
/// its place. So readers that read may be mixed with readers that already answer. Requests of one
/// problem name the same [`Request::group`], its place in `problems`.
///
/// # Errors
/// Settings and problems that cannot be read are refused before anything is sampled. Later, the
/// generator's own error, or a completion that breaks its promise: another number of completions,
/// one for a request that is not open, log-probabilities that do not match the ids or are not
/// finite ([`RolloutError::NotFinite`]), more tokens than asked for, or tokens after an end token.
pub fn collect<G: Generate + ?Sized>(
    generator: &mut G,
    problems: &[(u64, Arc<EncodedProblem>)],
    setup: &ReaderSetup,
    options: &CollectOptions,
) -> Result<Vec<Group>, RolloutError> {
    let attempts = start(problems, setup, options)?;
    run(generator, attempts, problems, options)
}

/// Attempt number `attempt` at one problem, alone: the same rollout as among the others of its group.
///
/// # Errors
/// As [`collect`]; an attempt that the group does not have.
pub fn collect_attempt<G: Generate + ?Sized>(
    generator: &mut G,
    problem: &(u64, Arc<EncodedProblem>),
    attempt: u32,
    setup: &ReaderSetup,
    options: &CollectOptions,
) -> Result<Group, RolloutError> {
    let problems = std::slice::from_ref(problem);
    let mut attempts = start(problems, setup, options)?;
    attempts.retain(|one| one.attempt == attempt);
    if attempts.is_empty() {
        return Err(RolloutError::NoAttempt {
            attempt,
            group_size: options.group_size,
        });
    }
    let groups = run(generator, attempts, problems, options)?;
    Ok(groups.into_iter().next().expect("one problem, one group"))
}

/// Serves the attempts until all have answered.
fn run<G: Generate + ?Sized>(
    generator: &mut G,
    attempts: Vec<Attempt>,
    problems: &[(u64, Arc<EncodedProblem>)],
    options: &CollectOptions,
) -> Result<Vec<Group>, RolloutError> {
    let weights = generator.weights_id();
    let mut rollouts = Rollouts {
        attempts,
        options,
        n_begun: 0,
        n_requests: 0,
        open: HashMap::new(),
    };
    let first = (0..options.max_batch).map_while(|_| rollouts.begin_next());
    let first = first.collect();
    let mut broken_promise = None;
    let mut on_finished = |request_idx, completion| match rollouts.reply(request_idx, completion) {
        Ok(next) => ControlFlow::Continue(next.into_iter().collect()),
        Err(error) => {
            broken_promise.get_or_insert(error);
            ControlFlow::Break(())
        }
    };
    let served = generator.serve(first, &options.sampling, &mut on_finished);
    if let Some(error) = broken_promise {
        return Err(error);
    }
    if let Err(ServeError::Generate(error)) = &served
        && let Some((request_idx, token)) = generator.not_finite_at(error)
        && let Some(attempt_idx) = rollouts.open.get(&request_idx)
    {
        let attempt = &rollouts.attempts[*attempt_idx];
        return Err(RolloutError::NotFinite {
            problem_idx: attempt.problem_idx,
            attempt: attempt.attempt,
            turn: attempt.turns.len() as u32,
            token,
            value: f32::NAN,
        });
    }
    served?;
    rollouts.into_groups(problems, weights)
}

/// All attempts, and which of them wait for a completion.
struct Rollouts<'a> {
    /// Problem by problem.
    attempts: Vec<Attempt>,
    options: &'a CollectOptions,
    /// Attempts that have been asked for their first turn: as many at the head of the list.
    n_begun: usize,
    /// Requests handed in; the next one has this number.
    n_requests: usize,
    /// The attempt of each open request, by the request's number.
    open: HashMap<usize, usize>,
}

impl Rollouts<'_> {
    /// The first request of the next attempt, if there is one left.
    fn begin_next(&mut self) -> Option<Request> {
        while self.n_begun < self.attempts.len() {
            self.n_begun += 1;
            let request = self.request(self.n_begun - 1);
            if request.is_some() {
                return request;
            }
        }
        None
    }

    /// The next request of an attempt, which is open from now on; `None` when it has answered.
    fn request(&mut self, attempt_idx: usize) -> Option<Request> {
        let request = self.attempts[attempt_idx].request(&self.options.streams)?;
        self.open.insert(self.n_requests, attempt_idx);
        self.n_requests += 1;
        Some(request)
    }

    /// Takes a completion, and says what to ask in its place.
    fn reply(
        &mut self,
        request_idx: usize,
        completion: Completion,
    ) -> Result<Option<Request>, RolloutError> {
        let Some(attempt_idx) = self.open.remove(&request_idx) else {
            return Err(RolloutError::NotOpen { request_idx });
        };
        self.attempts[attempt_idx].reply(completion, self.options.teacher)?;
        let next_turn = self.request(attempt_idx);
        Ok(next_turn.or_else(|| self.begin_next()))
    }

    /// What is on record, refused while a request is open.
    fn into_groups(
        self,
        problems: &[(u64, Arc<EncodedProblem>)],
        weights: Option<WeightsId>,
    ) -> Result<Vec<Group>, RolloutError> {
        if !self.open.is_empty() {
            return Err(RolloutError::CompletionCount {
                n_requests: self.n_requests,
                n_completions: self.n_requests - self.open.len(),
            });
        }
        let mut groups: Vec<Group> = problems
            .iter()
            .map(|(problem_idx, problem)| Group {
                problem_idx: *problem_idx,
                problem: Arc::clone(problem),
                trajectories: Vec::with_capacity(self.options.group_size),
                weights,
            })
            .collect();
        for attempt in self.attempts {
            let place = attempt.problem_place;
            groups[place].trajectories.push(attempt.into_trajectory());
        }
        Ok(groups)
    }
}

/// Every attempt at its first turn, problem by problem; all that can be refused is refused here.
fn start(
    problems: &[(u64, Arc<EncodedProblem>)],
    setup: &ReaderSetup,
    options: &CollectOptions,
) -> Result<Vec<Attempt>, RolloutError> {
    options.sampling.check()?;
    let group_size = u32::try_from(options.group_size).unwrap_or(0);
    if group_size == 0 {
        return Err(RolloutError::GroupSize {
            group_size: options.group_size,
        });
    }
    if options.max_batch == 0 {
        return Err(RolloutError::MaxBatchZero);
    }
    let mut seen = HashSet::new();
    let mut attempts = Vec::new();
    for (problem_place, (problem_idx, problem)) in problems.iter().enumerate() {
        if !seen.insert(*problem_idx) {
            return Err(RolloutError::RepeatedProblem {
                problem_idx: *problem_idx,
            });
        }
        let reader = setup.reader(problem)?;
        if let Some(scope) = options.teacher {
            reader
                .check_teacher(scope)
                .map_err(|source| RolloutError::Reader {
                    id: problem.id.clone(),
                    source,
                })?;
        }
        attempts.extend((0..group_size).map(|attempt| Attempt {
            problem_place,
            problem_idx: *problem_idx,
            attempt,
            reader: reader.clone(),
            turns: Vec::with_capacity(reader.n_turns()),
        }));
    }
    Ok(attempts)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use longhand_memory::{
        ChunkOptions, Document, ReaderLimits, StopReason, TemplatesText, TurnKind,
    };
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    use super::*;
    use crate::{Purpose, StreamKey};

    const END: u32 = 0;
    const Q: u32 = 1000;

    fn setup() -> ReaderSetup {
        let text = TemplatesText::parse("{question}{chunk}{memory}", "{question}{memory}", "");
        ReaderSetup {
            chunks: ChunkOptions::new(3, 0, Some(4)).unwrap(),
            templates: Arc::new(text.unwrap().compile(|_| vec![])),
            limits: ReaderLimits {
                max_question_tokens: 1,
                max_memory_tokens: 4,
                max_answer_tokens: 3,
                window: None,
            },
            end_ids: vec![END],
        }
    }

    /// A document of `n_tokens` whose second token is relevant; the question names the problem.
    fn problem(idx: u64, n_tokens: u32) -> (u64, Arc<EncodedProblem>) {
        let relevant = if n_tokens < 2 {
            vec![]
        } else {
            std::iter::once(1..2).collect()
        };
        let document = Document::new((100..100 + n_tokens).collect(), relevant).unwrap();
        let problem = EncodedProblem {
            id: format!("p{idx}"),
            question: vec![Q + idx as u32],
            document: Arc::new(document),
            ..EncodedProblem::default()
        };
        (idx, Arc::new(problem))
    }

    fn options(group_size: usize, max_batch: usize) -> CollectOptions {
        CollectOptions {
            group_size,
            sampling: Sampling::at(1.0),
            streams: StreamBase {
                seed: 3,
                purpose: Purpose::ROLLOUT,
                step: 2,
            },
            max_batch,
            teacher: None,
        }
    }

    /// Draws a completion from the request's stream alone; the ids also depend on the prompt.
    fn draw(request: &Request) -> Completion {
        let mut rng = request.key.rng();
        let of_prompt = request
            .prompt
            .iter()
            .fold(7_u32, |hash, id| hash.wrapping_mul(31) ^ id);
        let wanted = 1 + rng.next_u32() as usize % (request.max_tokens + 1);
        let mut ids: Vec<u32> = (0..wanted.min(request.max_tokens))
            .map(|_| 1 + (rng.next_u32() ^ of_prompt) % 50)
            .collect();
        let mut stop_reason = StopReason::MaxTokens;
        if wanted <= request.max_tokens {
            ids[wanted - 1] = END;
            stop_reason = StopReason::EndToken;
        }
        let logprobs = ids
            .iter()
            .map(|_| -((rng.next_u32() >> 8) as f32))
            .collect();
        Completion {
            ids,
            logprobs,
            stop_reason,
        }
    }

    fn scripted(requests: &[Request], _: &Sampling) -> Result<Vec<Completion>, Infallible> {
        Ok(requests.iter().map(draw).collect())
    }

    #[test]
    fn an_attempt_alone_is_the_one_among_its_group() {
        let problems = [problem(5, 9), problem(2, 4)];
        let options = options(3, 2);
        let all = collected(&problems, &options).unwrap();
        for attempt in 0..3 {
            let alone =
                collect_attempt(&mut scripted, &problems[1], attempt, &setup(), &options).unwrap();
            assert_eq!(alone.problem_idx, 2);
            let expected = &all[1].trajectories[attempt as usize];
            assert_eq!(alone.trajectories, std::slice::from_ref(expected));
        }
        let error = collect_attempt(&mut scripted, &problems[1], 3, &setup(), &options);
        assert_eq!(
            error.unwrap_err().to_string(),
            "there is no attempt 3: groups have 3 attempts, from 0"
        );
    }

    #[test]
    fn numbers_that_break_in_the_generator_are_placed() {
        #[derive(Debug, thiserror::Error)]
        #[error("request {0} broke")]
        struct Broken(usize);
        struct Breaks;
        impl Generate for Breaks {
            type Error = Broken;
            fn not_finite_at(&self, error: &Broken) -> Option<(usize, usize)> {
                Some((error.0, 2))
            }
            fn generate(
                &mut self,
                requests: &[Request],
                sampling: &Sampling,
            ) -> Result<Vec<Completion>, Broken> {
                // Four attempts read their first chunk, then the third of them breaks.
                match requests[0].key.turn {
                    0 => Ok(scripted(requests, sampling).unwrap_or_default()),
                    _ => Err(Broken(6)),
                }
            }
        }
        let problems = [problem(5, 9), problem(8, 9)];
        let error = collect(&mut Breaks, &problems, &setup(), &options(2, 4)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the log-probability of token 2 of problem 8, attempt 0, turn 1 is NaN"
        );
    }

    #[test]
    fn groups_remember_the_weights_that_sampled_them() {
        struct Versioned;
        impl Generate for Versioned {
            type Error = Infallible;
            fn weights_id(&self) -> Option<WeightsId> {
                Some(WeightsId {
                    version: 7,
                    digest: Some(0xab),
                })
            }
            fn generate(
                &mut self,
                requests: &[Request],
                sampling: &Sampling,
            ) -> Result<Vec<Completion>, Infallible> {
                scripted(requests, sampling)
            }
        }
        let groups = collect(&mut Versioned, &[problem(5, 9)], &setup(), &options(2, 2)).unwrap();
        let weights = groups[0].weights.unwrap();
        assert_eq!(
            weights.to_string(),
            "version 7, digest 000000000000000000000000000000ab"
        );
    }

    fn collected(
        problems: &[(u64, Arc<EncodedProblem>)],
        options: &CollectOptions,
    ) -> Result<Vec<Group>, RolloutError> {
        collect(&mut scripted, problems, &setup(), options)
    }

    #[test]
    fn no_problem_makes_no_group() {
        assert_eq!(collected(&[], &options(2, 3)).unwrap(), []);
    }

    #[test]
    fn readers_of_different_lengths_advance_in_one_call_until_the_last_has_answered() {
        let mut calls: Vec<Vec<(usize, StreamKey, Vec<u32>)>> = Vec::new();
        let mut generator = |requests: &[Request], _: &Sampling| {
            let seen = |request: &Request| (request.group, request.key, request.prompt.clone());
            calls.push(requests.iter().map(seen).collect());
            let reply = Completion {
                ids: vec![7, END],
                logprobs: vec![-1.0; 2],
                stop_reason: StopReason::EndToken,
            };
            Ok::<_, Infallible>(vec![reply; requests.len()])
        };
        let problems = [problem(5, 4), problem(2, 0)];
        let options = options(2, 10);
        let groups = collect(&mut generator, &problems, &setup(), &options).unwrap();

        let key = |problem, attempt, turn| options.streams.key(problem, attempt, turn);
        let first = vec![Q + 5, 100, 101, 102];
        assert_eq!(calls.len(), 3);
        assert_eq!(
            calls[0],
            [
                (0, key(5, 0, 0), first.clone()),
                (0, key(5, 1, 0), first),
                (1, key(2, 0, 0), vec![Q + 2]),
                (1, key(2, 1, 0), vec![Q + 2]),
            ]
        );
        let second = vec![Q + 5, 103, 7];
        assert_eq!(
            calls[1],
            [(0, key(5, 0, 1), second.clone()), (0, key(5, 1, 1), second)]
        );
        assert_eq!(calls[2][1], (0, key(5, 1, 2), vec![Q + 5, 7]));

        assert_eq!(
            groups
                .iter()
                .map(|group| group.problem_idx)
                .collect::<Vec<_>>(),
            [5, 2]
        );
        let kinds: Vec<_> = groups[0].trajectories[1]
            .turns
            .iter()
            .map(|turn| turn.kind)
            .collect();
        let read = |chunk_idx| TurnKind::Read { chunk_idx };
        assert_eq!(kinds, [read(0), read(1), TurnKind::Answer]);
        assert_eq!(groups[1].trajectories[0].turns.len(), 1);
        assert_eq!(groups[1].trajectories[0].answer, [7]);
    }

    #[test]
    fn an_attempt_keeps_its_place_until_it_has_answered_and_the_next_one_takes_it() {
        let mut calls = Vec::new();
        let mut generator = |requests: &[Request], sampling: &Sampling| {
            let seen = |request: &Request| (request.group, request.key.attempt, request.key.turn);
            calls.push(requests.iter().map(seen).collect::<Vec<_>>());
            scripted(requests, sampling)
        };
        // Three turns an attempt, one, and two.
        let problems = [problem(5, 4), problem(2, 0), problem(9, 1)];
        collect(&mut generator, &problems, &setup(), &options(2, 3)).unwrap();
        assert_eq!(
            calls,
            [
                vec![(0, 0, 0), (0, 1, 0), (1, 0, 0)],
                vec![(0, 0, 1), (0, 1, 1), (1, 1, 0)],
                vec![(0, 0, 2), (0, 1, 2), (2, 0, 0)],
                vec![(2, 1, 0), (2, 0, 1)],
                vec![(2, 1, 1)],
            ]
        );
    }

    #[test]
    fn what_was_sampled_is_recorded_token_by_token_and_carried_without_its_end() {
        let options = options(3, 2);
        let groups = collected(&[problem(0, 9)], &options).unwrap();
        let mut stops = HashSet::new();
        for (attempt, trajectory) in groups[0].trajectories.iter().enumerate() {
            let mut memory: &[u32] = &[];
            for (turn_idx, turn) in trajectory.turns.iter().enumerate() {
                let (chunk, max_tokens) = match turn.kind {
                    TurnKind::Read { chunk_idx } => {
                        (&groups[0].problem.document.ids[3 * chunk_idx..][..3], 4)
                    }
                    TurnKind::Answer => (&[][..], 3),
                };
                let prompt = [&[Q], chunk, memory].concat();
                assert_eq!(turn.prompt, prompt);
                let key = options.streams.key(0, attempt as u32, turn_idx as u32);
                let expect = draw(&Request {
                    prompt,
                    max_tokens,
                    group: 0,
                    key,
                });
                assert_eq!(turn.completion, expect.ids);
                assert_eq!(turn.rollout_logprobs, expect.logprobs);
                assert_eq!(turn.stop_reason, expect.stop_reason);
                assert_eq!(turn.teacher_prompt, None);
                memory = turn
                    .completion
                    .strip_suffix(&[END])
                    .unwrap_or(&turn.completion);
                stops.insert(turn.stop_reason);
            }
            assert_eq!(trajectory.turns.len(), 4);
            assert_eq!(trajectory.answer, memory);
            assert_eq!(trajectory.dropped_tokens, 0);
        }
        assert_eq!(
            stops.len(),
            2,
            "the script must both end and hit the cap: {stops:?}"
        );
    }

    #[test]
    fn teacher_prompts_are_recorded_at_the_turns_that_read() {
        let options = CollectOptions {
            teacher: Some(TeacherScope::Chunk),
            ..options(1, 1)
        };
        let groups = collected(&[problem(0, 6)], &options).unwrap();
        let turns = &groups[0].trajectories[0].turns;
        let memory = turns[1].prompt[4..].to_vec();
        assert_eq!(turns[0].teacher_prompt, Some(vec![Q, 101]));
        assert_eq!(turns[1].teacher_prompt, Some([vec![Q], memory].concat()));
        assert_eq!(turns[2].teacher_prompt, None);
    }

    #[test]
    fn tokens_cut_from_a_long_document_are_on_record() {
        let groups = collected(&[problem(0, 15)], &options(1, 1)).unwrap();
        let trajectory = &groups[0].trajectories[0];
        assert_eq!((trajectory.turns.len(), trajectory.dropped_tokens), (5, 3));
    }

    #[test]
    fn one_rollout_can_be_replayed_alone() {
        let all = collected(&[problem(4, 7), problem(1, 2)], &options(3, 4)).unwrap();
        let alone = collected(&[problem(1, 2)], &options(1, 1)).unwrap();
        assert_eq!(alone[0].trajectories[0], all[1].trajectories[0]);
    }

    #[test]
    fn attempts_differ() {
        let groups = collected(&[problem(0, 9)], &options(2, 9)).unwrap();
        assert_ne!(groups[0].trajectories[0], groups[0].trajectories[1]);
    }

    #[test]
    fn bad_settings_are_refused_before_anything_is_sampled() {
        let mut generator = |_: &[Request], _: &Sampling| -> Result<Vec<Completion>, Infallible> {
            unreachable!("nothing may be sampled")
        };
        let mut text = |problems: &[_], setup: &ReaderSetup, options: CollectOptions| {
            collect(&mut generator, problems, setup, &options)
                .unwrap_err()
                .to_string()
        };
        let two = [problem(0, 3), problem(1, 3)];
        assert!(text(&two, &setup(), options(0, 1)).starts_with("group_size is 0"));
        assert!(text(&two, &setup(), options(1, 0)).starts_with("max_batch is 0"));
        let twice = [problem(3, 1), problem(3, 2)];
        assert!(
            text(&twice, &setup(), options(1, 1)).starts_with("problem 3 is in the list twice")
        );
        let cold = CollectOptions {
            sampling: Sampling::at(-1.0),
            ..options(1, 1)
        };
        assert!(text(&two, &setup(), cold).starts_with("temperature is -1"));

        let mut short = setup();
        short.limits.max_question_tokens = 0;
        assert_eq!(
            text(&two, &short, options(1, 1)),
            "problem p0 cannot be read: the question has 1 tokens, over max_question_tokens = 0; \
             shorten it or raise the limit"
        );
        // The student of one chunk needs 1 + 1 + 0 + 4 tokens, the teacher no more, but the whole
        // document's relevant text is six tokens.
        let mut tight = setup();
        tight.chunks = ChunkOptions::new(1, 0, None).unwrap();
        tight.limits.window = Some(10);
        let document = Document::new(vec![1; 6], std::iter::once(0..6).collect()).unwrap();
        let wide = EncodedProblem {
            document: Arc::new(document),
            ..(*two[0].1).clone()
        };
        let wide = [(0, Arc::new(wide))];
        let teacher = CollectOptions {
            teacher: Some(TeacherScope::Document),
            ..options(1, 1)
        };
        let refused = text(&wide, &tight, teacher);
        assert!(
            refused.starts_with("problem p0 cannot be read: the whole-document teacher"),
            "{refused}"
        );
        assert!(collect(&mut scripted, &wide, &tight, &options(1, 1)).is_ok());
    }

    #[test]
    fn a_generator_that_breaks_its_promise_is_named_with_the_turn() {
        let text = |ids: &[u32], logprobs: &[f32]| {
            let completion = Completion {
                ids: ids.to_vec(),
                logprobs: logprobs.to_vec(),
                stop_reason: StopReason::EndToken,
            };
            let mut generator = |requests: &[Request], _: &Sampling| {
                // The first turn is fine, the second is not.
                let ok = requests[0].key.turn == 0;
                let completion = if ok {
                    draw(&requests[0])
                } else {
                    completion.clone()
                };
                Ok::<_, Infallible>(vec![completion])
            };
            collect(&mut generator, &[problem(6, 3)], &setup(), &options(1, 1))
                .map(|_| ())
                .map_err(|error| error.to_string())
        };
        assert_eq!(text(&[7, END], &[-1.0, -2.0]), Ok(()));
        assert_eq!(text(&[], &[]), Ok(()));
        let completion = "the completion of problem 6, attempt 0, turn 1";
        let expect = |problem| Err(format!("{completion} {problem}"));
        assert_eq!(text(&[7], &[]), expect("has 1 ids but 0 log-probabilities"));
        assert_eq!(
            text(&[7; 4], &[-1.0; 4]),
            expect("has 4 tokens, 3 were asked for")
        );
        assert_eq!(
            text(&[7, 8], &[-1.0, f32::NAN]),
            Err("the log-probability of token 1 of problem 6, attempt 0, turn 1 is NaN".to_owned())
        );
        assert_eq!(
            text(&[END, 8], &[-1.0; 2]),
            expect("goes on after its end token 0 at token 0")
        );
    }

    #[test]
    fn a_generator_that_fails_or_miscounts_is_an_error() {
        let mut short = |_: &[Request], _: &Sampling| Ok::<_, Infallible>(vec![]);
        let error = collect(&mut short, &[problem(0, 3)], &setup(), &options(2, 2)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the generator was given 2 requests and returned 0 completions"
        );
        let mut broken = |_: &[Request], _: &Sampling| {
            Err::<Vec<Completion>, _>(std::io::Error::other("no device"))
        };
        let error = collect(&mut broken, &[problem(0, 3)], &setup(), &options(1, 1)).unwrap_err();
        assert_eq!(error.to_string(), "cannot generate: no device");
    }

    /// Serves by hand: the requests, and what to report of them.
    struct ByHand<F>(F);

    type OnFinished<'a> = dyn FnMut(usize, Completion) -> ControlFlow<(), Vec<Request>> + 'a;

    impl<F> Generate for ByHand<F>
    where
        F: FnMut(Vec<Request>, &mut OnFinished<'_>),
    {
        type Error = Infallible;

        fn generate(&mut self, _: &[Request], _: &Sampling) -> Result<Vec<Completion>, Infallible> {
            unreachable!("requests are served")
        }

        fn serve(
            &mut self,
            first: Vec<Request>,
            _: &Sampling,
            on_finished: &mut OnFinished<'_>,
        ) -> Result<(), ServeError<Infallible>> {
            (self.0)(first, on_finished);
            Ok(())
        }
    }

    #[test]
    fn answers_to_what_is_not_open_and_answers_left_out_are_errors() {
        let text = |serve: fn(Vec<Request>, &mut OnFinished<'_>)| {
            collect(
                &mut ByHand(serve),
                &[problem(0, 3)],
                &setup(),
                &options(2, 2),
            )
            .unwrap_err()
            .to_string()
        };
        let stopped = "the generator was given 3 requests and returned 1 completions";
        assert_eq!(
            text(|first, on_finished| {
                assert!(on_finished(1, draw(&first[1])).is_continue());
            }),
            stopped
        );
        let not_open = |request_idx| {
            format!("the generator finished request {request_idx}, which is not open")
        };
        assert_eq!(
            text(|first, on_finished| {
                assert!(on_finished(2, draw(&first[0])).is_break());
                // What comes after the error does not hide it.
                assert!(on_finished(9, draw(&first[0])).is_break());
            }),
            not_open(2)
        );
        assert_eq!(
            text(|first, on_finished| {
                assert!(on_finished(0, draw(&first[0])).is_continue());
                assert!(on_finished(0, draw(&first[0])).is_break());
            }),
            not_open(0)
        );
    }

    proptest! {
        #[test]
        fn rollouts_do_not_depend_on_who_finishes_first_and_no_place_stays_empty(
            lengths in proptest::collection::vec(0_u32..16, 1..6),
            group_size in 1_usize..4,
            max_batch in 1_usize..20,
            seed in any::<u64>(),
        ) {
            let problems: Vec<_> =
                lengths.iter().enumerate().map(|(idx, &n)| problem(idx as u64, n)).collect();
            let expect = collected(&problems, &options(group_size, 1)).unwrap();

            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            // For each completion: its request's key, those that joined, and how many were open.
            let mut log: Vec<(StreamKey, Vec<StreamKey>, usize)> = Vec::new();
            let mut generator = ByHand(|first: Vec<Request>, on_finished: &mut OnFinished<'_>| {
                let mut n_requests = first.len();
                let mut open: Vec<_> = first.into_iter().enumerate().collect();
                while !open.is_empty() {
                    let n_open = open.len();
                    let (request_idx, request) =
                        open.swap_remove(rng.next_u32() as usize % n_open);
                    let ControlFlow::Continue(joining) = on_finished(request_idx, draw(&request))
                    else {
                        return;
                    };
                    let keys = joining.iter().map(|request| request.key).collect();
                    log.push((request.key, keys, n_open));
                    open.extend((n_requests..).zip(joining));
                    n_requests += log[log.len() - 1].1.len();
                }
            });
            let found = collect(&mut generator, &problems, &setup(), &options(group_size, max_batch));
            prop_assert_eq!(&found.unwrap(), &expect);

            let mut n_unfinished = problems.len() * group_size;
            for (key, joined, n_open) in log {
                prop_assert_eq!(n_open, n_unfinished.min(max_batch));
                let n_turns = expect[key.problem as usize].trajectories[0].turns.len();
                if key.turn as usize + 1 < n_turns {
                    prop_assert_eq!(joined, [StreamKey { turn: key.turn + 1, ..key }]);
                } else {
                    n_unfinished -= 1;
                    prop_assert!(joined.iter().all(|key| key.turn == 0));
                }
            }
            prop_assert_eq!(n_unfinished, 0);
        }

        #[test]
        fn rollouts_depend_on_neither_batch_size_nor_order(
            lengths in proptest::collection::vec(0_u32..16, 1..6),
            group_size in 1_usize..4,
            max_batch in 1_usize..20,
            rotate in 0_usize..6,
        ) {
            let problems: Vec<_> =
                lengths.iter().enumerate().map(|(idx, &n)| problem(idx as u64, n)).collect();
            let expect = collected(&problems, &options(group_size, 1)).unwrap();
            let mut shuffled = problems.clone();
            shuffled.rotate_left(rotate % problems.len());
            shuffled.reverse();
            let mut found = collected(&shuffled, &options(group_size, max_batch)).unwrap();
            found.sort_by_key(|group| group.problem_idx);
            prop_assert_eq!(found, expect);
        }
    }
}
