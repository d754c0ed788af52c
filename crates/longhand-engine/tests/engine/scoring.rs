//! Log-probabilities: the naive model's, whatever is shared.

use longhand_engine::{Cpu, Family, Format, Isa, Keep, PassBuffers};
use proptest::prelude::*;
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
