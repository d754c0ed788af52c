//! Objectives: golden values from independent numpy scripts or by hand, to six digits.

use super::check as check_kind;
use longhand_compute::Kind;

#[track_caller]
fn check(line: &str, expected: &str) {
    // Long lines are broken in this file, not on the wire.
    check_kind(Kind::Objective, &line.replace('\n', " "), expected);
}

#[test]
fn an_empty_mask_trains_nothing() {
    for name in ["ppo-clip", "gspo", "cispo"] {
        for (logprobs, mask, grad) in [
            ("[]", "[]", "[]"),
            ("[[],[-1,-2]]", "[[],[0,0]]", "[[],[0,0]]"),
        ] {
            for aggregation in [
                "token-mean",
                "seq-mean-token-mean",
                "seq-mean-token-sum",
                "seq-mean-token-sum-norm",
            ] {
                check(
                    &format!(
                        r#"{{"objective": "{name}", "logprobs": {logprobs}, "old_logprobs": {logprobs}, "advantages": {logprobs}, "loss_mask": {mask}, "options": {{"aggregation": "{aggregation}"}}}}"#
                    ),
                    &format!(
                        r#"{{"loss": 0, "grad": {grad}, "metrics": {{"n_tokens": 0, "approx_kl": 0, "ref_kl": null}}}}"#
                    ),
                );
            }
        }
    }
}

// Ratios .5, 1.5, 4 at A = 1 and at A = -1, and their logarithms.
const SIX: &str = r#""logprobs": [[-0.6931471805599453, 0.4054651081081644, 1.3862943611198906], [-0.6931471805599453, 0.4054651081081644, 1.3862943611198906]],
    "old_logprobs": [[0,0,0],[0,0,0]], "advantages": [[1,1,1],[-1,-1,-1]], "loss_mask": [[1,1,1],[1,1,1]]"#;

#[test]
fn clipped_surrogate() {
    // Losses -.5, -1.28, -1.28 | .8, 1.5, 3 sum to 2.24; only the first and the fifth are free.
    check(
        &format!(
            r#"{{"objective": "ppo-clip", {SIX}, "options": {{"clip_high": 0.28, "aggregation": "seq-mean-token-sum-norm", "norm_length": 1}}}}"#
        ),
        r#"{"loss": 2.24, "grad": [[-0.5,0,0],[0,1.5,0]],
            "metrics": {"n_tokens": 6, "clip_low_fraction": 0.166667, "clip_high_fraction": 0.333333, "clip_dual_fraction": 0.166667, "ratio_mean": 2, "ratio_max_deviation": 3}}"#,
    );
    // Without dual clip the last loss is 4.
    check(
        &format!(
            r#"{{"objective": "ppo-clip", {SIX}, "options": {{"clip_high": 0.28, "dual_clip": null, "denominator": 1}}}}"#
        ),
        r#"{"loss": 3.24, "grad": [[-0.5,0,0],[0,1.5,4]]}"#,
    );
}

#[test]
fn aggregations() {
    // Ratio 1 and A = -1, -2, -3 | -4 | masked: per-token losses 1, 2, 3 | 4 | nothing.
    let line = |options: &str| {
        format!(
            r#"{{"objective": "ppo-clip", "logprobs": [[-1,-1,-1],[-1,-1],[-1]], "old_logprobs": [[-1,-1,-1],[-1,-1],[-1]],
            "advantages": [[-1,-2,-3],[-4,-9],[-9]], "loss_mask": [[1,1,1],[1,0],[0]], "options": {{{options}}}}}"#
        )
    };
    check(&line(r#""aggregation": "token-mean""#), r#"{"loss": 2.5}"#);
    check(
        &line(r#""aggregation": "seq-mean-token-mean""#),
        r#"{"loss": 3, "grad": [[0.166667,0.333333,0.5],[2,0],[0]]}"#,
    );
    check(
        &line(r#""aggregation": "seq-mean-token-sum""#),
        r#"{"loss": 5}"#,
    );
    check(
        &line(r#""aggregation": "seq-mean-token-sum-norm", "norm_length": 4"#),
        r#"{"loss": 2.5}"#,
    );
    // The longest sequence has 3 tokens.
    check(
        &line(r#""aggregation": "seq-mean-token-sum-norm""#),
        r#"{"loss": 3.333333}"#,
    );
    check(
        &line(r#""aggregation": "token-mean", "denominator": 20"#),
        r#"{"loss": 0.5}"#,
    );
    check(
        &line(r#""aggregation": "seq-mean-token-mean", "denominator": 3"#),
        r#"{"loss": 2}"#,
    );
}

#[test]
fn gspo() {
    // d = .1, -.2, .4: s = exp(.1) = 1.105171; the straight-through gradient is -A s / 3 each.
    let tokens = r#""logprobs": [[-0.9,-1.2,-0.6]], "old_logprobs": [[-1,-1,-1]], "advantages": [[1,1,1]], "loss_mask": [[1,1,1]]"#;
    check(
        &format!(
            r#"{{"objective": "gspo", {tokens}, "options": {{"clip_low": 0.2, "clip_high": 0.2}}}}"#
        ),
        r#"{"loss": -1.105171, "grad": [[-0.368390,-0.368390,-0.368390]]}"#,
    );
    // The default bound is 4e-4.
    check(
        &format!(r#"{{"objective": "gspo", {tokens}}}"#),
        r#"{"loss": -1.0004, "grad": [[0,0,0]]}"#,
    );
}

#[test]
fn cispo() {
    // Ratios 1.5 and .5 with weights 1.2 and .8: loss -(1.2*1*(-1)) = 1.2 and -(.8*-2*-1) = -1.6.
    let tokens = r#""logprobs": [[-1,-1]], "old_logprobs": [[-1.4054651081081644,-0.3068528194400547]], "advantages": [[1,-2]], "loss_mask": [[1,1]]"#;
    check(
        &format!(r#"{{"objective": "cispo", {tokens}, "options": {{"denominator": 1}}}}"#),
        r#"{"loss": -0.4, "grad": [[-1.2,1.6]]}"#,
    );
    // Without a lower bound the second weight is the ratio itself.
    check(
        &format!(
            r#"{{"objective": "cispo", {tokens}, "options": {{"denominator": 1, "clip_low": 1}}}}"#
        ),
        r#"{"loss": 0.2, "grad": [[-1.2,1]]}"#,
    );
}

#[test]
fn reference_penalties() {
    // logprobs - ref_logprobs = .5 and -.5; k3 is .106531 and .148721, its derivative 1 - exp(-x).
    let line = |options: &str| {
        format!(
            r#"{{"objective": "ppo-clip", "logprobs": [[-1,-1]], "old_logprobs": [[-1,-1]], "advantages": [[0,0]], "loss_mask": [[1,1]],
            "ref_logprobs": [[-1.5,-0.5]], "options": {{"denominator": 1, "kl_coef": 1, {options}}}}}"#
        )
    };
    check(
        &line(r#""kl": "none""#),
        r#"{"loss": 0, "grad": [[0,0]], "metrics": {"ref_kl": 0.127626}}"#,
    );
    check(&line(r#""kl": "k1""#), r#"{"loss": 0, "grad": [[1,1]]}"#);
    check(
        &line(r#""kl": "k2""#),
        r#"{"loss": 0.25, "grad": [[0.5,-0.5]]}"#,
    );
    check(
        &line(r#""kl": "k3""#),
        r#"{"loss": 0.255252, "grad": [[0.393469,-0.648721]], "metrics": {"kl_loss": 0.255252}}"#,
    );
    // The default coefficient is 1e-3; exp(5) - 5 - 1 = 142.4 is clamped to 10, without a gradient.
    let far = r#""objective": "ppo-clip", "logprobs": [[-6]], "old_logprobs": [[-6]], "advantages": [[0]], "loss_mask": [[1]], "ref_logprobs": [[-1]]"#;
    check(
        &format!(r#"{{{far}, "options": {{"kl": "k3"}}}}"#),
        r#"{"loss": 0.142413, "grad": [[-0.147413]]}"#,
    );
    check(
        &format!(r#"{{{far}, "options": {{"kl": "k3", "kl_clamp": true}}}}"#),
        r#"{"loss": 0.01, "grad": [[0]]}"#,
    );
}

#[test]
fn truncated_importance_sampling() {
    // old - rollout = .1, -.3, 1.2: token weights 1.105171, .740818, 2; their sum 1, capped at 2.
    let line = |options: &str| {
        format!(
            r#"{{"objective": "ppo-clip", "logprobs": [[-1,-1,-1]], "old_logprobs": [[-1,-1,-1]], "advantages": [[1,1,1]], "loss_mask": [[1,1,1]],
            "rollout_logprobs": [[-1.1,-0.7,-2.2]], "options": {{"denominator": 1, {options}}}}}"#
        )
    };
    check(
        &line(r#""importance": "none""#),
        r#"{"loss": -3, "metrics": {"importance_mean": 1, "rollout_kl": 0.388702}}"#,
    );
    check(
        &line(r#""importance": "token""#),
        r#"{"loss": -3.845989, "grad": [[-1.105171,-0.740818,-2]], "metrics": {"importance_capped_fraction": 0.333333}}"#,
    );
    check(&line(r#""importance": "sequence""#), r#"{"loss": -6}"#);
    check(
        &line(r#""importance": "sequence", "importance_cap": 3"#),
        r#"{"loss": -8.154845}"#,
    );
}

#[test]
fn the_log_ratio_is_clamped_unless_told_otherwise() {
    // exp(20) = 485165195.40979; with A = -1 and no dual clip the loss is the ratio.
    let line = |options: &str| {
        format!(
            r#"{{"objective": "ppo-clip", "logprobs": [[-1]], "old_logprobs": [[-31]], "advantages": [[-1e-9]], "loss_mask": [[1]], "options": {{"dual_clip": null{options}}}}}"#
        )
    };
    check(
        &line(""),
        r#"{"loss": 0.485165, "grad": [[0]], "metrics": {"log_ratio_clamp_fraction": 1}}"#,
    );
    // exp(30) = 1.0686474581524e13.
    check(
        &line(r#", "log_ratio_clamp": null"#),
        r#"{"loss": 10686.474581524, "grad": [[10686.474581524]]}"#,
    );
}
