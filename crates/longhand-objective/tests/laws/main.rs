//! What every objective must obey, for all combinations of its parts.
//!
//! - `naive`: a second implementation, with stop-gradients instead of derivatives, to differ from;
//! - `batches`: random batches away from kinks, and the list of all objectives;
//! - `worked`: literals computed elsewhere;
//! - `degenerate`: empty masks, advantages of zero, missing inputs, first updates;
//! - `gradients`: values against the second implementation, gradients against finite differences;
//! - `controls` and `naive_controls`: the same for entropy control;
//! - `invariance`: micro-batches, order, splits of trajectories, untrained tokens.

mod batches;
mod naive;
mod naive_controls;

mod controls;
mod degenerate;
mod gradients;
mod invariance;
mod worked;
