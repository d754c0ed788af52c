//! Numbers that follow from an experiment, for `--dry-run`: what one step and a whole run cost.

use longhand_memory::ChunkOptions;

use crate::credit::Credit;
use crate::experiment::{Experiment, Stage};
use crate::objective::ObjectiveSettings;
use crate::policy::PolicySource;
use crate::rl::Rl;
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
        let train = self.turns(self.data.train_tokens, chunks);
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
                    rl.derive(&train, &mut |name, value| {
                        add(&format!("{prefix}{name}"), value)
                    });
                }
            }
        }
        for length in &self.eval.lengths {
            let turns = self
                .turns(*length, &self.reader.evaluation_chunks())
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

    fn turns(&self, n_tokens: usize, chunks: &ChunkOptions) -> Turns {
        // Counted, not listed: a plan for a document of a billion tokens should cost nothing.
        let read = chunks
            .max_tokens()
            .map_or(n_tokens, |most| most.min(n_tokens));
        let further = read.saturating_sub(chunks.chunk_size);
        let n_chunks = 1 + further.div_ceil(chunks.chunk_size - chunks.overlap);
        let limits = &self.reader.limits;
        Turns {
            chunks: n_chunks,
            chunk_tokens: read as u128 + (n_chunks as u128 - 1) * chunks.overlap as u128,
            question: limits.max_question_tokens as u128,
            memory: limits.max_memory_tokens as u128,
            answer: limits.max_answer_tokens as u128,
        }
    }
}

/// The turns of one attempt at a document.
struct Turns {
    chunks: usize,
    /// Over all chunks, overlaps counted each time.
    chunk_tokens: u128,
    question: u128,
    memory: u128,
    answer: u128,
}

impl Turns {
    fn turns(&self) -> usize {
        self.chunks + 1
    }

    /// Tokens that every attempt of a group shares: question and chunk.
    fn shared(&self) -> u128 {
        self.turns() as u128 * self.question + self.chunk_tokens
    }

    /// Tokens of prompts that an attempt has for itself: the memory before each turn but the first.
    fn own(&self) -> u128 {
        self.chunks as u128 * self.memory
    }

    fn sampled(&self) -> u128 {
        self.chunks as u128 * self.memory + self.answer
    }
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
    fn derive(&self, turns: &Turns, add: &mut impl FnMut(&str, String)) {
        let problems = self.problems_per_step as u128;
        let rollouts = problems * self.group_size as u128;
        let rows = rollouts * turns.turns() as u128;
        let prompts = rollouts * (turns.shared() + turns.own());
        let shared = problems * turns.shared() + rollouts * turns.own();
        let sampled = rollouts * turns.sampled();
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
        if let Credit::Tamtrl(_) = self.credit {
            let reads = rollouts * turns.chunks as u128;
            add("teacher prompts per step", reads.to_string());
        }
        if self.needs_reference() {
            add(
                "reference model",
                "a frozen copy of the policy at the stage's start".into(),
            );
        }
        if let Some(sampling) = self.dynamic_sampling {
            let most = rollouts * sampling.max_generation_batches as u128;
            add(
                "rollouts per step with dynamic sampling, at most",
                most.to_string(),
            );
        }
    }

    /// Whether the stage needs a frozen copy of the policy at its start.
    pub fn needs_reference(&self) -> bool {
        let ObjectiveSettings { objective, .. } = &self.objective;
        objective.kl.estimator != longhand_objective::Kl::None
    }
}
