//! The part of generation that goes token by token: rows, their caches, and who is still open.

use burn::tensor::Tensor;
use longhand_engine::{GenerateError, ModelConfig, sample_token};
use longhand_rollout::{Completion, Request, Sampling, StopReason};

use super::{
    generate::RequestGroup,
    model::{Attention, index_tensor},
    tree_attention::{Heads, PrefixKeys, SuffixGrid, attend, keys_by_suffix, left_padded_mask},
};
use crate::backend::{Backend, Device};

/// Requests being continued side by side.
///
/// Suffixes stand in a grid `groups × suffixes`, padded on the left so that all of them write their next
/// token to the same column of the cache. Groups whose members are all done leave the grid.
pub(crate) struct Decoding<'a> {
    /// Rows of the grid, group by group; those beyond a group's members are padding.
    rows: Vec<Row<'a>>,
    /// First column of each row that is no padding.
    starts: Vec<usize>,
    attention: CachedAttention,
    finished: Vec<Row<'a>>,
    device: Device,
}

impl<'a> Decoding<'a> {
    pub(crate) fn new(
        requests: &'a [Request],
        groups: &[RequestGroup],
        prefix_keys: Vec<PrefixKeys<Backend>>,
        config: &ModelConfig,
        device: &Device,
    ) -> Self {
        let n_suffixes = groups
            .iter()
            .map(|group| group.members.len())
            .max()
            .unwrap_or(0);
        let mut rows: Vec<Row<'a>> = Vec::with_capacity(groups.len() * n_suffixes);
        for group in groups {
            let members = group.members.iter();
            rows.extend(members.map(|&idx| Row::new(idx, &requests[idx], group.n_prefix)));
            rows.extend((group.members.len()..n_suffixes).map(|_| Row::padding()));
        }
        let n_given = rows.iter().map(|row| row.given.len()).max().unwrap_or(0);
        let starts: Vec<usize> = rows.iter().map(|row| n_given - row.given.len()).collect();
        let grid = SuffixGrid {
            groups: groups.len(),
            suffixes: n_suffixes,
            positions: n_given,
        };
        let heads = Heads {
            n_heads: config.n_heads,
            n_kv_heads: config.n_kv_heads,
            head_dim: config.head_dim,
        };
        let most_new = requests
            .iter()
            .map(|request| request.max_tokens)
            .max()
            .unwrap_or(0);
        let shape = [
            rows.len() * heads.n_kv_heads,
            n_given + most_new,
            heads.head_dim,
        ];
        let empty = || Some(Tensor::zeros(shape, device));
        let attention = CachedAttention {
            grid,
            heads,
            prefix: prefix_keys,
            cache: (0..config.n_layers)
                .map(|_| LayerCache {
                    k: empty(),
                    v: empty(),
                })
                .collect(),
            filled: 0,
            mask: left_padded_mask(&starts, n_given, grid, heads, device),
        };
        Self {
            rows,
            starts,
            attention,
            finished: Vec::new(),
            device: Device::clone(device),
        }
    }

    /// Whether any request is not done.
    pub(crate) fn is_open(&self) -> bool {
        self.rows.iter().any(Row::is_open)
    }

    /// Ids and positions of the tokens to run next, in the order of the grid.
    pub(crate) fn tokens(&self) -> (Vec<u32>, Vec<usize>) {
        if self.attention.filled != 0 {
            let positions = self.rows.iter().map(Row::last_position).collect();
            return (self.rows.iter().map(Row::last_id).collect(), positions);
        }
        let (mut ids, mut positions) = (Vec::new(), Vec::new());
        for (row, start) in self.rows.iter().zip(&self.starts) {
            ids.extend(std::iter::repeat_n(0, *start));
            ids.extend(row.given);
            positions.extend(std::iter::repeat_n(0, *start));
            positions.extend(row.n_prefix..row.n_prefix + row.given.len());
        }
        (ids, positions)
    }

    /// The attention of those tokens.
    pub(crate) fn attention(&mut self) -> &mut impl Attention<Backend> {
        &mut self.attention
    }

    /// For each row of the grid, the place of its last token among those just run.
    pub(crate) fn last_rows(&self) -> impl Iterator<Item = usize> {
        let positions = self.attention.grid.positions;
        (1..=self.rows.len()).map(move |row| row * positions - 1)
    }

    /// Takes the logits `[rows][n_ids]` after the tokens just run and samples one token a row.
    pub(crate) fn sample(
        &mut self,
        logits: &[f32],
        n_ids: usize,
        sampling: &Sampling,
        end_ids: &[u32],
    ) -> Result<(), GenerateError> {
        for (row, logits) in self.rows.iter_mut().zip(logits.chunks_exact(n_ids)) {
            row.sample(logits, sampling, end_ids)?;
        }
        let attention = &mut self.attention;
        attention.filled += attention.grid.positions;
        attention.grid.positions = 1;
        self.drop_finished_groups();
        let Self {
            attention,
            starts,
            device,
            ..
        } = self;
        let own = attention.filled + 1;
        attention.mask = left_padded_mask(starts, own, attention.grid, attention.heads, device);
        Ok(())
    }

    /// Groups that are done leave the grid once they are half of it.
    fn drop_finished_groups(&mut self) {
        let SuffixGrid {
            groups, suffixes, ..
        } = self.attention.grid;
        let is_open = |group: &usize| {
            self.rows[group * suffixes..(group + 1) * suffixes]
                .iter()
                .any(Row::is_open)
        };
        let open: Vec<usize> = (0..groups).filter(is_open).collect();
        if open.is_empty() || groups < 2 * open.len() {
            return;
        }
        let rows = std::mem::take(&mut self.rows);
        let starts = std::mem::take(&mut self.starts);
        for (row_idx, (row, start)) in rows.into_iter().zip(starts).enumerate() {
            if open.binary_search(&(row_idx / suffixes)).is_ok() {
                self.rows.push(row);
                self.starts.push(start);
            } else {
                self.finished.push(row);
            }
        }
        self.attention.keep_groups(&open, &self.device);
    }

    /// The completions in the order of the requests.
    pub(crate) fn into_completions(self) -> Vec<Completion> {
        let rows = self.rows.into_iter().chain(self.finished);
        let mut open: Vec<OpenRequest> = rows.filter_map(|row| row.request).collect();
        open.sort_by_key(|request| request.request_idx);
        open.into_iter().map(|request| request.completion).collect()
    }
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

/// Attention of new tokens over the prefix and a preallocated cache, which they join.
struct CachedAttention {
    grid: SuffixGrid,
    heads: Heads,
    prefix: Vec<PrefixKeys<Backend>>,
    cache: Vec<LayerCache>,
    filled: usize,
    mask: Tensor<Backend, 3>,
}

/// Keys and values of one layer, each `[groups * kv_heads * suffixes, capacity, head_dim]`; none only
/// while one is being written to.
struct LayerCache {
    k: Option<Tensor<Backend, 3>>,
    v: Option<Tensor<Backend, 3>>,
}

impl CachedAttention {
    /// Leaves out all groups but these, given in ascending order.
    fn keep_groups(&mut self, groups: &[usize], device: &Device) {
        // Both tensors are laid out group by group, so a group is a run of rows.
        let rows = |rows_a_group: usize| {
            let of_group = |group: &usize| group * rows_a_group..(group + 1) * rows_a_group;
            index_tensor(
                groups.iter().flat_map(of_group).map(|row| row as i32),
                device,
            )
        };
        let kv_heads = self.heads.n_kv_heads;
        let of_prefix = rows(kv_heads);
        for keys in &mut self.prefix {
            keys.k = keys.k.clone().select(0, of_prefix.clone());
            keys.v = keys.v.clone().select(0, of_prefix.clone());
            keys.padding = keys
                .padding
                .take()
                .map(|padding| padding.select(0, of_prefix.clone()));
        }
        let of_suffix = rows(kv_heads * self.grid.suffixes);
        for LayerCache { k, v } in &mut self.cache {
            *k = k.take().map(|k| k.select(0, of_suffix.clone()));
            *v = v.take().map(|v| v.select(0, of_suffix.clone()));
        }
        self.grid.groups = groups.len();
    }
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
        let cache = &mut self.cache[layer];
        let k = append(&mut cache.k, keys_by_suffix(k, grid, heads), filled);
        let v = append(&mut cache.v, keys_by_suffix(v, grid, heads), filled);
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
