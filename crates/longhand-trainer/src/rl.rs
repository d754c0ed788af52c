//! Reinforcement learning: one step, from problems to a moved policy.
//!
//! ```text
//! problems → groups → scores → credits → rows → controls → gradient → update
//! ```
//!
//! [`Learner::step`] reads like that line; up to the scores it stands in `collecting`, from the rows on in
//! `updating`.

mod collecting;
mod updating;

use std::time::Instant;

use longhand_config::Rl;
use longhand_objective::ControlState;
use longhand_policy::Policy;
use longhand_rollout::Group;
use longhand_run::TranscriptDropped;

use crate::{
    batch::{Batch, pack},
    credit::{Credited, ScoredGroup, credit_turns},
    entropy_control::{Anchor, observed},
    error::TrainError,
    not_finite::Moment,
    optimizer::Updater,
    policy_view::PolicyView,
    report::{StepReport, UpdateReport},
    timing::{Phases, Timing},
    workbench::Workbench,
};

/// A policy being trained by reinforcement.
pub struct Learner<'a> {
    settings: &'a Rl,
    bench: &'a Workbench,
    reference: Option<Policy>,
    updater: Updater,
    control_state: ControlState,
    seed: u64,
    train_tokens: usize,
    next_problem: u64,
    /// What a step that failed had collected.
    of_failed_step: Option<Rollouts>,
}

/// What a step leaves behind besides its report: the rollouts, for the transcripts.
#[derive(Debug)]
pub struct StepOutput {
    /// What is written to the metrics.
    pub report: StepReport,
    /// What is written to the timings.
    pub timing: Timing,
    /// The groups that were trained on.
    pub scored: Vec<ScoredGroup>,
    /// Their credits.
    pub credited: Credited,
    /// The groups that were generated and left out, and why.
    pub left_out: Vec<(ScoredGroup, TranscriptDropped)>,
}

/// The groups that a step generated.
#[derive(Debug, Default)]
pub struct Rollouts {
    /// To be trained on.
    pub kept: Vec<ScoredGroup>,
    /// Left out, and why.
    pub left_out: Vec<(ScoredGroup, TranscriptDropped)>,
}

impl<'a> Learner<'a> {
    /// A learner at the first step of a stage. A reference policy is kept when the objective has a KL
    /// term: the policy as it is now.
    pub fn new(
        settings: &'a Rl,
        bench: &'a Workbench,
        policy: &Policy,
        seed: u64,
        train_tokens: usize,
    ) -> Self {
        Self {
            settings,
            bench,
            reference: settings
                .objective
                .objective
                .needs_reference()
                .then(|| policy.as_reference()),
            updater: Updater::new(&settings.optimizer, settings.n_updates()),
            control_state: settings.entropy.initial_state(),
            seed,
            train_tokens,
            next_problem: 0,
            of_failed_step: None,
        }
    }

    /// The same learner, going on in the source behind the problems that earlier stages took.
    #[must_use]
    pub fn from_problem(self, next_problem: u64) -> Self {
        Self {
            next_problem,
            ..self
        }
    }

    /// The same learner, going on within a stage: with the optimiser as earlier steps left it, and the
    /// policy of the stage's start as the reference, where the objective needs one.
    #[must_use]
    pub fn going_on(self, updater: Updater, reference: Option<Policy>) -> Self {
        Self {
            updater,
            reference,
            ..self
        }
    }

    /// The same learner, its entropy control as earlier steps of the stage left it.
    #[must_use]
    pub fn with_control_state(self, control_state: ControlState) -> Self {
        Self {
            control_state,
            ..self
        }
    }

    /// What entropy control remembers between steps.
    pub fn control_state(&self) -> ControlState {
        self.control_state
    }

    /// The optimiser.
    pub fn updater(&self) -> &Updater {
        &self.updater
    }

    /// What the last step had collected, if it failed behind its rollouts.
    pub fn take_rollouts_of_failed_step(&mut self) -> Option<Rollouts> {
        self.of_failed_step.take()
    }

    /// The problem that the next step begins with.
    pub fn next_problem(&self) -> u64 {
        self.next_problem
    }

    /// One step. Mini-batches are made of problems, never of rows.
    ///
    /// `step` names the random streams, so no two steps of a run may have the same.
    ///
    /// # Errors
    /// When problems cannot be made or read, too many rewards fail, or a number stops being finite. Then
    /// [`Learner::take_rollouts_of_failed_step`] has what was collected.
    ///
    /// # Panics
    /// When the stage's updates are all done: its schedule says no learning rate for more.
    pub fn step(&mut self, policy: &mut Policy, step: usize) -> Result<StepOutput, TrainError> {
        let start = Instant::now();
        let at = Moment {
            stage: "rl",
            step,
            policy_version: policy.weights_id().version,
        };
        let weights = policy.weights_id();
        self.bench.count_requests_of_step(step);
        let mut phases = Phases::default();
        let mut rollouts = Rollouts::default();
        let done = self
            .collect_scored(policy, at, &mut phases, &mut rollouts)
            .and_then(|collection| {
                let train_start = Instant::now();
                let trained = self.train(policy, &rollouts.kept, at)?;
                phases.seconds_train = train_start.elapsed().as_secs_f64();
                Ok((collection, trained))
            });
        let (collection, (credited, updates)) = match done {
            Ok(done) => done,
            Err(error) => {
                self.of_failed_step = Some(rollouts);
                return Err(error);
            }
        };
        let Rollouts { kept, left_out } = rollouts;
        let mut report = StepReport::new(step, &kept, &credited, &collection, &updates, weights);
        report.tell_rewards(&self.settings.credit, &kept);
        report.tell_control(&self.settings.entropy, &self.control_state, &updates);
        let mut timing = Timing::now("rl", step, start.elapsed().as_secs_f64());
        timing.phases = Some(phases);
        Ok(StepOutput {
            report,
            timing,
            scored: kept,
            credited,
            left_out,
        })
    }

    /// From scored groups to a moved policy: credits, and an update for each mini-batch.
    fn train(
        &mut self,
        policy: &mut Policy,
        scored: &[ScoredGroup],
        at: Moment,
    ) -> Result<(Credited, Vec<UpdateReport>), TrainError> {
        for group in scored.iter().map(|scored| &scored.group) {
            check_fresh(group, policy)?;
        }
        let credited = credit_turns(
            scored,
            &self.settings.credit,
            self.settings.skip_equal_outcomes,
        );
        let views = PolicyView::sum(scored.iter().flat_map(|scored| &scored.views));
        self.control_state = observed(self.settings, &self.control_state, &views, at)?;
        let needs_zero = self.settings.entropy.needs_zero_advantages();
        let skip_zero = self.reference.is_none() && !needs_zero;
        let batches: Vec<(&[ScoredGroup], Batch<'_>)> =
            mini_batches(scored, &credited, self.settings.mini_batches)
                .into_iter()
                .map(|(scored, credited)| {
                    let batch = pack(scored, &credited, &self.settings.objective, skip_zero);
                    (scored, batch)
                })
                .collect();
        let anchors = batches
            .iter()
            .map(|(scored, batch)| self.anchor(policy, scored, batch))
            .collect::<Result<Vec<Anchor>, TrainError>>()?;
        let only_batches: Vec<&Batch<'_>> = batches.iter().map(|(_, batch)| batch).collect();
        let mut updates = Vec::new();
        for (idx, ((scored, batch), anchor)) in batches.iter().zip(&anchors).enumerate() {
            let chooser = self.chooser(policy);
            let controls = chooser.of_mini_batch(policy, &only_batches, &anchors, idx)?;
            updates.push(self.update(policy, scored, batch, anchor, controls.as_deref(), at)?);
        }
        Ok((credited, updates))
    }
}

/// Refuses rollouts of other weights than those that are to be trained.
fn check_fresh(group: &Group, policy: &Policy) -> Result<(), TrainError> {
    let now = policy.weights_id();
    match group.weights {
        Some(sampled) if sampled != now => Err(TrainError::StaleRollouts {
            problem_idx: group.problem_idx,
            sampled,
            policy: now,
        }),
        _ => Ok(()),
    }
}

/// Cuts groups into `n` nearly equal runs of whole problems.
fn mini_batches<'a>(
    scored: &'a [ScoredGroup],
    credited: &Credited,
    n: usize,
) -> Vec<(&'a [ScoredGroup], Credited)> {
    let bounds = (0..=n).map(|i| i * scored.len() / n);
    let ranges = bounds
        .clone()
        .zip(bounds.skip(1))
        .filter(|(start, end)| start < end);
    ranges
        .map(|(start, end)| {
            let turns = credited.turns[start..end].to_vec();
            (
                &scored[start..end],
                Credited {
                    turns,
                    teacher_range: credited.teacher_range,
                },
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use longhand_config::{Experiment, Optimizer, Stage, Unit};
    use longhand_objective::Aggregation;
    use longhand_policy::Compute;
    use longhand_rollout::WeightsId;

    use super::*;
    use crate::{
        credit::TurnCredit, experiment::open_policy, scripted::scored_group,
        warm_start::WarmStarter, workbench::Workbench,
    };

    /// The first RL stage of a smoke run behind its warm start.
    fn after_warm_start(name: &str) -> (Experiment, Workbench, Policy, Rl) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../configs/smoke")
            .join(name);
        let experiment = Experiment::load(&path, &[]).unwrap();
        let mut policy = open_policy(&experiment, &Compute::default()).unwrap();
        let bench = Workbench::new(&experiment, &policy).unwrap();
        let [Stage::WarmStart(warm_start), Stage::Rl(rl), ..] = &experiment.stages[..] else {
            panic!("{:?}", experiment.stages);
        };
        let rl = rl.as_ref().clone();
        let mut starter = WarmStarter::new(warm_start, &bench, experiment.seed, 0);
        for step in 0..warm_start.steps {
            starter.step(&mut policy, step).unwrap();
        }
        (experiment, bench, policy, rl)
    }

    /// AdamW whose first update is the gradient itself, but for a share of `|gradient| / 1000`.
    fn plain_gradient(rl: &mut Rl) {
        rl.optimizer = Optimizer {
            lr: 1e3,
            eps: 1e3,
            weight_decay: 0.0,
            max_grad_norm: 1e9,
            warmup_steps: 0,
            ..rl.optimizer
        };
    }

    fn weights(policy: &Policy) -> Vec<f32> {
        policy
            .named_weights()
            .into_iter()
            .flat_map(|(_, values)| values)
            .collect()
    }

    const MOMENT: Moment = Moment {
        stage: "rl",
        step: 0,
        policy_version: 0,
    };

    fn collected(learner: &mut Learner<'_>, policy: &Policy) -> Vec<ScoredGroup> {
        let mut rollouts = Rollouts::default();
        learner
            .collect_scored(policy, MOMENT, &mut Phases::default(), &mut rollouts)
            .unwrap();
        rollouts.kept
    }

    #[test]
    fn rollouts_of_other_weights_are_not_trained_on() {
        let (experiment, bench, mut policy, rl) = after_warm_start("memagent.toml");
        let tokens = experiment.data.train_tokens;
        let mut learner = Learner::new(&rl, &bench, &policy, experiment.seed, tokens);
        let mut scored = collected(&mut learner, &policy);
        let sampled = scored[1].group.weights.unwrap();
        for stale in [
            WeightsId {
                version: sampled.version + 1,
                ..sampled
            },
            WeightsId {
                digest: sampled.digest.map(|digest| digest ^ 1),
                ..sampled
            },
        ] {
            scored[1].group.weights = Some(stale);
            let before = weights(&policy);
            let error = learner.train(&mut policy, &scored, MOMENT).unwrap_err();
            assert!(matches!(error, TrainError::StaleRollouts { .. }), "{error}");
            assert_eq!(weights(&policy), before);
        }
        scored[1].group.weights = Some(sampled);
        learner.train(&mut policy, &scored, MOMENT).unwrap();
    }

    #[test]
    fn the_ratio_is_anchored_in_what_was_recorded_while_sampling() {
        let (experiment, bench, mut policy, rl) = after_warm_start("memagent.toml");
        let mut learner = Learner::new(
            &rl,
            &bench,
            &policy,
            experiment.seed,
            experiment.data.train_tokens,
        );
        let mut scored = collected(&mut learner, &policy);
        // One recorded number is moved by 0.3; nothing else can then move the largest ratio.
        scored[0].group.trajectories[1].turns[0].rollout_logprobs[0] += 0.3;
        let credited = credit_turns(&scored, &rl.credit, false);
        let batch = pack(&scored, &credited, &rl.objective, false);
        let anchor = learner.anchor(&policy, &scored, &batch).unwrap();
        let report = learner
            .update(&mut policy, &scored, &batch, &anchor, None, MOMENT)
            .unwrap();
        let expected = 1.0 - (-0.3_f64).exp();
        assert!(
            (report.metrics.ratio_max_deviation - expected).abs() < 1e-5,
            "{report:?}"
        );
        assert!(
            (report.max_logprob_difference - 0.3).abs() < 1e-5,
            "{report:?}"
        );
    }

    #[test]
    fn reordering_the_attempts_of_a_group_changes_the_gradient_by_rounding_only() {
        for name in ["tamtrl.toml", "memagent.toml"] {
            let (experiment, bench, policy, mut rl) = after_warm_start(name);
            plain_gradient(&mut rl);
            let mut learner = Learner::new(
                &rl,
                &bench,
                &policy,
                experiment.seed,
                experiment.data.train_tokens,
            );
            let scored = collected(&mut learner, &policy);
            let mut reversed = scored.clone();
            for scored in &mut reversed {
                scored.group.trajectories.reverse();
                scored.outcomes.reverse();
                scored.rewards.reverse();
                scored.teacher_scores.reverse();
            }
            let updated = |scored: &[ScoredGroup]| {
                let mut policy = policy.clone();
                let mut learner = Learner::new(
                    &rl,
                    &bench,
                    &policy,
                    experiment.seed,
                    experiment.data.train_tokens,
                );
                let credited = credit_turns(scored, &rl.credit, false);
                let batch = pack(scored, &credited, &rl.objective, true);
                let anchor = learner.anchor(&policy, scored, &batch).unwrap();
                learner
                    .update(&mut policy, scored, &batch, &anchor, None, MOMENT)
                    .unwrap();
                weights(&policy)
            };
            let (before, one, other) = (weights(&policy), updated(&scored), updated(&reversed));
            let largest = |a: &[f32], b: &[f32]| {
                a.iter()
                    .zip(b)
                    .map(|(a, b)| (a - b).abs())
                    .fold(0.0, f32::max)
            };
            assert!(1e-2 < largest(&before, &one), "{name}: there is a gradient");
            assert!(
                largest(&one, &other) < 1e-5,
                "{name}: {}",
                largest(&one, &other)
            );
        }
    }

    /// Every turn of two tokens or more becomes two: the first token, then the rest behind it.
    fn split_turns(scored: &[ScoredGroup]) -> Vec<ScoredGroup> {
        let mut scored = scored.to_vec();
        for scored in &mut scored {
            for trajectory in &mut scored.group.trajectories {
                let turns = std::mem::take(&mut trajectory.turns);
                for turn in turns {
                    if turn.completion.len() < 2 {
                        trajectory.turns.push(turn);
                        continue;
                    }
                    let (mut first, mut rest) = (turn.clone(), turn);
                    first.completion.truncate(1);
                    first.rollout_logprobs.truncate(1);
                    rest.prompt.push(rest.completion.remove(0));
                    rest.rollout_logprobs.remove(0);
                    trajectory.turns.extend([first, rest]);
                }
            }
        }
        scored
    }

    #[test]
    fn splitting_attempts_into_more_turns_changes_no_advantage_and_the_gradient_by_rounding_only() {
        let (experiment, bench, policy, mut rl) = after_warm_start("memagent.toml");
        plain_gradient(&mut rl);
        rl.objective.unit = Unit::Trajectory;
        rl.objective.norm_length = Some(9.0);
        for aggregation in [
            Aggregation::TokenMean,
            Aggregation::SeqMeanTokenMean,
            Aggregation::SeqMeanTokenSum,
            Aggregation::SeqMeanTokenSumNorm,
        ] {
            rl.objective.aggregation = aggregation;
            let new = || {
                let tokens = experiment.data.train_tokens;
                Learner::new(&rl, &bench, &policy, experiment.seed, tokens)
            };
            let scored = collected(&mut new(), &policy);
            let run = |scored: &[ScoredGroup]| {
                let mut policy = policy.clone();
                let credited = credit_turns(scored, &rl.credit, false);
                let batch = pack(scored, &credited, &rl.objective, true);
                let mut learner = new();
                let anchor = learner.anchor(&policy, scored, &batch).unwrap();
                let report = learner
                    .update(&mut policy, scored, &batch, &anchor, None, MOMENT)
                    .unwrap();
                let of_attempt = |turns: &Vec<TurnCredit>| turns[0].advantage;
                let advantages: Vec<_> = credited.turns.iter().flatten().map(of_attempt).collect();
                (advantages, weights(&policy), report.n_rows)
            };
            let (whole, split) = (run(&scored), run(&split_turns(&scored)));
            assert_eq!(whole.0, split.0, "{aggregation:?}");
            assert!(whole.2 < split.2, "something was split");
            let largest = |a: &[f32], b: &[f32]| {
                let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
                differences.fold(0.0, f32::max)
            };
            assert!(1e-2 < largest(&weights(&policy), &whole.1), "a gradient");
            let difference = largest(&whole.1, &split.1);
            assert!(difference < 1e-4, "{aggregation:?}: {difference}");
        }
    }

    #[test]
    fn mini_batches_are_whole_problems_each_once_and_in_order() {
        let scored: Vec<ScoredGroup> = (0..5)
            .map(|idx| {
                let mut scored = scored_group(&[&[1], &[1]], &[1.0, 0.0], &[]);
                scored.group.problem_idx = idx;
                scored
            })
            .collect();
        let credited = Credited {
            turns: vec![Vec::new(); 5],
            teacher_range: Some((0.1, 0.2)),
        };
        let problems = |n: usize| -> Vec<Vec<u64>> {
            let parts = mini_batches(&scored, &credited, n);
            assert!(
                parts
                    .iter()
                    .all(|(scored, part)| scored.len() == part.turns.len())
            );
            assert!(
                parts
                    .iter()
                    .all(|(_, part)| part.teacher_range == credited.teacher_range)
            );
            let idx = |scored: &[ScoredGroup]| {
                scored
                    .iter()
                    .map(|scored| scored.group.problem_idx)
                    .collect()
            };
            parts.into_iter().map(|(scored, _)| idx(scored)).collect()
        };
        assert_eq!(problems(1), [[0, 1, 2, 3, 4]]);
        assert_eq!(problems(2), [vec![0, 1], vec![2, 3, 4]]);
        // More updates than problems are left after dynamic sampling: no update is empty.
        assert_eq!(problems(7), [[0], [1], [2], [3], [4]]);
        assert!(mini_batches(&[], &Credited::default(), 3).is_empty());
    }
}
