//! Looks for bytes with which `math_cleaning` breaks a promise.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| longhand_fuzz::run("math_cleaning", bytes));
