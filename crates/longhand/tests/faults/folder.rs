//! Folders that go away, are blocked or closed while a run writes into them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::fixture::{Call, Place, assert_same_end, assert_whole, files, n_rl_lines, text};

/// Halts an eventful run after a step of RL, does `harm` to its folder, lets it go on and waits for its end.
fn harmed(place: &Place, run: &Path, harm: impl FnOnce()) -> Call {
    let mut running = place.train(run, &[]);
    assert!(running.until("a step of RL", || 1 <= n_rl_lines(run)));
    running.halt();
    harm();
    running.go_on();
    running.wait()
}

#[test]
fn a_run_whose_folder_is_removed_says_so() {
    let place = Place::new();
    let run = place.path("removed");
    let call = harmed(&place, &run, || fs::remove_dir_all(&run).unwrap());
    call.fails(
        1,
        &[
            text(&run),
            "is gone",
            "put it back and resume the run, or start a new one",
        ],
    );
    assert!(!run.exists(), "nothing is written where nobody looks");
}

#[test]
fn a_run_whose_folder_is_replaced_does_not_write_into_the_new_one() {
    let place = Place::new();
    let whole = place.whole(&[]);
    let (run, moved) = (place.path("replaced"), place.path("moved"));
    let call = harmed(&place, &run, || {
        fs::rename(&run, &moved).unwrap();
        fs::create_dir(&run).unwrap();
        fs::write(run.join("kept"), "kept").unwrap();
    });
    call.fails(1, &[text(&run), "is gone"]);
    assert_eq!(files(&run).len(), 1, "{:?}", files(&run).keys());
    assert_whole(&moved);
    place.finish(&moved, &whole);
}

#[test]
fn a_run_whose_checkpoints_are_removed_says_so_and_begins_again() {
    let place = Place::new();
    let whole = place.whole(&[]);
    let run = place.path("removed");
    let checkpoints = run.join("checkpoints");
    let call = harmed(&place, &run, || fs::remove_dir_all(&checkpoints).unwrap());
    place
        .resume(&run)
        .wait()
        .fails(1, &[text(&checkpoints), "is gone"]);
    call.fails(1, &[text(&checkpoints), "is gone"]);
    fs::create_dir_all(&checkpoints).unwrap();
    assert_whole(&run);
    place.resume(&run).wait().succeeds();
    assert_same_end(&whole, &run);
}

#[test]
fn a_file_where_a_folder_was_is_told_and_kept() {
    let place = Place::new();
    let whole = place.whole(&[]);
    for name in ["checkpoints", "transcripts", "plots"] {
        let run = place.path(&format!("blocked-{name}"));
        let (blocked, aside) = (run.join(name), run.join("aside"));
        let call = harmed(&place, &run, || {
            fs::rename(&blocked, &aside).unwrap();
            fs::write(&blocked, "kept").unwrap();
        });
        call.fails(1, &[text(&blocked)]);
        assert_eq!(fs::read_to_string(&blocked).unwrap(), "kept");
        fs::remove_file(&blocked).unwrap();
        fs::rename(&aside, &blocked).unwrap();
        assert_whole(&run);
        place.finish(&run, &whole);
    }
}

/// A folder into which nobody can write, not even root, for as long as this lives.
struct Closed(PathBuf);

impl Closed {
    fn close(path: &Path) -> Option<Closed> {
        chattr("+i", path).then(|| Closed(path.to_owned()))
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        assert!(chattr("-i", &self.0));
    }
}

fn chattr(flag: &str, path: &Path) -> bool {
    let output = Command::new("chattr").arg(flag).arg(path).output();
    output.is_ok_and(|output| output.status.success())
}

#[test]
fn a_run_that_may_no_longer_write_says_so() {
    let place = Place::new();
    let probe = place.path("probe");
    fs::create_dir(&probe).unwrap();
    if Closed::close(&probe).is_none() {
        println!(
            "no folder can be closed here (root may, on some file systems); nothing was tried"
        );
        return;
    }
    let whole = place.whole(&[]);
    for name in ["", "checkpoints", "transcripts"] {
        let run = place.path(&format!("closed-{name}"));
        let folder = if name.is_empty() {
            run.clone()
        } else {
            run.join(name)
        };
        let mut closed = None;
        let call = harmed(&place, &run, || closed = Closed::close(&folder));
        assert!(closed.is_some());
        let mend = if name.is_empty() {
            "make it writable again and resume the run"
        } else {
            "check its permissions"
        };
        call.fails(1, &[text(&folder), mend]);
        if name.is_empty() {
            place.resume(&run).wait().fails(1, &[text(&run)]);
        }
        drop(closed);
        assert_whole(&run);
        place.finish(&run, &whole);
    }
}
