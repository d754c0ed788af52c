//! Batched generation with a preallocated cache; a group's shared prefix is run once.

use burn::tensor::Tensor;
use longhand_rollout::{Completion, Generate, Request, Sampling, StopReason};
use thiserror::Error;

use crate::{
    backend::{Backend, Device},
    model::{Attention, Transformer, index_tensor},
    model_config::ModelConfig,
    sample::sample_token,
    tree_attention::{
        Heads, PrefixKeys, SuffixGrid, attend, causal_mask, keys_by_suffix, left_padded_mask,
        prefix_padding,
    },
};

/// Samples completions from a policy's weights as they were when it was made.
#[derive(Clone, Debug)]
pub struct Generator {
    config: ModelConfig,
    model: Transformer<Backend>,
    n_ids: usize,
    device: Device,
}

/// A request that cannot be sampled.
#[derive(Debug, Error, PartialEq)]
pub enum GenerateError {
    /// A prompt without tokens has nothing to continue.
    #[error("request {request_idx} has an empty prompt")]
    EmptyPrompt {
        /// Its place in the call.
        request_idx: usize,
    },
    /// The prompt and the tokens to come exceed the model's window.
    #[error(
        "request {request_idx} needs {n_prompt} + {max_tokens} tokens, the model's window holds {window}"
    )]
    OverWindow {
        /// Its place in the call.
        request_idx: usize,
        /// Tokens of the prompt.
        n_prompt: usize,
        /// Tokens asked for.
        max_tokens: usize,
        /// Tokens the model was made for.
        window: usize,
    },
    /// An id is not in the embedding.
    #[error("request {request_idx} has token id {id}, the model has {vocab_size} ids")]
    UnknownId {
        /// Its place in the call.
        request_idx: usize,
        /// The id.
        id: u32,
        /// Rows of the embedding.
        vocab_size: usize,
    },
    /// The model produced a NaN or only infinities.
    #[error(
        "the logits of request {request_idx} at token {token_idx} are not finite: the weights are broken"
    )]
    NotFinite {
        /// Its place in the call.
        request_idx: usize,
        /// Which sampled token.
        token_idx: usize,
    },
}

impl Generator {
    pub(crate) fn new(
        config: ModelConfig,
        model: Transformer<Backend>,
        n_ids: usize,
        device: Device,
    ) -> Self {
        Self {
            config,
            model,
            n_ids,
            device,
        }
    }

    fn check(&self, request_idx: usize, request: &Request) -> Result<(), GenerateError> {
        let vocab_size = self.config.vocab_size;
        if request.prompt.is_empty() {
            return Err(GenerateError::EmptyPrompt { request_idx });
        }
        if let Some(&id) = request.prompt.iter().find(|id| vocab_size <= **id as usize) {
            return Err(GenerateError::UnknownId {
                request_idx,
                id,
                vocab_size,
            });
        }
        let (n_prompt, max_tokens, window) = (
            request.prompt.len(),
            request.max_tokens,
            self.config.max_positions,
        );
        if window < n_prompt + max_tokens {
            return Err(GenerateError::OverWindow {
                request_idx,
                n_prompt,
                max_tokens,
                window,
            });
        }
        Ok(())
    }

    fn heads(&self) -> Heads {
        let ModelConfig {
            n_heads,
            n_kv_heads,
            head_dim,
            ..
        } = self.config;
        Heads {
            n_heads,
            n_kv_heads,
            head_dim,
        }
    }

    /// Runs the shared prefixes once and keeps their keys and values, one entry a layer.
    fn prefill_prefixes(&self, prefixes: &[&[u32]]) -> Vec<PrefixKeys<Backend>> {
        let longest = prefixes
            .iter()
            .map(|prefix| prefix.len())
            .max()
            .unwrap_or(0);
        if longest == 0 {
            return Vec::new();
        }
        let mut ids = Vec::with_capacity(prefixes.len() * longest);
        for prefix in prefixes {
            ids.extend(*prefix);
            ids.extend(std::iter::repeat_n(0, longest - prefix.len()));
        }
        let positions: Vec<usize> = (0..ids.len()).map(|i| i % longest).collect();
        let lengths: Vec<usize> = prefixes.iter().map(|prefix| prefix.len()).collect();
        let heads = self.heads();
        let mut prefill = PrefixPrefill {
            grid: SuffixGrid {
                groups: prefixes.len(),
                suffixes: 1,
                positions: longest,
            },
            heads,
            causal: causal_mask(longest, heads, &self.device),
            padding: prefix_padding(&lengths, longest, heads, &self.device),
            keys: Vec::with_capacity(self.config.n_layers),
        };
        self.model
            .trunk(&self.config, &ids, &positions, &mut prefill);
        prefill.keys
    }

    /// Logits `[rows][n_ids]` of the given rows of hidden states.
    fn logits(&self, hidden: Tensor<Backend, 2>, rows: impl Iterator<Item = usize>) -> Vec<f32> {
        let hidden = hidden.select(0, index_tensor(rows.map(|row| row as i32), &self.device));
        let hidden = self.model.final_norm(&self.config, hidden);
        let logits = hidden.matmul(self.model.head(self.n_ids));
        logits.into_data().iter::<f32>().collect()
    }
}

impl Generate for Generator {
    type Error = GenerateError;

    fn generate(
        &mut self,
        requests: &[Request],
        sampling: &Sampling,
    ) -> Result<Vec<Completion>, GenerateError> {
        for (request_idx, request) in requests.iter().enumerate() {
            self.check(request_idx, request)?;
        }
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let groups = group_requests(requests);
        let prefixes: Vec<&[u32]> = groups
            .iter()
            .map(|group| &requests[group.members[0]].prompt[..group.n_prefix])
            .collect();
        let prefix_keys = self.prefill_prefixes(&prefixes);

        let heads = self.heads();
        let n_suffixes = groups
            .iter()
            .map(|group| group.members.len())
            .max()
            .unwrap_or(0);
        let n_given = groups
            .iter()
            .flat_map(|g| {
                g.members
                    .iter()
                    .map(|r| requests[*r].prompt.len() - g.n_prefix)
            })
            .max()
            .unwrap_or(1);
        let mut grid = SuffixGrid {
            groups: groups.len(),
            suffixes: n_suffixes,
            positions: n_given,
        };
        // Rows of the grid; those beyond a group's members are padding.
        let mut rows: Vec<Row> = Vec::with_capacity(groups.len() * n_suffixes);
        for group in &groups {
            for member in 0..n_suffixes {
                rows.push(match group.members.get(member) {
                    Some(&request_idx) => {
                        Row::new(request_idx, &requests[request_idx], group.n_prefix)
                    }
                    None => Row::padding(),
                });
            }
        }
        let starts: Vec<usize> = rows.iter().map(|row| n_given - row.given.len()).collect();
        let most_new = requests
            .iter()
            .map(|request| request.max_tokens)
            .max()
            .unwrap_or(0);
        let capacity = n_given + most_new;
        let batch = groups.len() * heads.n_kv_heads * n_suffixes;
        let empty = || {
            Some(Tensor::zeros(
                [batch, capacity, heads.head_dim],
                &self.device,
            ))
        };
        let mut attention = CachedAttention {
            grid,
            heads,
            prefix: prefix_keys,
            cache: (0..self.config.n_layers)
                .map(|_| (empty(), empty()))
                .collect(),
            filled: 0,
            mask: left_padded_mask(&starts, n_given, grid, heads, &self.device),
        };

        let mut ids: Vec<u32> = Vec::with_capacity(grid.n_tokens());
        let mut positions: Vec<usize> = Vec::with_capacity(grid.n_tokens());
        for (row, start) in rows.iter().zip(&starts) {
            ids.extend(std::iter::repeat_n(0, *start));
            ids.extend(row.given);
            positions.extend(std::iter::repeat_n(0, *start));
            positions.extend(row.n_prefix..row.n_prefix + row.given.len());
        }
        while rows.iter().any(Row::is_open) {
            let hidden = self
                .model
                .trunk(&self.config, &ids, &positions, &mut attention);
            attention.filled += grid.positions;
            let logits = self.logits(
                hidden,
                (0..rows.len()).map(|row| (row + 1) * grid.positions - 1),
            );
            for (row, logits) in rows.iter_mut().zip(logits.chunks_exact(self.n_ids)) {
                row.sample(logits, sampling, &self.config.end_ids)?;
            }
            grid.positions = 1;
            attention.grid = grid;
            attention.mask =
                left_padded_mask(&starts, attention.filled + 1, grid, heads, &self.device);
            ids = rows.iter().map(Row::last_id).collect();
            positions = rows.iter().map(Row::last_position).collect();
        }
        let mut completions: Vec<Option<Completion>> = requests.iter().map(|_| None).collect();
        for row in rows {
            if let Some(open) = row.request {
                completions[open.request_idx] = Some(open.completion);
            }
        }
        Ok(completions.into_iter().flatten().collect())
    }
}

/// Requests that share a prefix.
struct RequestGroup {
    members: Vec<usize>,
    n_prefix: usize,
}

/// Requests by their `group`, in order of first appearance, with the length of the common prefix. The
/// last token of a prompt is never part of it: the first sampled token is predicted from that one.
fn group_requests(requests: &[Request]) -> Vec<RequestGroup> {
    let mut place = std::collections::HashMap::new();
    let mut groups: Vec<RequestGroup> = Vec::new();
    for (request_idx, request) in requests.iter().enumerate() {
        let group_idx = *place.entry(request.group).or_insert_with(|| {
            groups.push(RequestGroup {
                members: Vec::new(),
                n_prefix: request.prompt.len() - 1,
            });
            groups.len() - 1
        });
        let group = &mut groups[group_idx];
        if let Some(&first) = group.members.first() {
            let first = &requests[first].prompt[..group.n_prefix];
            let second = &request.prompt[..request.prompt.len() - 1];
            group.n_prefix = first.iter().zip(second).take_while(|(a, b)| a == b).count();
        }
        group.members.push(request_idx);
    }
    groups
}

/// One row of the grid: a request being continued, or padding.
struct Row<'a> {
    given: &'a [u32],
    n_prefix: usize,
    request: Option<OpenRequest>,
}

struct OpenRequest {
    request_idx: usize,
    max_tokens: usize,
    rng: rand_chacha::ChaCha8Rng,
    completion: Completion,
    open: bool,
}

impl<'a> Row<'a> {
    fn new(request_idx: usize, request: &'a Request, n_prefix: usize) -> Self {
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
                completion,
                open: 0 < request.max_tokens,
            }),
        }
    }

    fn padding() -> Self {
        Self {
            given: &[],
            n_prefix: 0,
            request: None,
        }
    }

    fn is_open(&self) -> bool {
        self.request.as_ref().is_some_and(|request| request.open)
    }

    fn sample(
        &mut self,
        logits: &[f32],
        sampling: &Sampling,
        end_ids: &[u32],
    ) -> Result<(), GenerateError> {
        let Some(request) = self.request.as_mut().filter(|request| request.open) else {
            return Ok(());
        };
        let completion = &mut request.completion;
        let token =
            sample_token(logits, sampling, &mut request.rng).ok_or(GenerateError::NotFinite {
                request_idx: request.request_idx,
                token_idx: completion.ids.len(),
            })?;
        completion.ids.push(token.id);
        completion.logprobs.push(token.logprob);
        if end_ids.contains(&token.id) {
            completion.stop_reason = StopReason::EndToken;
            request.open = false;
        } else if completion.ids.len() == request.max_tokens {
            request.open = false;
        }
        Ok(())
    }

    fn n_sampled(&self) -> usize {
        self.request
            .as_ref()
            .map_or(0, |request| request.completion.ids.len())
    }

    fn last_id(&self) -> u32 {
        self.request
            .as_ref()
            .and_then(|request| request.completion.ids.last())
            .copied()
            .unwrap_or(0)
    }

    fn last_position(&self) -> usize {
        (self.n_prefix + self.given.len() + self.n_sampled()).saturating_sub(1)
    }
}

/// Attention within the prefixes; keeps what later tokens need.
struct PrefixPrefill {
    grid: SuffixGrid,
    heads: Heads,
    causal: Tensor<Backend, 3>,
    padding: Option<Tensor<Backend, 3>>,
    keys: Vec<PrefixKeys<Backend>>,
}

impl Attention<Backend> for PrefixPrefill {
    fn attend(
        &mut self,
        _layer: usize,
        q: Tensor<Backend, 3>,
        k: Tensor<Backend, 3>,
        v: Tensor<Backend, 3>,
    ) -> Tensor<Backend, 2> {
        let keys = PrefixKeys {
            k: keys_by_suffix(k, self.grid, self.heads),
            v: keys_by_suffix(v, self.grid, self.heads),
            padding: self.padding.clone(),
        };
        self.keys.push(keys.clone());
        attend(
            q,
            keys.k,
            keys.v,
            self.causal.clone(),
            None,
            self.grid,
            self.heads,
        )
    }
}

/// Attention of new tokens over the prefix and a preallocated cache, which they join.
struct CachedAttention {
    grid: SuffixGrid,
    heads: Heads,
    prefix: Vec<PrefixKeys<Backend>>,
    cache: Vec<(Option<Tensor<Backend, 3>>, Option<Tensor<Backend, 3>>)>,
    filled: usize,
    mask: Tensor<Backend, 3>,
}

impl Attention<Backend> for CachedAttention {
    fn attend(
        &mut self,
        layer: usize,
        q: Tensor<Backend, 3>,
        k: Tensor<Backend, 3>,
        v: Tensor<Backend, 3>,
    ) -> Tensor<Backend, 2> {
        let (grid, heads, filled) = (self.grid, self.heads, self.filled);
        let (k_cache, v_cache) = &mut self.cache[layer];
        let k = append(k_cache, keys_by_suffix(k, grid, heads), filled);
        let v = append(v_cache, keys_by_suffix(v, grid, heads), filled);
        attend(
            q,
            k,
            v,
            self.mask.clone(),
            self.prefix.get(layer),
            grid,
            heads,
        )
    }
}

/// Writes new columns in place (the cache is the only owner) and returns everything written so far.
fn append(
    cache: &mut Option<Tensor<Backend, 3>>,
    new: Tensor<Backend, 3>,
    filled: usize,
) -> Tensor<Backend, 3> {
    let [batch, n_new, head_dim] = new.dims();
    let end = filled + n_new;
    let whole = match cache.take() {
        Some(whole) => whole.slice_assign([0..batch, filled..end, 0..head_dim], new),
        None => new,
    };
    let written = whole.clone().slice([0..batch, 0..end, 0..head_dim]);
    *cache = Some(whole);
    written
}
