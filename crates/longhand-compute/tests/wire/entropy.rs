//! Entropy control on the wire: golden values from independent numpy scripts or by hand, and lines
//! in parts.

use super::{answer, check as check_kind, check_error as check_kind_error};
use longhand_compute::Kind;
use proptest::prelude::*;
use serde_json::{Value, json};

#[track_caller]
fn check(line: &str, expected: &str) {
    // Long lines are broken in this file, not on the wire.
    check_kind(Kind::Objective, &line.replace('\n', " "), expected);
}

#[track_caller]
fn check_error(line: &str, parts: &[&str]) {
    check_kind_error(Kind::Objective, &line.replace('\n', " "), parts);
}

/// lp = -.1 -2 -.5 -3 -.05 -1, A = +1 x 3, -1 x 3, d = .2 -.1 .05 .3 -.4 .1.
fn six(objective: &str, options: &str) -> String {
    format!(
        r#"{{"objective": "{objective}", "logprobs": [[-0.1,-2,-0.5],[-3,-0.05,-1]],
        "old_logprobs": [[-0.3,-1.9,-0.55],[-3.3,0.35,-1.1]], "advantages": [[1,1,1],[-1,-1,-1]],
        "loss_mask": [[1,1,1],[1,1,1]], "entropies": [[0.1,0.9,0.5],[1.2,0.2,0.6]],
        "options": {{"denominator": 1, {options}}}}}"#
    )
}

#[test]
fn kl_cov_in_both_forms() {
    // Covariances 1.008333 -.891667 .608333 1.891667 -1.058333 -.108333; losses -1.021403 -.904837
    // -1.051271 1.649859 .670320 1.105171 sum to .447839.
    check(
        &six("kl-cov", r#""fraction": 0.34, "coef": 1"#),
        r#"{"loss": 0.447839, "grad": [[-0.221403,-0.904837,-1.051271],[2.349859,0.670320,1.105171]],
            "selected": [[true,false,false],[true,false,false]],
            "metrics": {"log_ratio_penalty": 0.5, "selected_fraction": 0.333333, "abs_log_ratio": 0.191667}}"#,
    );
    // CIRCA: -1.211403 -.904837 -1.051271 1.364859 .8 1.105171 sum to .102519; coef is .05 then.
    for clip in [
        r#""clip": 0.2"#,
        r#""clip": [0.2, 0.2]"#,
        r#""clip": "bounds""#,
        r#""clip": "bounds", "clip_low": 0.2"#,
    ] {
        check(
            &six("kl-cov", &format!(r#""fraction": 0.34, {clip}"#)),
            r#"{"loss": 0.102519, "grad": [[-1.171403,-0.904837,-1.051271],[1.399859,0,1.105171]]}"#,
        );
    }
    check(
        &six("kl-cov", r#""fraction": 0.34, "coef": 0, "clip": "none""#),
        r#"{"loss": -0.052161, "selected": [[false,false,false],[false,false,false]]}"#,
    );
}

#[test]
fn clip_cov() {
    // Between .6 and 1.8 lie the first and the third; the first, d = .2, is clipped, so only the
    // third can be drawn. Losses left: -1.2 -.904837 1.349859 .8 1.105171.
    check(
        &six("clip-cov", r#""fraction": 1, "low": 0.6, "high": 1.8"#),
        r#"{"loss": 1.150193, "grad": [[0,-0.904837,0],[1.349859,0,1.105171]],
            "selected": [[false,false,true],[false,false,false]]}"#,
    );
    // No candidate: plain PPO, -1.2 -.904837 -1.051271 1.349859 .8 1.105171.
    check(
        &six("clip-cov", r#""low": 5, "high": 6"#),
        r#"{"loss": 0.098922, "metrics": {"selected_fraction": 0}}"#,
    );
}

#[test]
fn clip_cov_draws_by_its_seed() {
    let drawn = |seed: u32| {
        let options = format!(
            r#""fraction": 0.2, "low": -2, "high": 2, "clip_high": 9, "clip_low": 9, "seed": {seed}"#
        );
        let line = six("clip-cov", &options).replace('\n', " ");
        let selected = answer(Kind::Objective, &line)["selected"].to_string();
        assert_eq!(selected.matches("true").count(), 1, "{selected}");
        selected
    };
    assert_eq!(drawn(3), drawn(3));
    let different: std::collections::BTreeSet<String> = (0..100).map(drawn).collect();
    assert_eq!(different.len(), 6, "every token can be drawn");
}

#[test]
fn stare() {
    // Wide bounds: losses -1.221403 -.904837 -1.051271 1.349859 .670320 1.105171.
    let line = |options: &str| {
        six(
            "stare",
            &format!(r#""quantile": 0.34, "clip_low": 0.5, "clip_high": 0.5, {options}"#),
        )
    };
    check(
        &line(r#""variant": "o1""#),
        r#"{"grad": [[-1.221403,-0.995321,-1.156398],[1.349859,0.670320,1.105171]],
            "selected": [[false,true,true],[false,false,false]]}"#,
    );
    check(
        &line(r#""variant": "C2""#),
        r#"{"grad": [[-1.221403,-0.995321,-1.156398],[1.214873,0.670320,0.994654]]}"#,
    );
    check(
        &line(r#""variant": "c2", "gate": false"#),
        r#"{"grad": [[-1.221403,-0.904837,-1.051271],[1.349859,0.670320,1.105171]]}"#,
    );
}

#[test]
fn top_entropy_and_the_bonus() {
    // np.quantile([.1, .9, .5, 1.2, .2, .6], .5) = .55: the second, fourth and last token are kept.
    // Losses -.904837 1.349859 1.105171; the bonus is -.1 * 3.5.
    check(
        &six(
            "ppo-clip",
            r#""top_entropy_fraction": 0.5, "entropy_coef": 0.1"#,
        ),
        r#"{"loss": 1.200193, "grad": [[0,-0.904837,0],[1.349859,0,1.105171]],
            "entropy_grad": [[-0.1,-0.1,-0.1],[-0.1,-0.1,-0.1]],
            "metrics": {"entropy": 0.583333, "entropy_loss": -0.35, "selected_fraction": 0.5}}"#,
    );
    // Entropies alone are only reported.
    check(
        &six("gspo", r#""kl": "none""#),
        r#"{"entropy_grad": [[0,0,0],[0,0,0]], "metrics": {"entropy": 0.583333, "entropy_loss": 0}}"#,
    );
}

#[test]
fn the_scope_of_a_covariance_may_be_a_micro_batch() {
    // Within one sequence advantages do not differ, so covariances are 0 and the first token is taken.
    let line = six(
        "kl-cov",
        r#""fraction": 0.34, "coef": 1, "scope": "micro-batch""#,
    );
    let line = line.replace(r#""options""#, r#""micro_batches": [1, 1], "options""#);
    check(
        &line,
        r#"{"selected": [[true,false,false],[true,false,false]]}"#,
    );
    let line = line.replace("0.34", "0.7");
    check(
        &line,
        r#"{"selected": [[true,true,false],[true,true,false]]}"#,
    );
}

#[test]
fn what_is_wrong_is_named() {
    check_error(
        &six("kl-cov", r#""fraction": 2"#),
        &["`options.fraction` is 2", "not percent"],
    );
    check_error(
        &six("stare", r#""quantile": 0"#),
        &["`options.quantile` is 0"],
    );
    check_error(
        &six("kl-cov", r#""clip": "off""#),
        &["`options.clip`", "\"bounds\""],
    );
    check_error(&six("kl-cov", r#""clip": [0.2]"#), &["`options.clip`"]);
    check_error(
        &six("kl-cov", r#""clip_low": 0.2"#),
        &["`clip_low`", "cannot be combined"],
    );
    check_error(
        &six("kl-cov", r#""clip": 0.3, "clip_low": 0.2"#),
        &["cannot be combined"],
    );
    check_error(
        &six("stare", r#""variant": "c3""#),
        &["unknown `options.variant` `c3`"],
    );
    let bare = |options: &str| {
        format!(
            r#"{{"objective": "ppo-clip", "logprobs": [[-1]], "old_logprobs": [[-1]], "advantages": [[1]], "loss_mask": [[1]], {options}}}"#
        )
    };
    check_error(
        &bare(r#""options": {"entropy_coef": 0.1}"#),
        &["`entropies` is missing", "`entropy_coef`"],
    );
    check_error(
        &bare(r#""options": {"top_entropy_fraction": 0.2}"#),
        &["`entropies` is missing", "`top_entropy_fraction` = `0.2`"],
    );
    check_error(&bare(r#""entropies": [[1, 2]]"#), &["`entropies[0]` has 2"]);
    check_error(
        &bare(r#""micro_batches": [1, 1]"#),
        &["micro_batches", "`logprobs` has 1"],
    );
}

/// Log-probability, log ratio, advantage, mask and entropy.
type Token = (f64, f64, f64, bool, f64);

fn sequences() -> impl Strategy<Value = Vec<Vec<Token>>> {
    let token = (-4.0..-0.01, -0.5..0.5, -2.0..2.0, any::<bool>(), 0.0..2.0);
    prop::collection::vec(prop::collection::vec(token, 0..6), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_line_in_parts_answers_as_the_whole(
        sequences in sequences(),
        cuts in prop::collection::vec(0_usize..6, 0..4),
    ) {
        let n = sequences.len();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (n + 1)).collect();
        cuts.extend([0, n]);
        cuts.sort_unstable();
        let counts: Vec<usize> = cuts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let rows = |of: &dyn Fn(&Token) -> Value| -> Value {
            sequences.iter().map(|row| row.iter().map(of).collect::<Value>()).collect()
        };
        for (objective, own) in [
            ("ppo-clip", json!({})),
            ("kl-cov", json!({"fraction": 0.3})),
            ("kl-cov", json!({"fraction": 0.3, "clip": 0.2})),
            ("clip-cov", json!({"fraction": 0.3, "low": -0.1, "high": 0.5, "seed": 9})),
            ("stare", json!({"variant": "c2", "quantile": 0.3})),
        ] {
            let mut options = own;
            options["entropy_coef"] = json!(0.01);
            options["top_entropy_fraction"] = json!(0.8);
            let mut line = json!({
                "objective": objective,
                "logprobs": rows(&|token| json!(token.0)),
                "old_logprobs": rows(&|token| json!(token.0 - token.1)),
                "advantages": rows(&|token| json!(token.2)),
                "loss_mask": rows(&|token| json!(token.3)),
                "entropies": rows(&|token| json!(token.4)),
                "options": options,
            });
            let whole = answer(Kind::Objective, &line.to_string());
            prop_assert!(whole.get("error").is_none(), "{}", whole);
            line["micro_batches"] = json!(counts);
            let parts = answer(Kind::Objective, &line.to_string());
            for field in ["grad", "entropy_grad", "selected"] {
                prop_assert_eq!(&parts[field], &whole[field], "{} {}", objective, field);
            }
            let (parts, whole) = (parts["loss"].as_f64().unwrap(), whole["loss"].as_f64().unwrap());
            prop_assert!((parts - whole).abs() <= 1e-12 * whole.abs().max(1.0));
        }
    }
}
