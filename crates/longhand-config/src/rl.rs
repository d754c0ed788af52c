//! `[[stage]]` of kind rl: attempts at problems, credit, and policy-gradient updates.

use serde::{Deserialize, Serialize};

use crate::checks::Checks;
use crate::credit::{CREDIT, Credit, CreditFile};
use crate::objective::{OBJECTIVE, ObjectiveFile, ObjectiveSettings};
use crate::optimizer::{OPTIMIZER, Optimizer};
use crate::policy::divisors;
use crate::schema::{
    COUNT, COUNT_OR_ZERO, Key, Kind, POSITIVE, POSITIVE_SHARE, defaults_to, optional, required,
    section,
};
use crate::shape::join;

pub(crate) static RL: &[Key] = &[
    required("steps", COUNT, "rollout batches of this stage"),
    required("problems_per_step", COUNT, "problems in a batch"),
    required("group_size", COUNT, "attempts at each problem"),
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
    mini_batches: usize,
    skip_equal_outcomes: bool,
    micro_batch_tokens: usize,
    generation_batch: usize,
    sampling: Sampling,
    credit: CreditFile,
    objective: ObjectiveFile,
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
    /// Updates per batch; each trains on `problems_per_step / mini_batches` problems.
    pub mini_batches: usize,
    /// How attempts are sampled.
    pub sampling: Sampling,
    /// How rewards become advantages.
    pub credit: Credit,
    /// The loss.
    pub objective: ObjectiveSettings,
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
        let credit = self.credit.build();
        if self.group_size == 1 {
            if let Credit::Outcome(estimator) = credit {
                checks.fail(
                    &key("group_size"),
                    format!(
                        "1 leaves nothing to compare: estimator \"{}\" gives a group of one no advantage; use 2 or more",
                        estimator.name()
                    ),
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
        let rl = Rl {
            steps: self.steps,
            problems_per_step: self.problems_per_step,
            group_size: self.group_size,
            mini_batches: self.mini_batches,
            sampling: self.sampling,
            credit,
            objective: self.objective.build(&key("objective"), checks),
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
}
