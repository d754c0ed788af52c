//! A folder that is removed, replaced or closed while a run writes to it: the next write says so.

use std::fs;
use std::path::Path;

use longhand_run::{Lines, RunDir, RunError};
use serde_json::json;

use crate::{new_run, save_step};

/// Every way to write must fail, with an error that names `path`, and leave nothing behind.
fn check_all_refuse(run: &RunDir, lines: &mut Lines, path: &Path, is_right: fn(&RunError) -> bool) {
    let there = run.path().exists();
    let save = run.save_checkpoint("late", &1, lines, |_| -> Result<(), RunError> {
        panic!("nothing is written for a run that cannot be")
    });
    let longhand_run::CheckpointError::Run(save) = save.expect_err("refused") else {
        panic!("the caller's part did not fail");
    };
    for error in [
        run.check_still_there().expect_err("not there"),
        lines.metrics(&json!({"step": 9})).expect_err("refused"),
        lines.timings(&json!({"seconds": 9})).expect_err("refused"),
        run.write_transcripts("rl", 9, &[]).expect_err("refused"),
        run.write_failure("rl", 9, &1).expect_err("refused"),
        run.set_best("rl-000001").expect_err("refused"),
        run.prune("", 0).expect_err("refused"),
        run.resume_lines(0, 0).expect_err("refused"),
        save,
    ] {
        assert!(is_right(&error), "{error}");
        let message = error.to_string();
        assert!(message.contains(&path.display().to_string()), "{message}");
    }
    assert_eq!(run.path().exists(), there, "the folder is not made again");
}

fn is_gone(error: &RunError) -> bool {
    matches!(error, RunError::Gone { .. })
}

#[test]
fn a_removed_folder() {
    let (_root, run) = new_run();
    let mut lines = run.lines().expect("opened");
    save_step(&run, &mut lines, 1);
    fs::remove_dir_all(run.path()).expect("removed");
    check_all_refuse(&run, &mut lines, run.path(), is_gone);
}

#[test]
fn a_folder_that_is_made_anew_in_the_same_place_is_another_one() {
    let (_root, run) = new_run();
    let mut lines = run.lines().expect("opened");
    save_step(&run, &mut lines, 1);
    fs::remove_dir_all(run.path()).expect("removed");
    fs::create_dir(run.path()).expect("made");
    check_all_refuse(&run, &mut lines, run.path(), is_gone);
    fs::write(run.path().join("lock"), "").expect("written");
    check_all_refuse(&run, &mut lines, run.path(), is_gone);
    assert_eq!(crate::names_in(run.path()), ["lock"]);
}

#[test]
fn a_folder_that_became_a_file() {
    let (_root, run) = new_run();
    let mut lines = run.lines().expect("opened");
    fs::remove_dir_all(run.path()).expect("removed");
    fs::write(run.path(), "a file").expect("written");
    check_all_refuse(&run, &mut lines, run.path(), is_gone);
}

#[test]
fn a_folder_that_was_moved_and_comes_back() {
    let (root, run) = new_run();
    let mut lines = run.lines().expect("opened");
    save_step(&run, &mut lines, 1);
    let away = root.path().join("away");
    fs::rename(run.path(), &away).expect("moved");
    check_all_refuse(&run, &mut lines, run.path(), is_gone);
    fs::rename(&away, run.path()).expect("moved back");
    save_step(&run, &mut lines, 2);
    let steps = [json!({"step": 1}), json!({"step": 2})];
    assert_eq!(run.read_metrics().expect("readable"), steps);
}

#[test]
fn a_lock_that_was_removed_or_replaced() {
    let (_root, run) = new_run();
    let mut lines = run.lines().expect("opened");
    let lock = run.path().join("lock");
    fs::remove_file(&lock).expect("removed");
    check_all_refuse(&run, &mut lines, &lock, is_gone);
    let second = RunDir::open_to_write(run.path()).expect("nobody holds the new lock");
    check_all_refuse(&run, &mut lines, &lock, is_gone);
    second.check_still_there().expect("it has the run now");
}

#[test]
fn a_file_of_lines_that_was_removed_or_replaced() {
    for name in ["metrics.jsonl", "timings.jsonl"] {
        let (_root, run) = new_run();
        let mut lines = run.lines().expect("opened");
        let path = run.path().join(name);
        let mut append = || match name {
            "metrics.jsonl" => lines.metrics(&json!({"step": 1})),
            _ => lines.timings(&json!({"seconds": 1})),
        };
        append().expect("appended");
        let text = fs::read(&path).expect("readable");
        fs::remove_file(&path).expect("removed");
        let removed = append().expect_err("gone");
        // As an editor does that writes a new file.
        fs::write(&path, &text).expect("written");
        let replaced = append().expect_err("another file");
        for error in [removed, replaced] {
            assert!(is_gone(&error), "{error}");
            assert!(error.to_string().contains(name), "{error}");
        }
        assert_eq!(fs::read(&path).expect("readable"), text);
    }
}

#[test]
fn a_folder_that_was_made_read_only() {
    let (_root, run) = new_run();
    let mut lines = run.lines().expect("opened");
    save_step(&run, &mut lines, 1);
    let open = fs::metadata(run.path()).expect("readable").permissions();
    let mut closed = open.clone();
    closed.set_readonly(true);
    // Root could write all the same; the permissions still say what somebody wants.
    fs::set_permissions(run.path(), closed).expect("set");
    check_all_refuse(&run, &mut lines, run.path(), |error| {
        matches!(error, RunError::ReadOnly { .. })
    });
    fs::set_permissions(run.path(), open).expect("set");
    save_step(&run, &mut lines, 2);
}

#[test]
fn a_file_in_the_way_of_each_folder_is_named() {
    let (_root, run) = new_run();
    let mut lines = run.lines().expect("opened");
    save_step(&run, &mut lines, 1);
    for folder in ["superseded", "failures"] {
        fs::write(run.path().join(folder), "in the way").expect("written");
    }
    fs::remove_dir(run.path().join("transcripts")).expect("removed");
    fs::write(run.path().join("transcripts"), "in the way").expect("written");
    for (error, name) in [
        (run.resume_lines(0, 0).expect_err("refused"), "superseded"),
        (
            run.write_failure("rl", 1, &1).expect_err("refused"),
            "failures",
        ),
        (
            run.write_transcripts("rl", 1, &[]).expect_err("refused"),
            "transcripts",
        ),
    ] {
        assert!(matches!(error, RunError::Unwritable { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    let steps = [json!({"step": 1})];
    assert_eq!(run.read_metrics().expect("nothing was cut off"), steps);
}
