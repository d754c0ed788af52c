//! `cargo xtask sanitize`: the unit tests of the kernels with every access to memory checked.
//!
//! `longhand-kernels` is the only home of unsafe code. Its tests compare numbers, and a kernel that reads
//! a few bytes behind a row may still get them right. Under AddressSanitizer such a read ends the test.
//! Inline assembly and code in C are not checked, nor is the standard library.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::ci;

/// Where this has been tried; the sanitizer's runtime is part of Rust for this target.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Checked code is slow, and memory is touched in the same places whatever the numbers: a few cases of
/// each property are enough.
const PROPTEST_CASES: &str = "4";

/// Runs the tests, in a folder of builds of its own: everything is built with other flags.
///
/// # Errors
///
/// This machine's Rust cannot check memory, or a test failed.
pub fn run(root: &Path) -> Result<(), String> {
    if let Some(problem) = why_not() {
        return Err(problem);
    }
    let mut command = ci::cargo(
        root,
        &[
            "test",
            "--locked",
            "--package",
            "longhand-kernels",
            "--lib",
            "--target",
            TARGET,
            // What tests are made with need not be fast, only built quickly.
            "--config",
            "profile.dev.package.\"*\".opt-level=1",
        ],
    );
    let builds = std::env::var_os("CARGO_TARGET_DIR");
    let builds = root.join(builds.map_or_else(|| PathBuf::from("target"), PathBuf::from));
    command
        .env("CARGO_TARGET_DIR", builds.join("sanitize"))
        // The flag is not stable; this lets the stable compiler take it.
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", "-Zsanitizer=address")
        .env("PROPTEST_CASES", PROPTEST_CASES);
    let start = Instant::now();
    ci::run_command(&mut command)?;
    eprintln!(
        "unit tests of longhand-kernels under AddressSanitizer, {PROPTEST_CASES} cases of each property: {:.0} s",
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// What keeps this machine from checking memory, if anything does.
#[must_use]
pub fn why_not() -> Option<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let printed = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output();
    let libraries = match printed {
        Ok(output) if output.status.success() => {
            names(Path::new(String::from_utf8_lossy(&output.stdout).trim()))
        }
        _ => Vec::new(),
    };
    let is_target = cfg!(all(
        target_arch = "x86_64",
        target_os = "linux",
        target_env = "gnu"
    ));
    problem(is_target, &libraries)
}

fn problem(is_target: bool, libraries: &[String]) -> Option<String> {
    if !is_target {
        return Some(format!("memory can be checked on {TARGET} only"));
    }
    let has_runtime = libraries.iter().any(|name| name.ends_with("_rt.asan.a"));
    (!has_runtime).then(|| {
        format!(
            "memory cannot be checked: this Rust comes without AddressSanitizer for {TARGET} \
             (the Rust that rustup installs has it)"
        )
    })
}

/// Names of the files in `folder`; none where it cannot be read.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_is_missing() {
        let with = ["libstd.rlib", "librustc-stable_rt.asan.a"].map(str::to_owned);
        let without = ["libstd.rlib", "librustc-stable_rt.tsan.a"].map(str::to_owned);
        assert_eq!(problem(true, &with), None);
        for (is_target, libraries, part) in [
            (true, &without[..], "without AddressSanitizer"),
            (true, &[], "without AddressSanitizer"),
            (false, &with, "on x86_64-unknown-linux-gnu only"),
        ] {
            let said = problem(is_target, libraries).expect("something is missing");
            assert!(said.contains(part), "{said}");
        }
    }
}
