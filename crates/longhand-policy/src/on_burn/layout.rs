//! Prefix groups laid out as one flat, padded list of tokens for the training and scoring passes.

use burn::tensor::{Tensor, backend::Backend};
use longhand_rollout::PrefixGroup;

use super::{
    model::Attention,
    shapes::Shapes,
    tree_attention::{
        Heads, PrefixKeys, SuffixGrid, attend, causal_mask, keys_by_suffix, prefix_padding,
    },
};

/// First all prefixes (padded on the right to the longest), then all suffixes (likewise, and every group
/// filled up to the same number of suffixes). Padding is never attended to and never scored; [`Shapes`]
/// may ask for more of it, and for whole groups of nothing else.
#[derive(Debug)]
pub(crate) struct Layout {
    prefix_grid: Option<SuffixGrid>,
    suffix_grid: SuffixGrid,
    prefix_lengths: Vec<usize>,
    /// Ids and positions of the flat list.
    pub(crate) ids: Vec<u32>,
    pub(crate) positions: Vec<usize>,
    /// For every sampled token, in order of groups and suffixes: the row that predicts it, and its id.
    pub(crate) target_rows: Vec<i32>,
    pub(crate) targets: Vec<u32>,
}

impl Layout {
    /// Lays out groups in these shapes.
    ///
    /// # Panics
    /// When a suffix has sampled tokens but no given token to predict the first from.
    pub(crate) fn new(groups: &[PrefixGroup], shapes: Shapes) -> Self {
        let n_groups = shapes.count(groups.len());
        let mut prefix_lengths: Vec<usize> =
            groups.iter().map(|group| group.prefix.len()).collect();
        prefix_lengths.resize(n_groups, 0);
        let longest_prefix = shapes.length(prefix_lengths.iter().copied().max().unwrap_or(0));
        let n_suffixes = groups
            .iter()
            .map(|group| group.suffixes.len())
            .max()
            .unwrap_or(0);
        let n_suffixes = shapes.count(n_suffixes);
        let suffixes = || groups.iter().flat_map(|group| &group.suffixes);
        // The last token of a suffix predicts nothing, so it need not be run.
        let longest_suffix = suffixes()
            .map(|s| s.given.len() + s.sampled.len().max(1) - 1)
            .max()
            .unwrap_or(0);
        let longest_suffix = shapes.length(longest_suffix);
        let prefix_grid = SuffixGrid {
            groups: n_groups,
            suffixes: 1,
            positions: longest_prefix,
        };
        let suffix_grid = SuffixGrid {
            groups: n_groups,
            suffixes: n_suffixes,
            positions: longest_suffix,
        };

        let n_tokens = prefix_grid.n_tokens() + suffix_grid.n_tokens();
        let mut layout = Self {
            prefix_grid: (longest_prefix != 0).then_some(prefix_grid),
            suffix_grid,
            prefix_lengths,
            ids: Vec::with_capacity(n_tokens),
            positions: Vec::with_capacity(n_tokens),
            target_rows: Vec::new(),
            targets: Vec::new(),
        };
        for group in groups {
            layout.push(&group.prefix, &[], 0, longest_prefix);
        }
        for _missing in groups.len()..n_groups {
            layout.push(&[], &[], 0, longest_prefix);
        }
        for group in groups {
            for suffix in &group.suffixes {
                if let Some((last, run)) = suffix.sampled.split_last() {
                    assert!(
                        !suffix.given.is_empty(),
                        "a suffix needs a given token to predict its first sampled token from"
                    );
                    let first = layout.ids.len() + suffix.given.len() - 1;
                    layout
                        .target_rows
                        .extend((first..=first + run.len()).map(|row| row as i32));
                    layout.targets.extend(run);
                    layout.targets.push(*last);
                    layout.push(&suffix.given, run, group.prefix.len(), longest_suffix);
                } else {
                    layout.push(&suffix.given, &[], group.prefix.len(), longest_suffix);
                }
            }
            for _missing in group.suffixes.len()..n_suffixes {
                layout.push(&[], &[], 0, longest_suffix);
            }
        }
        for _missing in 0..(n_groups - groups.len()) * n_suffixes {
            layout.push(&[], &[], 0, longest_suffix);
        }
        layout
    }

    fn push(&mut self, given: &[u32], sampled: &[u32], first_position: usize, padded: usize) {
        let n = given.len() + sampled.len();
        self.ids.extend(given);
        self.ids.extend(sampled);
        self.ids.extend(std::iter::repeat_n(0, padded - n));
        self.positions.extend(first_position..first_position + n);
        self.positions.extend(std::iter::repeat_n(0, padded - n));
    }

    /// The attention of this layout.
    pub(crate) fn attention<B: Backend>(
        &self,
        heads: Heads,
        device: &B::Device,
    ) -> LayoutAttention<'_, B> {
        LayoutAttention {
            layout: self,
            heads,
            suffix_mask: causal_mask(self.suffix_grid.positions, heads, device),
            prefix: self.prefix_grid.map(|grid| PrefixMasks {
                grid,
                causal: causal_mask(grid.positions, heads, device),
                padding: prefix_padding(&self.prefix_lengths, grid.positions, heads, device),
            }),
        }
    }
}

/// Prefix tokens attend among themselves, suffix tokens to their prefix and themselves.
pub(crate) struct LayoutAttention<'a, B: Backend> {
    layout: &'a Layout,
    heads: Heads,
    suffix_mask: Tensor<B, 3>,
    prefix: Option<PrefixMasks<B>>,
}

struct PrefixMasks<B: Backend> {
    grid: SuffixGrid,
    causal: Tensor<B, 3>,
    padding: Option<Tensor<B, 3>>,
}

impl<B: Backend> Attention<B> for LayoutAttention<'_, B> {
    fn attend(
        &mut self,
        _layer_idx: usize,
        q: Tensor<B, 3>,
        k: Tensor<B, 3>,
        v: Tensor<B, 3>,
    ) -> Tensor<B, 2> {
        let heads = self.heads;
        let grid = self.layout.suffix_grid;
        let Some(PrefixMasks {
            grid: prefix_grid,
            causal,
            padding,
        }) = &self.prefix
        else {
            let k = keys_by_suffix(k, grid, heads);
            let v = keys_by_suffix(v, grid, heads);
            return attend(q, k, v, self.suffix_mask.clone(), None, grid, heads);
        };
        let [n_tokens, _, _] = q.dims();
        let n_prefix = prefix_grid.n_tokens();
        let split = |x: Tensor<B, 3>| {
            let [_, heads, head_dim] = x.dims();
            let of_prefix = x.clone().slice([0..n_prefix, 0..heads, 0..head_dim]);
            (
                of_prefix,
                x.slice([n_prefix..n_tokens, 0..heads, 0..head_dim]),
            )
        };
        let ((q_prefix, q), (k_prefix, k), (v_prefix, v)) = (split(q), split(k), split(v));
        let keys = PrefixKeys {
            k: keys_by_suffix(k_prefix, *prefix_grid, heads),
            v: keys_by_suffix(v_prefix, *prefix_grid, heads),
            padding: padding.clone(),
        };
        let of_prefix = attend(
            q_prefix,
            keys.k.clone(),
            keys.v.clone(),
            causal.clone(),
            None,
            *prefix_grid,
            heads,
        );
        let k = keys_by_suffix(k, grid, heads);
        let v = keys_by_suffix(v, grid, heads);
        let of_suffix = attend(q, k, v, self.suffix_mask.clone(), Some(&keys), grid, heads);
        Tensor::cat(vec![of_prefix, of_suffix], 0)
    }
}
