//! The house rules of `cargo xtask tidy` hold, so that `cargo test` alone says so too.

use xtask::{Violation, map, repository_root, tidy};

fn assert_none(found: &[Violation]) {
    let lines: Vec<String> = found.iter().map(Violation::to_string).collect();
    assert!(found.is_empty(), "broken rules:\n{}", lines.join("\n"));
}

#[test]
fn the_repository_is_tidy() {
    assert_none(
        &tidy::report(&repository_root())
            .expect("the repository is readable")
            .violations,
    );
}

#[test]
fn every_crate_is_on_the_map_and_the_map_names_no_other() {
    let root = repository_root();
    assert!(
        !map::crate_folders(&root)
            .expect("the crates are readable")
            .is_empty()
    );
    assert_none(&map::check(&root).expect("the map is readable"));
}
