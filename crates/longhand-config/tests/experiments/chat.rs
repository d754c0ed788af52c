//! `[reader] chat`, `system` and `[reader.chat_variables]`: what they become, and their complaints.

use longhand_config::{ChatMode, ChatSettings, differences};
use serde_json::json;

use crate::{BASE, load};

/// The base with a policy from a folder, which may have a chat template.
fn with_folder() -> String {
    let (before, behind) = BASE.split_once("[policy.from_scratch]\n").unwrap();
    let (_, behind) = behind.split_once("[task]").unwrap();
    format!("{before}[policy]\npath = \"folder\"\n[task]{behind}")
}

#[track_caller]
fn chat(overrides: &[&str]) -> ChatSettings {
    let experiment = load(&with_folder(), overrides);
    experiment.unwrap_or_else(|error| panic!("{error}")).chat
}

#[track_caller]
fn refuse(text: &str, overrides: &[&str], expected: &str) {
    let found = load(text, overrides).map(|_| ()).unwrap_err().to_string();
    assert_eq!(found, expected);
}

#[test]
fn the_template_of_the_folder_is_used_unless_something_else_is_said() {
    assert_eq!(chat(&[]), ChatSettings::default());
    assert_eq!(load(BASE, &[]).unwrap().chat, ChatSettings::default());
    for (name, mode) in [
        ("auto", ChatMode::Auto),
        ("always", ChatMode::Always),
        ("never", ChatMode::Never),
    ] {
        assert_eq!(chat(&[&format!("reader.chat={name}")]).mode, mode);
    }
    let system = chat(&["reader.system=Be brief."]).system;
    assert_eq!(system.as_deref(), Some("Be brief."));
}

#[test]
fn variables_are_any_values_that_toml_and_json_both_have() {
    let table =
        "reader.chat_variables={ enable_thinking = false, n = 3, x = 0.5, a = { b = [\"c\", 1] } }";
    let found = chat(&[table, "reader.chat_variables.date_string=26 Jul 2024"]);
    let expected = json!({
        "enable_thinking": false, "n": 3, "x": 0.5, "a": { "b": ["c", 1] }, "date_string": "26 Jul 2024",
    });
    assert_eq!(serde_json::Value::Object(found.variables), expected);
    // They come back from a resolved file, and are told apart key by key.
    let experiment = load(&with_folder(), &[table]).unwrap();
    let resolved = experiment.resolved_toml();
    assert!(resolved.contains("[reader.chat_variables]\n"), "{resolved}");
    assert_eq!(load(&resolved, &[]).unwrap(), experiment);
    let other = load(&with_folder(), &[table, "reader.chat_variables.n=4"]).unwrap();
    let found: Vec<String> = differences(&experiment, &other)
        .into_iter()
        .map(|difference| difference.key)
        .collect();
    assert_eq!(found, ["reader.chat_variables.n"]);
}

#[test]
fn each_bad_value_is_named_placed_and_mended() {
    let text = with_folder().replace(
        "[[stage]]\nkind = \"warm",
        "[reader.chat_variables]\nday = 2026-11-01\nlist = [1, nan]\n[[stage]]\nkind = \"warm",
    );
    refuse(
        &text,
        &[],
        "a.toml:15:7: `reader.chat_variables.day`: expected text, a number, true or false, a list or a table, \
         found the date 2026-11-01\n\
         a.toml:16:12: `reader.chat_variables.list.1`: expected a finite number, found NaN",
    );
    refuse(
        &with_folder(),
        &["reader.chat_variables=3"],
        "--set reader.chat_variables=3: `reader.chat_variables`: expected a table of any keys and values, found 3",
    );
    refuse(
        &with_folder(),
        &["reader.chat=yes"],
        "--set reader.chat=yes: `reader.chat`: unknown name \"yes\"; expected one of \"auto\", \"always\", \"never\"",
    );
    refuse(
        &with_folder(),
        &["reader.chat_variables.messages=[]"],
        "--set reader.chat_variables.messages=[]: `reader.chat_variables.messages`: `messages` is given by the \
         program; remove it",
    );
}

#[test]
fn settings_without_effect_are_refused() {
    let never = ["reader.chat=never", "reader.system=x"];
    refuse(
        &with_folder(),
        &never,
        "--set reader.system=x: `reader.system`: has no effect with reader.chat = \"never\"; remove it",
    );
    let scratch = "with a policy made from scratch, which has no chat template";
    refuse(
        BASE,
        &["reader.chat=always"],
        &format!(
            "--set reader.chat=always: `reader.chat`: \"always\" cannot be done {scratch}; use \"auto\" or \"never\""
        ),
    );
    refuse(
        BASE,
        &["reader.chat_variables.n=1"],
        &format!(
            "--set reader.chat_variables.n=1: `reader.chat_variables`: has no effect {scratch}; remove it"
        ),
    );
    assert!(load(BASE, &["reader.chat=never"]).is_ok());
}
