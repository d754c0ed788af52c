//! Fifty kills, at random and within writes of checkpoints: nothing changes.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread,
};

use crate::{
    chance::Chance,
    fixture::{Place, assert_same_end, assert_whole},
};

const N_KILLS: usize = 50;

/// A folder of a checkpoint that is being written: its path, and what tells it from an earlier one of the name.
type Unfinished = Vec<(PathBuf, u64, i64, i64)>;

fn unfinished(run: &Path) -> Unfinished {
    // Before its first checkpoint a run may have no such folder.
    let entries = fs::read_dir(run.join("checkpoints")).into_iter().flatten();
    let mut list: Unfinished = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            // It may be gone again.
            let there = path.metadata().ok()?;
            let name = path.file_name()?.to_string_lossy().into_owned();
            (name.starts_with(".unfinished-") && there.is_dir()).then(|| {
                let changed = (there.mtime(), there.mtime_nsec());
                (path, there.ino(), changed.0, changed.1)
            })
        })
        .collect();
    list.sort();
    list
}

#[test]
fn fifty_kills_change_nothing() {
    let place = Place::new();
    let sets = ["stage.0.steps=10", "stage.1.steps=8", "stage.2.steps=8"];
    let whole = place.whole(&sets);
    let mut chance = Chance::of(20_251_122);
    let (mut n_kills, mut n_within_checkpoints, mut n_runs) = (0, 0, 0);
    while n_kills < N_KILLS {
        let run = place.path(&format!("killed-{n_runs}"));
        n_runs += 1;
        let mut running = place.train(&run, &sets);
        // What is killed before it has a configuration is no run yet.
        assert!(running.until("config.toml", || run.join("config.toml").is_file()));
        loop {
            if n_kills == N_KILLS {
                running.wait().succeeds();
                break;
            }
            let left = unfinished(&run);
            if chance.below(2) == 0 {
                let is_new = || unfinished(&run).iter().any(|one| !left.contains(one));
                for _ in 0..=chance.below(4) {
                    running.until("a checkpoint", is_new);
                    thread::sleep(chance.delay(3));
                }
            } else {
                thread::sleep(chance.delay(400));
            }
            let call = running.kill();
            if call.code.is_some() {
                // It was done before the kill.
                call.succeeds();
                break;
            }
            n_kills += 1;
            n_within_checkpoints +=
                usize::from(unfinished(&run).iter().any(|one| !left.contains(one)));
            assert_whole(&run);
            running = place.resume(&run);
        }
        assert_whole(&run);
        assert_same_end(&whole, &run);
    }
    println!(
        "{n_kills} kills of {n_runs} runs, {n_within_checkpoints} within the write of a checkpoint"
    );
    assert!(
        5 <= n_within_checkpoints,
        "{n_within_checkpoints} of {n_kills}"
    );
}
