//! Gradients: finite differences of the naive model, and the same whatever is shared or kept.

use longhand_engine::{Cpu, Family, Format, Isa, Keep, PassBuffers, Weights};
use proptest::prelude::*;
use std::num::NonZero;

use crate::fixture::{Loss, Owned, Small, any_contexts, contexts, few, uneven};

/// Of both terms.
fn gradient(small: &Small, cpu: &Cpu, format: Format, owned: &Owned, keep: Keep) -> Weights {
    gradient_of(&Loss::of_both(owned), small, cpu, format, owned, keep)
}

fn gradient_of(
    loss: &Loss,
    small: &Small,
    cpu: &Cpu,
    format: Format,
    owned: &Owned,
    keep: Keep,
) -> Weights {
    let model = small.model_in(cpu, format);
    let mut gradients = small.weights.zeros_like();
    let pass = model.forward(&contexts(owned), 0.9, keep, PassBuffers::default(), None);
    pass.backward(&model, &small.weights, loss.gradient(), &mut gradients);
    gradients
}

fn flat(weights: &Weights) -> Vec<f32> {
    weights.values().concat()
}

/// Largest difference over the norm of the second.
fn relative(a: &Weights, b: &Weights) -> f64 {
    let (a, b) = (flat(a), flat(b));
    let norm = b.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let difference = a.iter().zip(&b).map(|(a, b)| f64::from(a - b).powi(2));
    difference.sum::<f64>().sqrt() / norm
}

#[test]
fn gradients_agree_with_finite_differences_of_the_naive_model() {
    let owned = few();
    for (family, tie) in [
        (Family::Llama, true),
        (Family::Qwen2, false),
        (Family::Qwen3, true),
    ] {
        let small = Small::new(family, tie);
        for loss in [
            Loss::of_logprobs(&owned),
            Loss::of_entropies(&owned),
            Loss::of_both(&owned),
        ] {
            check_gradient(small.clone(), &owned, &loss);
        }
    }
}

/// Compares numbers of every parameter's gradient with finite differences.
fn check_gradient(mut small: Small, owned: &Owned, loss: &Loss) {
    let keep = Keep::Activations;
    let found = gradient_of(loss, &small, &Cpu::detect(), Format::F32, owned, keep);
    let family = small.config.family;
    let mut largest = 0.0_f64;
    for place in 0..small.weights.values().len() {
        let n = small.weights.values()[place].len();
        for i in [0, n / 3, n - 1] {
            let at = small.weights.values()[place][i];
            let mut moved = |by: f32| {
                small.weights.values_mut()[place][i] = at + by;
                (
                    loss.naive_value(&small, owned, 0.9),
                    f64::from(small.weights.values()[place][i]),
                )
            };
            let ((high, right), (low, left)) = (moved(2e-3), moved(-2e-3));
            small.weights.values_mut()[place][i] = at;
            let expected = (high - low) / (right - left);
            let found = f64::from(found.values()[place][i]);
            assert!(
                (found - expected).abs() < 2e-3 * (1.0 + expected.abs()),
                "{family:?} parameter {place} [{i}]: {found}, not {expected}"
            );
            largest = largest.max(expected.abs());
        }
    }
    assert!(0.1 < largest, "{family:?}: no gradient but {largest}");
}

#[test]
fn every_isa_and_kept_form_gives_the_same_gradient() {
    let small = Small::new(Family::Qwen3, false);
    let owned = uneven();
    let one = Cpu::new(Isa::Portable, NonZero::new(1).unwrap()).unwrap();
    let expected = gradient(&small, &one, Format::F32, &owned, Keep::Activations);
    for isa in Isa::available() {
        let cpu = Cpu::new(isa, NonZero::new(3).unwrap()).unwrap();
        let kept = gradient(&small, &cpu, Format::F32, &owned, Keep::Activations);
        assert!(
            relative(&kept, &expected) < 2e-6,
            "{isa} {}",
            relative(&kept, &expected)
        );
        let again = gradient(&small, &cpu, Format::F32, &owned, Keep::Checkpoints);
        assert_eq!(flat(&again), flat(&kept), "{isa}");
        let alone = Cpu::new(isa, NonZero::new(1).unwrap()).unwrap();
        let alone = gradient(&small, &alone, Format::F32, &owned, Keep::Activations);
        assert_eq!(flat(&alone), flat(&kept), "{isa}: threads change nothing");
    }
}

#[test]
fn rounded_products_give_a_gradient_that_points_the_same_way() {
    let small = Small::new(Family::Llama, true);
    let cpu = Cpu::detect();
    let exact = gradient(&small, &cpu, Format::F32, &uneven(), Keep::Activations);
    let rounded = gradient(&small, &cpu, Format::Bf16, &uneven(), Keep::Activations);
    let error = relative(&rounded, &exact);
    assert!(1e-5 < error && error < 0.03, "{error}");
}

#[test]
fn buffers_are_used_again_without_a_trace() {
    let small = Small::new(Family::Qwen3, true);
    let model = small.model(&Cpu::detect());
    let (long, short) = (uneven(), vec![(vec![4, 5, 6], vec![7, 8])]);
    let fresh = gradient(
        &small,
        &Cpu::detect(),
        Format::F32,
        &short,
        Keep::Activations,
    );
    let mut buffers = PassBuffers::default();
    for owned in [&long, &short] {
        let mut gradients = small.weights.zeros_like();
        let pass = model.forward(&contexts(owned), 0.9, Keep::Activations, buffers, None);
        let loss = Loss::of_both(owned);
        buffers = pass.backward(&model, &small.weights, loss.gradient(), &mut gradients);
        if owned.len() == 1 {
            assert_eq!(flat(&gradients), flat(&fresh));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn sharing_changes_a_gradient_only_by_rounding(owned in any_contexts()) {
        let small = Small::new(Family::Qwen3, true);
        let cpu = Cpu::detect();
        let model = small.model(&cpu);
        let together = gradient(&small, &cpu, Format::F32, &owned, Keep::Activations);
        let mut alone = small.weights.zeros_like();
        let all = Loss::of_both(&owned);
        let mut next = 0;
        for one in &owned {
            let n = one.1.len();
            if n == 0 {
                continue;
            }
            let one = vec![one.clone()];
            let pass = model.forward(&contexts(&one), 0.9, Keep::Activations, PassBuffers::default(), None);
            let loss = all.part(next..next + n);
            pass.backward(&model, &small.weights, loss.gradient(), &mut alone);
            next += n;
        }
        prop_assert!(relative(&together, &alone) < 1e-5);
    }
}
