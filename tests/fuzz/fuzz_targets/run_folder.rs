//! Looks for bytes with which `run_folder` breaks a promise.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| longhand_fuzz::run("run_folder", bytes));
