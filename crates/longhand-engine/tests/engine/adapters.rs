//! Adapters: beside the weights as merged into them, their gradients, and what dropout drops.

use std::{num::NonZero, sync::Arc};

use longhand_engine::{
    Adapter, Cpu, DropoutKey, Family, Format, Generator, Isa, Keep, LoraConfig, Model, PassBuffers,
    Target, Weights,
};
use longhand_rollout::{Context, Generate, Sampling};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    fixture::{Loss, Owned, Small, any_contexts, contexts, few, max_difference, uneven},
    generation::requests,
};

const FAMILIES: [(Family, bool); 3] = [
    (Family::Llama, true),
    (Family::Qwen2, false),
    (Family::Qwen3, true),
];

/// All; the paper's; one in each product, given out of order; one alone.
const TARGET_SETS: [&[Target]; 4] = [
    &Target::ALL,
    &[Target::Q, Target::V],
    &[Target::Up, Target::Down, Target::K, Target::O],
    &[Target::Gate],
];

fn lora(targets: &[Target], dropout: f64) -> LoraConfig {
    LoraConfig {
        rank: 3,
        alpha: 4.5,
        dropout,
        targets: targets.to_vec(),
    }
}

fn fresh(small: &Small, lora: LoraConfig) -> Adapter {
    Adapter::fresh(&small.config, lora, &mut ChaCha8Rng::seed_from_u64(8))
}

/// One whose `B` does something too.
fn trained(small: &Small, lora: LoraConfig) -> Adapter {
    let mut adapter = fresh(small, lora);
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    for value in adapter.weights.values_mut().iter_mut().flatten() {
        *value += rng.random_range(-0.3..0.3);
    }
    adapter
}

/// The same model with the adapter merged in.
fn merged(small: &Small, adapter: &Adapter) -> Small {
    Small {
        config: small.config.clone(),
        n_ids: small.n_ids,
        weights: adapter.merged(&small.config, &small.weights),
    }
}

fn gradient(
    small: &Small,
    model: &Model,
    adapter: &Adapter,
    owned: &Owned,
    keep: Keep,
    dropout: Option<DropoutKey>,
) -> Weights {
    let mut gradients = adapter.weights.zeros_like();
    let buffers = PassBuffers::default();
    let pass = model.forward(&contexts(owned), 0.9, keep, buffers, dropout);
    pass.backward(
        model,
        &small.weights,
        Loss::of_both(owned).gradient(),
        &mut gradients,
    );
    gradients
}

/// The loss of both terms after a training pass.
fn objective(model: &Model, owned: &Owned, dropout: Option<DropoutKey>) -> f64 {
    let buffers = PassBuffers::default();
    let pass = model.forward(&contexts(owned), 0.9, Keep::Activations, buffers, dropout);
    Loss::of_both(owned).value_of(pass.scores())
}

/// Moves one list by `by` along a direction of ones and minus ones, which is returned.
fn moved(adapter: &Adapter, place: usize, by: f32, salt: u64) -> (Adapter, Vec<f32>) {
    let mut moved = adapter.clone();
    let mut rng = ChaCha8Rng::seed_from_u64(salt);
    let list = &mut moved.weights.values_mut()[place];
    let direction: Vec<f32> = list
        .iter()
        .map(|_| if rng.random() { 1.0 } else { -1.0 })
        .collect();
    for (value, sign) in list.iter_mut().zip(&direction) {
        *value += by * sign;
    }
    (moved, direction)
}

/// Compares the gradient of each list, along two directions, with differences of `objective`.
fn check_gradient(
    what: &str,
    adapter: &Adapter,
    found: &Weights,
    (step, tolerance): (f32, f64),
    objective: impl Fn(&Adapter) -> f64,
) {
    let mut largest = 0.0_f64;
    for place in 0..adapter.weights.values().len() {
        for salt in [1, 2] {
            let (high, direction) = moved(adapter, place, step, salt);
            let (low, _) = moved(adapter, place, -step, salt);
            let expected = (objective(&high) - objective(&low)) / f64::from(2.0 * step);
            let found: f64 = found.values()[place]
                .iter()
                .zip(direction)
                .map(|(g, sign)| f64::from(g * sign))
                .sum();
            assert!(
                (found - expected).abs() < tolerance * (1.0 + expected.abs()),
                "{what}, list {place}: {found}, not {expected}"
            );
            largest = largest.max(expected.abs());
        }
    }
    assert!(0.5 < largest, "{what}: hardly any gradient to compare");
}

#[test]
fn gradients_agree_with_finite_differences_of_the_naive_model() {
    let owned = few();
    for (family, tie) in FAMILIES {
        let small = Small::new(family, tie);
        let plain = small.model(&Cpu::detect());
        for targets in TARGET_SETS {
            let adapter = trained(&small, lora(targets, 0.0));
            let model = plain.with_adapter(&adapter);
            let found = gradient(&small, &model, &adapter, &owned, Keep::Activations, None);
            let what = format!("{family:?} {targets:?}");
            check_gradient(&what, &adapter, &found, (1e-3, 2e-3), |adapter| {
                Loss::of_both(&owned).naive_value(&merged(&small, adapter), &owned, 0.9)
            });
        }
    }
}

#[test]
fn gradients_with_dropout_agree_with_finite_differences() {
    let owned = few();
    let key = Some(DropoutKey(5));
    for (family, tie) in FAMILIES {
        let small = Small::new(family, tie);
        let plain = small.model(&Cpu::detect());
        for targets in TARGET_SETS {
            let adapter = trained(&small, lora(targets, 0.3));
            let model = plain.with_adapter(&adapter);
            let found = gradient(&small, &model, &adapter, &owned, Keep::Activations, key);
            let what = format!("{family:?} {targets:?}");
            // The differences are those of f32: a longer step, and more room.
            check_gradient(&what, &adapter, &found, (4e-3, 1e-2), |adapter| {
                objective(&plain.with_adapter(adapter), &owned, key)
            });
        }
    }
}

#[test]
fn kept_and_recomputed_layers_on_any_machine_give_the_same_gradient() {
    let small = Small::new(Family::Qwen3, false);
    let owned = uneven();
    let adapter = trained(&small, lora(&Target::ALL, 0.2));
    let one = Cpu::new(Isa::Portable, NonZero::new(1).unwrap()).unwrap();
    for dropout in [None, Some(DropoutKey(3))] {
        let with = |cpu: &Cpu, format, keep| {
            let model = small.model_in(cpu, format).with_adapter(&adapter);
            let found = gradient(&small, &model, &adapter, &owned, keep, dropout);
            found.values().concat()
        };
        let expected = with(&one, Format::F32, Keep::Activations);
        for isa in Isa::available() {
            let cpu = Cpu::new(isa, NonZero::new(3).unwrap()).unwrap();
            let alone = Cpu::new(isa, NonZero::new(1).unwrap()).unwrap();
            let kept = with(&cpu, Format::F32, Keep::Activations);
            assert!(max_difference(&kept, &expected) < 1e-4, "{isa}");
            for format in [Format::F32, Format::Bf16] {
                let kept = with(&cpu, format, Keep::Activations);
                assert_eq!(with(&cpu, format, Keep::Checkpoints), kept, "{isa}");
                assert_eq!(with(&alone, format, Keep::Activations), kept, "{isa}");
            }
        }
    }
}

#[test]
fn rounded_products_give_a_gradient_that_points_the_same_way() {
    let small = Small::new(Family::Llama, true);
    let adapter = trained(&small, lora(&Target::ALL, 0.2));
    let with = |format| {
        let model = small
            .model_in(&Cpu::detect(), format)
            .with_adapter(&adapter);
        let key = Some(DropoutKey(1));
        gradient(&small, &model, &adapter, &uneven(), Keep::Activations, key)
    };
    let (exact, rounded) = (with(Format::F32), with(Format::Bf16));
    let (exact, rounded) = (exact.values().concat(), rounded.values().concat());
    let norm = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>().sqrt();
    let difference: Vec<f32> = exact.iter().zip(&rounded).map(|(a, b)| a - b).collect();
    let error = norm(&difference) / norm(&exact);
    assert!(1e-5 < error && error < 0.05, "{error}");
}

#[test]
fn gradients_are_added_and_buffers_used_again_without_a_trace() {
    let small = Small::new(Family::Qwen2, true);
    let adapter = trained(&small, lora(&[Target::K, Target::Down], 0.0));
    let plain = small.model(&Cpu::detect());
    let model = plain.with_adapter(&adapter);
    let owned = few();
    let once = gradient(&small, &model, &adapter, &owned, Keep::Activations, None);
    // A plain pass over other contexts has left its numbers in the buffers.
    let mut of_model = small.weights.zeros_like();
    let others = uneven();
    let pass = plain.forward(
        &contexts(&others),
        0.9,
        Keep::Activations,
        PassBuffers::default(),
        None,
    );
    let buffers = pass.backward(
        &plain,
        &small.weights,
        Loss::of_both(&others).gradient(),
        &mut of_model,
    );
    let mut twice = once.clone();
    let pass = model.forward(&contexts(&owned), 0.9, Keep::Activations, buffers, None);
    pass.backward(
        &model,
        &small.weights,
        Loss::of_both(&owned).gradient(),
        &mut twice,
    );
    for (once, twice) in once.values().concat().iter().zip(twice.values().concat()) {
        assert!((2.0 * once - twice).abs() < 1e-4 * (1.0 + once.abs()));
    }
}

#[test]
fn a_fresh_adapter_and_none_give_the_plain_model_to_the_bit() {
    for format in [Format::F32, Format::Bf16, Format::Int8] {
        let small = Small::new(Family::Qwen3, false);
        let plain = small.model_in(&Cpu::detect(), format);
        let owned = uneven();
        let expected = plain.score(&contexts(&owned), 0.8);
        let with_fresh = plain.with_adapter(&fresh(&small, lora(&Target::ALL, 0.1)));
        assert_eq!(with_fresh.score(&contexts(&owned), 0.8), expected);
        let with_trained = plain.with_adapter(&trained(&small, lora(&Target::ALL, 0.1)));
        let changed = with_trained.score(&contexts(&owned), 0.8);
        assert!(0.05 < max_difference(&changed.logprobs, &expected.logprobs));
        let without = with_trained.without_adapter();
        assert_eq!(without.score(&contexts(&owned), 0.8), expected);
        assert_eq!(plain.score(&contexts(&owned), 0.8), expected);
    }
}

#[test]
fn an_adapter_says_what_the_weights_say_with_it_merged_in() {
    for (family, tie) in FAMILIES {
        let small = Small::new(family, tie);
        let owned = uneven();
        for targets in TARGET_SETS {
            let adapter = trained(&small, lora(targets, 0.5));
            let as_one = merged(&small, &adapter);
            for isa in Isa::available() {
                let cpu = Cpu::new(isa, NonZero::new(2).unwrap()).unwrap();
                let beside = small.model(&cpu).with_adapter(&adapter);
                let found = beside.score(&contexts(&owned), 1.0);
                let expected = as_one.model(&cpu).score(&contexts(&owned), 1.0);
                let difference = max_difference(&found.logprobs, &expected.logprobs);
                assert!(
                    difference < 5e-5,
                    "{family:?} {targets:?} {isa}: {difference}"
                );
            }
        }
    }
}

#[test]
fn rounded_products_stay_close_to_the_merged_weights() {
    let small = Small::new(Family::Llama, true);
    let adapter = trained(&small, lora(&Target::ALL, 0.0));
    let cpu = Cpu::detect();
    let owned = uneven();
    let exact = merged(&small, &adapter).model(&cpu);
    let exact = exact.score(&contexts(&owned), 1.0).logprobs;
    for format in [Format::Bf16, Format::Int8] {
        let rounded = small.model_in(&cpu, format).with_adapter(&adapter);
        let rounded = rounded.score(&contexts(&owned), 1.0).logprobs;
        let difference = max_difference(&rounded, &exact);
        assert!(
            0.0 < difference && difference < 0.2,
            "{format:?}: {difference}"
        );
    }
}

#[test]
fn recorded_log_probabilities_are_the_scored_ones_to_the_bit() {
    for format in [Format::F32, Format::Bf16, Format::Int8] {
        let small = Small::new(Family::Qwen3, false);
        let adapter = trained(&small, lora(&Target::ALL, 0.4));
        let model = small
            .model_in(&Cpu::detect(), format)
            .with_adapter(&adapter);
        let model = Arc::new(model);
        let requests = requests();
        let completions = Generator::new(Arc::clone(&model))
            .generate(&requests, &Sampling::at(0.7))
            .unwrap();
        let pairs = requests.iter().zip(&completions);
        let contexts: Vec<Context<'_>> = pairs
            .map(|(request, completion)| Context {
                group: request.group,
                prompt: &request.prompt,
                completion: &completion.ids,
            })
            .collect();
        let scored = model.score(&contexts, f64::from(0.7_f32)).logprobs;
        let recorded: Vec<f32> = completions
            .iter()
            .flat_map(|completion| completion.logprobs.clone())
            .collect();
        assert_eq!(recorded, scored, "{format:?}");
        let buffers = PassBuffers::default();
        let temperature = f64::from(0.7_f32);
        let pass = model.forward(&contexts, temperature, Keep::Activations, buffers, None);
        assert_eq!(pass.scores().logprobs, scored, "{format:?}");
    }
}

#[test]
fn dropout_is_a_function_of_its_key_and_only_of_training_passes() {
    let small = Small::new(Family::Llama, false);
    let owned = uneven();
    let plain = small.model(&Cpu::detect());
    let dropping = plain.with_adapter(&trained(&small, lora(&Target::ALL, 0.5)));
    let never = plain.with_adapter(&trained(&small, lora(&Target::ALL, 0.0)));
    let pass = |model: &Model, key: Option<u64>| {
        let buffers = PassBuffers::default();
        let key = key.map(DropoutKey);
        let pass = model.forward(&contexts(&owned), 1.0, Keep::Activations, buffers, key);
        pass.scores().clone()
    };
    let scored = never.score(&contexts(&owned), 1.0);
    assert_eq!(dropping.score(&contexts(&owned), 1.0), scored);
    assert_eq!(pass(&dropping, None), scored);
    assert_eq!(pass(&never, Some(1)), scored);
    assert_eq!(pass(&dropping, Some(1)), pass(&dropping, Some(1)));
    let differ = |a: u64, b: u64| {
        let (a, b) = (pass(&dropping, Some(a)), pass(&dropping, Some(b)));
        max_difference(&a.logprobs, &b.logprobs)
    };
    assert!(0.01 < differ(1, 2));
    assert!(0.01 < max_difference(&pass(&dropping, Some(1)).logprobs, &scored.logprobs));
    // Without an adapter there is nothing to drop.
    assert_eq!(pass(&plain, Some(1)), plain.score(&contexts(&owned), 1.0));
}

#[test]
fn dropout_keeps_the_expectation() {
    // So small an adapter is linear: the mean over many keys is what is scored without dropout.
    let small = Small::new(Family::Llama, true);
    let mut adapter = trained(&small, lora(&Target::ALL, 0.25));
    for list in adapter.weights.values_mut().iter_mut().skip(1).step_by(2) {
        list.iter_mut().for_each(|value| *value *= 1e-2);
    }
    let owned = few();
    let plain = small.model(&Cpu::detect());
    let model = plain.with_adapter(&adapter);
    let base = plain.score(&contexts(&owned), 1.0).logprobs;
    let effect = |logprobs: &[f32]| -> Vec<f64> {
        let pairs = logprobs.iter().zip(&base);
        pairs.map(|(a, b)| f64::from(a - b)).collect()
    };
    let expected = effect(&model.score(&contexts(&owned), 1.0).logprobs);
    let n_keys = 400;
    let mut mean = vec![0.0; expected.len()];
    let mut spread = 0.0;
    for key in 0..n_keys {
        let buffers = PassBuffers::default();
        let key = Some(DropoutKey(key));
        let pass = model.forward(&contexts(&owned), 1.0, Keep::Activations, buffers, key);
        for (i, one) in effect(&pass.scores().logprobs).into_iter().enumerate() {
            mean[i] += one / n_keys as f64;
            spread += (one - expected[i]).powi(2) / (n_keys as usize * expected.len()) as f64;
        }
    }
    let norm = |x: &[f64]| (x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64).sqrt();
    let error: Vec<f64> = mean.iter().zip(&expected).map(|(a, b)| a - b).collect();
    // The mean of 400 has a twentieth of the spread.
    assert!(
        norm(&error) < 3.0 * spread.sqrt() / 20.0,
        "{error:?} {spread}"
    );
    assert!(
        norm(&error) < 0.3 * norm(&expected),
        "{error:?} {expected:?}"
    );
}

#[test]
fn another_version_of_the_adapter_takes_the_place_of_the_first() {
    let small = Small::new(Family::Qwen2, false);
    let owned = uneven();
    let plain = small.model(&Cpu::detect());
    let (one, all) = (lora(&[Target::V], 0.0), lora(&Target::ALL, 0.2));
    let mut model = plain.without_adapter();
    for adapter in [
        trained(&small, one.clone()),
        trained(&small, all.clone()),
        fresh(&small, all),
        fresh(&small, one.clone()),
        trained(&small, one),
    ] {
        model.repack_adapter(&adapter);
        assert_eq!(model.adapter_config(), Some(&adapter.config));
        let expected = plain.with_adapter(&adapter);
        assert_eq!(
            model.score(&contexts(&owned), 1.0),
            expected.score(&contexts(&owned), 1.0)
        );
        let key = Some(DropoutKey(4));
        let of = |model| gradient(&small, model, &adapter, &owned, Keep::Checkpoints, key);
        assert_eq!(of(&model), of(&expected));
    }
    assert_eq!(plain.adapter_config(), None);
}

#[test]
fn weights_under_an_adapter_can_change_and_those_that_share_them_keep_theirs() {
    let small = Small::new(Family::Llama, true);
    let other = Small {
        weights: merged(&small, &trained(&small, lora(&Target::ALL, 0.0))).weights,
        ..Small::new(Family::Llama, true)
    };
    let owned = uneven();
    let cpu = Cpu::detect();
    let adapter = trained(&small, lora(&[Target::Q, Target::Up], 0.0));
    let score = |model: &Model| model.score(&contexts(&owned), 1.0);
    let plain = small.model(&cpu);
    let before = score(&plain);
    let mut adapted = plain.with_adapter(&adapter);
    adapted.repack(&other.weights);
    assert_eq!(score(&plain), before);
    assert_eq!(
        score(&adapted),
        score(&other.model(&cpu).with_adapter(&adapter))
    );
    assert_eq!(score(&adapted.without_adapter()), score(&other.model(&cpu)));
}

#[test]
#[should_panic = "an adapter of another model"]
fn an_adapter_of_another_model_is_refused() {
    let small = Small::new(Family::Llama, true);
    let mut adapter = trained(&small, lora(&Target::ALL, 0.0));
    adapter.config.rank = 2;
    small.model(&Cpu::detect()).with_adapter(&adapter);
}

#[test]
#[should_panic = "gradients of something else"]
fn an_adapters_gradient_does_not_go_to_the_models_lists() {
    let small = Small::new(Family::Llama, true);
    let adapter = trained(&small, lora(&Target::ALL, 0.0));
    let model = small.model(&Cpu::detect()).with_adapter(&adapter);
    let owned = few();
    let buffers = PassBuffers::default();
    let pass = model.forward(&contexts(&owned), 1.0, Keep::Activations, buffers, None);
    let mut gradients = small.weights.zeros_like();
    pass.backward(
        &model,
        &small.weights,
        Loss::of_both(&owned).gradient(),
        &mut gradients,
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn company_changes_no_bit_of_a_row(owned in any_contexts(), n_threads in 1_usize..4) {
        let small = Small::new(Family::Qwen3, true);
        let cpu = Cpu::new(Isa::detect(), NonZero::new(n_threads).unwrap()).unwrap();
        let adapter = trained(&small, lora(&Target::ALL, 0.3));
        let model = small.model(&cpu).with_adapter(&adapter);
        let together = model.score(&contexts(&owned), 1.0).logprobs;
        let alone: Vec<Vec<f32>> = owned
            .iter()
            .map(|one| model.score(&contexts(&vec![one.clone()]), 1.0).logprobs)
            .collect();
        prop_assert_eq!(together, alone.concat());
        let backwards: Owned = owned.iter().rev().cloned().collect();
        let together = model.score(&contexts(&backwards), 1.0).logprobs;
        let alone: Vec<f32> = alone.into_iter().rev().flatten().collect();
        prop_assert_eq!(together, alone);
    }
}
