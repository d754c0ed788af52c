//! Complaints about single keys: unknown, missing, of the wrong type, out of range; unreadable files.

use longhand_config::{ConfigError, Experiment, Place, keys};
use proptest::prelude::*;

use crate::{BASE, check, check_set, load};

#[test]
fn unknown_keys_are_named_placed_and_mended() {
    let rl_keys = "`kind`, `steps`, `problems_per_step`, `group_size`, `trained_attempts`, `mini_batches`, `sampling`, `credit`, \
                   `objective`, `entropy`, `dynamic_sampling`, `overlong`, `skip_equal_outcomes`, `optimizer`, \
                   `micro_batch_tokens`, `generation_batch`";
    let expected = format!(
        "a.toml:27:1: `stage.1.group_sise`: unknown key, did you mean `group_size`? the keys here of kind \"rl\" \
         are {rl_keys}\na.toml:23:1: `stage.1.group_size`: missing key"
    );
    let found = load(&BASE.replace("group_size", "group_sise"), &[])
        .unwrap_err()
        .to_string();
    // Complaints stand in the order of the file.
    let lines: Vec<&str> = found.lines().collect();
    assert_eq!(lines.len(), 2, "{found}");
    assert!(expected.starts_with(lines[1]), "{found}");
    assert_eq!(
        lines[0],
        "a.toml:23:1: `stage.1.group_size`: missing key: attempts at each problem (a whole number from 1 to 1000000000)"
    );
    check(
        "chunk_size = 48",
        "chunk_size = 48\ngroup_size = 3",
        Err(
            "a.toml:15:1: `reader.group_size`: unknown key; `group_size` belongs to `stage.N<rl>.group_size`; the keys \
             here are `template`, `chunk_size`, `overlap`, `max_chunks`, `max_question_tokens`, `max_memory_tokens`, \
             `max_answer_tokens`, `window`, `chat`, `system`, `chat_variables`",
        ),
    );
    check(
        "train_tokens = 192",
        "train_tokens = 192\nxyz = 1",
        Err("a.toml:12:1: `data.xyz`: unknown key; the keys here are `train_tokens`, `paragraph`"),
    );
    check(
        "kind = \"class-notes\"",
        "kind = \"class-notes\"\nn_clases = 3",
        Err(
            "a.toml:10:1: `task.n_clases`: unknown key, did you mean `n_classes`? the keys here of kind \"class-notes\" \
             are `kind`, `n_classes`, `items_per_class`, `n_subjects`, `n_verbs`, `two_fact_share`",
        ),
    );
    check_set(
        &["data.train_token=9"],
        Err(
            "--set data.train_token=9: `data.train_token`: unknown key, did you mean `train_tokens`? the keys here \
             are `train_tokens`, `paragraph`",
        ),
    );
}

#[test]
fn unknown_names_are_mended() {
    check(
        "kind = \"tamtrl\"",
        "kind = \"tamrtl\"",
        Err(
            "a.toml:29:8: `stage.1.credit.kind`: unknown name \"tamrtl\", did you mean \"tamtrl\"? expected one of \
             \"outcome\", \"tamtrl\", \"gdpo\", \"sum\"",
        ),
    );
    check(
        "kind = \"class-notes\"",
        "kind = \"hotpot\"",
        Err(
            "a.toml:9:8: `task.kind`: unknown name \"hotpot\", did you mean \"hotpotqa\"? expected one of \
             \"class-notes\", \"lookup\", \"needle\", \"multi-needle\", \"variable-tracking\", \"multi-hop\", \
             \"counting\", \"arithmetic\", \"algebra\", \"code-trace\", \"hotpotqa\", \"jsonl\"",
        ),
    );
    check_set(
        &["reward.checker=zzz"],
        Err(
            "--set reward.checker=zzz: `reward.checker`: unknown name \"zzz\"; expected one of \"exact-match\", \
             \"token-f1\", \"contains\", \"sub-em\", \"boxed\", \"memagent-box\", \"numeric\"",
        ),
    );
    check(
        "kind = \"warm-start\"",
        "",
        Err("a.toml:18:1: `stage.0`: missing key `kind`, one of \"warm-start\", \"rl\""),
    );
    check(
        "kind = \"warm-start\"",
        "kind = 3",
        Err("a.toml:19:8: `stage.0.kind`: expected one of \"warm-start\", \"rl\", found 3"),
    );
}

#[test]
fn wrong_types_say_what_was_expected() {
    let count = "a whole number from 1 to 1000000000";
    for (new, found) in [
        ("\"80\"", "the text \"80\""),
        ("80.0", "80.0"),
        ("true", "true"),
        ("[80]", "a list"),
        ("{ n = 80 }", "a table"),
        ("2026-11-01", "the date 2026-11-01"),
        ("0", "0"),
        ("-1", "-1"),
        (
            "99999999999999999999",
            "the number 99999999999999999999, which exceeds 64 bits",
        ),
    ] {
        let expected = format!("a.toml:25:9: `stage.1.steps`: expected {count}, found {found}");
        check("steps = 80", &format!("steps = {new}"), Err(&expected));
    }
    let above_zero = "a.toml:31:6: `stage.1.optimizer.lr`: expected a number above 0, found";
    for (new, found) in [
        ("0", "0"),
        ("-0.1", "-0.1"),
        ("nan", "NaN"),
        ("inf", "inf"),
        ("\"1e-3\"", "the text \"1e-3\""),
    ] {
        check(
            "lr = 5e-4",
            &format!("lr = {new}"),
            Err(&format!("{above_zero} {found}")),
        );
    }
    check("lr = 5e-4", "lr = 1", Ok(()));
    check(
        "optimizer = { lr = 4e-3 }",
        "optimizer = 4e-3",
        Err("a.toml:22:13: `stage.0.optimizer`: expected a table, found 0.004"),
    );
    check(
        "optimizer = { lr = 4e-3 }",
        "optimizer = { lr = 4e-3 }\ntokens = []",
        Err(
            "a.toml:23:10: `stage.0.tokens`: the list is empty; expected at least one entry, a whole number from 1 to \
             1000000000",
        ),
    );
    check(
        "optimizer = { lr = 4e-3 }",
        "optimizer = { lr = 4e-3 }\ntokens = [48, \"x\"]",
        Err(
            "a.toml:23:15: `stage.0.tokens.1`: expected a whole number from 1 to 1000000000, found the text \"x\"",
        ),
    );
    check(
        "name = \"small\"",
        "name = 3",
        Err("a.toml:1:8: `name`: expected text in quotes, found 3"),
    );
    check(
        "template = \"marks\"",
        "template = 3",
        Err("a.toml:13:12: `reader.template`: expected a preset name or a table, found 3"),
    );
}

#[test]
fn several_problems_are_reported_together_in_order() {
    let text = BASE
        .replace("steps = 80", "steps = 0")
        .replace("n_heads = 2", "n_head = 2");
    let error = load(&text, &["seed=-1"]).unwrap_err();
    let ConfigError::Invalid(problems) = &error else {
        panic!("{error}")
    };
    let found: Vec<(&str, &Place)> = problems
        .list
        .iter()
        .map(|problem| (problem.key.as_str(), &problem.place))
        .collect();
    let file = |line, column| Place::File { line, column };
    let expected = [
        ("policy.from_scratch.n_heads", &file(2, 9)),
        ("policy.from_scratch.n_head", &file(6, 1)),
        ("stage.1.steps", &file(25, 9)),
        ("seed", &Place::Override("seed=-1".into())),
    ];
    assert_eq!(found, expected);
}

#[test]
fn an_empty_file_lacks_what_has_no_default() {
    let error = load("", &[]).unwrap_err().to_string();
    let keys: Vec<&str> = error
        .lines()
        .filter_map(|line| line.split('`').nth(1))
        .collect();
    let expected = [
        "name",
        "task",
        "data.train_tokens",
        "reader.chunk_size",
        "reader.max_question_tokens",
        "reader.max_memory_tokens",
        "reader.max_answer_tokens",
        "stage",
    ];
    assert_eq!(keys, expected, "{error}");
}

#[test]
fn files_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    let load = || Experiment::load(&path, &[]);
    let shown = path.display();

    let error = load().unwrap_err();
    assert!(matches!(error, ConfigError::Read { .. }));
    assert!(
        error
            .to_string()
            .starts_with(&format!("cannot read {shown}: ")),
        "{error}"
    );

    std::fs::write(&path, b"name = \"\xc3\xa9\xff\"\n").unwrap();
    let error = load().unwrap_err().to_string();
    // Eight characters and one `é` of two bytes stand before the bad byte.
    assert_eq!(
        error,
        format!("{shown}:1:10: byte 0xff is not UTF-8 (offset 10); save the file as UTF-8")
    );

    std::fs::write(&path, "name = \"a\"\nseed = = 3\n").unwrap();
    let error = load().unwrap_err();
    assert!(
        matches!(
            error,
            ConfigError::Syntax {
                line: 2,
                column: 8,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(
        error
            .to_string()
            .starts_with(&format!("{shown}:2:8: not valid TOML: ")),
        "{error}"
    );

    std::fs::write(&path, "name = \"a\"\nname = \"b\"\n").unwrap();
    let error = load().unwrap_err();
    assert!(
        matches!(error, ConfigError::Syntax { line: 2, .. }),
        "{error:?}"
    );

    std::fs::write(&path, "name = ").unwrap();
    assert!(matches!(
        load().unwrap_err(),
        ConfigError::Syntax { line: 1, .. }
    ));

    // Deep nesting is an error of the parser, not an overflow of the stack.
    std::fs::write(&path, format!("name = {}", "[".repeat(100_000))).unwrap();
    assert!(matches!(load().unwrap_err(), ConfigError::Syntax { .. }));

    std::fs::write(&path, BASE).unwrap();
    assert_eq!(load().unwrap().name, "small");
}

/// Values of every type, sensible and not.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|x| format!("{x:?}").replace("NaN", "nan")),
        (0_usize..50).prop_map(|n| n.to_string()),
        Just("true".into()),
        Just("[]".into()),
        Just("[1, [2]]".into()),
        Just("{ kind = \"rl\", steps = 1 }".into()),
        "[ -~é]{0,12}".prop_map(|text| format!("{text:?}")),
        "[ -~é]{0,12}",
    ]
}

proptest! {
    /// Whatever is written, the file loads and loads back, or every complaint has a text.
    #[test]
    fn no_file_causes_a_panic(
        lines in prop::collection::vec((0_usize..40, value()), 0..4),
        dropped in prop::collection::vec(0_usize..40, 0..4),
        overridden in prop::collection::vec((0_usize..400, value()), 0..3),
    ) {
        let mut text: Vec<String> = BASE.lines().map(String::from).collect();
        for (idx, value) in lines {
            let idx = idx % text.len();
            if let Some((key, _)) = text[idx].clone().split_once(" = ") {
                text[idx] = format!("{key} = {value}");
            }
        }
        for idx in dropped {
            text.remove(idx % text.len());
        }
        let keys = keys();
        let overrides: Vec<String> = overridden
            .into_iter()
            .map(|(idx, value)| format!("{}={value}", settable(&keys[idx % keys.len()].path)))
            .collect();
        let overrides: Vec<&str> = overrides.iter().map(String::as_str).collect();
        match load(&text.join("\n"), &overrides) {
            Ok(experiment) => {
                experiment.derived();
                let resolved = experiment.resolved_toml();
                prop_assert_eq!(load(&resolved, &[]).unwrap(), experiment);
            }
            Err(ConfigError::Invalid(problems)) => {
                prop_assert!(!problems.list.is_empty());
                prop_assert!(problems.list.iter().all(|problem| !problem.message.is_empty()));
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}

/// A documented path as `--set` takes it, list entries being the second.
fn settable(path: &str) -> String {
    let names = path.split('.').map(|name| match name.split('<').next() {
        Some("N") => "1",
        Some(name) => name,
        None => "",
    });
    names.collect::<Vec<_>>().join(".")
}
