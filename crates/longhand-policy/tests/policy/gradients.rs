//! Gradients through the shared-prefix pass and the chunked head.

use burn::{
    module::{ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::Tensor,
};
use longhand_policy::{AutodiffBackend, Backend, Device, Family, Policy};
use longhand_rollout::PrefixGroup;
use proptest::prelude::*;

use crate::fixture;

/// Gradients of `Σ coefficient · logprob`, flattened in parameter order.
fn gradients(policy: &Policy, groups: &[PrefixGroup], coefficients: &[f32]) -> Vec<f32> {
    struct Flatten {
        gradients: GradientsParams,
        values: Vec<f32>,
    }
    impl ModuleVisitor<AutodiffBackend> for Flatten {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<AutodiffBackend, D>>) {
            let gradient = self
                .gradients
                .get::<Backend, D>(param.id)
                .expect("every parameter has a gradient");
            self.values.extend(gradient.into_data().iter::<f32>());
        }
    }
    let (logprobs, _) = policy.logprobs(groups, 0.8);
    let coefficients = Tensor::from_floats(coefficients, &Device::default());
    let gradients = (logprobs * coefficients).sum().backward();
    let mut flatten = Flatten {
        gradients: GradientsParams::from_grads(gradients, policy.model()),
        values: vec![],
    };
    burn::module::Module::visit(policy.model(), &mut flatten);
    flatten.values
}

fn coefficients(groups: &[PrefixGroup]) -> Vec<f32> {
    let n: usize = groups
        .iter()
        .flat_map(|group| &group.suffixes)
        .map(|suffix| suffix.sampled.len())
        .sum();
    (0..n).map(|i| ((i * 7 % 5) as f32 - 2.0) * 0.3).collect()
}

#[test]
fn sharing_a_prefix_changes_no_gradient() {
    for (family, tied) in [(Family::Qwen3, false), (Family::Qwen2, true)] {
        let policy = fixture::policy(family, tied);
        let groups = fixture::groups();
        let coefficients = coefficients(&groups);
        let shared = gradients(&policy, &groups, &coefficients);
        let alone = gradients(&policy, &fixture::unshared(&groups), &coefficients);
        assert!(shared.iter().any(|g| 0.01 < g.abs()));
        assert!(fixture::max_difference(&shared, &alone) < 1e-4);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn sharing_changes_no_gradient_whatever_the_shapes(groups in fixture::any_groups()) {
        let policy = fixture::policy(Family::Qwen2, true);
        let coefficients = coefficients(&groups);
        let shared = gradients(&policy, &groups, &coefficients);
        let alone = gradients(&policy, &fixture::unshared(&groups), &coefficients);
        prop_assert!(fixture::max_difference(&shared, &alone) < 1e-4);
    }
}

#[test]
fn cutting_a_batch_into_micro_batches_changes_no_gradient() {
    let policy = fixture::policy(Family::Qwen3, false);
    let groups = fixture::groups();
    let coefficients = coefficients(&groups);
    let whole = gradients(&policy, &groups, &coefficients);
    let mut sum = vec![0.0; whole.len()];
    let mut start = 0;
    for group in &groups {
        let group = std::slice::from_ref(group);
        let n: usize = group[0]
            .suffixes
            .iter()
            .map(|suffix| suffix.sampled.len())
            .sum();
        let part = gradients(&policy, group, &coefficients[start..start + n]);
        start += n;
        sum.iter_mut()
            .zip(part)
            .for_each(|(sum, part)| *sum += part);
    }
    assert!(fixture::max_difference(&whole, &sum) < 1e-5);
}

#[test]
fn gradients_agree_with_finite_differences() {
    struct Nudge {
        place: usize,
        by: f32,
        seen: usize,
    }
    impl burn::module::ModuleMapper<AutodiffBackend> for Nudge {
        fn map_float<const D: usize>(
            &mut self,
            param: Param<Tensor<AutodiffBackend, D>>,
        ) -> Param<Tensor<AutodiffBackend, D>> {
            let n = param.val().shape().num_elements();
            let place = self.place.checked_sub(self.seen).filter(|place| *place < n);
            self.seen += n;
            let Some(place) = place else { return param };
            param.map(|tensor| {
                let shape = tensor.dims();
                let mut values: Vec<f32> = tensor.into_data().iter::<f32>().collect();
                values[place] += self.by;
                Tensor::from_data(
                    burn::tensor::TensorData::new(values, shape),
                    &Device::default(),
                )
                .require_grad()
            })
        }
    }
    let policy = fixture::policy(Family::Qwen3, false);
    let groups = fixture::groups();
    let coefficients = coefficients(&groups);
    let analytic = gradients(&policy, &groups, &coefficients);
    let loss = |place: usize, by: f32| -> f64 {
        let mut nudged = policy.clone();
        nudged.update(|model| burn::module::Module::map(model, &mut Nudge { place, by, seen: 0 }));
        let logprobs = nudged.score(&groups, 0.8).logprobs;
        logprobs
            .iter()
            .zip(&coefficients)
            .map(|(lp, c)| f64::from(*lp) * f64::from(*c))
            .sum()
    };
    let step = 1e-2;
    // A stride that meets every kind of parameter.
    for place in (0..analytic.len()).step_by(97) {
        let numeric = (loss(place, step) - loss(place, -step)) / (2.0 * f64::from(step));
        let analytic = f64::from(analytic[place]);
        assert!(
            (numeric - analytic).abs() < 2e-3 + 2e-2 * analytic.abs(),
            "{place}: {numeric} {analytic}"
        );
    }
}
