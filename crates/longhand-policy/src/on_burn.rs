//! A policy on burn's tensors: what GPUs run, and on a CPU the slow twin of the engine.

mod cached_attention;
mod decoding;
mod draw;
mod generate;
mod head;
mod layout;
mod model;
mod products;
mod rotary;
mod rows;
mod shapes;
mod tree_attention;

use burn::{
    module::{AutodiffModule, Module, ModuleVisitor, Param},
    tensor::{Int, Tensor, backend::Backend as AnyBackend},
};
use longhand_engine::{
    Adapter, LoraConfig, ModelConfig, Parameter, Precision, ScoreGradient, Weights,
};
use longhand_rollout::{Context, PrefixGroup, WeightsId, prefix_groups};

pub use self::products::NoBf16;
pub(crate) use self::{generate::Generator, model::Transformer};
use self::{
    head::{Derivatives, Predictions},
    layout::Layout,
    model::{id_tensor, index_tensor},
    products::{Products, Projecting},
    shapes::Shapes,
    tree_attention::Heads,
};
use crate::{
    backend::{AutodiffBackend, Backend, Device},
    policy::Scores,
};

#[derive(Clone, Debug)]
pub(crate) struct OnBurn {
    config: ModelConfig,
    n_ids: usize,
    products: Products,
    shapes: Shapes,
    model: Transformer<AutodiffBackend>,
    /// What the adapter beside the weights is; none when the weights themselves are trained.
    lora: Option<LoraConfig>,
    version: u64,
    device: Device,
}

/// What the policy says, in the order of the contexts, and the way back.
#[derive(Debug)]
pub(crate) struct BurnPass {
    predictions: Predictions,
    /// For each sampled token in the order of the contexts, its place among the predictions.
    places: Vec<i32>,
    pub(crate) scores: Scores,
}

impl BurnPass {
    /// The gradient of `Σ grad · score`.
    ///
    /// # Panics
    /// When a list of `grad` has not one derivative for each sampled token.
    pub(crate) fn backward(self, grad: ScoreGradient<'_>) -> Gradients {
        let (device, places) = (self.predictions.hidden.device(), &self.places);
        let [n_rows] = self.predictions.targets.dims();
        let mut value = 0.0;
        let mut derivatives = |of: &[f32], scores: &[f32], what| {
            assert_eq!(of.len(), places.len(), "one derivative {what}");
            let terms = of.iter().zip(scores);
            value += terms.map(|(of, score)| of * score).sum::<f32>();
            // Rows that stand for nothing get nothing.
            let mut rows = vec![0.0; n_rows];
            for (of, place) in of.iter().zip(places) {
                rows[*place as usize] = *of;
            }
            Tensor::from_floats(&rows[..], &device)
        };
        let scores = &self.scores;
        let derivatives = Derivatives {
            logprobs: derivatives(grad.logprobs, &scores.logprobs, "a log-probability"),
            entropies: grad
                .entropies
                .map(|of| derivatives(of, &scores.entropies, "an entropy")),
        };
        self.predictions.loss(derivatives, value).backward()
    }
}

/// Gradients of the model's parameters, as burn keeps them.
type Gradients = <AutodiffBackend as burn::tensor::backend::AutodiffBackend>::Gradients;

impl OnBurn {
    /// # Errors
    /// When the device does not compute in the precision.
    pub(crate) fn new(
        config: &ModelConfig,
        n_ids: usize,
        weights: &Weights,
        precision: Precision,
        device: &Device,
    ) -> Result<Self, NoBf16> {
        Ok(Self {
            config: config.clone(),
            n_ids,
            products: Products::new(precision, device)?,
            shapes: Shapes::OF_BACKEND,
            model: assemble(config, weights, device),
            lora: None,
            version: 0,
            device: Device::clone(device),
        })
    }

    /// Other weights, and settings that may differ in what the shapes of the weights do not depend on.
    pub(crate) fn with_weights(&self, config: &ModelConfig, weights: &Weights) -> Self {
        Self {
            config: config.clone(),
            model: assemble(config, weights, &self.device),
            lora: None,
            ..self.clone()
        }
    }

    /// The same weights, frozen, with an adapter beside them. They are not copied.
    pub(crate) fn with_adapter(&self, adapter: &Adapter) -> Self {
        Self {
            model: self.model.with_adapter(&self.config, adapter, &self.device),
            lora: Some(adapter.config.clone()),
            ..self.clone()
        }
    }

    /// The same weights alone. They are not copied.
    pub(crate) fn without_adapter(&self) -> Self {
        Self {
            model: self.model.without_adapter(),
            lora: None,
            ..self.clone()
        }
    }

    /// The adapter as it is now.
    pub(crate) fn adapter(&self) -> Option<Adapter> {
        let config = self.lora.clone()?;
        let mut lists = model::adapter_values(&self.model).into_iter();
        let next =
            |_: &Parameter| Ok::<_, std::convert::Infallible>(lists.next().unwrap_or_default());
        let adapter = Adapter::assemble(&self.config, config, next);
        Some(adapter.unwrap_or_else(|never| match never {}))
    }

    fn projecting(&self, is_training: bool) -> Projecting {
        let lora = self.lora.as_ref();
        Projecting {
            products: self.products,
            lora_scale: lora.map_or(1.0, LoraConfig::scale),
            lora_dropout: lora
                .filter(|_| is_training)
                .map_or(0.0, |lora| lora.dropout),
        }
    }

    pub(crate) fn products(&self) -> Products {
        self.products
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
        self.version += 1;
    }

    /// The version of the weights as they are now. They lie on the device, and are not fetched every step
    /// for a digest.
    pub(crate) fn weights_id(&self) -> WeightsId {
        WeightsId {
            version: self.version,
            digest: None,
        }
    }

    /// Whether the squares of all weights add up to something finite. Only the sums leave the device.
    pub(crate) fn has_finite_norm(&self) -> bool {
        struct SumOfSquares(f64);
        impl ModuleVisitor<AutodiffBackend> for SumOfSquares {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<AutodiffBackend, D>>) {
                let values = param.val().inner();
                self.0 += f64::from((values.clone() * values).sum().into_scalar());
            }
        }
        let mut sum = SumOfSquares(0.0);
        self.model.visit(&mut sum);
        sum.0.is_finite()
    }

    pub(crate) fn set_version(&mut self, version: u64) {
        self.version = version;
    }

    pub(crate) fn generator(&self) -> Generator {
        Generator::new(
            self.config.clone(),
            self.projecting(false),
            self.shapes,
            self.model.valid(),
            self.n_ids,
            Device::clone(&self.device),
        )
    }

    /// Each prefix is run once, gradients included.
    /// An adapter with dropout leaves out the same numbers for the same key.
    pub(crate) fn forward(
        &self,
        contexts: &[Context<'_>],
        temperature: f64,
        dropout_key: u64,
    ) -> BurnPass {
        let groups = Grouped::new(contexts);
        let projecting = self.projecting(true);
        if 0.0 < projecting.lora_dropout {
            Backend::seed(&self.device, dropout_key);
        }
        let (hidden, targets) = self.hidden_at_targets(&self.model, projecting, &groups.groups);
        let predictions = Predictions {
            hidden,
            head: self.model.head(self.n_ids),
            targets,
            temperature,
        };
        let scores = predictions.score().select(&groups.order(&self.device));
        BurnPass {
            predictions,
            places: groups.places,
            scores: to_host_scores(scores),
        }
    }

    pub(crate) fn score(&self, contexts: &[Context<'_>], temperature: f64) -> Scores {
        let groups = Grouped::new(contexts);
        let model = self.model.valid();
        let projecting = self.projecting(false);
        let (hidden, targets) = self.hidden_at_targets(&model, projecting, &groups.groups);
        let scores = head::score(hidden, model.head(self.n_ids), targets, temperature);
        to_host_scores(scores.select(&groups.order(&self.device)))
    }

    /// Normed hidden states `[rows, hidden]` that predict the sampled tokens, and those tokens' ids; after
    /// them there may be rows that stand for nothing, which [`Grouped::order`] leaves out.
    fn hidden_at_targets<B>(
        &self,
        model: &Transformer<B>,
        projecting: Projecting,
        groups: &[PrefixGroup],
    ) -> (Tensor<B, 2>, Tensor<Backend, 1, Int>)
    where
        B: AnyBackend<Device = Device>,
    {
        let (config, device) = (&self.config, &self.device);
        let layout = Layout::new(groups, self.shapes);
        assert!(
            !layout.targets.is_empty(),
            "there is no sampled token to score"
        );
        let mut attention = layout.attention(Heads::of(config), device);
        let ids = id_tensor(&layout.ids, device);
        let positions = &layout.positions;
        let hidden = model.trunk(config, projecting, ids, positions, &mut attention);
        let n_rows = self
            .shapes
            .rows(layout.targets.len(), head::rows_at_a_time(self.n_ids));
        let (mut rows, mut targets) = (layout.target_rows, layout.targets);
        rows.resize(n_rows, 0);
        targets.resize(n_rows, 0);
        let rows = index_tensor(rows.into_iter(), device);
        let hidden = model.final_norm(config, hidden.select(0, rows));
        (hidden, id_tensor(&targets, device))
    }
}

fn assemble(
    config: &ModelConfig,
    weights: &Weights,
    device: &Device,
) -> Transformer<AutodiffBackend> {
    let mut lists = weights.values().iter();
    Transformer::assemble(config, device, |_name, _shape| {
        Ok::<_, std::convert::Infallible>(lists.next().cloned().unwrap_or_default())
    })
    .unwrap_or_else(|never| match never {})
}

pub(crate) fn to_host<B: AnyBackend>(values: Tensor<B, 1>) -> Vec<f32> {
    values.into_data().iter::<f32>().collect()
}

fn to_host_scores(scores: head::TokenScores) -> Scores {
    Scores {
        logprobs: to_host(scores.logprobs),
        entropies: to_host(scores.entropies),
        self_certainties: to_host(scores.self_certainties),
    }
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
    use burn::{
        module::{Module, ModuleVisitor, Param},
        optim::GradientsParams,
    };
    use longhand_engine::parameters;
    use longhand_rollout::{Completion, Generate, Purpose, Request, Sampling, StreamBase};
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::{BACKEND, fixture};

    fn on_burn(config: &ModelConfig) -> OnBurn {
        let weights = fixture::weights(config);
        let (n_ids, device) = (config.vocab_size - 1, Device::default());
        OnBurn::new(config, n_ids, &weights, Precision::F32, &device).unwrap()
    }

    fn with_shapes(shapes: Shapes) -> OnBurn {
        OnBurn {
            shapes,
            ..on_burn(&fixture::configs()[5])
        }
    }

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
            assert_eq!(on_burn(&config).weights(), weights);
        }
    }

    fn max_difference(a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len());
        let pairs = a.iter().zip(b);
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    /// Group, prompt and completion of each context.
    type Owned = Vec<(usize, Vec<u32>, Vec<u32>)>;

    /// Groups of any sizes, given as lengths: a prefix and its suffixes of given and sampled tokens.
    fn owned(groups: &[(usize, Vec<(usize, usize)>)], seed: u64) -> Owned {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut ids = |n: usize| -> Vec<u32> { (0..n).map(|_| rng.random_range(0..10)).collect() };
        let mut owned = Vec::new();
        for (group, (n_prefix, suffixes)) in groups.iter().enumerate() {
            let prefix = ids(*n_prefix);
            for (n_given, n_sampled) in suffixes {
                let prompt = [prefix.clone(), ids(*n_given)].concat();
                owned.push((group, prompt, ids(*n_sampled)));
            }
        }
        owned
    }

    fn contexts(owned: &Owned) -> Vec<Context<'_>> {
        let contexts = owned.iter().map(|(group, prompt, completion)| Context {
            group: *group,
            prompt,
            completion,
        });
        contexts.collect()
    }

    /// Log-probabilities, and the gradient of a sum of them and of entropies, each weighted by its place.
    fn pass(on_burn: &OnBurn, contexts: &[Context<'_>]) -> (Vec<f32>, Vec<Vec<f32>>) {
        struct Lists<'a>(&'a GradientsParams, Vec<Vec<f32>>);
        impl ModuleVisitor<AutodiffBackend> for Lists<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<AutodiffBackend, D>>) {
                let gradient = self.0.get::<Backend, D>(param.id).unwrap();
                self.1.push(gradient.into_data().iter::<f32>().collect());
            }
        }
        let pass = on_burn.forward(contexts, 0.8, 0);
        let logprobs = pass.scores.logprobs.clone();
        let places = (0..logprobs.len()).map(|place| place as f32);
        let of_logprobs: Vec<f32> = places.clone().map(|place| 1.0 - 0.3 * place).collect();
        let of_entropies: Vec<f32> = places.map(|place| 0.2 * place - 0.7).collect();
        let gradients = pass.backward(ScoreGradient {
            logprobs: &of_logprobs,
            entropies: Some(&of_entropies),
        });
        let gradients = GradientsParams::from_grads(gradients, on_burn.model());
        let mut lists = Lists(&gradients, Vec::new());
        on_burn.model().visit(&mut lists);
        (logprobs, lists.1)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn buckets_change_neither_scores_nor_gradients(
            groups in prop::collection::vec(
                (0_usize..20, prop::collection::vec((1_usize..6, 0_usize..6), 1..5)),
                1..5,
            ),
            seed in 0_u64..1000,
        ) {
            let mut owned = owned(&groups, seed);
            owned[0].2.push(3);
            let contexts = contexts(&owned);
            let (exact, bucketed) = (with_shapes(Shapes::Exact), with_shapes(Shapes::Bucketed));
            let expected = exact.score(&contexts, 0.8);
            let scored = bucketed.score(&contexts, 0.8);
            prop_assert!(max_difference(&scored.logprobs, &expected.logprobs) < 1e-5);
            prop_assert!(max_difference(&scored.entropies, &expected.entropies) < 1e-5);
            let certainties = [&scored, &expected].map(|scores| &scores.self_certainties);
            prop_assert!(max_difference(certainties[0], certainties[1]) < 1e-5);
            let (expected, gradients) = pass(&exact, &contexts);
            let (logprobs, bucketed) = pass(&bucketed, &contexts);
            prop_assert!(max_difference(&logprobs, &expected) < 1e-5);
            for (gradient, expected) in bucketed.iter().zip(&gradients) {
                let size = expected.iter().fold(1.0_f32, |size, g| size.max(g.abs()));
                prop_assert!(max_difference(gradient, expected) / size < 1e-5);
            }
        }
    }

    /// Requests of a few groups that end one after the other, so that groups leave the grid.
    fn requests(seed: u64) -> Vec<Request> {
        let streams = StreamBase {
            seed,
            purpose: Purpose::ROLLOUT,
            step: 0,
        };
        let groups: [(usize, Vec<(usize, usize)>); 5] = [
            (17, vec![(1, 40), (3, 4), (1, 9)]),
            (0, vec![(2, 3)]),
            (5, vec![(1, 2), (1, 1)]),
            (9, vec![(4, 5)]),
            (2, vec![(1, 22), (1, 7)]),
        ];
        let lengths = groups.iter().flat_map(|(_, suffixes)| suffixes.clone());
        let request = |(attempt, ((group, prompt, _), (_, max_tokens)))| Request {
            prompt,
            max_tokens,
            group,
            key: streams.key(group as u64, attempt, 0),
        };
        let owned = owned(&groups, seed).into_iter();
        (0..).zip(owned.zip(lengths)).map(request).collect()
    }

    fn generate(on_burn: &OnBurn, requests: &[Request], sampling: Sampling) -> Vec<Completion> {
        on_burn.generator().generate(requests, &sampling).unwrap()
    }

    #[test]
    fn buckets_change_no_completion() {
        let (exact, bucketed) = (with_shapes(Shapes::Exact), with_shapes(Shapes::Bucketed));
        let cut = Sampling {
            top_k: 5,
            ..Sampling::at(1.3)
        };
        for (seed, sampling) in [
            (1, Sampling::at(1.0)),
            (2, Sampling::at(0.7)),
            (3, Sampling::GREEDY),
            (4, cut),
        ] {
            let requests = requests(seed);
            let expected = generate(&exact, &requests, sampling);
            let completions = generate(&bucketed, &requests, sampling);
            for (completion, expected) in completions.iter().zip(&expected) {
                assert_eq!(completion.ids, expected.ids);
                assert_eq!(completion.stop_reason, expected.stop_reason);
                assert!(max_difference(&completion.logprobs, &expected.logprobs) < 1e-5);
            }
        }
    }

    #[test]
    fn a_stream_goes_on_where_its_block_was_cut_off() {
        // Alone a request's block is never cut off; among others it is, each time groups leave.
        let on_burn = with_shapes(Shapes::OF_BACKEND);
        let requests = requests(6);
        let together = generate(&on_burn, &requests, Sampling::at(1.0));
        for (request, together) in requests.into_iter().zip(together) {
            let [alone] = &generate(&on_burn, &[request], Sampling::at(1.0))[..] else {
                panic!("one completion");
            };
            assert_eq!(alone.ids, together.ids);
            assert_eq!(alone.ids.len(), together.logprobs.len());
            assert!(max_difference(&alone.logprobs, &together.logprobs) < 1e-5);
        }
    }

    #[test]
    fn broken_weights_are_found_out_with_the_log_probabilities() {
        let config = &fixture::configs()[5];
        let zeros = fixture::weights(config).zeros_like();
        let lists = zeros.values().iter();
        let mut broken = lists.map(|list| vec![f32::NAN; list.len()]);
        let next = |_: &Parameter| Ok::<_, std::convert::Infallible>(broken.next().unwrap());
        let broken = Weights::assemble(config, next).unwrap();
        let on_burn = on_burn(config).with_weights(config, &broken);
        for sampling in [Sampling::at(1.0), Sampling::GREEDY] {
            let error = on_burn.generator().generate(&requests(7)[1..], &sampling);
            assert_eq!(
                error,
                Err(longhand_engine::GenerateError::NotFinite {
                    request_idx: 0,
                    token_idx: 0
                })
            );
        }
    }

    #[test]
    fn bf16_products_are_near_those_of_f32_or_refused_by_the_name_of_the_key() {
        let config = &fixture::configs()[5];
        let weights = fixture::weights(config);
        let (n_ids, device) = (config.vocab_size - 1, Device::default());
        let rounded = match OnBurn::new(config, n_ids, &weights, Precision::Bf16, &device) {
            Ok(rounded) => rounded,
            Err(refused) => {
                assert_ne!(BACKEND, "flex", "it computes in all numbers");
                assert!(refused.to_string().contains("`compute.precision`"));
                return;
            }
        };
        let exact = on_burn(config);
        let owned = owned(&[(17, vec![(2, 3), (1, 5)]), (0, vec![(4, 6)])], 8);
        let contexts = contexts(&owned);
        let near = |a: &[f32], b: &[f32], most: f32| {
            let difference = max_difference(a, b);
            assert!((1e-6..most).contains(&difference), "{difference}");
        };
        let scored = rounded.score(&contexts, 1.0).logprobs;
        near(&scored, &exact.score(&contexts, 1.0).logprobs, 0.1);
        let ((logprobs, gradients), (_, expected)) =
            (pass(&rounded, &contexts), pass(&exact, &contexts));
        assert!(max_difference(&logprobs, &rounded.score(&contexts, 0.8).logprobs) < 1e-5);
        for (gradient, expected) in gradients.iter().zip(&expected) {
            let size = |list: &[f32]| list.iter().map(|g| g * g).sum::<f32>().sqrt();
            let apart: Vec<f32> = gradient.iter().zip(expected).map(|(a, b)| a - b).collect();
            assert!(size(&apart) < 0.1 * size(expected).max(0.1));
        }
        // What is recorded is what is scored, in the same numbers.
        let requests = requests(9);
        let completions = generate(&rounded, &requests, Sampling::at(1.0));
        let pairs = requests.iter().zip(&completions);
        let contexts: Vec<Context<'_>> = pairs
            .map(|(request, completion)| Context {
                group: request.group,
                prompt: &request.prompt,
                completion: &completion.ids,
            })
            .collect();
        let recorded = completions.iter().flat_map(|c| c.logprobs.clone());
        let recorded: Vec<f32> = recorded.collect();
        assert!(max_difference(&recorded, &rounded.score(&contexts, 1.0).logprobs) < 0.05);
    }
}
