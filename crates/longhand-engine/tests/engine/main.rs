//! Behaviour of the engine: against a naive twin, and against itself in other company.

mod adapters;
mod fixture;
mod generation;
mod gradients;
mod logits;
mod naive;
mod scoring;
