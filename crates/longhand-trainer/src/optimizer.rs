//! AdamW with a global-norm clip and a schedule.

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::{
        AdamW, AdamWConfig, GradientsAccumulator, GradientsParams, Optimizer as _,
        adaptor::OptimizerAdaptor,
    },
    tensor::Tensor,
};
use longhand_config::Optimizer;
use longhand_policy::{AutodiffBackend, Backend, Policy, Transformer};

type Model = Transformer<AutodiffBackend>;

/// Applies gradients to a policy.
pub struct Updater {
    adamw: OptimizerAdaptor<AdamW, Model, AutodiffBackend>,
    settings: Optimizer,
    n_updates: usize,
    done: usize,
    accumulator: GradientsAccumulator<Model>,
    accumulated: bool,
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
        let adamw = AdamWConfig::new()
            .with_beta_1(settings.beta1 as f32)
            .with_beta_2(settings.beta2 as f32)
            .with_epsilon(settings.eps as f32)
            .with_weight_decay(settings.weight_decay as f32)
            .init();
        Self {
            adamw,
            settings: *settings,
            n_updates,
            done: 0,
            accumulator: GradientsAccumulator::new(),
            accumulated: false,
        }
    }

    /// Adds the gradient of `Σ logprob · grad` over one micro-batch, `grad` `[n_sampled]` being the
    /// derivative of the loss with respect to each log-probability.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn accumulate(
        &mut self,
        policy: &Policy,
        logprobs: Tensor<AutodiffBackend, 1>,
        grad: &[f64],
    ) {
        assert_eq!(
            logprobs.dims()[0],
            grad.len(),
            "one derivative a log-probability"
        );
        let grad: Vec<f32> = grad.iter().map(|g| *g as f32).collect();
        let grad = Tensor::from_floats(grad.as_slice(), policy.device());
        let gradients = (logprobs * grad).sum().backward();
        let gradients = GradientsParams::from_grads(gradients, policy.model());
        self.accumulator.accumulate(policy.model(), gradients);
        self.accumulated = true;
    }

    /// Clips what has been accumulated by its global norm and moves the policy. Without anything
    /// accumulated the policy stays, and the schedule goes on.
    pub fn update(&mut self, policy: &mut Policy) -> Update {
        let lr = self.settings.lr_at(self.done, self.n_updates);
        self.done += 1;
        if !std::mem::take(&mut self.accumulated) {
            return Update { lr, grad_norm: 0.0 };
        }
        let gradients = self.accumulator.grads();
        let grad_norm = global_norm(&gradients, policy.model());
        if !grad_norm.is_finite() {
            return Update { lr, grad_norm };
        }
        let max_norm = self.settings.max_grad_norm;
        let gradients = if max_norm < grad_norm {
            scaled(gradients, policy.model(), max_norm / grad_norm)
        } else {
            gradients
        };
        policy.update(|model| self.adamw.step(lr, model, gradients));
        Update { lr, grad_norm }
    }
}

/// `√Σ g²` over all parameters.
fn global_norm(gradients: &GradientsParams, model: &Model) -> f64 {
    struct SquaredNorm<'a> {
        gradients: &'a GradientsParams,
        sum: f64,
    }
    impl ModuleVisitor<AutodiffBackend> for SquaredNorm<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<AutodiffBackend, D>>) {
            if let Some(gradient) = self.gradients.get::<Backend, D>(param.id) {
                let squared = (gradient.clone() * gradient).sum();
                self.sum += f64::from(squared.into_scalar());
            }
        }
    }
    let mut norm = SquaredNorm {
        gradients,
        sum: 0.0,
    };
    model.visit(&mut norm);
    norm.sum.sqrt()
}

fn scaled(gradients: GradientsParams, model: &Model, factor: f64) -> GradientsParams {
    struct Scale {
        gradients: GradientsParams,
        factor: f64,
    }
    impl ModuleVisitor<AutodiffBackend> for Scale {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<AutodiffBackend, D>>) {
            if let Some(gradient) = self.gradients.remove::<Backend, D>(param.id) {
                self.gradients
                    .register(param.id, gradient.mul_scalar(self.factor));
            }
        }
    }
    let mut scale = Scale { gradients, factor };
    model.visit(&mut scale);
    scale.gradients
}
