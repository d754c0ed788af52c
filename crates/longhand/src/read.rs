//! `longhand read`.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, Result};
use longhand_memory::{Document, Reader, TurnKind};
use longhand_rollout::{Generate, Purpose, Request, Sampling, StopReason, StreamBase};
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
    #[arg(
        long,
        default_value_t = 0.0,
        allow_negative_numbers = true,
        value_name = "NUMBER"
    )]
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
    )
    .map_err(|error| {
        bad_usage(format!(
            "{error}; sizes are set with --question-size, --chunk-size, --memory-size and --answer-size"
        ))
    })?;
    let n_chunks = reader.n_chunks();
    let mut out = io::stdout();
    if !args.json {
        let chunks = if n_chunks == 1 { "chunk" } else { "chunks" };
        writeln!(
            out,
            "{n_tokens} tokens in {n_chunks} {chunks}, {} tokens cut from the centre",
            reader.dropped_tokens()
        )?;
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
        let (ids, stop) = (completion.ids, name(stop));
        let turn = match ask.kind {
            TurnKind::Read { chunk_idx } => {
                if !args.json {
                    writeln!(
                        out,
                        "notes after chunk {}/{n_chunks}: {text}",
                        chunk_idx + 1
                    )?;
                }
                json!({"kind": "read", "chunk_idx": chunk_idx, "text": text, "ids": ids, "stop_reason": stop})
            }
            TurnKind::Answer => {
                if !args.json {
                    writeln!(out, "answer: {text}")?;
                }
                json!({"kind": "answer", "text": text, "ids": ids, "stop_reason": stop})
            }
        };
        turns.push(turn);
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
        writeln!(out, "{value:#}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A stop reason as transcripts spell it.
fn name(stop: StopReason) -> &'static str {
    match stop {
        StopReason::EndToken => "end-token",
        StopReason::MaxTokens => "max-tokens",
        StopReason::WindowFull => "window-full",
    }
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
