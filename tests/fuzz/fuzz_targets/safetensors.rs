//! Looks for bytes with which `safetensors` breaks a promise.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| longhand_fuzz::run("safetensors", bytes));
