//! What the benches share: the quickstart's policy and workbench, and contexts of its size.
//!
//! Each bench answers one question and prints tokens per second (criterion's `elem/s`).

use std::{path::Path, sync::Arc};

use longhand_config::Experiment;
use longhand_policy::{Compute, Policy};
use longhand_rollout::EncodedProblem;
use longhand_tasks::Split;
use longhand_trainer::{Workbench, open_policy};

/// The quickstart with its policy and problems.
pub struct Quickstart {
    /// The experiment.
    pub experiment: Experiment,
    /// Its policy.
    pub policy: Policy,
    /// Its reader and problems.
    pub bench: Workbench,
}

impl Quickstart {
    /// Loads `configs/quickstart.toml`.
    ///
    /// # Panics
    /// When the configuration or its policy cannot be loaded.
    pub fn load() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        std::env::set_current_dir(root).expect("the repository's root is there");
        let experiment = Experiment::load(Path::new("configs/quickstart.toml"), &[])
            .expect("the quickstart loads");
        let policy =
            open_policy(&experiment, &Compute::default()).expect("the quickstart's policy loads");
        let bench = Workbench::new(&experiment, &policy).expect("the quickstart's task opens");
        Self {
            experiment,
            policy,
            bench,
        }
    }

    /// Training problems, each with its index.
    ///
    /// # Panics
    /// When a problem cannot be made.
    pub fn problems(&self, n: u64) -> Vec<(u64, Arc<EncodedProblem>)> {
        let tokens = self.experiment.data.train_tokens;
        let problem = |idx| {
            self.bench
                .problem(Split::Train, 1, idx, tokens)
                .expect("the task makes problems")
        };
        (0..n).map(|idx| (idx, problem(idx))).collect()
    }
}

/// Prompts and completions in groups that share a prefix, of made-up ids.
pub fn contexts(
    n_groups: usize,
    n_suffixes: usize,
    n_prefix: usize,
    n_sampled: usize,
) -> Vec<(Vec<u32>, Vec<u32>)> {
    let ids = |n: usize, salt: usize| -> Vec<u32> {
        (0..n)
            .map(|i| ((i * 7 + salt * 13) % 90) as u32 + 8)
            .collect()
    };
    let pairs = (0..n_groups).flat_map(|group| (0..n_suffixes).map(move |suffix| (group, suffix)));
    pairs
        .map(|(group, suffix)| {
            (
                [ids(n_prefix, group), ids(3, suffix)].concat(),
                ids(n_sampled, group + suffix),
            )
        })
        .collect()
}
