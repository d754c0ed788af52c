//! Log-probabilities of given tokens, a block of rows at a time: `[tokens, vocab]` never exists whole.

use longhand_kernels::{
    Format, LogitStats, Operand, Packed, RowGradient, Store, logit_gradient, logit_stats, matmul,
    rms_norm, rms_norm_backward, rms_norm_f32,
};

use crate::{
    backward::Gradients,
    packed_model::{Base, head_block},
    weights::Weights,
};

/// Most bytes of logits at once.
const LOGIT_BYTES: usize = 64 << 20;

/// Sampled tokens by the row that predicts them.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    /// Rows that predict anything, ascending, each once.
    pub(crate) rows: Vec<u32>,
    /// Where the targets of each of these rows begin, and the end: `[rows.len() + 1]`.
    starts: Vec<usize>,
    /// `(id, place in the order of the contexts)`
    targets: Vec<(u32, usize)>,
}

impl Targets {
    /// From `(row, id)` in the order of the contexts.
    pub(crate) fn new(pairs: &[(u32, u32)]) -> Self {
        let mut order: Vec<usize> = (0..pairs.len()).collect();
        order.sort_by_key(|place| pairs[*place].0);
        let mut targets = Self::default();
        for place in order {
            let (row, id) = pairs[place];
            if targets.rows.last() != Some(&row) {
                targets.rows.push(row);
                targets.starts.push(targets.targets.len());
            }
            targets.targets.push((id, place));
        }
        targets.starts.push(targets.targets.len());
        targets
    }

    pub(crate) fn n_targets(&self) -> usize {
        self.targets.len()
    }

    /// The same targets when only their rows are kept, in order.
    pub(crate) fn renumbered(mut self) -> Self {
        for (row_idx, row) in self.rows.iter_mut().enumerate() {
            *row = row_idx as u32;
        }
        self
    }

    fn of_row(&self, row_idx: usize) -> &[(u32, usize)] {
        &self.targets[self.starts[row_idx]..self.starts[row_idx + 1]]
    }
}

/// What the policy says of sampled tokens, in the order of the contexts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenScores {
    /// Natural log-probability of each.
    pub logprobs: Vec<f32>,
    /// Entropy in nats of the distribution it was drawn from.
    pub entropies: Vec<f32>,
    /// Self-certainty of that distribution in nats: `KL(uniform ‖ p)` over the tokenizer's ids.
    pub self_certainties: Vec<f32>,
}

/// Derivatives of a loss with respect to what a pass says of its sampled tokens, context by context, in
/// order.
#[derive(Clone, Copy, Debug)]
pub struct ScoreGradient<'a> {
    /// `[n_sampled]`: with respect to each natural log-probability.
    pub logprobs: &'a [f32],
    /// `[n_sampled]`: with respect to each entropy in nats; none where the loss has no use for them.
    pub entropies: Option<&'a [f32]>,
}

/// Buffers of the head.
#[derive(Default)]
pub(crate) struct HeadBuffers {
    gathered: Vec<f32>,
    normed: Operand,
    pub(crate) logits: Vec<f32>,
    pub(crate) stats: Vec<LogitStats>,
}

impl HeadBuffers {
    /// Logits and their statistics of some rows of hidden states `x` `[n, hidden]`, into the buffers.
    pub(crate) fn logits_of(&mut self, base: &Base, x: &[f32], rows: &[u32], temperature: f32) {
        let hidden = base.config.hidden_size;
        self.gathered.clear();
        for row in rows {
            self.gathered
                .extend_from_slice(&x[*row as usize * hidden..][..hidden]);
        }
        let (cpu, eps) = (&base.cpu, base.config.norm_eps as f32);
        let format = base.head.operand_format(cpu);
        rms_norm(
            cpu,
            &self.gathered,
            &base.norm,
            eps,
            &mut self.normed,
            format,
        );
        self.logits.resize(rows.len() * base.n_ids, 0.0);
        matmul(
            cpu,
            &self.normed,
            &base.head,
            &mut self.logits,
            base.n_ids,
            Store::Set,
        );
        self.stats.resize(rows.len(), LogitStats::default());
        logit_stats(
            cpu,
            &self.logits,
            rows.len(),
            base.n_ids,
            base.n_ids,
            1.0 / temperature,
            &mut self.stats,
        );
    }
}

fn rows_at_once(base: &Base) -> usize {
    (LOGIT_BYTES / size_of::<f32>() / base.n_ids.max(1)).clamp(1, 4096)
}

/// Scores targets whose rows are in `x` `[n, hidden]`.
pub(crate) fn score(
    base: &Base,
    x: &[f32],
    targets: &Targets,
    temperature: f32,
    buffers: &mut HeadBuffers,
) -> TokenScores {
    let n = targets.n_targets();
    let mut scores = TokenScores {
        logprobs: vec![0.0; n],
        entropies: vec![0.0; n],
        self_certainties: vec![0.0; n],
    };
    let ln_n_ids = (base.n_ids as f32).ln();
    let block = rows_at_once(base);
    for (block_idx, rows) in targets.rows.chunks(block).enumerate() {
        buffers.logits_of(base, x, rows, temperature);
        for (i, stats) in buffers.stats.iter().enumerate() {
            let logits = &buffers.logits[i * base.n_ids..][..base.n_ids];
            for (id, place) in targets.of_row(block_idx * block + i) {
                scores.logprobs[*place] = stats.logprob(logits[*id as usize], 1.0 / temperature);
                scores.entropies[*place] = stats.entropy;
                scores.self_certainties[*place] = stats.log_sum_exp - stats.mean - ln_n_ids;
            }
        }
    }
    scores
}

/// The gradient of `Σ grad · score` with respect to the hidden states `dx` `[n, hidden]` (set), the
/// final norm and the head (added).
#[expect(
    clippy::too_many_arguments,
    reason = "all of them are what a gradient is taken of or goes to"
)]
pub(crate) fn backward(
    base: &Base,
    weights: &Weights,
    x: &[f32],
    targets: &Targets,
    temperature: f32,
    grad: ScoreGradient<'_>,
    buffers: &mut HeadBuffers,
    gradients: &mut Gradients<'_>,
    dx: &mut [f32],
) {
    let cpu = &base.cpu;
    let (hidden, n_ids) = (base.config.hidden_size, base.n_ids);
    let eps = base.config.norm_eps as f32;
    let product = product_format(base.format);
    let turned = Packed::new(
        cpu,
        product,
        n_ids,
        hidden,
        &[head_block(weights, &base.places, &base.config, n_ids, true)],
    );
    let (mut normed, mut dnormed, mut dgathered) = (Vec::new(), Vec::new(), Vec::new());
    let (mut left, mut right) = (Operand::new(), None::<Packed>);
    dx.fill(0.0);
    let block = rows_at_once(base);
    for (block_idx, rows) in targets.rows.chunks(block).enumerate() {
        buffers.logits_of(base, x, rows, temperature);
        let pairs: Vec<Vec<(u32, f32)>> = (0..rows.len())
            .map(|i| {
                let of_row = targets.of_row(block_idx * block + i).iter();
                of_row
                    .map(|(id, place)| (*id, grad.logprobs[*place]))
                    .collect()
            })
            .collect();
        let of_rows: Vec<RowGradient<'_>> = pairs
            .iter()
            .zip(&buffers.stats)
            .enumerate()
            .map(|(i, (pairs, stats))| RowGradient {
                stats: *stats,
                targets: pairs,
                // All targets of a row have its entropy.
                entropy_weight: grad.entropies.map_or(0.0, |grad| {
                    let of_row = targets.of_row(block_idx * block + i).iter();
                    of_row.map(|(_, place)| grad[*place]).sum()
                }),
            })
            .collect();
        logit_gradient(
            cpu,
            &mut buffers.logits,
            rows.len(),
            n_ids,
            n_ids,
            1.0 / temperature,
            &of_rows,
        );
        let dlogits = &buffers.logits;

        // Into the normed states, through the norm, and back to their rows.
        left.fill_rows(
            cpu,
            turned.operand_format(cpu),
            dlogits,
            rows.len(),
            n_ids,
            n_ids,
        );
        dnormed.resize(rows.len() * hidden, 0.0);
        matmul(cpu, &left, &turned, &mut dnormed, hidden, Store::Set);
        dgathered.clear();
        dgathered.resize(rows.len() * hidden, 0.0);
        rms_norm_backward(
            cpu,
            &buffers.gathered,
            &base.norm,
            eps,
            &dnormed,
            &mut dgathered,
            gradients.list(base.places.norm, hidden),
        );
        for (row, of_row) in rows.iter().zip(dgathered.chunks_exact(hidden)) {
            dx[*row as usize * hidden..][..hidden].copy_from_slice(of_row);
        }

        // Into the head.
        let Some(gradients) = gradients.of_model() else {
            continue;
        };
        normed.resize(rows.len() * hidden, 0.0);
        rms_norm_f32(cpu, &buffers.gathered, &base.norm, eps, &mut normed);
        match base.places.head {
            Some(place) => weight_gradient(
                cpu,
                product,
                (&normed, hidden, hidden),
                (dlogits, n_ids, n_ids),
                rows.len(),
                &mut gradients.values[place],
                base.config.vocab_size,
                (&mut left, &mut right),
            ),
            None => weight_gradient(
                cpu,
                product,
                (dlogits, n_ids, n_ids),
                (&normed, hidden, hidden),
                rows.len(),
                &mut gradients.values[base.places.embed],
                hidden,
                (&mut left, &mut right),
            ),
        }
    }
}

/// The format of products in the backward pass: that of the forward pass, but never integers.
pub(crate) fn product_format(format: Format) -> Format {
    match format {
        Format::Int8 => Format::F32,
        other => other,
    }
}

/// `out += aᵀ b` for `a` `[rows, n_a]` and `b` `[rows, n_b]`, each given as (values, width, stride).
#[expect(
    clippy::too_many_arguments,
    reason = "two matrices, where they go, and buffers"
)]
pub(crate) fn weight_gradient(
    cpu: &longhand_kernels::Cpu,
    format: Format,
    (a, n_a, a_stride): (&[f32], usize, usize),
    (b, n_b, b_stride): (&[f32], usize, usize),
    rows: usize,
    out: &mut [f32],
    out_stride: usize,
    (left, right): (&mut Operand, &mut Option<Packed>),
) {
    let block = longhand_kernels::Block {
        values: b,
        stride: b_stride,
        k0: 0,
        n0: 0,
        k: rows,
        n: n_b,
        transposed: false,
    };
    let right = match right {
        Some(right) if right.format() == format => {
            right.repack(cpu, rows, n_b, &[block]);
            right
        }
        _ => right.insert(Packed::new(cpu, format, rows, n_b, &[block])),
    };
    left.fill_columns(cpu, right.operand_format(cpu), a, n_a, rows, a_stride);
    matmul(cpu, left, right, out, out_stride, Store::Add);
}
