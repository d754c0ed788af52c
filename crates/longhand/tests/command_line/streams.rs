//! Readers that stop listening, and disks that are full.

#![cfg(unix)]

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Command, Stdio},
};

use crate::fixture::smoke;

fn longhand(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longhand"));
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    command
}

#[test]
fn nobody_is_told_when_the_reader_has_seen_enough() {
    let config = smoke("tamtrl");
    for arguments in [
        &["train", &config, "--dry-run"][..],
        &["compute", "--schema"],
    ] {
        let mut child = longhand(arguments).stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut err = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut err)
            .unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{arguments:?}");
        assert_eq!(err, "", "{arguments:?}");
    }
}

#[test]
fn an_answer_comes_before_the_next_question_and_a_closed_pipe_ends_quietly() {
    let mut child = longhand(&["compute", "advantage"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    for _question in 0..2 {
        input
            .write_all(b"{\"estimator\": \"rloo\", \"rewards\": [[1, 0]]}\n")
            .unwrap();
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "{\"advantages\":[[1.0,-1.0]]}\n");
    }
    drop(output);
    // The pipe may hold a line or two before the program notices.
    while input
        .write_all(b"{\"estimator\": \"rloo\", \"rewards\": [[1, 0]]}\n")
        .is_ok()
    {}
    let mut err = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut err)
        .unwrap();
    assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""));
}

#[test]
fn a_full_disk_is_a_failure_with_its_reason() {
    let Ok(full) = File::options().write(true).open("/dev/full") else {
        // Only some systems have such a device.
        return;
    };
    let config = smoke("tamtrl");
    let output = longhand(&["train", &config, "--dry-run"])
        .stdout(full)
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(
        err.starts_with("error: standard input or output: ") && !err.contains("panicked"),
        "{err}"
    );
}
