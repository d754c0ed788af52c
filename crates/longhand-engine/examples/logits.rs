//! Runs a model's folder on given token ids, to compare it with other programs.
//!
//! `logits MODEL_DIR IDS.json OUT.f32 [--adapter DIR] [--greedy N]`: IDS.json is a list of lists of ids.
//! The logits of every position of every sequence go to OUT.f32 as little-endian f32, `[sum of lengths,
//! vocab]`. With `--greedy` nothing is written; the N ids that follow each sequence, the most probable one
//! each time and on beyond end tokens, are printed as JSON.

use std::{
    error::Error,
    fs::{self, File},
    io::{BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use longhand_engine::{Cpu, Generator, Model, ModelConfig, Precision, load_adapter, load_weights};
use longhand_rollout::{Generate, Purpose, Request, Sampling, StreamKey};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

struct Arguments {
    model: PathBuf,
    ids: PathBuf,
    out: PathBuf,
    adapter: Option<PathBuf>,
    n_greedy: Option<usize>,
}

impl Arguments {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let (mut places, mut adapter, mut n_greedy) = (Vec::new(), None, None);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} lacks a value"));
            match word.as_str() {
                "--adapter" => adapter = Some(value()?.into()),
                "--greedy" => n_greedy = Some(value()?.parse()?),
                _ => places.push(PathBuf::from(word)),
            }
        }
        let [model, ids, out] = places
            .try_into()
            .map_err(|_| "usage: logits MODEL_DIR IDS.json OUT.f32 [--adapter DIR] [--greedy N]")?;
        Ok(Self {
            model,
            ids,
            out,
            adapter,
            n_greedy,
        })
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::read(std::env::args().skip(1))?;
    let sequences: Vec<Vec<u32>> = serde_json::from_slice(&fs::read(&arguments.ids)?)?;
    let text = fs::read_to_string(arguments.model.join("config.json"))?;
    let mut config = ModelConfig::from_json(&text)?;
    // What follows an end token is compared too.
    config.end_ids.clear();
    let n_ids = config.vocab_size;
    let is_id = |id: &u32| (*id as usize) < n_ids;
    if sequences
        .iter()
        .any(|ids| ids.is_empty() || !ids.iter().all(is_id))
    {
        return Err(format!("sequences must have ids, all below {n_ids}").into());
    }
    let weights = load_weights(&arguments.model, &config)?;
    let cpu = Cpu::detect();
    let format = Precision::F32.format(&cpu, &config);
    let mut model = Model::new(&cpu, &config, n_ids, &weights, format);
    drop(weights);
    if let Some(folder) = &arguments.adapter {
        model = model.with_adapter(&load_adapter(folder, &config)?);
    }
    match arguments.n_greedy {
        Some(n_tokens) => print_greedy(model, sequences, n_tokens),
        None => {
            let mut out = BufWriter::new(File::create(&arguments.out)?);
            for ids in &sequences {
                for logit in model.logits(ids) {
                    out.write_all(&logit.to_le_bytes())?;
                }
            }
            Ok(out.flush()?)
        }
    }
}

fn print_greedy(
    model: Model,
    sequences: Vec<Vec<u32>>,
    n_tokens: usize,
) -> Result<(), Box<dyn Error>> {
    // Nothing is drawn from it.
    let key = StreamKey {
        seed: 0,
        purpose: Purpose::EVALUATION,
        step: 0,
        problem: 0,
        attempt: 0,
        turn: 0,
    };
    let numbered = sequences.into_iter().enumerate();
    let requests: Vec<Request> = numbered
        .map(|(group, prompt)| Request {
            prompt,
            max_tokens: n_tokens,
            group,
            key,
        })
        .collect();
    let completions = Generator::new(Arc::new(model)).generate(&requests, &Sampling::GREEDY)?;
    let ids: Vec<Vec<u32>> = completions.into_iter().map(|c| c.ids).collect();
    println!("{}", serde_json::to_string(&ids)?);
    Ok(())
}
