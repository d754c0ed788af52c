//! Stopping and going on: saved optimisers, versions of weights, and numbers that broke.

use std::{fs, path::Path};

use longhand_policy::{
    AdamW, AdamWSettings, Compute, Engine, Family, PassBuffers, Policy, TokenGradient,
};
use longhand_rollout::Generate;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::fixture;

const SETTINGS: AdamWSettings = AdamWSettings {
    beta1: 0.9,
    beta2: 0.99,
    eps: 1e-8,
    weight_decay: 0.01,
};

fn update(policy: &mut Policy, adamw: &mut AdamW, round: usize) -> f64 {
    let owned = fixture::owned();
    let contexts = fixture::contexts(&owned);
    let pass = policy.forward(&contexts, 1.0, adamw.take_buffers(), 0);
    let n = pass.scores().logprobs.len();
    let grad: Vec<f64> = (0..n).map(|i| ((i * 7 + round) % 5) as f64 - 2.0).collect();
    adamw.accumulate(policy, pass, TokenGradient::of_logprobs(&grad));
    adamw.update(policy, 0.01, 1.0)
}

/// Saves both and gives back what a later process would load.
fn through_the_disk(policy: &Policy, adamw: &AdamW, folder: &Path) -> (Policy, AdamW) {
    policy.save(folder).unwrap();
    adamw.save(policy, folder).unwrap();
    let loaded = Policy::load(folder, policy.compute()).unwrap();
    let loaded = loaded.with_version(policy.weights_id().version);
    let adamw = AdamW::load(SETTINGS, &loaded, folder).unwrap();
    (loaded, adamw)
}

#[test]
fn an_optimiser_that_was_saved_goes_on_as_if_it_had_not_been() {
    for engine in [Engine::Auto, Engine::Burn] {
        for n_before in [0, 1, 3] {
            let mut policy = fixture::policy(Family::Qwen3, false, engine);
            let mut adamw = AdamW::new(SETTINGS);
            for round in 0..n_before {
                update(&mut policy, &mut adamw, round);
            }
            let folder = tempfile::tempdir().unwrap();
            let (mut again, mut again_adamw) = through_the_disk(&policy, &adamw, folder.path());
            for round in n_before..5 {
                let norm = update(&mut policy, &mut adamw, round);
                let again_norm = update(&mut again, &mut again_adamw, round);
                assert_eq!(norm, again_norm, "{engine:?}");
            }
            assert_eq!(again.named_weights(), policy.named_weights(), "{engine:?}");
            assert_eq!(again.weights_id(), policy.weights_id(), "{engine:?}");
            let fresh = update(&mut again.clone(), &mut AdamW::new(SETTINGS), 9);
            assert!(fresh.is_finite());
        }
    }
}

#[test]
fn the_same_state_makes_the_same_files() {
    let mut policy = fixture::policy(Family::Qwen2, true, Engine::Auto);
    let mut adamw = AdamW::new(SETTINGS);
    update(&mut policy, &mut adamw, 0);
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for folder in &folders {
        through_the_disk(&policy, &adamw, folder.path());
    }
    for file in ["model.safetensors", "optimizer.safetensors", "config.json"] {
        let read = |i: usize| fs::read(folders[i].path().join(file)).unwrap();
        assert!(read(0) == read(1), "{file}");
    }
}

#[test]
fn the_state_of_another_policy_or_engine_is_refused_by_name() {
    let mut policy = fixture::policy(Family::Qwen3, false, Engine::Auto);
    let mut adamw = AdamW::new(SETTINGS);
    update(&mut policy, &mut adamw, 0);
    let folder = tempfile::tempdir().unwrap();
    adamw.save(&policy, folder.path()).unwrap();
    let refusal = |policy: &Policy| {
        let error = AdamW::load(SETTINGS, policy, folder.path()).unwrap_err();
        error.to_string()
    };
    let llama = fixture::policy(Family::Qwen2, false, Engine::Auto);
    let message = refusal(&llama);
    assert!(
        message.contains("optimizer.safetensors is not the state"),
        "{message}"
    );
    assert!(message.contains("q_proj.bias"), "{message}");
    let on_burn = fixture::policy(Family::Qwen3, false, Engine::Burn);
    assert!(refusal(&on_burn).contains("another engine"));
    fs::write(folder.path().join("optimizer.safetensors"), "torn").unwrap();
    assert!(refusal(&policy).contains("optimizer.safetensors is not a safetensors file"));
}

#[test]
fn every_update_is_a_version_and_generators_remember_theirs() {
    for engine in [Engine::Auto, Engine::Burn] {
        let mut policy = fixture::policy(Family::Llama, false, engine);
        let mut adamw = AdamW::new(SETTINGS);
        let before = policy.generator();
        assert_eq!(before.weights_id(), Some(policy.weights_id()));
        assert_eq!(policy.weights_id().version, 0);
        update(&mut policy, &mut adamw, 0);
        let after = policy.weights_id();
        assert_eq!(after.version, 1);
        assert_eq!(policy.generator().weights_id(), Some(after));
        // The one that was made before the update still samples from what it was made of.
        assert_ne!(before.weights_id(), Some(after));
        assert_eq!(after.digest.is_some(), engine == Engine::Auto);
        assert_eq!(
            policy
                .clone()
                .with_version(9)
                .generator()
                .weights_id()
                .unwrap()
                .version,
            9
        );
    }
}

#[test]
fn numbers_that_are_not_finite_are_found_by_name() {
    for engine in [Engine::Auto, Engine::Burn] {
        let policy = fixture::policy(Family::Qwen3, false, engine);
        assert_eq!(policy.first_not_finite(), None);
        let mut weights = policy.weights().into_owned();
        weights.values_mut()[3][5] = f32::NEG_INFINITY;
        let broken = policy.with_weights(weights);
        let found = broken.first_not_finite().unwrap();
        let (name, _) = &policy.named_weights()[3];
        assert_eq!((&found.name, found.idx), (name, 5));
        assert_eq!(found.value, f32::NEG_INFINITY);

        let mut policy = policy;
        let mut adamw = AdamW::new(SETTINGS);
        let owned = fixture::owned();
        let contexts = fixture::contexts(&owned);
        let pass = policy.forward(&contexts, 1.0, PassBuffers::default(), 0);
        let grad = vec![f64::NAN; pass.scores().logprobs.len()];
        adamw.accumulate(&policy, pass, TokenGradient::of_logprobs(&grad));
        let before = policy.named_weights();
        assert!(!adamw.update(&mut policy, 0.01, 1.0).is_finite());
        assert_eq!(policy.named_weights(), before);
        assert!(adamw.first_not_finite(&policy).unwrap().value.is_nan());
    }
}

#[test]
fn a_file_with_a_number_that_is_not_finite_is_refused_with_its_place() {
    let policy = fixture::policy(Family::Qwen3, false, Engine::Auto);
    let mut weights = policy.weights().into_owned();
    weights.values_mut()[0][7] = f32::NAN;
    let folder = tempfile::tempdir().unwrap();
    policy.with_weights(weights).save(folder.path()).unwrap();
    let error = Policy::load(folder.path(), &Compute::default()).unwrap_err();
    let message = error.to_string();
    assert!(
        message.starts_with("tensor `model.embed_tokens.weight` in ")
            && message.contains("model.safetensors holds NaN at index 7"),
        "{message}"
    );
}

#[test]
fn hostile_files_are_errors_and_never_panics() {
    let mut policy = fixture::policy(Family::Qwen3, false, Engine::Auto);
    let mut adamw = AdamW::new(SETTINGS);
    update(&mut policy, &mut adamw, 0);
    let folder = tempfile::tempdir().unwrap();
    policy.save(folder.path()).unwrap();
    adamw.save(&policy, folder.path()).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut n_refused = 0;
    for file in [
        "model.safetensors",
        "optimizer.safetensors",
        "config.json",
        "tokenizer.json",
    ] {
        let path = folder.path().join(file);
        let whole = fs::read(&path).unwrap();
        for _ in 0..150 {
            let mut bytes = whole.clone();
            // Headers are where damage does most.
            let end = bytes.len().min(2000);
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..end);
                bytes[at] = rng.random();
            }
            if rng.random_bool(0.2) {
                bytes.truncate(rng.random_range(0..bytes.len()));
            }
            fs::write(&path, &bytes).unwrap();
            let loaded = Policy::load(folder.path(), policy.compute());
            let refused = loaded.is_err() || AdamW::load(SETTINGS, &policy, folder.path()).is_err();
            n_refused += usize::from(refused);
        }
        fs::write(&path, whole).unwrap();
    }
    assert!(100 < n_refused, "{n_refused}");
    Policy::load(folder.path(), policy.compute()).unwrap();
}
