//! Attention in which all suffixes of a group see one shared prefix, exactly and without copying it.
//!
//! Scores against the prefix are one product per group (`suffixes · positions` rows against the prefix's
//! keys); scores against the suffix's own keys are one product per suffix; a joint softmax over both makes
//! the result equal to attention over `prefix ++ suffix`.

use burn::tensor::{Tensor, TensorData, activation::softmax, backend::Backend};
use longhand_engine::ModelConfig;

/// Added to a score that must not count; its exponential is exactly zero in f32.
const HIDDEN: f32 = -1e9;

/// How a flat list of suffix tokens is laid out: `groups × suffixes × positions`, padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SuffixGrid {
    pub(crate) groups: usize,
    pub(crate) suffixes: usize,
    pub(crate) positions: usize,
}

impl SuffixGrid {
    pub(crate) fn n_tokens(&self) -> usize {
        self.groups * self.suffixes * self.positions
    }
}

/// Keys and values of the shared prefixes of one layer, each `[groups * kv_heads, prefix, head_dim]`.
#[derive(Clone, Debug)]
pub(crate) struct PrefixKeys<B: Backend> {
    pub(crate) k: Tensor<B, 3>,
    pub(crate) v: Tensor<B, 3>,
    /// `[groups * kv_heads, 1, prefix]` to add to scores; none when every prefix has the full length.
    pub(crate) padding: Option<Tensor<B, 3>>,
}

/// Head counts and width.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads {
    pub(crate) n_heads: usize,
    pub(crate) n_kv_heads: usize,
    pub(crate) head_dim: usize,
}

impl Heads {
    /// Those of a model.
    pub(crate) fn of(config: &ModelConfig) -> Self {
        Self {
            n_heads: config.n_heads,
            n_kv_heads: config.n_kv_heads,
            head_dim: config.head_dim,
        }
    }
}

/// Keys or values `[n_tokens, kv_heads, head_dim]` to `[groups * kv_heads * suffixes, positions, head_dim]`.
pub(crate) fn keys_by_suffix<B: Backend>(
    x: Tensor<B, 3>,
    grid: SuffixGrid,
    heads: Heads,
) -> Tensor<B, 3> {
    let SuffixGrid {
        groups,
        suffixes,
        positions,
    } = grid;
    let Heads {
        n_kv_heads,
        head_dim,
        ..
    } = heads;
    x.reshape([groups, suffixes, positions, n_kv_heads, head_dim])
        .permute([0, 3, 1, 2, 4])
        .reshape([groups * n_kv_heads * suffixes, positions, head_dim])
}

/// Attention of suffix queries `[n_tokens, heads, head_dim]` over the prefix and over their own keys and
/// values `[groups * kv_heads * suffixes, own, head_dim]`.
///
/// `own_mask` is added to own scores; it broadcasts to
/// `[groups * kv_heads * suffixes, heads_per_kv * positions, own]`.
/// Returns `[n_tokens, heads * head_dim]`.
pub(crate) fn attend<B: Backend>(
    q: Tensor<B, 3>,
    own_k: Tensor<B, 3>,
    own_v: Tensor<B, 3>,
    own_mask: Tensor<B, 3>,
    prefix: Option<&PrefixKeys<B>>,
    grid: SuffixGrid,
    heads: Heads,
) -> Tensor<B, 2> {
    let SuffixGrid {
        groups,
        suffixes,
        positions,
    } = grid;
    let Heads {
        n_heads,
        n_kv_heads,
        head_dim,
    } = heads;
    let per_kv = n_heads / n_kv_heads;
    let rows = per_kv * positions;
    let batch = groups * n_kv_heads * suffixes;
    let own = own_k.dims()[1];

    let q = q
        .mul_scalar(1.0 / (head_dim as f64).sqrt())
        .reshape([groups, suffixes, positions, n_kv_heads, per_kv, head_dim])
        .permute([0, 3, 1, 4, 2, 5])
        .reshape([batch, rows, head_dim]);
    let own_scores = masked(q.clone().matmul(own_k.swap_dims(1, 2)), own_mask);

    let attended = match prefix {
        None => softmax(own_scores, 2).matmul(own_v),
        Some(prefix) => {
            let [_, n_prefix, _] = prefix.k.dims();
            let mut prefix_scores = q
                .reshape([groups * n_kv_heads, suffixes * rows, head_dim])
                .matmul(prefix.k.clone().swap_dims(1, 2));
            if let Some(padding) = &prefix.padding {
                prefix_scores = prefix_scores + padding.clone();
            }
            let scores = Tensor::cat(
                vec![prefix_scores.reshape([batch, rows, n_prefix]), own_scores],
                2,
            );
            let weights = softmax(scores, 2);
            let to_prefix = weights
                .clone()
                .slice([0..batch, 0..rows, 0..n_prefix])
                .reshape([groups * n_kv_heads, suffixes * rows, n_prefix])
                .matmul(prefix.v.clone())
                .reshape([batch, rows, head_dim]);
            let to_own = weights
                .slice([0..batch, 0..rows, n_prefix..n_prefix + own])
                .matmul(own_v);
            to_prefix + to_own
        }
    };
    attended
        .reshape([groups, n_kv_heads, suffixes, per_kv, positions, head_dim])
        .permute([0, 2, 4, 1, 3, 5])
        .reshape([grid.n_tokens(), n_heads * head_dim])
}

/// Adds a mask that is the same for all of the batch (`[1, rows, columns]`) or given for each of it. A shared
/// one is added as one long row: over three dimensions the CPU backend would walk element by element.
fn masked<B: Backend>(scores: Tensor<B, 3>, mask: Tensor<B, 3>) -> Tensor<B, 3> {
    let [batch, rows, columns] = scores.dims();
    if mask.dims()[0] == batch {
        return scores + mask;
    }
    let flat = scores.reshape([batch, rows * columns]) + mask.reshape([1, rows * columns]);
    flat.reshape([batch, rows, columns])
}

/// A causal mask `[1, heads_per_kv * positions, positions]`.
pub(crate) fn causal_mask<B: Backend>(
    positions: usize,
    heads: Heads,
    device: &B::Device,
) -> Tensor<B, 3> {
    let per_kv = heads.n_heads / heads.n_kv_heads;
    let lasts = rows_of_queries(0, positions, per_kv, device);
    hidden_after(lasts, columns(positions, device)).mul_scalar(HIDDEN)
}

/// For each query of one suffix, the column of its own key: `[1, heads_per_kv * positions, 1]`.
fn rows_of_queries<B: Backend>(
    n_before: usize,
    positions: usize,
    per_kv: usize,
    device: &B::Device,
) -> Tensor<B, 3> {
    let rows = per_kv * positions;
    let lasts: Vec<f32> = (0..rows)
        .map(|row| (n_before + row % positions) as f32)
        .collect();
    Tensor::from_data(TensorData::new(lasts, [1, rows, 1]), device)
}

/// `0, 1, …` as `[1, 1, n]`. Masks are made where they are used: on their way from the host they would be
/// larger than all the rest. Counts in f32 are exact up to 2²⁴, beyond any window.
fn columns<B: Backend>(n: usize, device: &B::Device) -> Tensor<B, 3> {
    let columns: Vec<f32> = (0..n).map(|column| column as f32).collect();
    Tensor::from_data(TensorData::new(columns, [1, 1, n]), device)
}

/// 1 where a column is after the last that counts, else 0.
fn hidden_after<B: Backend>(lasts: Tensor<B, 3>, columns: Tensor<B, 3>) -> Tensor<B, 3> {
    (columns - lasts).clamp(0.0, 1.0)
}

/// A mask `[groups * kv_heads, 1, longest]` that hides what lies beyond each prefix; none when nothing does.
pub(crate) fn prefix_padding<B: Backend>(
    lengths: &[usize],
    longest: usize,
    heads: Heads,
    device: &B::Device,
) -> Option<Tensor<B, 3>> {
    if lengths.iter().all(|length| *length == longest) {
        return None;
    }
    let mut mask = Vec::with_capacity(lengths.len() * heads.n_kv_heads * longest);
    for &length in lengths {
        for _head in 0..heads.n_kv_heads {
            mask.extend((0..longest).map(|position| if position < length { 0.0 } else { HIDDEN }));
        }
    }
    Some(Tensor::from_data(
        TensorData::new(mask, [lengths.len() * heads.n_kv_heads, 1, longest]),
        device,
    ))
}

/// A mask for suffixes that are padded on the left and written at the same columns, `n_before` of them
/// before the queries': query `i` sees columns `starts[suffix]..=n_before + i` of `own`. A query that is
/// padding sees itself, so that no row is empty.
///
/// `starts` `[batch, 1, 1]` with `batch` = `groups * kv_heads * suffixes`, to
/// `[batch, heads_per_kv * positions, own]`.
pub(crate) fn left_padded_mask<B: Backend>(
    starts: Tensor<B, 3>,
    n_before: usize,
    own: usize,
    positions: usize,
    heads: Heads,
    device: &B::Device,
) -> Tensor<B, 3> {
    let per_kv = heads.n_heads / heads.n_kv_heads;
    let lasts = rows_of_queries(n_before, positions, per_kv, device);
    let columns = columns(own, device);
    let firsts = starts.clone() - (starts - lasts.clone()).clamp_min(0.0);
    let hidden_before = (firsts - columns.clone()).clamp(0.0, 1.0);
    (hidden_before + hidden_after(lasts, columns)).mul_scalar(HIDDEN)
}

/// The first columns that count, for [`left_padded_mask`]: of each suffix, group by group, for each of its
/// heads.
pub(crate) fn start_tensor<B: Backend>(
    starts: &[usize],
    grid: SuffixGrid,
    heads: Heads,
    device: &B::Device,
) -> Tensor<B, 3> {
    let of_heads = starts
        .chunks_exact(grid.suffixes)
        .flat_map(|of_group| std::iter::repeat_n(of_group, heads.n_kv_heads).flatten());
    let starts: Vec<f32> = of_heads.map(|start| *start as f32).collect();
    let n = starts.len();
    Tensor::from_data(TensorData::new(starts, [n, 1, 1]), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Backend, Device};

    const HEADS: Heads = Heads {
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 1,
    };

    /// What a mask lets through, row by row.
    fn seen(mask: Tensor<Backend, 3>) -> Vec<Vec<usize>> {
        let [_, _, own] = mask.dims();
        let values: Vec<f32> = mask.into_data().iter::<f32>().collect();
        let of_row = |row: &[f32]| (0..own).filter(|column| row[*column] == 0.0).collect();
        values.chunks_exact(own).map(of_row).collect()
    }

    #[test]
    fn a_causal_mask_shows_each_query_what_came_before_it() {
        let mask = causal_mask(3, HEADS, &Device::default());
        assert_eq!(mask.dims(), [1, 6, 3]);
        let once = [vec![0], vec![0, 1], vec![0, 1, 2]];
        assert_eq!(seen(mask), [once.clone(), once].concat());
    }

    #[test]
    fn a_left_padded_mask_hides_padding_on_the_left_and_columns_not_yet_written() {
        let device = Device::default();
        let grid = SuffixGrid {
            groups: 1,
            suffixes: 2,
            positions: 2,
        };
        let starts = start_tensor::<Backend>(&[0, 2], grid, HEADS, &device);
        let at_first = seen(left_padded_mask(starts.clone(), 0, 3, 2, HEADS, &device));
        // Two query heads a key head, two key heads; the second suffix is padding throughout.
        let of_first = [vec![0], vec![0, 1], vec![0], vec![0, 1]];
        let of_second = [vec![0], vec![1], vec![0], vec![1]];
        let of_head = [of_first, of_second].concat();
        assert_eq!(at_first, [of_head.clone(), of_head].concat());
        let later = seen(left_padded_mask(starts, 3, 6, 1, HEADS, &device));
        let of_head = [vec![0, 1, 2, 3], vec![0, 1, 2, 3], vec![2, 3], vec![2, 3]];
        assert_eq!(later, [of_head.clone(), of_head].concat());
    }
}
