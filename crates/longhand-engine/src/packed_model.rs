//! A model's weights as the kernels want them: packed once, used by every pass until they change.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use longhand_kernels::{Block, Cpu, Format, HeadShape, Packed, Rotary};

use crate::{
    ModelConfig,
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

/// One version of a policy's weights, packed.
pub struct Model {
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
    ///
    /// # Panics
    /// When the weights are not those of the config.
    pub fn repack(&mut self, weights: &Weights) {
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

    /// What it is a version of.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The format of its products.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Bytes of the packed products: what a decoding step reads at least once.
    pub fn n_packed_bytes(&self) -> usize {
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

/// Queries, keys and values; the output; gate and up; down.
fn layer_sources<'a>(weights: &'a Weights, at: &LayerPlaces, widths: Widths) -> [Source<'a>; 4] {
    let side_by_side = |places: &[usize], columns: &[(usize, usize)], k: usize| {
        let blocks = places.iter().zip(columns);
        let blocks: Vec<Block<'a>> = blocks
            .map(|(place, (n0, n))| across(&weights.values[*place], *n0, k, *n))
            .collect();
        Source {
            k,
            n: columns.iter().map(|(_, n)| n).sum(),
            blocks,
        }
    };
    let Widths {
        hidden, inner, q, ..
    } = widths;
    [
        side_by_side(&at.qkv, &widths.qkv_columns(), hidden),
        side_by_side(&[at.o], &[(0, hidden)], q),
        side_by_side(&at.gate_up, &[(0, inner), (inner, inner)], hidden),
        side_by_side(&[at.down], &[(0, hidden)], inner),
    ]
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
