//! Several rewards, and control of entropy.

use longhand_advantage::{BatchStep, OutcomeEstimator};
use longhand_config::{AttemptReward, Combination, Credit, Experiment, RewardsCredit};
use longhand_objective::{KlCovForm, Scope, TokenRule};
use longhand_reward_outcome::AnswerRelation;

use crate::{BASE, load, rl};

const CIRCA: &str = "stage.1.credit={kind=\"gdpo\", batch_step=\"none\", rewards=[\
     {kind=\"cluster-vote\", weight=0.5}, {kind=\"self-certainty\", weight=0.5}]}";

fn rewards(overrides: &[&str]) -> RewardsCredit {
    let experiment = load(BASE, overrides).unwrap();
    match &rl(&experiment).credit {
        Credit::Rewards(rewards) => (**rewards).clone(),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refuse(overrides: &[&str], key: &str, part: &str) {
    let error = load(BASE, overrides).unwrap_err().to_string();
    let line = error
        .lines()
        .find(|line| line.contains(&format!("`stage.1.{key}`")));
    let line = line.unwrap_or_else(|| panic!("nothing about {key}: {error}"));
    assert!(line.contains(part), "{line}");
}

#[test]
fn a_list_of_rewards_becomes_columns() {
    let credit = rewards(&[CIRCA]);
    let names: Vec<&str> = credit.rewards.iter().map(AttemptReward::name).collect();
    assert_eq!(names, ["cluster-vote", "self-certainty"]);
    assert!(!credit.uses_truth() && credit.teacher.is_none());
    let AttemptReward::ClusterVote { relation, .. } = credit.rewards[0] else {
        panic!("{credit:?}");
    };
    assert_eq!(relation, AnswerRelation::Equivalence);
    let Combination::Gdpo(gdpo) = credit.combination else {
        panic!("{credit:?}");
    };
    assert_eq!((gdpo.eps, gdpo.batch_step), (1e-4, BatchStep::None));
    let weights: Vec<f64> = gdpo.columns.iter().map(|column| column.weight).collect();
    assert_eq!(weights, [0.5, 0.5]);
}

#[test]
fn bare_names_are_rewards_with_their_defaults() {
    let credit =
        rewards(&["stage.1.credit={kind=\"sum\", rewards=[\"outcome\", \"majority-vote\"]}"]);
    assert!(credit.uses_truth());
    let Combination::Sum { weights, estimator } = credit.combination else {
        panic!("{credit:?}");
    };
    assert_eq!(weights, [1.0, 1.0]);
    assert_eq!(estimator, OutcomeEstimator::default());
}

#[test]
fn conditions_name_other_rewards_of_the_list() {
    let list = |on: &str| {
        format!(
            "stage.1.credit={{kind=\"gdpo\", rewards=[\"outcome\", {{kind=\"self-certainty\", \
             only_where={{reward=\"{on}\", at_least=0.5}}}}]}}"
        )
    };
    let Combination::Gdpo(gdpo) = rewards(&[&list("outcome")]).combination else {
        panic!("asked for gdpo");
    };
    let condition = gdpo.columns[1].only_where.as_ref().unwrap();
    assert_eq!(
        (condition.column.as_str(), condition.at_least),
        ("outcome", 0.5)
    );
    let key = "credit.rewards.1.only_where.reward";
    refuse(&[&list("cluster-vote")], key, "add it");
    refuse(&[&list("self-certainty")], key, "not another reward");
    let summed = list("outcome").replace("gdpo", "sum");
    refuse(&[&summed], "credit.rewards.1.only_where", "kind = \"gdpo\"");
}

#[test]
fn lists_that_cannot_work_are_refused() {
    refuse(
        &["stage.1.credit={kind=\"gdpo\", rewards=[]}"],
        "credit.rewards",
        "empty",
    );
    refuse(
        &["stage.1.credit={kind=\"gdpo\"}"],
        "credit.rewards",
        "missing key",
    );
    let twice = "stage.1.credit={kind=\"gdpo\", rewards=[\"outcome\", \"outcome\"]}";
    refuse(&[twice], "credit.rewards.1", "twice");
    let teacher = "stage.1.credit={kind=\"gdpo\", rewards=[\"outcome\", \"teacher\"]}";
    refuse(&[teacher], "credit.batch_step", "one per turn");
    let teacher = teacher.replace("gdpo", "sum");
    refuse(&[&teacher], "credit.rewards", "gdpo");
    refuse(
        &["stage.1.credit={kind=\"sum\", rewards=[\"self-certanty\"]}"],
        "credit.rewards.0.kind",
        "did you mean \"self-certainty\"",
    );
}

#[test]
fn attempts_may_be_there_for_their_votes_alone() {
    let voting = |trained: &str| {
        [
            CIRCA.to_string(),
            format!("stage.1.trained_attempts={trained}"),
        ]
    };
    let load_voting = |trained| {
        let overrides = voting(trained);
        load(BASE, &[overrides[0].as_str(), overrides[1].as_str()])
    };
    assert_eq!(
        rl(&load(BASE, &[]).unwrap()).trained_attempts,
        8,
        "all of the group"
    );
    assert_eq!(rl(&load_voting("4").unwrap()).trained_attempts, 4);
    for (trained, part) in [("9", "at most 8"), ("1", "nothing to compare")] {
        let error = load_voting(trained).unwrap_err().to_string();
        assert!(
            error.contains("`stage.1.trained_attempts`") && error.contains(part),
            "{error}"
        );
    }
    refuse(
        &["stage.1.trained_attempts=4"],
        "trained_attempts",
        "4 attempts",
    );
}

#[test]
fn what_acts_on_outcomes_wants_them_rewarded() {
    refuse(
        &[CIRCA, "stage.1.skip_equal_outcomes=true"],
        "skip_equal_outcomes",
        "truth",
    );
    refuse(
        &[CIRCA, "stage.1.overlong={max=10, buffer=5}"],
        "overlong",
        "add it there",
    );
    refuse(
        &[CIRCA, "stage.1.group_size=1"],
        "group_size",
        "nothing to compare",
    );
    let with = CIRCA.replace("rewards=[", "rewards=[\"outcome\", ");
    let experiment = load(BASE, &[&with, "stage.1.overlong={max=10, buffer=5}"]);
    assert!(rl(&experiment.unwrap()).credit.uses_truth());
}

#[test]
fn the_policy_is_asked_about_its_tokens_once_for_each_temperature() {
    let passes = |rewards: &str, further: &[&str]| {
        let credit = format!("stage.1.credit={{kind=\"gdpo\", rewards=[{rewards}]}}");
        let overrides = [&[credit.as_str()], further].concat();
        rl(&load(BASE, &overrides).unwrap()).scoring_passes()
    };
    let (certainty, entropy) = ("\"self-certainty\"", "\"negative-entropy\"");
    assert_eq!(passes("\"cluster-vote\"", &[]), 0.0);
    assert_eq!(passes(certainty, &[]), 1.0);
    assert_eq!(passes(&format!("{entropy}, {certainty}"), &[]), 1.0);
    // At the papers' temperature, whatever tokens are sampled with.
    let cool = "stage.1.sampling.temperature=0.6";
    assert_eq!(passes(certainty, &[cool]), 1.0);
    let shifted = "{kind=\"self-certainty\", alignment=\"shifted\"}";
    assert_eq!(passes(&format!("{entropy}, {shifted}"), &[]), 1.0);
    let warm = "{kind=\"negative-entropy\", temperature=1.5}";
    assert_eq!(passes(&format!("{warm}, {certainty}"), &[]), 2.0);
    let bonus = "stage.1.entropy.bonus={coef=0.1, target=0.2}";
    assert_eq!(passes(certainty, &[bonus]), 1.0);
    assert_eq!(
        passes(certainty, &[bonus, cool]),
        2.0,
        "control looks at what is sampled"
    );
}

fn with_rule(rule: &str, further: &[&str]) -> Result<Experiment, longhand_config::ConfigError> {
    let rule = format!("stage.1.entropy.rule={rule}");
    let mut overrides = vec![
        rule.as_str(),
        "stage.1.mini_batches=2",
        "stage.1.problems_per_step=4",
    ];
    overrides.extend(further);
    load(BASE, &overrides)
}

#[test]
fn entropy_is_not_controlled_unless_asked() {
    let experiment = load(BASE, &[]).unwrap();
    assert!(rl(&experiment).entropy.is_none());
    assert_eq!(rl(&experiment).scoring_passes(), 0.0);
    let circa = with_rule("\"circa\"", &[]).unwrap();
    let TokenRule::KlCov(kl_cov) = rl(&circa).entropy.rule else {
        panic!("{circa:?}");
    };
    assert_eq!(
        (kl_cov.form, kl_cov.fraction),
        (KlCovForm::InsideClip, 0.02)
    );
    assert_eq!(rl(&circa).entropy.scope, Scope::MiniBatch);
    // Of two updates the first takes the recorded log-probabilities.
    assert_eq!(rl(&circa).scoring_passes(), 0.5);
    let batch = with_rule("\"circa\"", &["stage.1.entropy.scope=\"batch\""]).unwrap();
    assert_eq!(rl(&batch).scoring_passes(), 1.0);
    let told = batch
        .derived()
        .into_iter()
        .find(|(name, _)| name.contains("over its own tokens"));
    assert_eq!(told.unwrap().1, "1");
    let by_entropy = with_rule("\"none\"", &["stage.1.entropy.top_entropy_fraction=0.2"]).unwrap();
    assert_eq!(rl(&by_entropy).scoring_passes(), 1.0);
    let stare = with_rule("\"stare\"", &["stage.1.entropy.scope=\"micro-batch\""]).unwrap();
    assert_eq!(rl(&stare).scoring_passes(), 1.0, "for the mean entropy");
}

#[test]
fn a_penalty_that_is_always_zero_is_refused_unless_forced() {
    for rule in ["kl-cov", "circa"] {
        let single = format!("stage.1.entropy.rule=\"{rule}\"");
        refuse(
            &[&single, "stage.1.mini_batches=1"],
            "entropy.rule",
            "single update",
        );
        let forced = format!("{{kind=\"{rule}\", single_update=\"forced\"}}");
        with_rule(&forced, &["stage.1.mini_batches=1"]).unwrap();
    }
    with_rule("\"clip-cov\"", &["stage.1.mini_batches=1"]).unwrap();
}

#[test]
fn rules_that_cannot_work_are_refused() {
    let refuse_rule = |rule: &str, further: &[&str], key: &str, part: &str| {
        let error = with_rule(rule, further).unwrap_err().to_string();
        assert!(
            error.contains(&format!("`stage.1.{key}`")) && error.contains(part),
            "{error}"
        );
    };
    let gspo = "stage.1.objective.policy_loss=\"gspo\"";
    refuse_rule("\"kl-cov\"", &[gspo], "entropy.rule", "ppo-clip");
    with_rule("\"stare\"", &[gspo]).unwrap();
    refuse_rule(
        "{kind=\"circa\", fraction=2.0}",
        &[],
        "entropy.rule.fraction",
        "0",
    );
    refuse_rule(
        "{kind=\"clip-cov\", low=5, high=1}",
        &[],
        "entropy.rule",
        "nothing lies between",
    );
    let bonus = "stage.1.entropy.bonus={coef=0.1, min=2.0, max=1.0, target=0.2}";
    refuse_rule("\"none\"", &[bonus], "entropy.bonus", "max");
}
