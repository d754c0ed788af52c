//! What one RL step reports: one JSON line, every number defined here.

use std::collections::BTreeMap;

use longhand_config::Credit;
use longhand_objective::{ControlState, EntropyControl, Metrics, TokenRule};
use longhand_reward_certainty::{VoteDiagnosis, repetition_rate};
use longhand_rollout::{StopReason, TurnKind, WeightsId};
use serde::Serialize;

use crate::{
    credit::{Credited, ScoredGroup, TurnCredit},
    optimizer::Update,
    policy_view::PolicyView,
};

/// Tokens of the n-grams whose repetition is reported.
const REPETITION_N: usize = 4;

/// What generation did, groups that were left out included.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Collection {
    pub(crate) n_groups: usize,
    pub(crate) n_live: usize,
    pub(crate) n_trained_groups: usize,
    pub(crate) n_sampled: usize,
    pub(crate) n_dropped_equal_groups: usize,
    pub(crate) n_dropped_error_groups: usize,
    pub(crate) n_surplus_groups: usize,
    outcome_sum: f64,
    n_scored: usize,
    pub(crate) n_attempts: usize,
    n_unparsed: usize,
    n_judge_timeouts: usize,
    n_judge_bad_replies: usize,
    n_judge_failures: usize,
    votes: Votes,
}

/// What groups' answers have in common, groups that were left out included.
#[derive(Clone, Copy, Debug, Default)]
struct Votes {
    n_groups: usize,
    n_distinct: usize,
    largest_share_sum: f64,
    n_known: usize,
    n_right: usize,
}

impl Votes {
    fn add(&mut self, of_group: &VoteDiagnosis) {
        if of_group.n_read != 0 {
            self.n_groups += 1;
            self.n_distinct += of_group.n_distinct;
            self.largest_share_sum += of_group.largest_share;
        }
        if let Some(is_right) = of_group.label_is_right {
            self.n_known += 1;
            self.n_right += usize::from(is_right);
        }
    }
}

impl Collection {
    pub(crate) fn add(&mut self, scored: &[ScoredGroup]) {
        self.n_groups += scored.len();
        for scored in scored {
            if let Some(vote) = &scored.vote {
                self.votes.add(vote);
            }
            self.outcome_sum += scored.outcomes.iter().sum::<f64>();
            self.n_scored += scored.outcomes.len();
            self.n_attempts += scored.outcomes.len() + scored.failed.len();
            self.n_unparsed += scored.parsed.iter().filter(|parsed| !**parsed).count();
            let failed = scored.failed.iter().map(|failed| &failed.trajectory);
            let trajectories = scored.group.trajectories.iter().chain(failed);
            self.n_sampled += trajectories.map(|t| t.n_sampled()).sum::<usize>();
            for failed in &scored.failed {
                match failed.failure.reason {
                    "judge-timeout" => self.n_judge_timeouts += 1,
                    "judge-bad-reply" => self.n_judge_bad_replies += 1,
                    _ => self.n_judge_failures += 1,
                }
            }
        }
    }
}

/// What one update did.
#[derive(Clone, Debug)]
pub(crate) struct UpdateReport {
    pub(crate) update: Update,
    pub(crate) metrics: Metrics,
    /// Of the tokens that were run for the gradient.
    pub(crate) view: PolicyView,
    pub(crate) max_logprob_difference: f64,
    pub(crate) n_trained_tokens: usize,
    pub(crate) n_rows: usize,
    pub(crate) n_run_tokens: usize,
    pub(crate) n_unshared_tokens: usize,
}

/// One line of `metrics.jsonl` for an RL step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepReport {
    /// Always `rl`.
    pub stage: &'static str,
    /// From 0, counted over all RL stages of the run.
    pub step: usize,
    /// Optimiser updates that the policy had seen when it sampled the step's rollouts.
    pub policy_version: u64,
    /// Digest of the weights that sampled them; absent where they lie on a GPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights_digest: Option<String>,
    /// Mean outcome over every attempt that was generated and has a reward, groups that were left out
    /// included.
    pub reward: f64,
    /// Share of generated groups whose rewards (TAMTRL: turn rewards) are not all equal.
    pub live_groups: f64,
    /// Groups generated.
    pub n_groups: usize,
    /// Groups trained on.
    pub n_trained_groups: usize,
    /// Groups left out by dynamic sampling because all their rewards were equal.
    pub n_dropped_equal_groups: usize,
    /// Groups left out because none of their attempts has a reward.
    pub n_dropped_error_groups: usize,
    /// Groups left out because the step had enough.
    pub n_surplus_groups: usize,
    /// Attempts generated.
    pub n_attempts: usize,
    /// Attempts left out of their groups because their reward failed; never counted as 0.
    pub n_masked_attempts: usize,
    /// Of these, how many because the judge did not answer in time.
    pub n_judge_timeouts: usize,
    /// Of these, how many because the judge answered with something that is no reward.
    pub n_judge_bad_replies: usize,
    /// Of these, how many because the judge gave an error, ended or could not be started.
    pub n_judge_failures: usize,
    /// Answers in which the checker found nothing of its form (no box, no number); they score 0.
    pub n_unparsed_answers: usize,
    /// Mean over trained tokens of `(ratio − 1) − ln ratio`: the k3 estimate of KL(old ‖ current), last update.
    pub approx_kl: f64,
    /// Mean k3 estimate of KL(current ‖ reference); absent without a reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ref_kl: Option<f64>,
    /// Mean of −log-probability over the sampled tokens of trained groups: the one-sample estimate of the
    /// policy's entropy at the sampling temperature, in nats a token.
    pub entropy: f64,
    /// Norm of the whole gradient before the clip, mean over updates.
    pub grad_norm: f64,
    /// Learning rate of the last update.
    pub lr: f64,
    /// The objective's value, mean over updates. Not a measure of progress.
    pub loss: f64,
    /// Share of trained tokens that the lower bound acted on.
    pub clip_low: f64,
    /// Share of trained tokens that the upper bound acted on.
    pub clip_high: f64,
    /// Largest `|ratio − 1|` on the first update, where it should be rounding only.
    pub first_ratio_deviation: f64,
    /// Largest difference between a log-probability recorded while sampling and the training pass's, first update.
    pub max_logprob_difference: f64,
    /// Mean truncated importance weight of the policy over the sampler, first update; 1 where they are the
    /// same weights.
    pub importance: f64,
    /// Share of trained tokens whose importance weight was truncated, first update.
    pub importance_capped: f64,
    /// Mean entropy in nats of the distributions that tokens were drawn from, at the sampling
    /// temperature: over all tokens of trained groups where a reward or entropy control looks at them at that
    /// temperature, else over those that the first update was run for. Absent without any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_entropy: Option<f64>,
    /// Mean self-certainty `KL(uniform ‖ policy)` of a token, in nats, over the same tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub self_certainty: Option<f64>,
    /// Mean sampled tokens of an attempt.
    pub response_tokens: f64,
    /// Mean share of 4-grams in an attempt's turns that occurred before in the same turn.
    pub repetition: f64,
    /// Mean over generated groups of how many different answers were given; absent where none could be
    /// read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distinct_answers: Option<f64>,
    /// Mean over generated groups of the share of answers that are the most frequent one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_share: Option<f64>,
    /// Share of generated groups whose most frequent answer is right. For diagnosis: no reward sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_accuracy: Option<f64>,
    /// Mean of each reward over the trained attempts that have it, where there are several.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub reward_columns: BTreeMap<&'static str, f64>,
    /// Share of trained tokens that entropy control weighed, dropped or penalised, mean over updates;
    /// absent without control.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selected_tokens: Option<f64>,
    /// Mean `|ln ratio|` of a trained token, last update; absent without entropy control.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abs_log_ratio: Option<f64>,
    /// Whether STARE weighs tokens in this step's updates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entropy_gate: Option<bool>,
    /// What STARE multiplies amplified tokens by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_weight: Option<f64>,
    /// The entropy that control aims at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entropy_target: Option<f64>,
    /// The entropy bonus's coefficient in this step's updates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entropy_coef: Option<f64>,
    /// Mean sampled tokens of a turn that reads, end token included.
    pub memory_tokens: f64,
    /// Mean sampled tokens of an answer, end token included.
    pub answer_tokens: f64,
    /// Mean turns of a trajectory.
    pub turns: f64,
    /// Turns that hit their token cap.
    pub n_hit_cap: usize,
    /// Turns stopped by the window.
    pub n_window_full: usize,
    /// Trajectories whose document was cut in its centre.
    pub n_truncated_documents: usize,
    /// Lowest teacher score of the batch; absent without a teacher.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher_lowest: Option<f64>,
    /// Highest teacher score of the batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher_highest: Option<f64>,
    /// Mean teacher score over attempts that solve their problem, minus that over attempts that do not;
    /// absent when there are none of either.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher_gap: Option<f64>,
    /// Share of trained rows with a non-zero advantage.
    pub live_rows: f64,
    /// Trained tokens, those of advantage zero included.
    pub n_trained_tokens: usize,
    /// Rows (turns) that were run for the gradient.
    pub n_rows: usize,
    /// Optimiser updates.
    pub n_updates: usize,
    /// Sampled tokens.
    pub n_sampled: usize,
    /// Tokens run for the gradient with shared prefixes.
    pub n_run_tokens: usize,
    /// Tokens that would have been run without sharing.
    pub n_unshared_tokens: usize,
}

impl StepReport {
    pub(crate) fn new(
        step: usize,
        scored: &[ScoredGroup],
        credited: &Credited,
        collection: &Collection,
        updates: &[UpdateReport],
        weights: WeightsId,
    ) -> Self {
        let trajectories = || scored.iter().flat_map(|scored| &scored.group.trajectories);
        let turns = || trajectories().flat_map(|trajectory| &trajectory.turns);
        let mean_length = |answer: bool| {
            let of_kind = turns().filter(|turn| (turn.kind == TurnKind::Answer) == answer);
            mean(of_kind.map(|turn| turn.completion.len() as f64))
        };
        let stopped =
            |reason: StopReason| turns().filter(|turn| turn.stop_reason == reason).count();
        let advantages = || {
            credited
                .turns
                .iter()
                .flatten()
                .flatten()
                .filter_map(|turn| turn.advantage)
        };
        let metrics = || updates.iter().map(|update| &update.metrics);
        let mut view = PolicyView::sum(scored.iter().flat_map(|scored| &scored.views));
        if view.n_tokens == 0 {
            view = updates.first().map_or(view, |update| update.view);
        }
        let votes = &collection.votes;
        let of_votes = |sum: f64, n: usize| (n != 0).then(|| ratio(sum, n));
        Self {
            stage: "rl",
            step,
            policy_version: weights.version,
            weights_digest: weights.digest_hex(),
            reward: ratio(collection.outcome_sum, collection.n_scored),
            live_groups: ratio(collection.n_live as f64, collection.n_groups),
            n_groups: collection.n_groups,
            n_trained_groups: collection.n_trained_groups,
            n_dropped_equal_groups: collection.n_dropped_equal_groups,
            n_dropped_error_groups: collection.n_dropped_error_groups,
            n_surplus_groups: collection.n_surplus_groups,
            n_attempts: collection.n_attempts,
            n_masked_attempts: collection.n_attempts - collection.n_scored,
            n_judge_timeouts: collection.n_judge_timeouts,
            n_judge_bad_replies: collection.n_judge_bad_replies,
            n_judge_failures: collection.n_judge_failures,
            n_unparsed_answers: collection.n_unparsed,
            approx_kl: metrics().next_back().map_or(0.0, Metrics::approx_kl),
            ref_kl: metrics().next_back().and_then(Metrics::ref_kl),
            entropy: mean(
                turns().flat_map(|turn| turn.rollout_logprobs.iter().map(|lp| -f64::from(*lp))),
            ),
            grad_norm: mean(updates.iter().map(|update| update.update.grad_norm)),
            lr: updates.last().map_or(0.0, |update| update.update.lr),
            loss: mean(metrics().map(|metrics| metrics.policy_loss + metrics.kl_loss)),
            clip_low: mean(metrics().map(Metrics::clip_low_fraction)),
            clip_high: mean(metrics().map(Metrics::clip_high_fraction)),
            first_ratio_deviation: metrics()
                .next()
                .map_or(0.0, |metrics| metrics.ratio_max_deviation),
            max_logprob_difference: updates
                .first()
                .map_or(0.0, |update| update.max_logprob_difference),
            importance: metrics().next().map_or(1.0, Metrics::importance_mean),
            importance_capped: metrics()
                .next()
                .map_or(0.0, Metrics::importance_capped_fraction),
            token_entropy: view.entropy(),
            self_certainty: view.self_certainty(),
            response_tokens: mean(trajectories().map(|t| t.n_sampled() as f64)),
            repetition: repetition_rate(turns().map(|turn| &turn.completion[..]), REPETITION_N),
            distinct_answers: of_votes(votes.n_distinct as f64, votes.n_groups),
            cluster_share: of_votes(votes.largest_share_sum, votes.n_groups),
            label_accuracy: of_votes(votes.n_right as f64, votes.n_known),
            reward_columns: BTreeMap::new(),
            selected_tokens: None,
            abs_log_ratio: None,
            entropy_gate: None,
            control_weight: None,
            entropy_target: None,
            entropy_coef: None,
            memory_tokens: mean_length(false),
            answer_tokens: mean_length(true),
            turns: mean(trajectories().map(|trajectory| trajectory.turns.len() as f64)),
            n_hit_cap: stopped(StopReason::MaxTokens),
            n_window_full: stopped(StopReason::WindowFull),
            n_truncated_documents: trajectories().filter(|t| t.dropped_tokens != 0).count(),
            teacher_lowest: credited.teacher_range.map(|(lowest, _)| lowest),
            teacher_highest: credited.teacher_range.map(|(_, highest)| highest),
            teacher_gap: teacher_gap(scored, credited),
            live_rows: mean(advantages().map(|advantage| f64::from(advantage != 0.0))),
            n_trained_tokens: updates.iter().map(|update| update.n_trained_tokens).sum(),
            n_rows: updates.iter().map(|update| update.n_rows).sum(),
            n_updates: updates.len(),
            n_sampled: collection.n_sampled,
            n_run_tokens: updates.iter().map(|update| update.n_run_tokens).sum(),
            n_unshared_tokens: updates.iter().map(|update| update.n_unshared_tokens).sum(),
        }
    }

    /// Adds the mean of each of several rewards.
    pub(crate) fn tell_rewards(&mut self, credit: &Credit, scored: &[ScoredGroup]) {
        let Credit::Rewards(credit) = credit else {
            return;
        };
        for (column_idx, reward) in credit.rewards.iter().enumerate() {
            let rows = scored.iter().flat_map(|scored| &scored.columns);
            let values: Vec<f64> = rows.filter_map(|row| row[column_idx]).collect();
            if !values.is_empty() {
                self.reward_columns
                    .insert(reward.name(), mean(values.into_iter()));
            }
        }
    }

    /// Adds what entropy control did.
    pub(crate) fn tell_control(
        &mut self,
        control: &EntropyControl,
        state: &ControlState,
        updates: &[UpdateReport],
    ) {
        if control.is_none() {
            return;
        }
        let metrics = || updates.iter().map(|update| &update.metrics);
        if !updates.is_empty() {
            self.selected_tokens = Some(mean(metrics().map(Metrics::selected_fraction)));
        }
        self.abs_log_ratio = metrics().next_back().map(Metrics::abs_log_ratio_mean);
        if let (TokenRule::Stare(stare), Some(state)) = (&control.rule, &state.stare) {
            self.entropy_gate = Some(state.gate);
            self.control_weight = Some(state.amplify);
            self.entropy_target = stare.target_entropy;
        }
        if !control.bonus.is_none() {
            self.entropy_coef = Some(control.bonus_coef(state).unwrap_or(0.0));
            self.entropy_target = self.entropy_target.or(control.bonus.target);
        }
    }
}

fn teacher_gap(scored: &[ScoredGroup], credited: &Credited) -> Option<f64> {
    let mean_where = |solved: bool| {
        let attempts = scored
            .iter()
            .zip(&credited.turns)
            .flat_map(|(scored, attempts)| {
                scored
                    .outcomes
                    .iter()
                    .zip(attempts)
                    .filter(move |(outcome, _)| (0.5 <= **outcome) == solved)
            });
        let scores: Vec<f64> = attempts
            .flat_map(|(_, turns)| {
                turns
                    .iter()
                    .filter_map(|turn: &TurnCredit| turn.teacher_score)
            })
            .collect();
        (!scores.is_empty()).then(|| mean(scores.into_iter()))
    };
    Some(mean_where(true)? - mean_where(false)?)
}

/// The mean; 0 of nothing.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut n) = (0.0, 0);
    for value in values {
        sum += value;
        n += 1;
    }
    ratio(sum, n)
}

fn ratio(sum: f64, n: usize) -> f64 {
    if n == 0 { 0.0 } else { sum / n as f64 }
}
