//! The way back: from derivatives of log-probabilities to a gradient of every parameter.

use longhand_kernels::{
    AttentionGradient, Block, Cpu, Format, KvPages, Operand, Packed, Store, attention_backward,
    bias_gradient, gated, gated_backward, head_norm_backward, matmul, rms_norm_backward,
    rms_norm_f32, rotate, scatter_add,
};

use crate::{
    head::{self, product_format, weight_gradient},
    packed_model::{Model, Widths},
    parameters::LayerPlaces,
    pass::{Keep, Pass},
    rows::Part,
    trunk::{LayerBuffers, Scratch, layer_forward},
    weights::Weights,
};

/// Adds the gradient of `Σ grad · logprob` to `gradients`.
pub(crate) fn backward(
    pass: &mut Pass,
    model: &Model,
    weights: &Weights,
    grad: &[f32],
    gradients: &mut Weights,
) {
    let part = pass.rows.part(0..pass.rows.n_rows());
    let hidden = model.config.hidden_size;
    let mut dx = vec![0.0; part.n_rows() * hidden];
    head::backward(
        model,
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
    let mut products = Products::new(product_format(model.format));
    let mut scratch = Scratch::default();
    let mut again = LayerBuffers::kept();
    for (layer_idx, layer) in model.layers.iter().enumerate().rev() {
        let pages = &mut cache.layers[layer_idx];
        let kept = &mut pass.buffers.layers[layer_idx];
        let buffers = match pass.keep {
            Keep::Activations => kept,
            Keep::Checkpoints => {
                let mut x = std::mem::take(&mut kept.x_in);
                layer_forward(model, layer, pages, &part, &mut x, &mut again, &mut scratch);
                kept.x_in = x;
                &mut again
            }
        };
        let way_back = LayerBackward {
            model,
            weights,
            at: &model.places.layers[layer_idx],
            widths: model.widths(),
            part: &part,
        };
        way_back.feed_forward(buffers, &mut dx, gradients, &mut products);
        way_back.attention(buffers, pages, &mut dx, gradients, &mut products);
    }
    scatter_add(
        &model.cpu,
        &mut gradients.values[model.places.embed],
        hidden,
        part.ids,
        &dx,
    );
}

/// Products of the way back, with their buffers.
struct Products {
    format: Format,
    left: Operand,
    right: Option<Packed>,
    /// Weights turned round, one matrix at a time.
    turned: Option<Packed>,
    normed: Vec<f32>,
    inner: Vec<f32>,
    hidden: Vec<f32>,
    qkv: Vec<f32>,
}

impl Products {
    fn new(format: Format) -> Self {
        Self {
            format,
            left: Operand::new(),
            right: None,
            turned: None,
            normed: Vec::new(),
            inner: Vec::new(),
            hidden: Vec::new(),
            qkv: Vec::new(),
        }
    }

    /// `out = dy wᵀ` for weights `[n, k_i]` side by side and `dy` `[rows, Σ k_i]`.
    fn into_inputs(
        cpu: &Cpu,
        format: Format,
        (left, turned): (&mut Operand, &mut Option<Packed>),
        (dy, rows): (&[f32], usize),
        matrices: &[(&[f32], usize)],
        n: usize,
        out: &mut [f32],
    ) {
        let mut k = 0;
        let blocks: Vec<Block<'_>> = matrices
            .iter()
            .map(|(values, n_out)| {
                let block = Block {
                    values,
                    stride: *n_out,
                    k0: k,
                    n0: 0,
                    k: *n_out,
                    n,
                    transposed: true,
                };
                k += n_out;
                block
            })
            .collect();
        let turned = match turned {
            Some(turned) => {
                turned.repack(cpu, k, n, &blocks);
                turned
            }
            None => turned.insert(Packed::new(cpu, format, k, n, &blocks)),
        };
        left.fill_rows(cpu, turned.operand_format(cpu), dy, rows, k, k);
        matmul(cpu, left, turned, out, n, Store::Set);
    }
}

/// One layer on the way back.
struct LayerBackward<'a> {
    model: &'a Model,
    weights: &'a Weights,
    at: &'a LayerPlaces,
    widths: Widths,
    part: &'a Part<'a>,
}

impl LayerBackward<'_> {
    /// The second half: `x + down(silu(gate(h)) · up(h))`, `h = norm(x)`.
    fn feed_forward(
        &self,
        buffers: &mut LayerBuffers,
        dx: &mut [f32],
        gradients: &mut Weights,
        products: &mut Products,
    ) {
        let Self {
            model,
            weights,
            at,
            widths: Widths { hidden, inner, .. },
            part,
        } = *self;
        let (cpu, rows) = (&model.cpu, part.n_rows());
        let Products {
            format,
            left,
            right,
            turned,
            normed,
            inner: dact,
            hidden: dnormed,
            ..
        } = products;
        let eps = model.config.norm_eps as f32;

        // dW_down = actᵀ dx. The activation is cheap to compute again.
        let block = whole(dx, rows, hidden);
        let right_of_dx = packed(cpu, *format, rows, hidden, &block, right);
        let mut act = Operand::new();
        gated(
            cpu,
            &buffers.gate_up,
            inner,
            &mut act,
            right_of_dx.operand_format(cpu),
        );
        left.fill_columns_of(cpu, &act);
        matmul(
            cpu,
            left,
            right_of_dx,
            &mut gradients.values[at.down],
            hidden,
            Store::Add,
        );

        dact.resize(rows * inner, 0.0);
        let down = [(weights.values[at.down].as_slice(), hidden)];
        Products::into_inputs(cpu, *format, (left, turned), (dx, rows), &down, inner, dact);
        gated_backward(cpu, &mut buffers.gate_up, inner, dact);
        let dgate_up = &buffers.gate_up;

        normed.resize(rows * hidden, 0.0);
        rms_norm_f32(
            cpu,
            &buffers.x_mid,
            &weights.values[at.post_norm],
            eps,
            normed,
        );
        for (i, place) in at.gate_up.into_iter().enumerate() {
            weight_gradient(
                cpu,
                *format,
                (normed, hidden, hidden),
                (&dgate_up[i * inner..], inner, 2 * inner),
                rows,
                &mut gradients.values[place],
                inner,
                (left, right),
            );
        }
        dnormed.resize(rows * hidden, 0.0);
        let gate_up = at
            .gate_up
            .map(|place| (weights.values[place].as_slice(), inner));
        let buffers_of_product = (left, turned);
        Products::into_inputs(
            cpu,
            *format,
            buffers_of_product,
            (dgate_up, rows),
            &gate_up,
            hidden,
            dnormed,
        );
        rms_norm_backward(
            cpu,
            &buffers.x_mid,
            &weights.values[at.post_norm],
            eps,
            dnormed,
            dx,
            &mut gradients.values[at.post_norm],
        );
    }

    /// The first half: `x + o(attention(q(h), k(h), v(h)))`, `h = norm(x)`.
    fn attention(
        &self,
        buffers: &mut LayerBuffers,
        pages: &KvPages,
        dx: &mut [f32],
        gradients: &mut Weights,
        products: &mut Products,
    ) {
        let Self {
            model,
            weights,
            at,
            widths,
            part,
        } = *self;
        let Widths { hidden, q, .. } = widths;
        let (cpu, rows, stride) = (&model.cpu, part.n_rows(), widths.qkv());
        let Products {
            format,
            left,
            right,
            turned,
            normed,
            inner: dattended,
            hidden: dnormed,
            qkv: dqkv,
            ..
        } = products;
        let eps = model.config.norm_eps as f32;

        // dW_o = attendedᵀ dx
        let block = whole(dx, rows, hidden);
        let right_of_dx = packed(cpu, *format, rows, hidden, &block, right);
        left.fill_columns_of(cpu, &buffers.attended);
        matmul(
            cpu,
            left,
            right_of_dx,
            &mut gradients.values[at.o],
            hidden,
            Store::Add,
        );
        dattended.resize(rows * q, 0.0);
        let o = [(weights.values[at.o].as_slice(), hidden)];
        Products::into_inputs(cpu, *format, (left, turned), (dx, rows), &o, q, dattended);

        dqkv.resize(rows * stride, 0.0);
        attention_backward(
            cpu,
            model.head_shape(),
            pages,
            &part.runs,
            &AttentionGradient {
                q: &buffers.qkv,
                stride,
                offset: 0,
                k_offset: q,
                v_offset: q + widths.kv,
                out: &buffers.attended,
                stats: &buffers.stats,
                dout: dattended,
                slots: &part.slots[..rows],
                copied_pages: part.copied_pages,
            },
            dqkv,
        );
        self.heads_backward(buffers, dqkv, gradients);

        normed.resize(rows * hidden, 0.0);
        rms_norm_f32(
            cpu,
            &buffers.x_in,
            &weights.values[at.input_norm],
            eps,
            normed,
        );
        for ((offset, n), place) in widths.qkv_columns().into_iter().zip(at.qkv) {
            weight_gradient(
                cpu,
                *format,
                (normed, hidden, hidden),
                (&dqkv[offset..], n, stride),
                rows,
                &mut gradients.values[place],
                n,
                (left, right),
            );
        }
        dnormed.resize(rows * hidden, 0.0);
        let columns = widths.qkv_columns();
        let qkv = [0, 1, 2].map(|i| (weights.values[at.qkv[i]].as_slice(), columns[i].1));
        Products::into_inputs(
            cpu,
            *format,
            (left, turned),
            (dqkv, rows),
            &qkv,
            hidden,
            dnormed,
        );
        rms_norm_backward(
            cpu,
            &buffers.x_in,
            &weights.values[at.input_norm],
            eps,
            dnormed,
            dx,
            &mut gradients.values[at.input_norm],
        );
    }

    /// Through rotation, head norms and biases, in place.
    fn heads_backward(&self, buffers: &LayerBuffers, dqkv: &mut [f32], gradients: &mut Weights) {
        let Self {
            model,
            weights,
            at,
            widths,
            part,
        } = *self;
        let (cpu, config, rows, stride) = (&model.cpu, &model.config, part.n_rows(), widths.qkv());
        let head_dim = config.head_dim;
        let heads = [(0, config.n_heads), (widths.q, config.n_kv_heads)];
        for (offset, n) in heads {
            rotate(
                cpu,
                &model.rotary(),
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
                    &buffers.raw,
                    dqkv,
                    rows,
                    stride,
                    offset,
                    n,
                    head_dim,
                    &weights.values[place],
                    config.norm_eps as f32,
                    &mut gradients.values[place],
                );
            }
        }
        if let Some(biases) = at.biases {
            for (place, (offset, _)) in biases.into_iter().zip(widths.qkv_columns()) {
                let bias = &mut gradients.values[place];
                bias_gradient(cpu, dqkv, rows, stride, offset, bias);
            }
        }
    }
}

fn whole(values: &[f32], k: usize, n: usize) -> Block<'_> {
    Block {
        values,
        stride: n,
        k0: 0,
        n0: 0,
        k,
        n,
        transposed: false,
    }
}

fn packed<'a>(
    cpu: &Cpu,
    format: Format,
    k: usize,
    n: usize,
    block: &Block<'_>,
    buffer: &'a mut Option<Packed>,
) -> &'a Packed {
    let blocks = std::slice::from_ref(block);
    match buffer {
        Some(packed) => {
            packed.repack(cpu, k, n, blocks);
            packed
        }
        None => buffer.insert(Packed::new(cpu, format, k, n, blocks)),
    }
}
