//! A whole experiment: its stages, its folder, and what is said at the end.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use longhand_config::{Experiment, PolicySource, Rl, Stage, WarmStart};
use longhand_policy::{Compute, Policy};
use longhand_run::{Labels, LengthPoint, LengthSeries, MetricsWriter, RunDir, Series, Transcript};
use longhand_tasks::Split;
use serde::Serialize;

use crate::{
    compute::compute,
    error::TrainError,
    evaluate::{EvalOptions, EvalReport, evaluate},
    from_scratch::from_scratch,
    progress::Progress,
    rl::Learner,
    transcripts::transcripts,
    warm_start::WarmStarter,
    workbench::Workbench,
};

/// What the caller decides about a run.
#[derive(Clone, Debug, Default)]
pub struct TrainOptions {
    /// The run's folder; none for the next free `runs/NAME-001`.
    pub out: Option<PathBuf>,
    /// Whether to show progress on standard error: a bar in a terminal, else a line now and then.
    pub progress: bool,
}

/// What a finished run has to tell.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The run's folder.
    pub folder: PathBuf,
    /// The last checkpoint.
    pub checkpoint: PathBuf,
    /// Greedy accuracy before the first RL stage (before training, when there is none).
    pub before: EvalReport,
    /// Greedy accuracy at the end.
    pub after: EvalReport,
    /// The same two at the first length, sampled, when the experiment asks for it.
    pub sampled: Option<(EvalReport, EvalReport)>,
    /// One attempt of the last RL step.
    pub transcript: Option<Transcript>,
}

/// The policy that an experiment starts from.
///
/// # Errors
/// When its folder cannot be read, or its task cannot be opened for a tokenizer.
pub fn open_policy(experiment: &Experiment, compute: &Compute) -> Result<Policy, TrainError> {
    match &experiment.policy {
        PolicySource::Folder(folder) => Ok(Policy::load(folder, compute)?),
        PolicySource::FromScratch(settings) => from_scratch(experiment, settings, compute),
    }
}

/// Runs all stages and leaves everything in the run's folder.
///
/// # Errors
/// What can go wrong is in [`TrainError`]; everything that can be refused is refused before the
/// folder is made, and what had been finished stays there.
pub fn train(experiment: &Experiment, options: &TrainOptions) -> Result<Outcome, TrainError> {
    let mut policy = open_policy(experiment, &compute(experiment)?)?;
    let bench = Workbench::new(experiment, &policy)?;
    refuse_early(experiment, &bench)?;
    let folder = match &options.out {
        Some(out) => out.clone(),
        None => RunDir::next_free(Path::new("runs"), &experiment.name),
    };
    let run = RunDir::create(&folder)?;
    run.write_config(&experiment.resolved_toml())?;
    let mut session = Session {
        experiment,
        bench: &bench,
        metrics: run.metrics_writer()?,
        run: &run,
        options,
        rl_steps: 0,
        next_problem: 0,
        rewards: Vec::new(),
        evals: Vec::new(),
    };

    let mut before = None;
    let mut transcript = None;
    for (stage_idx, stage) in experiment.stages.iter().enumerate() {
        match stage {
            Stage::WarmStart(warm_start) => {
                session.warm_start(&mut policy, warm_start, stage_idx)?
            }
            Stage::Rl(rl) => {
                if before.is_none() {
                    before = Some(session.measure(&policy, "before", stage_idx)?);
                }
                transcript = session.reinforce(&mut policy, rl, stage_idx)?;
            }
        }
    }
    let after = session.measure(&policy, "after", experiment.stages.len())?;
    let before = match before {
        Some(before) => before,
        None => after.clone(),
    };
    session.plot(&before, &after)?;
    let checkpoint = session.checkpoint("final", &policy)?;
    let sampled = before.sampled.zip(after.sampled);
    Ok(Outcome {
        folder,
        checkpoint,
        before: before.greedy,
        after: after.greedy,
        sampled,
        transcript,
    })
}

/// Refuses now what a later stage would stumble over: one problem of each length is made, and a reader
/// is set before it.
fn refuse_early(experiment: &Experiment, bench: &Workbench) -> Result<(), TrainError> {
    let eval = &experiment.eval;
    let mut needed = vec![(Split::Test, eval.n_documents)];
    let held_out = |length: &usize| (Split::Test, eval.seed, *length);
    let mut lengths: Vec<_> = eval.lengths.iter().map(held_out).collect();
    for (stage_idx, stage) in experiment.stages.iter().enumerate() {
        let train = |length: &usize| (Split::Train, experiment.seed, *length);
        let micro_batch_tokens = match stage {
            Stage::WarmStart(settings) => settings.micro_batch_tokens,
            Stage::Rl(settings) => settings.micro_batch_tokens,
        };
        // Its last token is predicted and not run.
        let longest = bench.longest_turn() - 1;
        if micro_batch_tokens < longest {
            return Err(TrainError::MicroBatch {
                needed: longest,
                micro_batch_tokens,
                stage_idx,
            });
        }
        match stage {
            Stage::WarmStart(settings) => {
                needed.push((Split::Train, 1));
                lengths.extend(settings.tokens.iter().map(train));
            }
            Stage::Rl(settings) => {
                needed.push((Split::Train, settings.problems_per_step));
                lengths.push(train(&experiment.data.train_tokens));
            }
        }
    }
    for (split, needed) in needed {
        bench.check_available(split, needed)?;
    }
    for (split, seed, length) in lengths {
        bench
            .setup
            .reader(&*bench.problem(split, seed, 0, length)?)?;
    }
    Ok(())
}

/// Greedy accuracy by length and, when asked for, sampled accuracy.
#[derive(Clone, Debug)]
struct Measured {
    greedy: EvalReport,
    sampled: Option<EvalReport>,
}

/// One line of `metrics.jsonl` for a measurement.
#[derive(Serialize)]
struct EvalLine<'a> {
    /// Always `eval`.
    stage: &'static str,
    /// `warm-start`, `before`, `during` or `after`.
    label: &'a str,
    /// Index of the stage it was taken in, or before; the number of stages at the end.
    stage_idx: usize,
    /// RL steps taken before it, over all stages.
    step: usize,
    seconds: f64,
    #[serde(flatten)]
    report: &'a EvalReport,
}

/// What the stages of one run share.
struct Session<'a> {
    experiment: &'a Experiment,
    bench: &'a Workbench,
    metrics: MetricsWriter,
    run: &'a RunDir,
    options: &'a TrainOptions,
    /// RL steps taken over all stages: steps, streams and files of a run are numbered through.
    rl_steps: usize,
    /// The training problem that the next RL stage begins with.
    next_problem: u64,
    /// Mean outcome by RL step.
    rewards: Vec<(f64, f64)>,
    /// Held-out greedy accuracy at the first length, by RL step.
    evals: Vec<(f64, f64)>,
}

impl Session<'_> {
    fn warm_start(
        &mut self,
        policy: &mut Policy,
        settings: &WarmStart,
        stage_idx: usize,
    ) -> Result<(), TrainError> {
        let mut starter =
            WarmStarter::new(settings, self.bench, self.experiment.seed, stage_idx as u32);
        let progress = Progress::new(self.options.progress, "warm-start", settings.steps);
        for step in 0..settings.steps {
            let report = starter.step(policy, step)?;
            self.metrics.append(&report)?;
            progress.warm_start(&report);
            if let Some(stop) = settings.stop
                && (step + 1).is_multiple_of(stop.check_every)
            {
                let start = Instant::now();
                let report = self.evaluate(policy, 1.0, &self.experiment.eval.lengths[..1])?;
                self.append_eval("warm-start", stage_idx, &report, start)?;
                progress.say(&format!(
                    "step {}: sampled accuracy {:.3}",
                    step + 1,
                    report.at_first_length()
                ));
                if stop.at <= report.at_first_length() {
                    break;
                }
            }
        }
        progress.finish();
        self.checkpoint(&format!("stage-{stage_idx}"), policy)?;
        Ok(())
    }

    /// Returns an attempt of the last step.
    fn reinforce(
        &mut self,
        policy: &mut Policy,
        settings: &Rl,
        stage_idx: usize,
    ) -> Result<Option<Transcript>, TrainError> {
        let experiment = self.experiment;
        let train_tokens = experiment.data.train_tokens;
        let mut learner = Learner::new(settings, self.bench, policy, experiment.seed, train_tokens)
            .from_problem(self.next_problem);
        let progress = Progress::new(self.options.progress, "rl", settings.steps);
        let mut last = None;
        for step_idx in 0..settings.steps {
            let step = self.rl_steps;
            let output = learner.step(policy, step)?;
            self.metrics.append(&output.report)?;
            progress.rl(step_idx, &output.report);
            let tokenizer = policy.tokenizer();
            let records = transcripts("rl", step, &output.scored, &output.credited, tokenizer)?;
            self.run.write_transcripts("rl", step as u64, &records)?;
            // One that solved its problem tells more; the first one where none did.
            let solved = records.iter().position(|record| 1.0 <= record.outcome);
            last = records.into_iter().nth(solved.unwrap_or(0));

            self.rl_steps += 1;
            let n_steps = self.rl_steps;
            self.rewards.push((n_steps as f64, output.report.reward));
            let is_due =
                |every: Option<usize>| every.is_some_and(|every| n_steps.is_multiple_of(every));
            if is_due(experiment.eval.every) && step_idx + 1 < settings.steps {
                let start = Instant::now();
                let report = self.evaluate(policy, 0.0, &experiment.eval.lengths[..1])?;
                self.append_eval("during", stage_idx, &report, start)?;
                self.evals.push((n_steps as f64, report.at_first_length()));
            }
            if is_due(experiment.checkpoint.every) {
                self.checkpoint(&format!("rl-{n_steps:06}"), policy)?;
                self.run.prune("rl-", experiment.checkpoint.keep_last)?;
            }
        }
        self.next_problem = learner.next_problem();
        progress.finish();
        self.checkpoint(&format!("stage-{stage_idx}"), policy)?;
        self.plot_learning_curve()?;
        Ok(last)
    }

    fn plot_learning_curve(&self) -> Result<(), TrainError> {
        let mut series = vec![Series {
            name: "reward of training rollouts".into(),
            points: self.rewards.clone(),
        }];
        if !self.evals.is_empty() {
            series.push(Series {
                name: "held-out accuracy, greedy".into(),
                points: self.evals.clone(),
            });
        }
        let labels = Labels {
            title: &self.experiment.name,
            x: "step",
            y: "reward or accuracy",
        };
        self.run
            .plot_learning_curve("learning-curve", &labels, &series)?;
        Ok(())
    }

    fn measure(
        &mut self,
        policy: &Policy,
        label: &str,
        stage_idx: usize,
    ) -> Result<Measured, TrainError> {
        let eval = &self.experiment.eval;
        let start = Instant::now();
        let greedy = self.evaluate(policy, 0.0, &eval.lengths)?;
        self.append_eval(label, stage_idx, &greedy, start)?;
        let sampled = match eval.sampled_temperature {
            None => None,
            Some(temperature) => {
                let start = Instant::now();
                let sampled = self.evaluate(policy, temperature, &eval.lengths[..1])?;
                self.append_eval(label, stage_idx, &sampled, start)?;
                Some(sampled)
            }
        };
        Ok(Measured { greedy, sampled })
    }

    fn evaluate(
        &self,
        policy: &Policy,
        temperature: f64,
        lengths: &[usize],
    ) -> Result<EvalReport, TrainError> {
        let eval = &self.experiment.eval;
        let options = EvalOptions {
            n_documents: eval.n_documents,
            seed: eval.seed,
            temperature,
            batch: eval.batch,
            split: Split::Test,
            chunks: self.experiment.reader.evaluation_chunks(),
        };
        let progress = Progress::new(
            self.options.progress,
            "measure",
            eval.n_documents * lengths.len(),
        );
        let report = evaluate(policy, self.bench, lengths, &options, |_length, done, n| {
            progress.documents(done, n)
        })?;
        progress.finish();
        Ok(report)
    }

    fn append_eval(
        &mut self,
        label: &str,
        stage_idx: usize,
        report: &EvalReport,
        start: Instant,
    ) -> Result<(), TrainError> {
        self.metrics.append(&EvalLine {
            stage: "eval",
            label,
            stage_idx,
            step: self.rl_steps,
            seconds: start.elapsed().as_secs_f64(),
            report,
        })?;
        Ok(())
    }

    fn checkpoint(&self, name: &str, policy: &Policy) -> Result<PathBuf, TrainError> {
        Ok(self
            .run
            .save_checkpoint(name, |folder| policy.save(folder))?)
    }

    fn plot(&self, before: &Measured, after: &Measured) -> Result<(), TrainError> {
        let series = |name: &str, report: &EvalReport| LengthSeries {
            name: name.into(),
            points: report
                .lengths
                .iter()
                .map(|score| LengthPoint {
                    length: score.mean_tokens.round().max(1.0) as usize,
                    accuracy: score.accuracy,
                    low: score.low,
                    high: score.high,
                })
                .collect(),
        };
        let lines = [
            series("before RL", &before.greedy),
            series("after RL", &after.greedy),
        ];
        self.run.plot_by_length("accuracy-by-length", &lines)?;
        Ok(())
    }
}
