//! What a file that makes sense becomes, and how it is written out again.

use longhand_advantage::{OutcomeEstimator, Scale};
use longhand_config::{Credit, PolicySource, Stage, Unit, keys, keys_markdown};
use longhand_objective::{Aggregation, Kl, PolicyLoss};

use crate::{BASE, check_set, load, rl};

#[test]
fn the_base_has_the_documented_defaults() {
    let experiment = load(BASE, &[]).unwrap();
    let PolicySource::FromScratch(policy) = &experiment.policy else {
        panic!()
    };
    assert_eq!((policy.n_kv_heads, policy.head_dim), (2, 32));
    assert_eq!((policy.embedding_std, policy.q_norm_init), (1.0, Some(1.5)));
    assert_eq!(experiment.data.paragraph, "{text} ");
    assert_eq!(experiment.checker.name(), "exact-match");
    assert_eq!(experiment.eval.lengths, [192]);
    let Stage::WarmStart(warm_start) = &experiment.stages[0] else {
        panic!()
    };
    assert_eq!(
        (&warm_start.tokens[..], &warm_start.chunk_sizes[..]),
        (&[192][..], &[48][..])
    );
    assert_eq!(warm_start.optimizer.beta2, 0.95);
    let rl = rl(&experiment);
    assert_eq!((rl.mini_batches, rl.sampling.temperature), (1, 1.0));
    assert_eq!(rl.objective.unit, Unit::Trajectory);
    assert_eq!(rl.objective.aggregation, Aggregation::TokenMean);
    assert_eq!(rl.objective.objective.kl.coef, 0.0);
    assert_eq!(rl.objective.objective.log_ratio_clamp, Some(20.0));
    let Credit::Tamtrl(credit) = rl.credit else {
        panic!()
    };
    assert!(credit.rewards.length_norm);
}

#[test]
fn settings_that_follow_from_others() {
    let experiment = load(
        BASE,
        &[
            "stage.1.objective.policy_loss=gspo",
            "stage.1.objective.kl.estimator=k3",
            "policy.from_scratch.tie_embeddings=true",
        ],
    );
    let experiment = experiment.unwrap();
    let objective = &rl(&experiment).objective;
    assert_eq!(objective.aggregation, Aggregation::SeqMeanTokenMean);
    assert_eq!(
        (
            objective.objective.kl.estimator,
            objective.objective.kl.coef
        ),
        (Kl::K3, 1e-3)
    );
    assert_eq!(
        objective.objective.policy_loss,
        PolicyLoss::Gspo {
            clip_low: 3e-4,
            clip_high: 4e-4
        }
    );
    let PolicySource::FromScratch(policy) = &experiment.policy else {
        panic!()
    };
    assert_eq!(policy.embedding_std, 0.125);
}

#[test]
fn shorthands_stand_for_tables() {
    let text = BASE.replace("[stage.credit]\nkind = \"tamtrl\"", "credit = \"outcome\"");
    assert_eq!(
        rl(&load(&text, &[]).unwrap()).credit,
        Credit::Outcome(OutcomeEstimator::Memagent)
    );
    let experiment = load(
        &text,
        &[
            "stage.1.credit.estimator=grpo",
            "stage.1.credit.estimator.scale=none",
        ],
    );
    let grpo = OutcomeEstimator::Grpo {
        scale: Scale::None,
        eps: 1e-6,
    };
    assert_eq!(rl(&experiment.unwrap()).credit, Credit::Outcome(grpo));
    // The kind of a table that has a default one may be left out.
    let experiment = load(&text, &["stage.1.objective.policy_loss.clip_high=0.28"]).unwrap();
    let expected = PolicyLoss::PpoClip {
        clip_low: 0.2,
        clip_high: 0.28,
        dual_clip: Some(3.0),
    };
    assert_eq!(rl(&experiment).objective.objective.policy_loss, expected);
}

#[test]
fn the_resolved_file_loads_back_to_the_same_experiment() {
    let tweaks: &[&[&str]] = &[
        &[],
        &[
            "policy={ path = \"a \\\"folder\\\"\" }",
            "paper=tamtrl",
            "description=ä\u{7f}b",
        ],
        &[
            "stage.1.credit={ kind = \"outcome\", estimator = { kind = \"grpo\", scale = \"batch\" } }",
        ],
        &[
            "stage.1.credit=outcome",
            "stage.1.objective.policy_loss=gspo",
            "stage.1.objective.log_ratio_clamp=none",
        ],
        &[
            "stage.1.objective.policy_loss.dual_clip=none",
            "stage.1.objective.kl.estimator=k3",
        ],
        &[
            "stage.1.dynamic_sampling.max_generation_batches=3",
            "stage.1.overlong={ max = 52, buffer = 8 }",
        ],
        &[
            "reader.template={ read = \"{question}{chunk}{memory}\\n\", answer = \"{question}{memory}\" }",
        ],
        &[
            "task={ kind = \"jsonl\", path = \"a.jsonl\" }",
            "seed=9223372036854775807",
        ],
        &[
            "task={ kind = \"multi-hop\", tiers = { unrelated = 0 } }",
            "policy.from_scratch.tokenizer=bpe",
        ],
        &[
            "policy.from_scratch.tie_embeddings=true",
            "stage.0.stop_at=0.6",
            "stage.0.check_every=50",
        ],
        &[
            "compute={ threads = 4, instructions = \"avx512-bf16\", precision = \"bf16\" }",
            "compute.activation_checkpointing=true",
            "compute.engine=burn",
        ],
        &[
            "compute.rollout_weights=int8",
            "stage.1.objective.importance=sequence",
        ],
    ];
    for overrides in tweaks {
        let experiment = load(BASE, overrides).unwrap_or_else(|error| panic!("{error}"));
        let resolved = experiment.resolved_toml();
        let again = load(&resolved, &[]).unwrap_or_else(|error| panic!("{error}\n{resolved}"));
        assert_eq!(again, experiment, "{resolved}");
        assert_eq!(again.resolved_toml(), resolved);
    }
}

#[test]
fn the_resolved_file_writes_defaults_out() {
    let resolved = load(BASE, &[]).unwrap().resolved_toml();
    let lines = [
        "seed = 0",
        "n_kv_heads = 2",
        "head_dim = 32",
        "embedding_std = 1.0",
        "two_fact_share = 0.5",
        "paragraph = \"{text} \"",
        "lengths = [192]",
        "aggregation = \"token-mean\"",
        "dual_clip = 3.0",
        "keep_last = 2",
        "[compute]",
        "threads = \"all\"",
        "instructions = \"auto\"",
        "precision = \"auto\"",
        "rollout_weights = \"same\"",
        "activation_checkpointing = false",
        "engine = \"auto\"",
    ];
    for line in lines {
        assert!(
            resolved.lines().any(|found| found == line),
            "{line} in\n{resolved}"
        );
    }
}

#[test]
fn overrides_reach_everywhere_and_the_last_one_wins() {
    let experiment = load(
        BASE,
        &[
            "name=2026",
            "seed=1",
            "seed=2",
            "stage.1.optimizer.lr=1e-3",
            "eval.lengths=[192, 384]",
            "description=true",
        ],
    );
    let experiment = experiment.unwrap();
    assert_eq!(
        (experiment.name.as_str(), experiment.description.as_str()),
        ("2026", "true")
    );
    assert_eq!((experiment.seed, rl(&experiment).optimizer.lr), (2, 1e-3));
    assert_eq!(experiment.eval.lengths, [192, 384]);
    check_set(
        &["stage.2.steps=1"],
        Err("--set stage.2.steps=1: `stage` is a list without entry `2`; its indices are 0 to 1"),
    );
    check_set(
        &["steps"],
        Err("--set steps: expected key.path=value, found no `=`"),
    );
    check_set(
        &["nowhere=1"],
        Err(
            "--set nowhere=1: `nowhere`: unknown key; the keys here are `name`, `description`, \
                                   `paper`, `seed`, `policy`, `task`, `data`, `reader`, `reward`, `stage`, `eval`, \
                                   `checkpoint`, `compute`",
        ),
    );
    check_set(
        &["stage.1.steps=8O"],
        Err(
            "--set stage.1.steps=8O: `stage.1.steps`: expected a whole number from 1 to \
                                          1000000000, found the text \"8O\"",
        ),
    );
    // A new kind does not take the keys of the old one along.
    let with_options = BASE.replace("kind = \"tamtrl\"", "kind = \"tamtrl\"\nminmax = \"turn\"");
    let error = load(&with_options, &["stage.1.credit.kind=outcome"])
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("a.toml:30:1: `stage.1.credit.minmax`: unknown key; `minmax` belongs to `stage.N<rl>.credit<tamtrl>.minmax`"), "{error}");
    assert!(load(&with_options, &["stage.1.credit=outcome"]).is_ok());
}

#[test]
fn every_key_is_documented() {
    let keys = keys();
    for key in &keys {
        assert!(
            !key.meaning.is_empty() && !key.meaning.ends_with('.'),
            "{key:?}"
        );
        assert!(!key.default.is_empty(), "{key:?}");
    }
    let lr = keys
        .iter()
        .find(|key| key.path == "stage.N<rl>.optimizer.lr")
        .unwrap();
    assert_eq!(
        (lr.accepts.as_str(), lr.default.as_str()),
        ("a number above 0", "required")
    );
    let default_of = |path: &str| {
        let key = keys.iter().find(|key| key.path == path);
        key.unwrap().default.as_str()
    };
    assert_eq!(default_of("policy.from_scratch.family"), "`\"qwen3\"`");
    assert_eq!(default_of("stage.N<rl>.credit<outcome>.kind"), "this one");
    assert_eq!(
        default_of("stage.N<rl>.credit<tamtrl>.kind"),
        "another or none"
    );
    let table = keys_markdown();
    assert_eq!(table.lines().count(), keys.len() + 2);
    // Four cells in each row, whatever bars the texts contain.
    for row in table.lines() {
        assert_eq!(row.replace("\\|", "").matches('|').count(), 5, "{row}");
    }
    assert!(table.contains("\\|"));
}
