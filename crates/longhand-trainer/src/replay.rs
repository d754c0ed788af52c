//! Making again what a run has made: one rollout from its keys, or the step that broke.

use std::path::{Path, PathBuf};

use longhand_config::{Experiment, Rl, Stage, WarmStart};
use longhand_policy::Policy;
use longhand_run::{RunDir, Transcript, TranscriptTurn};

use crate::{
    error::TrainError,
    experiment::{Restorable, TakenUp, learner_at, starter_at},
    failure::read_failure,
    not_finite::NotFinite,
    position::Position,
    rl::Learner,
    transcripts::Scribe,
    warm_start::WarmStarter,
    workbench::Workbench,
};

/// A rollout that was made again.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// As it is stored.
    pub stored: Transcript,
    /// As it came out now.
    pub again: Transcript,
    /// What differs, in words; empty when the two are the same to the bit.
    pub differences: Vec<String>,
    /// The checkpoint that the replay began at.
    pub checkpoint: PathBuf,
    /// Steps that were trained again to get from there to the rollout's weights.
    pub n_steps: usize,
}

/// A step that was run again because a number broke in it.
#[derive(Clone, Debug)]
pub struct ReplayedFailure {
    /// What broke, as it is stored.
    pub stored: NotFinite,
    /// What broke now; none when nothing did.
    pub again: Option<NotFinite>,
    /// The checkpoint that the replay began at.
    pub checkpoint: PathBuf,
    /// Steps that were run again, the last one included.
    pub n_steps: usize,
}

/// Makes the rollout of one attempt again and compares it with its transcript. `problem` is the problem's
/// index in its source, or its name. Writes nothing.
///
/// The weights that sampled it are those of the nearest earlier checkpoint, trained on as the run was.
/// `on_step` is told of every step that is trained again: `(done, of)`.
///
/// # Errors
/// When the run has no such rollout, or no checkpoint to begin at; and what training may say.
pub fn replay_rollout(
    folder: &Path,
    step: usize,
    problem: &str,
    attempt: u32,
    on_step: impl FnMut(usize, usize),
) -> Result<Replayed, TrainError> {
    let run = RunDir::open(folder)?;
    let stored = stored_rollout(&run, step, problem, attempt)?;
    let is_before = |position: &Position, experiment: &Experiment| {
        let stage = experiment.stages.get(position.stage_idx);
        position.rl_steps <= step && matches!(stage, Some(Stage::Rl(_)))
    };
    let mut rehearsal = Rehearsal::begin(&run, "rl", step, is_before)?;
    let n_steps = step - rehearsal.position.rl_steps;
    let settings = rehearsal.rl();
    let bench = Workbench::new(&rehearsal.experiment, &rehearsal.policy)?;
    let mut learner = rehearsal.learner(&settings, &bench);
    rl_steps(&mut rehearsal, &mut learner, n_steps, on_step)?;
    let policy = &rehearsal.policy;
    let scored = learner.attempt(policy, stored.problem_idx, attempt, step)?;
    let scribe = Scribe {
        stage: "rl",
        step,
        seed: rehearsal.experiment.seed,
        tokenizer: policy.tokenizer(),
        columns: settings.credit.columns(),
    };
    let uncredited = crate::credit::Credited {
        turns: vec![Vec::new(); 1],
        teacher_range: None,
    };
    let again = scribe.all(&[scored], &uncredited, &[])?.remove(0);
    Ok(Replayed {
        differences: differences(&stored, &again),
        stored,
        again,
        checkpoint: rehearsal.checkpoint,
        n_steps,
    })
}

/// Runs the step again that wrote a file into `RUN/failures`. Writes nothing.
///
/// # Errors
/// When the file or its run cannot be read, or there is no checkpoint to begin at; and whatever stops
/// the steps but a number that is not finite.
pub fn replay_failure(
    file: &Path,
    on_step: impl FnMut(usize, usize),
) -> Result<ReplayedFailure, TrainError> {
    let failure = read_failure(file)?;
    let folder = file.parent().and_then(Path::parent);
    let folder = folder.unwrap_or_else(|| Path::new(".."));
    let run = RunDir::open(if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    })?;
    let target = failure.position;
    let is_before = |position: &Position, _: &Experiment| {
        position.stage_idx == target.stage_idx && position.steps_done <= target.steps_done
    };
    let (stage, step) = (failure.found.stage.clone(), failure.found.step);
    let mut rehearsal = Rehearsal::begin(&run, &stage, step, is_before)?;
    let n_steps = target.steps_done - rehearsal.position.steps_done + 1;
    let bench = Workbench::new(&rehearsal.experiment, &rehearsal.policy)?;
    let done = match rehearsal.experiment.stages[target.stage_idx].clone() {
        Stage::Rl(settings) => {
            let mut learner = rehearsal.learner(&settings, &bench);
            rl_steps(&mut rehearsal, &mut learner, n_steps, on_step)
        }
        Stage::WarmStart(settings) => {
            let starter = rehearsal.starter(&settings, &bench);
            warm_start_steps(&mut rehearsal, starter, n_steps, on_step)
        }
    };
    let again = match done {
        Ok(()) => None,
        Err(TrainError::NotFinite(found)) => Some(*found),
        Err(other) => return Err(other),
    };
    Ok(ReplayedFailure {
        stored: failure.found,
        again,
        checkpoint: rehearsal.checkpoint,
        n_steps,
    })
}

/// A run taken up at a checkpoint to be run again without leaving a trace.
struct Rehearsal {
    experiment: Experiment,
    position: Position,
    policy: Policy,
    restored: Restorable,
    checkpoint: PathBuf,
}

impl Rehearsal {
    /// At the latest whole checkpoint for which `is_before` holds.
    fn begin(
        run: &RunDir,
        stage: &str,
        step: usize,
        is_before: impl Fn(&Position, &Experiment) -> bool,
    ) -> Result<Self, TrainError> {
        let experiment = Experiment::load(&run.path().join("config.toml"), &[])?;
        run.check_data_digests(&experiment.task.files())?;
        let mut names = Vec::new();
        let mut latest: Option<(Position, PathBuf)> = None;
        for path in run.checkpoints()? {
            let name = path.file_name().unwrap_or_default();
            let name = name.to_string_lossy().into_owned();
            // A damaged one is no place to begin; another will do.
            let Ok(state) = run.load_checkpoint::<Position>(&name) else {
                names.push(format!("{name} (damaged)"));
                continue;
            };
            let position = state.body;
            let key = |position: &Position| (position.stage_idx, position.steps_done);
            let is_later = latest
                .as_ref()
                .is_none_or(|(latest, _)| key(latest) < key(&position));
            if !position.finished && is_before(&position, &experiment) && is_later {
                position.check(&experiment, &path)?;
                latest = Some((position, path));
            }
            names.push(name);
        }
        let Some((position, checkpoint)) = latest else {
            return Err(TrainError::NoCheckpoint {
                run: run.path().to_path_buf(),
                stage: stage.into(),
                step,
                there: names.join(", "),
            });
        };
        let TakenUp { policy, restored } = TakenUp::load(&experiment, run, &checkpoint, &position)?;
        Ok(Self {
            experiment,
            position,
            policy,
            restored,
            checkpoint,
        })
    }

    /// The settings of the RL stage that it stands in.
    fn rl(&self) -> Rl {
        match &self.experiment.stages[self.position.stage_idx] {
            Stage::Rl(settings) => settings.as_ref().clone(),
            Stage::WarmStart(_) => unreachable!("a rollout's checkpoint stands in a stage of RL"),
        }
    }

    fn learner<'a>(&mut self, settings: &'a Rl, bench: &'a Workbench) -> Learner<'a> {
        let restored = self.restored.take();
        let (position, policy) = (&self.position, &self.policy);
        learner_at(
            position,
            settings,
            &self.experiment,
            bench,
            policy,
            restored,
        )
    }

    fn starter<'a>(&mut self, settings: &'a WarmStart, bench: &'a Workbench) -> WarmStarter<'a> {
        let restored = self.restored.take();
        starter_at(&self.position, settings, &self.experiment, bench, restored)
    }
}

fn rl_steps(
    rehearsal: &mut Rehearsal,
    learner: &mut Learner<'_>,
    n_steps: usize,
    mut on_step: impl FnMut(usize, usize),
) -> Result<(), TrainError> {
    for done in 0..n_steps {
        on_step(done, n_steps);
        learner.step(&mut rehearsal.policy, rehearsal.position.rl_steps + done)?;
    }
    on_step(n_steps, n_steps);
    Ok(())
}

fn warm_start_steps(
    rehearsal: &mut Rehearsal,
    mut starter: WarmStarter<'_>,
    n_steps: usize,
    mut on_step: impl FnMut(usize, usize),
) -> Result<(), TrainError> {
    for done in 0..n_steps {
        on_step(done, n_steps);
        starter.step(&mut rehearsal.policy, rehearsal.position.steps_done + done)?;
    }
    on_step(n_steps, n_steps);
    Ok(())
}

fn stored_rollout(
    run: &RunDir,
    step: usize,
    problem: &str,
    attempt: u32,
) -> Result<Transcript, TrainError> {
    let no_rollout = |what: String, there: String| TrainError::NoRollout {
        run: run.path().to_path_buf(),
        what,
        there,
    };
    let files = run.transcript_files()?;
    if !files
        .iter()
        .any(|file| file.stage == "rl" && file.step == step as u64)
    {
        let steps = || {
            files
                .iter()
                .filter(|file| file.stage == "rl")
                .map(|file| file.step)
        };
        let there = match (steps().min(), steps().max()) {
            (Some(first), Some(last)) => format!("steps {first} to {last}"),
            _ => "none".into(),
        };
        return Err(no_rollout(format!("rl step {step}"), there));
    }
    let all = run.read_transcripts("rl", step as u64)?;
    let is_problem =
        |one: &&Transcript| problem.parse() == Ok(one.problem_idx) || one.problem_id == problem;
    let of_problem: Vec<&Transcript> = all.iter().filter(is_problem).collect();
    if of_problem.is_empty() {
        let mut there: Vec<u64> = all.iter().map(|one| one.problem_idx).collect();
        there.dedup();
        let there: Vec<String> = there.iter().map(u64::to_string).collect();
        let what = format!("problem {problem} in rl step {step}");
        return Err(no_rollout(what, format!("problems {}", there.join(", "))));
    }
    let found = of_problem.iter().find(|one| one.attempt == attempt);
    found.map(|one| (*one).clone()).ok_or_else(|| {
        let there: Vec<String> = of_problem
            .iter()
            .map(|one| one.attempt.to_string())
            .collect();
        let what = format!("attempt {attempt} at problem {problem} in rl step {step}");
        no_rollout(what, format!("attempts {}", there.join(", ")))
    })
}

/// What is not the same in two records of one rollout. Rewards per turn and advantages depend on the
/// whole group, and are not made again.
fn differences(stored: &Transcript, again: &Transcript) -> Vec<String> {
    let mut list = Vec::new();
    let mut compare = |what: &str, stored: &dyn std::fmt::Debug, again: &dyn std::fmt::Debug| {
        let (stored, again) = (format!("{stored:?}"), format!("{again:?}"));
        if stored != again {
            list.push(format!("{what}: stored {stored}, now {again}"));
        }
    };
    compare(
        "policy version",
        &stored.policy_version,
        &again.policy_version,
    );
    compare(
        "digest of the weights",
        &stored.weights_digest,
        &again.weights_digest,
    );
    compare("seed", &stored.seed, &again.seed);
    compare("problem", &stored.problem_id, &again.problem_id);
    compare("question", &stored.question, &again.question);
    compare("expected answers", &stored.expected, &again.expected);
    compare("turns", &stored.turns.len(), &again.turns.len());
    for (idx, (stored, again)) in stored.turns.iter().zip(&again.turns).enumerate() {
        let of_turn = |what: &str| format!("turn {idx}: {what}");
        compare(&of_turn("prompt"), &stored.prompt, &again.prompt);
        compare(
            &of_turn("sampled ids"),
            &stored.completion_ids,
            &again.completion_ids,
        );
        compare(
            &of_turn("stop reason"),
            &stored.stop_reason,
            &again.stop_reason,
        );
        if let Some(difference) = logprob_difference(stored, again) {
            compare(&of_turn("log-probabilities"), &"as recorded", &difference);
        }
    }
    compare("answer", &stored.answer, &again.answer);
    compare("outcome", &stored.outcome, &again.outcome);
    list
}

/// Where the log-probabilities of the same tokens are not the same bits.
fn logprob_difference(stored: &TranscriptTurn, again: &TranscriptTurn) -> Option<String> {
    if stored.completion_ids != again.completion_ids {
        return None;
    }
    let pairs = stored.rollout_logprobs.iter().zip(&again.rollout_logprobs);
    let unlike: Vec<f32> = pairs
        .filter(|(stored, again)| stored.to_bits() != again.to_bits())
        .map(|(stored, again)| (stored - again).abs())
        .collect();
    let largest = unlike.iter().copied().fold(0.0, f32::max);
    (!unlike.is_empty()).then(|| {
        format!(
            "{} of {} differ, the largest by {largest:e}",
            unlike.len(),
            stored.rollout_logprobs.len()
        )
    })
}
