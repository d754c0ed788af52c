//! Models and adapters in folders: what is written is read, and what is broken is refused.

mod adapters;
mod fixture;
mod hostile;
mod models;
mod shards;
