//! Imitation lowers its loss, and stops where it is told to.

use longhand_trainer::{TrainOptions, WarmStarter, train};

use crate::fixture::{SMOKE, experiment, untaught, warm_start};

#[test]
fn a_warm_start_halves_its_losses() {
    for name in SMOKE {
        let mut trial = untaught(name, &[]);
        let settings = warm_start(&trial.experiment);
        let mut starter = WarmStarter::new(settings, &trial.bench, trial.experiment.seed, 0);
        let mut losses = Vec::new();
        for step in 0..settings.steps {
            let (report, _) = starter.step(&mut trial.policy, step).unwrap();
            assert!(
                report.grad_norm.is_finite() && 0.0 < report.grad_norm,
                "{report:?}"
            );
            losses.push([report.read_loss, report.answer_loss]);
        }
        for what in [0, 1] {
            let mean = |part: &[[f64; 2]]| {
                part.iter().map(|losses| losses[what]).sum::<f64>() / part.len() as f64
            };
            let (first, last) = (mean(&losses[..5]), mean(&losses[losses.len() - 5..]));
            assert!(last < 0.5 * first, "{name}: {first} to {last}");
        }
    }
}

#[test]
fn it_stops_at_the_accuracy_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    // Any accuracy is enough, so the first check is the last.
    let experiment = experiment(
        "tamtrl",
        &[
            "stage.0.stop_at=1e-9",
            "stage.0.check_every=10",
            "stage.1.steps=1",
        ],
    );
    train(
        &experiment,
        &TrainOptions {
            out: Some(out.clone()),
            ..TrainOptions::default()
        },
    )
    .unwrap();
    let metrics = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let n_steps = metrics
        .lines()
        .filter(|line| line.contains(r#""stage":"warm-start""#))
        .count();
    assert_eq!(n_steps % 10, 0);
    assert!(n_steps < 40, "{n_steps}");
}
