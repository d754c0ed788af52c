//! The same file and seed give the same run, bit for bit.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use longhand_trainer::{TrainOptions, train};
use serde_json::Value;

use crate::fixture::{SMOKE, experiment};

/// Every file of a run but its metrics, by its path in the folder.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if !path.ends_with("metrics.jsonl") {
                let name = path.strip_prefix(folder).unwrap().to_owned();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// The metrics without what a clock or the system says.
fn metrics(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let timeless = |line| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        let keys = line.as_object_mut().unwrap();
        keys.retain(|key, _| !key.starts_with("seconds") && key != "resident_bytes");
        line
    };
    text.lines().map(timeless).collect()
}

fn run(name: &str, seed: &str, out: PathBuf) -> PathBuf {
    let experiment = experiment(name, &[seed]);
    train(
        &experiment,
        &TrainOptions {
            out: Some(out.clone()),
            progress: false,
        },
    )
    .unwrap();
    out
}

#[test]
fn a_run_repeats_to_the_last_bit_and_another_seed_gives_another_run() {
    for name in SMOKE {
        let folder = tempfile::tempdir().unwrap();
        let first = run(name, "seed=7", folder.path().join("first"));
        let again = run(name, "seed=7", folder.path().join("again"));
        let other = run(name, "seed=8", folder.path().join("other"));

        assert_eq!(metrics(&first), metrics(&again), "{name}");
        let (first_files, again_files, other_files) = (files(&first), files(&again), files(&other));
        assert!(first_files.keys().eq(again_files.keys()), "{name}");
        for (path, bytes) in &first_files {
            assert!(
                again_files[path] == *bytes,
                "{name}: {} differs",
                path.display()
            );
        }
        let has = |end: &str| {
            first_files
                .keys()
                .any(|path| path.to_string_lossy().ends_with(end))
        };
        assert!(
            has("final/model.safetensors") && has(".jsonl.zst") && has("learning-curve.svg"),
            "{first_files:?}"
        );
        let weights = Path::new("checkpoints/final/model.safetensors");
        assert!(first_files[weights] != other_files[weights], "{name}");
        assert_ne!(metrics(&first), metrics(&other), "{name}");
    }
}
