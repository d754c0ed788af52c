//! The layers: which crate may use which, and which of them must build without burn.
//!
//! Holds the table below against the manifests (`cargo metadata`), against what cargo would build
//! (`cargo tree`), and against the map in `crates/README.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::process::Command;

use serde_json::Value;
use xtask::{map, repository_root};

/// One crate's place.
struct Place {
    name: &'static str,
    /// As the map writes it.
    layer: &'static str,
    /// Workspace crates it may name, for building or for testing.
    may_use: &'static [&'static str],
    may_reach_burn: bool,
}

const fn place(
    layer: &'static str,
    name: &'static str,
    may_reach_burn: bool,
    may_use: &'static [&'static str],
) -> Place {
    Place {
        name,
        layer,
        may_use,
        may_reach_burn,
    }
}

const BURN: bool = true;
const NO_BURN: bool = false;

/// From the bottom up: a crate may name only crates above its own line.
const TABLE: &[Place] = &[
    place("0", "longhand-memory", NO_BURN, &[]),
    place("0", "longhand-reward-outcome", NO_BURN, &[]),
    place("0", "longhand-reward-teacher", NO_BURN, &[]),
    place("0", "longhand-reward-certainty", NO_BURN, &[]),
    place("0", "longhand-advantage", NO_BURN, &[]),
    place("0", "longhand-objective", NO_BURN, &[]),
    place("0", "longhand-tasks", NO_BURN, &[]),
    place("0", "longhand-documents", NO_BURN, &[]),
    place("0", "longhand-kernels", NO_BURN, &[]),
    place("0", "longhand-reward-judge", NO_BURN, &[]),
    place("0", "longhand-tensorboard", NO_BURN, &[]),
    place("0", "longhand-gguf", NO_BURN, &[]),
    place("0", "longhand-chat", NO_BURN, &[]),
    place("0", "longhand-hub", NO_BURN, &[]),
    place(
        "1",
        "longhand-rollout",
        NO_BURN,
        &["longhand-memory", "longhand-tasks"],
    ),
    place("1", "longhand-run", NO_BURN, &[]),
    place(
        "1",
        "longhand-config",
        NO_BURN,
        &[
            "longhand-memory",
            "longhand-advantage",
            "longhand-objective",
            "longhand-reward-certainty",
            "longhand-reward-teacher",
            "longhand-reward-outcome",
            "longhand-tasks",
            "longhand-rollout",
        ],
    ),
    place(
        "1",
        "longhand-compute",
        NO_BURN,
        &[
            "longhand-advantage",
            "longhand-objective",
            "longhand-reward-certainty",
            "longhand-reward-outcome",
            "longhand-reward-teacher",
        ],
    ),
    place(
        "1",
        "longhand-engine",
        NO_BURN,
        &["longhand-kernels", "longhand-rollout"],
    ),
    place("2", "longhand-doctor", NO_BURN, &["longhand-run"]),
    place("2", "longhand-inspect", NO_BURN, &["longhand-run"]),
    place(
        "2",
        "longhand-reading",
        NO_BURN,
        &[
            "longhand-chat",
            "longhand-documents",
            "longhand-memory",
            "longhand-rollout",
        ],
    ),
    place(
        "2",
        "longhand-report",
        NO_BURN,
        &["longhand-run", "longhand-config", "longhand-doctor"],
    ),
    place(
        "2",
        "longhand-policy",
        BURN,
        &["longhand-chat", "longhand-rollout", "longhand-engine"],
    ),
    place(
        "3",
        "longhand-trainer",
        BURN,
        &[
            "longhand-memory",
            "longhand-reward-certainty",
            "longhand-reward-outcome",
            "longhand-reward-teacher",
            "longhand-advantage",
            "longhand-objective",
            "longhand-tasks",
            "longhand-rollout",
            "longhand-run",
            "longhand-config",
            "longhand-policy",
            "longhand-reading",
            "longhand-reward-judge",
            "longhand-tensorboard",
        ],
    ),
    place(
        "4",
        "longhand",
        BURN,
        &[
            "longhand-chat",
            "longhand-kernels",
            "longhand-documents",
            "longhand-memory",
            "longhand-reward-outcome",
            "longhand-tasks",
            "longhand-rollout",
            "longhand-run",
            "longhand-config",
            "longhand-compute",
            "longhand-doctor",
            "longhand-gguf",
            "longhand-hub",
            "longhand-inspect",
            "longhand-reading",
            "longhand-report",
            "longhand-policy",
            "longhand-trainer",
        ],
    ),
    place("tools", "xtask", NO_BURN, &[]),
    place(
        "tools",
        "longhand-tests",
        NO_BURN,
        &[
            "longhand-memory",
            "longhand-reward-outcome",
            "longhand-tasks",
            "longhand-reward-judge",
            "longhand-tensorboard",
            "longhand-run",
            "longhand-config",
            "longhand-compute",
            "longhand-engine",
            "xtask",
        ],
    ),
    place(
        "tools",
        "longhand-benches",
        BURN,
        &[
            "longhand-kernels",
            "longhand-memory",
            "longhand-reward-outcome",
            "longhand-reward-teacher",
            "longhand-advantage",
            "longhand-objective",
            "longhand-tasks",
            "longhand-rollout",
            "longhand-run",
            "longhand-config",
            "longhand-policy",
            "longhand-trainer",
        ],
    ),
];

/// Third-party crates with one home each: (the start of their names, who may name them).
const HOMES: &[(&str, &[&str])] = &[
    ("burn", &["longhand-policy"]),
    ("cubecl", &["longhand-policy"]),
    // Errors without a type and the reading of arguments belong to the program.
    ("anyhow", &["longhand"]),
    ("miette", &["longhand"]),
    ("clap", &["longhand"]),
];

/// Runs cargo in the repository's root and returns what it prints.
fn cargo(args: &[&str]) -> String {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let output = Command::new(program)
        .args(args)
        .current_dir(repository_root())
        .output()
        .expect("cargo starts, since it runs this test");
    assert!(
        output.status.success(),
        "cargo {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

/// Names that every workspace package gives as dependencies of any kind, optional ones included.
fn named_dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&metadata).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let names = |package: &Value| {
        let dependencies = package["dependencies"]
            .as_array()
            .expect("a list of dependencies");
        dependencies
            .iter()
            .map(|dependency| text(&dependency["name"]))
            .collect()
    };
    packages
        .iter()
        .map(|package| (text(&package["name"]), names(package)))
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

fn is_burn(name: &str) -> bool {
    name == "burn" || name.starts_with("burn-") || name.starts_with("cubecl")
}

#[test]
fn the_table_points_down_only() {
    for (idx, place) in TABLE.iter().enumerate() {
        for used in place.may_use {
            let below = TABLE[..idx].iter().find(|lower| lower.name == *used);
            let below = below
                .unwrap_or_else(|| panic!("{} may use {used}, which is not below it", place.name));
            assert!(
                place.may_reach_burn || !below.may_reach_burn,
                "{} reaches burn through {used}",
                place.name
            );
        }
        assert!(
            place.layer != "0" || place.may_use.is_empty(),
            "{} is in layer 0 and uses others",
            place.name
        );
    }
}

#[test]
fn every_package_is_in_the_table() {
    let in_table: BTreeSet<&str> = TABLE.iter().map(|place| place.name).collect();
    assert_eq!(
        in_table.len(),
        TABLE.len(),
        "a name stands twice in the table"
    );
    let dependencies = named_dependencies();
    let packages: BTreeSet<&str> = dependencies.keys().map(String::as_str).collect();
    assert_eq!(packages, in_table);
}

#[test]
fn crates_name_only_what_the_table_allows() {
    let dependencies = named_dependencies();
    for place in TABLE {
        let named = &dependencies[place.name];
        let inside = named
            .iter()
            .filter(|name| TABLE.iter().any(|other| other.name == **name));
        let forbidden: Vec<&String> = inside
            .filter(|name| !place.may_use.contains(&name.as_str()))
            .collect();
        assert!(
            forbidden.is_empty(),
            "{} (layer {}) must not use {forbidden:?}",
            place.name,
            place.layer
        );
    }
}

#[test]
fn third_party_crates_stay_in_their_homes() {
    for (package, named) in named_dependencies() {
        for name in named {
            let home = HOMES.iter().find(|(prefix, _)| {
                name.strip_prefix(prefix)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            });
            if let Some((_, allowed)) = home {
                assert!(
                    allowed.contains(&package.as_str()),
                    "{package} must not name {name}; {allowed:?} may"
                );
            }
        }
    }
}

#[test]
fn crates_without_burn_build_without_it() {
    for place in TABLE.iter().filter(|place| !place.may_reach_burn) {
        // With all features and with what its tests need: a downstream project that wants one
        // estimator pays for just that, and so does a change to it here.
        let tree = cargo(&[
            "tree",
            "--package",
            place.name,
            "--all-features",
            "--edges",
            "normal,build,dev",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ]);
        let built = tree.lines().filter_map(|line| line.split(' ').next());
        let burn: BTreeSet<&str> = built.filter(|name| is_burn(name)).collect();
        assert!(burn.is_empty(), "{} reaches {burn:?}", place.name);
    }
}

#[test]
fn crates_with_burn_reach_it() {
    // The check above would pass for any tree if it did not recognise burn when it is there.
    let tree = cargo(&[
        "tree",
        "--package",
        "longhand-policy",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]);
    assert!(
        tree.lines()
            .filter_map(|line| line.split(' ').next())
            .any(is_burn)
    );
}

#[test]
fn the_map_shows_the_same_layers() {
    let page = fs::read_to_string(repository_root().join(map::PATH)).expect("the map is readable");
    let on_map: BTreeMap<String, String> = map::rows(&page)
        .into_iter()
        .map(|row| (row.name, row.layer))
        .collect();
    let crates = TABLE.iter().filter(|place| place.layer != "tools");
    let in_table: BTreeMap<String, String> = crates
        .map(|place| (place.name.to_owned(), place.layer.to_owned()))
        .collect();
    assert_eq!(on_map, in_table);
}
