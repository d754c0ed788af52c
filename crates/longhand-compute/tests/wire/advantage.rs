//! Estimators: golden values from independent numpy scripts, to six digits.

use super::check as check_kind;
use longhand_compute::Kind;

#[track_caller]
fn check(line: &str, expected: &str) {
    check_kind(Kind::Advantage, line, expected);
}

#[test]
fn no_signal_is_zero() {
    for name in [
        "grpo",
        "dr-grpo",
        "memagent",
        "rloo",
        "reinforce-plus-plus-baseline",
    ] {
        check(
            &format!(r#"{{"estimator": "{name}", "rewards": [[1], [0.1, 0.1, 0.1], []]}}"#),
            r#"{"advantages": [[0], [0, 0, 0], []]}"#,
        );
        check(
            &format!(r#"{{"estimator": "{name}", "rewards": []}}"#),
            r#"{"advantages": []}"#,
        );
    }
    check(
        r#"{"estimator": "opo", "rewards": [[1], [1, 0]], "lengths": [[0], [0, 0]]}"#,
        r#"{"advantages": [[0], [0, 0]]}"#,
    );
    check(
        r#"{"estimator": "reinforce-plus-plus", "rewards": [[1, 2], []], "loss_mask": [[false, false], []]}"#,
        r#"{"advantages": [[0, 0], []]}"#,
    );
    check(
        r#"{"estimator": "tamtrl", "turn_scores": [[[0.9, 0.7], []]], "outcomes": [[0, 0]]}"#,
        r#"{"rewards": [[[0, 0, 0], [0]]], "advantages": [[[0, 0, 0], [0]]]}"#,
    );
}

#[test]
fn group_estimators() {
    // Groups A = [1,0,0,1] and B = [1,1,1,0]; numpy, std with ddof=1.
    check(
        r#"{"estimator": "grpo", "rewards": [[1,0,0,1],[1,1,1,0]]}"#,
        r#"{"advantages": [[0.866024,-0.866024,-0.866024,0.866024],[0.499999,0.499999,0.499999,-1.499997]]}"#,
    );
    check(
        r#"{"estimator": "grpo", "rewards": [[1,0,0,1],[1,1,1,0]], "options": {"eps": 1e-4}}"#,
        r#"{"advantages": [[0.865875,-0.865875,-0.865875,0.865875],[0.4999,0.4999,0.4999,-1.4997]]}"#,
    );
    check(
        r#"{"estimator": "grpo", "rewards": [[1,0,0,1],[1,1,1,0]], "options": {"eps": 1e-4, "scale": "batch"}}"#,
        r#"{"advantages": [[0.965905,-0.965905,-0.965905,0.965905],[0.482953,0.482953,0.482953,-1.448858]]}"#,
    );
    let centred = r#"{"advantages": [[0.5,-0.5,-0.5,0.5],[0.25,0.25,0.25,-0.75]]}"#;
    check(
        r#"{"estimator": "grpo", "rewards": [[1,0,0,1],[1,1,1,0]], "options": {"scale": "none"}}"#,
        centred,
    );
    check(
        r#"{"estimator": "dr-grpo", "rewards": [[1,0,0,1],[1,1,1,0]]}"#,
        centred,
    );
    check(
        r#"{"estimator": "memagent", "rewards": [[1,0,0,1],[1,1,1,0]]}"#,
        centred,
    );
    check(
        r#"{"estimator": "rloo", "rewards": [[1,0,0,1],[1,1,1,0]]}"#,
        r#"{"advantages": [[0.666667,-0.666667,-0.666667,0.666667],[0.333333,0.333333,0.333333,-1]]}"#,
    );
}

#[test]
fn estimators_that_count_tokens() {
    // Token mean -.1875 and variance .2625 of the centred rewards.
    check(
        r#"{"estimator": "reinforce-plus-plus-baseline", "rewards": [[1,0,0,1],[1,1,1,0]], "lengths": [[1,2,3,2],[1,1,2,4]]}"#,
        r#"{"advantages": [[1.341863,-0.609938,-0.609938,1.341863],[0.853913,0.853913,0.853913,-1.097888]]}"#,
    );
    // By hand: one token each: centred ±.5 and .25, -.75; mean 0; variance 1.75/7 = .25; A = C / .5.
    check(
        r#"{"estimator": "reinforce-plus-plus-baseline", "rewards": [[1,0,0,1],[1,1,1,0]]}"#,
        r#"{"advantages": [[1,-1,-1,1],[0.5,0.5,0.5,-1.5]]}"#,
    );
    // The baseline of A is (1*1 + 2*1) / 8 = .375; of B (1 + 1 + 2) / 8 = .5.
    check(
        r#"{"estimator": "opo", "rewards": [[1,0,0,1],[1,1,1,0]], "lengths": [[1,2,3,2],[1,1,2,4]]}"#,
        r#"{"advantages": [[0.625,-0.375,-0.375,0.625],[0.5,0.5,0.5,-0.5]]}"#,
    );
}

#[test]
fn sequence_estimators() {
    let gae = r#""rewards": [[0,0,1]], "values": [[0.5,0.6,0.7]], "loss_mask": [[1,true,1.0]]"#;
    check(
        &format!(r#"{{"estimator": "gae", {gae}}}"#),
        r#"{"advantages": [[0.46575,0.385,0.3]], "returns": [[0.96575,0.985,1]]}"#,
    );
    check(
        &format!(r#"{{"estimator": "gae", {gae}, "options": {{"whiten": true}}}}"#),
        r#"{"advantages": [[0.991344,0.017092,-1.008436]], "returns": [[0.96575,0.985,1]]}"#,
    );
    // gamma .5, lambda .5: last 1 - .5 = .5; first 0 + .5*.5 - 1 + .25*.5 = -.625.
    check(
        r#"{"estimator": "gae", "rewards": [[0,1]], "values": [[1,0.5]], "loss_mask": [[1,1]], "options": {"gamma": 0.5, "lambda": 0.5}}"#,
        r#"{"advantages": [[-0.625,0.5]], "returns": [[0.375,1]]}"#,
    );
    // An untrained token in the middle is stepped over.
    check(
        r#"{"estimator": "gae", "rewards": [[0,0,0,1]], "values": [[0.5,0.9,0.6,0.7]], "loss_mask": [[1,0,1,1]]}"#,
        r#"{"advantages": [[0.46575,0.385,0.385,0.3]]}"#,
    );
    // Returns 2, 2, 4 are trained: mean 8/3, variance 4/3; the third token resets what flows back.
    check(
        r#"{"estimator": "reinforce-plus-plus", "rewards": [[1,2,8,4]], "loss_mask": [[1,1,0,1]], "options": {"gamma": 0.5}}"#,
        r#"{"advantages": [[-0.577350,-0.577350,0,1.154701]], "returns": [[2,2,10,4]]}"#,
    );
}

#[test]
fn tamtrl() {
    // p = (.9,.7 | .8,.5), r = (1, 0): R = 1, .5 | 0, 0, and numpy's (R - mean) / (std + 1e-6).
    let problem = r#""turn_scores": [[[0.9,0.7],[0.8,0.5]]], "outcomes": [[1,0]]"#;
    check(
        &format!(r#"{{"estimator": "tamtrl", {problem}, "options": {{"answer_turn": "none"}}}}"#),
        r#"{"rewards": [[[1,0.5],[0,0]]], "advantages": [[[1.305580,0.261116],[-0.783348,-0.783348]]]}"#,
    );
    // With the answers: R = 1, .5, 1 | 0, 0, 0; statistics.stdev = .4915960.
    check(
        &format!(r#"{{"estimator": "tamtrl", {problem}}}"#),
        r#"{"rewards": [[[1,0.5,1],[0,0,0]]], "advantages": [[[1.186608,0.169515,1.186608],[-0.847577,-0.847577,-0.847577]]]}"#,
    );
    check(
        &format!(
            r#"{{"estimator": "tamtrl", {problem}, "options": {{"combine": "add", "std_eps": 1}}}}"#
        ),
        r#"{"rewards": [[[2,1.5,1],[0.75,0,0]]]}"#,
    );
    check(
        &format!(r#"{{"estimator": "tamtrl", {problem}, "options": {{"minmax": "none"}}}}"#),
        r#"{"rewards": [[[0.9,0.7,1],[0,0,0]]]}"#,
    );
    check(
        &format!(r#"{{"estimator": "tamtrl", {problem}, "options": {{"minmax": "turn"}}}}"#),
        r#"{"rewards": [[[1,1,1],[0,0,0]]]}"#,
    );
    // By hand: R = 0 | .5, 1: mean .5, std .5, so +-.5 / (.5 + 1e-6).
    check(
        r#"{"estimator": "tamtrl", "turn_scores": [[[0.2],[0.4,0.6]],[[0.5]]], "outcomes": [[1,1],[1]], "options": {"minmax": "problem", "answer_turn": "none"}}"#,
        r#"{"rewards": [[[0],[0.5,1]],[[1]]], "advantages": [[[-0.999998],[0,0.999998]],[[0]]]}"#,
    );
}

#[test]
fn several_rewards() {
    // Rewards [1,0,0,1 | 1,1,1,0] and [.9,.2,.4,.5 | .3 x 4]; numpy, ddof=1: see the crate's own tests.
    let rewards =
        r#""rewards": [[[1,0.9],[0,0.2],[0,0.4],[1,0.5]],[[1,0.3],[1,0.3],[1,0.3],[0,0.3]]]"#;
    let lengths = r#""lengths": [[1,2,3,2],[1,1,2,4]]"#;
    check(
        &format!(r#"{{"estimator": "gdpo", {rewards}, "options": {{"weights": [0.5, 0.5]}}}}"#),
        r#"{"advantages": [[1.589602,-1.346912,-0.861533,0.618843],[0.35728,0.35728,0.35728,-1.071839]]}"#,
    );
    check(
        &format!(
            r#"{{"estimator": "gdpo", {rewards}, {lengths}, "options": {{"eps": 1e-6, "batch_step": "tokens"}}}}"#
        ),
        r#"{"advantages": [[2.105581,-1.112367,-0.580432,1.041711],[0.755117,0.755117,0.755117,-0.810859]]}"#,
    );
    // CIRCA is half of each, without a batch step.
    check(
        &format!(r#"{{"estimator": "circa", {rewards}}}"#),
        r#"{"advantages": [[1.112073,-0.942289,-0.602722,0.432938],[0.24995,0.24995,0.24995,-0.74985]]}"#,
    );
    check(
        r#"{"estimator": "circa", "rewards": [[[0.6666666666666666,18.2],[0.6666666666666666,17.5],[0.3333333333333333,19.1],[0,16]]]}"#,
        r#"{"advantages": [[0.582531,0.315160,0.404224,-1.301916]],
            "columns": [[[0.783104,0.381958],[0.783104,-0.152783],[-0.261035,1.069483],[-1.305173,-1.298658]]]}"#,
    );
}

#[test]
fn missing_and_conditioned_rewards() {
    // [0, -, 1] has standard scores -+.707107; an attempt without any reward gets 0.
    let options = r#""options": {"eps": 0, "batch_step": "none"}"#;
    check(
        &format!(r#"{{"estimator": "gdpo", "rewards": [[[0],[null],[1]]], {options}}}"#),
        r#"{"advantages": [[-0.707107,0,0.707107]], "columns": [[[-0.707107],[null],[0.707107]]]}"#,
    );
    // The second reward counts where the first is at least 1, so it is [1, 0, 0].
    check(
        r#"{"estimator": "gdpo", "rewards": [[[1,1],[0.5,1],[2,0]]],
            "options": {"eps": 0, "batch_step": "none", "weights": [0, 1], "conditions": [null, {"reward": 0, "at_least": 1}]}}"#
            .replace('\n', " ")
            .as_str(),
        r#"{"advantages": [[1.154701,-0.577350,-0.577350]]}"#,
    );
    for nothing in ["[]", "[[]]", "[[[]]]", "[[[null]]]", "[[[1]],[[2],[2]]]"] {
        let line = format!(r#"{{"estimator": "gdpo", "rewards": {nothing}, {options}}}"#);
        let found = super::answer(Kind::Advantage, &line);
        let found = found["advantages"].as_array().expect("an answer");
        let mut advantages = found
            .iter()
            .flat_map(|group| group.as_array().expect("a list"));
        assert!(
            advantages.all(|advantage| *advantage == 0.0),
            "{line}: {found:?}"
        );
    }
}

#[test]
fn what_is_wrong_with_several_rewards_is_named() {
    let check = |fields: &str, parts: &[&str]| {
        let line = format!(r#"{{"estimator": "gdpo", {fields}}}"#);
        super::check_error(Kind::Advantage, &line, parts);
    };
    check(
        r#""rewards": [[[1, 2], [1]]]"#,
        &["`rewards[0][1]` has 1", "has 2"],
    );
    check(
        r#""rewards": [[[1, "2"]]]"#,
        &["`rewards[0][0][1]`", "a number"],
    );
    let rewards = r#""rewards": [[[1, 2]]]"#;
    let options = |options: &str| format!(r#"{rewards}, "options": {{{options}}}"#);
    check(
        &options(r#""batch_step": "tokens""#),
        &["`lengths` is missing"],
    );
    check(
        &options(r#""weights": [1]"#),
        &["`options.weights`", "2 numbers"],
    );
    check(&options(r#""weights": [1, "x"]"#), &["`options.weights`"]);
    check(
        &options(r#""conditions": [null]"#),
        &["`options.conditions`"],
    );
    check(
        &options(r#""conditions": [null, {"reward": 1, "at_least": 1}]"#),
        &["`options.conditions`", "another"],
    );
    check(
        &options(r#""conditions": [null, {"reward": 2, "at_least": 1}]"#),
        &["`options.conditions`"],
    );
    check(
        &format!(r#"{rewards}, "lengths": [[1, 2]]"#),
        &["`lengths[0]` has 2 entries", "`rewards[0]` has 1"],
    );
}
