//! AdamW with a global-norm clip and a schedule.

use std::path::Path;

use longhand_config::Optimizer;
use longhand_policy::{
    AdamW, AdamWSettings, OptimizerError, Pass, PassBuffers, Policy, TokenGradient,
};
use longhand_rollout::{Purpose, StreamBase};
use rand::Rng as _;

use crate::{
    error::TrainError,
    not_finite::{Moment, NotFinite},
};

/// What an adapter leaves out in the pass over a micro-batch: another choice for each update and each
/// micro-batch of it, the same whenever the run is repeated.
pub(crate) fn dropout_key(seed: u64, policy: &Policy, micro_batch_idx: usize) -> u64 {
    let streams = StreamBase {
        seed,
        purpose: Purpose::DROPOUT,
        step: 0,
    };
    let version = policy.weights_id().version;
    streams
        .key(version, 0, micro_batch_idx as u32)
        .rng()
        .next_u64()
}

/// Applies gradients to a policy.
#[derive(Debug)]
pub struct Updater {
    adamw: AdamW,
    settings: Optimizer,
    n_updates: usize,
    done: usize,
}

/// What one update did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    /// Learning rate.
    pub lr: f64,
    /// Norm of the whole gradient before it was clipped; 0 when there was none.
    pub grad_norm: f64,
}

impl Updater {
    /// An optimiser for a stage of `n_updates` updates, which the schedule is stretched over.
    pub fn new(settings: &Optimizer, n_updates: usize) -> Self {
        Self {
            adamw: AdamW::new(adamw_settings(settings)),
            settings: *settings,
            n_updates,
            done: 0,
        }
    }

    /// The optimiser of a stage that has done `done` of its `n_updates` updates, as it was saved beside
    /// the policy.
    ///
    /// # Errors
    /// When its file cannot be read or belongs to another policy.
    pub fn load(
        settings: &Optimizer,
        n_updates: usize,
        done: usize,
        policy: &Policy,
        folder: &Path,
    ) -> Result<Self, OptimizerError> {
        Ok(Self {
            adamw: AdamW::load(adamw_settings(settings), policy, folder)?,
            settings: *settings,
            n_updates,
            done,
        })
    }

    /// Writes the optimiser's state into a folder, beside the policy it belongs to.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, policy: &Policy, folder: &Path) -> Result<(), OptimizerError> {
        self.adamw.save(policy, folder)
    }

    /// Updates of the schedule that are done.
    pub fn n_done(&self) -> usize {
        self.done
    }

    /// Buffers for the next pass, as the last one left them.
    pub fn take_buffers(&mut self) -> PassBuffers {
        self.adamw.take_buffers()
    }

    /// Adds the gradient of `Σ score · grad` over one micro-batch, `grad` being the derivatives of the loss
    /// with respect to each sampled token's log-probability and entropy.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn accumulate(&mut self, policy: &Policy, pass: Pass, grad: TokenGradient<'_>) {
        self.adamw.accumulate(policy, pass, grad);
    }

    /// Clips what has been accumulated by its global norm and moves the policy. Without anything
    /// accumulated the policy stays, and the schedule goes on.
    ///
    /// # Panics
    /// When the schedule's updates are all done.
    pub fn update(&mut self, policy: &mut Policy) -> Update {
        let lr = self.settings.lr_at(self.done, self.n_updates);
        self.done += 1;
        let grad_norm = self.adamw.update(policy, lr, self.settings.max_grad_norm);
        Update { lr, grad_norm }
    }

    /// [`Updater::update`], and a look at what it moved by and what it made of the policy.
    ///
    /// # Errors
    /// [`TrainError::NotFinite`] when a number of the gradient or, after the update, a weight is NaN or
    /// infinite, with its tensor.
    pub(crate) fn checked_update(
        &mut self,
        policy: &mut Policy,
        at: Moment,
    ) -> Result<Update, TrainError> {
        let update = self.update(policy);
        if !update.grad_norm.is_finite() {
            let what = "the gradient of";
            let found = match self.adamw.first_not_finite(policy) {
                Some(broken) => NotFinite::of_tensor(what, broken, at),
                // Every number is finite, but their squares are too large to add.
                None => NotFinite::new("the gradient's norm", update.grad_norm, at),
            };
            return Err(TrainError::NotFinite(Box::new(found)));
        }
        match policy.first_not_finite() {
            None => Ok(update),
            Some(broken) => {
                let found = NotFinite::of_tensor("after the update, the weight", broken, at);
                Err(TrainError::NotFinite(Box::new(found)))
            }
        }
    }
}

fn adamw_settings(settings: &Optimizer) -> AdamWSettings {
    AdamWSettings {
        beta1: settings.beta1,
        beta2: settings.beta2,
        eps: settings.eps,
        weight_decay: settings.weight_decay,
    }
}
