//! AdamW with a global-norm clip and a schedule.

use longhand_config::Optimizer;
use longhand_policy::{AdamW, AdamWSettings, Pass, PassBuffers, Policy};

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
        let adamw = AdamW::new(AdamWSettings {
            beta1: settings.beta1,
            beta2: settings.beta2,
            eps: settings.eps,
            weight_decay: settings.weight_decay,
        });
        Self {
            adamw,
            settings: *settings,
            n_updates,
            done: 0,
        }
    }

    /// Buffers for the next pass, as the last one left them.
    pub fn take_buffers(&mut self) -> PassBuffers {
        self.adamw.take_buffers()
    }

    /// Adds the gradient of `Σ logprob · grad` over one micro-batch, `grad` `[n_sampled]` being the
    /// derivative of the loss with respect to each log-probability.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn accumulate(&mut self, policy: &Policy, pass: Pass, grad: &[f64]) {
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
}
