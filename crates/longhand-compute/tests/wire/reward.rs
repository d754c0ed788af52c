//! Rewards.

use super::check as check_kind;
use longhand_compute::Kind;

#[track_caller]
fn check(line: &str, expected: &str) {
    check_kind(Kind::Reward, line, expected);
}

#[test]
fn checkers() {
    check(
        r#"{"reward": "exact-match", "prediction": "The Beatles!", "answers": ["x", "beatles"]}"#,
        r#"{"reward": 1}"#,
    );
    check(
        r#"{"reward": "exact-match", "prediction": "", "answers": ["x"]}"#,
        r#"{"reward": 0}"#,
    );
    // One shared word of 2 and of 3.
    check(
        r#"{"reward": "token-f1", "prediction": "green car", "answers": ["car of Tom"]}"#,
        r#"{"reward": 0.4}"#,
    );
    check(
        r#"{"reward": "contains", "prediction": "It was Paris.", "answers": ["paris"]}"#,
        r#"{"reward": 1}"#,
    );
    check(
        r#"{"reward": "contains", "prediction": "Paris", "answers": ["in Paris"]}"#,
        r#"{"reward": 0}"#,
    );
    check(
        r#"{"reward": "numeric", "prediction": "50%", "answers": ["1/2"]}"#,
        r#"{"reward": 1}"#,
    );
    check(
        r#"{"reward": "numeric", "prediction": "0.333", "answers": ["1/3"]}"#,
        r#"{"reward": 0}"#,
    );
    check(
        r#"{"reward": "exact-match", "prediction": "\u00c9\ud83d\ude00", "answers": ["é😀"]}"#,
        r#"{"reward": 1}"#,
    );
}

#[test]
fn boxed() {
    check(
        r#"{"reward": "boxed", "prediction": "$\\boxed{\\frac{1}{2}}$", "answers": ["0.5"]}"#,
        r#"{"reward": 1, "extracted": "\\frac{1}{2}"}"#,
    );
    check(
        r#"{"reward": "boxed", "prediction": "1/2", "answers": ["0.5"]}"#,
        r#"{"reward": 0, "extracted": null}"#,
    );
    check(
        r#"{"reward": "boxed", "prediction": "\\boxed{X}", "answers": ["x"], "options": {"lowercase": false}}"#,
        r#"{"reward": 0, "extracted": "X"}"#,
    );
    check(
        r#"{"reward": "boxed", "prediction": "\\boxed{X} then", "answers": ["x"], "options": {"last_chars": 13}}"#,
        r#"{"reward": 0, "extracted": null}"#,
    );
    check(
        r#"{"reward": "boxed", "prediction": "\\boxed{X} then", "answers": ["x"], "options": {"last_chars": 14}}"#,
        r#"{"reward": 1, "extracted": "X"}"#,
    );
}

#[test]
fn teacher_aligned() {
    check(
        r#"{"reward": "teacher-aligned", "token_probs": [[0.5, 0.25], [], [1]]}"#,
        r#"{"reward": [0.375, 0, 1]}"#,
    );
    check(
        r#"{"reward": "teacher-aligned", "token_probs": [[0.5, 0.25], []], "options": {"length_norm": false}}"#,
        r#"{"reward": [0.75, 0]}"#,
    );
    check(
        r#"{"reward": "teacher-aligned", "token_probs": []}"#,
        r#"{"reward": []}"#,
    );
}

#[test]
fn overlong() {
    // 1 / 4096 = .000244.
    check(
        r#"{"reward": "overlong", "lengths": [0, 16384, 16385, 18432, 20480, 20481]}"#,
        r#"{"reward": [0, 0, -0.000244, -0.5, -1, -1]}"#,
    );
    check(
        r#"{"reward": "overlong", "lengths": [5, 8, 10, 12], "options": {"max": 10, "buffer": 4, "form": "slope"}}"#,
        r#"{"reward": [0, -0.5, -1, -1.5]}"#,
    );
    check(
        r#"{"reward": "overlong", "lengths": [10, 11], "options": {"max": 10, "buffer": 0}}"#,
        r#"{"reward": [0, -1]}"#,
    );
}
