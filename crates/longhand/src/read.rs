//! `longhand read`.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, Result};
use longhand_memory::{Document, Reader, TurnKind};
use longhand_rollout::{Generate, Purpose, Request, Sampling, StreamBase};
use longhand_trainer::policy_encode;
use serde_json::json;

use crate::{
    bad_usage,
    load::{ReaderArgs, load},
};

/// Arguments of `longhand read`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of a run, or of a model in Hugging Face layout
    run_or_model: PathBuf,
    /// Document to read: a text file in UTF-8
    #[arg(long, value_name = "FILE")]
    document: PathBuf,
    /// What to ask
    #[arg(long)]
    question: String,
    /// Sampling temperature; 0 takes the most probable token
    #[arg(long, default_value_t = 0.0)]
    temperature: f32,
    /// Seed of sampling
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    reader: ReaderArgs,
    /// Print one JSON document instead of the notes as they are written
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let sampling = Sampling::at(args.temperature);
    sampling.check().map_err(|e| bad_usage(e.to_string()))?;
    let loaded = load(&args.run_or_model)?;
    let text = read_text(&args.document)?;
    let settings = loaded.reader(&args.reader)?;
    let tokenizer = loaded.policy.tokenizer();
    let templates = policy_encode(tokenizer, |encode| settings.templates.compile(encode))?;
    let document = Document {
        ids: tokenizer.encode(&text)?,
        relevant: Vec::new(),
    };
    let n_tokens = document.ids.len();
    let mut limits = settings.limits;
    limits.window = Some(
        limits
            .window
            .unwrap_or(usize::MAX)
            .min(loaded.policy.config().max_positions),
    );
    let mut reader = Reader::new(
        &tokenizer.encode(&args.question)?,
        Arc::new(document),
        &settings.chunks,
        Arc::new(templates),
        limits,
        &loaded.policy.config().end_ids,
    )?;
    let n_chunks = reader.n_chunks();
    if !args.json {
        println!(
            "{n_tokens} tokens in {n_chunks} chunks, {} tokens cut from the centre",
            reader.dropped_tokens()
        );
    }
    let mut generator = loaded.policy.generator();
    let streams = StreamBase {
        seed: args.seed,
        purpose: Purpose::EVALUATION,
        step: 0,
    };
    let mut turns = Vec::new();
    let mut answer = String::new();
    while let Some(ask) = reader.ask() {
        let request = Request {
            prompt: ask.prompt,
            max_tokens: ask.max_tokens,
            group: 0,
            key: streams.key(0, 0, turns.len() as u32),
        };
        let completion = generator
            .generate(std::slice::from_ref(&request), &sampling)?
            .remove(0);
        let stop = reader.reply(&completion.ids, completion.stop_reason);
        let text = tokenizer.decode(&completion.ids)?.trim().to_string();
        let (kind, chunk_idx) = match ask.kind {
            TurnKind::Read { chunk_idx } => ("read", Some(chunk_idx)),
            TurnKind::Answer => ("answer", None),
        };
        if args.json {
            turns.push(json!({"kind": kind, "chunk_idx": chunk_idx, "text": text, "ids": completion.ids, "stop_reason": format!("{stop:?}")}));
        } else {
            match chunk_idx {
                Some(chunk_idx) => {
                    println!("notes after chunk {}/{n_chunks}: {text}", chunk_idx + 1)
                }
                None => println!("answer: {text}"),
            }
            std::io::stdout().flush()?;
            turns.push(json!(null));
        }
        answer = text;
    }
    if args.json {
        let value = json!({
            "question": args.question,
            "document": args.document.display().to_string(),
            "n_tokens": n_tokens,
            "n_chunks": n_chunks,
            "dropped_tokens": reader.dropped_tokens(),
            "turns": turns,
            "answer": answer,
        });
        println!("{value:#}");
    }
    Ok(ExitCode::SUCCESS)
}

fn read_text(path: &Path) -> Result<String> {
    let bytes =
        fs::read(path).with_context(|| format!("cannot read the document {}", path.display()))?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        anyhow::anyhow!(
            "{} is not UTF-8 at byte {at} (line {line}): convert it first",
            path.display()
        )
    })
}
