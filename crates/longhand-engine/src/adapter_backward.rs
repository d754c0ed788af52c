//! An adapter's part of the way back.
//!
//! With `h = scale · m A` for the kept numbers `m = dropout(x)`, and the derivative `dy` of `y = x W + h B`:
//! `dB = hᵀ dy`, `dh = scale · dy Bᵀ`, `dA = mᵀ dh`, and `dx` gains what dropout keeps of `dh Aᵀ`.

use longhand_kernels::{Block, Cpu, Format, Operand, Packed, Store, add_kept, matmul};

use crate::{
    backward::{columns, packed},
    packed_adapter::LayerAdapter,
    packed_model::{Product, Projection},
};

/// What a product of the adapter's is differentiated at.
pub(crate) struct ProductPass<'a> {
    /// What went in, `[n_rows, k]`.
    pub(crate) x: &'a Operand,
    /// What it became on its way, `[n_rows, sites · rank]`.
    pub(crate) inner: &'a [f32],
    /// The derivative of what came out, `[n_rows, n]`.
    pub(crate) dy: &'a [f32],
    /// The same, for the left of a product.
    pub(crate) dy_rows: &'a Operand,
}

/// Products of the adapter's way back, with their buffers.
pub(crate) struct AdapterProducts {
    format: Format,
    left: Operand,
    dropped: Operand,
    /// Of the adapter's own matrices and derivatives, which are narrow.
    narrow: Option<Packed>,
    /// Of the derivative of what came out.
    wide: Option<Packed>,
    dinner: Vec<f32>,
    kept: Vec<f32>,
}

impl AdapterProducts {
    pub(crate) fn new(format: Format) -> Self {
        Self {
            format,
            left: Operand::new(),
            dropped: Operand::new(),
            narrow: None,
            wide: None,
            dinner: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// Adds the gradients of the adapter's numbers to `gradients`, its lists of all layers, and that of what
    /// went in to `dx` `[n_rows, k]`.
    pub(crate) fn backward(
        &mut self,
        cpu: &Cpu,
        adapter: LayerAdapter<'_>,
        product: Product,
        pass: &ProductPass<'_>,
        gradients: &mut [Vec<f32>],
        dx: &mut [f32],
    ) {
        let (sites, rank) = (adapter.sites(product), adapter.rank());
        let (rows, width) = (pass.x.rows(), sites.sites.len() * rank);
        if width == 0 || rows == 0 {
            return;
        }
        let Self {
            format,
            left,
            dropped,
            narrow,
            wide,
            dinner,
            kept,
        } = self;
        let (format, lists) = (*format, adapter.lists());
        let gradients = &mut gradients[adapter.places()];

        dinner.resize(rows * width, 0.0);
        let b = sites.b_blocks(lists, rank, true);
        let turned = packed(cpu, format, sites.n, width, &b, narrow);
        matmul(cpu, pass.dy_rows, turned, dinner, width, Store::Set);
        let scale = adapter.scale();
        dinner.iter_mut().for_each(|value| *value *= scale);

        for (site_idx, site) in sites.sites.iter().enumerate() {
            let Projection {
                first_column,
                n_columns,
                ..
            } = site.projection;
            let dy = columns(pass.dy, sites.n, first_column, rows, n_columns);
            let dy = packed(cpu, format, rows, n_columns, &[dy], wide);
            let inner = &pass.inner[site_idx * rank..];
            left.fill_columns(cpu, dy.operand_format(cpu), inner, rank, rows, width);
            let db = &mut gradients[site.place + 1];
            matmul(cpu, left, dy, db, n_columns, Store::Add);
        }

        let is_shared = adapter.dropout(product, 0).is_none();
        for (site_idx, site) in sites.sites.iter().enumerate() {
            // Without dropout all targets take the same rows.
            if site_idx == 0 || !is_shared {
                let x = adapter.dropped(cpu, product, site_idx, pass.x, dropped);
                left.fill_columns_of(cpu, x);
            }
            let dh = columns(dinner, width, site_idx * rank, rows, rank);
            let dh = packed(cpu, format, rows, rank, &[dh], narrow);
            matmul(cpu, left, dh, &mut gradients[site.place], rank, Store::Add);
        }

        let a = sites.a_blocks(lists, rank, true);
        if is_shared {
            let turned = packed(cpu, format, width, sites.k, &a, narrow);
            left.fill_rows(cpu, turned.operand_format(cpu), dinner, rows, width, width);
            matmul(cpu, left, turned, dx, sites.k, Store::Add);
            return;
        }
        kept.resize(rows * sites.k, 0.0);
        for (site_idx, block) in a.into_iter().enumerate() {
            let Some(dropout) = adapter.dropout(product, site_idx) else {
                continue;
            };
            let turned = packed(
                cpu,
                format,
                rank,
                sites.k,
                &[Block { k0: 0, ..block }],
                narrow,
            );
            let dh = &dinner[site_idx * rank..];
            left.fill_rows(cpu, turned.operand_format(cpu), dh, rows, rank, width);
            matmul(cpu, left, turned, kept, sites.k, Store::Set);
            add_kept(cpu, kept, sites.k, dropout, dx);
        }
    }
}
