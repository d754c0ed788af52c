//! The part of generation that goes token by token: rows, their caches, and who is still open.

use burn::tensor::{Int, Tensor, TensorData};
use longhand_engine::{GenerateError, ModelConfig};
use longhand_rollout::{Completion, Request, Sampling};

use super::{
    cached_attention::CachedAttention,
    draw::{Choice, Drawn, draw},
    generate::RequestGroup,
    model::{Attention, id_tensor, index_tensor},
    rows::Row,
    shapes::Shapes,
    to_host,
    tree_attention::{PrefixKeys, SuffixGrid},
};
use crate::backend::{Backend, Device};

/// Tokens of each row that are drawn before their log-probabilities come to the host.
const STEPS_A_BLOCK: usize = 64;

/// Requests being continued side by side.
///
/// Suffixes stand in a grid `groups × suffixes`, padded on the left so that all of them write their next
/// token to the same column of the cache. Groups whose members are all done leave the grid.
///
/// Tokens are drawn on the device, and of each step only the ids come to the host, which looks for end
/// tokens; uniform numbers go there, and log-probabilities come back, a block of steps at a time. A row
/// whose logits are not finite is found out with its log-probabilities. Top-k and top-p, which sort, are
/// left to the host, and cost a row of logits each step.
pub(crate) struct Decoding<'a> {
    /// Rows of the grid, group by group; those beyond a group's members are padding.
    rows: Vec<Row<'a>>,
    attention: CachedAttention,
    /// The last token of each row; none before the first is drawn.
    last_ids: Option<Tensor<Backend, 1, Int>>,
    sampling: Sampling,
    /// `[STEPS_A_BLOCK, rows]`; none before a block's first step, and when nothing is drawn by number.
    uniforms: Option<Tensor<Backend, 2>>,
    /// `[rows]` for each step of the block so far.
    logprobs: Vec<Tensor<Backend, 1>>,
    finished: Vec<Row<'a>>,
    shapes: Shapes,
    device: Device,
}

impl<'a> Decoding<'a> {
    /// Starts requests after their prefixes, whose keys are in as many groups as the shapes ask for.
    pub(crate) fn new(
        requests: &'a [Request],
        groups: &[RequestGroup],
        prefix_keys: Vec<PrefixKeys<Backend>>,
        sampling: &Sampling,
        config: &ModelConfig,
        shapes: Shapes,
        device: &Device,
    ) -> Self {
        let n_groups = shapes.count(groups.len());
        let most_members = groups.iter().map(|group| group.members.len()).max();
        let n_suffixes = shapes.count(most_members.unwrap_or(0));
        let mut rows: Vec<Row<'a>> = Vec::with_capacity(n_groups * n_suffixes);
        for group in groups {
            let members = group.members.iter();
            rows.extend(members.map(|&idx| Row::new(idx, &requests[idx], group.n_prefix)));
            rows.extend((group.members.len()..n_suffixes).map(|_| Row::padding()));
        }
        rows.resize_with(n_groups * n_suffixes, Row::padding);
        let n_given = rows.iter().map(|row| row.given.len()).max().unwrap_or(0);
        let grid = SuffixGrid {
            groups: n_groups,
            suffixes: n_suffixes,
            positions: shapes.length(n_given),
        };
        let starts = rows.iter().map(|row| grid.positions - row.given.len());
        let most_new = requests.iter().map(|request| request.max_tokens).max();
        let attention = CachedAttention::new(
            prefix_keys,
            grid,
            &starts.collect::<Vec<usize>>(),
            grid.positions + most_new.unwrap_or(0),
            config,
            shapes,
            device,
        );
        Self {
            rows,
            attention,
            last_ids: None,
            sampling: *sampling,
            uniforms: None,
            logprobs: Vec::new(),
            finished: Vec::new(),
            shapes,
            device: Device::clone(device),
        }
    }

    /// Whether any request is not done.
    pub(crate) fn is_open(&self) -> bool {
        self.rows.iter().any(Row::is_open)
    }

    /// Ids and positions of the tokens to run next, in the order of the grid.
    pub(crate) fn tokens(&self) -> (Tensor<Backend, 1, Int>, Vec<usize>) {
        if let Some(ids) = &self.last_ids {
            let positions = self.rows.iter().map(Row::last_position).collect();
            return (ids.clone(), positions);
        }
        let (mut ids, mut positions) = (Vec::new(), Vec::new());
        for row in &self.rows {
            let n_padding = self.attention.grid().positions - row.given.len();
            ids.extend(std::iter::repeat_n(0, n_padding));
            ids.extend(row.given);
            positions.extend(std::iter::repeat_n(0, n_padding));
            positions.extend(row.given_positions());
        }
        (id_tensor(&ids, &self.device), positions)
    }

    /// The attention of those tokens.
    pub(crate) fn attention(&mut self) -> &mut impl Attention<Backend> {
        &mut self.attention
    }

    /// Of hidden states `[n_tokens, hidden]` of the tokens just run, those of each row's last.
    pub(crate) fn last_of_rows(&self, hidden: Tensor<Backend, 2>) -> Tensor<Backend, 2> {
        let positions = self.attention.grid().positions;
        if positions == 1 {
            return hidden;
        }
        let lasts = (1..=self.rows.len()).map(|row| (row * positions) as i32 - 1);
        hidden.select(0, index_tensor(lasts, &self.device))
    }

    /// Takes the logits `[rows, n_ids]` after the tokens just run and samples one token a row.
    pub(crate) fn sample(
        &mut self,
        logits: Tensor<Backend, 2>,
        end_ids: &[u32],
    ) -> Result<(), GenerateError> {
        let [_, n_ids] = logits.dims();
        let Sampling { top_k, top_p, .. } = self.sampling;
        let is_cut = 0 < top_k && top_k < n_ids || top_p < 1.0;
        let ids = if is_cut && !self.is_greedy() {
            self.sample_on_host(logits, end_ids)?
        } else {
            self.sample_on_device(logits, end_ids)
        };
        self.last_ids = Some(ids);
        let kept = self.groups_to_keep();
        if kept.is_some() || !self.is_open() || self.logprobs.len() == STEPS_A_BLOCK {
            self.end_block()?;
        }
        if let Some(kept) = &kept {
            self.keep_rows(kept);
        }
        if self.is_open() {
            self.attention.advance(kept.as_deref());
        }
        Ok(())
    }

    fn is_greedy(&self) -> bool {
        self.sampling.temperature == 0.0
    }

    fn sample_on_host(
        &mut self,
        logits: Tensor<Backend, 2>,
        end_ids: &[u32],
    ) -> Result<Tensor<Backend, 1, Int>, GenerateError> {
        let [n_rows, n_ids] = logits.dims();
        let logits = to_host(logits.reshape([n_rows * n_ids]));
        let mut ids = Vec::with_capacity(n_rows);
        for (row, logits) in self.rows.iter_mut().zip(logits.chunks_exact(n_ids)) {
            let id = row.sample(logits, &self.sampling, end_ids)?;
            ids.push(id.unwrap_or(0));
        }
        Ok(id_tensor(&ids, &self.device))
    }

    fn sample_on_device(
        &mut self,
        logits: Tensor<Backend, 2>,
        end_ids: &[u32],
    ) -> Tensor<Backend, 1, Int> {
        let choice = if self.is_greedy() {
            Choice::MostProbable
        } else {
            let (step, n_rows) = (self.logprobs.len(), self.rows.len());
            let of_step = self
                .block_uniforms()
                .slice([step..step + 1, 0..n_rows])
                .reshape([n_rows]);
            Choice::Drawn(f64::from(self.sampling.temperature), of_step)
        };
        let Drawn { ids, logprobs } = draw(logits, choice);
        self.logprobs.push(logprobs);
        // The one wait of a step: whether it was the last is for the host to say.
        let on_host = ids.clone().into_data();
        for (row, id) in self.rows.iter_mut().zip(on_host.iter::<i32>()) {
            row.push_id(id as u32, end_ids);
        }
        ids
    }

    /// The uniform numbers of the block, taken there at its first step.
    fn block_uniforms(&mut self) -> Tensor<Backend, 2> {
        let Self {
            uniforms,
            rows,
            device,
            ..
        } = self;
        let upload = || {
            let n_rows = rows.len();
            let mut of_steps = vec![0.0_f32; STEPS_A_BLOCK * n_rows];
            for (row_idx, row) in rows.iter_mut().enumerate() {
                for (step, uniform) in row.uniforms(STEPS_A_BLOCK).iter().enumerate() {
                    of_steps[step * n_rows + row_idx] = *uniform;
                }
            }
            Tensor::from_data(TensorData::new(of_steps, [STEPS_A_BLOCK, n_rows]), &*device)
        };
        uniforms.get_or_insert_with(upload).clone()
    }

    /// Brings the log-probabilities of the block to their rows.
    fn end_block(&mut self) -> Result<(), GenerateError> {
        self.uniforms = None;
        if self.logprobs.is_empty() {
            return Ok(());
        }
        let n_rows = self.rows.len();
        let logprobs = to_host(Tensor::cat(std::mem::take(&mut self.logprobs), 0));
        for (row_idx, row) in self.rows.iter_mut().enumerate() {
            row.push_logprobs(logprobs.iter().skip(row_idx).step_by(n_rows).copied())?;
        }
        Ok(())
    }

    /// Groups that are done leave the grid once they are half of it; a few may stay to fill up its shape.
    fn groups_to_keep(&self) -> Option<Vec<usize>> {
        let SuffixGrid {
            groups, suffixes, ..
        } = self.attention.grid();
        let is_open = |group: &usize| {
            self.rows[group * suffixes..(group + 1) * suffixes]
                .iter()
                .any(Row::is_open)
        };
        let (mut kept, done): (Vec<usize>, Vec<usize>) = (0..groups).partition(is_open);
        let n_kept = self.shapes.count(kept.len());
        if kept.is_empty() || groups < 2 * n_kept {
            return None;
        }
        kept.extend(&done[..n_kept - kept.len()]);
        kept.sort_unstable();
        Some(kept)
    }

    fn keep_rows(&mut self, groups: &[usize]) {
        let suffixes = self.attention.grid().suffixes;
        let mut kept = Vec::with_capacity(groups.len() * suffixes);
        for (row_idx, row) in std::mem::take(&mut self.rows).into_iter().enumerate() {
            if groups.binary_search(&(row_idx / suffixes)).is_ok() {
                kept.push(row_idx as i32);
                self.rows.push(row);
            } else {
                self.finished.push(row);
            }
        }
        let kept = index_tensor(kept.into_iter(), &self.device);
        self.last_ids = self.last_ids.take().map(|ids| ids.select(0, kept));
    }

    /// The completions in the order of the requests.
    pub(crate) fn into_completions(self) -> Vec<Completion> {
        let rows = self.rows.into_iter().chain(self.finished);
        let mut completions: Vec<_> = rows.filter_map(Row::into_completion).collect();
        completions.sort_by_key(|(request_idx, _)| *request_idx);
        completions
            .into_iter()
            .map(|(_, completion)| completion)
            .collect()
    }
}
