//! Log-probabilities: the naive model's, whatever is shared.

use longhand_engine::{
    Cpu, Family, Format, Initialisation, Isa, Keep, PassBuffers, Weights, parameters,
};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::num::NonZero;

use crate::{
    fixture::{Owned, Small, any_contexts, contexts, max_difference, uneven},
    naive::log_softmax_after_each,
};

const FAMILIES: [(Family, bool); 4] = [
    (Family::Llama, true),
    (Family::Llama, false),
    (Family::Qwen2, false),
    (Family::Qwen3, true),
];

fn naive(small: &Small, owned: &Owned, temperature: f64) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let (mut logprobs, mut entropies, mut certainties) = (vec![], vec![], vec![]);
    for (prompt, completion) in owned {
        let run = [prompt.as_slice(), completion].concat();
        let rows = log_softmax_after_each(small, &run, temperature);
        for (i, id) in completion.iter().enumerate() {
            let row = &rows[prompt.len() + i - 1];
            logprobs.push(row[*id as usize] as f32);
            entropies.push(-row.iter().map(|lp| lp.exp() * lp).sum::<f64>() as f32);
            let n = row.len() as f64;
            certainties.push((-row.iter().sum::<f64>() / n - n.ln()) as f32);
        }
    }
    (logprobs, entropies, certainties)
}

#[test]
fn scores_are_those_of_the_naive_model() {
    for (family, tie) in FAMILIES {
        let small = Small::new(family, tie);
        let owned = uneven();
        for temperature in [1.0, 0.7] {
            let (logprobs, entropies, certainties) = naive(&small, &owned, temperature);
            for isa in Isa::available() {
                let cpu = Cpu::new(isa, NonZero::new(2).unwrap()).unwrap();
                let found = small.model(&cpu).score(&contexts(&owned), temperature);
                assert!(
                    max_difference(&found.logprobs, &logprobs) < 2e-5,
                    "{family:?} {isa}"
                );
                assert!(
                    max_difference(&found.entropies, &entropies) < 2e-5,
                    "{family:?} {isa}"
                );
                assert!(max_difference(&found.self_certainties, &certainties) < 2e-5);
            }
        }
    }
}

/// A model with the ids of SmolLM2, and rows and columns behind them that would be noticed.
fn many_ids(tie_embeddings: bool) -> Small {
    let mut config = Small::new(Family::Llama, tie_embeddings).config;
    let n_ids = 49_152;
    config.vocab_size = n_ids + 64;
    config.hidden_size = 64;
    let init = Initialisation {
        embedding_std: 0.1,
        q_norm_gain: 1.0,
    };
    let mut weights = Weights::from_scratch(&config, init, &mut ChaCha8Rng::seed_from_u64(4));
    for (parameter, values) in parameters(&config).iter().zip(weights.values_mut()) {
        let loud = |id: usize| if id.is_multiple_of(2) { 1e3 } else { -1e3 };
        match parameter.shape[..] {
            [rows, columns] if rows == config.vocab_size => {
                for id in n_ids..rows {
                    values[id * columns..][..columns].fill(loud(id));
                }
            }
            [_, columns] if columns == config.vocab_size => {
                for row in values.chunks_exact_mut(columns) {
                    (n_ids..columns).for_each(|id| row[id] = loud(id));
                }
            }
            _ => {}
        }
    }
    Small {
        config,
        n_ids,
        weights,
    }
}

#[test]
fn statistics_of_many_ids_are_those_of_the_whole_logits() {
    let run: Vec<u32> = (0..14).map(|i| i * 3511 % 49_152).collect();
    let owned: Owned = vec![(run[..2].to_vec(), run[2..].to_vec())];
    for tie in [true, false] {
        let small = many_ids(tie);
        for format in [Format::F32, Format::Bf16, Format::Int8] {
            let model = small.model_in(&Cpu::detect(), format);
            let logits = model.logits(&run[..13]);
            for temperature in [1.0, 0.6] {
                let found = model.score(&contexts(&owned), temperature);
                assert_eq!(found.entropies.len(), 12);
                for (i, row) in logits.chunks(small.n_ids).skip(1).enumerate() {
                    let z: Vec<f64> = row.iter().map(|x| f64::from(*x) / temperature).collect();
                    let log_sum_exp = z.iter().map(|z| z.exp()).sum::<f64>().ln();
                    let logprobs: Vec<f64> = z.iter().map(|z| z - log_sum_exp).collect();
                    let expected = [
                        logprobs[run[i + 2] as usize],
                        -logprobs.iter().map(|lp| lp.exp() * lp).sum::<f64>(),
                        -logprobs.iter().sum::<f64>() / 49_152.0 - 49_152_f64.ln(),
                    ];
                    let found = [
                        found.logprobs[i],
                        found.entropies[i],
                        found.self_certainties[i],
                    ];
                    for (found, expected) in found.into_iter().zip(expected) {
                        assert!(
                            (f64::from(found) - expected).abs() < 1e-5,
                            "{format:?}, token {i} at {temperature}: {found}, not {expected}"
                        );
                    }
                    // Neither flat nor certain.
                    assert!(0.05 < expected[1] && expected[1] < 10.79, "{expected:?}");
                    assert!(0.01 < expected[2], "{expected:?}");
                }
            }
        }
    }
}

#[test]
fn every_context_alone_gives_the_same_bits() {
    for format in [Format::F32, Format::Bf16, Format::Int8] {
        let small = Small::new(Family::Qwen3, false);
        let cpu = Cpu::detect();
        let model = small.model_in(&cpu, format);
        let owned = uneven();
        let together = model.score(&contexts(&owned), 1.0).logprobs;
        let alone: Vec<f32> = owned
            .iter()
            .flat_map(|one| model.score(&contexts(&vec![one.clone()]), 1.0).logprobs)
            .collect();
        assert_eq!(together, alone, "{format:?}");
    }
}

#[test]
fn rounded_products_stay_close() {
    let small = Small::new(Family::Llama, true);
    let cpu = Cpu::detect();
    let owned = uneven();
    let exact = small.model(&cpu).score(&contexts(&owned), 1.0).logprobs;
    for (format, bound) in [(Format::Bf16, 0.1), (Format::Int8, 0.1)] {
        let rounded = small.model_in(&cpu, format).score(&contexts(&owned), 1.0);
        let difference = max_difference(&rounded.logprobs, &exact);
        assert!(
            0.0 < difference && difference < bound,
            "{format:?}: {difference}"
        );
    }
}

#[test]
fn the_training_pass_scores_to_the_same_bits() {
    let small = Small::new(Family::Qwen2, true);
    let model = small.model(&Cpu::detect());
    let owned = uneven();
    let scored = model.score(&contexts(&owned), 0.8);
    for keep in [Keep::Activations, Keep::Checkpoints] {
        let pass = model.forward(&contexts(&owned), 0.8, keep, PassBuffers::default(), None);
        assert_eq!(*pass.scores(), scored);
    }
}

#[test]
fn more_rows_than_are_run_at_once_score_the_same() {
    let mut small = Small::new(Family::Llama, true);
    small.config.max_positions = 8192;
    let model = small.model(&Cpu::detect());
    let prompt: Vec<u32> = (0..5000).map(|i| (i * 7 % 29) as u32).collect();
    let owned = vec![(prompt[..4990].to_vec(), prompt[4990..].to_vec())];
    let long = model.score(&contexts(&owned), 1.0);
    let pass = model.forward(
        &contexts(&owned),
        1.0,
        Keep::Activations,
        PassBuffers::default(),
        None,
    );
    assert_eq!(pass.scores().logprobs, long.logprobs);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn sharing_changes_no_bit_whatever_the_shapes(owned in any_contexts(), n_threads in 1_usize..4) {
        let small = Small::new(Family::Qwen3, true);
        let cpu = Cpu::new(Isa::detect(), NonZero::new(n_threads).unwrap()).unwrap();
        let model = small.model(&cpu);
        let together = model.score(&contexts(&owned), 1.0).logprobs;
        let alone: Vec<f32> = owned
            .iter()
            .flat_map(|one| model.score(&contexts(&vec![one.clone()]), 1.0).logprobs)
            .collect();
        prop_assert_eq!(together, alone);
    }
}
