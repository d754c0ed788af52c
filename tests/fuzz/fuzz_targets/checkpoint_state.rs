//! Looks for bytes with which `checkpoint_state` breaks a promise.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| longhand_fuzz::run("checkpoint_state", bytes));
