//! Small random policies and contexts.

use longhand_policy::{
    Compute, Engine, Family, Initialisation, ModelConfig, Policy, TokenizerKind, train_tokenizer,
};
use longhand_rollout::Context;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A policy of a family, with more embedding rows than the tokenizer has ids.
pub(crate) fn policy(family: Family, tie_embeddings: bool, engine: Engine) -> Policy {
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
        rope_scaling: longhand_policy::RopeScaling::Unscaled,
        norm_eps: 1e-5,
        tie_embeddings,
        max_positions: 64,
        end_ids: vec![1],
    };
    let init = Initialisation {
        embedding_std: 1.0,
        q_norm_gain: 1.5,
    };
    let compute = Compute {
        engine,
        ..Compute::default()
    };
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    Policy::from_scratch(config, tokenizer, init, &mut rng, &compute).unwrap()
}

/// A group, a prompt and a completion.
pub(crate) type Owned = Vec<(usize, Vec<u32>, Vec<u32>)>;

/// Groups of uneven shapes: prefixes of different lengths (one empty), ragged suffixes, one of them with
/// nothing sampled, and one context alone.
pub(crate) fn owned() -> Owned {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut ids = |n: usize| -> Vec<u32> { (0..n).map(|_| rng.random_range(0..29)).collect() };
    let mut owned = Vec::new();
    for (group, n_prefix, suffixes) in [
        (4, 17, vec![(2, 3), (1, 1), (3, 0)]),
        (2, 0, vec![(4, 2), (1, 5)]),
        (9, 7, vec![(2, 4)]),
    ] {
        let prefix = ids(n_prefix);
        for (n_given, n_sampled) in suffixes {
            owned.push((
                group,
                [prefix.clone(), ids(n_given)].concat(),
                ids(n_sampled),
            ));
        }
    }
    // Groups do not come one after the other.
    owned.swap(1, 4);
    owned
}

pub(crate) fn contexts(owned: &Owned) -> Vec<Context<'_>> {
    let contexts = owned.iter().map(|(group, prompt, completion)| Context {
        group: *group,
        prompt,
        completion,
    });
    contexts.collect()
}

pub(crate) fn max_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}
