//! Attention of new tokens over shared prefixes and a cache that they join.

use burn::tensor::Tensor;
use longhand_engine::ModelConfig;

use super::{
    model::{Attention, index_tensor},
    shapes::Shapes,
    tree_attention::{
        Heads, PrefixKeys, SuffixGrid, attend, keys_by_suffix, left_padded_mask, start_tensor,
    },
};
use crate::backend::{Backend, Device};

/// The keys and values of a grid of suffixes, padded on the left so that all of them write their next
/// token to the same column.
pub(crate) struct CachedAttention {
    grid: SuffixGrid,
    heads: Heads,
    shapes: Shapes,
    prefix: Vec<PrefixKeys<Backend>>,
    cache: Vec<LayerCache>,
    filled: usize,
    /// Columns that are attended to: all that are filled after the tokens to come, or more.
    own: usize,
    /// First column of each suffix that is no padding, `[batch, 1, 1]`.
    starts: Tensor<Backend, 3>,
    mask: Tensor<Backend, 3>,
    device: Device,
}

/// Keys and values of one layer, each `[groups * kv_heads * suffixes, capacity, head_dim]`; none only
/// while one is being written to.
struct LayerCache {
    k: Option<Tensor<Backend, 3>>,
    v: Option<Tensor<Backend, 3>>,
}

impl CachedAttention {
    /// An empty cache for suffixes of which the first `starts` columns are padding, in a grid whose
    /// positions are those of the tokens to come first; `capacity` columns will be needed at most.
    pub(crate) fn new(
        prefix: Vec<PrefixKeys<Backend>>,
        grid: SuffixGrid,
        starts: &[usize],
        capacity: usize,
        config: &ModelConfig,
        shapes: Shapes,
        device: &Device,
    ) -> Self {
        let heads = Heads::of(config);
        let own = shapes.length(grid.positions);
        // Where shapes are exact, room for all at once; where they are not, the cache grows by buckets.
        let capacity = match shapes {
            Shapes::Exact => capacity,
            Shapes::Bucketed => own,
        };
        let shape = [starts.len() * heads.n_kv_heads, capacity, heads.head_dim];
        let empty = || Some(Tensor::zeros(shape, device));
        let starts = start_tensor(starts, grid, heads, device);
        Self {
            grid,
            heads,
            shapes,
            prefix,
            cache: (0..config.n_layers)
                .map(|_| LayerCache {
                    k: empty(),
                    v: empty(),
                })
                .collect(),
            filled: 0,
            own,
            mask: left_padded_mask(starts.clone(), 0, own, grid.positions, heads, device),
            starts,
            device: Device::clone(device),
        }
    }

    /// The grid of the tokens to come.
    pub(crate) fn grid(&self) -> SuffixGrid {
        self.grid
    }

    /// Counts the tokens just run, keeps only these groups (in ascending order) if any are named, and
    /// makes ready for one more token of each suffix.
    pub(crate) fn advance(&mut self, kept: Option<&[usize]>) {
        self.filled += self.grid.positions;
        self.grid.positions = 1;
        if let Some(groups) = kept {
            self.keep_groups(groups);
        }
        let own = self.shapes.length(self.filled + 1);
        let grow = |keys: Tensor<Backend, 3>| {
            let [batch, capacity, head_dim] = keys.dims();
            if own <= capacity {
                return keys;
            }
            let room = Tensor::zeros([batch, own - capacity, head_dim], &self.device);
            Tensor::cat(vec![keys, room], 1)
        };
        for LayerCache { k, v } in &mut self.cache {
            *k = k.take().map(grow);
            *v = v.take().map(grow);
        }
        self.own = own;
        self.mask = left_padded_mask(
            self.starts.clone(),
            self.filled,
            own,
            1,
            self.heads,
            &self.device,
        );
    }

    fn keep_groups(&mut self, groups: &[usize]) {
        // All are laid out group by group, so a group is a run of rows.
        let rows = |rows_a_group: usize| {
            let of_group = |group: &usize| group * rows_a_group..(group + 1) * rows_a_group;
            index_tensor(
                groups.iter().flat_map(of_group).map(|row| row as i32),
                &self.device,
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
        self.starts = self.starts.clone().select(0, of_suffix);
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
        let (grid, heads, filled, own) = (self.grid, self.heads, self.filled, self.own);
        let cache = &mut self.cache[layer];
        let k = append(&mut cache.k, keys_by_suffix(k, grid, heads), filled, own);
        let v = append(&mut cache.v, keys_by_suffix(v, grid, heads), filled, own);
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

/// Writes new columns in place (the cache is the only owner) and returns the first `own`.
fn append(
    cache: &mut Option<Tensor<Backend, 3>>,
    new: Tensor<Backend, 3>,
    filled: usize,
    own: usize,
) -> Tensor<Backend, 3> {
    let [batch, n_new, head_dim] = new.dims();
    let whole = match cache.take() {
        Some(whole) => whole.slice_assign([0..batch, filled..filled + n_new, 0..head_dim], new),
        None => new,
    };
    let [_, capacity, _] = whole.dims();
    *cache = Some(whole.clone());
    if own < capacity {
        whole.slice([0..batch, 0..own, 0..head_dim])
    } else {
        whole
    }
}
