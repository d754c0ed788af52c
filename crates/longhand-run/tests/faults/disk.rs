//! A disk that is full or closed: the error names the file, what was finished is whole, and with more room the run goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use longhand_run::{CheckpointError, RunDir, RunError, verify_checkpoint};
use serde_json::json;

use crate::{names_in, save_step};

/// A small file system of its own, for as long as this lives.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// Mounts one of 256 KiB, where the system lets us.
    fn mount() -> Option<SmallDisk> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]);
        let mounted = mount.arg(folder.path()).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            Some(SmallDisk { folder })
        } else {
            println!("no file system can be mounted here (root may); nothing was tried");
            None
        }
    }

    fn run(&self) -> RunDir {
        let run = RunDir::create(&self.folder.path().join("run")).expect("made");
        run.write_config("seed = 1\n").expect("written");
        run
    }

    /// Fills what is left, and returns the file to remove for more room.
    fn fill(&self) -> PathBuf {
        let filler = self.folder.path().join("filler");
        fs::write(&filler, vec![0; 1 << 20]).expect_err("more than fits");
        filler
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whatever is still open must not keep it.
        let unmounted = Command::new("umount")
            .arg("-l")
            .arg(self.folder.path())
            .status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

/// A caller that writes a model of `n_bytes`.
fn model(n_bytes: usize) -> impl FnOnce(&Path) -> std::io::Result<()> {
    move |folder| fs::write(folder.join("model.safetensors"), vec![1; n_bytes])
}

#[test]
fn a_checkpoint_that_does_not_fit_leaves_the_ones_that_do() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let run = disk.run();
    let mut lines = run.lines().expect("opened");
    let first = save_step(&run, &mut lines, 1);
    let before = names_in(&run.checkpoints_folder());
    let error = run
        .save_checkpoint("big", &2, &lines, model(1 << 20))
        .expect_err("too large");
    assert!(matches!(error, CheckpointError::Write { .. }), "{error}");
    assert_eq!(names_in(&run.checkpoints_folder()), before);

    // Now our own part of it does not fit.
    let filler = disk.fill();
    let error = run
        .save_checkpoint("small", &2, &lines, |_| Ok::<(), RunError>(()))
        .expect_err("no room");
    assert!(
        matches!(error, CheckpointError::Run(RunError::Unwritable { .. })),
        "{error}"
    );
    let message = error.to_string();
    assert!(message.contains("checkpoints/small"), "{message}");
    assert!(message.contains("the space left"), "{message}");
    assert_eq!(names_in(&run.checkpoints_folder()), before);
    assert_eq!(
        run.latest_checkpoint().expect("readable"),
        Some(first.clone())
    );
    assert_eq!(verify_checkpoint(&first), Ok(()));

    fs::remove_file(filler).expect("removed");
    save_step(&run, &mut lines, 2);
    let restored = run.newest_whole_checkpoint::<u64>().expect("readable");
    assert_eq!(restored.expect("saved").state.body, 2);
}

#[test]
fn lines_that_do_not_fit_tear_nothing() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let run = disk.run();
    let mut lines = run.lines().expect("opened");
    // The file's last page, of 4 KiB or a multiple, has room for a part of the next line.
    lines
        .metrics(&json!({"note": "x".repeat(4000)}))
        .expect("appended");
    let filler = disk.fill();
    let note = "x".repeat(100_000);
    let before = fs::read(run.metrics_path()).expect("readable");
    let error = lines.metrics(&json!({"note": note})).expect_err("no room");
    assert!(matches!(error, RunError::Unwritable { .. }), "{error}");
    assert!(error.to_string().contains("metrics.jsonl"), "{error}");
    assert_eq!(fs::read(run.metrics_path()).expect("readable"), before);
    let error = run.write_failure("rl", 1, &note).expect_err("no room");
    assert!(error.to_string().contains("rl-000001.json"), "{error}");
    assert_eq!(names_in(&run.failures_folder()), Vec::<String>::new());

    fs::remove_file(filler).expect("removed");
    lines.metrics(&json!({"step": 1})).expect("room again");
    assert_eq!(run.read_metrics().expect("readable").len(), 2);
}

#[test]
fn a_resume_without_room_for_what_it_moves_cuts_nothing_off() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let run = disk.run();
    let text = "{\"step\":1}\n".repeat(2000);
    fs::write(run.metrics_path(), &text).expect("written");
    let filler = disk.fill();
    let error = run.resume_lines(11, 0).expect_err("no room");
    assert!(error.to_string().contains("superseded"), "{error}");
    assert_eq!(
        fs::read_to_string(run.metrics_path()).expect("readable"),
        text
    );
    fs::remove_file(filler).expect("removed");
    let (_lines, gone) = run.resume_lines(11, 0).expect("room again");
    assert_eq!(gone.len(), 1999);
}

#[test]
fn a_disk_that_takes_no_more_files_is_noticed_with_the_next_line() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let run = disk.run();
    let mut lines = run.lines().expect("opened");
    lines.metrics(&json!({"step": 1})).expect("appended");
    // The same folder again over itself, but read-only: files that are open can still be written.
    let mount = |options: [&str; 2]| {
        let mut command = Command::new("mount");
        let command = command.args(options).arg(run.path());
        command.arg(run.path()).status().expect("started").success()
    };
    assert!(mount(["-o", "bind"]) && mount(["-o", "remount,bind,ro"]));
    let error = lines.metrics(&json!({"step": 2})).expect_err("closed");
    let unmounted = Command::new("umount").arg(run.path()).status();
    assert!(unmounted.expect("started").success());
    assert!(matches!(error, RunError::ReadOnly { .. }), "{error}");
    lines.metrics(&json!({"step": 2})).expect("open again");
    assert_eq!(run.read_metrics().expect("readable").len(), 2);
}
