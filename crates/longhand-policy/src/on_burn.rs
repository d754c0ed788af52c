//! A policy on burn's tensors: what GPUs run, and on a CPU the slow twin of the engine.

mod decoding;
mod generate;
mod head;
mod layout;
mod model;
mod rotary;
mod tree_attention;

use burn::{
    module::AutodiffModule,
    tensor::{Int, Tensor, backend::Backend as AnyBackend},
};
use longhand_engine::{ModelConfig, Parameter, Weights};
use longhand_rollout::{Context, PrefixGroup, prefix_groups};

pub(crate) use self::{generate::Generator, model::Transformer};
use self::{layout::Layout, model::index_tensor, tree_attention::Heads};
use crate::backend::{AutodiffBackend, Backend, Device};

#[derive(Clone, Debug)]
pub(crate) struct OnBurn {
    config: ModelConfig,
    n_ids: usize,
    model: Transformer<AutodiffBackend>,
    device: Device,
}

/// Differentiable log-probabilities and, beside them, entropies, in the order of the contexts.
#[derive(Debug)]
pub(crate) struct BurnPass {
    pub(crate) logprobs: Tensor<AutodiffBackend, 1>,
    pub(crate) entropies: Tensor<Backend, 1>,
}

impl OnBurn {
    pub(crate) fn new(
        config: &ModelConfig,
        n_ids: usize,
        weights: &Weights,
        device: &Device,
    ) -> Self {
        let mut lists = weights.values().iter();
        let model = Transformer::assemble(config, device, |_name, _shape| {
            Ok::<_, std::convert::Infallible>(lists.next().cloned().unwrap_or_default())
        })
        .unwrap_or_else(|never| match never {});
        Self {
            config: config.clone(),
            n_ids,
            model,
            device: Device::clone(device),
        }
    }

    pub(crate) fn weights(&self) -> Weights {
        let mut lists = model::values(&self.model).into_iter();
        let next =
            |_: &Parameter| Ok::<_, std::convert::Infallible>(lists.next().unwrap_or_default());
        Weights::assemble(&self.config, next).unwrap_or_else(|never| match never {})
    }

    pub(crate) fn model(&self) -> &Transformer<AutodiffBackend> {
        &self.model
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    pub(crate) fn update(
        &mut self,
        update: impl FnOnce(Transformer<AutodiffBackend>) -> Transformer<AutodiffBackend>,
    ) {
        self.model = update(self.model.clone());
    }

    pub(crate) fn generator(&self) -> Generator {
        Generator::new(
            self.config.clone(),
            self.model.valid(),
            self.n_ids,
            Device::clone(&self.device),
        )
    }

    /// Each prefix is run once, gradients included.
    pub(crate) fn forward(&self, contexts: &[Context<'_>], temperature: f64) -> BurnPass {
        let groups = Grouped::new(contexts);
        let (hidden, targets) = self.hidden_at_targets(&self.model, &groups.groups);
        let head = self.model.head(self.n_ids);
        let (logprobs, entropies) =
            head::differentiable_logprobs(hidden, head, targets, temperature);
        let order = groups.order(&self.device);
        BurnPass {
            logprobs: logprobs.select(0, Tensor::from_inner(order.clone())),
            entropies: entropies.select(0, order),
        }
    }

    pub(crate) fn score(&self, contexts: &[Context<'_>], temperature: f64) -> (Vec<f32>, Vec<f32>) {
        let groups = Grouped::new(contexts);
        let model = self.model.valid();
        let (hidden, targets) = self.hidden_at_targets(&model, &groups.groups);
        let scores = head::score(hidden, model.head(self.n_ids), targets, temperature);
        let order = groups.order(&self.device);
        (
            to_host(scores.logprobs.select(0, order.clone())),
            to_host(scores.entropies.select(0, order)),
        )
    }

    /// Normed hidden states `[n_sampled, hidden]` that predict the sampled tokens, and those tokens' ids.
    fn hidden_at_targets<B>(
        &self,
        model: &Transformer<B>,
        groups: &[PrefixGroup],
    ) -> (Tensor<B, 2>, Tensor<Backend, 1, Int>)
    where
        B: AnyBackend<Device = Device>,
    {
        let (config, device) = (&self.config, &self.device);
        let layout = Layout::new(groups);
        assert!(
            !layout.targets.is_empty(),
            "there is no sampled token to score"
        );
        let heads = Heads {
            n_heads: config.n_heads,
            n_kv_heads: config.n_kv_heads,
            head_dim: config.head_dim,
        };
        let mut attention = layout.attention(heads, device);
        let hidden = model.trunk(config, &layout.ids, &layout.positions, &mut attention);
        let rows = index_tensor(layout.target_rows.iter().copied(), device);
        let hidden = model.final_norm(config, hidden.select(0, rows));
        (
            hidden,
            index_tensor(layout.targets.iter().map(|id| *id as i32), device),
        )
    }
}

pub(crate) fn to_host<B: AnyBackend>(values: Tensor<B, 1>) -> Vec<f32> {
    values.into_data().iter::<f32>().collect()
}

/// Contexts under common prefixes, and the way back to their order.
struct Grouped {
    groups: Vec<PrefixGroup>,
    /// For each sampled token in the order of the contexts, its place in that of the groups.
    places: Vec<i32>,
}

impl Grouped {
    fn new(contexts: &[Context<'_>]) -> Self {
        let joined = prefix_groups(contexts);
        let mut first = vec![0; contexts.len()];
        let mut n = 0;
        for context_idx in joined.contexts.iter().flatten() {
            first[*context_idx] = n;
            n += contexts[*context_idx].completion.len() as i32;
        }
        let places = contexts
            .iter()
            .zip(first)
            .flat_map(|(context, first)| first..first + context.completion.len() as i32);
        Self {
            places: places.collect(),
            groups: joined.groups.into_iter().map(folded).collect(),
        }
    }

    fn order(&self, device: &Device) -> Tensor<Backend, 1, Int> {
        index_tensor(self.places.iter().copied(), device)
    }
}

/// A group of one has its prefix in its suffix: one padded row instead of two.
fn folded(mut group: PrefixGroup) -> PrefixGroup {
    if let [suffix] = &mut group.suffixes[..] {
        suffix.given.splice(0..0, group.prefix.drain(..));
    }
    group
}

#[cfg(test)]
mod tests {
    use longhand_engine::parameters;

    use super::*;
    use crate::fixture;

    #[test]
    fn the_transformer_asks_for_the_parameters_in_their_order() {
        for config in fixture::configs() {
            let mut asked = Vec::new();
            let device = Device::default();
            let _model: Transformer<Backend> =
                Transformer::assemble(&config, &device, |name, shape| {
                    asked.push(Parameter {
                        name: name.into(),
                        shape: shape.to_vec(),
                    });
                    Ok::<_, std::convert::Infallible>(vec![0.0; shape.iter().product()])
                })
                .unwrap_or_else(|never| match never {});
            assert_eq!(asked, parameters(&config));
        }
    }

    #[test]
    fn weights_come_back_as_they_went_in() {
        for config in fixture::configs() {
            let weights = fixture::weights(&config);
            let on_burn = OnBurn::new(&config, config.vocab_size, &weights, &Device::default());
            assert_eq!(on_burn.weights(), weights);
        }
    }
}
