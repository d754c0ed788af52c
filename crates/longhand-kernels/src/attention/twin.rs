//! The formulas in f64, row by row, and batches to hold the kernels against.

use super::Run;
use crate::{Cpu, HeadShape, KvPages, PAGE};

/// A batch of sequences that continue each other, and numbers for it.
pub(super) struct Batch {
    pub(super) shape: HeadShape,
    /// For each segment the one that it continues, and its own number of rows.
    pub(super) segments: Vec<(Option<usize>, usize)>,
    pub(super) stride: usize,
    /// `[rows, stride]`: queries, then keys, then values, with gaps.
    pub(super) qkv: Vec<f32>,
    /// `[rows, n_heads * head_dim]`
    pub(super) dout: Vec<f32>,
}

/// Pages that hold the keys of a batch.
pub(super) struct Layout {
    pub(super) pages: KvPages,
    pub(super) tables: Vec<Vec<u32>>,
    pub(super) slots: Vec<u32>,
    pub(super) copied_pages: Vec<(u32, u32)>,
}

/// Results of the twin, each `[rows, ..]`.
pub(super) struct Twin {
    pub(super) out: Vec<f64>,
    pub(super) stats: Vec<f64>,
    pub(super) dq: Vec<f64>,
    pub(super) dk: Vec<f64>,
    pub(super) dv: Vec<f64>,
}

/// Numbers between -1 and 1 that look random and are always the same.
pub(super) fn noise(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

impl Batch {
    pub(super) fn new(shape: HeadShape, segments: &[(Option<usize>, usize)]) -> Batch {
        let rows: usize = segments.iter().map(|(_, n)| n).sum();
        let width = shape.n_heads * shape.head_dim;
        let stride = width + 2 * shape.n_kv_heads * shape.head_dim + 9;
        // Queries of some size, so that attention is far from even.
        let qkv = noise(1 + rows as u64, rows * stride);
        Batch {
            shape,
            segments: segments.to_vec(),
            stride,
            qkv: qkv.into_iter().map(|x| 2.0 * x).collect(),
            dout: noise(7, rows * width),
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.segments.iter().map(|(_, n)| n).sum()
    }

    pub(super) fn offset(&self) -> usize {
        3
    }

    pub(super) fn k_offset(&self) -> usize {
        self.offset() + self.shape.n_heads * self.shape.head_dim + 1
    }

    pub(super) fn v_offset(&self) -> usize {
        self.k_offset() + self.shape.n_kv_heads * self.shape.head_dim + 2
    }

    fn first_row(&self, segment: usize) -> usize {
        self.segments[..segment].iter().map(|(_, n)| n).sum()
    }

    /// Rows of the whole sequence that ends with a segment.
    pub(super) fn path(&self, segment: usize) -> Vec<usize> {
        let (parent, n) = self.segments[segment];
        let mut path = parent.map_or_else(Vec::new, |parent| self.path(parent));
        let first = self.first_row(segment);
        path.extend(first..first + n);
        path
    }

    /// Writes the keys into pages, where all that is not written is NaN. With `is_shared`, segments use
    /// the full pages of those that they continue; without, each has a copy.
    pub(super) fn lay_out(&self, cpu: &Cpu, is_shared: bool) -> Layout {
        let n_segments = self.segments.len();
        let of_segment = |segment| self.path(segment).len().div_ceil(PAGE);
        // A prime number of pages, so that a step through them meets each once.
        let mut n_pages = (0..n_segments).map(of_segment).sum::<usize>() + 6;
        while (2..n_pages).any(|d| n_pages.is_multiple_of(d)) {
            n_pages += 1;
        }
        let mut pages = KvPages::new(self.shape);
        pages.ensure(n_pages);
        let all: Vec<u32> = (0..(n_pages * PAGE) as u32).collect();
        let width = self.shape.n_kv_heads * self.shape.head_dim;
        let nothing = vec![f32::NAN; all.len() * width];
        pages.write(cpu, &nothing, all.len(), width, 0, 0, &all);
        let mut next_page = 0;
        let mut tables: Vec<Vec<u32>> = Vec::new();
        let mut slots = Vec::new();
        let mut copied_pages = Vec::new();
        for segment in 0..n_segments {
            let (parent, n_rows) = self.segments[segment];
            let first_position = self.path(segment).len() - n_rows;
            let n_pages_now = of_segment(segment);
            let mut table = Vec::new();
            for place in 0..n_pages_now {
                let from = parent.and_then(|parent| tables[parent].get(place).copied());
                let is_full = (place + 1) * PAGE <= first_position;
                if let Some(from) = from
                    && is_full
                    && is_shared
                {
                    table.push(from);
                    continue;
                }
                next_page = (next_page + 5) % n_pages as u32;
                table.push(next_page);
                if let Some(from) = from
                    && place * PAGE < first_position
                {
                    pages.copy_page(from, next_page);
                    copied_pages.push((from, next_page));
                }
            }
            let of_position = |t: usize| table[t / PAGE] * PAGE as u32 + (t % PAGE) as u32;
            let own: Vec<u32> = (first_position..first_position + n_rows)
                .map(of_position)
                .collect();
            let x = &self.qkv[self.first_row(segment) * self.stride..];
            let (k, v) = (self.k_offset(), self.v_offset());
            pages.write(cpu, x, n_rows, self.stride, k, v, &own);
            slots.extend(own);
            tables.push(table);
        }
        Layout {
            pages,
            tables,
            slots,
            copied_pages,
        }
    }

    /// One run per segment.
    pub(super) fn runs<'a>(&self, layout: &'a Layout) -> Vec<Run<'a>> {
        let of_segment = |segment| {
            let (_, n_rows) = self.segments[segment];
            Run {
                first_row: self.first_row(segment),
                n_rows,
                first_position: self.path(segment).len() - n_rows,
                table: &layout.tables[segment],
            }
        };
        (0..self.segments.len()).map(of_segment).collect()
    }

    /// Everything in f64, from these queries, keys and values.
    pub(super) fn twin(&self, qkv: &[f64]) -> Twin {
        let HeadShape {
            n_heads,
            n_kv_heads,
            head_dim,
        } = self.shape;
        let (rows, width, kv_width) = (self.rows(), n_heads * head_dim, n_kv_heads * head_dim);
        let mut twin = Twin {
            out: vec![0.0; rows * width],
            stats: vec![0.0; rows * n_heads],
            dq: vec![0.0; rows * width],
            dk: vec![0.0; rows * kv_width],
            dv: vec![0.0; rows * kv_width],
        };
        let scale = 1.0 / (head_dim as f64).sqrt();
        for segment in 0..self.segments.len() {
            let path = self.path(segment);
            for limit in path.len() - self.segments[segment].1..path.len() {
                let row = path[limit];
                let seen = &path[..=limit];
                for head in 0..n_heads {
                    let kv = head / self.shape.group() * head_dim;
                    let q = &qkv[row * self.stride + self.offset() + head * head_dim..][..head_dim];
                    let key =
                        |row: usize| &qkv[row * self.stride + self.k_offset() + kv..][..head_dim];
                    let value =
                        |row: usize| &qkv[row * self.stride + self.v_offset() + kv..][..head_dim];
                    let dot =
                        |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                    let s: Vec<f64> = seen.iter().map(|row| dot(q, key(*row)) * scale).collect();
                    let largest = s.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let total: f64 = s.iter().map(|s| (s - largest).exp()).sum();
                    let lse = largest + total.ln();
                    twin.stats[row * n_heads + head] = lse;
                    let at = row * width + head * head_dim;
                    let dout: Vec<f64> = self.dout[at..at + head_dim]
                        .iter()
                        .map(|x| f64::from(*x))
                        .collect();
                    for (s, other) in s.iter().zip(seen) {
                        for (d, v) in value(*other).iter().enumerate() {
                            twin.out[at + d] += (s - lse).exp() * v;
                        }
                    }
                    let delta = dot(&dout, &twin.out[at..at + head_dim]);
                    for (s, other) in s.iter().zip(seen) {
                        let p = (s - lse).exp();
                        let ds = p * (dot(&dout, value(*other)) - delta) * scale;
                        for d in 0..head_dim {
                            twin.dq[at + d] += ds * key(*other)[d];
                            twin.dk[other * kv_width + kv + d] += ds * q[d];
                            twin.dv[other * kv_width + kv + d] += p * dout[d];
                        }
                    }
                }
            }
        }
        twin
    }

    pub(super) fn wide(&self) -> Vec<f64> {
        self.qkv.iter().map(|x| f64::from(*x)).collect()
    }
}

#[test]
fn the_twin_s_gradients_are_differences_of_its_outputs() {
    let shape = HeadShape {
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 2,
    };
    let batch = Batch::new(
        shape,
        &[(None, 3), (Some(0), 2), (Some(0), 1), (Some(1), 2)],
    );
    let qkv = batch.wide();
    let twin = batch.twin(&qkv);
    let loss = |qkv: &[f64]| -> f64 {
        let out = batch.twin(qkv).out;
        out.iter()
            .zip(&batch.dout)
            .map(|(x, w)| x * f64::from(*w))
            .sum()
    };
    let (width, kv_width) = (8, 4);
    for row in 0..batch.rows() {
        let places = [
            (batch.offset(), width, &twin.dq),
            (batch.k_offset(), kv_width, &twin.dk),
            (batch.v_offset(), kv_width, &twin.dv),
        ];
        for (offset, width, gradient) in places {
            for i in 0..width {
                let moved = |by: f64| {
                    let mut qkv = qkv.clone();
                    qkv[row * batch.stride + offset + i] += by;
                    loss(&qkv)
                };
                let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                let found = gradient[row * width + i];
                assert!((difference - found).abs() < 1e-8, "{difference} {found}");
            }
        }
    }
}
