//! Help, versions and calls that make no sense.

use crate::fixture::Place;

const COMMANDS: [&str; 9] = [
    "train",
    "eval",
    "read",
    "data",
    "data make",
    "data check",
    "data tokenizer",
    "bench",
    "compute",
];

#[test]
fn every_command_explains_itself() {
    let place = Place::new();
    let top = place.longhand("--help").succeeds();
    assert!(
        top.starts_with("Train language models to read past their context window"),
        "{top}"
    );
    assert!(
        top.contains("Exit codes: 0 done, 1 failed, 2 bad usage"),
        "{top}"
    );
    for command in COMMANDS {
        let first = command.split(' ').next().unwrap();
        assert!(top.contains(first), "{command}");
        let help = place.longhand(&format!("{command} --help")).succeeds();
        assert!(help.contains("Usage: longhand"), "{help}");
        // Every argument and option says what it is for.
        let lines: Vec<&str> = help.lines().collect();
        for (idx, line) in lines.iter().enumerate() {
            if line.trim_start().starts_with("--") {
                let rest = line
                    .trim_start()
                    .split_once("  ")
                    .map_or("", |(_, rest)| rest.trim());
                let below = lines.get(idx + 1).map_or("", |line| line.trim());
                assert!(!rest.is_empty() || !below.is_empty(), "{command}: {line}");
            }
        }
    }
    assert!(
        place
            .longhand("--version")
            .succeeds()
            .starts_with("longhand 0.")
    );
}

#[test]
fn calls_that_make_no_sense_are_bad_usage() {
    let place = Place::new();
    place.call(&[], "").fails(2, &["Usage: longhand"]);
    place
        .longhand("trian")
        .fails(2, &["unrecognized subcommand 'trian'", "'train'"]);
    place
        .longhand("train")
        .fails(2, &["<CONFIG|--resume <RUN>>"]);
    place.longhand("train a.toml --sed 3").fails(2, &["--sed"]);
    place.longhand("eval").fails(2, &["<RUN_OR_MODEL>"]);
    place
        .longhand("read run")
        .fails(2, &["--document", "--question"]);
    place.longhand("data").fails(2, &["Usage: longhand data"]);
    place.longhand("data mkae").fails(2, &["'make'"]);
    place.longhand("data make").fails(2, &["--task", "--out"]);
    place.longhand("compute").fails(2, &["<KIND>"]);
    place.longhand("compute rewrd").fails(2, &["'reward'"]);
}
