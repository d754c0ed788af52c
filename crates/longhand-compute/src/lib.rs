//! The formulas, one JSON object per line in, one out.
//!
//! The functions of the reward, advantage and objective crates behind a wire format, so that any
//! other implementation can be compared with ours: in `f64`, every number printed with as many
//! digits as give the same `f64` back. [`run`] answers every line with one line, in order; a line
//! that cannot be answered (an empty one too) gets `{"error": "..."}` naming the field, the others
//! go on, and [`Summary::failed`] tells the caller to exit with 1. Unknown fields and options are
//! errors. Every option has the default that the method's notes give; [`schema`] lists them all.
//!
//! Shapes are lists in lists and may be ragged. A mask entry is `true`, `false`, 1 or 0.
//!
//! # Advantage
//! `{"estimator": NAME, "rewards": [[r, ...], ...], "options": {...}}`, one inner list per problem
//! (its group), gives `{"advantages": [[...], ...]}` of the same shape.
//!
//! | estimator | input besides `options` | options (default) |
//! |---|---|---|
//! | `grpo` | `rewards` | `eps` (1e-6), `scale`: `group` (default), `batch`, `none` |
//! | `dr-grpo`, `memagent`, `rloo` | `rewards` | |
//! | `opo` | `rewards`, `lengths` (trained tokens per attempt) | |
//! | `reinforce-plus-plus-baseline` | `rewards`, `lengths` (optional: one token each) | |
//! | `reinforce-plus-plus` | `rewards` per token, `loss_mask`; also gives `returns` | `gamma` (1) |
//! | `gae` | `rewards` per token, `values`, `loss_mask`; also gives `returns` | `gamma` (1), `lambda` (0.95), `whiten` (false) |
//! | `tamtrl` | `turn_scores` (problems > attempts > turns), `outcomes`; gives `rewards` and `advantages` | `minmax`: `batch` (default), `problem`, `turn`, `none`; `combine`: `gate` (default), `add`; `answer_turn`: `outcome` (default), `none`; `std_eps` (1e-6) |
//! | `gdpo` | `rewards` (problems > attempts > rewards, null where one is missing), `lengths` (for `batch_step` `tokens`); also gives the standardised `columns` | `weights` (null: 1 each), `eps` (1e-4), `batch_step`: `none`, `samples` (default), `tokens`; `conditions` (null) |
//! | `circa` | the same | the same, but `weights` null: 0.5 each, and `batch_step` `none` |
//!
//! `conditions` has, for each reward, null or `{"reward": INDEX, "at_least": x}`: the reward is 0 where
//! the other one is less. With `answer_turn` `outcome`, one more value per attempt is appended, for the answer.
//!
//! # Objective
//! `{"objective": NAME, "logprobs": [[...]], "old_logprobs": [[...]], "advantages": [[...]],
//! "loss_mask": [[...]], "ref_logprobs"?: [[...]], "rollout_logprobs"?: [[...]], "options": {...}}`,
//! one inner list per sequence, gives `{"loss": x, "grad": [[d loss / d logprobs]], "entropy_grad":
//! [[d loss / d entropies]] or null, "metrics": {...}}`. The last three also give `selected`, the tokens
//! that were weighed, dropped or penalised.
//!
//! | objective | bounds (default) | `aggregation` (default) |
//! |---|---|---|
//! | `ppo-clip` | `clip_low` (0.2), `clip_high` (0.2), `dual_clip` (3; null: none) | `token-mean` |
//! | `gspo` | `clip_low` (3e-4), `clip_high` (4e-4) | `seq-mean-token-mean` |
//! | `cispo` | `clip_low` (0.2; 1: the paper's missing lower bound), `clip_high` (0.2) | `token-mean` |
//! | `kl-cov` | `clip`: null or `"none"` (default: the original), or bounds (CIRCA's form): one for both sides, `[low, high]`, or `"bounds"` for `clip_low` and `clip_high` (0.2 each) | `token-mean` |
//! | `clip-cov` | `clip_low` (0.2), `clip_high` (0.2), `dual_clip` (null) | `token-mean` |
//! | `stare` | `clip_low` (0.2), `clip_high` (0.2), `dual_clip` (3) | `token-mean` |
//!
//! Their own options: `kl-cov` `fraction` (2e-3, with bounds 0.02) and `coef` (1, with bounds 0.05);
//! `clip-cov` `fraction` (2e-4), `low` (1), `high` (5) and `seed` (0); `stare` `variant` (`o1` (default),
//! `o2`, `o3`, `o4`, `c1`, `c2`), `quantile` (0.1), `amplify` (1.1), `attenuate` (0.9) and `gate` (true).
//! Shares of tokens are fractions, not percent.
//!
//! All of them take `aggregation` (`token-mean`, `seq-mean-token-mean`, `seq-mean-token-sum`,
//! `seq-mean-token-sum-norm`), `denominator` (null; replaces the number of trained tokens, of
//! sequences with a trained token, or the norm length, whichever the aggregation divides by),
//! `norm_length` (null: the longest sequence), `kl` (`none` (default), `k1`, `k2`, `k3`), `kl_coef`
//! (1e-3), `kl_clamp` (false), `importance` (`none` (default), `token`, `sequence`),
//! `importance_cap` (2), `log_ratio_clamp` (20, for `kl-cov` and `clip-cov` null; null: none),
//! `entropy_coef` (0), `top_entropy_fraction` (1: all tokens) and `scope`, over which tokens quantiles
//! and covariances are taken: `batch` (default) and `mini-batch`, the line, or `micro-batch`, each part
//! of it that `micro_batches` counts. A `kl` needs `ref_logprobs`, an `importance` needs
//! `rollout_logprobs`, an entropy option needs `entropies` (nats). The optional field `micro_batches`,
//! numbers of sequences, evaluates a line in parts; without `scope` `micro-batch` that changes nothing.
//!
//! Metrics are means over trained tokens except `n_tokens`, `policy_loss`, `kl_loss` and `entropy_loss`
//! (the three parts of the loss), `log_ratio_penalty` (the part of `policy_loss` that is KL-Cov's) and
//! `ratio_max_deviation`; `ref_kl`, `rollout_kl` and `entropy` are null without what they are made of.
//!
//! # Reward
//! `{"reward": NAME, ...}` gives `{"reward": x or [..], ...}`.
//!
//! | reward | input | options (default) |
//! |---|---|---|
//! | `exact-match`, `token-f1`, `contains`, `numeric` | `prediction`, `answers` | |
//! | `boxed` | `prediction`, `answers`; also gives `extracted` | `last_chars` (null; MemAgent: 300), `lowercase` (true) |
//! | `answer-equivalence` | `prediction`, `answers`; also gives `verdict`: `equal`, `different`, `unknown` | `percent`: `hundredth` (default), `sign`; `steps` (50000) |
//! | `teacher-aligned` | `token_probs`, one list per turn; one score per turn | `length_norm` (true) |
//! | `overlong` | `lengths`; one penalty each | `max` (20480), `buffer` (4096), `form`: `floor` (default), `slope` |
//! | `cluster-vote` | `answers`, one per attempt of a group, null where none was read; also gives `clusters`, `sizes` | `relation`: `equivalence` (default), `numeric`, `string`; `unread`: `zero` (default), `missing`; `percent`, `steps` as above |
//! | `majority-vote` | the same and `truth` (optional); also gives `label`, `distinct`, `largest_share`, `label_is_right`, `reward_accuracy` | the same and `vote`: `clusters` (default), `strings` |
//! | `self-certainty` | `logits` (sequences > rows > vocabulary), `loss_mask` per token (optional); also gives `per_row` | `alignment`: `aligned` (default), `shifted`; `form`: `code` (default), `kl`; `temperature` (1); `vocabulary` (null: all columns); `empty`: `zero` (default), `missing` |
//! | `entropy` | the same and `has_answer` per sequence (optional) | `temperature`, `vocabulary`, `empty`; `without_answer` (-7; null: none) |
//!
//! A reward that is missing is null. Rows of `logits` are those that predicted the tokens, and perhaps one
//! more behind the last token, which `shifted` needs.
//!
//! Knows nothing of files or arguments: a reader and a writer come in, a count of failures goes out.

use std::io::{self, BufRead, Write};

use serde_json::{Map, Value};

mod line;

mod advantage;
mod certainty;
mod entropy;
mod objective;
mod reward;
mod token_rule;

mod inputs;
mod method;
mod outputs;

mod error;
mod json;
mod path;
mod schema;

use line::answer;
pub use schema::schema;

/// Which of the three formats the lines are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Rewards to advantages.
    Advantage,
    /// Log-probabilities and advantages to a loss and its gradient.
    Objective,
    /// Texts, probabilities or lengths to rewards.
    Reward,
}

impl Kind {
    /// All kinds, in the order of the documentation.
    pub const ALL: [Kind; 3] = [Kind::Advantage, Kind::Objective, Kind::Reward];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Advantage => "advantage",
            Kind::Objective => "objective",
            Kind::Reward => "reward",
        }
    }
}

/// What [`run`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Lines read, and so written.
    pub lines: usize,
    /// Lines answered with an error.
    pub failed: usize,
}

/// Answers every line of the input with one line of the output, in order, each as soon as it is
/// known.
///
/// # Errors
/// Only those of reading and writing. A line that cannot be answered is counted, not an error.
pub fn run(mut input: impl BufRead, mut output: impl Write, kind: Kind) -> io::Result<Summary> {
    let mut summary = Summary::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(summary);
        }
        summary.lines += 1;
        let answered = answer(kind, &line).unwrap_or_else(|error| {
            summary.failed += 1;
            Map::from_iter([("error".to_owned(), Value::from(error.to_string()))])
        });
        serde_json::to_writer(&mut output, &answered)?;
        output.write_all(b"\n")?;
        // A program that asks one question at a time waits for this.
        output.flush()?;
    }
}
