//! Files that lie: an error at once, never a panic, never more memory than the file has bytes.

use std::{
    fs,
    time::{Duration, Instant},
};

use longhand_gguf::{ImportOptions, import};
use proptest::prelude::*;

use super::writer::small_model;

/// Imports bytes; an error must come within a second.
fn try_import(bytes: &[u8]) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    fs::write(&path, bytes).unwrap();
    let start = Instant::now();
    let result = import(&path, &folder.path().join("m"), &ImportOptions::default());
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    result.map(|_| ()).map_err(|error| error.to_string())
}

fn check(bytes: &[u8], expected: &str) {
    let error = try_import(bytes).unwrap_err();
    assert!(error.contains(expected), "{error}");
}

fn header(n_tensors: u64, n_keys: u64) -> Vec<u8> {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(n_tensors.to_le_bytes());
    bytes.extend(n_keys.to_le_bytes());
    bytes
}

#[test]
fn absurd_counts_are_not_believed() {
    check(b"", "the first four bytes");
    check(b"PK\x03\x04rest", "a GGUF file begins with GGUF");
    check(
        &header(u64::MAX, 0),
        "number of tensors: 18446744073709551615 bytes are announced and 0 are left",
    );
    check(&header(0, 1 << 60), "number of keys");
    let mut text = header(0, 1);
    text.extend((1_u64 << 60).to_le_bytes());
    text.extend([0; 64]);
    check(
        &text,
        "name of key 0: 1152921504606846976 bytes are announced",
    );
    let with_list = |kind: u32, n: u64| {
        let mut bytes = header(0, 1);
        bytes.extend(20_u64.to_le_bytes());
        bytes.extend(b"tokenizer.ggml.token");
        bytes.extend(9_u32.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(n.to_le_bytes());
        bytes.extend([0; 64]);
        bytes
    };
    check(&with_list(8, 1 << 61), "key `tokenizer.ggml.token`");
    check(&with_list(5, 1 << 62), "key `tokenizer.ggml.token`");
    check(&with_list(0, u64::MAX), "key `tokenizer.ggml.token`");
    check(&with_list(9, 1 << 20), "a list of lists");
    check(&with_list(77, 1), "there is no value type 77");
}

#[test]
fn a_header_of_any_length_ends() {
    // A list of empty texts that really is there, in a file with holes: 8 GiB that take no disk.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    let mut bytes = header(0, 1);
    bytes.extend(20_u64.to_le_bytes());
    bytes.extend(b"tokenizer.ggml.token");
    bytes.extend(9_u32.to_le_bytes());
    bytes.extend(8_u32.to_le_bytes());
    bytes.extend((1_u64 << 29).to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(8 << 30).unwrap();
    let start = Instant::now();
    let error = import(&path, &folder.path().join("m"), &ImportOptions::default());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("take more than 67108864 bytes"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn tensors_stay_in_the_file_and_apart() {
    let good = small_model("llama").bytes();
    let place = |name: &[u8]| {
        let at = good.windows(name.len()).position(|window| window == name);
        at.unwrap() + name.len()
    };
    let edited = |at: usize, value: u64| {
        let mut bytes = good.clone();
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    // Two sizes: after the name a number of sizes, the sizes, the type, the offset.
    let at = place(b"token_embd.weight");
    check(&edited(at + 4 + 16 + 4, 0), "begins inside of tensor");
    check(
        &edited(at + 4 + 16 + 4, 33),
        "its offset 33 is no multiple of 32",
    );
    check(
        &edited(at + 4 + 16 + 4, u64::MAX - 31),
        "reach beyond the file's",
    );
    check(
        &edited(at + 4, 1 << 40),
        "a size must be from 1 to 2147483647",
    );
    check(&edited(at + 4, 1 << 30), "reach beyond the file's");
}

proptest! {
    #[test]
    fn cut_files_are_errors(cut in 0.0..1.0_f64) {
        let bytes = small_model("qwen3").bytes();
        // The last tensor is padded: the padding may be lacking.
        let n_bytes = ((bytes.len() - 32) as f64 * cut) as usize;
        prop_assert!(try_import(&bytes[..n_bytes]).is_err());
    }

    #[test]
    fn flipped_bits_do_not_panic(flips in prop::collection::vec((0.0..1.0_f64, 0..8_u32), 1..6)) {
        let mut bytes = small_model("llama").bytes();
        // Most of the file is numbers, which may be anything: flip what comes before.
        let n_bytes = bytes.len() / 2;
        for (place, bit) in flips {
            bytes[(n_bytes as f64 * place) as usize] ^= 1 << bit;
        }
        let _ = try_import(&bytes);
    }
}
