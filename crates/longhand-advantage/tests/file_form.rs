//! Estimators as files write them: names, defaults, refusals, and the way back.

use longhand_advantage::{
    BatchStep, Condition, DEFAULT_EPS, Gdpo, OutcomeEstimator, RewardColumn, Scale,
};

#[track_caller]
fn check_refused(json: &str, expected: &str) {
    let error = serde_json::from_str::<OutcomeEstimator>(json)
        .expect_err("must be refused")
        .to_string();
    assert!(
        error.contains(expected),
        "{error:?} does not say {expected:?}"
    );
}

#[test]
fn every_estimator_survives_the_way_to_a_file_and_back() {
    let all = [
        OutcomeEstimator::Grpo {
            scale: Scale::Batch,
            eps: 1e-4,
        },
        OutcomeEstimator::Grpo {
            scale: Scale::None,
            eps: 0.0,
        },
        OutcomeEstimator::DrGrpo,
        OutcomeEstimator::Memagent,
        OutcomeEstimator::Rloo,
        OutcomeEstimator::ReinforcePlusPlusBaseline,
        OutcomeEstimator::Opo,
    ];
    for estimator in all {
        let json = serde_json::to_string(&estimator).unwrap();
        assert!(
            json.contains(&format!("{{\"kind\":\"{}\"", estimator.name())),
            "{json}"
        );
        assert_eq!(
            serde_json::from_str::<OutcomeEstimator>(&json).unwrap(),
            estimator
        );
        let text = toml::to_string(&estimator).unwrap();
        assert_eq!(
            toml::from_str::<OutcomeEstimator>(&text).unwrap(),
            estimator
        );
    }
}

#[test]
fn left_out_options_get_the_documented_defaults() {
    let found: OutcomeEstimator = toml::from_str("kind = 'grpo'").unwrap();
    let expected = OutcomeEstimator::Grpo {
        scale: Scale::Group,
        eps: DEFAULT_EPS,
    };
    assert_eq!(found, expected);
    assert_eq!(found, OutcomeEstimator::default());
}

#[test]
fn unknown_names_keys_and_options_of_others_are_refused() {
    check_refused(r#"{"kind": "gpro"}"#, "unknown variant `gpro`");
    check_refused(r#"{"kind": "rloo", "esp": 1}"#, "unknown field `esp`");
    check_refused(
        r#"{"kind": "rloo", "eps": 1}"#,
        "`eps` is an option of `grpo`",
    );
    check_refused(r#"{"kind": "grpo", "eps": -1}"#, "`eps` is -1");
    check_refused(
        r#"{"kind": "grpo", "scale": "std"}"#,
        "unknown variant `std`",
    );
    check_refused(r#"{"scale": "group"}"#, "missing field `kind`");
}

#[test]
fn gdpo_reads_named_columns_and_survives_the_way_back() {
    let text = "
        batch_step = 'tokens'
        [[columns]]
        name = 'correct'
        [[columns]]
        name = 'short'
        weight = 0.25
        only_where = { column = 'correct', at_least = 1.0 }
    ";
    let found: Gdpo = toml::from_str(text).unwrap();
    let expected = Gdpo {
        columns: vec![
            RewardColumn::new("correct", 1.0),
            RewardColumn {
                only_where: Some(Condition {
                    column: "correct".to_owned(),
                    at_least: 1.0,
                }),
                ..RewardColumn::new("short", 0.25)
            },
        ],
        eps: 1e-4,
        batch_step: BatchStep::Tokens,
    };
    assert_eq!(found, expected);
    let written = toml::to_string(&found).unwrap();
    assert_eq!(toml::from_str::<Gdpo>(&written).unwrap(), found);
    let error = toml::from_str::<Gdpo>("columns = [{ nmae = 'correct' }]").unwrap_err();
    assert!(error.to_string().contains("unknown field `nmae`"));
    assert_eq!(Gdpo::default().batch_step, BatchStep::Samples);
}
