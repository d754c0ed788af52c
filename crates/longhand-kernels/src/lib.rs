//! The only home of unsafe code, behind a safe interface; so far the allocator's settings.
//!
//! Knows nothing of models, tensors or training.

mod allocator;

pub use allocator::{Allocator, keep_freed_memory};
