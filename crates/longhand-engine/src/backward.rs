//! The way back: from derivatives of log-probabilities and entropies to a gradient of every parameter.

use longhand_kernels::{
    AttentionGradient, Block, Cpu, Format, KvPages, Operand, Packed, Store, attention_backward,
    bias_gradient, gated, gated_backward, head_norm_backward, matmul, rms_norm, rms_norm_backward,
    rotate, scatter_add,
};

use crate::{
    adapter_backward::{AdapterProducts, ProductPass},
    head::{self, ScoreGradient, product_format},
    packed_adapter::Inner,
    packed_model::{Base, Layer, Model, Product, Projection, Widths, n_columns},
    parameters::LayerPlaces,
    pass::{Keep, Pass},
    rows::Part,
    trunk::{LayerBuffers, Scratch, layer_forward},
    weights::Weights,
};

/// What a way back adds to.
pub(crate) enum Gradients<'a> {
    /// The gradient of every parameter of the model.
    OfModel(&'a mut Weights),
    /// The gradient of the adapter's; and where kernels put what nobody asks for.
    OfAdapter(&'a mut Weights, Vec<f32>),
}

impl Gradients<'_> {
    /// The gradient of the model's parameters, when it is asked for.
    pub(crate) fn of_model(&mut self) -> Option<&mut Weights> {
        match self {
            Self::OfModel(gradients) => Some(gradients),
            Self::OfAdapter(..) => None,
        }
    }

    /// The list of one of the model's parameters, of `n` numbers, or a place for as many that nobody reads.
    pub(crate) fn list(&mut self, place: usize, n: usize) -> &mut [f32] {
        match self {
            Self::OfModel(gradients) => &mut gradients.values[place],
            Self::OfAdapter(_, unread) => {
                unread.resize(n, 0.0);
                unread
            }
        }
    }
}

/// Adds the gradient of `Σ grad · score` to `gradients`.
pub(crate) fn backward(
    pass: &mut Pass,
    model: &Model,
    weights: &Weights,
    grad: ScoreGradient<'_>,
    gradients: &mut Gradients<'_>,
) {
    let part = pass.rows.part(0..pass.rows.n_rows());
    let base = &*model.base;
    let hidden = base.config.hidden_size;
    let mut dx = vec![0.0; part.n_rows() * hidden];
    head::backward(
        base,
        weights,
        &pass.buffers.x,
        &pass.targets,
        pass.temperature,
        grad,
        &mut pass.buffers.head,
        gradients,
        &mut dx,
    );
    let Some(cache) = &mut pass.buffers.cache else {
        return;
    };
    let mut way_buffers = Buffers::new(product_format(base.format));
    let mut scratch = Scratch::default();
    let mut again = LayerBuffers::kept();
    for (layer_idx, layer) in model.layers(pass.dropout).enumerate().rev() {
        let pages = &mut cache.layers[layer_idx];
        let kept = &mut pass.buffers.layers[layer_idx];
        let buffers = match pass.keep {
            Keep::Activations => kept,
            Keep::Checkpoints => {
                let mut x = std::mem::take(&mut kept.x_in);
                layer_forward(base, layer, pages, &part, &mut x, &mut again, &mut scratch);
                kept.x_in = x;
                &mut again
            }
        };
        let way_back = LayerBackward {
            base,
            layer,
            weights,
            at: &base.places.layers[layer_idx],
            widths: base.widths(),
            part: &part,
        };
        way_back.feed_forward(buffers, &mut dx, gradients, &mut way_buffers);
        way_back.attention(buffers, pages, &mut dx, gradients, &mut way_buffers);
    }
    if let Some(gradients) = gradients.of_model() {
        let dembed = &mut gradients.values[base.places.embed];
        scatter_add(&base.cpu, dembed, hidden, part.ids, &dx);
    }
}

/// Memory of the way back.
struct Buffers {
    products: Products,
    /// What went into a product.
    input: Operand,
    inner: Vec<f32>,
    hidden: Vec<f32>,
    qkv: Vec<f32>,
}

impl Buffers {
    fn new(format: Format) -> Self {
        Self {
            products: Products {
                format,
                left: Operand::new(),
                right: None,
                turned: None,
                adapter: AdapterProducts::new(format),
            },
            input: Operand::new(),
            inner: Vec::new(),
            hidden: Vec::new(),
            qkv: Vec::new(),
        }
    }
}

/// Products of the way back, with their buffers.
struct Products {
    format: Format,
    left: Operand,
    right: Option<Packed>,
    /// Weights turned round, one matrix at a time.
    turned: Option<Packed>,
    adapter: AdapterProducts,
}

/// One layer on the way back.
struct LayerBackward<'a> {
    base: &'a Base,
    layer: Layer<'a>,
    weights: &'a Weights,
    at: &'a LayerPlaces,
    widths: Widths,
    part: &'a Part<'a>,
}

impl LayerBackward<'_> {
    /// The second half: `x + down(silu(gate(h)) · up(h))`, `h = norm(x)`.
    fn feed_forward(
        &self,
        kept: &mut LayerBuffers,
        dx: &mut [f32],
        gradients: &mut Gradients<'_>,
        buffers: &mut Buffers,
    ) {
        let (cpu, hidden) = (&self.base.cpu, self.widths.hidden);
        let Buffers {
            products,
            input,
            inner: dact,
            hidden: dnormed,
            ..
        } = buffers;
        let format = products.format.operand_format(cpu);
        let norm = &self.weights.values[self.at.post_norm];
        let eps = self.base.config.norm_eps as f32;

        // The activation is cheap to compute again.
        gated(cpu, &kept.gate_up, self.widths.inner, input, format);
        self.product(
            Product::Down,
            input,
            &kept.inner,
            dx,
            gradients,
            products,
            dact,
        );
        gated_backward(cpu, &mut kept.gate_up, self.widths.inner, dact);

        rms_norm(cpu, &kept.x_mid, norm, eps, input, format);
        let dgate_up = &kept.gate_up;
        self.product(
            Product::GateUp,
            input,
            &kept.inner,
            dgate_up,
            gradients,
            products,
            dnormed,
        );
        let dnorm = gradients.list(self.at.post_norm, hidden);
        rms_norm_backward(cpu, &kept.x_mid, norm, eps, dnormed, dx, dnorm);
    }

    /// The first half: `x + o(attention(q(h), k(h), v(h)))`, `h = norm(x)`.
    fn attention(
        &self,
        kept: &mut LayerBuffers,
        pages: &KvPages,
        dx: &mut [f32],
        gradients: &mut Gradients<'_>,
        buffers: &mut Buffers,
    ) {
        let Widths { hidden, q, kv, .. } = self.widths;
        let (cpu, part, stride) = (&self.base.cpu, self.part, self.widths.qkv());
        let rows = part.n_rows();
        let Buffers {
            products,
            input,
            inner: dattended,
            hidden: dnormed,
            qkv: dqkv,
        } = buffers;
        let format = products.format.operand_format(cpu);
        let norm = &self.weights.values[self.at.input_norm];
        let eps = self.base.config.norm_eps as f32;

        let attended = &kept.attended;
        self.product(
            Product::O,
            attended,
            &kept.inner,
            dx,
            gradients,
            products,
            dattended,
        );
        dqkv.resize(rows * stride, 0.0);
        attention_backward(
            cpu,
            self.base.head_shape(),
            pages,
            &part.runs,
            &AttentionGradient {
                q: &kept.qkv,
                stride,
                offset: 0,
                k_offset: q,
                v_offset: q + kv,
                out: attended,
                stats: &kept.stats,
                dout: dattended,
                slots: &part.slots[..rows],
                copied_pages: part.copied_pages,
            },
            dqkv,
        );
        self.heads_backward(kept, dqkv, gradients);

        rms_norm(cpu, &kept.x_in, norm, eps, input, format);
        self.product(
            Product::Qkv,
            input,
            &kept.inner,
            dqkv,
            gradients,
            products,
            dnormed,
        );
        let dnorm = gradients.list(self.at.input_norm, hidden);
        rms_norm_backward(cpu, &kept.x_in, norm, eps, dnormed, dx, dnorm);
    }

    /// Through one product `y = x W`, and the adapter's part of it: from `dy` `[n_rows, n]` to the gradients
    /// of what is trained and to `dx` `[n_rows, k]` (set). `inner` is what the adapter left on its way.
    #[expect(
        clippy::too_many_arguments,
        reason = "what is differentiated, at what, and where it goes"
    )]
    fn product(
        &self,
        product: Product,
        x: &Operand,
        inner: &Inner,
        dy: &[f32],
        gradients: &mut Gradients<'_>,
        products: &mut Products,
        dx: &mut Vec<f32>,
    ) {
        let Products {
            format,
            left,
            right,
            turned,
            adapter: of_adapter,
        } = products;
        let (cpu, rows) = (&self.base.cpu, self.part.n_rows());
        let (k, projections) = product.projections(self.widths);
        let n = n_columns(&projections);

        if let Gradients::OfModel(gradients) = gradients {
            left.fill_columns_of(cpu, x);
            for of in &projections {
                let dy = columns(dy, n, of.first_column, rows, of.n_columns);
                let dy = packed(cpu, *format, rows, of.n_columns, &[dy], right);
                let dw = &mut gradients.values[of.target.place(self.at)];
                matmul(cpu, left, dy, dw, of.n_columns, Store::Add);
            }
        }

        // dx = dy wᵀ
        let block = |of: &Projection| Block {
            values: &self.weights.values[of.target.place(self.at)],
            stride: of.n_columns,
            k0: of.first_column,
            n0: 0,
            k: of.n_columns,
            n: k,
            transposed: true,
        };
        let blocks: Vec<Block<'_>> = projections.iter().map(block).collect();
        let turned = packed(cpu, *format, n, k, &blocks, turned);
        left.fill_rows(cpu, turned.operand_format(cpu), dy, rows, n, n);
        dx.resize(rows * k, 0.0);
        matmul(cpu, left, turned, dx, k, Store::Set);

        if let (Gradients::OfAdapter(gradients, _), Some(adapter)) = (gradients, self.layer.adapter)
        {
            let pass = ProductPass {
                x,
                inner: &inner[product as usize],
                dy,
                dy_rows: left,
            };
            of_adapter.backward(cpu, adapter, product, &pass, &mut gradients.values, dx);
        }
    }

    /// Through rotation, head norms and biases, in place.
    fn heads_backward(&self, kept: &LayerBuffers, dqkv: &mut [f32], gradients: &mut Gradients<'_>) {
        let Self {
            base,
            weights,
            at,
            widths,
            part,
            ..
        } = *self;
        let (cpu, config, rows, stride) = (&base.cpu, &base.config, part.n_rows(), widths.qkv());
        let head_dim = config.head_dim;
        let heads = [(0, config.n_heads), (widths.q, config.n_kv_heads)];
        for (offset, n) in heads {
            rotate(
                cpu,
                &base.rotary(),
                dqkv,
                rows,
                stride,
                offset,
                n,
                head_dim,
                part.positions,
                true,
            );
        }
        if let Some(norms) = at.head_norms {
            for (place, (offset, n)) in norms.into_iter().zip(heads) {
                head_norm_backward(
                    cpu,
                    &kept.raw,
                    dqkv,
                    rows,
                    stride,
                    offset,
                    n,
                    head_dim,
                    &weights.values[place],
                    config.norm_eps as f32,
                    gradients.list(place, head_dim),
                );
            }
        }
        if let (Some(biases), Some(gradients)) = (at.biases, gradients.of_model()) {
            for (place, (offset, _)) in biases.into_iter().zip(widths.qkv_columns()) {
                let bias = &mut gradients.values[place];
                bias_gradient(cpu, dqkv, rows, stride, offset, bias);
            }
        }
    }
}

/// Columns `[rows, n]` of rows that are `stride` numbers apart, from the first on.
pub(crate) fn columns(
    values: &[f32],
    stride: usize,
    first: usize,
    rows: usize,
    n: usize,
) -> Block<'_> {
    Block {
        values: &values[first..],
        stride,
        k0: 0,
        n0: 0,
        k: rows,
        n,
        transposed: false,
    }
}

/// Packs a matrix `[k, n]` into the buffer.
pub(crate) fn packed<'a>(
    cpu: &Cpu,
    format: Format,
    k: usize,
    n: usize,
    blocks: &[Block<'_>],
    buffer: &'a mut Option<Packed>,
) -> &'a Packed {
    match buffer {
        Some(packed) => {
            packed.repack(cpu, k, n, blocks);
            packed
        }
        None => buffer.insert(Packed::new(cpu, format, k, n, blocks)),
    }
}
