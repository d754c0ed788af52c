//! Looks for bytes with which `metric_lines` breaks a promise.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| longhand_fuzz::run("metric_lines", bytes));
