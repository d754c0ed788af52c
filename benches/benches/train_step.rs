//! How long does one RL step of the quickstart take? Sampled tokens per second of the whole step.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use longhand_benches::Quickstart;
use longhand_config::Stage;
use longhand_trainer::rl::Learner;

fn train_step(c: &mut Criterion) {
    let quickstart = Quickstart::load();
    let experiment = &quickstart.experiment;
    let settings = experiment.stages.iter().find_map(|stage| match stage {
        Stage::Rl(settings) => Some(settings.as_ref()),
        Stage::WarmStart(_) => None,
    });
    let settings = settings.expect("the quickstart has an RL stage");
    let mut policy = quickstart.policy.clone();
    let mut learner = Learner::new(
        settings,
        &quickstart.bench,
        &policy,
        1,
        experiment.data.train_tokens,
    );
    let first = learner.step(&mut policy, 0).expect("a step");
    let mut step = 0;
    let mut group = c.benchmark_group("train step");
    group
        .sample_size(10)
        .throughput(Throughput::Elements(first.report.n_sampled as u64));
    group.bench_function("quickstart, TAMTRL, 12 problems x 8", |b| {
        b.iter(|| {
            step += 1;
            learner.step(&mut policy, step).expect("a step")
        });
    });
    group.finish();
}

criterion_group!(benches, train_step);
criterion_main!(benches);
