//! A model in one file.

use std::{collections::HashMap, fs};

use longhand_engine::{
    Family, ModelConfig, Numbers, SaveOptions, Weights, load_weights, parameters, save_weights,
};
use proptest::{collection::vec, prelude::*};
use safetensors::{Dtype, SafeTensors};

use crate::fixture::{FAMILIES, Saved, config, contents};

const BF16: SaveOptions = SaveOptions {
    numbers: Numbers::Bf16,
    max_file_bytes: None,
};

#[test]
fn saved_and_loaded_is_the_same_to_the_bit() {
    for family in FAMILIES {
        for tie in [false, true] {
            let saved = Saved::new(config(family, tie), &SaveOptions::default());
            let loaded = load_weights(saved.path(), &saved.config).unwrap();
            assert_eq!(bits(&loaded), bits(&saved.weights), "{family:?} {tie}");
            assert_eq!(contents(saved.path()).len(), 1);
        }
    }
}

fn bits(weights: &Weights) -> Vec<Vec<u32>> {
    let lists = weights.values().iter();
    lists
        .map(|list| list.iter().map(|value| value.to_bits()).collect())
        .collect()
}

#[test]
fn the_file_is_what_the_formats_own_crate_writes() {
    let saved = Saved::new(config(Family::Qwen3, false), &SaveOptions::default());
    let bytes = fs::read(saved.single()).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let theirs = safetensors::serialize(file.tensors(), Some(metadata)).unwrap();
    assert_eq!(bytes, theirs);
    for (name, values) in saved.named() {
        let tensor = file.tensor(&name).unwrap();
        let stored = tensor.data().as_chunks().0.iter();
        let stored: Vec<f32> = stored.map(|b| f32::from_le_bytes(*b)).collect();
        let is_turned = name.ends_with("_proj.weight") || name == "lm_head.weight";
        match tensor.shape() {
            [n_out, n_in] if is_turned => {
                for (idx, value) in stored.iter().enumerate() {
                    assert_eq!(*value, values[idx % n_in * n_out + idx / n_in], "{name}");
                }
            }
            _ => assert_eq!(stored, values, "{name}"),
        }
    }
    let shape = |name: &str| file.tensor(name).unwrap().shape().to_vec();
    assert_eq!(shape("model.layers.1.self_attn.q_proj.weight"), [24, 12]);
    assert_eq!(shape("model.layers.0.mlp.down_proj.weight"), [12, 20]);
    assert_eq!(shape("lm_head.weight"), [31, 12]);
    assert_eq!(shape("model.embed_tokens.weight"), [31, 12]);
}

#[test]
fn the_same_weights_make_the_same_bytes() {
    for options in [SaveOptions::default(), BF16] {
        let [one, other] = [(); 2].map(|()| Saved::new(config(Family::Qwen2, true), &options));
        assert_eq!(contents(one.path()), contents(other.path()));
    }
}

#[test]
fn bf16_holds_the_rounded_numbers_in_half_the_bytes() {
    let saved = Saved::new(config(Family::Qwen2, false), &BF16);
    let bytes = fs::read(saved.single()).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let n_bytes: usize = file
        .tensors()
        .iter()
        .map(|(_, view)| view.data().len())
        .sum();
    assert_eq!(n_bytes, 2 * saved.config.n_parameters());
    let loaded = load_weights(saved.path(), &saved.config).unwrap();
    let pairs = loaded.values().iter().zip(saved.weights.values());
    for (found, exact) in pairs.flat_map(|(found, exact)| found.iter().zip(exact)) {
        // The nearest of those that end in 16 zero bits; the even one of two as near.
        let below = f32::from_bits(exact.to_bits() & 0xffff_0000);
        let above = f32::from_bits((exact.to_bits() & 0xffff_0000) + 0x1_0000);
        let (down, up) = ((exact - below).abs(), (above - exact).abs());
        let is_even = below.to_bits() >> 16 & 1 == 0;
        let expected = if down < up || down == up && is_even {
            below
        } else {
            above
        };
        assert_eq!(*found, expected, "{exact}");
    }
    // Rounded once, nothing is lost any more.
    let again = tempfile::tempdir().unwrap();
    save_weights(&saved.config, &loaded, again.path(), &BF16).unwrap();
    assert_eq!(contents(again.path()), contents(saved.path()));
}

#[test]
fn half_precision_is_read() {
    let saved = Saved::new(config(Family::Llama, true), &SaveOptions::default());
    let halves: Vec<u8> = [0x3c00_u16, 0xc000, 0x0001]
        .iter()
        .cycle()
        .take(12)
        .flat_map(|half| half.to_le_bytes())
        .collect();
    saved.put(&[("model.norm.weight", Dtype::F16, &[12], &halves)]);
    let loaded = load_weights(saved.path(), &saved.config).unwrap();
    assert_eq!(
        loaded.values().last().unwrap()[..3],
        [1.0, -2.0, 5.960_464_5e-8]
    );
}

#[test]
fn what_does_not_fit_the_model_is_named() {
    let saved = Saved::new(config(Family::Qwen3, false), &SaveOptions::default());
    let check = |change: fn(&mut ModelConfig), expected: &str| {
        let mut config = saved.config.clone();
        change(&mut config);
        let message = saved.refusal_as(&config);
        assert!(message.contains(expected), "{message}");
    };
    check(|c| c.n_layers = 3, "has no tensor `model.layers.2.");
    check(|c| c.n_layers = 1, "does not ask for: model.layers.1.");
    check(
        |c| c.intermediate_size = 21,
        "config.json asks for [21, 12]",
    );
    check(
        |c| c.family = Family::Qwen2,
        "has no tensor `model.layers.0.self_attn.q_proj.bias`",
    );
    check(|c| c.family = Family::Llama, "self_attn.k_norm.weight");
    check(|c| c.vocab_size = 20, "asks for [20, 12]");
    let mut config = saved.config.clone();
    config.n_layers = 1;
    assert!(saved.refusal_as(&config).ends_with(" and 3 more"));
}

#[test]
fn a_head_beside_tied_embeddings_and_stored_frequencies_are_passed_over() {
    let saved = Saved::new(config(Family::Llama, true), &SaveOptions::default());
    let tensor = |name| (name, Dtype::I64, &[3][..], &[0; 24][..]);
    saved.put(&[
        tensor("lm_head.weight"),
        tensor("model.layers.0.self_attn.rotary_emb.inv_freq"),
    ]);
    let loaded = load_weights(saved.path(), &saved.config).unwrap();
    assert_eq!(loaded, saved.weights);
    saved.put(&[tensor("model.layers.0.adapter")]);
    let message = saved.refusal();
    assert!(
        message.ends_with("does not ask for: model.layers.0.adapter"),
        "{message}"
    );
}

#[test]
fn numbers_that_are_not_read_and_numbers_that_are_none_are_named() {
    let saved = Saved::new(config(Family::Llama, true), &SaveOptions::default());
    saved.put(&[("model.norm.weight", Dtype::F64, &[12], &[0; 96])]);
    let message = saved.refusal();
    assert!(
        message.contains("`model.norm.weight`")
            && message.ends_with("has type F64; F32, F16 and BF16 are read"),
        "{message}"
    );

    // Places are those of the file: row 3, column 7 of `[24, 12]`, and of two the first.
    for (broken, shown) in [
        (f32::NAN, "NaN"),
        (f32::INFINITY, "inf"),
        (f32::NEG_INFINITY, "-inf"),
    ] {
        let mut saved = Saved::new(config(Family::Llama, true), &SaveOptions::default());
        let place = parameters(&saved.config)
            .iter()
            .position(|p| p.name == "model.layers.1.self_attn.q_proj.weight");
        let values = &mut saved.weights.values_mut()[place.unwrap()];
        values[7 * 24 + 3] = broken;
        values[24 + 20] = f32::NAN;
        save_weights(
            &saved.config,
            &saved.weights,
            saved.path(),
            &SaveOptions::default(),
        )
        .unwrap();
        let message = saved.refusal();
        let expected = format!("holds {shown} at index {}", 3 * 12 + 7);
        assert!(
            message.contains(&expected) && message.contains("layers.1.self_attn.q_proj"),
            "{message}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_bits_of_finite_numbers_come_back(
        sizes in (1_usize..9, 1_usize..9, 1_usize..5),
        pattern in vec(any::<f32>().prop_filter("finite", |x| x.is_finite()), 1..40),
        tie in any::<bool>(),
    ) {
        let (hidden_size, intermediate_size, half) = sizes;
        let config = ModelConfig {
            hidden_size,
            intermediate_size,
            head_dim: 2 * half,
            ..config(Family::Qwen2, tie)
        };
        let mut numbers = pattern.iter().copied().cycle();
        let weights = Weights::assemble(&config, |parameter| {
            Ok::<_, ()>(numbers.by_ref().take(parameter.n_values()).collect())
        }).unwrap();
        let folder = tempfile::tempdir().unwrap();
        save_weights(&config, &weights, folder.path(), &SaveOptions::default()).unwrap();
        let loaded = load_weights(folder.path(), &config).unwrap();
        prop_assert_eq!(bits(&loaded), bits(&weights));
    }
}
