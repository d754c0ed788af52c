//! Objectives as files write them: names, defaults, switched-off numbers, refusals, the way back.

use longhand_objective::{
    Aggregation, ClipCov, ControlState, EntropyBonus, EntropyControl, Importance, Kl, KlCov,
    KlPenalty, Objective, PolicyLoss, Scope, SingleUpdate, Stare, StareVariant, TokenRule,
};

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

#[test]
fn every_entropy_control_survives_the_way_to_a_file_and_back() {
    let rules = [
        TokenRule::None,
        TokenRule::KlCov(KlCov::original()),
        TokenRule::KlCov(KlCov {
            fraction: 0.1,
            coef: 0.5,
            single_update: SingleUpdate::Forced,
            ..KlCov::circa()
        }),
        TokenRule::ClipCov(ClipCov {
            fraction: 0.01,
            low: -1.0,
            high: 2.0,
        }),
        TokenRule::Stare(Stare {
            variant: StareVariant::C2,
            quantile: 0.2,
            amplify: 1.2,
            attenuate: 0.7,
            target_entropy: None,
            step: 0.01,
            max_amplify: 2.0,
            min_attenuate: 0.6,
        }),
    ];
    for rule in rules {
        for target in [None, Some(0.2)] {
            let control = EntropyControl {
                scope: Scope::Batch,
                rule,
                top_entropy_fraction: 0.2,
                bonus: EntropyBonus {
                    coef: 0.001,
                    target,
                    ..EntropyBonus::default()
                },
            };
            let text = toml::to_string(&control).unwrap();
            let found: EntropyControl = toml::from_str(&text).unwrap();
            assert_eq!(found, control, "{text}");
            let json = serde_json::to_string(&control).unwrap();
            let found: EntropyControl = serde_json::from_str(&json).unwrap();
            assert_eq!(found, control, "{json}");
            assert!(json.contains(&format!("\"kind\":\"{}\"", rule.name())));
        }
    }
}

#[test]
fn left_out_keys_of_entropy_control_are_the_papers_settings() {
    let read = |text: &str| toml::from_str::<EntropyControl>(text).unwrap();
    assert_eq!(read(""), EntropyControl::default());
    let rule = |kind: &str| read(&format!("rule = {{ kind = '{kind}' }}")).rule;
    assert_eq!(rule("none"), TokenRule::None);
    assert_eq!(rule("kl-cov"), TokenRule::KlCov(KlCov::original()));
    assert_eq!(rule("circa"), TokenRule::KlCov(KlCov::circa()));
    assert_eq!(rule("clip-cov"), TokenRule::ClipCov(ClipCov::default()));
    assert_eq!(rule("stare"), TokenRule::Stare(Stare::default()));
    let (original, circa) = (KlCov::original(), KlCov::circa());
    assert_eq!((original.fraction, original.coef), (2e-3, 1.0));
    assert_eq!((circa.fraction, circa.coef), (0.02, 0.05));
    assert_eq!(read("scope = 'micro-batch'").scope, Scope::MicroBatch);
    assert_eq!(EntropyControl::default().scope, Scope::MiniBatch);
}

#[test]
fn entropy_control_refuses_percent_and_options_of_others() {
    let refused = |text: &str, expected: &str| {
        let error = toml::from_str::<EntropyControl>(text)
            .expect_err(text)
            .to_string();
        assert!(
            error.contains(expected),
            "{error:?} does not say {expected:?}"
        );
    };
    refused("rule = { kind = 'kl-cov', fraction = 2 }", "not percent");
    refused(
        "rule = { kind = 'clip-cov', coef = 1 }",
        "an option of `kl-cov`, `circa`",
    );
    refused(
        "rule = { kind = 'stare', fraction = 0.1 }",
        "means nothing to `stare`",
    );
    refused(
        "rule = { kind = 'kl-cov', target_entropy = 'none' }",
        "an option of `stare`",
    );
    refused(
        "rule = { kind = 'none', low = 1 }",
        "an option of `clip-cov`",
    );
    refused(
        "rule = { kind = 'stare', variant = 'c3' }",
        "unknown variant `c3`",
    );
    refused(
        "rule = { kind = 'stare', amplify = 0.5 }",
        "`amplify` is 0.5",
    );
    refused("bonus = { goal = 1 }", "unknown field `goal`");
    refused("rule = { fraction = 0.1 }", "missing field `kind`");
}

#[test]
fn what_controllers_remember_survives_the_way_to_a_checkpoint() {
    let control = EntropyControl {
        rule: TokenRule::Stare(Stare::default()),
        bonus: EntropyBonus {
            target: Some(0.2),
            ..EntropyBonus::default()
        },
        ..EntropyControl::default()
    };
    for state in [
        ControlState::default(),
        control.observe(&control.initial_state(), 0.123_456_789),
    ] {
        let json = serde_json::to_string(&state).unwrap();
        assert_eq!(
            serde_json::from_str::<ControlState>(&json).unwrap(),
            state,
            "{json}"
        );
        let text = toml::to_string(&state).unwrap();
        assert_eq!(
            toml::from_str::<ControlState>(&text).unwrap(),
            state,
            "{text}"
        );
    }
}
