//! Supervised warm start: imitation of a scripted expert's notes, one turn at a time.
//!
//! `loss = mean cross-entropy of the notes' tokens + answer_weight · that of the answers' tokens`

use std::time::Instant;

use longhand_config::WarmStart;
use longhand_memory::{ChunkOptions, TurnKind};
use longhand_policy::{Policy, TokenGradient};
use longhand_rollout::{
    Context, Example, PrefixTree, Purpose, ReaderSetup, StreamBase, expert_walk, micro_batches,
    slip,
};
use longhand_tasks::Split;
use rand::RngExt;
use serde::Serialize;

use crate::{
    error::TrainError,
    not_finite::{Moment, NotFinite, TokenPlace},
    optimizer::{Updater, dropout_key},
    timing::Timing,
    workbench::Workbench,
};

/// A policy being taught by an expert.
pub struct WarmStarter<'a> {
    settings: &'a WarmStart,
    bench: &'a Workbench,
    updater: Updater,
    seed: u64,
    stage: u32,
    next_problem: u64,
}

/// One line of `metrics.jsonl` for a warm-start step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WarmStartReport {
    /// Always `warm-start`.
    pub stage: &'static str,
    /// From 0, within the stage.
    pub step: usize,
    /// Index of the stage.
    pub stage_idx: u32,
    /// Mean cross-entropy of the notes' tokens, nats a token.
    pub read_loss: f64,
    /// Mean cross-entropy of the answers' tokens, nats a token.
    pub answer_loss: f64,
    /// Norm of the whole gradient before the clip.
    pub grad_norm: f64,
    /// Learning rate.
    pub lr: f64,
    /// Tokens run.
    pub n_run_tokens: usize,
}

impl<'a> WarmStarter<'a> {
    /// A teacher at the first step of stage number `stage`; stages draw from different problems.
    pub fn new(settings: &'a WarmStart, bench: &'a Workbench, seed: u64, stage: u32) -> Self {
        let updater = Updater::new(&settings.optimizer, settings.steps);
        // Far from the problems of the RL stages, which count from 0.
        let next_problem = (u64::from(stage) + 1) << 40;
        Self {
            settings,
            bench,
            updater,
            seed,
            stage,
            next_problem,
        }
    }

    /// The same teacher, going on behind the problems that earlier steps took, with the optimiser as
    /// they left it.
    #[must_use]
    pub fn going_on(self, next_problem: u64, updater: Updater) -> Self {
        Self {
            next_problem,
            updater,
            ..self
        }
    }

    /// The problem that the next step begins with.
    pub fn next_problem(&self) -> u64 {
        self.next_problem
    }

    /// The optimiser.
    pub fn updater(&self) -> &Updater {
        &self.updater
    }

    /// One update.
    ///
    /// # Errors
    /// When an expert cannot read a problem, or a number stops being finite.
    pub fn step(
        &mut self,
        policy: &mut Policy,
        step: usize,
    ) -> Result<(WarmStartReport, Timing), TrainError> {
        let start = Instant::now();
        let at = Moment {
            stage: "warm-start",
            step,
            policy_version: policy.weights_id().version,
        };
        let (examples, places) = self.examples(step)?;
        let contexts: Vec<Context<'_>> = examples
            .iter()
            .enumerate()
            .map(|(group, example)| Context {
                group,
                prompt: &example.prompt,
                completion: &example.target,
            })
            .collect();
        let n_tokens = |kind: fn(TurnKind) -> bool| -> usize {
            examples
                .iter()
                .filter(|example| kind(example.kind))
                .map(|example| example.target.len())
                .sum()
        };
        let (n_answer, n_read) = (n_tokens(is_answer), n_tokens(|kind| !is_answer(kind)));
        let (mut read_loss, mut answer_loss) = (0.0, 0.0);
        let mut n_run_tokens = 0;
        let micro_batches = micro_batches(&contexts, self.settings.micro_batch_tokens)?;
        for (micro_batch_idx, micro_batch) in micro_batches.into_iter().enumerate() {
            let part: Vec<_> = micro_batch.iter().map(|idx| contexts[*idx]).collect();
            n_run_tokens += PrefixTree::new(&part).n_shared();
            let dropout = dropout_key(self.seed, policy, micro_batch_idx);
            let pass = policy.forward(&part, 1.0, self.updater.take_buffers(), dropout);
            let values = &pass.scores().logprobs;
            let mut grad = Vec::with_capacity(values.len());
            for context_idx in micro_batch {
                let example = &examples[context_idx];
                let of_example = &values[grad.len()..grad.len() + example.target.len()];
                if let Some(token) = of_example.iter().position(|lp| !lp.is_finite()) {
                    let (problem_idx, turn) = places[context_idx];
                    let place = TokenPlace {
                        problem_idx,
                        problem_id: None,
                        attempt: 0,
                        turn,
                        token: Some(token),
                    };
                    let what = "the log-probability of an expert's token";
                    let value = f64::from(of_example[token]);
                    let found = NotFinite::of_token(what, value, place, at);
                    return Err(TrainError::NotFinite(Box::new(found)));
                }
                let sum: f64 = of_example.iter().map(|lp| f64::from(*lp)).sum();
                let weight = if is_answer(example.kind) {
                    answer_loss -= sum / n_answer as f64;
                    self.settings.answer_weight / n_answer as f64
                } else {
                    read_loss -= sum / n_read as f64;
                    1.0 / n_read as f64
                };
                grad.extend(std::iter::repeat_n(-weight, example.target.len()));
            }
            self.updater
                .accumulate(policy, pass, TokenGradient::of_logprobs(&grad));
        }
        for (what, value) in [
            ("the loss of the notes", read_loss),
            ("the loss of the answers", answer_loss),
        ] {
            if !value.is_finite() {
                let found = NotFinite::new(what, value, at);
                return Err(TrainError::NotFinite(Box::new(found)));
            }
        }
        let update = self.updater.checked_update(policy, at)?;
        let report = WarmStartReport {
            stage: "warm-start",
            step,
            stage_idx: self.stage,
            read_loss,
            answer_loss,
            grad_norm: update.grad_norm,
            lr: update.lr,
            n_run_tokens,
        };
        let seconds = start.elapsed().as_secs_f64();
        Ok((report, Timing::now("warm-start", step, seconds)))
    }

    /// Expert turns of one update. Document length and chunk size are drawn once an update; lists of
    /// equal length are drawn from as pairs. Returns the problem and turn of each example too.
    fn examples(&mut self, step: usize) -> Result<(Vec<Example>, Vec<WalkTurn>), TrainError> {
        let streams = StreamBase {
            seed: self.seed,
            purpose: Purpose::EXPERT,
            step: step as u32,
        };
        let mut rng = streams.key(u64::MAX, self.stage, 0).rng();
        let (tokens, chunk_sizes) = (&self.settings.tokens, &self.settings.chunk_sizes);
        let length_idx = rng.random_range(0..tokens.len());
        let chunk_idx = if tokens.len() == chunk_sizes.len() {
            length_idx
        } else {
            rng.random_range(0..chunk_sizes.len())
        };
        let setup = ReaderSetup {
            chunks: ChunkOptions {
                chunk_size: chunk_sizes[chunk_idx],
                ..self.bench.setup.chunks
            },
            ..self.bench.setup.clone()
        };
        let wanted = &self.settings.examples_per_step;
        let (mut n_read, mut n_answer) = (0, 0);
        let mut examples = Vec::with_capacity(wanted.read + wanted.answer);
        let mut places = Vec::with_capacity(wanted.read + wanted.answer);
        while n_read < wanted.read || n_answer < wanted.answer {
            let available = self.bench.source.n_problems(Split::Train);
            let idx = available.map_or(self.next_problem, |available| {
                self.next_problem % available as u64
            });
            self.next_problem += 1;
            let problem = self
                .bench
                .problem(Split::Train, self.seed, idx, tokens[length_idx])?;
            let mut rng = streams.key(self.next_problem, self.stage, 1).rng();
            let mut walk = expert_walk(&problem, &setup, self.settings.forget, &mut rng)?;
            if self.settings.slips != 0.0 {
                for example in &mut walk {
                    slip(&mut example.target, self.settings.slips, &mut rng);
                }
            }
            for (turn, example) in walk.into_iter().enumerate() {
                let (n, limit) = if is_answer(example.kind) {
                    (&mut n_answer, wanted.answer)
                } else {
                    (&mut n_read, wanted.read)
                };
                if *n < limit {
                    *n += 1;
                    examples.push(example);
                    places.push((idx, turn));
                }
            }
        }
        Ok((examples, places))
    }
}

/// A problem's index in its source, and a turn of the expert's walk over it.
type WalkTurn = (u64, usize);

fn is_answer(kind: TurnKind) -> bool {
    kind == TurnKind::Answer
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use longhand_config::{Experiment, Stage};
    use longhand_policy::Compute;

    use super::*;
    use crate::experiment::open_policy;

    fn smoke() -> (Experiment, Policy, Workbench) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/smoke/tamtrl.toml");
        let experiment = Experiment::load(&path, &[]).unwrap();
        let policy = open_policy(&experiment, &Compute::default()).unwrap();
        let bench = Workbench::new(&experiment, &policy).unwrap();
        (experiment, policy, bench)
    }

    fn warm_start(experiment: &Experiment) -> &WarmStart {
        match &experiment.stages[0] {
            Stage::WarmStart(settings) => settings,
            Stage::Rl(_) => panic!("smoke runs begin with a warm start"),
        }
    }

    /// AdamW's first update is then the gradient, but for a share of `|gradient| / 1000`.
    fn plain_gradient(settings: &mut WarmStart) {
        settings.optimizer.lr = 1e3;
        settings.optimizer.eps = 1e3;
        settings.optimizer.max_grad_norm = 1e9;
        settings.optimizer.warmup_steps = 0;
    }

    fn weights(policy: &Policy) -> Vec<f32> {
        let named = policy.named_weights();
        named.into_iter().flat_map(|(_, values)| values).collect()
    }

    fn alone(example: &Example) -> Context<'_> {
        Context {
            group: 0,
            prompt: &example.prompt,
            completion: &example.target,
        }
    }

    #[test]
    fn the_losses_are_the_mean_cross_entropies_of_the_notes_and_of_the_answers() {
        let (experiment, mut policy, bench) = smoke();
        let mut settings = warm_start(&experiment).clone();
        settings.micro_batch_tokens = 80;
        let starter = || WarmStarter::new(&settings, &bench, experiment.seed, 0);
        let (examples, _) = starter().examples(0).unwrap();
        let n_of = |answer: bool| {
            let of_kind = |example: &&Example| is_answer(example.kind) == answer;
            examples.iter().filter(of_kind).count()
        };
        assert_eq!((n_of(false), n_of(true)), (8, 8));

        // Each example scored by itself, before the update.
        let mut sums = [(0.0, 0); 2];
        for example in &examples {
            let logprobs = policy.score(&[alone(example)], 1.0).logprobs;
            let (sum, n) = &mut sums[usize::from(is_answer(example.kind))];
            *sum -= logprobs.iter().copied().map(f64::from).sum::<f64>();
            *n += logprobs.len();
        }
        let (report, _) = starter().step(&mut policy, 0).unwrap();
        let found = [report.read_loss, report.answer_loss];
        for (found, (sum, n)) in found.into_iter().zip(sums) {
            let expected = sum / n as f64;
            assert!(
                (found - expected).abs() < 1e-5,
                "{report:?}, expected {expected}"
            );
        }
    }

    #[test]
    fn answers_weigh_as_much_as_they_are_told_to() {
        let (experiment, policy, bench) = smoke();
        let moved = |answer_weight: f64| {
            let mut settings = warm_start(&experiment).clone();
            settings.answer_weight = answer_weight;
            plain_gradient(&mut settings);
            let mut policy = policy.clone();
            WarmStarter::new(&settings, &bench, experiment.seed, 0)
                .step(&mut policy, 0)
                .unwrap();
            weights(&policy)
        };
        let (without, half, with) = (moved(0.0), moved(0.5), moved(1.0));
        let mut largest = 0.0_f32;
        for ((without, half), with) in without.iter().zip(half).zip(with) {
            largest = largest.max((without - with).abs());
            let expected = (without + with) / 2.0;
            assert!((half - expected).abs() < 1e-3, "{half}, not {expected}");
        }
        assert!(0.1 < largest, "answers have a gradient: {largest}");
    }

    #[test]
    fn the_gradient_is_that_of_the_mean_over_the_notes_tokens() {
        let (experiment, policy, bench) = smoke();
        let mut settings = warm_start(&experiment).clone();
        settings.answer_weight = 0.0;
        plain_gradient(&mut settings);
        let starter = || WarmStarter::new(&settings, &bench, experiment.seed, 0);
        let mut stepped = policy.clone();
        let (report, _) = starter().step(&mut stepped, 0).unwrap();

        // The same from each example by itself.
        let (examples, _) = starter().examples(0).unwrap();
        let reads = || examples.iter().filter(|example| !is_answer(example.kind));
        let n: usize = reads().map(|example| example.target.len()).sum();
        let mut updater = Updater::new(&settings.optimizer, 1);
        for example in reads() {
            let pass = policy.forward(&[alone(example)], 1.0, updater.take_buffers(), 0);
            let grad = vec![-1.0 / n as f64; example.target.len()];
            updater.accumulate(&policy, pass, TokenGradient::of_logprobs(&grad));
        }
        let mut expected = policy.clone();
        let update = updater.update(&mut expected);
        assert!(
            (report.grad_norm - update.grad_norm).abs() < 1e-4,
            "{report:?}, {update:?}"
        );
        for (found, expected) in weights(&stepped).iter().zip(weights(&expected)) {
            assert!((found - expected).abs() < 1e-4, "{found}, not {expected}");
        }
    }

    #[test]
    fn updates_and_stages_teach_from_different_problems() {
        let (experiment, _, bench) = smoke();
        let mut settings = warm_start(&experiment).clone();
        settings.chunk_sizes = vec![18];
        let mut first = WarmStarter::new(&settings, &bench, experiment.seed, 0);
        let mut second = WarmStarter::new(&settings, &bench, experiment.seed, 1);
        let (examples, _) = first.examples(0).unwrap();
        for (others, _) in [first.examples(1).unwrap(), second.examples(0).unwrap()] {
            // Prompts of answers are short and may come twice; a chunk hardly does.
            let reads = others.iter().filter(|example| !is_answer(example.kind));
            assert_eq!(reads.filter(|read| examples.contains(read)).count(), 0);
        }
    }
}
