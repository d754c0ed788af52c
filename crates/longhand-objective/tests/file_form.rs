//! Objectives as files write them: names, defaults, switched-off numbers, refusals, the way back.

use longhand_objective::{Aggregation, Importance, Kl, KlPenalty, Objective, PolicyLoss};

#[track_caller]
fn check_refused(text: &str, expected: &str) {
    let error = toml::from_str::<Objective>(text)
        .expect_err("must be refused")
        .to_string();
    assert!(
        error.contains(expected),
        "{error:?} does not say {expected:?}"
    );
}

#[test]
fn every_objective_survives_the_way_to_a_file_and_back() {
    let losses = [
        PolicyLoss::default(),
        PolicyLoss::PpoClip {
            clip_low: 0.2,
            clip_high: 0.28,
            dual_clip: None,
        },
        PolicyLoss::Gspo {
            clip_low: 3e-4,
            clip_high: 4e-4,
        },
        PolicyLoss::Cispo {
            clip_low: 1.0,
            clip_high: 4.0,
        },
    ];
    for policy_loss in losses {
        for log_ratio_clamp in [None, Some(5.0)] {
            let objective = Objective {
                policy_loss,
                kl: KlPenalty {
                    estimator: Kl::K3,
                    coef: 0.01,
                    clamp: true,
                },
                importance: Importance::Sequence,
                importance_cap: 3.0,
                log_ratio_clamp,
            };
            let text = toml::to_string(&objective).unwrap();
            assert_eq!(
                toml::from_str::<Objective>(&text).unwrap(),
                objective,
                "{text}"
            );
            let json = serde_json::to_string(&objective).unwrap();
            assert_eq!(
                serde_json::from_str::<Objective>(&json).unwrap(),
                objective,
                "{json}"
            );
            assert!(json.contains(&format!("\"kind\":\"{}\"", policy_loss.name())));
        }
    }
}

#[test]
fn left_out_options_get_the_documented_defaults() {
    assert_eq!(
        toml::from_str::<Objective>("").unwrap(),
        Objective::default()
    );
    let written: Objective = toml::from_str("policy_loss = { kind = 'ppo-clip' }").unwrap();
    assert_eq!(written, Objective::default());
    let default = Objective::default();
    let expected = PolicyLoss::PpoClip {
        clip_low: 0.2,
        clip_high: 0.2,
        dual_clip: Some(3.0),
    };
    assert_eq!(default.policy_loss, expected);
    assert_eq!((default.kl.estimator, default.kl.clamp), (Kl::None, false));
    assert_eq!(
        (default.importance, default.importance_cap),
        (Importance::None, 2.0)
    );
    assert_eq!(default.log_ratio_clamp, Some(20.0));
}

#[test]
fn numbers_can_be_switched_off_by_word_and_by_null() {
    let off: Objective = toml::from_str(
        "log_ratio_clamp = 'none'\npolicy_loss = { kind = 'ppo-clip', dual_clip = 'none' }",
    )
    .unwrap();
    let expected = PolicyLoss::PpoClip {
        clip_low: 0.2,
        clip_high: 0.2,
        dual_clip: None,
    };
    assert_eq!((off.log_ratio_clamp, off.policy_loss), (None, expected));
    let null: Objective = serde_json::from_str(
        r#"{"log_ratio_clamp": null, "policy_loss": {"kind": "ppo-clip", "dual_clip": null}}"#,
    )
    .unwrap();
    assert_eq!(null, off);
    let whole: Objective = toml::from_str("log_ratio_clamp = 10").unwrap();
    assert_eq!(whole.log_ratio_clamp, Some(10.0));
}

#[test]
fn names_are_those_of_the_notes() {
    let json = |value: Aggregation| serde_json::to_string(&value).unwrap();
    assert_eq!(json(Aggregation::TokenMean), "\"token-mean\"");
    assert_eq!(
        json(Aggregation::SeqMeanTokenMean),
        "\"seq-mean-token-mean\""
    );
    assert_eq!(json(Aggregation::SeqMeanTokenSum), "\"seq-mean-token-sum\"");
    assert_eq!(
        json(Aggregation::SeqMeanTokenSumNorm),
        "\"seq-mean-token-sum-norm\""
    );
    for (name, kl) in [
        ("none", Kl::None),
        ("k1", Kl::K1),
        ("k2", Kl::K2),
        ("k3", Kl::K3),
    ] {
        let found: Objective = toml::from_str(&format!("kl = {{ estimator = '{name}' }}")).unwrap();
        assert_eq!((found.kl.estimator, found.kl.coef), (kl, 1e-3));
    }
}

#[test]
fn unknown_names_keys_and_options_of_others_are_refused() {
    check_refused(
        "policy_loss = { kind = 'ppo-clop' }",
        "unknown variant `ppo-clop`",
    );
    check_refused("policy_loss = { clip_low = 0.2 }", "missing field `kind`");
    check_refused(
        "policy_loss = { kind = 'gspo', epsilon = 1 }",
        "unknown field `epsilon`",
    );
    check_refused(
        "policy_loss = { kind = 'gspo', dual_clip = 3 }",
        "an option of `ppo-clip`",
    );
    check_refused(
        "policy_loss = { kind = 'gspo', dual_clip = 'none' }",
        "an option of `ppo-clip`",
    );
    check_refused(
        "policy_loss = { kind = 'ppo-clip', dual_clip = 0.9 }",
        "`dual_clip` is 0.9",
    );
    check_refused(
        "policy_loss = { kind = 'cispo', clip_low = -1 }",
        "`clip_low` is -1",
    );
    check_refused(
        "kl = { estimator = 'k3', beta = 1 }",
        "unknown field `beta`",
    );
    check_refused("log_ratio_clamp = 'off'", "a number or \"none\"");
    check_refused("entropy = 1", "unknown field `entropy`");
}

#[test]
fn bounds_that_are_left_out_are_the_usual_ones_of_their_loss() {
    let read = |kind: &str| {
        toml::from_str::<Objective>(&format!("policy_loss = {{ kind = '{kind}' }}"))
            .expect("reads")
            .policy_loss
    };
    assert_eq!(read("ppo-clip"), PolicyLoss::default());
    assert_eq!(
        read("gspo"),
        PolicyLoss::Gspo {
            clip_low: 3e-4,
            clip_high: 4e-4,
        }
    );
}
