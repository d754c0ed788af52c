//! Looks for bytes with which `hotpotqa_records` breaks a promise.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| longhand_fuzz::run("hotpotqa_records", bytes));
