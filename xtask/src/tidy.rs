//! `cargo xtask tidy`: the house rules that neither the compiler nor clippy knows.

use std::fs;
use std::io;
use std::path::Path;

use crate::rust_source::{code_only, lines_with_word};
use crate::{Violation, files, map};

/// Lines after which a Rust file earns a warning: it probably holds two ideas.
const LONG_FILE: usize = 600;
/// Bytes that a checkpoint in the repository may have.
const LARGEST_CHECKPOINT: u64 = 8 << 20;
/// Bytes that any other file may have; the lock file is the largest of them.
const LARGEST_FILE: u64 = 512 << 10;
/// The only crate that may hold unsafe code, behind a safe interface.
const UNSAFE_HOME: &str = "crates/longhand-kernels/";
/// Code that says "not finished" or "not run".
const BANNED: &[&str] = &["todo!", "unimplemented!", "dbg!", "#[ignore"];
/// File names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &[
    "base.rs",
    "common.rs",
    "helpers.rs",
    "misc.rs",
    "types.rs",
    "util.rs",
    "utils.rs",
];

/// What tidy found.
#[derive(Debug, Default)]
pub struct Report {
    /// Broken rules: any of these fails the gate.
    pub violations: Vec<Violation>,
    /// Things to think about; they fail nothing.
    pub warnings: Vec<Violation>,
}

/// Prints what [`report`] finds.
///
/// # Errors
///
/// At least one rule is broken, or a file cannot be read.
pub fn run(root: &Path) -> Result<(), String> {
    let report = report(root).map_err(|error| format!("cannot read the repository: {error}"))?;
    for warning in &report.warnings {
        eprintln!("warning: {warning}");
    }
    for violation in &report.violations {
        eprintln!("error: {violation}");
    }
    match report.violations.len() {
        0 => Ok(()),
        n => Err(format!("tidy found {n} broken rules")),
    }
}

/// Checks every file of the project under `root`.
///
/// # Errors
///
/// A file or folder that cannot be read.
pub fn report(root: &Path) -> io::Result<Report> {
    let mut report = Report {
        violations: files::strangers(root)?,
        warnings: Vec::new(),
    };
    for path in files::project_files(root)? {
        let absolute = root.join(&path);
        report
            .violations
            .extend(check_size(&path, fs::metadata(&absolute)?.len()));
        if path.ends_with(".rs") {
            let source = fs::read_to_string(&absolute)?;
            report.violations.extend(check_rust(&path, &source));
            report.warnings.extend(check_length(&path, &source));
        } else if path.starts_with("configs/") && path.ends_with(".toml") {
            report
                .violations
                .extend(check_config(&path, &fs::read_to_string(&absolute)?));
        }
    }
    report.violations.extend(map::check(root)?);
    Ok(report)
}

/// The rules for one Rust file.
#[must_use]
pub fn check_rust(path: &str, source: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    let first = source.lines().next().unwrap_or_default();
    if first
        .strip_prefix("//! ")
        .is_none_or(|sentence| sentence.trim().is_empty())
    {
        found.push(Violation::at(
            path,
            1,
            "the first line must be `//!` and a sentence on what the file is for",
        ));
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    if EMPTY_NAMES.contains(&name) {
        found.push(Violation::of_file(
            path,
            "the name says nothing; name the file after the idea it holds",
        ));
    }
    let code = code_only(source);
    for word in BANNED {
        for line in lines_with_word(&code, word) {
            found.push(Violation::at(
                path,
                line,
                format!("`{word}` is unfinished work; finish it or leave it out"),
            ));
        }
    }
    if !path.starts_with(UNSAFE_HOME) {
        for line in lines_with_word(&code, "unsafe") {
            found.push(Violation::at(
                path,
                line,
                format!("unsafe code lives in {UNSAFE_HOME} only"),
            ));
        }
    }
    for (idx, line) in code.lines().enumerate() {
        let line = line.trim_start();
        if line.starts_with("pub") && line.contains(" use ") && line.contains("::*") {
            found.push(Violation::at(
                path,
                idx + 1,
                "a glob re-export hides what is public; name the items",
            ));
        }
    }
    found
}

/// The warning for a Rust file that has grown too long.
#[must_use]
pub fn check_length(path: &str, source: &str) -> Option<Violation> {
    let n_lines = source.lines().count();
    (LONG_FILE < n_lines).then(|| {
        Violation::of_file(
            path,
            format!("{n_lines} lines: does it hold more than one idea?"),
        )
    })
}

/// The rule for a file's size in bytes.
#[must_use]
pub fn check_size(path: &str, n_bytes: u64) -> Option<Violation> {
    let largest = if path.ends_with(".safetensors") {
        LARGEST_CHECKPOINT
    } else {
        LARGEST_FILE
    };
    (largest < n_bytes).then(|| {
        Violation::of_file(
            path,
            format!("{n_bytes} bytes, and at most {largest} are kept in the repository"),
        )
    })
}

/// The rule for one experiment file: its first line says what it is for.
#[must_use]
pub fn check_config(path: &str, text: &str) -> Option<Violation> {
    let first = text.lines().next().unwrap_or_default();
    let purpose = first.strip_prefix('#').map_or("", str::trim);
    (purpose.split_whitespace().count() < 3).then(|| {
        Violation::at(
            path,
            1,
            "the first line must be a comment that says what the file is for",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that `check_rust` blames, in its order.
    fn blamed(path: &str, source: &str) -> Vec<Option<usize>> {
        check_rust(path, source)
            .iter()
            .map(|violation| violation.line)
            .collect()
    }

    const ELSEWHERE: &str = "crates/longhand-memory/src/chunk.rs";

    #[test]
    fn a_file_opens_with_a_sentence() {
        assert_eq!(blamed(ELSEWHERE, "//! Says why.\n"), []);
        assert_eq!(blamed(ELSEWHERE, ""), [Some(1)]);
        assert_eq!(blamed(ELSEWHERE, "//!\n"), [Some(1)]);
        assert_eq!(blamed(ELSEWHERE, "//!   \n"), [Some(1)]);
        assert_eq!(
            blamed(ELSEWHERE, "// A comment.\n//! Too late.\n"),
            [Some(1)]
        );
    }

    #[test]
    fn unfinished_code_is_found_and_prose_about_it_is_not() {
        for code in [
            "todo!()",
            "unimplemented!(\"later\")",
            "dbg!(x)",
            "#[ignore]",
            "#[ignore = \"slow\"]",
        ] {
            assert_eq!(
                blamed(ELSEWHERE, &format!("//! H.\n{code}\n")),
                [Some(2)],
                "{code}"
            );
            assert_eq!(
                blamed(ELSEWHERE, &format!("//! H.\n// {code}\n")),
                [],
                "{code} in a comment"
            );
        }
        assert_eq!(blamed(ELSEWHERE, "//! H.\nlet s = \"todo!\";\n"), []);
    }

    #[test]
    fn unsafe_has_one_home() {
        let source = "//! H.\nunsafe { f() }\n";
        assert_eq!(blamed(ELSEWHERE, source), [Some(2)]);
        assert_eq!(blamed("crates/longhand-kernels/src/lib.rs", source), []);
        assert_eq!(blamed(ELSEWHERE, "//! H.\n#![deny(unsafe_code)]\n"), []);
    }

    #[test]
    fn empty_names_and_glob_re_exports_are_found() {
        assert_eq!(blamed("crates/longhand/src/utils.rs", "//! H.\n"), [None]);
        assert_eq!(blamed(ELSEWHERE, "//! H.\npub use chunk::*;\n"), [Some(2)]);
        assert_eq!(
            blamed(ELSEWHERE, "//! H.\npub(crate) use chunk::*;\n"),
            [Some(2)]
        );
        assert_eq!(blamed(ELSEWHERE, "//! H.\n    use super::*;\n"), []);
    }

    #[test]
    fn sizes_are_bounded_and_a_checkpoint_may_be_larger() {
        assert_eq!(check_size("a.json", LARGEST_FILE), None);
        assert!(check_size("a.json", LARGEST_FILE + 1).is_some());
        assert_eq!(check_size("a.safetensors", LARGEST_CHECKPOINT), None);
        assert!(check_size("a.safetensors", LARGEST_CHECKPOINT + 1).is_some());
    }

    #[test]
    fn a_long_file_is_a_warning() {
        assert_eq!(check_length(ELSEWHERE, &"x\n".repeat(LONG_FILE)), None);
        assert!(check_length(ELSEWHERE, &"x\n".repeat(LONG_FILE + 1)).is_some());
    }

    #[test]
    fn a_config_says_what_it_is_for() {
        assert_eq!(
            check_config("configs/a.toml", "# Trains a small reader.\nseed = 1\n"),
            None
        );
        for text in [
            "",
            "seed = 1\n",
            "#\n",
            "# TODO\n",
            "\n# Trains a small reader.\n",
        ] {
            assert!(check_config("configs/a.toml", text).is_some(), "{text:?}");
        }
    }
}
