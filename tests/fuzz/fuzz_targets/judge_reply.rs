//! Looks for bytes with which `judge_reply` breaks a promise.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| longhand_fuzz::run("judge_reply", bytes));
