//! Fast CPU kernels behind a safe interface, chosen at run time; the only home of unsafe code.
//!
//! A [`Cpu`] says which instructions and how many threads may be used; every kernel takes one. Results
//! depend on the instructions, never on the number of threads or on what else is in the batch: each row of
//! a product, and each query of an attention, is computed by the same sequence of operations whatever
//! stands beside it.
//!
//! Knows nothing of models, tensors or training.

mod adamw;
mod allocator;
mod amx;
mod attention;
#[cfg(test)]
mod check;
mod cpu;
mod draw;
mod dropout;
mod embedding;
mod gated;
mod logits;
mod matmul;
mod norm;
mod operand;
mod packed;
mod pages;
mod pool;
mod rotary;
mod rows;
mod shared;
mod simd;
mod sums;

pub use adamw::{AdamW, adamw};
pub use allocator::{Allocator, keep_freed_memory};
pub use attention::{AttentionGradient, Run, attention, attention_backward};
pub use cpu::{Cpu, CpuError, Isa};
pub use draw::{argmax, draw};
pub use dropout::{Dropout, add_kept, drop_out, mixed};
pub use embedding::{gather, scatter_add};
pub use gated::{gated, gated_backward};
pub use logits::{LogitStats, RowGradient, logit_gradient, logit_stats};
pub use matmul::{Store, matmul};
pub use norm::{head_norm, head_norm_backward, rms_norm, rms_norm_backward, rms_norm_f32};
pub use operand::{Operand, OperandFormat};
pub use packed::{Block, Format, Packed};
pub use pages::{HeadShape, KvPages, PAGE};
pub use rotary::{Rotary, rotate};
pub use sums::{add_bias, bias_gradient, sum_of_squares};
