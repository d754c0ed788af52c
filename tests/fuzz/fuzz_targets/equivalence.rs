//! Looks for bytes with which `equivalence` breaks a promise.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| longhand_fuzz::run("equivalence", bytes));
