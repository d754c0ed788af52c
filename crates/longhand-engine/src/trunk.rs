//! The layers, forwards: what generation, scoring and training share.

use longhand_kernels::{
    KvPages, Operand, Store, add_bias, attention, gated, gather, head_norm, matmul, rms_norm,
    rotate,
};

use crate::{
    packed_adapter::{AdapterScratch, Inner},
    packed_model::{Base, Layer, PackedLayer, Product},
    rows::Part,
};

/// What a layer computes on its way; kept by a training pass, overwritten by the others.
#[derive(Default)]
pub(crate) struct LayerBuffers {
    /// Whether a way back will ask for it.
    is_kept: bool,
    /// The residual stream before the layer, `[n_rows, hidden]`.
    pub(crate) x_in: Vec<f32>,
    /// Queries, keys and values before the head norms, `[n_rows, q + 2 kv]`; only where there are norms.
    pub(crate) raw: Vec<f32>,
    /// Queries, keys (rotated) and values, `[n_rows + n_copies, q + 2 kv]`.
    pub(crate) qkv: Vec<f32>,
    /// Log-sum-exp of every query's scores, `[n_rows, n_heads]`.
    pub(crate) stats: Vec<f32>,
    /// `[n_rows, q]`
    pub(crate) attended: Operand,
    /// The residual stream between the halves, `[n_rows, hidden]`.
    pub(crate) x_mid: Vec<f32>,
    /// `[n_rows, 2 inner]`
    pub(crate) gate_up: Vec<f32>,
    /// What the adapter computes on its way; only where there is one.
    pub(crate) inner: Inner,
}

impl LayerBuffers {
    /// Buffers of a layer that a training pass comes back to.
    pub(crate) fn kept() -> Self {
        Self {
            is_kept: true,
            ..Self::default()
        }
    }
}

/// Operands that nobody needs after the next product.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(crate) normed: Operand,
    pub(crate) act: Operand,
    adapter: AdapterScratch,
}

/// The first residual stream: the embedding of each row, into `x` `[n_rows, hidden]`.
pub(crate) fn embed(base: &Base, part: &Part<'_>, x: &mut Vec<f32>) {
    let hidden = base.config.hidden_size;
    base.reach(part.positions);
    x.resize(part.n_rows() * hidden, 0.0);
    gather(&base.cpu, &base.embed, hidden, part.ids, x);
}

/// One layer: moves the residual stream `x` `[n_rows, hidden]` and leaves its way in `buffers`.
pub(crate) fn layer_forward(
    base: &Base,
    layer: Layer<'_>,
    pages: &mut KvPages,
    part: &Part<'_>,
    x: &mut [f32],
    buffers: &mut LayerBuffers,
    scratch: &mut Scratch,
) {
    let keep = buffers.is_kept;
    let Layer {
        packed: layer,
        adapter,
    } = layer;
    let (cpu, widths) = (&base.cpu, base.widths());
    let n_rows = part.n_rows();
    let eps = base.config.norm_eps as f32;
    if keep {
        buffers.x_in.clear();
        buffers.x_in.extend_from_slice(x);
    }

    let format = layer.qkv.operand_format(cpu);
    rms_norm(cpu, x, &layer.input_norm, eps, &mut scratch.normed, format);
    let stride = widths.qkv();
    let qkv = &mut buffers.qkv;
    qkv.resize((n_rows + part.copied.len()) * stride, 0.0);
    matmul(
        cpu,
        &scratch.normed,
        &layer.qkv,
        &mut qkv[..n_rows * stride],
        stride,
        Store::Set,
    );
    if let Some(adapter) = adapter {
        adapter.add(
            cpu,
            Product::Qkv,
            &scratch.normed,
            &mut qkv[..n_rows * stride],
            &mut buffers.inner,
            &mut scratch.adapter,
        );
    }
    place_heads(base, layer, part, qkv, keep.then_some(&mut buffers.raw));
    pages.write(
        cpu,
        qkv,
        part.slots.len(),
        stride,
        widths.q,
        widths.q + widths.kv,
        &part.slots,
    );
    let stats = keep.then(|| {
        buffers.stats.resize(n_rows * base.config.n_heads, 0.0);
        &mut buffers.stats[..]
    });
    attention(
        cpu,
        base.head_shape(),
        pages,
        &part.runs,
        &qkv[..n_rows * stride],
        stride,
        0,
        &mut buffers.attended,
        layer.o.operand_format(cpu),
        stats,
    );
    matmul(
        cpu,
        &buffers.attended,
        &layer.o,
        x,
        widths.hidden,
        Store::Add,
    );
    if let Some(adapter) = adapter {
        adapter.add(
            cpu,
            Product::O,
            &buffers.attended,
            x,
            &mut buffers.inner,
            &mut scratch.adapter,
        );
    }

    if keep {
        buffers.x_mid.clear();
        buffers.x_mid.extend_from_slice(x);
    }
    let format = layer.gate_up.operand_format(cpu);
    rms_norm(cpu, x, &layer.post_norm, eps, &mut scratch.normed, format);
    buffers.gate_up.resize(n_rows * 2 * widths.inner, 0.0);
    matmul(
        cpu,
        &scratch.normed,
        &layer.gate_up,
        &mut buffers.gate_up,
        2 * widths.inner,
        Store::Set,
    );
    if let Some(adapter) = adapter {
        adapter.add(
            cpu,
            Product::GateUp,
            &scratch.normed,
            &mut buffers.gate_up,
            &mut buffers.inner,
            &mut scratch.adapter,
        );
    }
    let format = layer.down.operand_format(cpu);
    gated(
        cpu,
        &buffers.gate_up,
        widths.inner,
        &mut scratch.act,
        format,
    );
    matmul(cpu, &scratch.act, &layer.down, x, widths.hidden, Store::Add);
    if let Some(adapter) = adapter {
        adapter.add(
            cpu,
            Product::Down,
            &scratch.act,
            x,
            &mut buffers.inner,
            &mut scratch.adapter,
        );
    }
}

/// Biases, head norms and rotation of queries and keys, and the copies of keys and values behind them.
fn place_heads(
    base: &Base,
    layer: &PackedLayer,
    part: &Part<'_>,
    qkv: &mut [f32],
    raw: Option<&mut Vec<f32>>,
) {
    let (cpu, config, widths) = (&base.cpu, &base.config, base.widths());
    let (n_rows, stride, head_dim) = (part.n_rows(), widths.qkv(), config.head_dim);
    let (own, copies) = qkv.split_at_mut(n_rows * stride);
    if let Some(biases) = &layer.biases {
        for (bias, (offset, _)) in biases.iter().zip(widths.qkv_columns()) {
            add_bias(cpu, own, n_rows, stride, offset, bias);
        }
    }
    let heads = [(0, config.n_heads), (widths.q, config.n_kv_heads)];
    if let Some(norms) = &layer.head_norms {
        if let Some(raw) = raw {
            raw.clear();
            raw.extend_from_slice(own);
        }
        let eps = config.norm_eps as f32;
        for (norm, (offset, n)) in norms.iter().zip(heads) {
            head_norm(cpu, own, n_rows, stride, offset, n, head_dim, norm, eps);
        }
    }
    for (offset, n) in heads {
        rotate(
            cpu,
            &base.rotary(),
            own,
            n_rows,
            stride,
            offset,
            n,
            head_dim,
            part.positions,
            false,
        );
    }
    for (copy, row) in copies.chunks_exact_mut(stride).zip(&part.copied) {
        copy.copy_from_slice(&own[row * stride..][..stride]);
    }
}
