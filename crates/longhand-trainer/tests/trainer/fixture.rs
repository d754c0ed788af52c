//! A smoke run up to its first RL stage.

use std::path::{Path, PathBuf};

use longhand_config::{Experiment, Optimizer, Rl, Stage, WarmStart};
use longhand_policy::Policy;
use longhand_trainer::{
    WarmStarter, Workbench, compute, open_policy,
    rl::{Learner, StepOutput},
};

/// The runs of `configs/smoke`.
pub(crate) const SMOKE: [&str; 3] = ["tamtrl", "memagent", "objectives"];

/// An experiment, a policy behind its warm start, and what both need.
pub(crate) struct Trial {
    pub(crate) experiment: Experiment,
    pub(crate) bench: Workbench,
    pub(crate) policy: Policy,
    /// Its first RL stage.
    pub(crate) rl: Rl,
}

/// A smoke run with overrides as on the command line.
pub(crate) fn experiment(name: &str, overrides: &[&str]) -> Experiment {
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    Experiment::load(&smoke_file(name), &overrides).unwrap()
}

fn smoke_file(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/smoke");
    folder.join(format!("{name}.toml"))
}

/// The first warm start of an experiment.
pub(crate) fn warm_start(experiment: &Experiment) -> &WarmStart {
    match &experiment.stages[0] {
        Stage::WarmStart(settings) => settings,
        Stage::Rl(_) => panic!("smoke runs begin with a warm start"),
    }
}

/// A policy with its random first weights.
pub(crate) fn untaught(name: &str, overrides: &[&str]) -> Trial {
    let experiment = experiment(name, overrides);
    let policy = open_policy(&experiment, &compute(&experiment).unwrap()).unwrap();
    let bench = Workbench::new(&experiment, &policy).unwrap();
    let rl = experiment.stages.iter().find_map(|stage| match stage {
        Stage::Rl(settings) => Some(settings.as_ref().clone()),
        Stage::WarmStart(_) => None,
    });
    Trial {
        rl: rl.unwrap(),
        experiment,
        bench,
        policy,
    }
}

/// A policy that solves some problems and fails others.
pub(crate) fn taught(name: &str, overrides: &[&str]) -> Trial {
    let mut trial = untaught(name, overrides);
    let settings = warm_start(&trial.experiment);
    let mut starter = WarmStarter::new(settings, &trial.bench, trial.experiment.seed, 0);
    for step in 0..settings.steps {
        starter.step(&mut trial.policy, step).unwrap();
    }
    trial
}

impl Trial {
    pub(crate) fn learner<'a>(&'a self, rl: &'a Rl) -> Learner<'a> {
        let experiment = &self.experiment;
        let train_tokens = experiment.data.train_tokens;
        Learner::new(rl, &self.bench, &self.policy, experiment.seed, train_tokens)
    }

    /// The first step of a stage with these settings, and the policy after it.
    pub(crate) fn first_step(&self, rl: &Rl) -> (StepOutput, Policy) {
        let mut policy = self.policy.clone();
        let output = self.learner(rl).step(&mut policy, 0).unwrap();
        (output, policy)
    }
}

/// AdamW whose first update is the gradient itself, but for a share of `|gradient| / 1000`; for
/// comparing gradients through weights.
pub(crate) fn plain_gradient(optimizer: &mut Optimizer) {
    optimizer.lr = 1e3;
    optimizer.eps = 1e3;
    optimizer.weight_decay = 0.0;
    optimizer.max_grad_norm = 1e9;
    optimizer.warmup_steps = 0;
}

/// All weights, one after the other.
pub(crate) fn weights(policy: &Policy) -> Vec<f32> {
    let named = policy.named_weights();
    named.into_iter().flat_map(|(_, values)| values).collect()
}

/// The largest absolute difference.
pub(crate) fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f32::max)
}
