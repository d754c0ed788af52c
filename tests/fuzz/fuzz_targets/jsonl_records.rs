//! Looks for bytes with which `jsonl_records` breaks a promise.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| longhand_fuzz::run("jsonl_records", bytes));
