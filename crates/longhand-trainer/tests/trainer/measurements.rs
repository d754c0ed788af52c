//! What is measured: whole documents, the same ones every time, and reports that add up.

use longhand_config::Experiment;
use longhand_tasks::Split;
use longhand_trainer::{EvalOptions, EvalReport, evaluate, resident_bytes};

use crate::fixture::{Trial, largest_difference, taught, untaught};

fn options(experiment: &Experiment) -> EvalOptions {
    EvalOptions {
        n_documents: 12,
        seed: 5,
        temperature: 0.0,
        batch: 5,
        split: Split::Test,
        chunks: experiment.reader.evaluation_chunks(),
    }
}

fn measure(trial: &Trial, lengths: &[usize], options: &EvalOptions) -> EvalReport {
    evaluate(&trial.policy, &trial.bench, lengths, options, |_, _, _| {
        Ok(())
    })
    .unwrap()
}

#[test]
fn whole_documents_are_read_whatever_training_cuts_away() {
    let trial = untaught("tamtrl", &["reader.max_chunks=1"]);
    let (output, _) = trial.first_step(&trial.rl);
    assert_eq!(
        output.report.turns, 2.0,
        "training reads one chunk and answers"
    );
    assert_eq!(output.report.n_truncated_documents, 16);
    let report = measure(&trial, &[36, 180], &options(&trial.experiment));
    let chunks: Vec<f64> = report
        .lengths
        .iter()
        .map(|score| score.mean_chunks)
        .collect();
    assert_eq!(chunks, [2.0, 10.0]);
}

#[test]
fn how_many_documents_are_read_side_by_side_changes_no_figure() {
    let trial = taught("tamtrl", &[]);
    for temperature in [0.0, 1.0] {
        let options = EvalOptions {
            temperature,
            ..options(&trial.experiment)
        };
        let all = measure(
            &trial,
            &[36, 72],
            &EvalOptions {
                batch: 12,
                ..options
            },
        );
        let single = measure(
            &trial,
            &[36, 72],
            &EvalOptions {
                batch: 1,
                ..options
            },
        );
        assert_eq!(all, single);
        assert!(0.0 < all.at_first_length(), "something is right");
    }
}

#[test]
fn figures_add_up() {
    let trial = taught("tamtrl", &[]);
    let report = measure(&trial, &[36], &options(&trial.experiment));
    let [score] = &report.lengths[..] else {
        panic!("{report:?}")
    };
    assert_eq!((score.target_tokens, score.n_documents), (36, 12));
    assert!(
        (score.mean_tokens - 36.0).abs() < 1e-12 && score.mean_chunks == 2.0,
        "{score:?}"
    );
    assert!(score.low <= score.accuracy && score.accuracy <= score.high);
    let n: usize = score.by_facts.iter().map(|facts| facts.n_documents).sum();
    let sum: f64 = score
        .by_facts
        .iter()
        .map(|facts| facts.accuracy * facts.n_documents as f64)
        .sum();
    assert_eq!(n, 12);
    assert!((sum / 12.0 - score.accuracy).abs() < 1e-12);
    assert!(score.by_facts.iter().map(|facts| facts.n_facts).eq([1, 2]));
}

#[test]
fn other_documents_are_held_out_than_are_trained_on() {
    let trial = untaught("tamtrl", &[]);
    let seed = trial.experiment.seed;
    let documents = |split| -> Vec<Vec<u32>> {
        let problem = |idx| trial.bench.problem(split, seed, idx, 36).unwrap();
        (0..20)
            .map(|idx| problem(idx).document.ids.clone())
            .collect()
    };
    let (train, test) = (documents(Split::Train), documents(Split::Test));
    assert!(train.iter().all(|document| !test.contains(document)));
}

#[test]
fn a_step_report_is_what_its_rollouts_say() {
    let trial = taught("tamtrl", &[]);
    let (output, _) = trial.first_step(&trial.rl);
    let report = &output.report;
    let attempts: Vec<_> = output
        .scored
        .iter()
        .flat_map(|scored| &scored.group.trajectories)
        .collect();
    let turns: Vec<_> = attempts.iter().flat_map(|attempt| &attempt.turns).collect();
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
    let close = |found: f64, expected: f64| {
        assert!((found - expected).abs() < 1e-9, "{found}, not {expected}")
    };
    close(
        report.reward,
        mean(
            output
                .scored
                .iter()
                .flat_map(|scored| scored.outcomes.clone())
                .collect(),
        ),
    );
    let surprises = turns
        .iter()
        .flat_map(|turn| turn.rollout_logprobs.iter().map(|lp| -f64::from(*lp)));
    close(report.entropy, mean(surprises.collect()));
    let lengths = |reads: bool| {
        let of_kind = turns
            .iter()
            .filter(|turn| turn.teacher_prompt.is_some() == reads);
        mean(of_kind.map(|turn| turn.completion.len() as f64).collect())
    };
    close(report.memory_tokens, lengths(true));
    close(report.answer_tokens, lengths(false));
    close(report.turns, 3.0);
    assert_eq!(
        report.n_sampled,
        attempts
            .iter()
            .map(|attempt| attempt.n_sampled())
            .sum::<usize>()
    );
    assert_eq!(
        report.n_trained_tokens, report.n_sampled,
        "every turn has a credit"
    );
    assert!(
        report.n_run_tokens < report.n_unshared_tokens,
        "prefixes are shared"
    );
    assert_eq!(
        (report.n_groups, report.n_trained_groups, report.n_updates),
        (4, 4, 2)
    );
    let (timing, phases) = (&output.timing, output.timing.phases.unwrap());
    assert!(0.0 < timing.seconds && phases.seconds_train <= timing.seconds);
    let id = trial.policy.weights_id();
    assert_eq!(
        (report.policy_version, &report.weights_digest),
        (id.version, &id.digest_hex())
    );
    assert_eq!((report.n_attempts, report.n_masked_attempts), (16, 0));
    let credits = output.credited.turns.iter().flatten().flatten();
    let live = credits.filter(|turn| turn.advantage != Some(0.0)).count();
    assert_eq!(report.n_rows, live, "rows of advantage zero are not run");
    close(report.live_rows, live as f64 / turns.len() as f64);
}

#[test]
fn recorded_numbers_are_those_of_a_scoring_pass() {
    use longhand_rollout::Context;
    let trial = taught("objectives", &[]);
    let (output, _) = trial.first_step(&trial.rl);
    for turn in output
        .scored
        .iter()
        .flat_map(|scored| &scored.group.trajectories)
        .flat_map(|attempt| &attempt.turns)
    {
        let context = Context {
            group: 0,
            prompt: &turn.prompt,
            completion: &turn.completion,
        };
        let scores = trial
            .policy
            .score(&[context], trial.rl.sampling.temperature);
        assert!(largest_difference(&scores.logprobs, &turn.rollout_logprobs) < 1e-5);
    }
}

#[test]
fn the_system_says_how_much_memory_is_held() {
    if cfg!(target_os = "linux") {
        assert!(1_000_000 < resident_bytes().unwrap());
    }
}
