//! From problems to scored groups: sampling, answers judged, rewards, and what is left out.

use std::sync::Arc;
use std::time::Instant;

use longhand_config::{Credit, Rl};
use longhand_policy::Policy;
use longhand_reward_certainty::Alignment;
use longhand_rollout::{
    CollectOptions, EncodedProblem, Generate, Group, Purpose, RolloutError, Sampling, StreamBase,
    collect, collect_attempt,
};
use longhand_run::TranscriptDropped;
use longhand_tasks::Split;

use super::{Learner, Rollouts};
use crate::{
    attempt_rewards::{OwnView, Votes, reward_attempts},
    credit::{ScoredGroup, is_live_group, judge_answers, score_by_teacher},
    error::TrainError,
    not_finite::{Moment, NotFinite},
    policy_view::policy_views,
    report::Collection,
    timing::Phases,
};

impl Learner<'_> {
    /// Groups for one step. With dynamic sampling, groups that teach nothing are replaced by fresh ones,
    /// at most `max_generation_batches` times and without asking a problem twice; what was left out is
    /// counted, and a step that is still short trains on what it has. Groups in which every reward failed
    /// teach nothing either way.
    pub(super) fn collect_scored(
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
}
