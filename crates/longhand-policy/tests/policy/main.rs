//! Behaviour of the policy: the engine and burn's tensors are twins, and folders hold what was saved.

mod engines;
mod fixture;
mod on_device;
mod storage;
