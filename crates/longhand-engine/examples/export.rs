//! `export MODEL_DIR OUT_DIR`: a model's folder read and written again, or an adapter beside it drawn.
//!
//! What `cargo xtask compare-transformers` shows to `transformers` and `peft`.

use std::{error::Error, fs, path::Path, process::ExitCode};

use longhand_engine::{
    Adapter, AdapterNote, LoraConfig, ModelConfig, Numbers, SaveOptions, Target, load_adapter,
    load_weights, save_adapter, save_weights,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const USAGE: &str = "\
usage: export MODEL_DIR OUT_DIR [--adapter DIR] [--bf16] [--max-file-bytes N]
       export MODEL_DIR OUT_DIR --random-adapter RANK ALPHA TARGET,...

The first writes config.json and the weights, an adapter merged into them; the second an adapter whose A and
B are random.";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        [model, out, "--random-adapter", rank, alpha, targets] => {
            random_adapter(Path::new(model), Path::new(out), [rank, alpha, targets])
        }
        [model, out, options @ ..] => export(Path::new(model), Path::new(out), options),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn export(model: &Path, out: &Path, options: &[&str]) -> Result<(), Box<dyn Error>> {
    let config = read_config(model)?;
    let mut weights = load_weights(model, &config)?;
    let mut save = SaveOptions::default();
    let mut options = options.iter();
    while let Some(option) = options.next() {
        match *option {
            "--bf16" => save.numbers = Numbers::Bf16,
            "--max-file-bytes" => save.max_file_bytes = Some(options.next().ok_or(USAGE)?.parse()?),
            "--adapter" => {
                let folder = Path::new(options.next().ok_or(USAGE)?);
                weights = load_adapter(folder, &config)?.merged(&config, &weights);
            }
            _ => return Err(USAGE.into()),
        }
    }
    fs::create_dir_all(out)?;
    fs::write(out.join("config.json"), config.to_json_for(save.numbers))?;
    Ok(save_weights(&config, &weights, out, &save)?)
}

fn random_adapter(model: &Path, out: &Path, words: [&str; 3]) -> Result<(), Box<dyn Error>> {
    let config = read_config(model)?;
    let [rank, alpha, targets] = words;
    let lora = LoraConfig {
        rank: rank.parse()?,
        alpha: alpha.parse()?,
        dropout: 0.0,
        targets: targets
            .split(',')
            .map(Target::parse)
            .collect::<Result<_, _>>()?,
    };
    lora.check()?;
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut adapter = Adapter::fresh(&config, lora, &mut rng);
    // A fresh B is zero and would hide everything.
    for values in adapter.weights.values_mut() {
        for value in values {
            *value += 0.3 * (rng.random::<f32>() - 0.5);
        }
    }
    let note = AdapterNote {
        base_model: model.display().to_string(),
        base_digest: Some(0),
    };
    fs::create_dir_all(out)?;
    Ok(save_adapter(&config, &adapter, &note, out)?)
}

fn read_config(model: &Path) -> Result<ModelConfig, Box<dyn Error>> {
    let text = fs::read_to_string(model.join("config.json"))?;
    Ok(ModelConfig::from_json(&text)?)
}
