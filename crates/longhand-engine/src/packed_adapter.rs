//! An adapter as the kernels want it, and its part of the products on the way forwards.
//!
//! Targets that stand side by side in one product of a layer stand side by side here too: one `A` `[k,
//! targets · rank]` for all of them, and one `B` `[targets · rank, n]` whose blocks lie on its diagonal.

use longhand_kernels::{
    Block, Cpu, Dropout, Format, Operand, OperandFormat, Packed, Store, drop_out, matmul, mixed,
};

use crate::{
    adapter::{Adapter, LoraConfig, Target, adapter_parameters},
    packed_model::{Base, Product, Projection, n_columns},
    weights::Weights,
};

/// Names what a training pass drops. Passes with the same key drop the same numbers of the same rows, so
/// each pass of a step has a key of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DropoutKey(pub u64);

/// The adapted targets of one product, the same in every layer.
pub(crate) struct Sites {
    pub(crate) k: usize,
    pub(crate) n: usize,
    pub(crate) sites: Vec<Site>,
}

/// One adapted target.
pub(crate) struct Site {
    /// Of its `A` among the lists of a layer; its `B` is the next.
    pub(crate) place: usize,
    pub(crate) projection: Projection,
}

/// One version of an adapter, packed.
pub(crate) struct PackedAdapter {
    /// For the way back, which packs it the other way round.
    adapter: Adapter,
    sites: [Sites; 4],
    /// None where a product has no adapted target.
    layers: Vec<[Option<Pair>; 4]>,
}

/// The adapter's part of one product.
struct Pair {
    /// `[k, sites · rank]`
    a: Packed,
    /// The same one by one, `[k, rank]`, where each drops other numbers.
    each_a: Vec<Packed>,
    /// `[sites · rank, n]`
    b: Packed,
}

/// What the adapter computes on its way through a layer and a way back asks for: `scale · dropout(x) A` by
/// product, `[n_rows, sites · rank]`.
pub(crate) type Inner = [Vec<f32>; 4];

/// Operands that nobody needs after the next product.
#[derive(Default)]
pub(crate) struct AdapterScratch {
    dropped: Operand,
    inner: Operand,
}

impl PackedAdapter {
    /// # Panics
    /// When the adapter is not one of this model.
    pub(crate) fn new(base: &Base, adapter: &Adapter) -> Self {
        check(base, adapter);
        let (widths, lora) = (base.widths(), &adapter.config);
        let ordered = lora.ordered_targets();
        let sites = Product::ALL.map(|product| {
            let (k, projections) = product.projections(widths);
            let site = |projection: &Projection| {
                let mut ordered = ordered.iter();
                let target_idx = ordered.position(|target| *target == projection.target)?;
                Some(Site {
                    place: 2 * target_idx,
                    projection: *projection,
                })
            };
            Sites {
                k,
                n: n_columns(&projections),
                sites: projections.iter().filter_map(site).collect(),
            }
        });
        // The rows of the model's own product go into the adapter's too.
        let format = match base.head.operand_format(&base.cpu) {
            OperandFormat::F32 => Format::F32,
            OperandFormat::Bf16 => Format::Bf16,
        };
        let pack = |k, n, blocks: &[Block<'_>]| Packed::new(&base.cpu, format, k, n, blocks);
        let lists_per_layer = 2 * ordered.len();
        let pack_layer = |lists: &[Vec<f32>]| {
            sites.each_ref().map(|sites| {
                let width = sites.sites.len() * lora.rank;
                let a = sites.a_blocks(lists, lora.rank, false);
                let alone = (0.0 < lora.dropout).then_some(&a);
                (!sites.sites.is_empty()).then(|| Pair {
                    a: pack(sites.k, width, &a),
                    each_a: alone
                        .into_iter()
                        .flatten()
                        .map(|block| pack(sites.k, lora.rank, &[Block { n0: 0, ..*block }]))
                        .collect(),
                    b: pack(width, sites.n, &sites.b_blocks(lists, lora.rank, false)),
                })
            })
        };
        let layers = adapter.weights.values.chunks_exact(lists_per_layer);
        Self {
            layers: layers.map(pack_layer).collect(),
            adapter: adapter.clone(),
            sites,
        }
    }

    /// Takes another version of the adapter, with the same settings, into the same memory.
    ///
    /// # Panics
    /// When the adapter is not one of this model.
    pub(crate) fn repack(&mut self, base: &Base, adapter: &Adapter) {
        check(base, adapter);
        let (cpu, rank) = (&base.cpu, self.adapter.config.rank);
        let lists_per_layer = 2 * self.adapter.config.targets.len();
        let lists = adapter.weights.values.chunks_exact(lists_per_layer);
        for (pairs, lists) in self.layers.iter_mut().zip(lists) {
            for (pair, sites) in pairs.iter_mut().zip(&self.sites) {
                let Some(pair) = pair else {
                    continue;
                };
                let width = sites.sites.len() * rank;
                let a = sites.a_blocks(lists, rank, false);
                pair.a.repack(cpu, sites.k, width, &a);
                for (alone, block) in pair.each_a.iter_mut().zip(&a) {
                    alone.repack(cpu, sites.k, rank, &[Block { n0: 0, ..*block }]);
                }
                let b = sites.b_blocks(lists, rank, false);
                pair.b.repack(cpu, width, sites.n, &b);
            }
        }
        self.adapter.clone_from(adapter);
    }

    pub(crate) fn config(&self) -> &LoraConfig {
        &self.adapter.config
    }

    /// Its numbers: what is trained when it is there.
    pub(crate) fn weights(&self) -> &Weights {
        &self.adapter.weights
    }

    /// Bytes of the packed products that a decoding step reads.
    pub(crate) fn n_bytes(&self) -> usize {
        let pairs = self.layers.iter().flatten().flatten();
        pairs.map(|pair| pair.a.n_bytes() + pair.b.n_bytes()).sum()
    }

    /// Its part of a layer, which drops numbers with a key and a share to drop.
    pub(crate) fn layer(&self, layer_idx: usize, dropout: Option<DropoutKey>) -> LayerAdapter<'_> {
        LayerAdapter {
            all: self,
            layer_idx,
            dropout: dropout.filter(|_| 0.0 < self.adapter.config.dropout),
        }
    }
}

fn check(base: &Base, adapter: &Adapter) {
    let expected = adapter_parameters(&base.config, &adapter.config);
    let lengths = adapter.weights.values.iter().map(Vec::len);
    assert!(
        lengths.eq(expected.iter().map(|parameter| parameter.n_values())),
        "an adapter of another model"
    );
}

impl Sites {
    /// `[k, sites · rank]`, or the transpose.
    pub(crate) fn a_blocks<'a>(
        &self,
        lists: &'a [Vec<f32>],
        rank: usize,
        transpose: bool,
    ) -> Vec<Block<'a>> {
        let block = |(site_idx, site): (usize, &Site)| {
            let values = &lists[site.place];
            turned(transpose, values, [0, site_idx * rank], [self.k, rank])
        };
        self.sites.iter().enumerate().map(block).collect()
    }

    /// `[sites · rank, n]`, or the transpose.
    pub(crate) fn b_blocks<'a>(
        &self,
        lists: &'a [Vec<f32>],
        rank: usize,
        transpose: bool,
    ) -> Vec<Block<'a>> {
        let block = |(site_idx, site): (usize, &Site)| {
            let corner = [site_idx * rank, site.projection.first_column];
            let values = &lists[site.place + 1];
            turned(transpose, values, corner, [rank, site.projection.n_columns])
        };
        self.sites.iter().enumerate().map(block).collect()
    }
}

/// A matrix `[k, n]` with its corner at `[k0, n0]`, or all of it transposed.
fn turned(transpose: bool, values: &[f32], [k0, n0]: [usize; 2], [k, n]: [usize; 2]) -> Block<'_> {
    let stride = n;
    let ([k0, n0], [k, n]) = match transpose {
        true => ([n0, k0], [n, k]),
        false => ([k0, n0], [k, n]),
    };
    Block {
        values,
        stride,
        k0,
        n0,
        k,
        n,
        transposed: transpose,
    }
}

/// An adapter's part of one layer, as one pass runs it.
#[derive(Clone, Copy)]
pub(crate) struct LayerAdapter<'a> {
    all: &'a PackedAdapter,
    layer_idx: usize,
    dropout: Option<DropoutKey>,
}

impl<'a> LayerAdapter<'a> {
    /// Adds `scale · dropout(x) A B` to `out` `[n_rows, n]`; `x` is what the model's own product took.
    pub(crate) fn add(
        &self,
        cpu: &Cpu,
        product: Product,
        x: &Operand,
        out: &mut [f32],
        inner: &mut Inner,
        scratch: &mut AdapterScratch,
    ) {
        let Some(pair) = &self.all.layers[self.layer_idx][product as usize] else {
            return;
        };
        let (n_rows, width) = (x.rows(), pair.a.n());
        let inner = &mut inner[product as usize];
        inner.resize(n_rows * width, 0.0);
        if n_rows == 0 {
            return;
        }
        if self.dropout.is_some() {
            let rank = self.rank();
            for (site_idx, a) in pair.each_a.iter().enumerate() {
                let dropped = &mut scratch.dropped;
                let x = self.dropped(cpu, product, site_idx, x, dropped);
                matmul(cpu, x, a, &mut inner[site_idx * rank..], width, Store::Set);
            }
        } else {
            matmul(cpu, x, &pair.a, inner, width, Store::Set);
        }
        let scale = self.scale();
        inner.iter_mut().for_each(|value| *value *= scale);
        let format = pair.b.operand_format(cpu);
        let rows = &mut scratch.inner;
        rows.fill_rows(cpu, format, inner, n_rows, width, width);
        matmul(cpu, rows, &pair.b, out, pair.b.n(), Store::Add);
    }

    /// `x` without what this target drops of it.
    pub(crate) fn dropped<'b>(
        &self,
        cpu: &Cpu,
        product: Product,
        site_idx: usize,
        x: &'b Operand,
        buffer: &'b mut Operand,
    ) -> &'b Operand {
        match self.dropout(product, site_idx) {
            Some(dropout) => {
                drop_out(cpu, x, dropout, buffer, x.format());
                buffer
            }
            None => x,
        }
    }

    /// What a target drops of its product's rows.
    pub(crate) fn dropout(&self, product: Product, site_idx: usize) -> Option<Dropout> {
        let target = self.sites(product).sites[site_idx].projection.target;
        let place = (self.layer_idx * Target::ALL.len() + target as usize) as u64;
        let key = mixed(self.dropout?.0) ^ place;
        Some(Dropout::new(mixed(key), self.all.config().dropout))
    }

    pub(crate) fn sites(&self, product: Product) -> &'a Sites {
        &self.all.sites[product as usize]
    }

    pub(crate) fn rank(&self) -> usize {
        self.all.config().rank
    }

    pub(crate) fn scale(&self) -> f32 {
        self.all.config().scale() as f32
    }

    /// The places of the layer's lists among all.
    pub(crate) fn places(&self) -> std::ops::Range<usize> {
        let n = 2 * self.all.config().targets.len();
        self.layer_idx * n..(self.layer_idx + 1) * n
    }

    /// The layer's lists, as they were given.
    pub(crate) fn lists(&self) -> &'a [Vec<f32>] {
        &self.all.adapter.weights.values[self.places()]
    }
}

#[cfg(test)]
mod tests {
    use longhand_kernels::Cpu;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::{Initialisation, Model, adapter::Target, fixture};

    /// What every target of every layer drops with this key.
    fn dropouts(share: f64, key: Option<u64>) -> Vec<Option<Dropout>> {
        let config = fixture::config();
        let init = Initialisation {
            embedding_std: 1.0,
            q_norm_gain: 1.0,
        };
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let weights = Weights::from_scratch(&config, init, &mut rng);
        let lora = LoraConfig {
            rank: 2,
            alpha: 4.0,
            dropout: share,
            targets: Target::ALL.to_vec(),
        };
        let adapter = Adapter::fresh(&config, lora, &mut rng);
        let model = Model::new(&Cpu::detect(), &config, 23, &weights, Format::F32);
        let model = model.with_adapter(&adapter);
        let layers = model.layers(key.map(DropoutKey));
        let of_layer = |adapter: LayerAdapter<'_>| {
            let of_product = |product| {
                let n_sites = adapter.sites(product).sites.len();
                (0..n_sites).map(move |site_idx| adapter.dropout(product, site_idx))
            };
            Product::ALL.into_iter().flat_map(of_product).collect()
        };
        layers
            .flat_map(|layer| layer.adapter.map_or(Vec::new(), of_layer))
            .collect()
    }

    #[test]
    fn every_target_of_every_layer_drops_for_itself_and_by_the_key() {
        let mut seen: Vec<Option<Dropout>> = Vec::new();
        for key in [0, 1, 2, u64::MAX] {
            let found = dropouts(0.3, Some(key));
            assert_eq!(found.len(), 2 * Target::ALL.len());
            assert_eq!(found, dropouts(0.3, Some(key)));
            for dropout in found {
                assert!(dropout.is_some() && !seen.contains(&dropout));
                seen.push(dropout);
            }
        }
        for (share, key) in [(0.3, None), (0.0, Some(1))] {
            assert_eq!(dropouts(share, key), [None; 14]);
        }
    }
}
