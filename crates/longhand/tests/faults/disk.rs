//! Disks that are full: the message says what cannot be written, and with room the run ends as it would have.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::fixture::{Place, assert_whole, n_lines, n_rl_lines, text, train_arguments};

/// A small file system of its own, for as long as this lives.
struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts one where the system lets us.
    fn mount(place: &Place, size: &str) -> Option<SmallDisk> {
        let folder = place.path("disk");
        std::fs::create_dir(&folder).unwrap();
        let disk = SmallDisk { folder };
        let options = format!("size={size}");
        let mounted = mount(&["-t", "tmpfs", "-o", &options, "tmpfs", text(&disk.folder)]);
        if mounted {
            Some(disk)
        } else {
            println!("no file system can be mounted here (root may); nothing was tried");
            std::mem::forget(disk);
            None
        }
    }

    fn grow(&self) {
        assert!(mount(&["-o", "remount,size=64m", text(&self.folder)]));
    }
}

fn mount(arguments: &[&str]) -> bool {
    let output = Command::new("mount").args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whatever is still open must not keep it.
        let unmounted = Command::new("umount").arg("-l").arg(&self.folder).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

/// The message names a file in the run, the cause and the mend.
#[track_caller]
fn assert_told(err: &str, run: &Path, cause: &str) {
    assert!(
        err.contains(&format!("{}/", run.display())),
        "no path in {err}"
    );
    assert!(err.contains(cause), "no {cause:?} in {err}");
}

#[test]
fn a_full_disk_stops_the_run_and_room_lets_it_go_on() {
    let place = Place::new();
    let whole = place.whole(&[]);
    // From one that takes hardly a checkpoint to one that takes nearly all.
    let mut n_full = 0;
    for size in ["100k", "260k", "420k", "540k"] {
        let Some(disk) = SmallDisk::mount(&place, size) else {
            return;
        };
        let run = disk.folder.join("run");
        let call = place.train(&run, &[]).wait();
        println!(
            "{size}: {} lines, {} of RL: {}",
            n_lines(&run),
            n_rl_lines(&run),
            call.err
        );
        if call.code == Some(0) {
            assert_eq!(size, "540k", "too large to be full");
        } else {
            n_full += 1;
            call.fails(1, &["No space left on device"]);
            assert_told(&call.err, &run, "space");
            assert_whole(&run);
            disk.grow();
            place.finish(&run, &whole);
        }
        drop(disk);
        std::fs::remove_dir(place.path("disk")).unwrap();
    }
    assert!(3 <= n_full);
}

#[test]
fn files_that_may_not_grow_stop_the_run_in_order() {
    let place = Place::new();
    let whole = place.whole(&[]);
    let run = place.path("limited");
    let mut shell = Command::new("sh");
    // Less than a model takes. Without the trap the system would end the program by a signal.
    shell.args([
        "-c",
        "trap '' XFSZ; ulimit -f 24; exec \"$0\" \"$@\"",
        env!("CARGO_BIN_EXE_longhand"),
    ]);
    shell.args(train_arguments(&run, &[]));
    let call = place.spawn(shell).wait();
    call.fails(1, &["File too large"]);
    assert_told(&call.err, &run, "File too large");
    assert_whole(&run);
    place.finish(&run, &whole);
}
