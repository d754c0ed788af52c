//! What is asked of whatever samples tokens: a model in this process, a server, or a script.

use std::ops::ControlFlow;

use longhand_memory::StopReason;

use crate::{RolloutError, StreamKey};

/// One prompt to continue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Token ids to continue, `[n_prompt]`; never empty.
    pub prompt: Vec<u32>,
    /// Most tokens to sample, the end token included; at least 1.
    pub max_tokens: usize,
    /// Requests of one group are likely to begin with the same tokens, worth prefilling once.
    /// How many they share is for the generator to find out.
    pub group: usize,
    /// The random stream to draw from, and from no other: so a completion does not depend on the
    /// batch.
    pub key: StreamKey,
}

/// What was sampled after one prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// The sampled ids, the end token included if one was sampled, `[n_sampled]`.
    pub ids: Vec<u32>,
    /// Natural log-probability of each of them, `[n_sampled]`: log-softmax of `logits /
    /// temperature` over the tokenizer's ids, before top-k and top-p cut anything. At temperature
    /// 0, that of temperature 1.
    pub logprobs: Vec<f32>,
    /// Why sampling ended.
    pub stop_reason: StopReason,
}

impl Completion {
    /// Keeps the first `n_tokens`, as sampling that was broken off there.
    pub fn break_off_after(&mut self, n_tokens: usize) {
        self.ids.truncate(n_tokens);
        self.logprobs.truncate(n_tokens);
        self.stop_reason = StopReason::MaxTokens;
    }
}

/// How tokens are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Sampling {
    /// Logits are divided by this; 0 takes the most probable token.
    pub temperature: f32,
    /// The fewest most probable tokens whose share reaches this are kept; 1 keeps all.
    pub top_p: f32,
    /// This many most probable tokens are kept; 0 keeps all.
    pub top_k: usize,
}

impl Sampling {
    /// The most probable token each time.
    pub const GREEDY: Sampling = Sampling {
        temperature: 0.0,
        top_p: 1.0,
        top_k: 0,
    };

    /// The whole distribution at this temperature.
    pub fn at(temperature: f32) -> Self {
        Sampling {
            temperature,
            top_p: 1.0,
            top_k: 0,
        }
    }

    /// Whether tokens can be drawn in this way.
    ///
    /// # Errors
    /// [`RolloutError::Temperature`] unless it is finite and at least 0; [`RolloutError::TopP`]
    /// unless it is above 0 and at most 1.
    pub fn check(&self) -> Result<(), RolloutError> {
        let Sampling {
            temperature,
            top_p,
            top_k: _,
        } = *self;
        if !(temperature.is_finite() && 0.0 <= temperature) {
            return Err(RolloutError::Temperature { temperature });
        }
        if !(0.0 < top_p && top_p <= 1.0) {
            return Err(RolloutError::TopP { top_p });
        }
        Ok(())
    }
}

/// Which version of a policy's weights samples: what rollouts remember, so that nobody trains on those
/// of another version without knowing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WeightsId {
    /// Updates that the policy had seen.
    pub version: u64,
    /// A digest of the numbers themselves; none where they do not lie in this machine's memory.
    pub digest: Option<u128>,
}

impl WeightsId {
    /// The digest as 32 hexadecimal digits.
    pub fn digest_hex(&self) -> Option<String> {
        self.digest.map(|digest| format!("{digest:032x}"))
    }
}

impl std::fmt::Display for WeightsId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "version {}", self.version)?;
        match self.digest_hex() {
            Some(digest) => write!(f, ", digest {digest}"),
            None => Ok(()),
        }
    }
}

/// Samples completions. Closures of the required method's shape implement it.
pub trait Generate {
    /// Why it may fail.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The weights it samples from; none for generators that have no version to tell.
    fn weights_id(&self) -> Option<WeightsId> {
        None
    }

    /// The request, by its number, and the sampled token at which numbers stopped being finite, where
    /// that is what an error says.
    fn not_finite_at(&self, _error: &Self::Error) -> Option<(usize, usize)> {
        None
    }

    /// One completion for each request, in their order.
    ///
    /// # Errors
    /// Whatever keeps the generator from sampling all of them.
    fn generate(
        &mut self,
        requests: &[Request],
        sampling: &Sampling,
    ) -> Result<Vec<Completion>, Self::Error>;

    /// One completion, token by token: `on_token` is told each as it is sampled, the end token included,
    /// and may break off. What comes back then ends with the token at which it did, and has
    /// [`StopReason::MaxTokens`]; whoever broke off knows. Ids, log-probabilities and stop reason of a
    /// completion that was let to its end are those of [`Generate::generate`], to the bit.
    ///
    /// The provided method hands over the tokens when all are sampled. A generator that has them one by
    /// one does better to override it.
    ///
    /// # Errors
    /// As for [`Generate::generate`].
    ///
    /// # Panics
    /// The provided method, when `generate` returns no completion for the request.
    fn stream(
        &mut self,
        request: &Request,
        sampling: &Sampling,
        on_token: &mut dyn FnMut(u32) -> ControlFlow<()>,
    ) -> Result<Completion, Self::Error> {
        let mut completions = self.generate(std::slice::from_ref(request), sampling)?;
        let Some(mut completion) = completions.pop() else {
            panic!("the generator was given one request and returned no completion");
        };
        let broken_off = completion
            .ids
            .iter()
            .position(|id| on_token(*id).is_break());
        if let Some(last) = broken_off {
            completion.break_off_after(last + 1);
        }
        Ok(completion)
    }

    /// Answers requests as they finish, in any order, while new ones join, until none is open.
    ///
    /// `on_finished` is told a request's number and its completion, and returns the requests to
    /// take in next, or breaks off: then the requests still open are dropped. Requests are numbered
    /// from 0 in the order in which they were handed in: `first` in its order, and then those that
    /// `on_finished` returned.
    ///
    /// The provided method works in waves: all requests in hand are one call of
    /// [`Generate::generate`], their completions are reported in order, and those that join wait
    /// for the next call. A generator that can let them join at once does better to override it.
    ///
    /// # Errors
    /// [`ServeError::Generate`] with whatever keeps the generator from sampling,
    /// [`ServeError::CompletionCount`] when a call returned too few or too many completions.
    fn serve(
        &mut self,
        first: Vec<Request>,
        sampling: &Sampling,
        on_finished: &mut dyn FnMut(usize, Completion) -> ControlFlow<(), Vec<Request>>,
    ) -> Result<(), ServeError<Self::Error>> {
        let mut n_finished = 0;
        let mut wave = first;
        while !wave.is_empty() {
            let completions = self
                .generate(&wave, sampling)
                .map_err(ServeError::Generate)?;
            if completions.len() != wave.len() {
                return Err(ServeError::CompletionCount {
                    n_requests: wave.len(),
                    n_completions: completions.len(),
                });
            }
            wave.clear();
            for completion in completions {
                let ControlFlow::Continue(joining) = on_finished(n_finished, completion) else {
                    return Ok(());
                };
                n_finished += 1;
                wave.extend(joining);
            }
        }
        Ok(())
    }
}

/// Why requests could not be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError<E> {
    /// The generator failed.
    #[error(transparent)]
    Generate(E),
    /// The generator gave back another number of completions.
    #[error(
        "the generator was given {n_requests} requests and returned {n_completions} completions"
    )]
    CompletionCount {
        /// Requests in the call.
        n_requests: usize,
        /// Completions it returned.
        n_completions: usize,
    },
}

impl<F, E> Generate for F
where
    F: FnMut(&[Request], &Sampling) -> Result<Vec<Completion>, E>,
    E: std::error::Error + Send + Sync + 'static,
{
    type Error = E;

    fn generate(
        &mut self,
        requests: &[Request],
        sampling: &Sampling,
    ) -> Result<Vec<Completion>, E> {
        self(requests, sampling)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::{Purpose, StreamBase};

    fn request(name: u32) -> Request {
        let streams = StreamBase {
            seed: 0,
            purpose: Purpose::ROLLOUT,
            step: 0,
        };
        Request {
            prompt: vec![name],
            max_tokens: 1,
            group: 0,
            key: streams.key(0, 0, 0),
        }
    }

    /// The prompts' names of each call, and `(number, id)` of each completion as it was reported,
    /// when a completion is its request's name plus 100. `joining` says who follows after a
    /// completion, or `None` to break off.
    fn check(
        first: &[u32],
        joining: impl Fn(u32) -> Option<Vec<u32>>,
        calls: &[&[u32]],
        reported: &[(usize, u32)],
    ) {
        let mut found_calls = Vec::new();
        let mut generator = |requests: &[Request], _: &Sampling| {
            let names: Vec<u32> = requests.iter().map(|request| request.prompt[0]).collect();
            let completion = |name: &u32| Completion {
                ids: vec![100 + name],
                logprobs: vec![-1.0],
                stop_reason: StopReason::MaxTokens,
            };
            let completions = names.iter().map(completion).collect();
            found_calls.push(names);
            Ok::<_, Infallible>(completions)
        };
        let mut found = Vec::new();
        let mut on_finished = |request_idx, completion: Completion| {
            found.push((request_idx, completion.ids[0]));
            match joining(completion.ids[0]) {
                Some(names) => ControlFlow::Continue(names.into_iter().map(request).collect()),
                None => ControlFlow::Break(()),
            }
        };
        let first = first.iter().copied().map(request).collect();
        generator
            .serve(first, &Sampling::GREEDY, &mut on_finished)
            .unwrap();
        assert_eq!(found_calls, calls);
        assert_eq!(found, reported);
    }

    #[test]
    fn no_request_makes_no_call() {
        check(&[], |_| Some(vec![]), &[], &[]);
    }

    #[test]
    fn requests_that_join_make_the_next_wave_and_are_numbered_as_they_come() {
        let joining = |id| match id {
            107 => Some(vec![1, 2]),
            109 => Some(vec![3]),
            102 => Some(vec![4]),
            _ => Some(vec![]),
        };
        check(
            &[7, 8, 9],
            joining,
            &[&[7, 8, 9], &[1, 2, 3], &[4]],
            &[
                (0, 107),
                (1, 108),
                (2, 109),
                (3, 101),
                (4, 102),
                (5, 103),
                (6, 104),
            ],
        );
    }

    #[test]
    fn nothing_is_sampled_or_reported_after_breaking_off() {
        let joining = |id| (id != 108).then(|| vec![1]);
        check(&[7, 8, 9], joining, &[&[7, 8, 9]], &[(0, 107), (1, 108)]);
    }

    /// What is told of the tokens 5, 6 and an end when telling breaks off at `last`, and what comes back.
    fn check_stream(last: Option<u32>, told: &[u32], returned: Completion) {
        let mut generator = |_: &[Request], _: &Sampling| {
            Ok::<_, Infallible>(vec![Completion {
                ids: vec![5, 6, 0],
                logprobs: vec![-1.0, -2.0, -3.0],
                stop_reason: StopReason::EndToken,
            }])
        };
        let mut found = Vec::new();
        let mut on_token = |id| {
            found.push(id);
            if Some(id) == last {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let completion = generator.stream(&request(1), &Sampling::GREEDY, &mut on_token);
        assert_eq!(completion.unwrap(), returned);
        assert_eq!(found, told);
    }

    #[test]
    fn tokens_are_told_in_order_until_told_to_break_off() {
        let completion = |n_tokens, stop_reason| Completion {
            ids: [5, 6, 0][..n_tokens].to_vec(),
            logprobs: [-1.0, -2.0, -3.0][..n_tokens].to_vec(),
            stop_reason,
        };
        check_stream(None, &[5, 6, 0], completion(3, StopReason::EndToken));
        check_stream(Some(5), &[5], completion(1, StopReason::MaxTokens));
        check_stream(Some(6), &[5, 6], completion(2, StopReason::MaxTokens));
    }

    #[test]
    fn settings_that_cannot_be_sampled_from_are_refused() {
        let text = |temperature, top_p| {
            Sampling {
                temperature,
                top_p,
                top_k: 0,
            }
            .check()
            .map_err(|error| error.to_string())
        };
        assert_eq!(text(0.0, 1.0), Ok(()));
        assert_eq!(text(1.5, 0.1), Ok(()));
        assert_eq!(
            text(-1.0, 1.0),
            Err("temperature is -1: it must be at least 0".to_owned())
        );
        assert!(
            text(f32::NAN, 1.0)
                .unwrap_err()
                .starts_with("temperature is NaN")
        );
        assert!(
            text(f32::INFINITY, 1.0)
                .unwrap_err()
                .starts_with("temperature is inf")
        );
        for top_p in [0.0, 1.1, f32::NAN] {
            assert!(
                text(1.0, top_p).unwrap_err().starts_with("top_p is "),
                "{top_p}"
            );
        }
    }
}
