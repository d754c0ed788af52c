//! What a program started ends with it, where the system has process groups.

use std::process::Command;

/// Makes the program the leader of a process group of its own.
#[cfg(unix)]
pub(crate) fn lead_group(command: &mut Command) {
    std::os::unix::process::CommandExt::process_group(command, 0);
}

/// Kills every process of the group that `leader` leads, and returns when that is done.
///
/// A number is not given to a new process while a group bears it. A leader that was waited for may have left
/// an empty group, but numbers are given in turn: its own comes back much later than this call.
#[cfg(unix)]
pub(crate) fn kill_group(leader: u32) {
    use std::process::Stdio;
    use std::time::Duration;

    // The standard library sends signals to single processes only; every Unix has this shell, and its
    // `kill` is built in.
    let killer = Command::new("/bin/sh")
        .args(["-c", "kill -s KILL -- \"-$0\"", &leader.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Ok(killer) = killer {
        crate::process::reap(killer, Duration::from_secs(2));
    }
}

#[cfg(not(unix))]
pub(crate) fn lead_group(_command: &mut Command) {}

#[cfg(not(unix))]
pub(crate) fn kill_group(_leader: u32) {}
