//! Files of models and adapters: weights, the list of a model's files, an adapter's settings.

use std::fs;
use std::path::Path;

use longhand_engine::{
    Adapter, AdapterConfig, AdapterNote, Family, LoraConfig, ModelConfig, RopeScaling, SaveOptions,
    Target, TensorFile, Weights, adapter_parameters, load_adapter, load_weights, parameters,
    save_adapter, save_weights,
};

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// A model of 40 numbers: a fuzzer reaches all of its file.
fn config() -> ModelConfig {
    ModelConfig {
        family: Family::Llama,
        vocab_size: 3,
        hidden_size: 2,
        intermediate_size: 2,
        n_layers: 1,
        n_heads: 1,
        n_kv_heads: 1,
        head_dim: 2,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::Unscaled,
        norm_eps: 1e-5,
        tie_embeddings: true,
        max_positions: 16,
        end_ids: Vec::new(),
    }
}

/// Its weights: 1, 2, 3 and so on.
fn weights() -> Weights {
    let mut numbers = (1_u8..).map(f32::from);
    let weights = Weights::assemble(&config(), |parameter| {
        Ok::<_, ()>(numbers.by_ref().take(parameter.n_values()).collect())
    });
    weights.expect("nothing fails")
}

/// Bytes that begin as JSON are the list of the files of a model, others are its one file. What is taken
/// is a whole model of finite numbers, and is the same when it is written and read again.
pub(crate) fn safetensors(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    let inside = folder.path().join("model");
    fs::create_dir(&inside).expect("a folder");
    let is_index = bytes.first() == Some(&b'{');
    if is_index {
        let cut = SaveOptions {
            max_file_bytes: Some(100),
            ..SaveOptions::default()
        };
        save_weights(&config(), &weights(), &inside, &cut).expect("a folder to write to");
        // Something that no list may reach.
        let cut = inside.join("model-00001-of-00002.safetensors");
        fs::copy(cut, folder.path().join("outside.safetensors")).expect("a file");
        fs::write(inside.join(INDEX), bytes).expect("a file");
    } else {
        fs::write(inside.join(WEIGHTS), bytes).expect("a file");
        look_at_tensors(&inside.join(WEIGHTS));
    }
    match load_weights(&inside, &config()) {
        Ok(loaded) => {
            if is_index {
                assert_eq!(loaded, weights());
            }
            for (parameter, values) in parameters(&config()).iter().zip(loaded.values()) {
                assert_eq!(values.len(), parameter.n_values(), "{}", parameter.name);
                assert!(values.iter().all(|value| value.is_finite()));
            }
            let again = folder.path().join("again");
            fs::create_dir(&again).expect("a folder");
            let options = SaveOptions::default();
            save_weights(&config(), &loaded, &again, &options).expect("a folder to write to");
            let again = load_weights(&again, &config()).expect("what was written");
            assert_eq!(bits(&again), bits(&loaded));
        }
        Err(error) => check_message(&error.to_string()),
    }
}

/// Every tensor of a file that is opened has as many numbers as it says, or a type that is not read.
fn look_at_tensors(path: &Path) {
    let Ok(mut file) = TensorFile::open(path) else {
        return;
    };
    let tensors = file.tensors();
    let tensors: Vec<(String, Vec<usize>)> = tensors
        .map(|(name, info)| (name.to_owned(), info.shape.clone()))
        .collect();
    for (name, shape) in tensors {
        match file.read(&name) {
            Ok(values) => {
                assert_eq!(values.len(), shape.iter().product::<usize>());
                if shape.len() == 2 {
                    let turned = file.read_turned(&name).expect("it was read");
                    assert_eq!(turned.len(), values.len());
                }
            }
            Err(error) => assert!(error.to_string().contains("has type"), "{error}"),
        }
    }
}

fn bits(weights: &Weights) -> Vec<u32> {
    let numbers = weights.values().iter().flatten();
    numbers.map(|value| value.to_bits()).collect()
}

/// A message is there, and no file makes it as long as itself.
fn check_message(message: &str) {
    assert!(!message.is_empty() && message.len() < 4000, "{message}");
}

/// Settings of an adapter that are taken print as settings that read as the same, and either belong to the
/// adapter beside them, which is then read whole, or do not.
pub(crate) fn adapter_config(bytes: &[u8]) {
    if let Ok(text) = str::from_utf8(bytes) {
        match AdapterConfig::from_json(text) {
            Ok(config) => check_settings(&config),
            Err(error) => check_message(&error.to_string()),
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let lora = LoraConfig {
        rank: 2,
        alpha: 4.0,
        dropout: 0.0,
        targets: vec![Target::Q, Target::Down],
    };
    let adapter = Adapter::assemble(&config(), lora, |parameter| {
        Ok::<_, ()>(vec![0.5; parameter.n_values()])
    });
    let adapter = adapter.expect("nothing fails");
    let save = || save_adapter(&config(), &adapter, &AdapterNote::default(), folder.path());
    save().expect("a folder to write to");
    fs::write(folder.path().join("adapter_config.json"), bytes).expect("a file");
    match load_adapter(folder.path(), &config()) {
        Ok(loaded) => {
            let parameters = adapter_parameters(&config(), &loaded.config);
            assert_eq!(loaded.weights, adapter.weights);
            assert_eq!(parameters.len(), loaded.weights.values().len());
        }
        Err(error) => check_message(&error.to_string()),
    }
}

fn check_settings(config: &AdapterConfig) {
    assert_eq!(config.lora.check(), Ok(()));
    let printed = config.to_json();
    let again = AdapterConfig::from_json(&printed);
    let again = again.unwrap_or_else(|error| panic!("{error}\n{printed}"));
    assert_eq!(again.base_model, config.base_model);
    let (left, right) = (&again.lora, &config.lora);
    assert_eq!((left.rank, &left.targets), (right.rank, &right.targets));
    // A number that is printed may be read one unit in the last place away.
    for (left, right) in [(left.alpha, right.alpha), (left.dropout, right.dropout)] {
        assert!((left - right).abs() <= 1e-15 * right, "{left} {right}");
    }
}
