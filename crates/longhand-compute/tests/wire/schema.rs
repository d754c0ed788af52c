//! The schema is what is accepted: every default, given, changes nothing.

use super::answer;
use longhand_compute::{Kind, schema};
use serde_json::{Map, Value};

/// A line for every method, with all its fields and no options.
fn sample(kind: Kind, name: &str) -> String {
    let rewards = r#""rewards": [[1, 0, 0.5], [0.25, 1]]"#;
    let mask = r#""loss_mask": [[1, 0, 1], [1, 1]]"#;
    let fields = match (kind, name) {
        (Kind::Advantage, "opo" | "reinforce-plus-plus-baseline") => {
            format!(r#"{rewards}, "lengths": [[1, 2, 3], [4, 5]]"#)
        }
        (Kind::Advantage, "gae") => {
            format!(r#"{rewards}, {mask}, "values": [[0.5, 1, 0], [0.25, 1]]"#)
        }
        (Kind::Advantage, "gdpo" | "circa") => {
            r#""rewards": [[[1, 0.5], [0, null], [0.5, 0]], [[0.25, 1], [1, 0]]], "lengths": [[1, 2, 3], [4, 5]]"#
                .to_owned()
        }
        (Kind::Advantage, "reinforce-plus-plus") => format!("{rewards}, {mask}"),
        (Kind::Advantage, "tamtrl") => {
            r#""turn_scores": [[[0.9, 0.7], [0.8]], [[0.3]]], "outcomes": [[1, 0], [1]]"#.to_owned()
        }
        (Kind::Advantage, _) => rewards.to_owned(),
        (Kind::Objective, _) => {
            let logprobs = [
                "logprobs",
                "old_logprobs",
                "ref_logprobs",
                "rollout_logprobs",
                "entropies",
            ]
            .iter()
            .zip(["-1", "-1.3", "-2", "-0.4", "0.7"])
            .map(|(name, x)| format!(r#""{name}": [[{x}, -2, -3], [-1, {x}]]"#));
            let logprobs: Vec<String> = logprobs.collect();
            format!(
                r#"{}, {mask}, "advantages": [[1, 1, -1], [-2, 0.5]], "micro_batches": [1, 1]"#,
                logprobs.join(", ")
            )
        }
        (Kind::Reward, "teacher-aligned") => r#""token_probs": [[0.5, 0.25], [1]]"#.to_owned(),
        (Kind::Reward, "cluster-vote") => r#""answers": ["5", "5.0", null, "7"]"#.to_owned(),
        (Kind::Reward, "majority-vote") => {
            r#""answers": ["5", "5.0", null, "7"], "truth": "5""#.to_owned()
        }
        (Kind::Reward, "self-certainty" | "entropy") => {
            let logits = r#""logits": [[[2, 1], [0, 1], [3, 1]]], "loss_mask": [[1, 0]]"#;
            let answer = r#", "has_answer": [0]"#;
            let answer = if name == "entropy" { answer } else { "" };
            format!("{logits}{answer}")
        }
        (Kind::Reward, "overlong") => r#""lengths": [1, 17000, 30000]"#.to_owned(),
        (Kind::Reward, _) => r#""prediction": "so \\boxed{X}", "answers": ["x", "1"]"#.to_owned(),
    };
    format!(
        r#"{{"{}": "{name}", {fields}}}"#,
        schema()[kind.name()]["named_by"].as_str().unwrap()
    )
}

fn each_method(mut check: impl FnMut(Kind, &str, &Value)) {
    for kind in Kind::ALL {
        let schema = schema();
        for (name, method) in schema[kind.name()]["methods"].as_object().unwrap() {
            check(kind, name, method);
        }
    }
}

#[test]
fn every_method_is_there() {
    let mut names = Vec::new();
    each_method(|kind, name, _| names.push(format!("{} {name}", kind.name())));
    let expected = [
        "advantage grpo",
        "advantage dr-grpo",
        "advantage memagent",
        "advantage rloo",
        "advantage reinforce-plus-plus",
        "advantage reinforce-plus-plus-baseline",
        "advantage opo",
        "advantage gae",
        "advantage tamtrl",
        "advantage gdpo",
        "advantage circa",
        "objective ppo-clip",
        "objective gspo",
        "objective cispo",
        "objective kl-cov",
        "objective clip-cov",
        "objective stare",
        "reward exact-match",
        "reward token-f1",
        "reward contains",
        "reward boxed",
        "reward numeric",
        "reward answer-equivalence",
        "reward teacher-aligned",
        "reward overlong",
        "reward cluster-vote",
        "reward majority-vote",
        "reward self-certainty",
        "reward entropy",
    ];
    assert_eq!(names, expected);
}

#[test]
fn fields_and_results_are_those_of_the_tables() {
    each_method(|kind, name, method| {
        let line = sample(kind, name);
        let fields = method["fields"].as_object().unwrap();
        let given: Map<String, Value> = serde_json::from_str(&line).unwrap();
        assert_eq!(
            given.len(),
            fields.len() + 1,
            "{name}: the sample has every field"
        );
        let found = answer(kind, &line);
        let gives: Vec<&String> = method["gives"].as_object().unwrap().keys().collect();
        let keys: Vec<&String> = found.as_object().unwrap().keys().collect();
        assert_eq!(keys, gives, "{name}");
        for (field, entry) in fields {
            let mut without = given.clone();
            without.remove(field);
            let found = answer(kind, &Value::Object(without).to_string());
            let is_missed = found["error"]
                .as_str()
                .is_some_and(|e| e.contains("is missing"));
            assert_eq!(
                entry["required"].as_bool(),
                Some(is_missed),
                "{name}: {field}"
            );
        }
    });
}

#[test]
fn every_default_given_changes_nothing_and_every_name_is_accepted() {
    each_method(|kind, name, method| {
        let mut line: Map<String, Value> = serde_json::from_str(&sample(kind, name)).unwrap();
        let plain = answer(kind, &Value::Object(line.clone()).to_string());
        let options = method["options"].as_object().unwrap();
        let defaults = options
            .iter()
            .map(|(option, entry)| (option.clone(), entry["default"].clone()));
        line.insert("options".to_owned(), Value::Object(defaults.collect()));
        assert_eq!(
            answer(kind, &Value::Object(line.clone()).to_string()),
            plain,
            "{name}"
        );
        for (option, entry) in options {
            let mut try_value = |value: Value| {
                line.insert("options".to_owned(), serde_json::json!({option: value}));
                answer(kind, &Value::Object(line.clone()).to_string())
            };
            for value in entry["names"].as_array().into_iter().flatten() {
                let found = try_value(value.clone());
                assert!(
                    found.get("error").is_none(),
                    "{name} {option} {value}: {found}"
                );
            }
            let null_is_fine = try_value(Value::Null).get("error").is_none();
            assert_eq!(
                entry["null"].as_bool(),
                Some(null_is_fine),
                "{name} {option}"
            );
        }
    });
}

#[test]
fn the_documentation_names_everything() {
    let documentation = include_str!("../../src/lib.rs");
    each_method(|_, name, method| {
        assert!(documentation.contains(&format!("`{name}`")), "{name}");
        for (option, entry) in method["options"].as_object().unwrap() {
            assert!(
                documentation.contains(&format!("`{option}`")),
                "{name} {option}"
            );
            for value in entry["names"].as_array().into_iter().flatten() {
                let value = value.as_str().unwrap();
                assert!(
                    documentation.contains(&format!("`{value}`")),
                    "{name} {option} {value}"
                );
            }
        }
        for field in method["fields"].as_object().unwrap().keys() {
            assert!(documentation.contains(field), "{name} {field}");
        }
    });
}
