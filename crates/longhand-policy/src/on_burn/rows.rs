//! Requests being continued, and what each of them has so far.

use longhand_engine::{GenerateError, SampledToken, sample_token};
use longhand_rollout::{Completion, Request, Sampling, StopReason};
use rand::RngExt;

/// One row of the grid: a request being continued, or padding.
pub(crate) struct Row<'a> {
    /// Tokens of the prompt after the shared prefix.
    pub(crate) given: &'a [u32],
    n_prefix: usize,
    request: Option<OpenRequest>,
}

struct OpenRequest {
    request_idx: usize,
    max_tokens: usize,
    rng: rand_chacha::ChaCha8Rng,
    /// What the stream has given so far, for sampled tokens and for tokens to come.
    uniforms: Vec<f32>,
    completion: Completion,
    open: bool,
}

impl<'a> Row<'a> {
    pub(crate) fn new(request_idx: usize, request: &'a Request, n_prefix: usize) -> Self {
        let completion = Completion {
            ids: Vec::new(),
            logprobs: Vec::new(),
            stop_reason: StopReason::MaxTokens,
        };
        Self {
            given: &request.prompt[n_prefix..],
            n_prefix,
            request: Some(OpenRequest {
                request_idx,
                max_tokens: request.max_tokens,
                rng: request.key.rng(),
                uniforms: Vec::new(),
                completion,
                open: 0 < request.max_tokens,
            }),
        }
    }

    pub(crate) fn padding() -> Self {
        Self {
            given: &[],
            n_prefix: 0,
            request: None,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.request.as_ref().is_some_and(|request| request.open)
    }

    /// Positions of the given tokens.
    pub(crate) fn given_positions(&self) -> std::ops::Range<usize> {
        self.n_prefix..self.n_prefix + self.given.len()
    }

    /// The position of the last token.
    pub(crate) fn last_position(&self) -> usize {
        let n_sampled = self
            .request
            .as_ref()
            .map_or(0, |request| request.completion.ids.len());
        (self.given_positions().end + n_sampled).saturating_sub(1)
    }

    /// The uniform numbers of the next `n` tokens, one each from the row's stream, rounded to f32; none
    /// when the row is done.
    pub(crate) fn uniforms(&mut self, n: usize) -> &[f32] {
        let Some(request) = self.request.as_mut().filter(|request| request.open) else {
            return &[];
        };
        let n_sampled = request.completion.ids.len();
        // What was drawn ahead of a token stays that token's.
        while request.uniforms.len() < n_sampled + n {
            request.uniforms.push(request.rng.random::<f64>() as f32);
        }
        &request.uniforms[n_sampled..n_sampled + n]
    }

    /// Takes the next id, unless the row is done; its log-probability follows ([`Row::push_logprobs`]).
    pub(crate) fn push_id(&mut self, id: u32, end_ids: &[u32]) {
        let Some(request) = self.request.as_mut().filter(|request| request.open) else {
            return;
        };
        let completion = &mut request.completion;
        completion.ids.push(id);
        if end_ids.contains(&id) {
            completion.stop_reason = StopReason::EndToken;
            request.open = false;
        } else if completion.ids.len() == request.max_tokens {
            request.open = false;
        }
    }

    /// Takes the log-probabilities of the ids that have none yet, in their order.
    pub(crate) fn push_logprobs(
        &mut self,
        logprobs: impl Iterator<Item = f32>,
    ) -> Result<(), GenerateError> {
        let Some(request) = &mut self.request else {
            return Ok(());
        };
        let Completion {
            ids,
            logprobs: known,
            ..
        } = &mut request.completion;
        for logprob in logprobs.take(ids.len() - known.len()) {
            if logprob.is_nan() {
                return Err(GenerateError::NotFinite {
                    request_idx: request.request_idx,
                    token_idx: known.len(),
                });
            }
            known.push(logprob);
        }
        Ok(())
    }

    /// Draws the next token from logits on the host and takes it; none when the row is done.
    pub(crate) fn sample(
        &mut self,
        logits: &[f32],
        sampling: &Sampling,
        end_ids: &[u32],
    ) -> Result<Option<u32>, GenerateError> {
        let Some(request) = self.request.as_mut().filter(|request| request.open) else {
            return Ok(None);
        };
        let SampledToken { id, logprob } =
            sample_token(logits, sampling, &mut request.rng).ok_or(GenerateError::NotFinite {
                request_idx: request.request_idx,
                token_idx: request.completion.ids.len(),
            })?;
        self.push_id(id, end_ids);
        self.push_logprobs(std::iter::once(logprob))?;
        Ok(Some(id))
    }

    /// The completion with the place of its request; none for padding.
    pub(crate) fn into_completion(self) -> Option<(usize, Completion)> {
        self.request
            .map(|request| (request.request_idx, request.completion))
    }
}
