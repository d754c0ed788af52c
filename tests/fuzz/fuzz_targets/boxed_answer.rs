//! Looks for bytes with which `boxed_answer` breaks a promise.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| longhand_fuzz::run("boxed_answer", bytes));
