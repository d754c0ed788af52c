//! One flipped bit, or a file cut short or removed, anywhere in a checkpoint: it is never taken for whole.

use std::fs;
use std::path::{Path, PathBuf};

use longhand_run::{RunDir, RunError, verify_checkpoint};
use proptest::prelude::*;

use crate::{new_run, save_step};

const FILES: [&str; 4] = [
    "model.safetensors",
    "more/tokenizer.json",
    "state.json",
    "SHA256SUMS",
];

#[derive(Clone, Copy, Debug)]
enum Fault {
    FlipBit,
    CutShort,
    Append,
    Remove,
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        4 => Just(Fault::FlipBit),
        2 => Just(Fault::CutShort),
        1 => Just(Fault::Append),
        1 => Just(Fault::Remove),
    ]
}

/// Damages a file at a place given by `seed`, and returns what it held.
fn damage(file: &Path, fault: Fault, seed: usize) -> Vec<u8> {
    let whole = fs::read(file).expect("readable");
    let mut bytes = whole.clone();
    match fault {
        Fault::FlipBit => bytes[seed / 8 % whole.len()] ^= 1 << (seed % 8),
        Fault::CutShort => bytes.truncate(seed % whole.len()),
        Fault::Append => bytes.push((seed % 256) as u8),
        Fault::Remove => {
            fs::remove_file(file).expect("removed");
            return whole;
        }
    }
    fs::write(file, bytes).expect("written");
    whole
}

/// The older checkpoint is what is left, and the newer one is named; without the older one, there is
/// nothing to go on from, and that is an error.
fn check_falls_back(run: &RunDir, older: &Path, newer: &Path) {
    let restored = run.newest_whole_checkpoint::<u64>().expect("readable");
    let restored = restored.expect("the older one");
    assert_eq!((restored.path.as_path(), restored.state.body), (older, 1));
    let named: Vec<&PathBuf> = restored.damaged.iter().map(|one| &one.checkpoint).collect();
    assert_eq!(named, [newer]);
    let error = run
        .load_checkpoint::<u64>("rl-000002")
        .expect_err("damaged");
    assert!(matches!(error, RunError::Damaged(_)), "{error}");

    let away = older.with_file_name(".away");
    fs::rename(older, &away).expect("moved");
    let error = run
        .newest_whole_checkpoint::<u64>()
        .expect_err("none whole");
    assert!(matches!(error, RunError::AllDamaged { .. }), "{error}");
    fs::rename(away, older).expect("moved back");
}

#[test]
fn a_damaged_file_anywhere_is_found() {
    let (_root, run) = new_run();
    let mut lines = run.lines().expect("opened");
    let older = save_step(&run, &mut lines, 1);
    let newer = save_step(&run, &mut lines, 2);
    let mut runner = proptest::test_runner::TestRunner::default();
    let cases = (0..FILES.len(), fault(), any::<usize>());
    let result = runner.run(&cases, |(file_idx, fault, seed)| {
        let file = newer.join(FILES[file_idx]);
        let whole = damage(&file, fault, seed);
        let verified = verify_checkpoint(&newer);
        check_falls_back(&run, &older, &newer);
        fs::write(&file, whole).expect("mended");
        prop_assert!(verified.is_err());
        prop_assert_eq!(verify_checkpoint(&newer), Ok(()));
        Ok(())
    });
    result.expect("no case is taken for whole");
}

#[test]
fn every_single_bit_of_the_digests_and_the_state_counts() {
    let (_root, run) = new_run();
    let mut lines = run.lines().expect("opened");
    let path = save_step(&run, &mut lines, 1);
    for name in ["SHA256SUMS", "state.json"] {
        let file = path.join(name);
        let n_bits = 8 * fs::read(&file).expect("readable").len();
        for bit in 0..n_bits {
            let whole = damage(&file, Fault::FlipBit, bit);
            assert!(verify_checkpoint(&path).is_err(), "bit {bit} of {name}");
            fs::write(&file, whole).expect("mended");
        }
    }
    assert_eq!(verify_checkpoint(&path), Ok(()));
}

#[cfg(unix)]
#[test]
fn the_systems_own_program_checks_a_checkpoint() {
    let (_root, run) = new_run();
    let mut lines = run.lines().expect("opened");
    let path = save_step(&run, &mut lines, 1);
    let check = || {
        let mut program = std::process::Command::new("sha256sum");
        program.args(["--check", "--strict", "--quiet", "SHA256SUMS"]);
        program.current_dir(&path).output()
    };
    let Ok(output) = check() else {
        println!("this system has no sha256sum; nothing was checked");
        return;
    };
    assert!(output.status.success(), "{output:?}");
    fs::write(path.join("more/tokenizer.json"), "[]").expect("written");
    assert!(!check().expect("started").status.success());
}
