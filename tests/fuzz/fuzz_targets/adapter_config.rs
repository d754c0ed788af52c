//! Looks for bytes with which `adapter_config` breaks a promise.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| longhand_fuzz::run("adapter_config", bytes));
