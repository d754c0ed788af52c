//! What goes wrong names its place.

use super::check_error;
use longhand_compute::Kind;
use longhand_compute::Kind::{Advantage, Objective, Reward};

#[test]
fn lines_that_are_no_object() {
    for kind in Kind::ALL {
        check_error(kind, "\n", &["empty"]);
        check_error(kind, "  \t\r\n", &["empty"]);
        check_error(kind, "[1]", &["the line is a list", "JSON object"]);
        check_error(kind, "3", &["the line is 3"]);
        check_error(kind, "nonsense", &["the line", "column 2"]);
        check_error(kind, "{} {}", &["the line", "trailing"]);
        check_error(kind, &"[".repeat(100_000), &["recursion limit"]);
        check_error(kind, r#"{"a": [[[1"#, &["`a[0][0]`", "EOF"]);
        check_error(kind, r#"{"é": "ÿ"#, &["`é`", "EOF"]);
    }
}

#[test]
fn numbers_that_are_not_finite() {
    check_error(
        Advantage,
        r#"{"estimator": "grpo", "rewards": [[1, 0], [1, NaN]]}"#,
        &["`rewards[1][1]`", "finite"],
    );
    check_error(
        Advantage,
        r#"{"estimator": "grpo", "rewards": [[Infinity]]}"#,
        &["`rewards[0][0]`", "finite"],
    );
    check_error(
        Advantage,
        r#"{"estimator": "grpo", "rewards": [[-Infinity]]}"#,
        &["`rewards[0][0]`", "finite"],
    );
    check_error(
        Advantage,
        r#"{"estimator": "grpo", "rewards": [[0, 1e999]]}"#,
        &["`rewards[0][1]`", "out of range"],
    );
    check_error(
        Advantage,
        r#"{"estimator": "grpo", "rewards": [[null]]}"#,
        &["`rewards[0][0]` is null", "a number"],
    );
    check_error(
        Advantage,
        r#"{"estimator": "grpo", "rewards": [[1e308, -1e308]]}"#,
        &["the result `advantages[0][0]`"],
    );
}

#[test]
fn unknown_names_come_with_a_suggestion() {
    check_error(
        Advantage,
        r#"{"estimator": "gropo", "rewards": [[1]]}"#,
        &[
            "unknown `estimator` `gropo`",
            "did you mean `grpo`?",
            "tamtrl",
        ],
    );
    check_error(
        Advantage,
        r#"{"rewards": [[1]]}"#,
        &["`estimator` is missing", "rloo"],
    );
    check_error(
        Advantage,
        r#"{"estimator": 3}"#,
        &["`estimator` is 3", "a string"],
    );
    check_error(
        Objective,
        r#"{"objective": "ppo_clop"}"#,
        &["did you mean `ppo-clip`?"],
    );
    check_error(
        Objective,
        r#"{"objective": "dpo"}"#,
        &["unknown `objective` `dpo`"],
    );
    check_error(
        Reward,
        r#"{"reward": "self-doubt"}"#,
        &["unknown `reward` `self-doubt`"],
    );
    check_error(
        Reward,
        &format!(r#"{{"reward": "{}"}}"#, "x".repeat(5_000_000)),
        &["xxx…"],
    );
    check_error(
        Advantage,
        r#"{"estimator": "grpo", "reward": [[1]]}"#,
        &[
            "unknown field of `grpo` `reward`",
            "did you mean `rewards`?",
        ],
    );
    check_error(
        Advantage,
        r#"{"estimator": "grpo", "rewards": [[1]], "lengths": [[1]]}"#,
        &["unknown field of `grpo` `lengths`"],
    );
    check_error(
        Advantage,
        r#"{"estimator": "grpo", "rewards": [[1]], "options": {"epss": 1}}"#,
        &["unknown option of `grpo` `epss`", "did you mean `eps`?"],
    );
    check_error(
        Advantage,
        r#"{"estimator": "rloo", "rewards": [[1]], "options": {"eps": 1}}"#,
        &["unknown option of `rloo` `eps`", "none here"],
    );
    check_error(
        Advantage,
        r#"{"estimator": "grpo", "rewards": [[1]], "options": {"scale": "batchh"}}"#,
        &["`options.scale`", "did you mean `batch`?"],
    );
    check_error(
        Advantage,
        r#"{"estimator": "grpo", "rewards": [[1]], "rewards": [[2]]}"#,
        &["`rewards` appears twice"],
    );
}

#[test]
fn missing_fields_and_wrong_types() {
    check_error(
        Advantage,
        r#"{"estimator": "grpo"}"#,
        &["`rewards` is missing", "[problem][attempt]"],
    );
    check_error(
        Advantage,
        r#"{"estimator": "opo", "rewards": [[1]]}"#,
        &["`lengths` is missing"],
    );
    check_error(
        Advantage,
        r#"{"estimator": "gae", "rewards": [[1]], "values": [[1]]}"#,
        &["`loss_mask` is missing"],
    );
    check_error(
        Advantage,
        r#"{"estimator": "grpo", "rewards": [1]}"#,
        &["`rewards[0]` is 1", "a list"],
    );
    check_error(
        Advantage,
        r#"{"estimator": "grpo", "rewards": [[1, "0"]]}"#,
        &["`rewards[0][1]` is the string \"0\"", "a number"],
    );
    check_error(
        Advantage,
        r#"{"estimator": "grpo", "rewards": [[1]], "options": []}"#,
        &["`options` is a list"],
    );
    check_error(
        Advantage,
        r#"{"estimator": "grpo", "rewards": [[1]], "options": {"eps": "x"}}"#,
        &["`options.eps`", "at least 0"],
    );
    check_error(
        Advantage,
        r#"{"estimator": "grpo", "rewards": [[1]], "options": {"eps": -1}}"#,
        &["`options.eps` is -1"],
    );
    check_error(
        Advantage,
        r#"{"estimator": "grpo", "rewards": [[1]], "options": {"eps": null}}"#,
        &["`options.eps` is null"],
    );
    check_error(
        Advantage,
        r#"{"estimator": "opo", "rewards": [[1]], "lengths": [[1.5]]}"#,
        &["`lengths[0][0]` is 1.5", "whole"],
    );
    check_error(
        Advantage,
        r#"{"estimator": "opo", "rewards": [[1]], "lengths": [[-1]]}"#,
        &["`lengths[0][0]` is -1"],
    );
    check_error(
        Advantage,
        r#"{"estimator": "opo", "rewards": [[1]], "lengths": [[1e18]]}"#,
        &["`lengths[0][0]`"],
    );
    check_error(
        Advantage,
        r#"{"estimator": "reinforce-plus-plus", "rewards": [[1]], "loss_mask": [[2]]}"#,
        &["`loss_mask[0][0]` is 2", "true, false, 1 or 0"],
    );
    check_error(
        Advantage,
        r#"{"estimator": "reinforce-plus-plus", "rewards": [[1]], "loss_mask": [[1]], "options": {"gamma": 1.1}}"#,
        &["`options.gamma` is 1.1", "from 0 to 1"],
    );
    check_error(
        Reward,
        r#"{"reward": "exact-match", "prediction": 3, "answers": ["3"]}"#,
        &["`prediction` is 3", "a string"],
    );
    check_error(
        Reward,
        r#"{"reward": "exact-match", "prediction": "3", "answers": "3"}"#,
        &["`answers`", "a list"],
    );
    check_error(
        Reward,
        r#"{"reward": "exact-match", "prediction": "3", "answers": [3]}"#,
        &["`answers[0]` is 3"],
    );
    check_error(
        Reward,
        r#"{"reward": "numeric", "prediction": "3", "answers": []}"#,
        &["`answers` is empty"],
    );
    check_error(
        Reward,
        r#"{"reward": "teacher-aligned", "token_probs": [[0.5], [-0.5]]}"#,
        &["`token_probs[1][0]` is -0.5", "probability"],
    );
    check_error(
        Reward,
        r#"{"reward": "overlong", "lengths": [1], "options": {"max": 10}}"#,
        &["`max` and `buffer`"],
    );
    check_error(
        Reward,
        r#"{"reward": "overlong", "lengths": [1], "options": {"max": 10, "buffer": 0, "form": "slope"}}"#,
        &["`buffer` = 0"],
    );
}

#[test]
fn shapes_that_do_not_match() {
    check_error(
        Advantage,
        r#"{"estimator": "opo", "rewards": [[1, 0], [1]], "lengths": [[1, 1], [1, 1]]}"#,
        &["`lengths[1]` has 2 entries", "`rewards[1]` has 1"],
    );
    check_error(
        Advantage,
        r#"{"estimator": "reinforce-plus-plus-baseline", "rewards": [[1]], "lengths": []}"#,
        &["`lengths` has 0 entries", "`rewards` has 1"],
    );
    check_error(
        Advantage,
        r#"{"estimator": "gae", "rewards": [[1]], "values": [[1, 2]], "loss_mask": [[1]]}"#,
        &["`values[0]` has 2"],
    );
    check_error(
        Advantage,
        r#"{"estimator": "tamtrl", "turn_scores": [[[0.5], [0.5]]], "outcomes": [[1]]}"#,
        &["`outcomes[0]` has 1 entries", "`turn_scores[0]` has 2"],
    );
    let line = |changed: &str, value: &str| {
        let field = |name: &str, usual: &str| {
            let value = if name == changed { value } else { usual };
            format!("\"{name}\": {value}")
        };
        let numbers = [
            "logprobs",
            "old_logprobs",
            "advantages",
            "ref_logprobs",
            "rollout_logprobs",
        ];
        let mut fields: Vec<String> = numbers.map(|name| field(name, "[[-1, -2], []]")).into();
        fields.push(field("loss_mask", "[[1, 0], []]"));
        format!(r#"{{"objective": "ppo-clip", {}}}"#, fields.join(", "))
    };
    for name in [
        "old_logprobs",
        "advantages",
        "ref_logprobs",
        "rollout_logprobs",
        "loss_mask",
    ] {
        let place = format!("`{name}[0]` has 1 entries");
        check_error(
            Objective,
            &line(name, "[[1], []]"),
            &[&place, "`logprobs[0]` has 2"],
        );
        let place = format!("`{name}` has 1 entries");
        check_error(Objective, &line(name, "[[1, 1]]"), &[&place]);
    }
}

#[test]
fn options_that_need_a_field_or_exclude_each_other() {
    let line = |options: &str| {
        format!(
            r#"{{"objective": "ppo-clip", "logprobs": [[-1]], "old_logprobs": [[-1]], "advantages": [[1]], "loss_mask": [[1]], "options": {{{options}}}}}"#
        )
    };
    check_error(
        Objective,
        &line(r#""kl": "k3""#),
        &["`ref_logprobs` is missing", "`kl` = `k3`"],
    );
    check_error(
        Objective,
        &line(r#""importance": "token""#),
        &["`rollout_logprobs` is missing", "`importance` = `token`"],
    );
    check_error(
        Objective,
        &line(r#""denominator": 2, "norm_length": 3"#),
        &["`denominator` and `norm_length`"],
    );
    check_error(
        Objective,
        &line(r#""denominator": 0"#),
        &["`options.denominator` is 0", "above 0 or null"],
    );
    check_error(
        Objective,
        &line(r#""dual_clip": 1"#),
        &["`options.dual_clip` is 1", "above 1 or null"],
    );
    check_error(
        Objective,
        &line(r#""kl_clamp": 1"#),
        &["`options.kl_clamp` is 1", "true or false"],
    );
    check_error(
        Objective,
        &line(r#""aggregation": "token_mean""#),
        &["did you mean `token-mean`?"],
    );
}
