//! `longhand compute`: one line in, one line out.

use serde_json::{Value, json};

use crate::fixture::{Call, Place};

fn compute(kind: &str, lines: impl Into<Vec<u8>>) -> Call {
    Place::new().call(&["compute", kind], lines)
}

fn answers(call: &Call) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).expect("every line is JSON");
    call.out.lines().map(parse).collect()
}

#[test]
fn lines_are_answered_in_order_and_bad_ones_stop_nobody() {
    let lines = concat!(
        "{\"estimator\": \"rloo\", \"rewards\": [[1, 0, 0]]}\n",
        "{\"estimator\": \"rlo\", \"rewards\": [[1]]}\n",
        "not json\n",
        "\n",
        "{\"estimator\": \"grpo\", \"rewards\": [[1, 0]], \"options\": {\"epss\": 3}}\n",
        "{\"estimator\": \"grpo\"}\n",
        "{\"estimator\": \"memagent\", \"rewards\": [[1, 0]]}",
    );
    let call = compute("advantage", lines);
    assert_eq!((call.code, call.err.as_str()), (1, ""));
    let answers = answers(&call);
    assert_eq!(answers.len(), 7);
    assert_eq!(answers[0], json!({"advantages": [[1.0, -0.5, -0.5]]}));
    assert_eq!(answers[6], json!({"advantages": [[0.5, -0.5]]}));
    for (answer, text) in answers[1..6].iter().zip([
        "did you mean `rloo`?",
        "",
        "",
        "did you mean `eps`?",
        "rewards",
    ]) {
        let error = answer["error"].as_str().unwrap();
        assert!(error.contains(text) && !error.is_empty(), "{error}");
    }
}

#[test]
fn good_lines_alone_are_a_success() {
    let call = compute(
        "reward",
        "{\"reward\": \"exact-match\", \"prediction\": \"The pear.\", \"answers\": [\"pear\"]}\n",
    );
    assert_eq!(
        (call.code, answers(&call)[0]["reward"].as_f64()),
        (0, Some(1.0))
    );
    let call = compute(
        "objective",
        "{\"objective\": \"ppo-clip\", \"logprobs\": [[-1, -2]], \"old_logprobs\": [[-1, -2]], \"advantages\": [[2, 2]], \"loss_mask\": [[true, false]]}\n",
    );
    assert_eq!(
        (call.code, &answers(&call)[0]["grad"]),
        (0, &json!([[-2.0, 0.0]]))
    );
    let call = compute("advantage", "");
    assert_eq!((call.code, call.out.as_str()), (0, ""));
}

#[test]
fn bytes_that_are_no_text_and_lines_of_ten_megabytes_are_answered_too() {
    let call = compute(
        "advantage",
        b"\xff\xfe\n{\"estimator\": \"rloo\", \"rewards\": [[1, 1]]}\n".to_vec(),
    );
    assert_eq!(call.code, 1);
    assert!(
        answers(&call)[0]["error"]
            .as_str()
            .unwrap()
            .contains("UTF-8")
    );
    assert_eq!(answers(&call)[1], json!({"advantages": [[0.0, 0.0]]}));

    let long = format!(
        "{{\"estimator\": \"{}\", \"rewards\": [[1]]}}\n",
        "x".repeat(10_000_000)
    );
    let call = compute("advantage", long);
    assert_eq!(call.code, 1);
    assert!(answers(&call)[0]["error"].is_string());
    assert!(
        call.out.len() < 1000,
        "an error does not repeat ten megabytes: {}",
        call.out.len()
    );
}

#[test]
fn the_schema_names_everything() {
    let schema = Place::new().longhand("compute --schema").json();
    for (kind, names) in [
        (
            "advantage",
            [
                "grpo",
                "dr-grpo",
                "memagent",
                "rloo",
                "reinforce-plus-plus",
                "gae",
                "tamtrl",
            ]
            .as_slice(),
        ),
        ("objective", &["ppo-clip", "gspo", "cispo"]),
        (
            "reward",
            &[
                "exact-match",
                "token-f1",
                "contains",
                "boxed",
                "numeric",
                "teacher-aligned",
                "overlong",
            ],
        ),
    ] {
        for name in names {
            assert!(schema[kind]["methods"][name].is_object(), "{kind} {name}");
        }
    }
}
