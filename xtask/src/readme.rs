//! The commands and links of the README pages, held against what exists.

use std::path::Path;

use crate::{COMMANDS, Violation};

/// The newcomer's page.
pub const PATH: &str = "README.md";

/// One line of a shell block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// The words of the line; a comment at its end is cut off.
    pub words: Vec<String>,
    /// Line number, from 1.
    pub line: usize,
}

impl CommandLine {
    /// The sub-command of `longhand` and its arguments, where this line starts `longhand`.
    #[must_use]
    pub fn longhand_args(&self) -> Option<&[String]> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["cargo", "run", ..] => {
                let separator = words.iter().position(|word| *word == "--")?;
                Some(&self.words[separator + 1..])
            }
            [program, ..] if *program == "longhand" || program.ends_with("/longhand") => {
                Some(&self.words[1..])
            }
            _ => None,
        }
    }
}

/// The lines of all `sh` blocks of `page`.
#[must_use]
pub fn commands(page: &str) -> Vec<CommandLine> {
    let mut found = Vec::new();
    let mut block = None;
    for (idx, line) in page.lines().enumerate() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            block = if block.is_some() {
                None
            } else {
                Some(language.trim())
            };
            continue;
        }
        let words: Vec<String> = line
            .split_whitespace()
            .take_while(|word| !word.starts_with('#'))
            .map(str::to_owned)
            .collect();
        if block == Some("sh") && !words.is_empty() {
            found.push(CommandLine {
                words,
                line: idx + 1,
            });
        }
    }
    found
}

/// Checks the commands of `page`, which lies at `path`: chores are known ones, and every experiment
/// file exists. Placeholders in capitals (`CONFIG`, `RUN`) are left alone.
#[must_use]
pub fn check_commands(root: &Path, path: &str, page: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    for command in commands(page) {
        let words: Vec<&str> = command.words.iter().map(String::as_str).collect();
        if let ["cargo", "xtask", name, ..] = words.as_slice()
            && !COMMANDS.iter().any(|(known, _)| known == name)
        {
            found.push(Violation::at(
                path,
                command.line,
                format!("`cargo xtask {name}` does not exist"),
            ));
        }
        for word in words {
            if word.starts_with("configs/") && !root.join(word).exists() {
                found.push(Violation::at(
                    path,
                    command.line,
                    format!("`{word}` does not exist"),
                ));
            }
        }
    }
    found
}

/// Checks that the files which `page` links to exist. `path` is the page's own path from the root.
#[must_use]
pub fn check_links(root: &Path, path: &str, page: &str) -> Vec<Violation> {
    let folder = root
        .join(path)
        .parent()
        .map_or_else(|| root.to_owned(), Path::to_owned);
    let mut found = Vec::new();
    for (idx, line) in page.lines().enumerate() {
        for (start, _) in line.match_indices("](") {
            let rest = &line[start + 2..];
            let target = rest.split([')', '#']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !folder.join(target).exists() {
                found.push(Violation::at(
                    path,
                    idx + 1,
                    format!("the link to `{target}` leads nowhere"),
                ));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
text cargo xtask no
```sh
cargo run --release -- train configs/nowhere.toml   # a comment
cargo xtask tidy
cargo xtask no
longhand read RUN --question Q

```
```toml
cargo xtask no
```
see [this](no-such-page.md#part) and [that](https://example.org/x)
";

    #[test]
    fn only_shell_blocks_hold_commands() {
        let lines: Vec<usize> = commands(PAGE).iter().map(|command| command.line).collect();
        assert_eq!(lines, [3, 4, 5, 6]);
        assert_eq!(
            commands(PAGE)[0].words.last().map(String::as_str),
            Some("configs/nowhere.toml")
        );
    }

    #[test]
    fn the_arguments_of_the_program_are_found() {
        let found = commands(PAGE);
        let args: Vec<Option<usize>> = found
            .iter()
            .map(|command| command.longhand_args().map(<[String]>::len))
            .collect();
        assert_eq!(args, [Some(2), None, None, Some(4)]);
    }

    #[test]
    fn missing_files_chores_and_pages_are_found() {
        let root = crate::repository_root();
        let lines = |found: Vec<Violation>| {
            found
                .iter()
                .filter_map(|violation| violation.line)
                .collect::<Vec<_>>()
        };
        assert_eq!(lines(check_commands(&root, PATH, PAGE)), [3, 5]);
        assert_eq!(lines(check_links(&root, PATH, PAGE)), [12]);
    }
}
