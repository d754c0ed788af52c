//! AdamW over what is trained of a policy (arXiv:1711.05101), with the gradient's global norm clipped.
//!
//! `m ← β₁ m + (1 − β₁) g`, `v ← β₂ v + (1 − β₂) g²`,
//! `w ← w − lr · (m̂ / (√v̂ + ε) + λ w)`

mod burn_adamw;
mod storage;

use longhand_engine::{PassBuffers, ScoreGradient, Weights, adamw_step, global_norm};

use self::burn_adamw::BurnAdamW;
pub use self::storage::OptimizerError;
use crate::policy::{Body, BrokenTensor, Pass, Policy, WayBack};

/// The constants of the rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWSettings {
    /// How much of the mean of gradients is kept.
    pub beta1: f64,
    /// How much of the mean of squared gradients is kept.
    pub beta2: f64,
    /// Added to the root of the mean of squares.
    pub eps: f64,
    /// Share of a weight that an update at learning rate 1 would take away.
    pub weight_decay: f64,
}

/// Derivatives of a loss with respect to what a pass says of its sampled tokens, context by context, in
/// order.
#[derive(Clone, Copy, Debug)]
pub struct TokenGradient<'a> {
    /// `[n_sampled]`: with respect to each natural log-probability.
    pub logprobs: &'a [f64],
    /// `[n_sampled]`: with respect to each entropy in nats; none where the loss has no use for them, which
    /// costs nothing then.
    pub entropies: Option<&'a [f64]>,
}

impl<'a> TokenGradient<'a> {
    /// Of a loss that looks at log-probabilities alone.
    pub fn of_logprobs(logprobs: &'a [f64]) -> Self {
        Self {
            logprobs,
            entropies: None,
        }
    }
}

/// The optimiser's state and the gradient that is being gathered for its next update.
pub struct AdamW {
    settings: AdamWSettings,
    state: State,
}

/// Made at the first gradient, for the policy it is of.
enum State {
    New,
    Cpu(Box<CpuState>),
    Burn(Box<BurnAdamW>),
}

struct CpuState {
    gradients: Weights,
    m: Weights,
    v: Weights,
    n_updates: u64,
    has_gradient: bool,
    buffers: PassBuffers,
}

impl AdamW {
    /// An optimiser before its first update.
    pub fn new(settings: AdamWSettings) -> Self {
        Self {
            settings,
            state: State::New,
        }
    }

    /// Buffers for the next [`Policy::forward`], as the last pass left them.
    pub fn take_buffers(&mut self) -> PassBuffers {
        match &mut self.state {
            State::Cpu(state) => std::mem::take(&mut state.buffers),
            State::New | State::Burn(_) => PassBuffers::default(),
        }
    }

    /// Adds the gradient of `Σ grad · score`, over log-probabilities and entropies of one pass.
    ///
    /// # Panics
    /// When the lengths differ, or the policy is not the one of the pass and of earlier calls.
    pub fn accumulate(&mut self, policy: &Policy, pass: Pass, grad: TokenGradient<'_>) {
        let narrow = |list: &[f64]| -> Vec<f32> { list.iter().map(|g| *g as f32).collect() };
        let (logprobs, entropies) = (narrow(grad.logprobs), grad.entropies.map(narrow));
        let grad = ScoreGradient {
            logprobs: &logprobs,
            entropies: entropies.as_deref(),
        };
        if matches!(self.state, State::New) {
            self.state = match policy.body() {
                Body::Cpu(on_cpu) => State::Cpu(Box::new(CpuState {
                    gradients: on_cpu.trained().zeros_like(),
                    m: on_cpu.trained().zeros_like(),
                    v: on_cpu.trained().zeros_like(),
                    n_updates: 0,
                    has_gradient: false,
                    buffers: PassBuffers::default(),
                })),
                Body::Burn(_) => State::Burn(Box::new(BurnAdamW::new(&self.settings))),
            };
        }
        match (&mut self.state, policy.body(), pass.way_back) {
            (State::Cpu(state), Body::Cpu(on_cpu), WayBack::Cpu(pass)) => {
                if !state.has_gradient {
                    state.gradients.fill(&policy.compute().cpu, 0.0);
                }
                state.has_gradient = true;
                state.buffers =
                    pass.backward(on_cpu.model(), on_cpu.weights(), grad, &mut state.gradients);
            }
            (State::Burn(state), Body::Burn(on_burn), WayBack::Burn(pass)) => {
                state.accumulate(on_burn, *pass, grad);
            }
            _ => panic!("a pass, its policy and its optimiser belong together"),
        }
    }

    /// The gradient gathered so far, in the order of [`Policy::trained_parameters`]; none when there is none.
    pub fn gradient(&self, policy: &Policy) -> Option<Vec<Vec<f32>>> {
        match (&self.state, policy.body()) {
            (State::Cpu(state), _) if state.has_gradient => Some(state.gradients.values().to_vec()),
            (State::Burn(state), Body::Burn(on_burn)) => state.gradient(on_burn),
            _ => None,
        }
    }

    /// The first number of the gradient gathered so far that is NaN or infinite.
    pub fn first_not_finite(&self, policy: &Policy) -> Option<BrokenTensor> {
        let gradient = match &self.state {
            State::Cpu(state) if state.has_gradient => &state.gradients,
            State::Burn(_) => {
                let lists = self.gradient(policy)?;
                let named = policy.named_weights().into_iter().zip(lists);
                let found = |((name, _), list): ((String, Vec<f32>), Vec<f32>)| {
                    let idx = list.iter().position(|value| !value.is_finite())?;
                    let value = list[idx];
                    Some(BrokenTensor { name, idx, value })
                };
                return named.filter_map(found).next();
            }
            State::Cpu(_) | State::New => return None,
        };
        let found = gradient.first_not_finite(&policy.compute().cpu)?;
        Some(policy.broken(found))
    }

    /// Clips what has been gathered by its global norm, moves the policy, and returns the norm before the
    /// clip. Without a gradient nothing moves and the norm is 0; one that is not finite moves nothing, and
    /// stays to be looked at.
    pub fn update(&mut self, policy: &mut Policy, lr: f64, max_norm: f64) -> f64 {
        let cpu = policy.compute().cpu.clone();
        match (&mut self.state, policy.body_mut()) {
            (State::Cpu(state), Body::Cpu(on_cpu)) if state.has_gradient => {
                let norm = global_norm(&cpu, &state.gradients);
                if !norm.is_finite() {
                    return norm;
                }
                state.has_gradient = false;
                let scale = if max_norm < norm {
                    max_norm / norm
                } else {
                    1.0
                };
                state.n_updates += 1;
                let step = longhand_engine::AdamWStep {
                    lr,
                    beta1: self.settings.beta1,
                    beta2: self.settings.beta2,
                    eps: self.settings.eps,
                    weight_decay: self.settings.weight_decay,
                    step: state.n_updates,
                };
                let CpuState {
                    gradients, m, v, ..
                } = &mut **state;
                on_cpu.update(|weights| {
                    adamw_step(&cpu, &step, scale as f32, weights, gradients, m, v);
                });
                norm
            }
            (State::Burn(state), Body::Burn(on_burn)) => state.update(on_burn, lr, max_norm),
            _ => 0.0,
        }
    }
}

impl std::fmt::Debug for AdamW {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdamW")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
