//! Log-probabilities and entropies of given tokens.

use longhand_policy::Family;
use longhand_rollout::{PrefixGroup, Suffix};
use proptest::prelude::*;

use crate::{fixture, naive::log_softmax_after_each};

const FAMILIES: [(Family, bool); 4] = [
    (Family::Llama, true),
    (Family::Llama, false),
    (Family::Qwen2, true),
    (Family::Qwen3, false),
];

#[test]
fn shared_prefixes_score_as_the_naive_model_does() {
    for (family, tied) in FAMILIES {
        let policy = fixture::policy(family, tied);
        let groups = fixture::groups();
        for temperature in [1.0, 0.7] {
            let scores = policy.score(&groups, temperature);
            let mut logprobs = Vec::new();
            let mut entropies = Vec::new();
            for group in &groups {
                for suffix in &group.suffixes {
                    let ids = [group.prefix.as_slice(), &suffix.given, &suffix.sampled].concat();
                    let rows = log_softmax_after_each(&policy, &ids, temperature);
                    let first = group.prefix.len() + suffix.given.len();
                    for (i, id) in suffix.sampled.iter().enumerate() {
                        let row = &rows[first + i - 1];
                        logprobs.push(row[*id as usize] as f32);
                        entropies.push(-row.iter().map(|lp| lp * lp.exp()).sum::<f64>() as f32);
                    }
                }
            }
            assert!(fixture::max_difference(&scores.logprobs, &logprobs) < 1e-5);
            assert!(fixture::max_difference(&scores.entropies, &entropies) < 1e-5);
        }
    }
}

#[test]
fn sharing_a_prefix_changes_no_score() {
    let policy = fixture::policy(Family::Qwen3, false);
    let groups = fixture::groups();
    let shared = policy.score(&groups, 1.0).logprobs;
    let alone = policy.score(&fixture::unshared(&groups), 1.0).logprobs;
    assert!(fixture::max_difference(&shared, &alone) < 1e-5);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn sharing_changes_no_score_whatever_the_shapes(groups in fixture::any_groups()) {
        let policy = fixture::policy(Family::Qwen3, false);
        let shared = policy.score(&groups, 1.0).logprobs;
        let alone = policy.score(&fixture::unshared(&groups), 1.0).logprobs;
        prop_assert!(fixture::max_difference(&shared, &alone) < 1e-5);
    }
}

#[test]
fn the_differentiable_pass_gives_the_same_numbers() {
    let policy = fixture::policy(Family::Qwen2, true);
    let groups = fixture::groups();
    let scores = policy.score(&groups, 0.9);
    let (logprobs, entropies) = policy.logprobs(&groups, 0.9);
    let logprobs: Vec<f32> = logprobs.into_data().iter::<f32>().collect();
    let entropies: Vec<f32> = entropies.into_data().iter::<f32>().collect();
    assert!(fixture::max_difference(&logprobs, &scores.logprobs) < 1e-5);
    assert!(fixture::max_difference(&entropies, &scores.entropies) < 1e-5);
}

#[test]
fn many_positions_are_scored_in_chunks_with_the_same_result() {
    // More targets than fit one chunk of logits at this vocabulary would need millions; instead the
    // vocabulary-independent minimum is exercised by comparing a long completion with its halves.
    let policy = fixture::policy(Family::Llama, false);
    let sampled: Vec<u32> = (0..50).map(|i| i % 29).collect();
    let whole = [PrefixGroup {
        prefix: vec![],
        suffixes: vec![Suffix {
            given: vec![3],
            sampled: sampled.clone(),
        }],
    }];
    let given = [vec![3], sampled[..20].to_vec()].concat();
    let rest = [PrefixGroup {
        prefix: vec![],
        suffixes: vec![Suffix {
            given,
            sampled: sampled[20..].to_vec(),
        }],
    }];
    let whole = policy.score(&whole, 1.0).logprobs;
    let rest = policy.score(&rest, 1.0).logprobs;
    assert!(fixture::max_difference(&whole[20..], &rest) < 1e-5);
}
