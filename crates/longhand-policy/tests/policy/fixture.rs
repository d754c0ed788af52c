//! Small random policies and groups.

use longhand_policy::{
    Device, Family, Initialisation, ModelConfig, Policy, TokenizerKind, train_tokenizer,
};
use longhand_rollout::{PrefixGroup, Suffix};
use proptest::{collection::vec, prelude::*};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A policy of a family, with more embedding rows than the tokenizer has ids.
pub(crate) fn policy(family: Family, tie_embeddings: bool) -> Policy {
    let special = ["<pad>", "<eos>", "<unk>"];
    let words = "a b c d e f g h i j k l m n o p q r s t u v w x y z";
    let tokenizer = train_tokenizer(
        TokenizerKind::Word,
        [words.to_string()].into_iter(),
        29,
        &special,
    )
    .unwrap();
    assert_eq!(tokenizer.n_ids(), 29);
    let config = ModelConfig {
        family,
        vocab_size: 32,
        hidden_size: 12,
        intermediate_size: 20,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 6,
        rope_theta: 10_000.0,
        norm_eps: 1e-5,
        tie_embeddings,
        max_positions: 64,
        end_ids: vec![1],
    };
    let init = Initialisation {
        embedding_std: 1.0,
        q_norm_gain: 1.5,
    };
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    Policy::from_scratch(config, tokenizer, init, &mut rng, &Device::default()).unwrap()
}

/// Groups of uneven shapes: prefixes of different lengths (one empty), ragged suffixes, one of them with
/// nothing sampled.
pub(crate) fn groups() -> Vec<PrefixGroup> {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut ids = |n: usize| -> Vec<u32> { (0..n).map(|_| rng.random_range(0..29)).collect() };
    vec![
        PrefixGroup {
            prefix: ids(7),
            suffixes: vec![
                Suffix {
                    given: ids(2),
                    sampled: ids(3),
                },
                Suffix {
                    given: ids(1),
                    sampled: ids(5),
                },
                Suffix {
                    given: ids(4),
                    sampled: ids(0),
                },
            ],
        },
        PrefixGroup {
            prefix: vec![],
            suffixes: vec![Suffix {
                given: ids(5),
                sampled: ids(1),
            }],
        },
        PrefixGroup {
            prefix: ids(4),
            suffixes: vec![
                Suffix {
                    given: ids(3),
                    sampled: ids(2),
                },
                Suffix {
                    given: ids(1),
                    sampled: ids(4),
                },
            ],
        },
    ]
}

/// Groups of any shape: prefixes from empty upwards, ragged suffixes, some with nothing sampled, but at
/// least one sampled token in all.
pub(crate) fn any_groups() -> impl Strategy<Value = Vec<PrefixGroup>> {
    let ids = |n: std::ops::Range<usize>| vec(0_u32..29, n);
    let suffix = (ids(1..5), ids(0..5)).prop_map(|(given, sampled)| Suffix { given, sampled });
    let group = (ids(0..8), vec(suffix, 1..4))
        .prop_map(|(prefix, suffixes)| PrefixGroup { prefix, suffixes });
    vec(group, 1..4).prop_filter("something is sampled", |groups| {
        groups
            .iter()
            .flat_map(|group| &group.suffixes)
            .any(|suffix| !suffix.sampled.is_empty())
    })
}

/// The same contexts with nothing shared.
pub(crate) fn unshared(groups: &[PrefixGroup]) -> Vec<PrefixGroup> {
    let contexts = groups.iter().flat_map(|group| {
        group.suffixes.iter().map(|suffix| {
            let given = [group.prefix.as_slice(), &suffix.given].concat();
            PrefixGroup {
                prefix: vec![],
                suffixes: vec![Suffix {
                    given,
                    sampled: suffix.sampled.clone(),
                }],
            }
        })
    });
    contexts.collect()
}

/// The largest absolute difference.
///
/// # Panics
/// When the lengths differ.
pub(crate) fn max_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}
