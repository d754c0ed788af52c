//! Held-out accuracy against document length.

use longhand_memory::ChunkOptions;
use longhand_policy::Policy;
use longhand_rollout::{
    CollectOptions, Purpose, ReaderSetup, Sampling, StopReason, StreamBase, collect,
};
use longhand_run::wilson_interval;
use longhand_tasks::Split;
use serde::{Deserialize, Serialize};

use crate::{
    error::TrainError,
    workbench::{RewardFailure, Workbench},
};

/// How to measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EvalOptions {
    /// Documents per length.
    pub n_documents: usize,
    /// Seed of the documents and of sampling.
    pub seed: u64,
    /// 0 for greedy.
    pub temperature: f64,
    /// Documents read side by side.
    pub batch: usize,
    /// Which problems.
    pub split: Split,
    /// How documents are cut; in training they may be cut otherwise.
    pub chunks: ChunkOptions,
}

/// Accuracy at one document length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LengthScore {
    /// Document length asked for, in tokens.
    pub target_tokens: usize,
    /// Mean length of the documents, in tokens.
    pub mean_tokens: f64,
    /// Mean number of chunks read.
    pub mean_chunks: f64,
    /// Documents.
    pub n_documents: usize,
    /// Mean outcome.
    pub accuracy: f64,
    /// Lower end of the 95 % Wilson interval; partial outcomes are rounded to whole ones in sum.
    pub low: f64,
    /// Upper end of the 95 % Wilson interval.
    pub high: f64,
    /// The same by how many facts the answer needs.
    pub by_facts: Vec<FactScore>,
    /// Turns that hit their token cap.
    pub n_hit_cap: usize,
    /// Answers in which the checker found nothing of its form.
    #[serde(default)]
    pub n_unparsed_answers: usize,
    /// Documents left out of everything above because their reward failed.
    #[serde(default)]
    pub n_failed_rewards: usize,
}

/// Accuracy over the problems that need a number of facts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FactScore {
    /// Facts needed.
    pub n_facts: usize,
    /// Documents.
    pub n_documents: usize,
    /// Mean outcome.
    pub accuracy: f64,
}

/// Accuracy by length, with the temperature it was measured at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvalReport {
    /// 0 for greedy.
    pub temperature: f64,
    /// One entry a length, in the order asked for.
    pub lengths: Vec<LengthScore>,
}

impl EvalReport {
    /// Mean accuracy at the first length.
    pub fn at_first_length(&self) -> f64 {
        self.lengths.first().map_or(0.0, |score| score.accuracy)
    }
}

/// Reads held-out documents of each length, one attempt each, and scores the answers.
///
/// Documents are held `options.batch` at a time, so memory does not grow with their number.
///
/// # Errors
/// When the source has too few problems, or one cannot be made or read; when too many rewards fail; and
/// whatever `on_progress` says, which is how a measurement is broken off.
pub fn evaluate(
    policy: &Policy,
    bench: &Workbench,
    lengths: &[usize],
    options: &EvalOptions,
    mut on_progress: impl FnMut(usize, usize, usize) -> Result<(), TrainError>,
) -> Result<EvalReport, TrainError> {
    let needed = options.n_documents;
    bench.check_available(options.split, needed)?;
    let setup = ReaderSetup {
        chunks: options.chunks,
        ..bench.setup.clone()
    };
    let mut generator = policy.generator();
    let collect_options = CollectOptions {
        group_size: 1,
        sampling: Sampling::at(options.temperature as f32),
        streams: StreamBase {
            seed: options.seed,
            purpose: Purpose::EVALUATION,
            step: 0,
        },
        max_batch: options.batch,
        teacher: None,
    };
    let mut scores = Vec::with_capacity(lengths.len());
    for &target_tokens in lengths {
        let mut tally = Tally::default();
        for start in (0..needed).step_by(options.batch) {
            let end = needed.min(start + options.batch);
            let problems = (start..end)
                .map(|idx| {
                    Ok((
                        idx as u64,
                        bench.problem(options.split, options.seed, idx as u64, target_tokens)?,
                    ))
                })
                .collect::<Result<Vec<_>, TrainError>>()?;
            let groups = collect(&mut generator, &problems, &setup, &collect_options)?;
            let read: Vec<_> = groups
                .iter()
                .flat_map(|group| group.trajectories.iter().map(move |t| (group, t)))
                .collect();
            let answers: Vec<_> = read
                .iter()
                .map(|(group, trajectory)| (&*group.problem, &trajectory.answer[..]))
                .collect();
            for ((group, trajectory), verdict) in read.iter().zip(bench.verdicts(&answers)?) {
                let outcome = match verdict.reward {
                    Ok(outcome) => outcome,
                    Err(failure) => {
                        tally.failures.push(failure);
                        continue;
                    }
                };
                tally.unparsed += usize::from(!verdict.is_parsed);
                tally.add(group.problem.n_facts, outcome);
                tally.tokens += group.problem.document.ids.len();
                tally.chunks += trajectory.turns.len() - 1;
                let hit_cap = trajectory
                    .turns
                    .iter()
                    .filter(|turn| turn.stop_reason == StopReason::MaxTokens);
                tally.hit_cap += hit_cap.count();
            }
            on_progress(target_tokens, end, needed)?;
        }
        bench.check_failures(needed, tally.failures.iter())?;
        scores.push(tally.score(target_tokens));
    }
    Ok(EvalReport {
        temperature: options.temperature,
        lengths: scores,
    })
}

#[derive(Default)]
struct Tally {
    by_facts: std::collections::BTreeMap<usize, (usize, f64)>,
    tokens: usize,
    chunks: usize,
    hit_cap: usize,
    unparsed: usize,
    failures: Vec<RewardFailure>,
}

impl Tally {
    fn add(&mut self, n_facts: usize, outcome: f64) {
        let (n, sum) = self.by_facts.entry(n_facts).or_default();
        *n += 1;
        *sum += outcome;
    }

    fn score(&self, target_tokens: usize) -> LengthScore {
        let n: usize = self.by_facts.values().map(|(n, _)| n).sum();
        let sum: f64 = self.by_facts.values().map(|(_, sum)| sum).sum();
        let share = |sum: f64, n: usize| if n == 0 { 0.0 } else { sum / n as f64 };
        let (low, high) = wilson_interval(sum.round() as usize, n, 1.96);
        LengthScore {
            target_tokens,
            mean_tokens: share(self.tokens as f64, n),
            mean_chunks: share(self.chunks as f64, n),
            n_documents: n,
            accuracy: share(sum, n),
            low,
            high,
            by_facts: self
                .by_facts
                .iter()
                .map(|(n_facts, (n, sum))| FactScore {
                    n_facts: *n_facts,
                    n_documents: *n,
                    accuracy: share(*sum, *n),
                })
                .collect(),
            n_hit_cap: self.hit_cap,
            n_unparsed_answers: self.unparsed,
            n_failed_rewards: self.failures.len(),
        }
    }
}
