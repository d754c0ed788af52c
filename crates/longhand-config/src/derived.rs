//! Numbers that follow from an experiment, for `--dry-run`: what one step and a whole run cost.

use crate::experiment::{Experiment, Stage};
use crate::objective::ObjectiveSettings;
use crate::policy::PolicySource;
use crate::rl::Rl;
use crate::turns::Turns;
use crate::warm_start::WarmStart;

impl Experiment {
    /// Names and values that follow from the experiment.
    ///
    /// Token counts are upper bounds: documents of full length, memories and answers that fill
    /// their budgets, questions of the longest allowed length. The template's own text is not
    /// counted, because its length depends on the tokenizer.
    pub fn derived(&self) -> Vec<(String, String)> {
        let mut list = Vec::new();
        let mut add = |name: &str, value: String| list.push((name.to_string(), value));
        match &self.policy {
            PolicySource::Folder(path) => {
                add(
                    "parameters",
                    format!("as in {}", path.join("config.json").display()),
                );
            }
            PolicySource::FromScratch(scratch) => {
                let vocab_size = scratch.tokenizer.vocab_size;
                let most = scratch.n_parameters(vocab_size);
                add(
                    "parameters, at most",
                    format!("{most} with {vocab_size} tokens"),
                );
            }
        }
        let chunks = &self.reader.chunks;
        let train = self.turns(self.data.train_tokens, chunks, 1.0);
        add("chunks per training document", train.chunks.to_string());
        add("turns per rollout", train.turns().to_string());
        let longest = self.reader.longest_turn(chunks.chunk_size);
        add(
            "tokens of the longest turn, at most",
            format!("{longest} and the template"),
        );
        for (idx, stage) in self.stages.iter().enumerate() {
            match stage {
                Stage::WarmStart(warm_start) => {
                    let prefix = format!("stage.{idx} (warm-start): ");
                    warm_start.derive(&mut |name, value| add(&format!("{prefix}{name}"), value));
                }
                Stage::Rl(rl) => {
                    let prefix = format!("stage.{idx} (rl): ");
                    rl.derive(&train, self.lora.is_some(), &mut |name, value| {
                        add(&format!("{prefix}{name}"), value)
                    });
                }
            }
        }
        for (name, value) in self.totals(&train) {
            add(name, value);
        }
        for length in &self.eval.lengths {
            let turns = self
                .turns(*length, &self.reader.evaluation_chunks(), 1.0)
                .turns() as u128
                * self.eval.n_documents as u128;
            let documents = self.eval.n_documents;
            add(
                &format!("eval at {length} tokens"),
                format!("{turns} turns over {documents} documents"),
            );
        }
        list
    }
}

impl Experiment {
    /// Sums over all stages: updates, and what RL stages sample and read.
    fn totals(&self, train: &Turns) -> [(&'static str, String); 3] {
        let (mut updates, mut sampled, mut prompts, mut shared) = (0, 0, 0, 0);
        for stage in &self.stages {
            match stage {
                Stage::WarmStart(stage) => updates += stage.steps as u128,
                Stage::Rl(stage) => {
                    updates += stage.n_updates() as u128;
                    let steps = stage.steps as u128;
                    let tokens = stage.tokens_per_step(train);
                    sampled += steps * tokens.sampled;
                    prompts += steps * tokens.prompts;
                    shared += steps * tokens.shared;
                }
            }
        }
        [
            ("optimiser steps of the run, at most", updates.to_string()),
            ("sampled tokens of the run, at most", sampled.to_string()),
            (
                "prompt tokens of the run, at most",
                format!("{prompts} ({shared} with shared prefixes)"),
            ),
        ]
    }
}

/// Tokens of one RL step, dynamic sampling not counted.
struct StepTokens {
    sampled: u128,
    /// Of prompts, each attempt's counted.
    prompts: u128,
    /// Of prompts, what a group shares counted once.
    shared: u128,
}

impl WarmStart {
    fn derive(&self, add: &mut impl FnMut(&str, String)) {
        add("optimiser steps, at most", self.steps.to_string());
        let examples = self.examples_per_step;
        add(
            "rows per step",
            (examples.read as u128 + examples.answer as u128).to_string(),
        );
    }
}

impl Rl {
    fn derive(&self, turns: &Turns, is_lora: bool, add: &mut impl FnMut(&str, String)) {
        let problems = self.problems_per_step as u128;
        let rollouts = problems * self.group_size as u128;
        let rows = rollouts * turns.turns() as u128;
        let StepTokens {
            sampled,
            prompts,
            shared,
        } = self.tokens_per_step(turns);
        add("rollouts per step", rollouts.to_string());
        add("rows per step", rows.to_string());
        add(
            "problems per update",
            (self.problems_per_step / self.mini_batches).to_string(),
        );
        add("optimiser steps", self.n_updates().to_string());
        add("sampled tokens per step, at most", sampled.to_string());
        add(
            "prompt tokens per step, at most",
            format!("{prompts} ({shared} with shared prefixes)"),
        );
        if self.credit.teacher().is_some() {
            let reads = rollouts * turns.chunks as u128;
            add("teacher prompts per step", reads.to_string());
        }
        let passes = self.scoring_passes();
        if passes != 0.0 {
            add(
                "passes of the policy over its own tokens per step",
                passes.to_string(),
            );
        }
        if self.needs_reference() {
            let reference = if is_lora {
                "the policy with its adapter off, no copy"
            } else {
                "a frozen copy of the policy at the stage's start"
            };
            add("reference model", reference.into());
        }
        if let Some(sampling) = self.dynamic_sampling {
            let most = rollouts * sampling.max_generation_batches as u128;
            add(
                "rollouts per step with dynamic sampling, at most",
                most.to_string(),
            );
        }
    }

    fn tokens_per_step(&self, turns: &Turns) -> StepTokens {
        let problems = self.problems_per_step as u128;
        let rollouts = problems * self.group_size as u128;
        StepTokens {
            sampled: rollouts * turns.sampled(),
            prompts: rollouts * (turns.shared() + turns.own()),
            shared: problems * turns.shared() + rollouts * turns.own(),
        }
    }

    /// Whether the stage's objective needs a reference: a frozen copy of the policy at its start, or with
    /// adapters the policy without them.
    pub fn needs_reference(&self) -> bool {
        let ObjectiveSettings { objective, .. } = &self.objective;
        objective.kl.estimator != longhand_objective::Kl::None
    }
}
