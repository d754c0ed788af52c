//! What cannot be resumed is refused, with the reason.

use std::{fs, path::Path};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::fixture::{Place, files, text};

/// Changes what a checkpoint says of itself.
fn replace_state(checkpoint: &Path, change: impl FnOnce(&mut Value)) {
    let path = checkpoint.join("state.json");
    let mut state: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut state);
    fs::write(&path, serde_json::to_vec(&state).unwrap()).unwrap();
}

#[test]
fn what_cannot_be_resumed_is_refused_with_the_reason() {
    let place = Place::new();
    let run = place.whole(&[]);
    let before = |run: &Path| {
        let mut all = files(run);
        all.remove("lock");
        all
    };
    let finished = before(&run);
    let out = place.resume(&run).wait().succeeds();
    assert!(out.contains("is finished: nothing is left to do"), "{out}");
    assert!(before(&run) == finished, "something was changed");

    // As after a kill between the last checkpoint and its pointer.
    fs::write(run.join("checkpoints/latest"), "stage-2\n").unwrap();
    place.resume(&run).wait().succeeds();
    assert!(before(&run) == finished, "the pointer is mended");

    for name in ["nowhere", "whole/checkpoints/final"] {
        let folder = place.path(name);
        place
            .resume(&folder)
            .wait()
            .fails(1, &[text(&folder), "is not a run", "longhand train"]);
        assert!(!folder.join("lock").exists());
    }

    for more in [
        "--set seed=3",
        "--out elsewhere",
        "--dry-run",
        "config.toml",
    ] {
        place
            .longhand(&format!("train --resume whole {more}"))
            .fails(2, &["cannot be used with"]);
    }
    place
        .longhand("train")
        .fails(2, &["<CONFIG|--resume <RUN>>"]);
    assert!(before(&run) == finished, "something was changed");

    let config = run.join("config.toml");
    let resolved = fs::read_to_string(&config).unwrap();
    fs::write(&config, resolved.replace("seed = 7\n", "seed = 8\n")).unwrap();
    place.resume(&run).wait().fails(
        1,
        &[
            text(&config),
            "has changed since the checkpoint `final`",
            "put the old file back",
        ],
    );
    fs::write(&config, "seed = \n").unwrap();
    place.resume(&run).wait().fails(1, &[text(&config)]);
    fs::write(&config, &resolved).unwrap();
    assert!(before(&run) == finished, "something was changed");

    let last = run.join("checkpoints/final");
    replace_state(&last, |state| {
        state["format"] = 2.into();
        state["program"] = "longhand 0.9.0".into();
    });
    mend_digest(&last);
    place.resume(&run).wait().fails(
        1,
        &[
            text(&last),
            "format 2",
            "longhand 0.9.0",
            "reads format 1",
            "resume with the version",
        ],
    );
}

/// Makes the digests fit what is there.
fn mend_digest(checkpoint: &Path) {
    let sums = fs::read_to_string(checkpoint.join("SHA256SUMS")).unwrap();
    let state = fs::read(checkpoint.join("state.json")).unwrap();
    let digest: String = Sha256::digest(state)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let lines = sums.lines().map(|line| match line.split_once("  ") {
        Some((_, "state.json")) => format!("{digest}  state.json\n"),
        _ => format!("{line}\n"),
    });
    fs::write(checkpoint.join("SHA256SUMS"), lines.collect::<String>()).unwrap();
}
