//! `[stage.optimizer]`: AdamW, the gradient's norm and the learning rate over a stage.

use serde::{Deserialize, Serialize};

use crate::checks::Checks;
use crate::schema::{
    BELOW_ONE, COUNT_OR_ZERO, Key, Kind, NOT_NEGATIVE, POSITIVE, defaults_to, required,
};
use crate::shape::join;

pub(crate) static OPTIMIZER: &[Key] = &[
    required("lr", POSITIVE, "learning rate after warm-up"),
    defaults_to(
        "beta1",
        BELOW_ONE,
        "0.9",
        "decay of the gradient's running mean",
    ),
    defaults_to(
        "beta2",
        BELOW_ONE,
        "0.95",
        "decay of the squared gradient's running mean",
    ),
    defaults_to(
        "eps",
        POSITIVE,
        "1e-8",
        "added to the root of the squared mean",
    ),
    defaults_to(
        "weight_decay",
        NOT_NEGATIVE,
        "0.0",
        "decoupled weight decay",
    ),
    defaults_to(
        "max_grad_norm",
        POSITIVE,
        "1.0",
        "the gradient's global norm is scaled down to this",
    ),
    defaults_to(
        "warmup_steps",
        COUNT_OR_ZERO,
        "0",
        "updates over which the rate rises linearly from 0",
    ),
    defaults_to(
        "schedule",
        Kind::Choice(&["constant", "cosine", "linear"]),
        "\"constant\"",
        "how the rate falls to 0 after warm-up, if it does",
    ),
];

/// AdamW with a global-norm clip and a learning-rate schedule.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Optimizer {
    /// Learning rate after warm-up.
    pub lr: f64,
    /// Decay of the gradient's running mean.
    pub beta1: f64,
    /// Decay of the squared gradient's running mean.
    pub beta2: f64,
    /// Added to the root of the squared mean.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// The gradient's global norm is scaled down to this where it is larger.
    pub max_grad_norm: f64,
    /// Updates over which the rate rises linearly.
    pub warmup_steps: usize,
    /// What happens after warm-up.
    pub schedule: Schedule,
}

/// The learning rate after warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Stays.
    Constant,
    /// Falls to 0 along half a cosine.
    Cosine,
    /// Falls to 0 in a straight line.
    Linear,
}

impl Optimizer {
    /// The learning rate of update `idx` (from 0) of `n_updates`.
    ///
    /// Warm-up: `lr * (idx + 1) / warmup_steps` for `idx < warmup_steps`, so that the first update
    /// moves and the last of the warm-up has the full rate. After it, with
    /// `t = (idx - warmup_steps) / (n_updates - warmup_steps)`: `lr`, `lr * (1 + cos(pi t)) / 2` or
    /// `lr * (1 - t)`; the rate never reaches 0 within the stage.
    ///
    /// # Panics
    ///
    /// When `idx` is not below `n_updates`.
    pub fn lr_at(&self, idx: usize, n_updates: usize) -> f64 {
        assert!(idx < n_updates, "update {idx} of a stage of {n_updates}");
        if idx < self.warmup_steps {
            return self.lr * (idx + 1) as f64 / self.warmup_steps as f64;
        }
        let passed = (idx - self.warmup_steps) as f64 / (n_updates - self.warmup_steps) as f64;
        match self.schedule {
            Schedule::Constant => self.lr,
            Schedule::Cosine => self.lr * (1.0 + (std::f64::consts::PI * passed).cos()) / 2.0,
            Schedule::Linear => self.lr * (1.0 - passed),
        }
    }

    pub(crate) fn check(&self, n_updates: usize, path: &str, checks: &mut Checks<'_>) {
        let warmup_steps = self.warmup_steps;
        checks.require(
            warmup_steps < n_updates,
            &join(path, "optimizer.warmup_steps"),
            || {
                format!(
                    "{warmup_steps} leaves nothing of the stage's {n_updates} updates; use fewer"
                )
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_rise_stay_and_fall() {
        let optimizer = |warmup_steps, schedule| Optimizer {
            lr: 8.0,
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            weight_decay: 0.0,
            max_grad_norm: 1.0,
            warmup_steps,
            schedule,
        };
        let check = |warmup_steps, schedule, expected: &[f64]| {
            for (idx, expected) in expected.iter().enumerate() {
                let found =
                    optimizer(warmup_steps, schedule).lr_at(idx, expected_len(warmup_steps));
                assert!(
                    (found - expected).abs() < 1e-12,
                    "{schedule:?} {idx}: {found}"
                );
            }
        };
        // Four updates after the warm-up; cos(pi/4) = 0.7071067811865476.
        check(2, Schedule::Constant, &[4.0, 8.0, 8.0, 8.0, 8.0, 8.0]);
        check(2, Schedule::Linear, &[4.0, 8.0, 8.0, 6.0, 4.0, 2.0]);
        let quarter = 4.0 * (1.0 + std::f64::consts::FRAC_1_SQRT_2);
        check(0, Schedule::Cosine, &[8.0, quarter, 4.0, 8.0 - quarter]);
    }

    fn expected_len(warmup_steps: usize) -> usize {
        warmup_steps + 4
    }
}
