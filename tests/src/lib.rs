//! Tests across crates, one file per question; this library is empty.
//!
//! `layers.rs`: who may use whom. `tidy.rs`: the house rules and the map. `readme.rs`: what the
//! pages promise. `configs.rs`: every experiment file makes sense.
