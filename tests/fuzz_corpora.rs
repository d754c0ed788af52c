//! Every file of the fuzz targets' corpora, handed to the function it was found with.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;

use xtask::{fuzz, repository_root};

// The functions are part of the fuzz targets' own workspace; here they are built without a fuzzer.
#[path = "fuzz/src/lib.rs"]
pub mod longhand_fuzz;

use longhand_fuzz::TARGETS;

#[test]
fn no_file_of_the_corpora_breaks_a_promise() {
    let corpora = repository_root().join("tests/fuzz/corpora");
    let mut broken = Vec::new();
    for (name, target) in TARGETS {
        let folder = corpora.join(name);
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut n_files = 0;
        for entry in entries {
            let path = entry.expect("an entry").path();
            let bytes = fs::read(&path).expect("a file");
            n_files += 1;
            if catch_unwind(|| target(&bytes)).is_err() {
                broken.push(format!("{name}: {}", path.display()));
            }
        }
        assert_ne!(n_files, 0, "{name} has no seeds");
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn functions_targets_and_corpora_have_the_same_names() {
    let root = repository_root();
    let functions: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let targets = fuzz::targets(&root).expect("a folder").into_iter();
    assert_eq!(targets.collect::<BTreeSet<_>>(), functions);
    let corpora = fs::read_dir(root.join("tests/fuzz/corpora")).expect("a folder");
    let corpora = corpora.map(|entry| entry.expect("an entry").file_name());
    let corpora: BTreeSet<String> = corpora
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    assert_eq!(corpora, functions);
    let manifest = fs::read_to_string(root.join("tests/fuzz/Cargo.toml")).expect("a file");
    let bins = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("path = \"fuzz_targets/"));
    let bins = bins.filter_map(|rest| rest.strip_suffix(".rs\""));
    assert_eq!(bins.map(str::to_owned).collect::<BTreeSet<_>>(), functions);
    for name in &functions {
        let path = root.join(format!("tests/fuzz/fuzz_targets/{name}.rs"));
        let source = fs::read_to_string(path).expect("a file");
        assert!(source.contains(&format!("::run(\"{name}\", ")), "{name}");
    }
}
