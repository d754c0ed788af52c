//! The same file and seed give the same run, bit for bit.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use longhand_trainer::{TrainOptions, train};

use crate::fixture::{SMOKE, experiment};

/// Every file of a run that says what was computed, by its path in the folder: all but what the clock
/// and the machine say.
pub(crate) fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_owned();
            let of_machine = ["timings.jsonl", "lock", "tensorboard"];
            if of_machine
                .iter()
                .any(|of_machine| name.starts_with(of_machine))
            {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else {
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn run(name: &str, seed: &str, out: PathBuf) -> PathBuf {
    let experiment = experiment(name, &[seed]);
    train(
        &experiment,
        &TrainOptions {
            out: Some(out.clone()),
            ..TrainOptions::default()
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
        let metrics = Path::new("metrics.jsonl");
        assert!(first_files[metrics] != other_files[metrics], "{name}");
    }
}
