//! `[[stage]]` of kind rl: attempts at problems, credit, and policy-gradient updates.

use longhand_objective::{EntropyControl, Scope};
use longhand_reward_certainty::Alignment;
use serde::{Deserialize, Serialize};

use crate::checks::Checks;
use crate::credit::{CREDIT, Credit, CreditFile};
use crate::entropy::{ENTROPY, EntropyFile};
use crate::objective::{OBJECTIVE, ObjectiveFile, ObjectiveSettings};
use crate::optimizer::{OPTIMIZER, Optimizer};
use crate::policy::divisors;
use crate::rewards::AttemptReward;
use crate::schema::{
    COUNT, COUNT_OR_ZERO, Key, Kind, POSITIVE, POSITIVE_SHARE, defaults_to, optional, required,
    section,
};
use crate::shape::join;

pub(crate) static RL: &[Key] = &[
    required("steps", COUNT, "rollout batches of this stage"),
    required("problems_per_step", COUNT, "problems in a batch"),
    required("group_size", COUNT, "attempts at each problem"),
    optional(
        "trained_attempts",
        COUNT,
        "all of them",
        "attempts of each group that are trained on, the first ones; the others only vote (TTRL: 32 of 64, \
         arXiv:2504.16084)",
    ),
    defaults_to(
        "mini_batches",
        COUNT,
        "1",
        "updates per batch, each on its own problems; divides `problems_per_step`",
    ),
    section("sampling", SAMPLING, "how attempts are sampled"),
    defaults_to(
        "credit",
        Kind::Tagged(CREDIT),
        "\"outcome\"",
        "how rewards become advantages",
    ),
    section("objective", OBJECTIVE, "the loss"),
    section("entropy", ENTROPY, "how entropy is kept from collapsing"),
    optional(
        "dynamic_sampling",
        Kind::Table(DYNAMIC_SAMPLING),
        "off",
        "replaces problems whose attempts all earn the same (DAPO, arXiv:2503.14476)",
    ),
    optional(
        "overlong",
        Kind::Table(OVERLONG),
        "off",
        "penalty on attempts that write too much (DAPO)",
    ),
    defaults_to(
        "skip_equal_outcomes",
        Kind::Flag,
        "false",
        "whether a group with equal outcomes trains nothing, even where its turns differ",
    ),
    section("optimizer", OPTIMIZER, "AdamW and its learning rate"),
    defaults_to(
        "micro_batch_tokens",
        COUNT,
        "16384",
        "most tokens in one forward and backward pass; changes no result",
    ),
    defaults_to(
        "generation_batch",
        COUNT,
        "256",
        "most sequences sampled side by side; changes no result",
    ),
];

static SAMPLING: &[Key] = &[
    defaults_to("temperature", POSITIVE, "1.0", "divides the logits"),
    defaults_to(
        "top_p",
        POSITIVE_SHARE,
        "1.0",
        "share of probability that is sampled from; RL needs 1",
    ),
    defaults_to(
        "top_k",
        COUNT_OR_ZERO,
        "0",
        "most tokens that are sampled from, 0 for all; RL needs 0",
    ),
];

static DYNAMIC_SAMPLING: &[Key] = &[required(
    "max_generation_batches",
    COUNT,
    "batches that may be sampled to fill one; a batch that is still short is trained on as it is",
)];

static OVERLONG: &[Key] = &[
    required(
        "max",
        COUNT,
        "sampled tokens of an attempt at which the penalty is 1",
    ),
    required(
        "buffer",
        COUNT,
        "tokens below `max` over which it rises from 0",
    ),
];

/// What an RL stage says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RlFile {
    steps: usize,
    problems_per_step: usize,
    group_size: usize,
    trained_attempts: Option<usize>,
    mini_batches: usize,
    skip_equal_outcomes: bool,
    micro_batch_tokens: usize,
    generation_batch: usize,
    sampling: Sampling,
    credit: CreditFile,
    objective: ObjectiveFile,
    entropy: EntropyFile,
    dynamic_sampling: Option<DynamicSampling>,
    overlong: Option<Overlong>,
    optimizer: Optimizer,
}

/// Attempts at problems, credit, and policy-gradient updates.
#[derive(Clone, Debug, PartialEq)]
pub struct Rl {
    /// Rollout batches.
    pub steps: usize,
    /// Problems in a batch.
    pub problems_per_step: usize,
    /// Attempts at each problem.
    pub group_size: usize,
    /// How many of them are trained on, the first ones; the others only vote.
    pub trained_attempts: usize,
    /// Updates per batch; each trains on `problems_per_step / mini_batches` problems.
    pub mini_batches: usize,
    /// How attempts are sampled.
    pub sampling: Sampling,
    /// How rewards become advantages.
    pub credit: Credit,
    /// The loss.
    pub objective: ObjectiveSettings,
    /// How entropy is kept from collapsing.
    pub entropy: EntropyControl,
    /// Replacement of problems whose attempts all earn the same.
    pub dynamic_sampling: Option<DynamicSampling>,
    /// Penalty on attempts that write too much.
    pub overlong: Option<Overlong>,
    /// Whether a group with equal outcomes trains nothing, even where its turns differ.
    pub skip_equal_outcomes: bool,
    /// AdamW and its learning rate.
    pub optimizer: Optimizer,
    /// Most tokens in one forward and backward pass.
    pub micro_batch_tokens: usize,
    /// Most sequences sampled side by side.
    pub generation_batch: usize,
}

/// How tokens are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// Divides the logits.
    pub temperature: f64,
    /// Share of probability that is sampled from; 1 in RL.
    pub top_p: f64,
    /// Most tokens that are sampled from, 0 for all; 0 in RL.
    pub top_k: usize,
}

/// DAPO's dynamic sampling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DynamicSampling {
    /// Batches that may be sampled to fill one.
    pub max_generation_batches: usize,
}

/// DAPO's soft overlong penalty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overlong {
    /// Sampled tokens at which the penalty is 1.
    pub max: usize,
    /// Tokens below `max` over which it rises from 0.
    pub buffer: usize,
}

impl Rl {
    /// Passes of the policy over a step's attempts besides the gradient's: for rewards that it gives
    /// itself, and for entropy control that looks at more tokens than a gradient pass holds.
    ///
    /// A rule that looks at log-probabilities alone takes the recorded ones before the first update.
    pub fn scoring_passes(&self) -> f64 {
        let mut passes = self.own_views().len() as f64;
        let control = &self.entropy;
        if control.needs_scope() {
            let updates = self.mini_batches as f64;
            let of_scope = match control.scope {
                Scope::MicroBatch => 0.0,
                Scope::MiniBatch => 1.0,
                Scope::Batch => updates,
            };
            let recorded = if control.needs_scope_entropies() {
                0.0
            } else {
                of_scope / updates
            };
            passes += of_scope - recorded;
        }
        passes
    }

    /// What the policy is asked about its own tokens, each once: the temperature, and which predictions
    /// self-certainty is taken of. Entropies are there with either alignment.
    pub fn own_views(&self) -> Vec<(f64, Alignment)> {
        let mut views = Vec::new();
        if self.entropy.needs_mean_entropy() {
            views.push((self.sampling.temperature, Alignment::Aligned));
        }
        let Credit::Rewards(credit) = &self.credit else {
            return views;
        };
        for reward in &credit.rewards {
            if let AttemptReward::SelfCertainty {
                alignment,
                temperature,
            } = *reward
                && !views.contains(&(temperature, alignment))
            {
                views.push((temperature, alignment));
            }
        }
        for reward in &credit.rewards {
            if let AttemptReward::NegativeEntropy { temperature, .. } = *reward
                && !views.iter().any(|(other, _)| *other == temperature)
            {
                views.push((temperature, Alignment::Aligned));
            }
        }
        views
    }

    /// Updates of the whole stage.
    pub fn n_updates(&self) -> usize {
        self.steps.saturating_mul(self.mini_batches)
    }
}

impl RlFile {
    /// Writes in the values that follow from others.
    pub(crate) fn resolve(&mut self) {
        self.objective.resolve();
    }

    pub(crate) fn build(&self, path: &str, checks: &mut Checks<'_>) -> Rl {
        let key = |name: &str| join(path, name);
        let (problems, pieces) = (self.problems_per_step, self.mini_batches);
        if problems < pieces {
            checks.fail(
                &key("mini_batches"),
                format!(
                    "{pieces} is above problems_per_step = {problems}; mini-batches are made of whole problems, \
                     so at most {problems}"
                ),
            );
        } else {
            checks.require(problems.is_multiple_of(pieces), &key("mini_batches"), || {
                let allowed = divisors(problems);
                format!("{pieces} does not divide problems_per_step = {problems}; allowed are {allowed}")
            });
        }
        let Sampling { top_p, top_k, .. } = self.sampling;
        checks.require(top_p == 1.0, &key("sampling.top_p"), || {
            format!("{top_p} cuts the distribution, but RL trains on log-probabilities of all of it; use 1")
        });
        checks.require(top_k == 0, &key("sampling.top_k"), || {
            format!("{top_k} cuts the distribution, but RL trains on log-probabilities of all of it; use 0")
        });
        let credit = self.credit.build(&key("credit"), checks);
        self.check_truth(&credit, path, checks);
        self.check_voters(&credit, path, checks);
        if self.group_size == 1 {
            let alone = match &credit {
                Credit::Outcome(estimator) => Some(format!("estimator \"{}\"", estimator.name())),
                Credit::Rewards(rewards) if rewards.teacher.is_none() => {
                    Some("comparing attempts".to_string())
                }
                Credit::Rewards(_) | Credit::Tamtrl(_) => None,
            };
            if let Some(alone) = alone {
                checks.fail(
                    &key("group_size"),
                    format!("1 leaves nothing to compare: {alone} gives a group of one no advantage; use 2 or more"),
                );
            } else if self.dynamic_sampling.is_some() || self.skip_equal_outcomes {
                checks.fail(
                    &key("group_size"),
                    "1 makes every group one of equal outcomes, which dynamic_sampling and skip_equal_outcomes \
                     leave out; use 2 or more",
                );
            }
        }
        if let Some(Overlong { max, buffer }) = self.overlong {
            checks.require(buffer <= max, &key("overlong.buffer"), || {
                format!("{buffer} is above overlong.max = {max}; use at most {max}")
            });
        }
        let objective = self.objective.build(&key("objective"), checks);
        let entropy = self.entropy.build(
            &objective.objective.policy_loss,
            self.mini_batches,
            &key("entropy"),
            checks,
        );
        let rl = Rl {
            steps: self.steps,
            problems_per_step: self.problems_per_step,
            group_size: self.group_size,
            trained_attempts: self.trained_attempts.unwrap_or(self.group_size),
            mini_batches: self.mini_batches,
            sampling: self.sampling,
            credit,
            objective,
            entropy,
            dynamic_sampling: self.dynamic_sampling,
            overlong: self.overlong,
            skip_equal_outcomes: self.skip_equal_outcomes,
            optimizer: self.optimizer,
            micro_batch_tokens: self.micro_batch_tokens,
            generation_batch: self.generation_batch,
        };
        self.optimizer.check(rl.n_updates(), path, checks);
        rl
    }

    /// Attempts that are not trained on want something to say.
    fn check_voters(&self, credit: &Credit, path: &str, checks: &mut Checks<'_>) {
        let Some(trained) = self.trained_attempts else {
            return;
        };
        let (key, all) = (join(path, "trained_attempts"), self.group_size);
        checks.require(trained <= all, &key, || {
            format!("{trained} is above group_size = {all}; use at most {all}")
        });
        checks.require(1 < trained || all == 1, &key, || {
            "1 leaves nothing to compare; use 2 or more".to_string()
        });
        checks.require(trained == all || credit.has_votes(), &key, || {
            format!(
                "{} attempts of each group would be sampled for nothing: no reward of `credit` is a vote; \
                 leave it out",
                all.saturating_sub(trained)
            )
        });
    }

    /// Settings that act on outcomes want outcomes among the rewards.
    fn check_truth(&self, credit: &Credit, path: &str, checks: &mut Checks<'_>) {
        if credit.uses_truth() {
            return;
        }
        checks.require(!self.skip_equal_outcomes, &join(path, "skip_equal_outcomes"), || {
            "true would train on groups by what is known of the truth, which none of credit.rewards looks at; \
             use dynamic_sampling, which compares the rewards"
                .to_string()
        });
        checks.require(self.overlong.is_none(), &join(path, "overlong"), || {
            "the penalty is a part of the outcome, which is not among credit.rewards; add it there".to_string()
        });
    }
}
