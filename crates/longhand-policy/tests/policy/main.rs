//! Behaviour of the policy: every fast path against a slow twin.

mod fixture;
mod generation;
mod gradients;
mod naive;
mod scoring;
mod storage;
