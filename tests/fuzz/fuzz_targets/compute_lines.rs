//! Looks for bytes with which `compute_lines` breaks a promise.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| longhand_fuzz::run("compute_lines", bytes));
