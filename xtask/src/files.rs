//! The repository's files, without what builds and runs leave behind.

use std::fs;
use std::io;
use std::path::Path;

use crate::Violation;

/// What may lie at the top of the repository.
const TOP_LEVEL: &[&str] = &[
    ".cargo",
    ".ci",
    ".github",
    ".gitignore",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "benches",
    "configs",
    "crates",
    "rustfmt.toml",
    "tests",
    "xtask",
];

/// Folders that `.gitignore` names: builds, runs, fetched models.
const IGNORED: &[&str] = &["data", "models", "runs", "target"];

/// Paths of all files of the project relative to `root`, sorted, with `/` between their parts.
///
/// # Errors
///
/// A folder that cannot be read, or a file name that is not UTF-8.
pub fn project_files(root: &Path) -> io::Result<Vec<String>> {
    let mut paths = Vec::new();
    for name in TOP_LEVEL {
        let path = root.join(name);
        if path.is_dir() {
            collect(&path, name, &mut paths)?;
        } else if path.is_file() {
            paths.push((*name).to_owned());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Top-level entries that are neither part of the layout nor ignored by git.
///
/// Hidden entries that are not ours (an editor's folder, `.git`) are left alone.
///
/// # Errors
///
/// A root that cannot be read.
pub fn strangers(root: &Path) -> io::Result<Vec<Violation>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.')
            && !TOP_LEVEL.contains(&name.as_str())
            && !IGNORED.contains(&name.as_str())
        {
            found.push(Violation::of_file(
                name,
                "has no place at the top level; move it into a folder of the layout",
            ));
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn collect(folder: &Path, prefix: &str, paths: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|name| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("file name {name:?} in {prefix} is not UTF-8"),
            )
        })?;
        let path = format!("{prefix}/{name}");
        if entry.file_type()?.is_dir() {
            // A build of one package alone may leave a target folder behind: that is not ours.
            if name != "target" {
                collect(&entry.path(), &path, paths)?;
            }
        } else {
            paths.push(path);
        }
    }
    Ok(())
}
