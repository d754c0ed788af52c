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

#[test]
fn answer_equivalence() {
    check(
        r#"{"reward": "answer-equivalence", "prediction": "\\frac{1}{2}", "answers": ["2", "50\\%"]}"#,
        r#"{"reward": 1, "verdict": "equal"}"#,
    );
    check(
        r#"{"reward": "answer-equivalence", "prediction": "50\\%", "answers": ["1/2"], "options": {"percent": "sign"}}"#,
        r#"{"reward": 0, "verdict": "different"}"#,
    );
    check(
        r#"{"reward": "answer-equivalence", "prediction": "10^10^10", "answers": ["1"]}"#,
        r#"{"reward": 0, "verdict": "unknown"}"#,
    );
    check(
        r#"{"reward": "answer-equivalence", "prediction": "(x+1)^2", "answers": ["x^2+2x+1"], "options": {"steps": 3}}"#,
        r#"{"reward": 0, "verdict": "unknown"}"#,
    );
}

// By hand: two of three read answers agree.
#[test]
fn cluster_vote() {
    check(
        r#"{"reward": "cluster-vote", "answers": ["5", "5.0", "7", null]}"#,
        r#"{"reward": [0.6666667, 0.6666667, 0.3333333, 0], "clusters": [0, 0, 1, null], "sizes": [2, 1]}"#,
    );
    check(
        r#"{"reward": "cluster-vote", "answers": ["5", "5.0", null], "options": {"relation": "string", "unread": "missing"}}"#,
        r#"{"reward": [0.5, 0.5, null], "clusters": [0, 1, null], "sizes": [1, 1]}"#,
    );
    check(
        r#"{"reward": "cluster-vote", "answers": ["1/2", "\\frac12", "0.5"], "options": {"relation": "numeric"}}"#,
        r#"{"reward": [0.6666667, 0.3333333, 0.6666667], "sizes": [2, 1]}"#,
    );
    check(
        r#"{"reward": "cluster-vote", "answers": []}"#,
        r#"{"reward": [], "clusters": [], "sizes": []}"#,
    );
}

#[test]
fn majority_vote() {
    check(
        r#"{"reward": "majority-vote", "answers": ["7", "5", "5.0", null], "truth": "7"}"#,
        r#"{"reward": [0, 1, 1, 0], "label": "5", "distinct": 2, "largest_share": 0.6666667,
            "label_is_right": false, "reward_accuracy": 0.25}"#,
    );
    // The paper's code counts strings: 7 wins 2 to 1 to 1 to 1.
    check(
        r#"{"reward": "majority-vote", "answers": ["5", "7", "5.0", "7", "5.00"], "truth": "7", "options": {"vote": "strings"}}"#,
        r#"{"reward": [0, 1, 0, 1, 0], "label": "7", "distinct": 4, "largest_share": 0.4,
            "label_is_right": true, "reward_accuracy": 1}"#,
    );
    check(
        r#"{"reward": "majority-vote", "answers": [null], "options": {"unread": "missing"}}"#,
        r#"{"reward": [null], "label": null, "distinct": 0, "largest_share": 0,
            "label_is_right": null, "reward_accuracy": null}"#,
    );
}

// numpy: logsumexp([2, 1, 0, -1]) - mean = 1.940190, less log(4) .553895; entropy .947537; of two equal
// logits .693147.
#[test]
fn self_certainty_and_entropy() {
    let rows = "[[[2, 1, 0, -1], [5, 5, 5, 5]]]";
    let line =
        |name: &str, more: &str| format!(r#"{{"reward": "{name}", "logits": {rows}{more}}}"#);
    check(
        &line("self-certainty", ""),
        r#"{"reward": [1.663242], "per_row": [[1.940190, 1.386294]]}"#,
    );
    check(
        &line(
            "self-certainty",
            r#", "loss_mask": [[1]], "options": {"form": "kl"}"#,
        ),
        r#"{"reward": [0.553895], "per_row": [[0.553895, 0]]}"#,
    );
    check(
        &line("self-certainty", r#", "options": {"alignment": "shifted"}"#),
        r#"{"reward": [1.386294]}"#,
    );
    check(
        &line(
            "self-certainty",
            r#", "loss_mask": [[0]], "options": {"empty": "missing"}"#,
        ),
        r#"{"reward": [null]}"#,
    );
    check(
        &line("self-certainty", r#", "loss_mask": [[0]]"#),
        r#"{"reward": [0]}"#,
    );
    // Two logits that are 2 apart: log(exp(2) + 1) - 1 = 1.126928.
    check(
        &line(
            "self-certainty",
            r#", "options": {"temperature": 0.5, "vocabulary": 2}"#,
        ),
        r#"{"per_row": [[1.126928, 0.693147]]}"#,
    );
    check(
        &line("entropy", ""),
        r#"{"reward": [-1.166916], "per_row": [[0.947537, 1.386294]]}"#,
    );
    check(
        &line("entropy", r#", "loss_mask": [[1]], "has_answer": [1]"#),
        r#"{"reward": [-0.947537]}"#,
    );
    check(
        &line("entropy", r#", "has_answer": [0]"#),
        r#"{"reward": [-7]}"#,
    );
    check(
        &line(
            "entropy",
            r#", "has_answer": [0], "options": {"without_answer": null, "vocabulary": 1}"#,
        ),
        r#"{"reward": [0]}"#,
    );
}
