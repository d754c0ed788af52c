//! A model's weights as the kernels want them: packed once, used by every pass until they change.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use longhand_kernels::{Block, Cpu, Format, HeadShape, Packed, Rotary};

use crate::{
    ModelConfig,
    adapter::{Adapter, LoraConfig, Target},
    packed_adapter::{DropoutKey, LayerAdapter, PackedAdapter},
    parameters::{LayerPlaces, Places},
    weights::Weights,
};

/// The numbers that products are computed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// bf16 where the machine multiplies it faster than f32 and the model is wide enough to gain from it;
    /// f32 elsewhere.
    #[default]
    Auto,
    /// 32-bit throughout.
    F32,
    /// Operands of products rounded to bf16, sums and everything else in f32.
    Bf16,
}

/// Below this width a product is too small for its operands' rounding to pay.
const NARROWEST_BF16: usize = 256;

impl Precision {
    /// The format of a model's packed weights on this machine.
    pub fn format(self, cpu: &Cpu, config: &ModelConfig) -> Format {
        let is_faster = longhand_kernels::Isa::Avx512Bf16 <= cpu.isa();
        match self {
            Precision::F32 => Format::F32,
            Precision::Bf16 => Format::Bf16,
            Precision::Auto if is_faster && NARROWEST_BF16 <= config.hidden_size => Format::Bf16,
            Precision::Auto => Format::F32,
        }
    }
}

/// One version of a policy's weights, packed: those of the model, and of an adapter beside it, if any.
pub struct Model {
    /// Shared by models that differ in their adapter alone.
    pub(crate) base: Arc<Base>,
    pub(crate) adapter: Option<PackedAdapter>,
}

/// The packed weights of a model without any adapter.
pub(crate) struct Base {
    pub(crate) cpu: Cpu,
    pub(crate) config: ModelConfig,
    pub(crate) places: Places,
    /// Ids that the tokenizer has: the columns of the head that count.
    pub(crate) n_ids: usize,
    pub(crate) format: Format,
    /// Grows with the positions that are asked for: windows are far longer than most sequences.
    rotary: RwLock<Rotary>,
    /// `[vocab, hidden]`
    pub(crate) embed: Vec<f32>,
    pub(crate) layers: Vec<PackedLayer>,
    pub(crate) norm: Vec<f32>,
    /// `[hidden, n_ids]`
    pub(crate) head: Packed,
}

/// One layer as a pass runs it.
#[derive(Clone, Copy)]
pub(crate) struct Layer<'a> {
    pub(crate) packed: &'a PackedLayer,
    pub(crate) adapter: Option<LayerAdapter<'a>>,
}

pub(crate) struct PackedLayer {
    pub(crate) input_norm: Vec<f32>,
    /// Queries, keys, values side by side.
    pub(crate) qkv: Packed,
    pub(crate) biases: Option<[Vec<f32>; 3]>,
    pub(crate) head_norms: Option<[Vec<f32>; 2]>,
    pub(crate) o: Packed,
    pub(crate) post_norm: Vec<f32>,
    /// Gate, up side by side.
    pub(crate) gate_up: Packed,
    pub(crate) down: Packed,
}

/// Sizes of a row that the passes share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Widths {
    pub(crate) hidden: usize,
    pub(crate) inner: usize,
    pub(crate) q: usize,
    pub(crate) kv: usize,
}

impl Widths {
    pub(crate) fn new(config: &ModelConfig) -> Self {
        Self {
            hidden: config.hidden_size,
            inner: config.intermediate_size,
            q: config.n_heads * config.head_dim,
            kv: config.n_kv_heads * config.head_dim,
        }
    }

    pub(crate) fn qkv(self) -> usize {
        self.q + 2 * self.kv
    }

    /// Columns where queries, keys and values begin, and how many there are of each.
    pub(crate) fn qkv_columns(self) -> [(usize, usize); 3] {
        [(0, self.q), (self.q, self.kv), (self.q + self.kv, self.kv)]
    }
}

/// The products of a layer, each with the projections that stand side by side in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Product {
    Qkv,
    O,
    GateUp,
    Down,
}

impl Product {
    pub(crate) const ALL: [Product; 4] = [Product::Qkv, Product::O, Product::GateUp, Product::Down];

    /// Its inner length, and the projections in it.
    pub(crate) fn projections(self, widths: Widths) -> (usize, Vec<Projection>) {
        let Widths {
            hidden, inner, q, ..
        } = widths;
        let (k, targets, columns) = match self {
            Product::Qkv => {
                let targets = vec![Target::Q, Target::K, Target::V];
                (hidden, targets, widths.qkv_columns().to_vec())
            }
            Product::O => (q, vec![Target::O], vec![(0, hidden)]),
            Product::GateUp => {
                let targets = vec![Target::Gate, Target::Up];
                (hidden, targets, vec![(0, inner), (inner, inner)])
            }
            Product::Down => (inner, vec![Target::Down], vec![(0, hidden)]),
        };
        let projections = targets.into_iter().zip(columns);
        let projections = projections.map(|(target, (first_column, n_columns))| Projection {
            target,
            first_column,
            n_columns,
        });
        (k, projections.collect())
    }
}

/// A projection's columns in its product.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Projection {
    pub(crate) target: Target,
    pub(crate) first_column: usize,
    pub(crate) n_columns: usize,
}

/// The columns of all of them.
pub(crate) fn n_columns(projections: &[Projection]) -> usize {
    let n_columns = projections.iter().map(|projection| projection.n_columns);
    n_columns.sum()
}

impl Model {
    /// Packs weights in this format; `n_ids` is the tokenizer's number of ids.
    ///
    /// # Panics
    /// When the weights are not those of the config, or the tokenizer has more ids than the model.
    pub fn new(
        cpu: &Cpu,
        config: &ModelConfig,
        n_ids: usize,
        weights: &Weights,
        format: Format,
    ) -> Self {
        Self {
            base: Arc::new(Base::new(cpu, config, n_ids, weights, format)),
            adapter: None,
        }
    }

    /// Takes another version of the weights into the same memory; the adapter stays. Models that share
    /// the packed weights keep theirs, and this one's go into memory of its own.
    ///
    /// # Panics
    /// When the weights are not those of the config.
    pub fn repack(&mut self, weights: &Weights) {
        match Arc::get_mut(&mut self.base) {
            Some(base) => base.repack(weights),
            None => {
                let shared = &self.base;
                let (cpu, config) = (&shared.cpu, &shared.config);
                let own = Base::new(cpu, config, shared.n_ids, weights, shared.format);
                self.base = Arc::new(own);
            }
        }
    }

    /// The same packed weights, in the same memory, with this adapter instead of any other.
    ///
    /// # Panics
    /// When the adapter is not one of this model.
    pub fn with_adapter(&self, adapter: &Adapter) -> Self {
        Self {
            base: Arc::clone(&self.base),
            adapter: Some(PackedAdapter::new(&self.base, adapter)),
        }
    }

    /// Takes another version of the adapter, or another adapter, or a first one; the same settings go into
    /// the same memory.
    ///
    /// # Panics
    /// When the adapter is not one of this model.
    pub fn repack_adapter(&mut self, adapter: &Adapter) {
        match &mut self.adapter {
            Some(packed) if packed.config() == &adapter.config => {
                packed.repack(&self.base, adapter);
            }
            _ => self.adapter = Some(PackedAdapter::new(&self.base, adapter)),
        }
    }

    /// The same packed weights, in the same memory, without any adapter.
    pub fn without_adapter(&self) -> Self {
        Self {
            base: Arc::clone(&self.base),
            adapter: None,
        }
    }

    /// What its adapter is; none without one.
    pub fn adapter_config(&self) -> Option<&LoraConfig> {
        self.adapter.as_ref().map(PackedAdapter::config)
    }

    /// What it is a version of.
    pub fn config(&self) -> &ModelConfig {
        &self.base.config
    }

    /// The format of its products.
    pub fn format(&self) -> Format {
        self.base.format
    }

    /// Bytes of the packed products, the adapter's among them: what a decoding step reads at least once.
    pub fn n_packed_bytes(&self) -> usize {
        let of_adapter = self.adapter.as_ref().map_or(0, PackedAdapter::n_bytes);
        self.base.n_packed_bytes() + of_adapter
    }

    /// Its layers; the adapter drops what goes into it with a key, and nothing without one.
    pub(crate) fn layers(
        &self,
        dropout: Option<DropoutKey>,
    ) -> impl DoubleEndedIterator<Item = Layer<'_>> + ExactSizeIterator {
        let packed = self.base.layers.iter().enumerate();
        packed.map(move |(layer_idx, packed)| Layer {
            packed,
            adapter: self
                .adapter
                .as_ref()
                .map(|all| all.layer(layer_idx, dropout)),
        })
    }
}

impl Base {
    /// As [`Model::new`].
    fn new(
        cpu: &Cpu,
        config: &ModelConfig,
        n_ids: usize,
        weights: &Weights,
        format: Format,
    ) -> Self {
        assert!(n_ids <= config.vocab_size, "more ids than embeddings");
        let places = Places::new(config);
        let widths = Widths::new(config);
        let value = |place: usize| weights.values[place].clone();
        let pack_layer = |at: &LayerPlaces| {
            let [qkv, o, gate_up, down] = layer_sources(weights, at, widths)
                .map(|Source { k, n, blocks }| Packed::new(cpu, format, k, n, &blocks));
            PackedLayer {
                input_norm: value(at.input_norm),
                qkv,
                biases: at.biases.map(|places| places.map(value)),
                head_norms: at.head_norms.map(|places| places.map(value)),
                o,
                post_norm: value(at.post_norm),
                gate_up,
                down,
            }
        };
        let frequencies = config.inverse_frequencies();
        Self {
            cpu: cpu.clone(),
            config: config.clone(),
            n_ids,
            format,
            rotary: RwLock::new(Rotary::new(&frequencies, 0)),
            embed: value(places.embed),
            layers: places.layers.iter().map(pack_layer).collect(),
            norm: value(places.norm),
            head: Packed::new(
                cpu,
                format,
                widths.hidden,
                n_ids,
                &[head_block(weights, &places, config, n_ids, false)],
            ),
            places,
        }
    }

    /// Takes another version of the weights into the same memory.
    fn repack(&mut self, weights: &Weights) {
        let widths = self.widths();
        let copy = |to: &mut Vec<f32>, place: usize| to.clone_from(&weights.values[place]);
        for (layer, at) in self.layers.iter_mut().zip(&self.places.layers) {
            let packed = [
                &mut layer.qkv,
                &mut layer.o,
                &mut layer.gate_up,
                &mut layer.down,
            ];
            for (packed, source) in packed.into_iter().zip(layer_sources(weights, at, widths)) {
                packed.repack(&self.cpu, source.k, source.n, &source.blocks);
            }
            copy(&mut layer.input_norm, at.input_norm);
            copy(&mut layer.post_norm, at.post_norm);
            for (to, from) in layer
                .biases
                .iter_mut()
                .flatten()
                .zip(at.biases.iter().flatten())
            {
                copy(to, *from);
            }
            for (to, from) in layer
                .head_norms
                .iter_mut()
                .flatten()
                .zip(at.head_norms.iter().flatten())
            {
                copy(to, *from);
            }
        }
        copy(&mut self.embed, self.places.embed);
        copy(&mut self.norm, self.places.norm);
        let head = head_block(weights, &self.places, &self.config, self.n_ids, false);
        self.head
            .repack(&self.cpu, widths.hidden, self.n_ids, &[head]);
    }

    fn n_packed_bytes(&self) -> usize {
        let of_layer = |layer: &PackedLayer| {
            [&layer.qkv, &layer.o, &layer.gate_up, &layer.down]
                .map(Packed::n_bytes)
                .iter()
                .sum::<usize>()
        };
        self.layers.iter().map(of_layer).sum::<usize>() + self.head.n_bytes()
    }

    /// Cosines and sines of all positions so far.
    pub(crate) fn rotary(&self) -> RwLockReadGuard<'_, Rotary> {
        self.rotary.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that the rotation of these positions is known.
    pub(crate) fn reach(&self, positions: &[u32]) {
        let needed = positions.iter().max().map_or(0, |last| *last as usize + 1);
        if self.rotary().n_positions() < needed {
            let mut rotary = self.rotary.write().unwrap_or_else(PoisonError::into_inner);
            rotary.ensure(needed.next_power_of_two());
        }
    }

    pub(crate) fn widths(&self) -> Widths {
        Widths::new(&self.config)
    }

    pub(crate) fn head_shape(&self) -> HeadShape {
        HeadShape {
            n_heads: self.config.n_heads,
            n_kv_heads: self.config.n_kv_heads,
            head_dim: self.config.head_dim,
        }
    }
}

/// One packed matrix `[k, n]` and the weights it is made of.
struct Source<'a> {
    k: usize,
    n: usize,
    blocks: Vec<Block<'a>>,
}

/// The products of a layer, in their order.
fn layer_sources<'a>(weights: &'a Weights, at: &LayerPlaces, widths: Widths) -> [Source<'a>; 4] {
    Product::ALL.map(|product| {
        let (k, projections) = product.projections(widths);
        let block = |of: &Projection| {
            let values = &weights.values[of.target.place(at)];
            across(values, of.first_column, k, of.n_columns)
        };
        Source {
            k,
            n: n_columns(&projections),
            blocks: projections.iter().map(block).collect(),
        }
    })
}

/// A matrix `[k, n]` whose columns begin at `n0`.
fn across(values: &[f32], n0: usize, k: usize, n: usize) -> Block<'_> {
    Block {
        values,
        stride: n,
        k0: 0,
        n0,
        k,
        n,
        transposed: false,
    }
}

/// The first `n_ids` columns of the head `[hidden, n_ids]`, or their transpose `[n_ids, hidden]`.
pub(crate) fn head_block<'a>(
    weights: &'a Weights,
    places: &Places,
    config: &ModelConfig,
    n_ids: usize,
    transpose: bool,
) -> Block<'a> {
    let hidden = config.hidden_size;
    let (k, n) = if transpose {
        (n_ids, hidden)
    } else {
        (hidden, n_ids)
    };
    let (values, stride, is_turned) = match places.head {
        Some(place) => (&weights.values[place], config.vocab_size, false),
        None => (&weights.values[places.embed], hidden, true),
    };
    Block {
        values,
        stride,
        k0: 0,
        n0: 0,
        k,
        n,
        transposed: is_turned != transpose,
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::{Initialisation, fixture};

    #[test]
    fn models_that_differ_in_their_adapter_share_their_packed_weights() {
        let config = fixture::config();
        let init = Initialisation {
            embedding_std: 1.0,
            q_norm_gain: 1.0,
        };
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let weights = Weights::from_scratch(&config, init, &mut rng);
        let mut plain = Model::new(&Cpu::detect(), &config, 23, &weights, Format::F32);
        let lora = LoraConfig {
            rank: 2,
            alpha: 4.0,
            dropout: 0.0,
            targets: Target::ALL.to_vec(),
        };
        let adapter = Adapter::fresh(&config, lora, &mut rng);
        let mut adapted = plain.with_adapter(&adapter);
        adapted.repack_adapter(&adapter);
        let without = adapted.without_adapter();
        for other in [&adapted, &without] {
            assert!(Arc::ptr_eq(&plain.base, &other.base));
        }
        assert!(plain.n_packed_bytes() < adapted.n_packed_bytes());
        // Nobody else's memory is written to; what nobody shares is used again.
        let shared = Arc::as_ptr(&plain.base);
        plain.repack(&weights);
        assert!(!std::ptr::eq(Arc::as_ptr(&plain.base), shared));
        let own = Arc::as_ptr(&plain.base);
        plain.repack(&weights);
        assert!(std::ptr::eq(Arc::as_ptr(&plain.base), own));
    }
}
