//! Looks for bytes with which `checkers` breaks a promise.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| longhand_fuzz::run("checkers", bytes));
