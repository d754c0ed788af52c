//! Faults from outside: kills, damaged files, folders that go away, full disks. Nothing finished may
//! be lost, and whatever cannot go on says why.

mod damage;
mod disk;
mod folder;
mod kill;
mod tear;

use std::fs;
use std::path::{Path, PathBuf};

use longhand_run::{Lines, RunDir};
use serde_json::json;

/// A run in a folder of its own, with a configuration.
fn new_run() -> (tempfile::TempDir, RunDir) {
    let root = tempfile::tempdir().expect("a folder");
    let run = RunDir::create(&root.path().join("run")).expect("made");
    run.write_config("seed = 1\n").expect("written");
    (root, run)
}

/// Writes a line of each kind for `step`, and a checkpoint behind them.
fn save_step(run: &RunDir, lines: &mut Lines, step: u64) -> PathBuf {
    lines.metrics(&json!({"step": step})).expect("appended");
    lines.timings(&json!({"seconds": 0.5})).expect("appended");
    run.save_checkpoint(&format!("rl-{step:06}"), &step, lines, |folder| {
        fs::create_dir(folder.join("more"))?;
        fs::write(folder.join("model.safetensors"), [7; 300])?;
        fs::write(folder.join("more/tokenizer.json"), "{}")
    })
    .expect("saved")
}

/// Every name in a folder, hidden ones too, sorted.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("readable");
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names: Vec<String> = entries
        .map(|entry| name(entry.expect("an entry")))
        .collect();
    names.sort();
    names
}
