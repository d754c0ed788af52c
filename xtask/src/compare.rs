//! `cargo xtask compare-transformers`: the engine's numbers beside those of Python's `transformers` and
//! `peft`.
//!
//! Builds the engine's examples `logits` and `export` and hands them to
//! `xtask/scripts/compare_with_transformers.py`, which says what is compared. Nothing in the gate needs
//! Python; this is run by hand after changes to what is read, computed or written.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo_build;

const SCRIPT: &str = "xtask/scripts/compare_with_transformers.py";
const EXAMPLES: [&str; 2] = ["logits", "export"];
/// What the script imports, named as pip and as Python name them.
const PACKAGES: [&str; 4] = ["numpy", "torch", "transformers", "peft"];

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The Python that has the packages.
    pub python: String,
    /// A built `longhand`, to look at its exports too.
    pub program: Option<String>,
    /// Whether the small random models are compared too.
    pub with_small: bool,
    /// Folders of models; none for the small ones alone.
    pub models: Vec<String>,
}

impl Options {
    /// Reads `[--python PATH] [--program PATH] [--no-small] [MODEL...]`.
    ///
    /// # Errors
    ///
    /// An unknown option, or one without its path.
    pub fn parse(words: &[&str]) -> Result<Self, String> {
        let mut options = Options {
            python: "python3".to_owned(),
            program: None,
            with_small: true,
            models: Vec::new(),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--python" => {
                    let path = words.next().ok_or("`--python` needs a path")?;
                    options.python = (*path).to_owned();
                }
                "--program" => {
                    let path = words.next().ok_or("`--program` needs a path")?;
                    options.program = Some((*path).to_owned());
                }
                "--no-small" => options.with_small = false,
                unknown if unknown.starts_with('-') => {
                    return Err(format!("`compare-transformers` has no option `{unknown}`"));
                }
                model => options.models.push(model.to_owned()),
            }
        }
        Ok(options)
    }
}

/// Builds the examples and runs the script.
///
/// # Errors
///
/// A Python without the packages, a build that fails, and numbers that differ.
pub fn run(root: &Path, options: &Options) -> Result<(), String> {
    check_packages(&options.python)?;
    let examples = build_examples(root)?;
    let mut command = Command::new(&options.python);
    command
        .arg(root.join(SCRIPT))
        .arg("--examples")
        .arg(&examples);
    if let Some(program) = &options.program {
        command.arg("--program").arg(program);
    }
    if !options.with_small {
        command.arg("--no-small");
    }
    // Relative folders are meant from where the command was given.
    match command.args(&options.models).status() {
        Err(error) => Err(format!("cannot start {}: {error}", options.python)),
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err("the engine and transformers disagree; see the lines with FAILED".to_owned()),
    }
}

fn check_packages(python: &str) -> Result<(), String> {
    let script = "import importlib.util as u, sys\n\
                  print(*(name for name in sys.argv[1:] if u.find_spec(name) is None))";
    let output = Command::new(python)
        .args(["-c", script])
        .args(PACKAGES)
        .output();
    let output = output.map_err(|error| format!("cannot start {python}: {error}"))?;
    let missing = String::from_utf8_lossy(&output.stdout);
    let missing = missing.trim();
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "cannot ask {python} for its packages: {}",
            reason.trim()
        ));
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(advice(python, missing))
    }
}

fn advice(python: &str, missing: &str) -> String {
    format!(
        "{python} lacks {missing}\n\
         With them in an environment of their own:\n  \
         {python} -m venv target/compare-venv\n  \
         target/compare-venv/bin/python -m pip install {packages}\n  \
         cargo xtask compare-transformers --python target/compare-venv/bin/python",
        packages = PACKAGES.join(" "),
    )
}

/// The folder with the built examples.
fn build_examples(root: &Path) -> Result<PathBuf, String> {
    let mut words = vec!["--package", "longhand-engine"];
    for example in EXAMPLES {
        words.extend(["--example", example]);
    }
    let program = cargo_build::build(root, &words, "example")?;
    let folder = program.parent().map(Path::to_path_buf);
    folder.ok_or_else(|| "cargo puts examples at the root".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_read() {
        let default = Options {
            python: "python3".to_owned(),
            program: None,
            with_small: true,
            models: Vec::new(),
        };
        assert_eq!(Options::parse(&[]), Ok(default));
        let words = [
            "a",
            "--python",
            "venv/bin/python",
            "--no-small",
            "--program",
            "longhand",
            "b",
        ];
        let all = Options {
            python: "venv/bin/python".to_owned(),
            program: Some("longhand".to_owned()),
            with_small: false,
            models: vec!["a".to_owned(), "b".to_owned()],
        };
        assert_eq!(Options::parse(&words), Ok(all));
        for (words, expected) in [
            (["--python"], "`--python` needs a path"),
            (["--program"], "`--program` needs a path"),
            (["--quick"], "no option `--quick`"),
        ] {
            let error = Options::parse(&words).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn what_python_lacks_is_said_with_advice() {
        let error = check_packages("no-such-python").unwrap_err();
        assert!(error.contains("cannot start no-such-python"), "{error}");
        let text = advice("python3", "peft");
        for part in [
            "python3 lacks peft",
            "pip install numpy torch transformers peft",
            "--python",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
