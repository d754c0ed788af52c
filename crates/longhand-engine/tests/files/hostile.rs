//! Files that mean harm: an error, soon, in little memory.

use std::{
    fs,
    io::Write as _,
    time::{Duration, Instant},
};

use longhand_engine::{Family, SaveOptions, TensorFile, load_weights};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use crate::fixture::{Saved, config};

fn saved() -> Saved {
    Saved::new(config(Family::Llama, true), &SaveOptions::default())
}

/// A file with this header and so many bytes of zeros behind it, which take no place on a disk.
fn file(saved: &Saved, header: &str, n_bytes: u64) {
    let mut file = fs::File::create(saved.single()).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes())
        .unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len(8 + header.len() as u64 + n_bytes).unwrap();
}

fn refused_soon(saved: &Saved, expected: &str) {
    let start = Instant::now();
    let message = saved.refusal();
    let took = start.elapsed();
    assert!(message.contains(expected), "{message}");
    assert!(message.len() < 2000, "{} bytes", message.len());
    // A test shares the machine with others; a second is for one that has it for itself.
    assert!(took < Duration::from_secs(5), "{expected}: {took:?}");
}

#[test]
fn files_that_were_cut_off_are_refused_wherever() {
    let saved = saved();
    let whole = fs::read(saved.single()).unwrap();
    let n_header = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let places = (0..whole.len()).step_by(97);
    let near = [
        0,
        1,
        7,
        8,
        9,
        8 + n_header - 1,
        8 + n_header,
        whole.len() - 1,
    ];
    for n_bytes in places.chain(near) {
        fs::write(saved.single(), &whole[..n_bytes]).unwrap();
        refused_soon(&saved, "is not a safetensors file");
    }
    fs::write(saved.single(), &whole[..5]).unwrap();
    refused_soon(&saved, "it has 5 bytes");
    fs::write(saved.single(), [&whole[..], &[0; 4]].concat()).unwrap();
    refused_soon(&saved, "it was cut off or added to");
}

#[test]
fn headers_of_absurd_lengths_are_refused() {
    let saved = saved();
    let mut whole = fs::read(saved.single()).unwrap();
    for length in [u64::MAX, u64::MAX / 2, u64::MAX - 7, 1 << 40] {
        whole[..8].copy_from_slice(&length.to_le_bytes());
        fs::write(saved.single(), &whole).unwrap();
        refused_soon(&saved, &format!("its header claims {length} bytes"));
    }
    // As long as it says, of zeros.
    for length in [1 << 34, 64 << 20] {
        let mut file = fs::File::create(saved.single()).unwrap();
        file.write_all(&u64::to_le_bytes(length)).unwrap();
        file.set_len(8 + length).unwrap();
        refused_soon(&saved, "are not read");
    }
}

#[test]
fn tensors_of_absurd_sizes_are_refused_before_they_are_read() {
    let saved = saved();
    let entry = |shape: Value, end: u64| {
        json!({"model.embed_tokens.weight": {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}})
            .to_string()
    };
    // A terabyte that is there, in the wrong shape.
    file(&saved, &entry(json!([1_u64 << 38]), 1 << 40), 1 << 40);
    refused_soon(&saved, "config.json asks for [31, 12]");
    file(&saved, &entry(json!([u64::MAX, u64::MAX]), 4), 4);
    refused_soon(&saved, "claims bytes 0 to 4");
    file(&saved, &entry(json!([u64::MAX, 0]), 0), 0);
    refused_soon(&saved, "claims bytes 0 to 0");
    file(&saved, &entry(json!([0, u64::MAX]), 0), 0);
    refused_soon(&saved, "config.json asks for [31, 12]");
    file(&saved, &entry(json!([31, 12]), u64::MAX), 4);
    refused_soon(&saved, "claims bytes 0 to");
    file(&saved, &entry(json!(vec![1; 100_000]), 4), 4);
    refused_soon(&saved, "100000 dimensions");
}

#[test]
fn long_headers_are_refused_soon() {
    let saved = saved();
    let n_entries = 200_000;
    let entry = r#"{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#;
    let many: Vec<String> = (0..n_entries)
        .map(|i| format!("\"{i:x}\":{entry}"))
        .collect();
    file(&saved, &format!("{{{}}}", many.join(",")), 0);
    refused_soon(&saved, "has no tensor `model.embed_tokens.weight`");
    file(&saved, &format!("{{\"a\":{}", "[".repeat(10 << 20)), 0);
    refused_soon(&saved, "is not a safetensors file");
    file(
        &saved,
        &format!("{{\"__metadata__\":{}", "{\"a\":".repeat(1 << 20)),
        0,
    );
    refused_soon(&saved, "is not a safetensors file");
    file(
        &saved,
        &format!("{{\"a\":{{\"dtype\":\"{}\"", "F".repeat(10 << 20)),
        0,
    );
    refused_soon(&saved, "is not a safetensors file");
    let zeros = "0,".repeat(4 << 20);
    file(
        &saved,
        &format!("{{\"a\":{{\"shape\":[{zeros}0],\"dtype\":\"U8\",\"data_offsets\":[0,0]}}}}"),
        0,
    );
    refused_soon(&saved, "4194305 dimensions");
    let name = "n".repeat(10 << 20);
    file(&saved, &format!("{{\"{name}\":{entry}}}"), 4);
    refused_soon(&saved, "cut off or added to");
}

#[test]
fn a_header_that_is_no_text_is_refused() {
    let saved = saved();
    let header = b"{\"\xff\xfe\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}";
    let bytes = [&(header.len() as u64).to_le_bytes(), &header[..]].concat();
    fs::write(saved.single(), bytes).unwrap();
    refused_soon(&saved, "is not a safetensors file");
}

#[test]
fn a_folder_in_the_place_of_a_file_is_refused() {
    let saved = saved();
    fs::remove_file(saved.single()).unwrap();
    fs::create_dir(saved.single()).unwrap();
    refused_soon(&saved, "it is not a file");
    fs::remove_dir(saved.single()).unwrap();
    refused_soon(&saved, "cannot access");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Bytes changed anywhere make an error or other numbers, never a panic; what is accepted has the
    /// shape it says.
    #[test]
    fn changed_bytes_never_panic(changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), in_header in any::<bool>()) {
        let saved = saved();
        let mut bytes = fs::read(saved.single()).unwrap();
        let n_header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let end = if in_header { 8 + n_header } else { bytes.len() };
        for (place, byte) in changes {
            bytes[place.index(end)] = byte;
        }
        fs::write(saved.single(), &bytes).unwrap();
        if let Ok(weights) = load_weights(saved.path(), &saved.config) {
            let numbers: usize = weights.values().iter().map(Vec::len).sum();
            prop_assert_eq!(numbers, saved.config.n_parameters());
        }
        if let Ok(mut file) = TensorFile::open(&saved.single()) {
            let tensors: Vec<(String, usize)> = file
                .tensors()
                .map(|(name, info)| (name.to_owned(), info.shape.iter().product()))
                .collect();
            for (name, n_values) in tensors {
                if let Ok(values) = file.read(&name) {
                    prop_assert_eq!(values.len(), n_values);
                }
            }
        }
        // What the format's own crate refuses, we refuse.
        let theirs = safetensors::SafeTensors::deserialize(&bytes).is_ok();
        prop_assert!(theirs || TensorFile::open(&saved.single()).is_err());
    }
}
