//! `longhand logprobs`: what a model says of given tokens.

use serde_json::{Value, json};

use crate::fixture::{Call, Place};

fn quickstart_policy() -> String {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../configs/quickstart-policy"
    );
    path.to_string()
}

fn logprobs(place: &Place, lines: &[Value], more: &[&str]) -> Call {
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    let model = quickstart_policy();
    let arguments = [&["logprobs", model.as_str()], more].concat();
    place.call(&arguments, lines.join("\n"))
}

fn answers(call: &Call) -> Vec<Value> {
    let lines = call.out.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("a JSON object a line"))
        .collect()
}

fn numbers(value: &Value, key: &str) -> Vec<f64> {
    let list = value[key].as_array().unwrap_or_else(|| panic!("{value}"));
    list.iter().map(|number| number.as_f64().unwrap()).collect()
}

#[test]
fn every_token_is_scored_in_order_whatever_stands_beside_it() {
    let place = Place::new();
    let lines = [
        json!({"id": "a", "prompt_ids": [7, 8, 9], "completion_ids": [10, 11, 1]}),
        json!({"id": 2, "prompt_ids": [7, 8, 9, 10], "completion_ids": [11]}),
        json!({"prompt_ids": [12], "completion_ids": []}),
        json!({"prompt_ids": [12], "completion_ids": [13, 14]}),
    ];
    let call = logprobs(&place, &lines, &[]);
    let together = answers(&call);
    assert_eq!((call.code, together.len()), (0, 4), "{call:?}");
    assert_eq!(together[0]["id"], "a");
    assert_eq!(together[1]["id"], 2);
    assert_eq!(together[0]["completion_ids"], json!([10, 11, 1]));
    assert_eq!(together[0]["n_prompt_tokens"], 3);
    for key in ["logprobs", "entropies", "self_certainties"] {
        assert_eq!(numbers(&together[0], key).len(), 3);
        assert_eq!(numbers(&together[2], key).len(), 0);
    }
    // The second token of the first line is the first of the second.
    assert_eq!(together[0]["logprobs"][1], together[1]["logprobs"][0]);
    for line in &together {
        assert!(numbers(line, "logprobs").iter().all(|lp| *lp < 0.0));
        // Neither an entropy nor a divergence is negative, but for rounding; the former is at most ln 106.
        let entropies = numbers(line, "entropies");
        assert!(entropies.iter().all(|h| (-1e-5..4.67).contains(h)));
        assert!(numbers(line, "self_certainties").iter().all(|c| -1e-5 < *c));
    }
    // One line a pass, and from a file.
    let text: Vec<String> = lines.iter().map(Value::to_string).collect();
    place.write("lines.jsonl", text.join("\n"));
    let alone = logprobs(&place, &[], &["lines.jsonl", "--batch-tokens", "1"]);
    assert_eq!(answers(&alone), together);
    let warmer = answers(&logprobs(&place, &lines, &["--temperature", "2"]));
    assert_ne!(warmer[0]["logprobs"], together[0]["logprobs"]);
    assert!(numbers(&together[0], "entropies") < numbers(&warmer[0], "entropies"));
}

#[test]
fn text_is_cut_into_the_tokens_that_are_said() {
    let place = Place::new();
    let call = logprobs(
        &place,
        &[json!({"prompt": "<q> which", "completion": "<eos>"})],
        &[],
    );
    let line = &answers(&call)[0];
    assert_eq!(line["completion_ids"], json!([1]), "{line}");
    assert_eq!(line["n_prompt_tokens"], 2);
}

#[test]
fn a_line_that_cannot_be_scored_is_answered_in_its_place() {
    let place = Place::new();
    let good = json!({"prompt_ids": [7], "completion_ids": [8]});
    let check = |line: Value, expected: &str| {
        let call = logprobs(&place, &[good.clone(), line, good.clone()], &[]);
        let answers = answers(&call);
        assert_eq!((call.code, answers.len()), (1, 3), "{call:?}");
        let error = answers[1]["error"].as_str().unwrap_or_default();
        assert!(error.contains(expected), "{error}");
        assert_eq!(answers[0], answers[2]);
    };
    check(
        json!({"completion_ids": [8]}),
        "`prompt`, `prompt_ids` and `messages`",
    );
    check(
        json!({"prompt": "a", "prompt_ids": [7], "completion": "b"}),
        "one of",
    );
    check(json!({"prompt_ids": [7]}), "`completion_ids`");
    check(json!({"prompt_ids": [], "completion_ids": [8]}), "no token");
    check(
        json!({"prompt_ids": [7], "completion_ids": [106]}),
        "no id 106",
    );
    check(
        json!({"prompt_ids": vec![7; 128], "completion_ids": [8]}),
        "window is 128",
    );
    check(
        json!({"prompt_ids": [-1], "completion_ids": [8]}),
        "not a line to score",
    );
    check(json!([1, 2]), "not a line to score");
    let message = json!([{"role": "user", "content": "hello"}]);
    check(
        json!({"messages": message, "completion_ids": [8]}),
        "no chat template",
    );

    let model = quickstart_policy();
    let call = place.call(&["logprobs", &model, "absent.jsonl"], "");
    call.fails(1, &["cannot read absent.jsonl"]);
    let call = place.call(&["logprobs", &model, "--temperature", "0"], "");
    call.fails(2, &["--temperature"]);
    place.longhand("logprobs absent").fails(2, &["absent"]);
}
