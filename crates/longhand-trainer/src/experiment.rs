//! A whole experiment: begun, or gone on with, and what is said at the end.

use std::path::{Path, PathBuf};

use longhand_config::{Experiment, Lora, PolicySource, Rl, Stage, WarmStart};
use longhand_policy::{Compute, LoraConfig, Policy, PolicyError, Target};
use longhand_rollout::{Purpose, StreamBase};
use longhand_run::{Damage, Lines, Restored, RunDir, Transcript};
use longhand_tasks::Split;
use serde_json::Value;

use crate::{
    compute::compute,
    error::TrainError,
    evaluate::EvalReport,
    from_scratch::from_scratch,
    log::Log,
    optimizer::Updater,
    position::{Position, Stop},
    progress::Progress,
    rl::Learner,
    session::Session,
    warm_start::WarmStarter,
    workbench::Workbench,
};

/// What the caller decides about a run.
#[derive(Clone, Debug, Default)]
pub struct TrainOptions {
    /// The run's folder; none for the next free `runs/NAME-001`. A resume has its folder already.
    pub out: Option<PathBuf>,
    /// Whether to show progress on standard error: a bar in a terminal, else a line now and then.
    pub progress: bool,
    /// Asks the run to stop after the step under way, with a checkpoint.
    pub stop: Stop,
}

/// How a run, or this process's part of it, ended.
#[derive(Clone, Debug)]
pub enum Ended {
    /// Everything is done.
    Finished(Box<Outcome>),
    /// There was nothing left to do.
    NothingLeft {
        /// The run's folder.
        folder: PathBuf,
        /// The last checkpoint.
        checkpoint: PathBuf,
    },
    /// It was asked to stop, and can be resumed.
    Stopped {
        /// The signal that asked.
        signal: usize,
        /// The run's folder.
        folder: PathBuf,
        /// Where a resume will begin.
        checkpoint: Option<PathBuf>,
    },
}

impl Ended {
    /// What a finished run has to tell.
    pub fn outcome(self) -> Option<Outcome> {
        match self {
            Ended::Finished(outcome) => Some(*outcome),
            Ended::NothingLeft { .. } | Ended::Stopped { .. } => None,
        }
    }
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
    let policy = match &experiment.policy {
        PolicySource::Folder(folder) => Policy::load(folder, compute)?,
        PolicySource::FromScratch(settings) => from_scratch(experiment, settings, compute)?,
    };
    match &experiment.lora {
        Some(lora) => adapted(&policy, lora, experiment.seed),
        None => Ok(policy),
    }
}

/// The policy with a fresh adapter beside its weights.
fn adapted(policy: &Policy, lora: &Lora, seed: u64) -> Result<Policy, TrainError> {
    if policy.folder().is_none() {
        return Err(TrainError::AdapterFromScratch);
    }
    let targets = lora.target_modules.iter().map(|name| Target::parse(name));
    let config = LoraConfig {
        rank: lora.rank,
        alpha: lora.alpha,
        dropout: lora.dropout,
        targets: targets
            .collect::<Result<_, _>>()
            .map_err(PolicyError::from)?,
    };
    let streams = StreamBase {
        seed,
        purpose: Purpose::WEIGHTS,
        step: 0,
    };
    let mut rng = streams.key(0, 0, 0).rng();
    Ok(policy.with_fresh_adapter(config, &mut rng)?)
}

/// Runs all stages and leaves everything in the run's folder.
///
/// # Errors
/// What can go wrong is in [`TrainError`]; everything that can be refused is refused before the
/// folder is made, and what had been finished stays there.
pub fn train(experiment: &Experiment, options: &TrainOptions) -> Result<Ended, TrainError> {
    let policy = open_policy(experiment, &compute(experiment)?)?;
    let bench = Workbench::new(experiment, &policy)?;
    refuse_early(experiment, &bench)?;
    let folder = match &options.out {
        Some(out) => out.clone(),
        None => RunDir::next_free(Path::new("runs"), &experiment.name),
    };
    let run = RunDir::create(&folder)?;
    run.write_config(&experiment.resolved_toml())?;
    run.write_data_digests(&experiment.task.files())?;
    let begun = Begun {
        policy,
        bench,
        lines: run.lines()?,
        superseded: Vec::new(),
    };
    begun.begin(experiment, &run, options)
}

/// Goes on with a run from its last complete checkpoint, as if it had never been stopped; a run that was
/// stopped before its first begins anew. `on_damage` is told of newer checkpoints that are damaged.
///
/// # Errors
/// What [`train`] says; a run that another process works on; a checkpoint of another format, or of
/// another configuration than the run's file has now.
pub fn resume(
    folder: &Path,
    options: &TrainOptions,
    mut on_damage: impl FnMut(&Damage),
) -> Result<Ended, TrainError> {
    let run = RunDir::open_to_write(folder)?;
    let experiment = Experiment::load(&folder.join("config.toml"), &[])?;
    run.check_data_digests(&experiment.task.files())?;
    let Some(restored) = run.newest_whole_checkpoint::<Position>()? else {
        let policy = open_policy(&experiment, &compute(&experiment)?)?;
        let bench = Workbench::new(&experiment, &policy)?;
        refuse_early(&experiment, &bench)?;
        let (lines, superseded) = run.resume_lines(0, 0)?;
        let begun = Begun {
            policy,
            bench,
            lines,
            superseded,
        };
        return begun.begin(&experiment, &run, options);
    };
    restored.damaged.iter().for_each(&mut on_damage);
    let Restored {
        name, path, state, ..
    } = restored;
    let position = state.body;
    position.check(&experiment, &path)?;
    // A kill may have come between the checkpoint and its pointer.
    run.set_latest(&name)?;
    if position.finished {
        return Ok(Ended::NothingLeft {
            folder: folder.to_owned(),
            checkpoint: path,
        });
    }
    let taken_up = TakenUp::load(&experiment, &run, &path, &position)?;
    let bench = Workbench::new(&experiment, &taken_up.policy)?;
    if let Some(best) = &position.best {
        // The pointer may not have been written any more, or already point further.
        run.set_best(&best.name)?;
    }
    let (lines, superseded) = run.resume_lines(state.metrics_bytes, state.timings_bytes)?;
    let made_again = match superseded.len() {
        0 => String::new(),
        n => format!(
            "; {n} lines of metrics behind it are made again, the old ones are in superseded/"
        ),
    };
    Progress::new(options.progress, "resume", 0).say(&format!(
        "going on from checkpoint {}, stage {} after {} steps{made_again}",
        name, position.stage_idx, position.steps_done
    ));
    let TakenUp { policy, restored } = taken_up;
    let session = Session {
        last_rl: last_record(&run, |line| line["stage"] == "rl")?,
        last_accuracy: last_record(&run, |line| {
            line["stage"] == "eval" && line["temperature"] == 0.0
        })?
        .and_then(|line| line["lengths"][0]["accuracy"].as_f64()),
        saved_at: Some((position.stage_idx, position.steps_done)),
        log: Log::new(&run, &experiment.resolved_toml(), lines, superseded)?,
        experiment: &experiment,
        bench: &bench,
        run: &run,
        options,
        position,
        restored,
    };
    session.run(policy)
}

/// What a run begins with.
struct Begun {
    policy: Policy,
    bench: Workbench,
    lines: Lines,
    superseded: Vec<Value>,
}

impl Begun {
    fn begin(
        self,
        experiment: &Experiment,
        run: &RunDir,
        options: &TrainOptions,
    ) -> Result<Ended, TrainError> {
        let config = experiment.resolved_toml();
        let mut session = Session {
            experiment,
            bench: &self.bench,
            run,
            options,
            log: Log::new(run, &config, self.lines, self.superseded)?,
            position: Position::default(),
            restored: None,
            last_rl: None,
            last_accuracy: None,
            saved_at: None,
        };
        // The first checkpoint: whatever becomes of the policy's own folder, the run can begin again.
        session.checkpoint(&self.policy, None)?;
        session.run(self.policy)
    }
}

/// A policy as a checkpoint has it, with what its stage needs to go on.
pub(crate) struct TakenUp {
    pub(crate) policy: Policy,
    /// Within a stage, its optimiser and, where its objective needs one, its reference.
    pub(crate) restored: Restorable,
}

/// The optimiser of a stage under way and, where its objective needs one, its reference.
pub(crate) type Restorable = Option<(Updater, Option<Policy>)>;

/// A learner where a run stands in a stage of RL.
pub(crate) fn learner_at<'a>(
    position: &Position,
    settings: &'a Rl,
    experiment: &Experiment,
    bench: &'a Workbench,
    policy: &Policy,
    restored: Restorable,
) -> Learner<'a> {
    let Experiment { seed, data, .. } = experiment;
    let learner = Learner::new(settings, bench, policy, *seed, data.train_tokens)
        .from_problem(position.next_problem);
    let learner = match position.control_state {
        Some(state) => learner.with_control_state(state),
        None => learner,
    };
    match restored {
        Some((updater, reference)) => learner.going_on(updater, reference),
        None => learner,
    }
}

/// A teacher where a run stands in a warm start.
pub(crate) fn starter_at<'a>(
    position: &Position,
    settings: &'a WarmStart,
    experiment: &Experiment,
    bench: &'a Workbench,
    restored: Restorable,
) -> WarmStarter<'a> {
    let stage_idx = position.stage_idx as u32;
    let starter = WarmStarter::new(settings, bench, experiment.seed, stage_idx);
    match (restored, position.next_warm_start_problem) {
        (Some((updater, _)), Some(next_problem)) => starter.going_on(next_problem, updater),
        _ => starter,
    }
}

impl TakenUp {
    pub(crate) fn load(
        experiment: &Experiment,
        run: &RunDir,
        path: &Path,
        position: &Position,
    ) -> Result<Self, TrainError> {
        let compute = compute(experiment)?;
        let policy = Policy::load(path, &compute)?.with_version(position.policy_version);
        let stage = experiment.stages.get(position.stage_idx);
        let restored = match stage {
            Some(stage) if 0 < position.steps_done => {
                let (optimizer, n_updates, needs_reference) = match stage {
                    Stage::WarmStart(settings) => (&settings.optimizer, settings.steps, false),
                    Stage::Rl(settings) => {
                        let objective = &settings.objective.objective;
                        let needs_reference = objective.needs_reference();
                        (&settings.optimizer, settings.n_updates(), needs_reference)
                    }
                };
                let done = position.updates_done;
                let updater = Updater::load(optimizer, n_updates, done, &policy, path)?;
                let reference = if needs_reference {
                    let name = Position::name_of_start(position.stage_idx);
                    let start = run.load_checkpoint::<Position>(&name)?;
                    let folder = run.path().join("checkpoints").join(&name);
                    let reference = match policy.adapter() {
                        // Beside the same weights: they are in memory once.
                        Some(_) => policy.with_adapter_of(&folder)?,
                        None => Policy::load(&folder, &compute)?,
                    };
                    let reference = reference.as_reference();
                    Some(reference.with_version(start.body.policy_version))
                } else {
                    None
                };
                Some((updater, reference))
            }
            _ => None,
        };
        Ok(Self { policy, restored })
    }
}

/// The last line of the metrics for which `is_it` holds.
fn last_record(run: &RunDir, is_it: impl Fn(&Value) -> bool) -> Result<Option<Value>, TrainError> {
    let (lines, _torn) = run.read_metrics_so_far()?;
    Ok(lines.into_iter().rev().find(is_it))
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
