//! The map of the crates, `crates/README.md`, held against the folders that exist.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use crate::Violation;

/// The map's path from the repository's root.
pub const PATH: &str = "crates/README.md";

/// One row of the map's table: ``| `crate` | layer | what it is for |``.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Folder name and package name.
    pub name: String,
    /// The layer as written.
    pub layer: String,
    /// What the crate is for.
    pub purpose: String,
    /// Line number of the row, from 1.
    pub line: usize,
}

/// The rows of the map that name a crate, in their order.
#[must_use]
pub fn rows(map: &str) -> Vec<Row> {
    let numbered = map.lines().enumerate();
    numbered
        .filter_map(|(idx, line)| {
            let cells: Vec<&str> = line
                .strip_prefix('|')?
                .strip_suffix('|')?
                .split('|')
                .map(str::trim)
                .collect();
            let [name, layer, purpose] = cells.as_slice() else {
                return None;
            };
            let name = name.strip_prefix('`')?.strip_suffix('`')?;
            Some(Row {
                name: name.to_owned(),
                layer: (*layer).to_owned(),
                purpose: (*purpose).to_owned(),
                line: idx + 1,
            })
        })
        .collect()
}

/// Names of the folders under `crates/` that hold a manifest.
///
/// # Errors
///
/// A `crates` folder that cannot be read.
pub fn crate_folders(root: &Path) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(root.join("crates"))? {
        let entry = entry?;
        if entry.path().join("Cargo.toml").is_file() {
            names.insert(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

/// Every crate is on the map once with a purpose, and the map names no crate that does not exist.
///
/// # Errors
///
/// The map or the `crates` folder cannot be read.
pub fn check(root: &Path) -> io::Result<Vec<Violation>> {
    let map = fs::read_to_string(root.join(PATH))
        .map_err(|error| io::Error::new(error.kind(), format!("{PATH}: {error}")))?;
    Ok(compare(&rows(&map), &crate_folders(root)?))
}

fn compare(rows: &[Row], folders: &BTreeSet<String>) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for row in rows {
        if !folders.contains(&row.name) {
            found.push(Violation::at(
                PATH,
                row.line,
                format!("there is no crate `{}`; take the row out", row.name),
            ));
        }
        if !seen.insert(&row.name) {
            found.push(Violation::at(
                PATH,
                row.line,
                format!("`{}` has a second row", row.name),
            ));
        }
        if row.purpose.is_empty() {
            found.push(Violation::at(
                PATH,
                row.line,
                format!("`{}` has no line that says what it is for", row.name),
            ));
        }
    }
    for folder in folders.iter().filter(|folder| !seen.contains(folder)) {
        found.push(Violation::of_file(
            PATH,
            format!("crate `{folder}` is not on the map; give it a row"),
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(map: &str, folders: &[&str], n_violations: usize) {
        let folders = folders.iter().map(|name| (*name).to_owned()).collect();
        let found = compare(&rows(map), &folders);
        assert_eq!(found.len(), n_violations, "{found:?}");
    }

    #[test]
    fn rows_are_the_table_lines_that_name_a_crate() {
        let map =
            "# Map\n| crate | layer | for |\n|---|---|---|\n| `a-b` | 0 | does a |\ntext `c`\n";
        let expected = Row {
            name: "a-b".into(),
            layer: "0".into(),
            purpose: "does a".into(),
            line: 4,
        };
        assert_eq!(rows(map), [expected]);
    }

    #[test]
    fn map_and_folders_must_agree_both_ways() {
        check("| `a` | 0 | does a |", &["a"], 0);
        check("", &["a"], 1);
        check("| `a` | 0 | does a |", &[], 1);
        check("| `a` | 0 | does a |\n| `a` | 0 | again |", &["a"], 1);
        check("| `a` | 0 | |", &["a"], 1);
    }
}
