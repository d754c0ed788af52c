//! `cargo xtask fuzz`: looks for bytes that break a parser, for a while each.
//!
//! The targets are in `tests/fuzz`, a workspace of its own; `cargo test --package longhand-tests` replays
//! what is in its `corpora`. What is found here stays in the folder of builds, and what breaks a target in
//! `tests/fuzz/artifacts`: moved to the target's corpus, it is a test from then on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::ci;

/// Relative to the repository's root.
const FOLDER: &str = "tests/fuzz";
const DEFAULT_SECONDS: u32 = 60;
/// A target that takes longer than this for one input, in seconds, or more memory than that, in MiB, is
/// broken: what others write must not stop a run.
const LIMITS: [&str; 3] = ["-timeout=5", "-rss_limit_mb=1024", "-max_len=4096"];

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// For each target.
    pub seconds: u32,
    /// All of them where none is named.
    pub targets: Vec<String>,
}

impl Options {
    /// Reads `[--seconds N] [TARGET...]`.
    ///
    /// # Errors
    ///
    /// An unknown option, or a number of seconds that is none.
    pub fn parse(words: &[&str]) -> Result<Self, String> {
        let mut options = Options {
            seconds: DEFAULT_SECONDS,
            targets: Vec::new(),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if *word == "--seconds" {
                let seconds = words.next().and_then(|number| number.parse().ok());
                // To the fuzzer, 0 is no limit at all.
                options.seconds = seconds
                    .filter(|seconds| 0 < *seconds)
                    .ok_or("`--seconds` takes a number of at least 1")?;
            } else if word.starts_with('-') {
                return Err(format!("`fuzz` has no option `{word}`"));
            } else {
                options.targets.push((*word).to_owned());
            }
        }
        Ok(options)
    }
}

/// Runs the targets one after the other, up to the first that breaks.
///
/// # Errors
///
/// A target that there is not, no `cargo fuzz` on this machine, or a target that broke.
pub fn run(root: &Path, options: &Options) -> Result<(), String> {
    let known = targets(root)?;
    let chosen = choose(&known, &options.targets)?;
    if !has_cargo_fuzz(root) {
        return Err(
            "there is no `cargo fuzz` here; `cargo install cargo-fuzz --locked` installs it"
                .to_owned(),
        );
    }
    let builds = std::env::var_os("CARGO_TARGET_DIR");
    let builds = root
        .join(builds.map_or_else(|| PathBuf::from("target"), PathBuf::from))
        .join("fuzz");
    for target in chosen {
        // The fuzzer adds to the first folder; what is kept in the repository is chosen by hand.
        let found = builds.join("corpora").join(target);
        fs::create_dir_all(&found).map_err(|error| format!("{}: {error}", found.display()))?;
        let seconds = format!("-max_total_time={}", options.seconds);
        let fuzz = |verb: &str| {
            // The parsers have no unsafe code, so no sanitizer: it would need a compiler that is not stable.
            let words = ["fuzz", verb, "--sanitizer", "none", "--fuzz-dir", FOLDER];
            let mut command = ci::cargo(root, &words);
            command.arg(target).env("CARGO_TARGET_DIR", &builds);
            command
        };
        // By itself, so that code that does not build is not taken for an input that breaks it.
        ci::run_command(&mut fuzz("build"))?;
        let mut command = fuzz("run");
        command
            .arg(&found)
            .arg(root.join(FOLDER).join("corpora").join(target))
            .args(["--", &seconds, "-print_final_stats=1"])
            .args(LIMITS);
        // Some targets write a folder for every input; memory is faster and is not worn out.
        let in_memory = Path::new("/dev/shm");
        if in_memory.is_dir() {
            command.env("TMPDIR", in_memory);
        }
        ci::run_command(&mut command).map_err(|message| {
            format!(
                "{message}\nthe input is in {FOLDER}/artifacts/{target}; once it is mended, \
                 move it to {FOLDER}/corpora/{target}"
            )
        })?;
    }
    Ok(())
}

/// The names of all targets, sorted.
///
/// # Errors
///
/// Their folder cannot be read.
pub fn targets(root: &Path) -> Result<Vec<String>, String> {
    let folder = root.join(FOLDER).join("fuzz_targets");
    let unreadable = |error| format!("{}: {error}", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        names.extend(
            name.to_string_lossy()
                .strip_suffix(".rs")
                .map(str::to_owned),
        );
    }
    names.sort();
    Ok(names)
}

fn choose<'a>(known: &'a [String], names: &[String]) -> Result<Vec<&'a String>, String> {
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        return Err(format!(
            "there is no fuzz target `{unknown}`; there are {}",
            known.join(", ")
        ));
    }
    let is_chosen = |name: &&String| names.is_empty() || names.contains(name);
    Ok(known.iter().filter(is_chosen).collect())
}

fn has_cargo_fuzz(root: &Path) -> bool {
    let mut command: Command = ci::cargo(root, &["fuzz", "--version"]);
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_seconds_and_targets() {
        let check = |words: &[&str], seconds, targets: &[&str]| {
            let options = Options::parse(words).expect("words that are understood");
            assert_eq!(
                (options.seconds, options.targets),
                (seconds, owned(targets))
            );
        };
        check(&[], 60, &[]);
        check(&["--seconds", "5"], 5, &[]);
        check(
            &["number", "--seconds", "5", "checkers"],
            5,
            &["number", "checkers"],
        );
        for words in [
            &["--seconds"][..],
            &["--seconds", "0"],
            &["--seconds", "x"],
            &["--jobs"],
        ] {
            assert!(Options::parse(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn targets_are_chosen_by_name_and_unknown_ones_are_refused() {
        let known = owned(&["checkers", "number"]);
        let choose = |names: &[&str]| {
            choose(&known, &owned(names)).map(|chosen| chosen.into_iter().cloned().collect())
        };
        assert_eq!(choose(&[]), Ok(known.clone()));
        assert_eq!(choose(&["number"]), Ok(owned(&["number"])));
        let said = choose(&["numbers"]).expect_err("there is none");
        assert!(
            said.contains("`numbers`") && said.contains("checkers, number"),
            "{said}"
        );
    }

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }
}
