//! Fast CPU kernels behind a safe interface, chosen at run time; the only home of unsafe code.
//!
//! A [`Cpu`] says which instructions and how many threads may be used; every kernel takes one. Results
//! depend on the instructions, never on the number of threads or on what else is in the batch: each row of
//! a product, and each query of an attention, is computed by the same sequence of operations whatever
//! stands beside it.
//!
//! Knows nothing of models, tensors or training.

mod allocator;
mod amx;
mod attention;
mod cpu;
mod matmul;
mod operand;
mod packed;
mod pages;
mod pool;
mod shared;
#[expect(dead_code, reason = "its users follow")]
mod simd;

pub use allocator::{Allocator, keep_freed_memory};
pub use attention::{AttentionGradient, Run, attention, attention_backward};
pub use cpu::{Cpu, CpuError, Isa};
pub use matmul::{Store, matmul};
pub use operand::{Operand, OperandFormat};
pub use packed::{Block, Format, Packed};
pub use pages::{HeadShape, KvPages, PAGE};
