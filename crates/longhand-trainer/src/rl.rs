//! Reinforcement learning: one step, from problems to a moved policy.
//!
//! ```text
//! problems → groups → scores → credits → rows → controls → gradient → update
//! ```
//!
//! [`Learner::step`] reads like that line.

use std::time::Instant;

use longhand_config::{Credit, Rl};
use longhand_objective::{
    ControlState, Controls, EntropyTerm, Metrics, ScopeTokens, TokenBatch, TokenControl,
};
use longhand_policy::{Policy, TokenGradient};
use longhand_reward_certainty::Alignment;
use longhand_rollout::{
    CollectOptions, EncodedProblem, Generate, Group, Purpose, RolloutError, Sampling, StreamBase,
    collect, collect_attempt, micro_batches,
};
use longhand_run::TranscriptDropped;
use longhand_tasks::Split;
use std::sync::Arc;

use crate::{
    attempt_rewards::{OwnView, Votes, reward_attempts},
    batch::{Batch, Row, pack},
    credit::{Credited, ScoredGroup, credit_turns, is_live_group, judge_answers, score_by_teacher},
    entropy_control::{Anchor, Chooser, observed},
    error::TrainError,
    not_finite::{Moment, NotFinite, TokenPlace},
    optimizer::{Updater, dropout_key},
    policy_view::{PolicyView, policy_views},
    report::{Collection, StepReport, UpdateReport},
    scoring::score_contexts,
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

    /// Groups for one step. With dynamic sampling, groups that teach nothing are replaced by fresh ones,
    /// at most `max_generation_batches` times and without asking a problem twice; what was left out is
    /// counted, and a step that is still short trains on what it has. Groups in which every reward failed
    /// teach nothing either way.
    fn collect_scored(
        &mut self,
        policy: &Policy,
        at: Moment,
        phases: &mut Phases,
        rollouts: &mut Rollouts,
    ) -> Result<Collection, TrainError> {
        let wanted = self.settings.problems_per_step;
        let batches = self
            .settings
            .dynamic_sampling
            .map_or(1, |dynamic| dynamic.max_generation_batches);
        // A problem that came again within one step would bring the same rollouts again.
        let batches = match self.bench.source.n_problems(Split::Train) {
            Some(available) => batches.min((available / wanted).max(1)),
            None => batches,
        };
        let mut collection = Collection::default();
        for _batch in 0..batches {
            let problems = self.problems(wanted)?;
            let generate_start = Instant::now();
            let groups = self.collect(&mut policy.generator(), &problems, at)?;
            phases.seconds_generate += generate_start.elapsed().as_secs_f64();

            let score_start = Instant::now();
            let scored = self.score(groups, policy, at)?;
            phases.seconds_score += score_start.elapsed().as_secs_f64();

            collection.add(&scored);
            for mut group in scored {
                if let Some(voters) = group.split_off(self.settings.trained_attempts) {
                    let voted = TranscriptDropped::VotesOnly;
                    rollouts.left_out.push((voters, voted));
                }
                let dropped = self.left_out_for(&group, rollouts.kept.len(), &mut collection);
                match dropped {
                    Some(dropped) => rollouts.left_out.push((group, dropped)),
                    None => rollouts.kept.push(group),
                }
            }
            let of_step = || {
                let left_out = rollouts.left_out.iter().map(|(group, _)| group);
                rollouts.kept.iter().chain(left_out)
            };
            let failures = of_step().flat_map(|group| &group.failed);
            let failures = failures.map(|failed| &failed.failure);
            self.bench.check_failures(collection.n_attempts, failures)?;
            if wanted <= rollouts.kept.len() {
                break;
            }
        }
        collection.n_trained_groups = rollouts.kept.len();
        Ok(collection)
    }

    /// Why a group is not trained on, if it is not.
    fn left_out_for(
        &self,
        group: &ScoredGroup,
        n_kept: usize,
        collection: &mut Collection,
    ) -> Option<TranscriptDropped> {
        if group.group.trajectories.is_empty() {
            collection.n_dropped_error_groups += 1;
            return Some(TranscriptDropped::RewardErrors);
        }
        let is_live = is_live_group(group, &self.settings.credit);
        collection.n_live += usize::from(is_live);
        if self.settings.dynamic_sampling.is_some() && !is_live {
            collection.n_dropped_equal_groups += 1;
            return Some(TranscriptDropped::EqualRewards);
        }
        if self.settings.problems_per_step <= n_kept {
            collection.n_surplus_groups += 1;
            return Some(TranscriptDropped::Surplus);
        }
        None
    }

    /// Outcomes, and teacher scores where the credit asks for them.
    fn score(
        &self,
        groups: Vec<Group>,
        policy: &Policy,
        at: Moment,
    ) -> Result<Vec<ScoredGroup>, TrainError> {
        let Rl {
            credit,
            overlong,
            micro_batch_tokens,
            ..
        } = self.settings;
        let mut scored = judge_answers(groups, self.bench, *overlong)?;
        let teacher = match credit {
            Credit::Outcome(_) => None,
            Credit::Tamtrl(tamtrl) => Some((&tamtrl.rewards, tamtrl.scored_tokens)),
            Credit::Rewards(rewards) => rewards
                .teacher
                .as_ref()
                .map(|teacher| (&teacher.rewards, teacher.scored_tokens)),
        };
        if let Some(teacher) = teacher {
            let end_ids = &self.bench.setup.end_ids;
            score_by_teacher(
                &mut scored,
                policy,
                teacher,
                end_ids,
                *micro_batch_tokens,
                at,
            )?;
        }
        let mut views = Vec::new();
        for (temperature, alignment) in self.settings.own_views() {
            let budget = *micro_batch_tokens;
            views.push(OwnView {
                temperature,
                alignment,
                views: policy_views(&scored, policy, temperature, alignment, budget, at)?,
            });
        }
        let votes = Votes::count(&mut scored, credit);
        if let Credit::Rewards(rewards) = credit {
            reward_attempts(&mut scored, rewards, &views, &votes);
        }
        let sampled = self.settings.sampling.temperature;
        let of_sampling =
            |view: &OwnView| view.temperature == sampled && view.alignment == Alignment::Aligned;
        if let Some(view) = views.into_iter().find(of_sampling) {
            for (scored, views) in scored.iter_mut().zip(view.views) {
                scored.views = views;
            }
        }
        Ok(scored)
    }

    fn chooser(&self, policy: &Policy) -> Chooser<'_> {
        Chooser {
            settings: self.settings,
            state: &self.control_state,
            seed: self.seed,
            version: policy.weights_id().version,
        }
    }

    /// One attempt alone, as it was sampled among the others in step `step`, scored.
    ///
    /// # Errors
    /// As for a step; an attempt that groups do not have.
    pub fn attempt(
        &self,
        policy: &Policy,
        problem_idx: u64,
        attempt: u32,
        step: usize,
    ) -> Result<ScoredGroup, TrainError> {
        let problem =
            self.bench
                .problem(Split::Train, self.seed, problem_idx, self.train_tokens)?;
        let at = Moment {
            stage: "rl",
            step,
            policy_version: policy.weights_id().version,
        };
        let group = collect_attempt(
            &mut policy.generator(),
            &(problem_idx, problem),
            attempt,
            &self.bench.setup,
            &self.collect_options(step),
        )
        .map_err(|error| self.not_finite_or(error, at))?;
        let mut scored = self.score(vec![group], policy, at)?.remove(0);
        // Alone, it was counted as the group's first.
        scored.attempts.fill(attempt);
        for failed in &mut scored.failed {
            failed.attempt = attempt;
        }
        Ok(scored)
    }

    /// The next training problems, each with its index in the source.
    fn problems(&mut self, n: usize) -> Result<Vec<(u64, Arc<EncodedProblem>)>, TrainError> {
        self.bench.check_available(Split::Train, n)?;
        let available = self.bench.source.n_problems(Split::Train);
        let mut problems = Vec::with_capacity(n);
        for _ in 0..n {
            // A file is read round and round; a generator never ends.
            let idx = available.map_or(self.next_problem, |available| {
                self.next_problem % available as u64
            });
            self.next_problem += 1;
            problems.push((
                idx,
                self.bench
                    .problem(Split::Train, self.seed, idx, self.train_tokens)?,
            ));
        }
        Ok(problems)
    }

    fn collect(
        &self,
        generator: &mut impl Generate,
        problems: &[(u64, Arc<EncodedProblem>)],
        at: Moment,
    ) -> Result<Vec<Group>, TrainError> {
        let options = self.collect_options(at.step);
        collect(generator, problems, &self.bench.setup, &options)
            .map_err(|error| self.not_finite_or(error, at))
    }

    fn collect_options(&self, step: usize) -> CollectOptions {
        let sampling = &self.settings.sampling;
        CollectOptions {
            group_size: self.settings.group_size,
            sampling: Sampling {
                temperature: sampling.temperature as f32,
                top_p: sampling.top_p as f32,
                top_k: sampling.top_k,
            },
            streams: StreamBase {
                seed: self.seed,
                purpose: Purpose::ROLLOUT,
                step: step as u32,
            },
            max_batch: self.settings.generation_batch,
            teacher: self.settings.credit.teacher(),
        }
    }

    /// A sampled log-probability that is not finite is a number of the run's, with its problem's name.
    fn not_finite_or(&self, error: RolloutError, at: Moment) -> TrainError {
        match NotFinite::of_rollout(&error, at) {
            None => error.into(),
            Some(found) => {
                let problem = |idx| {
                    self.bench
                        .problem(Split::Train, self.seed, idx, self.train_tokens)
                };
                let found = found.with_problem_id(|idx| Some(problem(idx).ok()?.id.clone()));
                TrainError::NotFinite(Box::new(found))
            }
        }
    }

    /// What the ratio of every trained token is taken to, before the step's first update: what was
    /// recorded while sampling, or, where rollouts come from other weights than the policy's, what the
    /// policy itself says. The two then meet in the truncated importance weight.
    fn anchor(
        &self,
        policy: &Policy,
        scored: &[ScoredGroup],
        batch: &Batch<'_>,
    ) -> Result<Anchor, TrainError> {
        if policy.samples_what_it_scores() {
            let recorded = batch.rows.iter().map(|row| recorded(row, scored));
            return Ok(recorded.collect());
        }
        let temperature = self.settings.sampling.temperature;
        let budget = self.settings.micro_batch_tokens;
        let scores = score_contexts(policy, &batch.contexts, temperature, budget)?;
        let logprobs = scores.iter().map(|scores| to_f64(&scores.logprobs));
        Ok(logprobs.collect())
    }

    /// Gradient over all micro-batches of a mini-batch, then one update. `controls` `[context][token]` are
    /// those chosen over a larger scope than a micro-batch.
    fn update(
        &mut self,
        policy: &mut Policy,
        scored: &[ScoredGroup],
        batch: &Batch<'_>,
        anchor: &Anchor,
        controls: Option<&[Vec<TokenControl>]>,
        at: Moment,
    ) -> Result<UpdateReport, TrainError> {
        let mut metrics = Metrics::default();
        let mut view = PolicyView::default();
        let mut max_logprob_difference: f64 = 0.0;
        let micro_batches = micro_batches(&batch.contexts, self.settings.micro_batch_tokens)?;
        for (micro_batch_idx, micro_batch) in micro_batches.into_iter().enumerate() {
            let contexts: Vec<_> = micro_batch.iter().map(|idx| batch.contexts[*idx]).collect();
            let temperature = self.settings.sampling.temperature;
            let dropout = dropout_key(self.seed, policy, micro_batch_idx);
            let buffers = self.updater.take_buffers();
            let pass = policy.forward(&contexts, temperature, buffers, dropout);
            let current = to_f64(&pass.scores().logprobs);
            let tokens = Tokens::of(&micro_batch, batch, anchor, scored);
            let rows = || micro_batch.iter().map(|idx| &batch.rows[*idx]);
            let check = |what: &str, values: &[f64]| all_finite(what, values, rows(), scored, at);
            check("the trained log-probability", &current)?;
            let reference = self
                .reference
                .as_ref()
                .map(|reference| to_f64(&reference.score(&contexts, temperature).logprobs));
            if let Some(reference) = &reference {
                check("the reference's log-probability", reference)?;
            }
            for (current, rollout) in current.iter().zip(&tokens.rollout_logprobs) {
                max_logprob_difference = max_logprob_difference.max((current - rollout).abs());
            }
            let entropies = to_f64(&pass.scores().entropies);
            let certainties = to_f64(&pass.scores().self_certainties);
            view.add(&PolicyView {
                n_tokens: current.len(),
                entropy_sum: entropies.iter().sum(),
                self_certainty_sum: certainties.iter().sum(),
            });
            let token_batch = TokenBatch {
                lengths: &tokens.lengths,
                logprobs: &current,
                old_logprobs: &tokens.old_logprobs,
                advantages: &tokens.advantages,
                loss_mask: &vec![true; current.len()],
                weights: &tokens.weights,
                ref_logprobs: reference.as_deref(),
                rollout_logprobs: Some(&tokens.rollout_logprobs),
            };
            let chosen = match controls {
                Some(controls) => {
                    let of_contexts = micro_batch.iter().map(|idx| &controls[*idx][..]);
                    Some(of_contexts.collect::<Vec<_>>().concat())
                }
                None => {
                    let of_micro_batch = ScopeTokens::of(&token_batch, Some(&entropies));
                    self.chooser(policy)
                        .of_micro_batch(&of_micro_batch, micro_batch_idx)
                }
            };
            let bonus = self.settings.entropy.bonus_coef(&self.control_state);
            let evaluation = self.settings.objective.objective.evaluate_with(
                &token_batch,
                &Controls {
                    tokens: chosen.as_deref(),
                    entropy: bonus.map(|coef| EntropyTerm {
                        coef,
                        entropies: &entropies,
                    }),
                },
            );
            check("the derivative of the loss", &evaluation.grad)?;
            if let Some(grad) = &evaluation.entropy_grad {
                check("the derivative of the entropy bonus", grad)?;
            }
            if !evaluation.loss.is_finite() {
                let found = NotFinite::new("the loss", evaluation.loss, at);
                return Err(TrainError::NotFinite(Box::new(found)));
            }
            metrics.merge(&evaluation.metrics);
            let grad = TokenGradient {
                logprobs: &evaluation.grad,
                entropies: evaluation.entropy_grad.as_deref(),
            };
            self.updater.accumulate(policy, pass, grad);
        }
        let update = self.updater.checked_update(policy, at)?;
        Ok(UpdateReport {
            update,
            metrics,
            view,
            max_logprob_difference,
            n_trained_tokens: batch.n_trained,
            n_rows: batch.rows.len(),
            n_run_tokens: batch.n_run,
            n_unshared_tokens: batch.n_unshared,
        })
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

/// Refuses per-token values of which one is not finite, naming its token.
fn all_finite<'a>(
    what: &str,
    values: &[f64],
    rows: impl Iterator<Item = &'a Row>,
    scored: &[ScoredGroup],
    at: Moment,
) -> Result<(), TrainError> {
    let Some(idx) = values.iter().position(|value| !value.is_finite()) else {
        return Ok(());
    };
    let mut token = idx;
    for row in rows {
        let group = &scored[row.at.group];
        let turn = &group.group.trajectories[row.at.trajectory].turns[row.at.turn];
        let n = turn.completion.len();
        if token < n {
            let place = TokenPlace::of(group, row.at.trajectory, row.at.turn, Some(token));
            let found = NotFinite::of_token(what, values[idx], place, at);
            return Err(TrainError::NotFinite(Box::new(found)));
        }
        token -= n;
    }
    unreachable!("every value belongs to a row")
}

/// What was recorded while a row's tokens were sampled.
fn recorded(row: &Row, scored: &[ScoredGroup]) -> Vec<f64> {
    let attempt = &scored[row.at.group].group.trajectories[row.at.trajectory];
    to_f64(&attempt.turns[row.at.turn].rollout_logprobs)
}

/// Per-token values of a micro-batch, in the order in which its tokens are run.
#[derive(Default)]
struct Tokens {
    lengths: Vec<usize>,
    old_logprobs: Vec<f64>,
    rollout_logprobs: Vec<f64>,
    advantages: Vec<f64>,
    weights: Vec<f64>,
}

impl Tokens {
    fn of(
        micro_batch: &[usize],
        batch: &Batch<'_>,
        anchor: &Anchor,
        scored: &[ScoredGroup],
    ) -> Self {
        let mut tokens = Self::default();
        for context_idx in micro_batch {
            let row = &batch.rows[*context_idx];
            let n = batch.contexts[*context_idx].completion.len();
            tokens.lengths.push(n);
            tokens.old_logprobs.extend(&anchor[*context_idx]);
            tokens.rollout_logprobs.extend(recorded(row, scored));
            tokens
                .advantages
                .extend(std::iter::repeat_n(row.advantage, n));
            tokens.weights.extend(std::iter::repeat_n(row.weight, n));
        }
        tokens
    }
}

fn to_f64(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
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
