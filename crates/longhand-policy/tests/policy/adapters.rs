//! Policies whose weights are frozen and trained through a low-rank adapter.

use std::{fs, path::Path};

use longhand_policy::{
    AdamW, AdamWSettings, Compute, Engine, Family, LoraConfig, Numbers, Policy, PolicyError,
    SaveOptions, Target, TokenGradient,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::fixture::{self, max_difference};

const SETTINGS: AdamWSettings = AdamWSettings {
    beta1: 0.9,
    beta2: 0.99,
    eps: 1e-8,
    weight_decay: 0.01,
};

fn lora(dropout: f64, targets: &[Target]) -> LoraConfig {
    LoraConfig {
        rank: 3,
        alpha: 6.0,
        dropout,
        targets: targets.to_vec(),
    }
}

/// A model in a folder.
fn base(family: Family, engine: Engine, folder: &Path) -> Policy {
    let policy = fixture::policy(family, family == Family::Qwen2, engine);
    policy.save(folder).unwrap();
    Policy::load(folder, policy.compute()).unwrap()
}

fn adapted(base: &Policy, lora: LoraConfig) -> Policy {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    base.with_fresh_adapter(lora, &mut rng).unwrap()
}

fn update(policy: &mut Policy, adamw: &mut AdamW, round: usize) -> f64 {
    let owned = fixture::owned();
    let contexts = fixture::contexts(&owned);
    let pass = policy.forward(&contexts, 1.0, adamw.take_buffers(), round as u64);
    let n = pass.scores().logprobs.len();
    let grad: Vec<f64> = (0..n).map(|i| ((i * 7 + round) % 5) as f64 - 2.0).collect();
    adamw.accumulate(policy, pass, TokenGradient::of_logprobs(&grad));
    adamw.update(policy, 0.01, 1.0)
}

fn trained(base: &Policy, lora: LoraConfig, n_updates: usize) -> (Policy, AdamW) {
    let (mut policy, mut adamw) = (adapted(base, lora), AdamW::new(SETTINGS));
    for round in 0..n_updates {
        let norm = update(&mut policy, &mut adamw, round);
        assert!(1e-6 < norm && norm.is_finite(), "{norm}");
    }
    (policy, adamw)
}

fn scores(policy: &Policy) -> Vec<f32> {
    let owned = fixture::owned();
    policy.score(&fixture::contexts(&owned), 0.8).logprobs
}

#[test]
fn engine_and_burn_train_the_same_adapter() {
    for family in [Family::Llama, Family::Qwen2, Family::Qwen3] {
        for targets in [&Target::ALL[..], &[Target::Q, Target::Down]] {
            let ends = [Engine::Auto, Engine::Burn].map(|engine| {
                let folder = tempfile::tempdir().unwrap();
                let base = base(family, engine, folder.path());
                let fresh = adapted(&base, lora(0.0, targets));
                assert_eq!(scores(&fresh), scores(&base), "{engine:?}");
                let (policy, _) = trained(&base, lora(0.0, targets), 4);
                assert_eq!(policy.weights(), base.weights(), "the weights are frozen");
                (scores(&base), scores(&policy))
            });
            let [(before, fast), (_, slow)] = ends;
            let moved = max_difference(&fast, &before);
            let apart = max_difference(&fast, &slow);
            assert!(0.02 < moved && apart < 2e-4, "{family:?}: {moved}, {apart}");
        }
    }
}

#[test]
fn an_adapter_that_was_saved_goes_on_beside_its_model() {
    for engine in [Engine::Auto, Engine::Burn] {
        let (of_base, of_adapter) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let base = base(Family::Qwen3, engine, of_base.path());
        let (mut policy, mut adamw) = trained(&base, lora(0.0, &Target::ALL), 2);
        policy.save(of_adapter.path()).unwrap();
        adamw.save(&policy, of_adapter.path()).unwrap();
        let loaded = Policy::load(of_adapter.path(), base.compute()).unwrap();
        assert_eq!(loaded.named_weights(), policy.named_weights());
        let mut loaded = loaded.with_version(policy.weights_id().version);
        let mut again = AdamW::load(SETTINGS, &loaded, of_adapter.path()).unwrap();
        for round in 2..4 {
            update(&mut policy, &mut adamw, round);
            update(&mut loaded, &mut again, round);
        }
        assert_eq!(loaded.named_weights(), policy.named_weights(), "{engine:?}");
        assert_eq!(loaded.weights_id(), policy.weights_id(), "{engine:?}");
        assert!(!of_adapter.path().join("model.safetensors").exists());
    }
}

#[test]
fn a_reference_holds_the_same_weights_and_never_moves() {
    for engine in [Engine::Auto, Engine::Burn] {
        let folder = tempfile::tempdir().unwrap();
        let base = base(Family::Llama, engine, folder.path());
        let mut policy = adapted(&base, lora(0.0, &Target::ALL));
        let (first, mut adamw) = (policy.as_reference(), AdamW::new(SETTINGS));
        assert!(first.adapter().is_none(), "a fresh adapter is left off");
        let before = scores(&first);
        assert_eq!(before, scores(&base));
        update(&mut policy, &mut adamw, 0);
        let second = policy.as_reference();
        let between = scores(&second);
        update(&mut policy, &mut adamw, 1);
        assert_eq!(scores(&first), before);
        assert_eq!(scores(&second), between);
        assert_ne!(scores(&policy), between);
        assert_eq!(scores(&policy.without_adapter()), before);
        if engine == Engine::Auto {
            let of = |policy: &Policy| policy.weights().values()[0].as_ptr();
            let places = [&base, &policy, &first, &second].map(of);
            assert_eq!(places, [places[0]; 4], "one copy in memory");
        }
        assert_ne!(policy.weights_id().version, first.weights_id().version);
    }
}

#[test]
fn a_merged_model_says_what_the_adapter_said() {
    for family in [Family::Llama, Family::Qwen2, Family::Qwen3] {
        let (of_base, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let base = base(family, Engine::Auto, of_base.path());
        let (policy, _) = trained(&base, lora(0.0, &Target::ALL), 3);
        policy
            .save_whole(out.path(), &SaveOptions::default())
            .unwrap();
        let merged = Policy::load(out.path(), &Compute::default()).unwrap();
        assert!(merged.adapter().is_none());
        assert!(max_difference(&scores(&merged), &scores(&policy)) < 1e-5);
        assert!(0.01 < max_difference(&scores(&merged), &scores(&base)));
        let rounded = SaveOptions {
            numbers: Numbers::Bf16,
            max_file_bytes: Some(2000),
        };
        let out = tempfile::tempdir().unwrap();
        policy.save_whole(out.path(), &rounded).unwrap();
        let rounded = Policy::load(out.path(), &Compute::default()).unwrap();
        let apart = max_difference(&scores(&rounded), &scores(&policy));
        assert!(1e-5 < apart && apart < 0.2, "{apart}");
    }
}

#[test]
fn dropout_is_the_same_for_the_same_key_and_only_in_training() {
    for engine in [Engine::Auto, Engine::Burn] {
        let folder = tempfile::tempdir().unwrap();
        let base = base(Family::Qwen2, engine, folder.path());
        let (policy, _) = trained(&base, lora(0.5, &Target::ALL), 2);
        let owned = fixture::owned();
        let contexts = fixture::contexts(&owned);
        let pass = |key: u64| {
            let pass = policy.forward(&contexts, 0.8, Default::default(), key);
            pass.scores().logprobs.clone()
        };
        assert_eq!(pass(1), pass(1), "{engine:?}");
        assert_ne!(pass(1), pass(2), "{engine:?}");
        assert_ne!(pass(1), scores(&policy), "{engine:?}");
        assert_eq!(scores(&policy), scores(&policy));
    }
}

#[test]
fn an_adapter_that_does_not_belong_is_refused() {
    let (of_base, of_adapter) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let base = base(Family::Llama, Engine::Auto, of_base.path());
    let (policy, _) = trained(&base, lora(0.0, &[Target::V]), 1);
    policy.save(of_adapter.path()).unwrap();
    let load = || Policy::load(of_adapter.path(), &Compute::default());
    load().unwrap();

    // On an adapter that is one already.
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let twice = policy.with_fresh_adapter(lora(0.0, &[Target::Q]), &mut rng);
    assert!(matches!(twice, Err(PolicyError::IsAdapter(_))));
    // Settings that make none.
    let nothing = base.with_fresh_adapter(lora(0.0, &[]), &mut rng);
    assert!(matches!(nothing, Err(PolicyError::Lora(_))));
    // Drawn weights are in no folder that an adapter could name.
    let drawn = fixture::policy(Family::Llama, false, Engine::Auto);
    let drawn = adapted(&drawn, lora(0.0, &[Target::Q]));
    let out = tempfile::tempdir().unwrap();
    assert!(matches!(
        drawn.save(out.path()),
        Err(PolicyError::NoFolderOfBase)
    ));

    // Other weights in the model's folder.
    let (other, _) = {
        let mut adamw = AdamW::new(SETTINGS);
        let mut other = base.clone();
        update(&mut other, &mut adamw, 0);
        (other, adamw)
    };
    other.save(of_base.path()).unwrap();
    let error = load().unwrap_err().to_string();
    assert!(error.contains("digests differ"), "{error}");
    fs::remove_dir_all(of_base.path()).unwrap();
    let error = load().unwrap_err().to_string();
    assert!(error.contains("base_model_name_or_path"), "{error}");
}
