//! The loop of a run: its stages, what is measured between steps, and where it can be taken up again.

use std::{path::PathBuf, time::Instant};

use longhand_config::{BestIs, Checkpoint, Experiment, Rl, Stage, WarmStart};
use longhand_policy::Policy;
use longhand_run::{Labels, LengthPoint, LengthSeries, RunDir, RunError, Series};
use longhand_tasks::Split;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    credit::Credited,
    error::TrainError,
    evaluate::{EvalOptions, EvalReport, evaluate},
    experiment::{Ended, Outcome, Restorable, TrainOptions, learner_at, starter_at},
    failure::write_failure,
    log::{Differs, Log},
    optimizer::Updater,
    position::{Best, Position},
    progress::Progress,
    rl::{Rollouts, StepOutput},
    timing::Timing,
    transcripts::Scribe,
    workbench::Workbench,
};

/// Greedy accuracy by length and, when asked for, sampled accuracy.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) greedy: EvalReport,
    pub(crate) sampled: Option<EvalReport>,
}

/// One line of `metrics.jsonl` for a measurement.
#[derive(Serialize, Deserialize)]
struct EvalLine<'a> {
    /// Always `eval`.
    stage: &'a str,
    /// `warm-start`, `before`, `during` or `after`.
    label: &'a str,
    /// Index of the stage it was taken in, or before; the number of stages at the end.
    stage_idx: usize,
    /// RL steps taken before it, over all stages.
    step: usize,
    #[serde(flatten)]
    report: EvalReport,
}

/// How names of checkpoints begin that were written because a run stopped.
const OF_STOPS: &str = "stopped-";

/// One process's part of a run.
pub(crate) struct Session<'a> {
    pub(crate) experiment: &'a Experiment,
    pub(crate) bench: &'a Workbench,
    pub(crate) run: &'a RunDir,
    pub(crate) options: &'a TrainOptions,
    pub(crate) log: Log,
    pub(crate) position: Position,
    /// What the checkpoint that the session begins with left: the optimiser and the reference of the
    /// stage that is under way.
    pub(crate) restored: Restorable,
    /// The last record of each kind, for the metric that decides which checkpoint is best.
    pub(crate) last_rl: Option<Value>,
    pub(crate) last_accuracy: Option<f64>,
    /// The stage and its steps at which the run was last saved.
    pub(crate) saved_at: Option<(usize, usize)>,
}

impl Session<'_> {
    /// Runs what is left to do.
    pub(crate) fn run(mut self, mut policy: Policy) -> Result<Ended, TrainError> {
        match self.stages(&mut policy) {
            Ok(outcome) => Ok(Ended::Finished(Box::new(outcome))),
            Err(TrainError::Stopped { signal }) => Ok(Ended::Stopped {
                signal,
                folder: self.run.path().to_path_buf(),
                checkpoint: self.run.latest_checkpoint()?,
            }),
            Err(error @ (TrainError::Run(_) | TrainError::Checkpoint(_))) => {
                // A folder that is gone or closed says more than the file that met it first.
                match self.run.check_still_there() {
                    Err(cause @ (RunError::Gone { .. } | RunError::ReadOnly { .. })) => {
                        Err(cause.into())
                    }
                    _ => Err(error),
                }
            }
            Err(error @ TrainError::Step { .. }) => Err(error),
            // Between steps too it is worth saying how to go on.
            Err(error) => Err(TrainError::Step {
                source: Box::new(error),
                kept: Vec::new(),
                run: self.run.path().to_path_buf(),
            }),
        }
    }

    fn stages(&mut self, policy: &mut Policy) -> Result<Outcome, TrainError> {
        let stages = &self.experiment.stages;
        while let Some(stage) = stages.get(self.position.stage_idx) {
            match stage {
                Stage::WarmStart(settings) => self.warm_start(policy, settings)?,
                Stage::Rl(settings) => {
                    if !self.position.measured_before {
                        self.measure(policy, "before")?;
                        self.position.measured_before = true;
                    }
                    self.reinforce(policy, settings)?;
                    self.plot_learning_curve()?;
                }
            }
            self.position = self.position.after_stage();
            self.checkpoint(policy, None)?;
            self.prune()?;
        }
        let after = self.measure(policy, "after")?;
        let before = self.measured_before()?.unwrap_or_else(|| after.clone());
        self.plot(&before, &after)?;
        self.position.finished = true;
        let checkpoint = self.checkpoint(policy, None)?;
        self.prune()?;
        let transcript = self.telling_transcript()?;
        Ok(Outcome {
            folder: self.run.path().to_path_buf(),
            checkpoint,
            sampled: before.sampled.zip(after.sampled),
            before: before.greedy,
            after: after.greedy,
            transcript,
        })
    }

    fn warm_start(&mut self, policy: &mut Policy, settings: &WarmStart) -> Result<(), TrainError> {
        let restored = self.restored.take();
        let mut starter = starter_at(
            &self.position,
            settings,
            self.experiment,
            self.bench,
            restored,
        );
        let progress = Progress::new(self.options.progress, "warm-start", settings.steps);
        loop {
            let n_done = self.position.steps_done;
            let is_check = |every: usize| {
                0 < n_done && n_done.is_multiple_of(every) && !self.position.measured_step
            };
            if let Some(stop) = settings.stop
                && is_check(stop.check_every)
            {
                let report = self.evaluate_or_save(policy, "warm-start", 1.0, starter.updater())?;
                self.position.measured_step = true;
                let accuracy = report.at_first_length();
                progress.say(&format!("step {n_done}: sampled accuracy {accuracy:.3}"));
                if stop.at <= accuracy {
                    break;
                }
            }
            if n_done == settings.steps {
                break;
            }
            self.checkpoint_if_due(policy, starter.updater())?;
            self.stop_or_go_on(policy, starter.updater())?;
            let version = policy.weights_id().version;
            let (report, timing) = match starter.step(policy, n_done) {
                Ok(done) => done,
                Err(error) => {
                    return Err(self.failed_step(error, policy, version, starter.updater(), None));
                }
            };
            self.append(&report, &timing)?;
            progress.warm_start(&report);
            self.position.steps_done += 1;
            self.position.updates_done = starter.updater().n_done();
            self.position.policy_version = policy.weights_id().version;
            self.position.next_warm_start_problem = Some(starter.next_problem());
            self.position.measured_step = false;
        }
        progress.finish();
        Ok(())
    }

    fn reinforce(&mut self, policy: &mut Policy, settings: &Rl) -> Result<(), TrainError> {
        let experiment = self.experiment;
        let restored = self.restored.take();
        let position = &self.position;
        let mut learner = learner_at(position, settings, experiment, self.bench, policy, restored);
        let progress = Progress::new(self.options.progress, "rl", settings.steps);
        loop {
            let n_done = self.position.steps_done;
            let is_due = experiment
                .eval
                .every
                .is_some_and(|every| 0 < n_done && self.position.rl_steps.is_multiple_of(every));
            if is_due && n_done < settings.steps && !self.position.measured_step {
                self.evaluate_or_save(policy, "during", 0.0, learner.updater())?;
                self.position.measured_step = true;
            }
            if n_done == settings.steps {
                break;
            }
            self.checkpoint_if_due(policy, learner.updater())?;
            self.stop_or_go_on(policy, learner.updater())?;
            let step = self.position.rl_steps;
            let version = policy.weights_id().version;
            let output = match learner.step(policy, step) {
                Ok(output) => output,
                Err(error) => {
                    let rollouts = learner.take_rollouts_of_failed_step();
                    let updater = learner.updater();
                    return Err(self.failed_step(error, policy, version, updater, rollouts));
                }
            };
            // First what the line speaks of, then the line.
            self.write_transcripts(policy, step, &output)?;
            self.last_rl = Some(self.append(&output.report, &output.timing)?);
            progress.rl(n_done, &output.report, &output.timing);
            self.position.steps_done += 1;
            self.position.rl_steps += 1;
            self.position.updates_done = learner.updater().n_done();
            self.position.policy_version = policy.weights_id().version;
            self.position.control_state =
                (!settings.entropy.is_none()).then(|| learner.control_state());
            self.position.next_problem = learner.next_problem();
            self.position.measured_step = false;
        }
        progress.finish();
        Ok(())
    }

    /// Between two steps: stops where that is asked for, with a checkpoint.
    fn stop_or_go_on(&mut self, policy: &Policy, updater: &Updater) -> Result<(), TrainError> {
        match self.options.stop.check() {
            Err(stopped) => {
                self.checkpoint_of_stop(policy, updater)?;
                Err(stopped)
            }
            Ok(()) => Ok(()),
        }
    }

    /// Saves the run where it happens to stop, unless it has just been saved. Such a checkpoint goes when
    /// the next one is due, so that a run which was stopped keeps what one that was not keeps.
    fn checkpoint_of_stop(
        &mut self,
        policy: &Policy,
        updater: &Updater,
    ) -> Result<Option<PathBuf>, TrainError> {
        let here = (self.position.stage_idx, self.position.steps_done);
        if self.saved_at == Some(here) {
            return Ok(None);
        }
        let name = format!("{OF_STOPS}{}", self.position.name(self.experiment));
        self.save(&name, policy, Some(updater)).map(Some)
    }

    /// Measures between two steps of a stage. Broken off, it is made again by whoever resumes.
    fn evaluate_or_save(
        &mut self,
        policy: &Policy,
        label: &str,
        temperature: f64,
        updater: &Updater,
    ) -> Result<EvalReport, TrainError> {
        let lengths = &self.experiment.eval.lengths[..1];
        match self.evaluate(policy, label, temperature, lengths) {
            Err(TrainError::Stopped { signal }) => {
                self.checkpoint_of_stop(policy, updater)?;
                Err(TrainError::Stopped { signal })
            }
            other => other,
        }
    }

    /// Writes down what is known of a step that failed, and returns the error. Where the policy has not
    /// been moved in it, its checkpoint is written, so that nothing is lost and the step can be run again.
    fn failed_step(
        &mut self,
        error: TrainError,
        policy: &Policy,
        version_before: u64,
        updater: &Updater,
        rollouts: Option<Rollouts>,
    ) -> TrainError {
        let step = self.position.rl_steps;
        // The step's error is the one to tell: what cannot be kept is less than what went wrong.
        let mut kept = Vec::new();
        if let Some(Rollouts {
            kept: scored,
            left_out,
        }) = &rollouts
            && !(scored.is_empty() && left_out.is_empty())
        {
            let uncredited = Credited {
                turns: vec![Vec::new(); scored.len()],
                teacher_range: None,
            };
            let records = self.scribe(policy, step).all(scored, &uncredited, left_out);
            let written = records
                .and_then(|records| Ok(self.run.write_transcripts("rl", step as u64, &records)?));
            kept.extend(written);
        }
        if policy.weights_id().version == version_before
            && let Ok(Some(path)) = self.checkpoint_of_stop(policy, updater)
        {
            kept.push(path);
        }
        if let TrainError::NotFinite(found) = &error {
            kept.extend(write_failure(self.run, found, &self.position));
        }
        TrainError::Step {
            source: Box::new(error),
            kept,
            run: self.run.path().to_path_buf(),
        }
    }

    fn scribe<'b>(&'b self, policy: &'b Policy, step: usize) -> Scribe<'b> {
        Scribe {
            stage: "rl",
            step,
            seed: self.experiment.seed,
            tokenizer: policy.tokenizer(),
            columns: match self.experiment.stages.get(self.position.stage_idx) {
                Some(Stage::Rl(settings)) => settings.credit.columns(),
                Some(Stage::WarmStart(_)) | None => Vec::new(),
            },
        }
    }

    fn write_transcripts(
        &self,
        policy: &Policy,
        step: usize,
        output: &StepOutput,
    ) -> Result<(), TrainError> {
        let records =
            self.scribe(policy, step)
                .all(&output.scored, &output.credited, &output.left_out)?;
        self.run.write_transcripts("rl", step as u64, &records)?;
        Ok(())
    }

    fn append(&mut self, record: &impl Serialize, timing: &Timing) -> Result<Value, TrainError> {
        let (record, differs) = self.log.append(record, timing)?;
        if differs == Differs::Yes && self.options.progress {
            let stage = record["stage"].as_str().unwrap_or_default();
            Progress::new(true, stage, 1).say(&format!(
                "warning: {stage} step {} is not what it was before the resume (see superseded/); \
                 other instructions or another version of the program compute it now",
                record["step"]
            ));
        }
        Ok(record)
    }

    /// Saves the run where a checkpoint is due between two steps. Only such checkpoints can be the best:
    /// where a run happened to be stopped decides nothing.
    fn checkpoint_if_due(&mut self, policy: &Policy, updater: &Updater) -> Result<(), TrainError> {
        let n_done = self.position.steps_done;
        let Checkpoint { every, .. } = self.experiment.checkpoint;
        let best = self.better_than_best();
        let is_best_yet = self.position.measured_step && self.is_by_accuracy() && best.is_some();
        if n_done == 0 || !(n_done.is_multiple_of(every) || is_best_yet) {
            return Ok(());
        }
        if let Some(value) = best {
            let name = self.position.name(self.experiment);
            self.position.best = Some(Best { name, value });
        }
        self.checkpoint(policy, Some(updater))?;
        if best.is_some() {
            self.run.set_best(&self.position.name(self.experiment))?;
        }
        self.prune()
    }

    fn is_by_accuracy(&self) -> bool {
        self.experiment.checkpoint.best_metric.as_deref() == Some("accuracy")
    }

    /// The metric that decides which checkpoint is best, as last measured.
    fn metric(&self) -> Option<f64> {
        let key = self.experiment.checkpoint.best_metric.as_deref()?;
        if self.is_by_accuracy() {
            self.last_accuracy
        } else {
            self.last_rl.as_ref()?.get(key)?.as_f64()
        }
    }

    /// The metric, where it is better than at the best checkpoint so far.
    fn better_than_best(&self) -> Option<f64> {
        let value = self.metric()?;
        let is_better = |best: &Best| match self.experiment.checkpoint.best_is {
            BestIs::Highest => best.value < value,
            BestIs::Lowest => value < best.value,
        };
        let is_better = self.position.best.as_ref().is_none_or(is_better);
        is_better.then_some(value)
    }

    /// Saves the run as it stands.
    pub(crate) fn checkpoint(
        &mut self,
        policy: &Policy,
        updater: Option<&Updater>,
    ) -> Result<PathBuf, TrainError> {
        let name = self.position.name(self.experiment);
        self.save(&name, policy, updater)
    }

    fn save(
        &mut self,
        name: &str,
        policy: &Policy,
        updater: Option<&Updater>,
    ) -> Result<PathBuf, TrainError> {
        let lines = self.log.lines();
        let path = self
            .run
            .save_checkpoint(name, &self.position, lines, |folder| {
                policy
                    .save(folder)
                    .map_err(|error| Box::new(TrainError::from(error)))?;
                if let Some(updater) = updater {
                    updater
                        .save(policy, folder)
                        .map_err(|error| Box::new(TrainError::from(error)))?;
                }
                Ok(())
            })?;
        self.saved_at = Some((self.position.stage_idx, self.position.steps_done));
        Ok(path)
    }

    /// Lets go of old checkpoints within stages.
    fn prune(&self) -> Result<(), TrainError> {
        let keep_last = self.experiment.checkpoint.keep_last;
        for (prefix, keep_last) in [
            ("rl-", keep_last),
            ("warm-start-", keep_last),
            (OF_STOPS, 0),
        ] {
            self.run.prune(prefix, keep_last)?;
        }
        Ok(())
    }

    fn measure(&mut self, policy: &Policy, label: &str) -> Result<Measured, TrainError> {
        let eval = &self.experiment.eval;
        let greedy = self.evaluate(policy, label, 0.0, &eval.lengths)?;
        let sampled = match eval.sampled_temperature {
            None => None,
            Some(temperature) => {
                Some(self.evaluate(policy, label, temperature, &eval.lengths[..1])?)
            }
        };
        Ok(Measured { greedy, sampled })
    }

    fn evaluate(
        &mut self,
        policy: &Policy,
        label: &str,
        temperature: f64,
        lengths: &[usize],
    ) -> Result<EvalReport, TrainError> {
        let start = Instant::now();
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
            progress.documents(done, n);
            self.options.stop.check()
        })?;
        progress.finish();
        if temperature == 0.0 {
            self.last_accuracy = Some(report.at_first_length());
        }
        let line = EvalLine {
            stage: "eval",
            label,
            stage_idx: self.position.stage_idx,
            step: self.position.rl_steps,
            report: report.clone(),
        };
        let mut timing = Timing::now(
            "eval",
            self.position.rl_steps,
            start.elapsed().as_secs_f64(),
        );
        timing.label = Some(label.to_string());
        self.append(&line, &timing)?;
        Ok(report)
    }

    /// What was measured before the first RL stage, as the metrics have it.
    fn measured_before(&self) -> Result<Option<Measured>, TrainError> {
        let mut greedy = None;
        let mut sampled = None;
        for line in self.run.read_metrics()? {
            if line["stage"] == "eval" && line["label"] == "before" {
                // Only this program writes such lines.
                let Ok(report) = serde_json::from_value::<EvalReport>(line) else {
                    continue;
                };
                let place = if greedy.is_none() {
                    &mut greedy
                } else {
                    &mut sampled
                };
                *place = Some(report);
            }
        }
        Ok(greedy.map(|greedy| Measured { greedy, sampled }))
    }

    /// An attempt of the last RL step: one that solved its problem tells more; the first where none did.
    fn telling_transcript(&self) -> Result<Option<longhand_run::Transcript>, TrainError> {
        let Some(last) = self.position.rl_steps.checked_sub(1) else {
            return Ok(None);
        };
        let records = self.run.read_transcripts("rl", last as u64)?;
        let is_solved = |record: &longhand_run::Transcript| record.outcome == Some(1.0);
        let solved = records.iter().position(is_solved).unwrap_or(0);
        Ok(records.into_iter().nth(solved))
    }

    fn plot_learning_curve(&self) -> Result<(), TrainError> {
        let mut rewards = Vec::new();
        let mut evals = Vec::new();
        for line in self.run.read_metrics()? {
            let step = line["step"].as_f64().unwrap_or_default();
            if line["stage"] == "rl"
                && let Some(reward) = line["reward"].as_f64()
            {
                // A point stands behind its step.
                rewards.push((step + 1.0, reward));
            }
            if line["label"] == "during"
                && let Some(accuracy) = line["lengths"][0]["accuracy"].as_f64()
            {
                evals.push((step, accuracy));
            }
        }
        let mut series = vec![Series {
            name: "reward of training rollouts".into(),
            points: rewards,
        }];
        if !evals.is_empty() {
            series.push(Series {
                name: "held-out accuracy, greedy".into(),
                points: evals,
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
