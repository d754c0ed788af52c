//! Several rewards at once, what they are made of, and control of entropy.

use longhand_config::{AttemptReward, Credit, Rl};
use longhand_objective::{
    ClipCov, EntropyBonus, EntropyControl, KlCov, Scope, Stare, StareVariant, TokenRule,
};
use longhand_policy::Policy;
use longhand_rollout::{Prompts, contexts};
use longhand_trainer::{ScoredGroup, rl::StepOutput};

use crate::fixture::{Trial, largest_difference, plain_gradient, taught, weights};

/// Mean entropy and mean self-certainty of an attempt's tokens, each context scored by itself.
fn alone(scored: &ScoredGroup, attempt: usize, policy: &Policy, temperature: f64) -> (f64, f64) {
    let (mut n, mut entropy, mut certainty) = (0.0, 0.0, 0.0);
    for (at, context) in contexts([&scored.group], Prompts::Student) {
        if at.trajectory == attempt {
            let scores = policy.score(&[context], temperature);
            let sum = |values: &[f32]| values.iter().map(|value| f64::from(*value)).sum::<f64>();
            n += scores.entropies.len() as f64;
            entropy += sum(&scores.entropies);
            certainty += sum(&scores.self_certainties);
        }
    }
    (entropy / n, certainty / n)
}

fn column(rl: &Rl, name: &str) -> usize {
    rl.credit
        .columns()
        .iter()
        .position(|column| *column == name)
        .unwrap()
}

#[test]
fn each_reward_of_a_list_is_what_it_says() {
    let trial = taught("rewards", &[]);
    let (output, _) = trial.first_step(&trial.rl);
    let of = |name| column(&trial.rl, name);
    let mut n_shares = std::collections::BTreeSet::new();
    for scored in &output.scored {
        for (attempt, row) in scored.columns.iter().enumerate() {
            assert_eq!(row[of("outcome")], Some(scored.outcomes[attempt]));
            let answer = &scored.answers[attempt];
            let n_same = scored
                .answers
                .iter()
                .filter(|other| *other == answer)
                .count();
            let n_read = scored.answers.iter().flatten().count();
            let vote = if answer.is_some() {
                n_same as f64 / n_read as f64
            } else {
                0.0
            };
            assert_eq!(row[of("cluster-vote")], Some(vote));
            n_shares.insert(n_same);
            let n_sampled = scored.group.trajectories[attempt].n_sampled();
            assert_eq!(row[of("length")], Some(f64::from(n_sampled <= 12)));
            assert_eq!(row[of("format")], Some(f64::from(answer.is_some())));
            let (_, certainty) = alone(scored, attempt, &trial.policy, 1.0);
            let found = row[of("self-certainty")].unwrap();
            assert!((found - certainty).abs() < 1e-5, "{found} {certainty}");
            let (entropy, _) = alone(scored, attempt, &trial.policy, 1.5);
            let found = row[of("negative-entropy")].unwrap();
            assert!((found + entropy).abs() < 1e-5, "{found} {entropy}");
        }
    }
    assert!(1 < n_shares.len(), "votes differ: {n_shares:?}");
}

#[test]
fn a_line_tells_of_every_reward_and_of_collapse() {
    let trial = taught("rewards", &[]);
    let (output, _) = trial.first_step(&trial.rl);
    let line = serde_json::to_value(&output.report).unwrap();
    let names: Vec<&String> = line["reward_columns"].as_object().unwrap().keys().collect();
    let expected = [
        "cluster-vote",
        "format",
        "integer",
        "length",
        "negative-entropy",
        "outcome",
        "self-certainty",
    ];
    assert_eq!(names, expected);
    for (key, low, high) in [
        ("token_entropy", 1e-6, 5.0),
        ("self_certainty", 1e-6, 50.0),
        ("response_tokens", 1.0, 30.0),
        ("repetition", 0.0, 1.0),
        ("distinct_answers", 1.0, 4.0),
        ("cluster_share", 0.25, 1.0),
        ("label_accuracy", 0.0, 1.0),
        ("selected_tokens", 0.0, 1.0),
        ("control_weight", 1.0, 1.5),
        ("entropy_target", 0.5, 0.5),
        ("entropy_coef", 0.0, 1.0),
        ("teacher_lowest", 0.0, 1.0),
    ] {
        let value = line[key]
            .as_f64()
            .unwrap_or_else(|| panic!("{key}: {line}"));
        assert!((low..=high).contains(&value), "{key}: {value}");
    }
    let mean = |name| {
        let column = column(&trial.rl, name);
        let rows = output.scored.iter().flat_map(|scored| &scored.columns);
        let values: Vec<f64> = rows.filter_map(|row| row[column]).collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    let told = line["reward_columns"]["cluster-vote"].as_f64().unwrap();
    assert!((told - mean("cluster-vote")).abs() < 1e-12);
}

#[test]
fn the_published_variant_of_self_certainty_looks_one_position_later() {
    let mut trial = taught("rewards", &[]);
    let Credit::Rewards(rewards) = &mut trial.rl.credit else {
        panic!("several rewards");
    };
    for reward in &mut rewards.rewards {
        if let AttemptReward::SelfCertainty { alignment, .. } = reward {
            *alignment = longhand_reward_certainty::Alignment::Shifted;
        }
    }
    let (output, _) = trial.first_step(&trial.rl);
    let column = column(&trial.rl, "self-certainty");
    let scored = &output.scored[0];
    for (attempt, row) in scored.columns.iter().enumerate() {
        let (mut n, mut sum) = (0.0, 0.0);
        for (at, context) in contexts([&scored.group], Prompts::Student) {
            if at.trajectory != attempt {
                continue;
            }
            // Behind the last token any token stands, for its own prediction is not asked for.
            let longer = [context.completion, &[3]].concat();
            let longer = longhand_rollout::Context {
                completion: &longer,
                ..context
            };
            let certainties = trial.policy.score(&[longer], 1.0).self_certainties;
            n += context.completion.len() as f64;
            sum += certainties[1..]
                .iter()
                .map(|value| f64::from(*value))
                .sum::<f64>();
        }
        assert!((row[column].unwrap() - sum / n).abs() < 1e-5);
    }
}

#[test]
fn attempts_that_only_vote_count_in_every_vote_and_train_nothing() {
    let trial = taught("rewards", &[]);
    let (all, _) = trial.first_step(&trial.rl);
    let mut rl = trial.rl.clone();
    rl.trained_attempts = 2;
    let (some, _) = trial.first_step(&rl);
    assert_eq!(some.scored.len(), all.scored.len());
    for (all, trained) in all.scored.iter().zip(&some.scored) {
        assert_eq!(trained.attempts, [0, 1]);
        assert_eq!(
            trained.columns,
            all.columns[..2],
            "the votes are those of four"
        );
        assert_eq!(trained.answers, all.answers[..2]);
        assert_eq!(trained.group.trajectories, all.group.trajectories[..2]);
    }
    let voters = some.left_out.iter().map(|(scored, dropped)| {
        assert_eq!(*dropped, longhand_run::TranscriptDropped::VotesOnly);
        scored.attempts.clone()
    });
    assert_eq!(
        voters.collect::<Vec<_>>(),
        vec![vec![2, 3]; all.scored.len()]
    );
    assert_eq!(some.report.n_attempts, all.report.n_attempts);
    assert_eq!(some.report.distinct_answers, all.report.distinct_answers);
    assert!(some.report.n_trained_tokens < all.report.n_trained_tokens);
}

/// Two updates with the gradient itself as each update.
fn step(trial: &Trial, entropy: EntropyControl, micro_batch_tokens: usize) -> (StepOutput, Policy) {
    let mut rl = trial.rl.clone();
    plain_gradient(&mut rl.optimizer);
    rl.optimizer.lr *= 0.1;
    rl.entropy = entropy;
    rl.micro_batch_tokens = micro_batch_tokens;
    trial.first_step(&rl)
}

fn rules() -> Vec<TokenRule> {
    let fraction = 0.2;
    vec![
        TokenRule::KlCov(KlCov {
            fraction,
            ..KlCov::original()
        }),
        TokenRule::KlCov(KlCov {
            fraction,
            coef: 1.0,
            ..KlCov::circa()
        }),
        TokenRule::ClipCov(ClipCov {
            fraction,
            low: -0.1,
            high: 5.0,
        }),
        TokenRule::Stare(Stare {
            variant: StareVariant::C2,
            quantile: fraction,
            amplify: 1.5,
            attenuate: 0.5,
            target_entropy: None,
            ..Stare::default()
        }),
    ]
}

#[test]
fn the_size_of_a_micro_batch_changes_no_choice_of_a_larger_scope() {
    let trial = taught("rewards", &[]);
    let none = EntropyControl::default();
    let (_, uncontrolled) = step(&trial, none, 1_000_000);
    let uncontrolled = weights(&uncontrolled);
    let controls = rules()
        .into_iter()
        .map(|rule| EntropyControl { rule, ..none });
    let top = EntropyControl {
        top_entropy_fraction: 0.2,
        bonus: EntropyBonus {
            coef: 0.5,
            ..EntropyBonus::default()
        },
        ..none
    };
    for control in controls.chain([top]) {
        for scope in [Scope::MiniBatch, Scope::Batch] {
            let control = EntropyControl { scope, ..control };
            let (whole, whole_policy) = step(&trial, control, 1_000_000);
            let whole_weights = weights(&whole_policy);
            let selected = whole.report.selected_tokens.unwrap();
            assert!(0.01 < selected && selected < 0.9, "{control:?}: {selected}");
            let moved = largest_difference(&uncontrolled, &whole_weights);
            assert!(1e-4 < moved, "{control:?} acts: {moved}");
            for micro_batch_tokens in [48, 200] {
                let (cut, policy) = step(&trial, control, micro_batch_tokens);
                assert_eq!(cut.report.selected_tokens, Some(selected), "{control:?}");
                let difference = largest_difference(&whole_weights, &weights(&policy));
                assert!(
                    difference < 0.02 * moved,
                    "{control:?}: {difference} of {moved}"
                );
            }
        }
    }
}

#[test]
fn a_bonus_on_entropy_raises_it() {
    let trial = taught("rewards", &[]);
    let entropy_after = |coef| {
        let bonus = EntropyBonus {
            coef,
            ..EntropyBonus::default()
        };
        let control = EntropyControl {
            bonus,
            ..EntropyControl::default()
        };
        let (output, policy) = step(&trial, control, 1_000_000);
        let scored = &output.scored[0];
        let of_attempts = (0..scored.outcomes.len()).map(|idx| alone(scored, idx, &policy, 1.0).0);
        of_attempts.sum::<f64>() / scored.outcomes.len() as f64
    };
    let (without, with) = (entropy_after(0.0), entropy_after(0.5));
    assert!(without + 1e-3 < with, "{without} {with}");
}

#[test]
fn controllers_see_the_entropy_of_the_whole_batch_before_its_updates() {
    let trial = taught("rewards", &[]);
    let (output, _) = trial.first_step(&trial.rl);
    let entropy = output.report.token_entropy.unwrap();
    for (target, weight, gate) in [(entropy + 0.01, 1.15, true), (entropy - 0.01, 1.05, false)] {
        let mut rl = trial.rl.clone();
        rl.entropy.rule = TokenRule::Stare(Stare {
            target_entropy: Some(target),
            step: 0.05,
            ..Stare::default()
        });
        let (output, _) = trial.first_step(&rl);
        assert_eq!(output.report.entropy_gate, Some(gate));
        let found = output.report.control_weight.unwrap();
        assert!((found - weight).abs() < 1e-12, "{found}");
    }
}
