//! Logits of every position: the naive model's, and those that scores are made of.

use longhand_engine::{Cpu, Family, Format};

use crate::{
    fixture::{Small, contexts, max_difference},
    naive::log_softmax_after_each,
};

fn log_softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::MIN, f32::max);
    let sum: f32 = logits.iter().map(|logit| (logit - largest).exp()).sum();
    let shift = largest + sum.ln();
    logits.iter().map(|logit| logit - shift).collect()
}

#[test]
fn the_logits_of_every_position_are_those_of_the_naive_model() {
    for (family, tie) in [
        (Family::Llama, true),
        (Family::Qwen2, false),
        (Family::Qwen3, true),
    ] {
        let small = Small::new(family, tie);
        let ids: Vec<u32> = (0..70).map(|i| i * 11 % 29).collect();
        let logits = small.model(&Cpu::detect()).logits(&ids);
        let expected = log_softmax_after_each(&small, &ids, 1.0);
        assert_eq!((logits.len(), expected.len()), (70 * 29, 70));
        for (found, expected) in logits.chunks(29).zip(&expected) {
            let expected: Vec<f32> = expected.iter().map(|x| *x as f32).collect();
            assert!(
                max_difference(&log_softmax(found), &expected) < 2e-5,
                "{family:?}"
            );
        }
    }
}

#[test]
fn a_long_sequence_is_scored_from_its_logits() {
    let mut small = Small::new(Family::Qwen3, false);
    small.config.max_positions = 8192;
    let model = small.model_in(&Cpu::detect(), Format::Bf16);
    let ids: Vec<u32> = (0..2100).map(|i| i * i % 29).collect();
    let logits = model.logits(&ids);
    let owned = vec![(ids[..1].to_vec(), ids[1..].to_vec())];
    let scored = model.score(&contexts(&owned), 1.0).logprobs;
    let found: Vec<f32> = logits
        .chunks(29)
        .zip(&ids[1..])
        .map(|(logits, next)| log_softmax(logits)[*next as usize])
        .collect();
    assert!(max_difference(&found, &scored) < 2e-5);
}
