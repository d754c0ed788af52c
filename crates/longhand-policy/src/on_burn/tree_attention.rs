//! Attention in which all suffixes of a group see one shared prefix, exactly and without copying it.
//!
//! Scores against the prefix are one product per group (`suffixes · positions` rows against the prefix's
//! keys); scores against the suffix's own keys are one product per suffix; a joint softmax over both makes
//! the result equal to attention over `prefix ++ suffix`.

use burn::tensor::{Tensor, TensorData, activation::softmax, backend::Backend};

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
    let rows = heads.n_heads / heads.n_kv_heads * positions;
    let mut mask = vec![0.0; rows * positions];
    for row in 0..rows {
        for column in row % positions + 1..positions {
            mask[row * positions + column] = HIDDEN;
        }
    }
    Tensor::from_data(TensorData::new(mask, [1, rows, positions]), device)
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

/// A mask for suffixes that are padded on the left and written at the same columns: query `i` of the
/// last `positions` columns sees columns `starts[suffix]..=own - positions + i`.
///
/// `[groups * kv_heads * suffixes, heads_per_kv * positions, own]`
pub(crate) fn left_padded_mask<B: Backend>(
    starts: &[usize],
    own: usize,
    grid: SuffixGrid,
    heads: Heads,
    device: &B::Device,
) -> Tensor<B, 3> {
    let per_kv = heads.n_heads / heads.n_kv_heads;
    let before = own - grid.positions;
    let mut mask = Vec::with_capacity(starts.len() * heads.n_heads * grid.positions * own);
    for group in 0..grid.groups {
        for _kv in 0..heads.n_kv_heads {
            for suffix in 0..grid.suffixes {
                let start = starts[group * grid.suffixes + suffix];
                for row in 0..per_kv * grid.positions {
                    let last = before + row % grid.positions;
                    mask.extend((0..own).map(|column| {
                        // A padding query sees itself, so that no row is empty.
                        let seen = (start..=last).contains(&column) || column == last;
                        if seen { 0.0 } else { HIDDEN }
                    }));
                }
            }
        }
    }
    let shape = [
        grid.groups * heads.n_kv_heads * grid.suffixes,
        per_kv * grid.positions,
        own,
    ];
    Tensor::from_data(TensorData::new(mask, shape), device)
}
