//! Behaviour of the policy: the engine and burn's tensors are twins, and folders hold what was saved.

mod adapters;
mod engines;
mod fixture;
mod going_on;
mod on_device;
mod storage;
