//! What the README pages promise: their commands and the files they link to exist.

use std::fs;

use xtask::{map, readme, repository_root};

/// The two commands that a newcomer needs, word for word.
const PROMISED: [&str; 2] = [
    "cargo run --release -- train configs/quickstart.toml",
    "cargo test --workspace",
];

fn page(path: &str) -> String {
    fs::read_to_string(repository_root().join(path)).expect("the page is readable")
}

#[test]
fn the_newcomers_commands_are_there() {
    let lines: Vec<String> = readme::commands(&page(readme::PATH))
        .iter()
        .map(|command| command.words.join(" "))
        .collect();
    for promised in PROMISED {
        assert!(
            lines.iter().any(|line| line == promised),
            "`{promised}` is not among {lines:#?}"
        );
    }
}

#[test]
fn every_command_names_things_that_exist() {
    for path in [readme::PATH, map::PATH] {
        let found = readme::check_commands(&repository_root(), path, &page(path));
        assert!(found.is_empty(), "{found:#?}");
    }
}

#[test]
fn every_link_leads_somewhere() {
    for path in [readme::PATH, map::PATH] {
        let found = readme::check_links(&repository_root(), path, &page(path));
        assert!(found.is_empty(), "{found:#?}");
    }
}
